"""What a reader sees of methods compared at equal KL: figures, a table and sentences, drawn from a run's tables."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from steering_lab.analysis.plots import Figure, condition_bars, tradeoff_curves
from steering_lab.analysis.plots.parts.labels import signed
from steering_lab.evaluation.inferring.equal_cost import control_curve
from steering_lab.runs import read_run
from steering_lab.study.conflict.descents import CURVES, GATE, GATED, GRADIENT, STEERED, TARGETS, UNSTEERED, VECTOR
from steering_lab.study.conflict.naming import kinds_of, of_conflicts
from steering_lab.study.page import Parts, publish
from steering_lab.tables import TIDY, is_unsteered, strength

BOOTSTRAP = "95 % interval over questions"
SYNTHETIC = "Synthetic model organism: shapes, not sizes"
CAPTIONS = {
    "context_against_kl": (
        "Each method from its weakest to its strongest; marks were measured, the rest is interpolated."
        " The two single marks are what two of the objectives imitate, at their own KL. Reference, not ours, as"
        " reported: a difference in means on Qwen2.5-1.5B takes exclusive context answers from .467 to .569 at .076"
        " nats, to .584 at .170, random vectors of its norm leave .453 (Gupta and Gupta 2026). No number is published"
        " for the gradient form."
    ),
    "iterations_answers": "Validation questions, one budget; the number of iterations was chosen here.",
    "iterations_loss": "Validation questions, one budget: mean loss over its value before the first step.",
    "side_effects": (
        "Each method at the strength whose KL on validation conflicts came nearest to the stated one, without the gate"
        " and with it (blue). Right is the context's answer where it states one, else the memory's. Methods that"
        " descend per query have nothing to descend on without a context. Reference, not ours, by third parties:"
        " ContextFocus takes context answers of Llama-3.1-8B-Instruct on ConFiQA from about 35 % to about 71 %."
    ),
    "cost": (
        "Beyond a plain answer: forward-equivalents per query, one being a plain pass over a prompt with context; what"
        " a vector costs once is shared by the test's questions. Strength as for side effects."
    ),
}


def report_equal_kl(folder: str | Path) -> Path:
    """Draws the figures of a finished run again from its tables, writes its page, and returns the page's path."""
    parts = read_run(folder, {name: TIDY[name] for name in ("table", "summary")})
    model, config = parts["model"], parts["config"]
    kind = f"synthetic model {model['name']}" if config["model"] == "organism" else model["name"]
    drawn = figures(parts, f"{kind}, layer {parts['chosen']['layer']} of {model['n_layers']}")
    about = SYNTHETIC if config["model"] == "organism" else kind
    return publish(
        folder,
        parts,
        title=f"Context steering by gradient on {model['name']}",
        findings=[finding(parts)],
        headline=headline(parts["equal"]),
        figures=drawn,
        headline_note=(
            "Share of greedy answers that state the context's answer and not the memory's on held-out conflicts, read"
            " off each method's own curve where its mean KL(unsteered ‖ steered) at the answer's first token is the one"
            f" named. A dash: the method at its strongest stays below. Intervals: {BOOTSTRAP}, the cost's"
            f" uncertainty included. Random vectors: where one more would fall, judged by {config['n_random']} draws."
        ),
        captions={name: f"{about}. {CAPTIONS[name]}" for name in drawn},
    )


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
    kls = sorted(equal["cost"].unique())
    columns = ["method", *(f"at {_nats(kl)}" for kl in kls), *(f"less {VECTOR} at {kl:g}" for kl in kls)]
    return pd.DataFrame(rows.values()).reindex(columns=columns).fillna("–")


def _estimate(show: Callable[[float], str], value: float | None, low: float, high: float) -> str:
    """A value with its interval, the interval alone, or a dash."""
    span = "" if np.isnan(low) else f"[{show(low)}, {show(high)}]"
    shown = "" if value is None or np.isnan(value) else show(value)
    return " ".join(part for part in (shown, span) if part) or "–"


def _share(value: float) -> str:
    return f"{value:.2f}"


def finding(parts: Parts) -> str:
    """What the methods give at the KL nearest to the one looked at, what they need and what they cost, in sentences."""
    costs = parts["equal"]["cost"].unique()
    nearest = costs[np.abs(np.log(costs / parts["config"]["kl"])).argmin()]
    equal = parts["equal"]
    at = equal[equal["draw"].isna() & (equal["cost"] == nearest)].set_index("method")
    apart = {
        method: _estimate(signed, row.difference, row.difference_low, row.difference_high)
        for method, row in at.drop(index=VECTOR).iterrows()
    }
    sweep, spent = parts["sweep"], parts["costs"].set_index("method")
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
        f" needed: {_listed(parts['chosen']['iterations'])}. From one layer to {layers.columns.max()}: {_listed(wide)}."
        f" Forward-equivalents per query: {_listed(each)}."
    )


def _listed(things: Mapping[str, object]) -> str:
    return "; ".join(f"{name} {thing}" for name, thing in things.items())


def figures(parts: Parts, about: str) -> dict[str, Figure]:
    """Answers against KL, answers and loss against iterations, side effects with and without the gate, cost."""
    summary, sweep, config = parts["summary"], parts["sweep"], parts["config"]
    conflict, strengths = of_conflicts(summary), parts["chosen"]["strengths"]
    plain = conflict[is_unsteered(conflict) & (conflict["metric"] == "context")].iloc[0]
    n = f"{plain['n']} held-out conflicts on {plain['n_prompts']} questions"
    trace = sweep[sweep["varied"] == "iterations"]
    trace = trace.assign(left=trace["loss"] / trace["loss_start"])
    searched = f"{about}, validation questions, budget {config['budget']:g} residual norms"
    nearest = f"strengths nearest to {_nats(config['kl'])}"
    traced = {"context": ("Context answers", "context answers"), "left": ("Loss", "loss left of the start's")}
    over_iterations = {
        y: tradeoff_curves(
            trace, x="iterations", y=y, percent=True, x_label="iterations at most", y_label=label, subtitle=searched,
            title=f"{title} against iterations",
        )
        for y, (title, label) in traced.items()
    }  # fmt: skip
    return {
        "context_against_kl": tradeoff_curves(
            pd.concat([parts["curves"], _target_points(conflict)]), x="cost", y="value", curves=CURVES,
            levels={UNSTEERED: plain["value"]}, x_label="KL(unsteered ‖ steered) at the answer's first token, nats",
            title="Context answers against distance from the unsteered model", subtitle=f"{about}, {n}",
            interval=f"Bands: {BOOTSTRAP}", y_label="context answers", percent=True,
        ),
        "iterations_answers": over_iterations["context"],
        "iterations_loss": over_iterations["left"],
        "side_effects": condition_bars(
            _at_chosen(summary, strengths), metric="right", percent=True, metric_label="right answers", subtitle=about,
            title=f"Right answers of every kind, {nearest}",
            conditions=[UNSTEERED, *(name for method in STEERED for name in (method, method + GATED))],
            focus=[method + GATED for method in STEERED], interval=BOOTSTRAP,
        ),
        "cost": tradeoff_curves(
            _cost_points(conflict, parts["costs"], strengths), x="forward_equivalents", y="effect", curves=CURVES,
            title=f"What context answers cost, {nearest}", subtitle=f"{about}, {n}", interval=f"Bars: {BOOTSTRAP}",
            x_label="forward-equivalents per query beyond a plain answer",
            y_label="context answers, difference to unsteered",
        ),
    }  # fmt: skip


def _nats(kl: float) -> str:
    return f"{kl:g} nat" + ("" if kl == 1 else "s")


def _target_points(conflict: pd.DataFrame) -> pd.DataFrame:
    rows = conflict[conflict["method"].isin(TARGETS)].pivot_table(index="method", columns="metric", values="value")
    points = rows.reset_index().rename(columns={"kl": "cost", "context": "value"})
    return points[["method", "cost", "value"]].assign(measured=True)


def _at_chosen(summary: pd.DataFrame, strengths: Mapping[str, float]) -> pd.DataFrame:
    """The rows of each method at its chosen strength, gated or not, and of the unsteered model."""
    own = {UNSTEERED: 0.0, **strengths}
    wanted = summary["method"].map(own | {method + GATED: one for method, one in own.items()})
    return summary[strength(summary) == wanted].assign(condition=lambda rows: rows["method"], group=kinds_of)


def _cost_points(conflict: pd.DataFrame, costs: pd.DataFrame, strengths: Mapping[str, float]) -> pd.DataFrame:
    """What each method at its chosen strength adds to context answers, and its cost: the once-paid shared by all."""
    at = pd.concat([_at_chosen(conflict, strengths), conflict[conflict["method"].isin(TARGETS)]])
    context = at[(at["metric"] == "context") & at["method"].isin([*STEERED, *TARGETS])]
    joined = context[["method", "effect", "low", "high", "n"]].merge(costs, on="method")
    shared = joined["once_forward_equivalents"] / joined["n"]
    return joined.assign(forward_equivalents=joined["forward_equivalents"] + shared)
