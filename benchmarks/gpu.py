"""The benchmarks on a GPU, under eight minutes, nothing downloaded: `python benchmarks/gpu.py --out result.txt`.

An 8B Llama of random weights in bfloat16, made on the device from its configuration, and SmolLM2 where it is installed
(the organism where not). Every part has a time limit of its own and is written to `--out` when it ends, so that what
was measured is kept whatever comes after. `--tiny` runs all of it in a minute on anything, a CPU too: its test.

Ours is whatever `generate` runs: a runtime that replays graphs of its own is measured here without a change.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import tyro
from transformers import AutoModelForCausalLM, LlamaConfig

from benchmarks import extraction, grid, loops, memory
from benchmarks.floor import copy_rate, product_rate
from benchmarks.hand_written import HandWritten
from benchmarks.subjects import Cell, Subject, cells, subject_of
from benchmarks.timing import interleaved, setting, spread, table, took
from steering_lab.evaluation.running.evaluate import Decoding, run_conditions
from steering_lab.evaluation.running.grid import PlaceName
from steering_lab.interventions.steering import steer
from steering_lab.interventions.steering_vector import SteeringVector, random_like
from steering_lab.models.generation import generate
from steering_lab.models.loading import load_model
from steering_lab.models.loading.at_hand import smollm2_file


@dataclass(frozen=True)
class Sizes:
    """How much is measured. Limits are seconds of a part, `minutes` of all."""

    config: LlamaConfig
    dtype: torch.dtype
    small: str
    batches: tuple[int, ...] = (1, 32, 128)
    prompt: int = 32
    steps: int = 32
    rounds: int = 3
    long_rows: int = 256
    long: int = 200
    n_prompts: int = 32
    grid_scale: int = 4
    n_pairs: int = 1000
    limit: int = 75
    minutes: float = 7.5


def full_sizes() -> Sizes:
    """An 8B Llama, and SmolLM2 where it is."""
    config = LlamaConfig(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, max_position_embeddings=8192, tie_word_embeddings=False, bos_token_id=0, eos_token_id=1,
        rope_parameters={"rope_type": "default", "rope_theta": 5e5},
    )  # fmt: skip
    return Sizes(config, torch.bfloat16, "smollm2" if smollm2_file() else "organism")


def small_sizes() -> Sizes:
    """The same in small, in float32."""
    config = LlamaConfig(
        vocab_size=4096, hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return Sizes(
        config, torch.float32, "organism", batches=(1, 3), prompt=8, steps=4, rounds=1, long_rows=4, long=24,
        n_prompts=2, grid_scale=1, n_pairs=4, limit=60,
    )  # fmt: skip


def made(sizes: Sizes) -> Subject:
    """The random model on the device, its tokens named by the organism's tokenizer: what it says means nothing."""
    device = _device()
    with torch.device(device):
        hf_model = AutoModelForCausalLM.from_config(sizes.config, dtype=sizes.dtype).eval()
    tokenizer = load_model("organism", device="cpu").tokenizer
    return subject_of(load_model(hf_model, tokenizer=tokenizer))


def small(sizes: Sizes) -> Subject:
    """SmolLM2 or the organism in the same precision."""
    return subject_of(load_model(sizes.small, device=_device(), dtype=sizes.dtype))


def steps_report(subject: Subject, sizes: Sizes, batch: int) -> str:
    """Milliseconds of a decode step here, unsteered and steered, at transformers' and written by hand, and the floor.

    The floor is the time to read the weights and the cache once, at the measured rate of copying.
    """
    model, n = subject.model, sizes.steps
    generator = torch.Generator().manual_seed(batch)
    ids = torch.randint(5, min(1000, model.d_vocab), (batch, sizes.prompt), generator=generator).to(model.device)
    layer = subject.layers[len(subject.layers) // 2]
    vectors = [random_like(_unit(subject, layer), seed) for seed in range(batch)]
    edits = [vector.everywhere() for vector in vectors]
    added = torch.stack([vector.rows[0] for vector in vectors])

    def ours(steered: bool, new_tokens: int) -> Callable[[], Any]:
        tokens = model.pad(ids.tolist())

        def call() -> Any:
            with steer(model, edits) if steered else nullcontext():
                return generate(model, tokens, max_new_tokens=new_tokens, batch_size=batch, ignore_eos=True)

        return call

    def theirs(new_tokens: int) -> Callable[[], Any]:
        options = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens, "do_sample": False, "pad_token_id": 0}
        return lambda: subject.plain.generate(ids, attention_mask=torch.ones_like(ids), **options)

    ways: dict[str, Callable[[int], Callable[[], Any]]] = {
        "ours, unsteered": lambda k: ours(False, k),
        "ours, steered": lambda k: ours(True, k),
        "transformers.generate": theirs,
        "written by hand, steered": lambda k: HandWritten(subject.plain, ids, k, layer, added).write,
    }
    calls = {f"{name}|{k}": way(k) for name, way in ways.items() for k in (2, n + 2)}
    outs = {name: call() for name, call in calls.items()}  # warms up, and captures where there is anything to capture
    equal = _agreement(outs[f"ours, steered|{n + 2}"].tokens, outs[f"written by hand, steered|{n + 2}"].tolist())
    times = interleaved(calls, sizes.rounds)
    floor = _read_bytes(subject, batch, sizes.prompt + n // 2) / copy_rate(subject)
    rows = []
    for name in ways:
        pairs = zip(times[f"{name}|{n + 2}"], times[f"{name}|2"], strict=True)
        each = [(long.wall - short.wall) / n for long, short in pairs]
        rows.append({
            "": name,
            "ms a step": spread(1e3 * x for x in each),
            "tokens/s": f"{batch / median(each):,.0f}",
            "floor / step": f"{floor / median(each):.2f}",
        })  # fmt: skip
    title = (
        f"step, batch {batch}, prompt {sizes.prompt} ({model.description}, {model.dtype}); floor {1e3 * floor:.2f} ms"
    )
    said = f"  rows whose tokens equal those written by hand: {equal}; products {_products(subject, batch):.2f} ms\n"
    return table(title, rows) + said


def grid_report(subject: Subject, sizes: Sizes, place: PlaceName) -> str:
    """Tokens a second of one large grid: all cells in shared batches."""
    chosen: list[Cell] = cells(subject, sizes.grid_scale)
    length = subject.room(sizes.long, sizes.steps) if place == "from_last_prompt_token" else None
    prompts, conditions = subject.prompts(sizes.n_prompts, length), [cell.condition(place) for cell in chosen]
    counted = []

    def run(n_conditions: int) -> None:
        decoding = Decoding(sizes.steps, 1, log_probs=False)
        kept = run_conditions(subject.model, conditions[:n_conditions], prompts, decoding, progress=False)
        counted.append(int(kept["n_tokens"].sum()))

    run(len(conditions))
    seconds = [took(lambda: run(len(conditions))).wall for _ in range(sizes.rounds)]
    rate = spread((counted[-1] / s for s in seconds), 0)
    what = f"{len(chosen)} cells x {sizes.n_prompts} prompts x {sizes.steps} tokens, {place}"
    return f"grid, {what} ({subject.model.name}, {subject.model.dtype}): {rate} tokens/s\n"


def peers_report(subject: Subject, sizes: Sizes, place: PlaceName) -> str:
    """A small grid here and at the peers'."""
    new_tokens = min(16, sizes.steps)
    length = None if place == "everywhere" else subject.room(sizes.long, new_tokens)
    n = min(4, sizes.n_prompts)
    return grid.report(subject, place, n_prompts=n, length=length, new_tokens=new_tokens, rounds=1)


def company_report(subject: Subject, sizes: Sizes) -> str:
    """Whether a row says in company what it says alone: in half precision, the shape of a batch moves its rounding."""
    model, prompts = subject.model, subject.prompts(32)

    def said(some: list[str], batch_size: int) -> list[list[int]]:
        with steer(model, _unit(subject, subject.layers[0]).everywhere()):
            return generate(model, some, max_new_tokens=sizes.steps, batch_size=batch_size, ignore_eos=True).tokens

    alone = [said([prompt], 1)[0] for prompt in prompts]
    rows = [
        {"": f"batch_size={size}", "rows that say what they say alone": _agreement(said(prompts, size), alone)}
        for size in (1, 8, 32)
    ]
    return table(f"company, {sizes.steps} tokens ({model.name}, {model.dtype})", rows)


def prefill_report(subject: Subject, sizes: Sizes) -> str:
    """Memory that reading long prompts takes over weights and cache; on a CPU, where nobody counts, only the cache."""
    rows, length = sizes.long_rows, subject.room(sizes.long, 1)
    cache = _cache_bytes(subject, rows, length)
    said = f"prefill, {rows} rows of {length} tokens ({subject.model.name}): cache {cache / 2**20:.0f} MiB"
    if not torch.cuda.is_available():
        return said + ", and what is over it is not counted on a CPU\n"
    calls = memory.calls(subject, rows, 1, length)
    found = []
    for what in ("prefill", "prefill, steered", "prefill, all logits"):
        subject.model.release()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        try:
            seconds = took(calls[what]).wall
        except torch.OutOfMemoryError:
            found.append({"": what, "MiB over weights and cache": "out of memory", "s": ""})
        else:
            over = (torch.cuda.max_memory_allocated() - held - cache) / 2**20
            found.append({"": what, "MiB over weights and cache": f"{over:.0f}", "s": f"{seconds:.2f}"})
    return table(said, found)


def parts(sizes: Sizes) -> Iterator[tuple[str, int, Callable[[], str]]]:
    """Every part's name, its limit in seconds and what it prints; the most wanted first."""
    held: dict[str, Subject] = {}

    def kept(name: str, make: Callable[[Sizes], Subject]) -> Callable[[], str]:
        def call() -> str:
            seconds = took(lambda: held.__setitem__(name, make(sizes))).wall
            facts = held[name].model.facts()
            shown = {k: facts[k] for k in ("description", "dtype", "runtime", "attention")}
            return f"{name}: {shown}, loaded in {seconds:.0f} s\n"

        return call

    yield "large", sizes.limit, kept("large", made)
    for batch in sizes.batches:
        yield f"step {batch}", sizes.limit, lambda b=batch: steps_report(held["large"], sizes, b)
    yield "prefill", sizes.limit // 2, lambda: prefill_report(held["large"], sizes)
    if torch.cuda.is_available():
        yield "memory", sizes.limit // 2, lambda: memory.allocated_report(held["large"], length=sizes.long)
    yield "free", 10, lambda: _freed(held)
    yield "small", sizes.limit, kept("small", small)
    places: tuple[PlaceName, ...] = ("everywhere", "from_last_prompt_token")
    for place in places:
        yield f"grid {place}", sizes.limit, lambda p=place: grid_report(held["small"], sizes, p)
    for batch in sizes.batches:
        yield f"small step {batch}", sizes.limit, lambda b=batch: steps_report(held["small"], sizes, b)
    yield "company", sizes.limit, lambda: company_report(held["small"], sizes)
    for batch in sizes.batches:
        yield f"steered {batch}", sizes.limit, lambda b=batch: loops.steered_report(
            held["small"], (b,), new_tokens=sizes.steps, rounds=sizes.rounds
        )  # fmt: skip
    for batch in sizes.batches:
        yield f"loop {batch}", sizes.limit, lambda b=batch: loops.loop_report(
            held["small"], (b,), new_tokens=sizes.steps, rounds=sizes.rounds
        )  # fmt: skip
    for place in places:
        yield f"peers {place}", sizes.limit, lambda p=place: peers_report(held["small"], sizes, p)
    yield "extraction", sizes.limit, lambda: extraction.report(
        held["small"], n_pairs=sizes.n_pairs, rounds=sizes.rounds
    )  # fmt: skip


def main(
    out: Path = Path("gpu.txt"), tiny: bool = False, minutes: float | None = None, only: tuple[str, ...] = ()
) -> None:
    """Print every part's table, and append it to a file as soon as it is there.

    Args:
        only: Beginnings of the names of parts; models are made where parts that need them are asked for.
        out: Where results are kept, part by part.
        tiny: Everything in small, on whatever there is.
        minutes: All parts together; 7.5 where nothing is said.
    """
    sizes = small_sizes() if tiny else full_sizes()
    if not tiny and not torch.cuda.is_available():
        raise SystemExit("no GPU is here: run `python -m benchmarks` on a CPU, or --tiny to try this one out")
    sizes = replace(sizes, minutes=minutes or sizes.minutes)
    ends, failed = time.monotonic() + 60 * sizes.minutes, 0
    _say(setting("benchmarks/gpu.py", " ".join(["python benchmarks/gpu.py", *sys.argv[1:]])), out)
    for name, limit, report in parts(sizes):
        if only and not name.startswith(only):
            continue
        left = int(min(limit, ends - time.monotonic()))
        try:
            if left < 1:
                raise TimeoutError("no time was left")
            with _limited(left), torch.no_grad():
                said = report()
        except Exception as error:  # the other parts are wanted all the same
            failed += 1
            said = f"{name} did not finish: {type(error).__name__}: {' '.join(str(error).split())[:300]}\n"
        _say(said, out)
    if failed:
        raise SystemExit(f"{failed} parts did not finish, see {out}")


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    """Raises TimeoutError in what runs longer."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"it took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _unit(subject: Subject, layer: int) -> SteeringVector:
    """A vector at the layer, as long as a tenth of the stream's width is."""
    return next(v for at, v in subject.vectors().items() if at == layer)


def _read_bytes(subject: Subject, batch: int, length: int) -> float:
    weights = sum(p.numel() * p.element_size() for p in subject.plain.parameters())
    looked_up = subject.plain.get_input_embeddings().weight
    tied = looked_up is subject.plain.get_output_embeddings().weight
    return (
        weights - (0 if tied else looked_up.numel() * looked_up.element_size()) + _cache_bytes(subject, batch, length)
    )


def _cache_bytes(subject: Subject, batch: int, length: int) -> int:
    config = subject.plain.config
    width = config.num_key_value_heads * (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    return 2 * config.num_hidden_layers * width * batch * length * (torch.finfo(subject.model.dtype).bits // 8)


def _products(subject: Subject, batch: int) -> float:
    """Milliseconds that a step's matrix products take by themselves."""
    return 1e3 * 2 * subject.model.n_parameters * batch / product_rate(subject, batch)


def _agreement(ours: list[list[int]], theirs: list[list[int]]) -> str:
    """How many rows are equal, and for how many tokens the others are before rounding parts two likely tokens."""
    equal = [
        next((i for i, (a, b) in enumerate(zip(*row, strict=False)) if a != b), None)
        for row in zip(ours, theirs, strict=True)
    ]
    parted = [n for n in equal if n is not None]
    said = f"{equal.count(None)}/{len(ours)}"
    return said + (f", the others for {median(parted):.0f} tokens (median)" if parted else "")


def _freed(held: dict[str, Subject]) -> str:
    held.clear()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return ""


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _say(text: str, out: Path) -> None:
    if text:
        print(text, flush=True)
        with out.open("a", encoding="utf-8") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    tyro.cli(main)
