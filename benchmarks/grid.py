"""(a) A grid of cells on a few prompts: shared batches against a call per cell, here and at the peers'.

At every position a prompt has to be read again for every cell; from the last prompt token on, all but one token of it
can be read once for all.
"""

from collections.abc import Callable

from benchmarks.peers import writers
from benchmarks.subjects import Cell, Subject, cells
from benchmarks.timing import interleaved, times_table
from steering_lab.evaluation.running.evaluate import Decoding, run_conditions
from steering_lab.evaluation.running.grid import PlaceName
from steering_lab.interventions.steering import steer
from steering_lab.models.generation import GREEDY, generate

OURS, PER_CELL, PER_PROMPT = "ours, one grid", "ours, one generate per cell", "ours, one generate per cell and prompt"
Texts = dict[tuple[str, str], str]  # by condition and prompt


def report(
    subject: Subject,
    place: PlaceName = "everywhere",
    *,
    n_prompts: int = 4,
    length: int | None = None,
    new_tokens: int = 16,
    scale: int = 1,
    rounds: int = 3,
    slow_rounds: int = 1,
) -> str:
    """The table of one grid; `length` is the prompts' in tokens."""
    grid, prompts = cells(subject, scale), subject.prompts(n_prompts, length)
    texts: dict[str, Texts] = {}

    def ours() -> None:
        made = run_conditions(
            subject.model, [cell.condition(place) for cell in grid], prompts,
            Decoding(new_tokens, 1, GREEDY, log_probs=False), progress=False,
        )  # fmt: skip
        texts[OURS] = {(row.condition, row.prompt): row.text for row in made.itertuples()}

    def apart(each: list[list[str]]) -> Callable[[], None]:
        def call() -> None:
            said: Texts = {}
            for cell in grid:
                condition = cell.condition(place)
                for some in each:
                    with steer(subject.model, condition.intervention):
                        out = generate(subject.model, some, max_new_tokens=new_tokens)
                    said |= {(condition.name, p): text for p, text in zip(some, out.texts, strict=True)}
            texts[PER_CELL if len(each) == 1 else PER_PROMPT] = said

        return call

    def peer(name: str, write: Callable[..., list[str]]) -> Callable[[], None]:
        def call() -> None:
            texts[name] = {
                (cell.condition(place).name, p): text
                for cell in grid
                for p, text in zip(prompts, write(cell, prompts, new_tokens, place), strict=True)
            }

        return call

    found, missing = writers(subject)
    calls = {OURS: ours, PER_CELL: apart([prompts]), PER_PROMPT: apart([[p] for p in prompts])}
    for name, write in list(found.items()):
        try:
            write(grid[0], prompts[:1], 2, place)
        except Exception as error:  # a package written for other versions
            missing[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
        else:
            calls[name] = peer(name, write)
    _warm(subject, grid[0], prompts, place)
    times = interleaved(calls, rounds, {PER_PROMPT: slow_rounds})
    equal = {name: f"{_equal(said, texts[OURS])}/{len(said)}" for name, said in texts.items()}
    read = sum(len(subject.model.token_ids(p)) for p in prompts) / n_prompts
    title = (
        f"(a) {len(grid)} cells x {n_prompts} prompts of {read:.0f} tokens x {new_tokens} new tokens, {place}"
        f" ({subject.model.name}, greedy)"
    )
    said = times_table(title, times, OURS, {"texts as ours": equal})
    return said + "".join(f"  {name} did not run: {why}\n" for name, why in missing.items())


def _warm(subject: Subject, cell: Cell, prompts: list[str], place: PlaceName) -> None:
    """Whatever the first calls prepare, in small."""
    with steer(subject.model, cell.condition(place).intervention):
        generate(subject.model, prompts[:2], max_new_tokens=2)


def _equal(said: Texts, ours: Texts) -> int:
    return sum(text == ours[key] for key, text in said.items())
