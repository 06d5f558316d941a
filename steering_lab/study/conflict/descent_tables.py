"""What vectors and descended deltas did, as tables, and what they cost: passes and seconds, once and per query."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from steering_lab.data.templates import PromptStyle
from steering_lab.evaluation.measuring.next_token import next_token_kl
from steering_lab.evaluation.measuring.speed import decoding_costs
from steering_lab.evaluation.running.condition import Condition
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.conflict_gate import ConflictGate
from steering_lab.methods.delta.result import Result
from steering_lab.models.hook_points import HookSite
from steering_lab.study.conflict.answers import by_question, summaries
from steering_lab.study.conflict.asking import as_asked
from steering_lab.study.conflict.descents import (
    GATE,
    GROUNDED,
    TARGETS,
    UNSTEERED,
    VECTOR,
    Comparison,
    Steered,
    find_gate,
    targets,
)
from steering_lab.study.conflict.questions import Part, Rows

TIMED = 16  # questions whose decoding is timed


def measured(comparison: Comparison, conditions: Sequence[Condition], part: Part) -> pd.DataFrame:
    """The tidy table of answers and of KL(unsteered ‖ condition) at their first token, in nats.

    Args:
        comparison: The run and its model.
        conditions: What is asked.
        part: The rows that are asked.
    """
    asking, answering = comparison.asking, comparison.answering
    answers = answering.generations([(asking.model, conditions)], part)
    [unsteered, *asked] = as_asked([asking.unsteered(), *conditions], part.rows)
    kl = next_token_kl(asking.model, asked, part.rows, unsteered)
    return pd.concat([answering.measured(answers, part), by_question(kl, part)])


def swept(comparison: Comparison, steered: Sequence[Steered], part: Part) -> pd.DataFrame:
    """One row per method and strength: what it did on average, and what its descents spent.

    Args:
        comparison: The run and its model.
        steered: The conditions, with what their descents spent.
        part: The rows that are asked.
    """
    table = measured(comparison, list({one.condition.name: one.condition for one in steered}.values()), part)
    return _swept(table, steered)


def swept_with_intervals(comparison: Comparison, steered: Sequence[Steered], part: Part) -> pd.DataFrame:
    """`swept` of vectors, with the effect on context answers less the unsteered model's: effect, low, high, why.

    Args:
        comparison: The run and its model.
        steered: The conditions, each with a layer and coefficient of its own.
        part: The rows that are asked.
    """
    table = measured(comparison, [comparison.asking.unsteered(), *(one.condition for one in steered)], part)
    effects = summaries(table, comparison.config.seed)
    effects = effects[(effects["metric"] == "context") & (effects["role"] == "steered")]
    at = ["method", "layer", "coeff"]
    return _swept(table, steered).merge(effects[[*at, "effect", "low", "high", "why"]], on=at, how="left")


def _swept(table: pd.DataFrame, steered: Sequence[Steered]) -> pd.DataFrame:
    means = table.groupby(["condition", "metric"])["value"].mean()

    def row(one: Steered) -> dict[str, Any]:
        did = {metric: means[one.condition.name, metric] for metric in ("context", "memory", "kl")}
        return {**asdict(one.condition.factors), **did, **mean_spent(one.results)}

    return pd.DataFrame([row(one) for one in steered])


def gate_table(gate: ConflictGate, part: Part) -> pd.DataFrame:
    """One row per question of `part`: what `gate` measured, and whether it is open."""
    known = {"divergence": gate.divergence.tolist(), "agrees": gate.agrees, "open": gate.open}
    return pd.DataFrame({"row": [row.id for row in part.rows], **part.columns, **known})


def mean_spent(results: Sequence[Result]) -> dict[str, float]:
    """Loss before and after, forward-equivalents and seconds of a descent, on average over `results`; NaN for none."""
    each = [(o.losses[0], o.losses[-1], o.forward_equivalents, o.seconds) for o in results]
    means = np.mean(each, axis=0) if each else np.full(4, np.nan)
    return dict(zip(("loss_start", "loss", "forward_equivalents", "seconds"), means.tolist(), strict=True))


def costs(
    comparison: Comparison, rows: Rows, chosen: Sequence[Steered], site: HookSite, threshold: float,
    vector_seconds: float,
) -> pd.DataFrame:  # fmt: skip
    """One row per method at its chosen strength: what it costs once and per query beyond a plain answer, and its speed.

    A forward-equivalent is one plain pass over a prompt with context. `cosine` is that of the deltas with the
    mean-difference vector, on average.

    Args:
        comparison: The run.
        rows: Conflicts, with their context.
        chosen: Each method at its chosen strength.
        site: The chosen site.
        threshold: The gate's.
        vector_seconds: What it took to make the mean-difference vectors.
    """
    asking, answer = comparison.asking, comparison.config.max_new_tokens
    plain, bare, instructed = (_length(comparison, s, rows) for s in ("with_context", "closed_book", "instructed"))
    made_from = comparison.vector_rows
    read = _length(comparison, "instructed", made_from) + _length(comparison, "closed_book", made_from)
    started = time.perf_counter()
    find_gate(comparison, rows, threshold)
    gate_seconds = (time.perf_counter() - started) / len(rows)
    spent: dict[str, dict[str, float]] = {
        UNSTEERED: {},
        TARGETS[0]: {"forward_equivalents": instructed / plain - 1},
        TARGETS[1]: {"forward_equivalents": (bare + answer) / plain},
        GATE: {"forward_equivalents": 1 + (2 * bare + answer) / plain, "seconds": gate_seconds},
        VECTOR: {"once_forward_equivalents": read * len(made_from) / plain, "once_seconds": vector_seconds},
    }
    for one in chosen:
        if one.results:
            method, mean = one.condition.factors.method, mean_spent(one.results)
            cosines = [_cosine(result.vectors[0], comparison.vectors[site]) for result in one.results]
            when, of = ("once_", len(comparison.labelled)) if method == GROUNDED else ("", 1)
            spent[method] = {
                f"{when}forward_equivalents": mean["forward_equivalents"] * of,
                f"{when}seconds": mean["seconds"],
                "cosine": float(np.mean(cosines)),
            }
    decoded = [asking.unsteered(), *targets(comparison), *(one.condition for one in chosen)]
    speeds = decoding_costs([(asking.model, condition) for condition in decoded], rows[:TIMED], max_new_tokens=answer)
    nothing = {f"{when}{what}": 0.0 for when in ("once_", "") for what in ("forward_equivalents", "seconds")}
    spent_by = pd.DataFrame([{"method": method, **nothing, **own} for method, own in spent.items()])
    speeds = speeds.assign(method=[condition.factors.method for condition in decoded]).drop(columns="condition")
    return spent_by.merge(speeds, on="method", how="left")


def _length(comparison: Comparison, style: PromptStyle, rows: Rows) -> float:
    """Tokens of a prompt in `style`, on average."""
    texts = comparison.asking.texts(style, rows)
    return float(np.mean([len(comparison.asking.model.token_ids(text)) for text in texts]))


def _cosine(left: SteeringVector, right: SteeringVector) -> float:
    return float((left.unit().rows * right.unit().rows).sum())
