"""What a reader sees of the gradient comparison: figures, a table and a sentence, drawn from a run's tables."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from steering_lab.analysis.plots import Figure, condition_bars, tradeoff_curves
from steering_lab.analysis.plots.parts.labels import signed
from steering_lab.evaluation.equal_cost import control_curve
from steering_lab.tables import is_unsteered, strength

from .gradient_arms import CURVES, GATE, GATED, GRADIENT, STEERED, TARGETS, UNSTEERED, VECTOR

BOOTSTRAP = "95 % bootstrap interval over questions"
SYNTHETIC = "Synthetic model organism: shapes, not sizes"
CAPTIONS = {
    "context_against_kl": (
        "Each method from its weakest to its strongest dose; marks are measured doses, the rest is interpolated."
        " The two single marks are what two of the objectives imitate, at their own KL. Reference, not ours, as"
        " reported: a difference in means on Qwen2.5-1.5B takes exclusive context answers from .467 to .569 at .076"
        " nats, to .584 at .170, random vectors of its norm leave .453 (Gupta and Gupta 2026). No number is published"
        " for the gradient form."
    ),
    "iterations_answers": "Validation questions, one budget; the number of iterations was chosen here.",
    "iterations_loss": "Validation questions, one budget: mean loss over its value before the first step.",
    "side_effects": (
        "Each method at the dose whose KL on validation conflicts came nearest to the stated one, without the gate and"
        " with it (blue). Right is the context's answer where it states one, else the memory's. Methods that descend"
        " per query have nothing to descend on without a context. Reference, not ours, as reported by third parties:"
        " ContextFocus takes context answers of Llama-3.1-8B-Instruct on ConFiQA from about 35 % to about 71 %."
    ),
    "cost": (
        "Beyond a plain answer: forward-equivalents per query, one being a plain pass over a prompt with context; what"
        " a vector costs once is shared by the test's questions. Dose as for side effects."
    ),
}


def headline(equal: pd.DataFrame) -> pd.DataFrame:
    """One row per method, one column per KL: context answers with their interval; then the difference to the vector."""
    rows = {method: {"method": method} for method in STEERED}
    for kl, at in equal[equal["draw"].isna()].groupby("cost"):
        for r in at.itertuples():
            rows[r.method][f"at {_nats(kl)}"] = _estimate(_share, r.value, r.low, r.high)
            if r.method != VECTOR:
                apart = _estimate(signed, r.difference, r.difference_low, r.difference_high)
                rows[r.method][f"less {VECTOR} at {kl:g}"] = apart
    band = control_curve(equal)
    rows["random"] = {"method": "random vectors"} | {
        f"at {_nats(b.cost)}": _estimate(_share, None, b.control_low, b.control_high) for b in band.itertuples()
    }
    table = pd.DataFrame(rows.values())
    return table[sorted(table, key=lambda name: (name != "method", name.startswith("less")))].fillna("–")


def _estimate(show: Callable[[float], str], value: float | None, low: float, high: float) -> str:
    """A value with its interval, the interval alone, or a dash."""
    span = "" if np.isnan(low) else f"[{show(low)}, {show(high)}]"
    shown = "" if value is None or np.isnan(value) else show(value)
    return " ".join(part for part in (shown, span) if part) or "–"


def _share(value: float) -> str:
    return f"{value:.2f}"


def finding(run: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:
    """What the methods give at the KL nearest to the one looked at, what they need and what they cost, in sentences."""
    costs = run["equal"]["cost"].unique()
    nearest = costs[np.abs(np.log(costs / run["config"]["kl"])).argmin()]
    equal = run["equal"]
    at = equal[equal["draw"].isna() & (equal["cost"] == nearest)].set_index("method")
    apart = {
        method: _estimate(signed, row.difference, row.difference_low, row.difference_high)
        for method, row in at.drop(index=VECTOR).iterrows()
    }
    sweep, spent = run["sweep"], run["costs"].set_index("method")
    layers = sweep[sweep["varied"] == "layers"].pivot(index="method", columns="n_layers", values="context")
    wide = {m: f"{row.iloc[0]:.2f} to {row.iloc[-1]:.2f}" for m, row in layers.iterrows()}
    each = {
        m: f"{spent.loc[m, 'forward_equivalents']:.1f} ({1000 * spent.loc[m, 'seconds']:.0f} ms)"
        for m in (*GRADIENT[1:], GATE)
    }
    base = at.loc[VECTOR]
    return (
        f"At {_nats(nearest)} of KL the {VECTOR} vector gives {_estimate(_share, base.value, base.low, base.high)}"
        f" context answers; against it: {_listed(apart)} (a dash: it does not move the model that far). Iterations"
        f" needed: {_listed(chosen['iterations'])}. From one layer to {layers.columns.max()}: {_listed(wide)}."
        f" Forward-equivalents per query: {_listed(each)}."
    )


def _listed(things: Mapping[str, object]) -> str:
    return "; ".join(f"{name} {thing}" for name, thing in things.items())


def figures(run: Mapping[str, Any], chosen: Mapping[str, Any], about: str) -> dict[str, Figure]:
    """Answers against KL, answers and loss against iterations, side effects with and without the gate, cost."""
    summary, sweep, config = run["summary"], run["sweep"], run["config"]
    conflict = summary[summary["part"] == "conflict"]
    plain = conflict[is_unsteered(conflict) & (conflict["metric"] == "context")].iloc[0]
    n = f"{plain['n']} held-out conflicts on {plain['n_prompts']} questions"
    answers = {"y_label": "context answers", "percent": True}
    trace = sweep[sweep["varied"] == "iterations"]
    searched = {"subtitle": f"{about}, validation questions, budget {config['budget']:g} residual norms"}
    iterations = {"x": "iterations", "x_label": "iterations at most", **searched}
    return {
        "context_against_kl": tradeoff_curves(
            pd.concat([run["curves"], _target_points(conflict)]), x="cost", y="value", curves=CURVES,
            levels={UNSTEERED: plain["value"]}, x_label="KL(unsteered ‖ steered) at the answer's first token, nats",
            title="Context answers against distance from the unsteered model", subtitle=f"{about}, {n}",
            interval=f"Bands: {BOOTSTRAP}", **answers,
        ),
        "iterations_answers": tradeoff_curves(
            trace, y="context", title="Context answers against iterations", **iterations, **answers
        ),
        "iterations_loss": tradeoff_curves(
            trace.assign(left=trace["loss"] / trace["loss_start"]), y="left", title="Loss against iterations",
            y_label="loss left of the start's", percent=True, **iterations,
        ),
        "side_effects": condition_bars(
            _at_chosen(summary, chosen), metric="right", percent=True, metric_label="right answers", subtitle=about,
            title=f"Right answers of every kind, doses nearest to {_nats(config['kl'])}",
            conditions=[UNSTEERED, *(name for method in STEERED for name in (method, method + GATED))],
            focus=[method + GATED for method in STEERED], interval=BOOTSTRAP,
        ),
        "cost": tradeoff_curves(
            _cost_points(conflict, run["costs"], chosen), x="forward_equivalents", y="effect", curves=CURVES,
            title=f"What context answers cost, doses nearest to {_nats(config['kl'])}", subtitle=f"{about}, {n}",
            x_label="forward-equivalents per query beyond a plain answer", interval=f"Bars: {BOOTSTRAP}",
            y_label="context answers, difference to unsteered",
        ),
    }  # fmt: skip


def _nats(kl: float) -> str:
    return f"{kl:g} nat" + ("" if kl == 1 else "s")


def _target_points(conflict: pd.DataFrame) -> pd.DataFrame:
    rows = conflict[conflict["method"].isin(TARGETS)].pivot_table(index="method", columns="metric", values="value")
    return (
        rows.reset_index()
        .rename(columns={"kl": "cost", "context": "value"})[["method", "cost", "value"]]
        .assign(measured=True)
    )


def _at_chosen(summary: pd.DataFrame, chosen: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of each method's chosen dose, gated or not, and of the unsteered model; `group` is the regime."""
    own = {UNSTEERED: 0.0, **chosen["doses"]}
    doses = summary["method"].map(own | {method + GATED: dose for method, dose in own.items()})
    names = summary["part"].str.replace("_", " ")
    return summary[strength(summary) == doses].assign(condition=lambda rows: rows["method"], group=names)


def _cost_points(conflict: pd.DataFrame, costs: pd.DataFrame, chosen: Mapping[str, Any]) -> pd.DataFrame:
    """What each method at its chosen dose adds to context answers, and its cost: the once-paid shared by all rows."""
    at = pd.concat([_at_chosen(conflict, chosen), conflict[conflict["method"].isin(TARGETS)]])
    context = at[(at["metric"] == "context") & at["method"].isin([*STEERED, *TARGETS])]
    joined = context[["method", "effect", "low", "high", "n"]].merge(costs, on="method")
    shared = joined["once_forward_equivalents"] / joined["n"]
    return joined.assign(forward_equivalents=joined["forward_equivalents"] + shared)
