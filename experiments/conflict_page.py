"""What a reader sees of the conflict experiment: figures, tables and sentences, all drawn from the tables of a run."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from steering_lab.analysis.plots import (
    Figure,
    condition_bars,
    cost_bars,
    cost_effect,
    layer_coeff_heatmap,
    verdict_stack,
)
from steering_lab.analysis.plots.parts.labels import short_signed, signed
from steering_lab.evaluation.condition import RANDOM
from steering_lab.evaluation.fluency import HELD_OUT_PERPLEXITY
from steering_lab.tables import is_unsteered

from .conflict_arms import METHOD
from .conflict_tables import AGREEMENT_LOST, FLUENCY

ORDER = ("unsteered", "fine-tuned", "opinion", "instructed", "CAD", "COIECD", "ContextFocus", "part", "random")
FEW = 50  # conflicts, below which the page says that it is a small comparison
Parts = Mapping[str, Any]  # of a run folder, as `read_run` gives them

# Second-hand: the paper's own tables were not at hand.
REFERENCES = {
    "layer_coeff": "on Llama-3.1-8B-Instruct third parties report layer 13 of 32 and m = 2 as the paper's choice",
    "context_answers": (
        "for Llama-3.1-8B-Instruct on ConFiQA-QA third parties report about 35 % context answers unsteered and about"
        " 71 % with ContextFocus at layer 13, m = 2"
    ),
    "verdicts": (
        "for Llama-3.1-8B-Instruct with ContextFocus on ConFiQA-MC third parties report p_s 48.6 %, p_o 10.3 % and M_R"
        " 17.4 % by the official scorer"
    ),
    "cost_perplexity": "the paper is said to claim unsteered speed, one pass a token; no tokens per second were found",
}


def named(rows: pd.DataFrame) -> pd.Series:
    """What a reader calls each condition: the vector with its coefficient, its parts, the rivals."""
    coeffs = rows["coeff"].map(lambda c: "" if pd.isna(c) or c == 0 else f" {short_signed(c)}")
    names = rows["method"].str.replace("_", " ").where(rows["method"] != METHOD, "ContextFocus" + coeffs)
    names = names.where(rows["method"] != RANDOM, "random" + coeffs)
    return names.str.replace("part ", "part: ").str.replace("contextfocus", "ContextFocus")


def ordered(names: pd.Series) -> list[str]:
    """The names, each once, from what is compared with downward."""
    rank = {name: [name.startswith(start) for start in ORDER].index(True) for name in names.unique()}
    return sorted(rank, key=lambda name: rank[name])


def about(parts: Parts) -> str:
    """What the figures were measured on, and where the vector was added."""
    model, chosen = parts["model"], parts["chosen"]
    kind = "synthetic model " if parts["config"]["model"] == "organism" else ""
    return f"{kind}{model['name']}, layer {chosen['layer']} of {model['n_layers']}, coefficient {chosen['coeff']:g}"


def headline(parts: Parts) -> pd.DataFrame:
    """Context answers on held-out conflicts, right answers elsewhere: a row per condition, random draws averaged."""
    summary = parts["summary"]
    conflict = summary["regime"].str.startswith("conflict")
    shown = summary[((summary["metric"] == "context") & conflict) | ((summary["metric"] == "right") & ~conflict)]
    wide = shown.assign(condition=named(shown)).pivot_table(
        index="condition", columns="regime", values="value", aggfunc="mean", sort=False
    )
    first = _first(summary)
    odds = first[first["metric"] == "log_odds"]
    odds = odds.assign(condition=named(odds)).groupby("condition", sort=False)["effect"].mean()
    wide = wide.loc[ordered(wide.index.to_series())].assign(**{"log-odds shift": odds})
    return wide.reset_index().rename(columns=lambda name: name.replace("_", " "))


def finding(parts: Parts) -> str:
    """What the chosen vector did on questions that chose nothing, on how many, and what it cost, in sentences."""
    first = _first(parts["summary"])
    context = _own(first, parts).set_index("metric").loc["context"]
    counts = parts["paired"]
    counts = counts[(counts["regime"] == first["regime"].iloc[0]) & (named(counts) == focus(parts))]
    changed = "; ".join(
        f"of {row.n} {'questions' if row.questions == 'all' else 'known before steering'} {row.helped} helped,"
        f" {row.hurt} hurt (McNemar p = {row.p:.2g})"
        for row in counts.itertuples()
    )
    points = {name: signed(100 * context[name], 0) for name in ("effect", "low", "high", "control_low", "control_high")}
    inside = context["control_low"] <= context["effect"] <= context["control_high"]
    sentences = [
        _how_small(parts, counts),
        f"{focus(parts)} at layer {parts['chosen']['layer']}: context answers {_moved(context)} ({points['effect']}"
        f" points [{points['low']}, {points['high']}]); {changed}.",
        f"One more random vector of equal norm: [{points['control_low']}, {points['control_high']}] points, so"
        f" {'a random vector may do as much' if inside else 'more than chance gives a vector of its length'}.",
        *_reversal(parts, first),
        f"{_cost_sentence(parts)}.",
    ]
    return " ".join(filter(None, sentences))


def _own(rows: pd.DataFrame, parts: Parts) -> pd.DataFrame:
    return rows[(rows["method"] == METHOD) & (rows["coeff"] == parts["chosen"]["coeff"])]


def _moved(row: pd.Series) -> str:
    return f"{row['value'] - row['effect']:.0%} → {row['value']:.0%}"


def _reversal(parts: Parts, first: pd.DataFrame) -> list[str]:
    if "odd" not in parts:
        return []
    odd = parts["odd"]
    odd = odd[(odd["regime"] == first["regime"].iloc[0]) & (odd["metric"] == "log_odds_odd")]
    own, drawn = odd[odd["method"] == METHOD].iloc[0], odd[odd["role"] == "control"]["value"]
    return [
        f"The part of the log-odds that turns with the sign: {signed(own['value'])} nats, random vectors"
        f" {signed(drawn.min())} to {signed(drawn.max())}."
    ]


def _cost_sentence(parts: Parts) -> str:
    """Right answers elsewhere and held-out perplexity, before and after."""
    own = _own(parts["summary"], parts)
    right = own[(own["metric"] == "right") & ~own["regime"].str.startswith("conflict")]
    spent = [f"{row['regime'].replace('_', ' ')} {_moved(row)}" for _, row in right.iterrows()]
    spent += [f"held-out perplexity ×{ratio:.2f}" for ratio in own.loc[own["metric"] == HELD_OUT_PERPLEXITY, "effect"]]
    return f"Right answers elsewhere, before and after: {', '.join(spent)}"


def _how_small(parts: Parts, counts: pd.DataFrame) -> str:
    """Where the conflicts are few: on how many all this stands, and what the choice was made by."""
    validation, tested = parts["validation"], next(iter(parts["splits"]["test"].values()))
    if len(tested) >= FEW:
        return ""
    tried = _own(validation[validation["metric"] == "context"], parts)
    cell = tried[tried["layer"] == parts["chosen"]["layer"]].iloc[0]
    points = [signed(100 * cell[name], 0) for name in ("effect", "low", "high")]
    gain = f"{'raised' if cell['effect'] > 0 else 'did not raise'} context answers ({points[0]} points"
    return (
        f"A small comparison, its intervals are wide. The cell was chosen on {int(cell['n'])} conflicts, where it"
        f" {gain} [{points[1]}, {points[2]}]), as the best within {_rule(parts)}; what follows was measured on"
        f" {len(tested)} others about {int(counts['n'].max())} questions."
    )


def _rule(parts: Parts) -> str:
    return " and ".join(f"{cost.replace('_', ' ')} ≤ {most:g}" for cost, most in parts["chosen"]["budgets"].items())


def tables(parts: Parts) -> dict[str, pd.DataFrame]:
    """What the page folds away: both scorers, paired counts, costs."""
    scores, paired = parts["scores"], parts["paired"]
    scores, paired = (t[t["draw"].isna()].assign(condition=named) for t in (scores, paired))
    shares = ["n", "p_context", "p_context_or_both", "p_memory", "memorisation_ratio", "exact_match", "both", "neither"]
    counts = ["n", "n_missing", "helped", "hurt", "kept", "without", "effect", "p"]
    return {
        "By both scorers, in percent (p_context is P_c, p_context_or_both p_s, p_memory P_o)": scores[
            ["regime", "condition", "scorer", *shares]
        ],
        "Questions helped and hurt against unsteered (context answers; McNemar's exact test)": paired[
            ["regime", "questions", "condition", *counts]
        ],
        "What each condition costs (speed and memory on this machine; KL in nats at the first token)": parts["costs"],
    }


def figures(parts: Parts) -> dict[str, Figure]:
    """The search, the comparison by kind of conflict, whose answers, the continuous effect, its odd part, the costs."""
    summary, where, chosen = parts["summary"], about(parts), parts["chosen"]
    arms = summary[summary["role"] != "control"].assign(condition=named)
    conflict = arms[arms["regime"].str.startswith("conflict")]
    conflict = conflict.assign(group=conflict["regime"].str.removeprefix("conflict, "))
    order, first = ordered(conflict["condition"]), _first(conflict)
    shares = first.pivot_table(index="condition", columns="metric", values="value", sort=False)
    shares = shares.assign(n=first.groupby("condition")["n"].max()).reset_index()
    bars = {"subtitle": where, "focus": [focus(parts)], "conditions": order}
    drawn = {
        "layer_coeff": layer_coeff_heatmap(
            parts["validation"], metric="context", method=METHOD, chosen=(chosen["layer"], chosen["coeff"]),
            title="Context answers on the questions that chose the cell", metric_label="share of context answers",
            subtitle=where.split(",")[0],
        ),
        "context_answers": condition_bars(
            conflict, metric="context", metric_label="context answers", percent=True,
            title="Context answers under conflict", **bars,
        ),
        "verdicts": verdict_stack(
            shares, title=_of_kind("Whose answer under conflict", first["group"].iloc[0]),
            subtitle=where, conditions=order,
        ),
        "log_odds": condition_bars(
            conflict, metric="log_odds", show="effect", title="Context against memory at the first token of the answer",
            metric_label="log-odds in nats", **(bars | {"conditions": [name for name in order if name != "unsteered"]}),
        ),
        **({"odd_part": _odd_figure(parts, where)} if "odd" in parts else {}),
    }  # fmt: skip
    for name, cost, label in (
        ("cost_agreement", AGREEMENT_LOST, "agreeing questions answered wrong"),
        ("cost_perplexity", HELD_OUT_PERPLEXITY, "perplexity of held-out text"),
    ):
        if cost in parts["chosen"]["budgets"]:
            drawn[name] = _cost_figure(parts, first, arms, cost, label, where)
    drawn["costs"] = _costs_figure(parts, [name for name in order if not name.startswith("part")], where)
    return drawn


def _of_kind(title: str, kind: str) -> str:
    return title if kind == "conflict" else f"{title}: {kind}"  # data with one kind of conflict call it just that


def _costs_figure(parts: Parts, order: list[str], where: str) -> Figure:
    costs = parts["costs"].assign(seconds_ratio=lambda t: 1 / t["tokens_per_second_ratio"])
    names = {
        "seconds_ratio": "time per token", "forwards_per_token": "passes per token",
        "perplexity_ratio": "held-out perplexity", "kl": "KL at the first token, nats",
    }  # fmt: skip
    table = costs.melt("condition", list(names), var_name="metric", value_name="effect")
    table = table[table["condition"].isin(order)].assign(
        scale=lambda t: t["metric"].map(lambda name: "difference" if name == "kl" else "ratio")
    )
    return cost_bars(
        table, costs=names, conditions=order, focus=[focus(parts)], title="What each condition costs", subtitle=where
    )


def _odd_figure(parts: Parts, where: str) -> Figure:
    odd = parts["odd"]
    odd = odd.assign(condition=named(odd), group=odd["regime"].str.removeprefix("conflict, "))
    steered = odd[~is_unsteered(odd)]
    order = sorted(steered["condition"].unique(), key=lambda n: (not n.startswith("ContextFocus"), len(n), n))
    return condition_bars(
        odd, metric="log_odds_odd", show="effect", conditions=order, focus=[focus(parts)],
        title="What turns with the sign: half of f(+m) − f(−m) in log-odds", metric_label="odd part, nats",
        subtitle=where,
    )  # fmt: skip


def _cost_figure(parts: Parts, first: pd.DataFrame, arms: pd.DataFrame, cost: str, label: str, where: str) -> Figure:
    shown = [name for name in ordered(first["condition"]) if not name.startswith("part")]  # parts cost what wholes do
    spent = arms[(arms["metric"] == cost) & arms["regime"].isin(["agreement", FLUENCY])]
    table = pd.concat([first[first["metric"] == "context"], spent]).drop(columns="group")
    return cost_effect(
        table, effect="context", cost=cost, effect_shows="value", focus=[focus(parts)],
        conditions=shown, budget=parts["chosen"]["budgets"][cost],
        percent=["context", *([cost] if cost == AGREEMENT_LOST else [])], effect_label="context answers",
        cost_label=label, title=f"What context answers cost: {label}", subtitle=where,
    )  # fmt: skip


def captions(parts: Parts, drawn: Mapping[str, Figure]) -> dict[str, str]:
    """Under every figure: on what it was measured, how much of it, and the published number where one is known."""
    summary, validation = parts["summary"], parts["validation"]
    plain = summary[is_unsteered(summary)]
    n = {regime: int(rows["n"].max()) for regime, rows in plain.groupby("regime", sort=False)}
    kinds = [f"{n[regime]} {regime.removeprefix('conflict, ')}" for regime in n if regime.startswith("conflict")]
    tried = int(validation.loc[validation["metric"] == "context", "n"].max())
    measured = {
        "layer_coeff": f"{tried} for choosing the most context answers with {_rule(parts)}",
        "cost_agreement": f"{kinds[0]}; {n.get('agreement', 0)} agreement",
        "cost_perplexity": f"{kinds[0]}; {n[FLUENCY]} texts (a logits rule has no perplexity of its own)",
    }
    return {
        name: f"{about(parts)}. Questions: {measured.get(name, ', '.join(kinds))}."
        + (f" Reference, not ours: {REFERENCES[name]}." if name in REFERENCES else "")
        for name in drawn
    }


def _first(summary: pd.DataFrame) -> pd.DataFrame:
    """The first kind of conflict."""
    conflict = summary[summary["regime"].str.startswith("conflict")]
    return conflict[conflict["regime"] == conflict["regime"].iloc[0]]


def focus(parts: Parts) -> str:
    """The name of the condition that it is all about."""
    return f"ContextFocus {short_signed(parts['chosen']['coeff'])}"
