"""Runs conditions on prompts in shared batches and measures what came out.

Every (condition, example, sample) is one batch row that carries its own intervention, so a layer x coefficient grid
runs as a few wide batches instead of one `generate` per cell. Sample s of example p draws the same random numbers under
every condition: comparisons are paired, and the zero edit reproduces the unsteered text.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

import pandas as pd
import torch

from steering_lab.evaluation.measuring.measures import Measures, check_measures, measure_table
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.groups import CellsFailed, Elsewhere, Failed, Rows, Work, here, numerics_of
from steering_lab.evaluation.running.seeds import seed_of
from steering_lab.evaluation.running.writing import Example, example_key
from steering_lab.interventions.intervention import Edit, Intervention
from steering_lab.interventions.source import Permissions
from steering_lab.interventions.steering import steer
from steering_lab.models.generation import NoNumbers, Sampling, continuation_log_probs, generate
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.integers import Whole, whole_number
from steering_lab.models.progress import Speed, progress_bar
from steering_lab.tables import GENERATIONS, checked

if TYPE_CHECKING:
    Conditions = Sequence[Condition]
else:
    Conditions = object  # what `run_conditions` has looked at is one


@dataclass(frozen=True)
class Decoding:
    """How every condition of a comparison is decoded alike: `n_samples` continuations per prompt.

    Without `log_probs` they are NaN, and the pass that scores a continuation under the unsteered model is saved.

    Args:
        max_new_tokens: How many tokens a continuation has at most.
        n_samples: Continuations per prompt.
        sampling: How tokens are drawn.
        seed: What random draws follow from.
        stop: Texts before which a continuation ends.
        log_probs: Whether continuations are scored under the unsteered model too; without, log-probabilities are NaN.

    Raises:
        ValueError: a number of tokens or samples below 1, or one or a seed that is no integer.
    """

    max_new_tokens: Whole = 24
    n_samples: Whole = 4
    sampling: Sampling = field(default_factory=Sampling)
    seed: Whole = 0
    stop: tuple[str, ...] = ()
    log_probs: bool = True

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "n_samples", "seed"):
            object.__setattr__(self, name, whole_number(getattr(self, name), name))
        for name in ("max_new_tokens", "n_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be 1 or more")


DECODING = Decoding()


class Evaluation(NamedTuple):
    """`generations`: one row per continuation. `table`: one row per continuation and measure."""

    generations: pd.DataFrame
    table: pd.DataFrame


def evaluate(
    model: HookedModel,
    conditions: Conditions,
    examples: Sequence[Example],
    measures: Measures,
    decoding: Decoding = DECODING,
    **options: Any,
) -> Evaluation:
    """Generations of every condition on every example, and the tidy table of `measures` on them (`run_conditions`).

    Args:
        model: The model that is asked.
        conditions: What is compared; names differ.
        examples: The prompts or questions that every condition is asked.
        measures: What is measured of each continuation.
        decoding: How continuations are drawn, alike for all.
        **options: Those of `run_conditions`.

    Raises:
        ValueError: no measure, or something that is none, before anything is generated; or as `run_conditions`.
    """
    check_measures(measures)
    generations = run_conditions(model, conditions, examples, decoding, **options)
    return Evaluation(generations, measure_table(generations, measures))


def run_conditions(
    model: HookedModel,
    conditions: Conditions,
    examples: Sequence[Example],
    decoding: Decoding = DECODING,
    *,
    batch_size: int = 512,
    kept: Mapping[str, Rows] | None = None,
    keep: Callable[[Mapping[str, Rows]], None] | None = None,
    ask: Callable[[Mapping[str, str]], None] | None = None,
    fail: Callable[[Mapping[str, str], str], None] | None = None,
    elsewhere: Elsewhere | None = None,
    progress: bool | None = None,
    bare: Callable[[Example], str] | None = None,
    **permissions: Unpack[Permissions],
) -> pd.DataFrame:
    """One row per condition, example and sample, with the columns of `tables.GENERATIONS`.

    `prompt` is the example's key: a bare prompt itself, or a question's id. Log-probabilities are nats summed over the
    continuation: under the condition as it ran, and under the unsteered model given the bare prompt (for a question,
    the prompt as the condition writes it); `bare` writes that prompt where it is not the text itself, as in a chat.
    `kept` maps `cell_key`s to rows of an earlier run, which are not computed
    again; `keep` is called with each finished group of cells, by key. Which cells make a group follows from the
    conditions alone, so that a run that was killed goes on with batches such as it would have made.
    `ask` is called first with the name of every cell by its key, `fail` with those of a group that could not be
    computed and its error: then the other groups go on. Without `fail` an error ends the whole at once, and so does one
    of the caller's (a ValueError) before any cell is there. `elsewhere` does the groups in other processes
    (`steering_lab.executors`). `permissions` are those of `steer`: `allow_other_model`, `allow_other_prefix`.

    Args:
        model: The model that is asked.
        conditions: What is compared; names differ.
        examples: The prompts or questions that every condition is asked.
        decoding: How continuations are drawn, alike for all.
        batch_size: Rows decoded in one batch at most.
        kept: Rows of an earlier run by `cell_key`, which are not computed again.
        keep: Called with each finished group of cells, by key.
        ask: Called first with the name of every cell by its key.
        fail: Called with the cells of a group that could not be computed, and the error; then the other groups go on.
        elsewhere: Does the groups in other processes (`steering_lab.executors`).
        progress: Whether a bar is shown; None is one on a terminal.
        bare: Writes the bare prompt that the unsteered model scores a continuation behind.
        **permissions: Those of `steer`: `allow_other_model`, `allow_other_prefix`.

    Raises:
        ValueError: no conditions or examples, a name or an example twice, or whatever `steer` and `generate` refuse.
        CellsFailed: `fail` was called; by then every other cell is kept.
    """
    if isinstance(examples, str):
        raise ValueError(f"examples is one text: write [{examples!r}]")
    if isinstance(conditions, Condition):
        raise ValueError(f"conditions is one condition, {conditions.name!r}: write [UNSTEERED, condition]")
    names = [condition.name for condition in conditions]
    if not conditions or not examples:
        raise ValueError(f"nothing to run: {len(conditions)} conditions on {len(examples)} examples")
    shown = [example_key(example) for example in examples]
    if len(set(shown)) < len(shown):
        raise ValueError(f"the example {max(shown, key=shown.count)!r} is there twice, which would count it twice")
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"conditions need names of their own, {sorted(twice)[0]!r} is there twice")
    keys = {c.name: cell_key(model, c, examples, decoding, bare) for c in conditions}
    cells: dict[str, Rows] = {name: kept[key] for name, key in keys.items() if kept and key in kept}
    if ask is not None:
        ask({key: name for name, key in keys.items()})
    groups = _groups(conditions, examples, decoding, batch_size)
    waiting = [left for group in groups if (left := [c for c in group if c.name not in cells])]
    works = [Work(_run_together, c, examples, (decoding, batch_size, permissions), bare) for c in waiting]
    errors: dict[str, str] = {}
    bar = progress_bar(what="cells", shown=progress, total=len(conditions), initial=len(cells), leave=True)
    with bar, (speed := Speed(bar, "tokens")).listening():
        for work, found in (elsewhere or here)(model, works):
            if isinstance(found, Failed):
                if fail is None or (not cells and isinstance(found.error, ValueError)):
                    raise found.error
                said = f"{type(found.error).__name__}: {found.error}"
                errors |= dict.fromkeys(work.names, said)
                fail({keys[name]: name for name in work.names}, said)
                continue
            cells |= found
            if keep is not None:
                keep({keys[name]: rows for name, rows in found.items()})
            speed.add(sum(row["n_tokens"] for rows in found.values() for row in rows))
            bar.update(len(work.conditions))
    if errors:
        raise CellsFailed(errors, len(conditions))
    return _as_table(conditions, cells)


def cell_key(
    model: HookedModel,
    condition: Condition,
    examples: Sequence[Example],
    decoding: Decoding,
    bare: Callable[[Example], str] | None = None,
) -> str:
    """A hash of everything that determines a cell's rows: weights, numerics, edit, prompts, decoding.

    Args:
        model: The model that is asked.
        condition: What is done to each example.
        examples: The prompts or questions that every condition is asked.
        decoding: How continuations are drawn, alike for all.
        bare: As in `run_conditions`.
    """
    shared = isinstance(condition.intervention, Intervention)
    edits = [_described(condition.intervention_for(example)) for example in (examples[:1] if shared else examples)]
    numerics = numerics_of(model)
    written = [[example_key(e), condition.write(e)] for e in examples]
    second = [condition.without_context(e) for e in examples] if condition.without_context else None
    whole = [numerics, asdict(condition.factors), edits, written, repr(condition.rule), second, asdict(decoding)]
    if bare is not None:
        whole.append([bare(e) for e in examples])
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:24]


def _described(intervention: Intervention) -> list[list[Any]]:
    return [
        [*_kind(t.edit), str(t.edit.site), asdict(t.place), t.coeff, hashlib.sha256(_bytes(t.edit.rows)).hexdigest()]
        for t in intervention.terms
    ]


def _kind(edit: Edit) -> tuple[str, dict[str, Any]]:
    """Which class of edits, wherever it is defined, with which settings."""
    return f"{type(edit).__module__}.{type(edit).__qualname__}", edit.settings


def _bytes(rows: torch.Tensor) -> bytes:
    return rows.detach().to("cpu", torch.float32).contiguous().numpy().tobytes()


def row_seed(seed: int, prompt: int, sample: int) -> int:
    """The seed of continuation `sample` of `prompt`: the same under every condition."""
    return seed_of(seed, prompt, sample)


def _run_together(
    model: HookedModel,
    conditions: Sequence[Condition],
    examples: Sequence[Example],
    decoding: Decoding,
    batch_size: int,
    permissions: Permissions,
    reading: Callable[[Example], str] | None,
) -> Iterator[tuple[str, Rows]]:
    """The cells of conditions that share a rule, from one batch."""
    places = [(p, s) for p in range(len(examples)) for s in range(decoding.n_samples)]
    written = [condition.write(examples[p]) for condition in conditions for p, _ in places]
    rule, second = conditions[0].rule, None
    if rule is not None:
        second = [c.without_context(examples[p]) for c in conditions for p, _ in places]  # type: ignore[misc]
    edits = [condition.intervention_for(examples[p]) for condition in conditions for p, _ in places]
    try:
        with steer(model, edits, **permissions):
            out = generate(
                model,
                written,
                max_new_tokens=decoding.max_new_tokens,
                sampling=decoding.sampling,
                seed=[row_seed(decoding.seed, p, s) for _ in conditions for p, s in places],
                stop=decoding.stop,
                batch_size=batch_size,
                log_probs=decoding.log_probs,
                rule=rule,
                without_context=second,
            )
    except NoNumbers as error:
        raise ValueError(f"under {conditions[error.row // len(places)].name!r}: {error}") from error
    unknown = [[math.nan]] * len(written)
    own, plain_of_all = out.log_probs or unknown, out.unsteered_log_probs or unknown
    for i, condition in enumerate(conditions):
        span = slice(i * len(places), (i + 1) * len(places))
        plain, bare = plain_of_all[span], [example_key(examples[p]) for p, _ in places]
        read = bare if reading is None else [reading(examples[p]) for p, _ in places]
        if decoding.log_probs and isinstance(examples[0], str) and written[span] != read:
            plain = continuation_log_probs(model, model.to_tokens(read).rows, out.tokens[span])
        columns = zip(bare, places, out.texts[span], out.tokens[span], own[span], plain, strict=True)
        yield (
            condition.name,
            [
                {
                    "prompt": key,
                    "sample": s,
                    "text": text,
                    "n_tokens": len(tokens),
                    "log_prob_unsteered": sum(unsteered),
                    "log_prob_steered": sum(steered),
                }
                for key, (_, s), text, tokens, steered, unsteered in columns
            ],
        )


def _as_table(conditions: Sequence[Condition], cells: Mapping[str, Rows]) -> pd.DataFrame:
    rows = [{"condition": c.name, **asdict(c.factors), **row} for c in conditions for row in cells[c.name]]
    return checked(pd.DataFrame(rows), GENERATIONS)[GENERATIONS.names]


SHARED = 4  # batches in a group of conditions whose edits leave most of a prompt alone


def _groups(
    conditions: Sequence[Condition], examples: Sequence[Example], decoding: Decoding, batch_size: int
) -> Iterator[Sequence[Condition]]:
    """Conditions that run together, all with the same rule: about a batch of rows.

    Several batches where the edits begin late in the prompt: it is read once for all the cells of a group.
    """
    rows = len(examples) * decoding.n_samples

    def kind(condition: Condition) -> tuple[Any, bool]:
        interventions = [condition.intervention_for(example) for example in examples[:1]]
        return condition.rule, all(term.place.late for one in interventions for term in one.terms)

    for (_, late), alike in groupby(conditions, key=kind):
        same, size = list(alike), max(1, (SHARED * batch_size if late else batch_size) // rows)
        for start in range(0, len(same), size):
            yield same[start : start + size]
