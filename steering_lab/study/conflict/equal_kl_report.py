"""What a reader sees of methods compared at equal KL: figures, a table and sentences, drawn from a run's tables."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steering_lab.analysis.plots import Figure, condition_bars, tradeoff_curves
from steering_lab.analysis.plots.parts.labels import signed
from steering_lab.evaluation.inferring.equal_cost import control_curve
from steering_lab.evaluation.running.control_vectors import RANDOM_DELTA
from steering_lab.numerics.written import reach
from steering_lab.runs import read_run
from steering_lab.study.conflict.descents import CURVES, GATE, GATED, GRADIENT, GROUNDED, TARGETS, UNSTEERED, VECTOR
from steering_lab.study.conflict.naming import OVER_QUESTIONS, kinds_of, of_conflicts, parts_of
from steering_lab.study.expectations import check, expected_answers
from steering_lab.study.page import NOTHING, Parts, described, publish
from steering_lab.tables import TIDY, is_unsteered, strength

INTERVAL = "95 % interval over questions"
CAPTIONS = {
    "context_against_kl": (
        "Each method from its weakest to its strongest; marks were measured, the rest is interpolated. The two single"
        " marks are what the objectives “imitate instructed” and “contrast closed book” imitate, at their own KL."
    ),
    "iterations_answers": "The number of iterations was chosen here.",
    "iterations_loss": "Mean loss over its value before the first step.",
    "side_effects": (
        "Right is the context's answer where it states one, else the memory's. All are read off at one KL, that under"
        " conflict, without the gate and with it (blue). Methods that descend per query have nothing to descend on"
        " without a context."
    ),
    "cost": (
        "Beyond a plain answer: forward-equivalents per query, one being a plain pass over a prompt with context; what"
        " a vector costs once is shared by the test's questions. CAD and the instructed prompt, which objectives"
        " can imitate, stand at their own KL; what costs no more than a plain answer has no place on this axis."
    ),
}


def report_equal_kl(folder: str | Path) -> Path:
    """Draws the figures of a finished run again from its tables, writes its page, and returns the page's path.

    Args:
        folder: The folder of the finished run; `index.html` and the figures in it are replaced.
    """
    parts = read_run(folder, {name: TIDY[name] for name in ("table", "summary")})
    config = parts["config"]
    if "nothing_chosen" in parts["chosen"]:
        return _report_nothing(folder, parts)
    about = described(config["model"], parts["model"])
    drawn = figures(parts, f"{about}; layer {parts['chosen']['layer']}")
    return publish(
        folder,
        parts,
        title=f"Context steering by gradient on {about}",
        findings=[first_sentence(parts), *findings(parts)],
        headline=headline(parts),
        answers=answered(parts),
        figures=drawn,
        headline_note=(
            "Share of greedy answers that state the context's answer and not the memory's on held-out conflicts, read"
            " off each method's own curve where its mean KL(unsteered ‖ steered) at the answer's first token is the one"
            f" named. A dash: the method at its strongest stays below. Intervals: {INTERVAL}, the cost's"
            f" uncertainty included. Random vectors: where one more would fall, judged by {config['n_random']} draws."
            f" Right answers elsewhere: read off at the same KL under conflict, {_nats(config['kl'])}."
            f"{_weights_note(config)}"
            f"{' A synthetic model: what is shown is its own.' if config['model'] == 'organism' else ''}"
        ),
        captions={**CAPTIONS, "context_against_kl": f"{CAPTIONS['context_against_kl']}{_deltas_note(parts)}"},
        tables={f"Context answers less those of the {VECTOR} vector": differences(parts["equal"])},
    )


def _report_nothing(folder: str | Path, parts: Parts) -> Path:
    """The page of a run in which no layer could be chosen: what was tried on the questions for choosing."""
    about = described(parts["config"]["model"], parts["model"])
    reason, tried = parts["chosen"]["nothing_chosen"], parts["validation"].sort_values("low", ascending=False)
    best = tried.drop_duplicates("layer").head(8)["layer"]
    curves = tried[tried["layer"].isin(best) & (tried["kl"] > 0)].sort_values(["layer", "coeff"])
    label = "KL(unsteered ‖ steered) at the answer's first token, nats"
    figure = tradeoff_curves(
        curves.assign(layer=[f"layer {layer:g}" for layer in curves["layer"]]).drop(columns=["low", "high", "why"]),
        x="kl", y="context", by="layer", percent=True, x_label=label, y_label="context answers",
        title="Context answers of every layer tried", subtitle=f"{about}; questions for choosing",
    )  # fmt: skip
    rows = [
        {
            "layer": f"{row.layer:g}",
            "coefficient": f"{row.coeff:g}",
            "KL, nats": f"{row.kl:.2g}",
            "context answers": _share(row.context),
            "less unsteered": _estimate(signed, row.effect, row.low, row.high),
        }
        for row in tried.itertuples()
    ]
    nothing = pd.DataFrame(columns=["who", "metric", "against"])
    return publish(
        folder,
        parts,
        title=f"Context steering by gradient on {about}",
        findings=[f"{NOTHING}: {reason.split('; the nearest')[0]}.", f"Nothing chosen: {reason}."],
        headline=pd.DataFrame(rows),
        answers=expected_answers(parts["config"], nothing),
        figures={"validation": figure},
        headline_note=f"On the questions for choosing; {INTERVAL}. Nothing was chosen, so nothing was tested.",
        captions={"validation": "A curve for each of the eight best layers, a mark for each coefficient."},
    )


def headline(parts: Parts) -> pd.DataFrame:
    """One row per method, one column per KL: context answers; then right answers elsewhere at the KL looked at.

    Below stand the random vectors.

    Args:
        parts: The run's files by name; `equal` has the context answers at each KL.
    """
    equal = parts["equal"]
    rows: dict[str, dict[str, str]] = {method: {"method": method} for method in _steered(parts)}
    rows["random"] = {"method": "random vectors"}
    for kl, at in equal[equal["draw"].isna()].groupby("cost"):
        for r in at.itertuples():
            rows[r.method][f"at {_nats(kl)}"] = _estimate(_share, r.value, r.low, r.high)
    for b in control_curve(equal).itertuples():
        rows["random"][f"at {_nats(b.cost)}"] = _estimate(_share, None, b.control_low, b.control_high)
    kls = sorted(equal["cost"].unique())
    columns = ["method", *(f"at {_nats(kl)}" for kl in kls)]
    at_kl = f" at {parts['config']['kl']:g}"
    for part, at in parts["elsewhere"].assign(part=parts_of).groupby("part", sort=False):
        columns.append(f"{part}{at_kl}")
        for r in at[at["draw"].isna() & at["method"].isin(rows)].itertuples():
            rows[r.method][columns[-1]] = _estimate(_share, r.value, r.low, r.high)
        [band] = control_curve(at).itertuples()
        rows["random"][columns[-1]] = _estimate(_share, None, band.control_low, band.control_high)
    return pd.DataFrame(rows.values()).reindex(columns=columns).fillna("–")


def differences(equal: pd.DataFrame) -> pd.DataFrame:
    """One row per gradient form, one column per KL: context answers less the vector's, paired.

    Args:
        equal: The table of `at_equal_cost`, random draws included, which are left out.
    """
    own = equal[equal["draw"].isna() & (equal["method"] != VECTOR)]
    rows = {method: {"method": method} for method in CURVES if method in set(own["method"])}
    for r in own.sort_values("cost").itertuples():
        apart = _estimate(signed, r.difference, r.difference_low, r.difference_high)
        rows[r.method][f"at {_nats(r.cost)}"] = apart
    return pd.DataFrame(rows.values()).fillna("–")


def _forms(parts: Parts) -> tuple[str, ...]:
    """The gradient forms of a run; older ones had no choice of them."""
    return tuple(parts["config"].get("forms", GRADIENT))


def _steered(parts: Parts) -> tuple[str, ...]:
    """The vector and the gradient forms."""
    return (VECTOR, *_forms(parts))


def _weights_note(config: Mapping[str, Any]) -> str:
    """What the weighted form is a sum of, where there is one."""
    terms = " + ".join(f"{weight:g} × {name}" for name, weight in config.get("weights", {}).items())
    return f" Weighted: {terms}." if terms else ""


def _estimate(show: Callable[[float], str], value: float | None, low: float, high: float) -> str:
    """A value with its interval, the interval alone, or a dash."""
    span = "" if np.isnan(low) else f"[{show(low)}, {show(high)}]"
    shown = "" if value is None or np.isnan(value) else show(value)
    return " ".join(part for part in (shown, span) if part) or "–"


def _share(value: float) -> str:
    return f"{value:.2f}"


def first_sentence(parts: Parts) -> str:
    """The methods that surely give more at the KL looked at than random vectors; or that none does there.

    Args:
        parts: The run's files by name; a method counts where its interval lies above the random vectors' band.
    """
    equal, kl = parts["equal"], _nearest(parts)
    bands = control_curve(equal)
    methods = equal[equal["draw"].isna()].merge(bands, on="cost").sort_values("low", ascending=False)
    surely = methods[methods["low"] > methods["control_high"]]
    above, band = surely[surely["cost"] == kl], bands.set_index("cost").loc[kl]
    reach = _estimate(_share, None, band["control_low"], band["control_high"])
    conflict = of_conflicts(parts["summary"])
    plain = conflict[is_unsteered(conflict) & (conflict["metric"] == "context")].iloc[0]
    on = f"n {plain['n']} new conflicts at {_nats(kl)} of KL"
    if np.isnan(band["control_high"]):
        far = "no method" if methods.loc[methods["cost"] == kl, "value"].isna().all() else "no random vector"
        return f"Nothing can be said o{on}: {far} moves the model so far."
    none = f"no method surely gives more context answers than random vectors ({reach})"
    if surely.empty:
        return f"{NOTHING}, o{on}: {none}."
    if above.empty:
        elsewhere = surely[surely["cost"] == surely["cost"].iloc[0]]
        there = _estimate(_share, None, elsewhere["control_low"].iloc[0], elsewhere["control_high"].iloc[0])
        of = f"{_nats(elsewhere['cost'].iloc[0])}, of {equal['cost'].nunique()} KLs compared at"
        return f"O{on}, {none}; at {of}, {_given(elsewhere)}, against {there}."
    return (
        f"O{on} of {parts['model']['name']}, {_given(above)} (unsteered {plain['value']:.2f}); one more random vector"
        f" would fall in {reach}."
    )


def _given(methods: pd.DataFrame) -> str:
    """What each method gives, in their order; of several, that no correction goes over them."""
    shares = [_estimate(_share, row.value, row.low, row.high) for row in methods.itertuples()]
    if len(methods) == 1:
        return f"{methods['method'].iloc[0]} gives a share of {shares[0]} context answers"
    each = "; ".join(f"{method}, {share}" for method, share in zip(methods["method"], shares, strict=True))
    return f"{len(methods)} methods, each asked alone, give these shares of context answers: {each}"


def _nearest(parts: Parts) -> float:
    """Of the KLs compared at, the nearest to the one looked at."""
    costs = parts["equal"]["cost"].unique()
    return float(costs[np.abs(np.log(costs / parts["config"]["kl"])).argmin()])


def findings(parts: Parts) -> list[str]:
    """What the methods give against the vector, what they need and what they cost, a sentence each.

    Args:
        parts: The run's files by name; `equal`, `sweep`, `costs` and `summary` are read.
    """
    equal, nearest = parts["equal"], _nearest(parts)
    at = equal[equal["draw"].isna() & (equal["cost"] == nearest)].set_index("method")
    apart = {
        method: _estimate(signed, row.difference, row.difference_low, row.difference_high)
        for method, row in at.drop(index=VECTOR).iterrows()
    }
    sweep, spent = parts["sweep"], parts["costs"].set_index("method")
    layers = sweep[sweep["varied"] == "layers"].pivot(index="method", columns="n_layers", values="context")
    wide = {m: f"{row.iloc[0]:.2f} and {row.iloc[-1]:.2f}" for m, row in layers.iterrows()}
    n_layers = f"with {layers.columns.min()} and with {layers.columns.max()} layers"
    each = {
        m: f"{spent.loc[m, 'forward_equivalents']:.1f} ({1000 * spent.loc[m, 'seconds']:.0f} ms)"
        for m in (*(form for form in _forms(parts) if form != GROUNDED), GATE)
    }
    once = {m: f"{spent.loc[m, 'once_forward_equivalents']:.0f}" for m in (VECTOR, GROUNDED) if m in spent.index}
    base = at.loc[VECTOR]
    against = (
        f"At {_nats(nearest)} of KL the {VECTOR} vector gives a share of"
        f" {_estimate(_share, base.value, base.low, base.high)} context answers; against it:"
        f" {_listed(apart)} (a dash: it does not move the model that far)."
    )
    said = [
        "" if np.isnan(base.value) else against,
        _beside_deltas(parts),
        f"Iterations chosen on the questions for choosing: {_listed(parts['chosen']['iterations'])}; context answers"
        f" there {n_layers}: {_listed(wide)}.",
        f"Forward-equivalents per query: {_listed(each)}. Once, before any query: {_listed(once)}.",
        _too_strong(parts),
    ]
    return [sentence for sentence in said if sentence]


def _too_strong(parts: Parts) -> str:
    """What the vector gives at its best coefficient and at its strongest, where that is another one."""
    conflict = of_conflicts(parts["summary"])
    rows = conflict[(conflict["method"] == VECTOR) & (conflict["metric"] == "context")].set_index("coeff")
    best, most = rows["value"].idxmax(), rows.index.max()
    if best == most:
        return ""
    each = []
    for coeff in (best, most):
        row = rows.loc[coeff]
        band = reach(row["control_low"], row["control_high"], signed)
        moved = _estimate(signed, row["effect"], row["low"], row["high"])
        each.append(f"{row['value']:.2f} at {coeff:g} ({moved}{f'; random vectors {band}' if band else ''})")
    return (
        f"Of its coefficients the {VECTOR} vector gives most context answers, {each[0]}; the strongest gives {each[1]}."
    )


def answered(parts: Parts) -> pd.DataFrame | None:
    """What was expected, and what the test questions say to it at the KL looked at.

    Args:
        parts: The run's files by name; the lines stand in `config`.
    """
    return expected_answers(parts["config"], _measured(parts))


def check_expectations(expects: Sequence[str], forms: Sequence[str] = GRADIENT, *, deltas: bool = True) -> None:
    """Nothing when every line is about what a comparison at equal KL has. Raises ValueError otherwise.

    Args:
        expects: Lines such as "WHO: METRIC CLAIM" (`study.expectations`); none is allowed.
        forms: The objectives that are descended on.
        deltas: Whether random deltas are drawn.
    """
    steered = (VECTOR, *forms)
    who = {*steered, *(method + GATED for method in steered), "random", *([RANDOM_DELTA] if deltas else [])}
    check(expects, who, ["context", "agreement", "irrelevant", "closed book", "unknown"])


def _measured(parts: Parts) -> pd.DataFrame:
    """What expectations are answered by: effects at one KL, differences to the vector, random vectors' bands.

    A method that does not move the model so far is answered for at its chosen strength. "random delta" is the band of
    random deltas beside each method, at its chosen strength.
    """
    equal, chosen = parts["equal"], _chosen_strengths(parts)
    at = equal[equal["cost"] == _nearest(parts)].assign(metric="context")
    elsewhere = parts["elsewhere"].assign(metric=parts["elsewhere"]["regime"])
    blocks = []
    for metric, rows in pd.concat([at, elsewhere]).groupby("metric", sort=False):
        [band] = control_curve(rows, of="effect").itertuples()
        reach = {"control_low": band.control_low, "control_high": band.control_high}
        own = rows[rows["draw"].isna()].assign(**reach, against=None)
        own = own.assign(low=own["effect_low"], high=own["effect_high"])
        if metric == "context":
            own = pd.concat([own, _instead(own.loc[own["effect"].isna(), "method"], chosen)])
            own = own[own["effect"].notna() | ~own["method"].isin(own.loc[own["effect"].notna(), "method"])]
        drawn = {"method": "random", "effect": np.nan, "low": band.control_low, "high": band.control_high}
        blocks += [own, pd.DataFrame([drawn]).assign(metric=metric, against=None)]
    beside = chosen[chosen.index.isin(_forms(parts))].dropna(subset="control_high")
    drawn = {"method": RANDOM_DELTA, "metric": "context", "effect": np.nan, "against": None}
    blocks.append(beside.assign(**drawn, low=beside["control_low"], high=beside["control_high"]))
    apart = at[at["draw"].isna() & (at["method"] != VECTOR)]
    apart = apart.assign(effect=apart["difference"], low=apart["difference_low"], high=apart["difference_high"])
    return pd.concat([*blocks, apart.assign(against=VECTOR)], ignore_index=True).assign(
        who=lambda rows: rows["method"], scale="difference"
    )


def _instead(methods: pd.Series, chosen: pd.DataFrame) -> pd.DataFrame:
    """The rows at their chosen strength of methods that do not reach the KL looked at.

    Args:
        methods: Their names.
        chosen: What every method does there.
    """
    rows = chosen[chosen.index.isin(methods)].reset_index()
    columns = ["method", "effect", "low", "high", "control_low", "control_high"]
    return rows[columns].assign(metric="context", against=None, where="at its chosen strength, short of that KL")


def _listed(things: Mapping[str, object]) -> str:
    return "; ".join(f"{name} {thing}" for name, thing in things.items())


def _chosen_strengths(parts: Parts) -> pd.DataFrame:
    """What each method does to context answers at its chosen strength, a row each."""
    conflict = of_conflicts(parts["summary"])
    rows = conflict[(conflict["metric"] == "context") & (conflict["role"] == "steered")]
    return rows[strength(rows) == rows["method"].map(parts["chosen"]["strengths"])].set_index("method")


def _beside_deltas(parts: Parts) -> str:
    """Each method at its chosen strength, beside random vectors of its norm or random deltas of its KL."""
    at = _chosen_strengths(parts)
    told = at.index[at["control_high"].notna()]
    known = [method for method in _steered(parts) if method in told]
    if not set(known) - {VECTOR}:
        return ""
    said = {}
    for method in known:
        row = at.loc[method]
        band = _estimate(signed, None, row["control_low"], row["control_high"])
        drawn = (
            "vector of its norm"
            if method == VECTOR
            else f"delta of its KL over the objective's steps{_first(parts, method)}"
        )
        said[method] = f"{_estimate(signed, row['effect'], row['low'], row['high'])}, one more random {drawn} {band}"
    return f"What each does to the share of context answers at its chosen strength: {_listed(said)}."


def _first(parts: Parts, method: str) -> str:
    """How far random deltas of the same KL over all steps move the first token, and how far the method does."""
    drawn, conflict = _random_deltas(parts), of_conflicts(parts["summary"])
    rows = conflict[(conflict["metric"] == "kl") & (conflict["role"] == "steered") & (conflict["method"] == method)]
    own = rows.loc[strength(rows) == parts["chosen"]["strengths"][method], "value"]
    if method not in drawn.index or own.empty:
        return ""
    return f" (first token {drawn.loc[method, 'cost']:.2f} nats against its {own.iloc[0]:.2f})"


def _deltas_note(parts: Parts) -> str:
    """What the points and the band of random deltas are, where there are some."""
    if _random_deltas(parts).empty:
        return ""
    return (
        f" Random deltas: {parts['config']['n_random_deltas']} beside each gradient form at its chosen strength, at the"
        " KL over its objective's steps; the points of the forms are joined, the band is where one more would fall."
    )


def _random_deltas(parts: Parts) -> pd.DataFrame:
    """Where one more random delta would fall, at the mean KL of those beside each method; empty where none were run."""
    conflict = of_conflicts(parts["summary"])
    drawn = conflict[conflict["method"] == RANDOM_DELTA]
    drawn = drawn.pivot_table(index="control_of", columns="metric", values="value").reindex(columns=["kl", "context"])
    at = _chosen_strengths(parts)
    at = at[at.index.isin(drawn.index)]
    plain = at["value"] - at["effect"]
    band = {end: (plain + at[f"control_{end}"]).clip(0, 1) for end in ("low", "high")}
    points = at.assign(cost=drawn["kl"], value=drawn["context"], measured=True, **band)
    return points.assign(method=RANDOM_DELTA)[["method", "cost", "value", "low", "high", "measured"]]


def figures(parts: Parts, about: str) -> dict[str, Figure]:
    """Answers against KL, answers and loss against iterations, side effects with and without the gate, cost.

    Args:
        parts: The run's files by name; `summary`, `sweep`, `equal` and `costs` are read.
        about: The model and the layer, for the line below a title.
    """
    summary, sweep, config = parts["summary"], parts["sweep"], parts["config"]
    conflict = of_conflicts(summary)
    plain = conflict[is_unsteered(conflict) & (conflict["metric"] == "context")].iloc[0]
    n = f"{plain['n']} held-out conflicts on {plain['n_prompts']} questions"
    trace = sweep[sweep["varied"] == "iterations"]
    trace = trace.assign(left=trace["loss"] / trace["loss_start"])
    searched = f"{about}, validation questions, budget {config['budget']:g} residual norms"
    at_kl = f"at {_nats(config['kl'])}"
    traced = {"context": ("Context answers", "context answers"), "left": ("Loss", "loss left of the start's")}
    over_iterations = {
        y: tradeoff_curves(
            trace, x="iterations", y=y, percent=True, x_label="iterations at most", y_label=label, subtitle=searched,
            title=f"{title} against iterations",
        )
        for y, (title, label) in traced.items()
    }  # fmt: skip
    points, steered = _cost_points(parts, conflict), _steered(parts)
    reaching = [name for name in CURVES if name in set(points["method"])]
    deltas = _random_deltas(parts)
    named = [name for name in CURVES if name in (*steered, *TARGETS)]
    names = {name: name for name in named} | ({RANDOM_DELTA: "random deltas"} if len(deltas) else {})
    others = ", of random deltas where one more would fall" if len(deltas) else ""
    return {
        "context_against_kl": tradeoff_curves(
            pd.concat([parts["curves"], _target_points(conflict), deltas]), x="cost", y="value", curves=names,
            levels={UNSTEERED: plain["value"]}, x_label="KL(unsteered ‖ steered) at the answer's first token, nats",
            title="Context answers against distance from the unsteered model", subtitle=f"{about}, {n}",
            interval=f"Bands: {INTERVAL}{others}", y_label="context answers", percent=True,
        ),
        "iterations_answers": over_iterations["context"],
        "iterations_loss": over_iterations["left"],
        "side_effects": condition_bars(
            _at_equal_kl(parts), metric="right", percent=True, metric_label="right answers", subtitle=about,
            title=f"Right answers elsewhere, {at_kl} of KL",
            conditions=[UNSTEERED, *(name for method in steered for name in (method, method + GATED))],
            focus=[method + GATED for method in steered], chance="random vectors of equal KL", **OVER_QUESTIONS,
        ),
        "cost": tradeoff_curves(
            points, x="forward_equivalents", y="effect", curves=reaching,
            title=f"What context answers cost, {at_kl} of KL", subtitle=f"{about}, {n}", interval=f"Bars: {INTERVAL}",
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


def _at_equal_kl(parts: Parts) -> pd.DataFrame:
    """Right answers of every part but conflicts, all at one KL, with random vectors' band, for `condition_bars`."""
    found, summary = parts["elsewhere"], parts["summary"]
    bands = [
        control_curve(at, of="effect").assign(regime=regime, kind=kind)
        for (regime, kind), at in found.groupby(["regime", "kind"], sort=False)
    ]
    own = found[found["draw"].isna()].merge(pd.concat(bands), on=["regime", "kind", "cost"])
    own = own.drop(columns=["low", "high"]).rename(columns={"effect_low": "low", "effect_high": "high"})
    right = summary[(summary["metric"] == "right") & (summary["regime"] != "conflict")]
    rows = pd.concat([right[is_unsteered(right)], own.assign(metric="right", scale="difference")])
    return rows.assign(condition=rows["method"], group=kinds_of, n_prompts=rows["n_prompts"].ffill())


def _cost_points(parts: Parts, conflict: pd.DataFrame) -> pd.DataFrame:
    """What each method adds to context answers at one KL, and its cost: what is paid once is shared by all questions.

    What two of the objectives imitate stands at its own KL; where the instruction takes the place of a longer system
    turn of the chat template, its prompt costs less than a plain answer, which a logarithmic axis cannot show.
    """
    equal, costs = parts["equal"], parts["costs"]
    own = equal[equal["draw"].isna() & (equal["cost"] == _nearest(parts))]
    own = own[["method", "effect", "effect_low", "effect_high"]]
    imitated = conflict[conflict["method"].isin(TARGETS) & (conflict["metric"] == "context")]
    points = pd.concat([own.rename(columns={"effect_low": "low", "effect_high": "high"}), imitated])
    joined = points[["method", "effect", "low", "high"]].dropna(subset="effect").merge(costs, on="method")
    shared = joined["once_forward_equivalents"] / int(conflict["n"].max())
    costing = joined.assign(forward_equivalents=joined["forward_equivalents"] + shared)
    return costing[costing["forward_equivalents"] > 0]
