"""What a reader sees of ContextFocus against its rivals: figures, tables and sentences, from the tables of a run."""

from collections.abc import Mapping
from pathlib import Path

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
from steering_lab.evaluation.measuring.fluency import HELD_OUT_PERPLEXITY
from steering_lab.runs import read_run
from steering_lab.study.conflict import search_report
from steering_lab.study.conflict.answers import AGREEMENT_LOST, FLUENCY
from steering_lab.study.conflict.naming import (
    budgets_said,
    first_conflicts,
    kinds_of,
    named,
    of_conflicts,
    ordered,
    parts_of,
)
from steering_lab.study.conflict.rivals import METHOD, PARTS, UNSTEERED
from steering_lab.study.page import Parts, publish
from steering_lab.tables import TIDY, is_unsteered

FEW = 50  # conflicts, below which the page says that it is a small comparison

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


def report_comparison(folder: str | Path) -> Path:
    """Draws a finished run's figures and page from its files alone, prints what it found, and returns the page.

    A run that chose nothing has the page of its search (`search_report`).
    """
    parts = read_run(folder, TIDY)
    if "nothing_chosen" in parts["chosen"]:
        return search_report.report_search(folder, parts)
    drawn, first = figures(parts), first_conflicts(parts["generations_test"])
    return publish(
        folder,
        parts,
        title=f"Context against memory on {parts['model']['name']}",
        findings=[finding(parts)],
        headline=headline(parts),
        figures=drawn,
        headline_note=(
            "Share of greedy answers that state the context's answer and not the memory's (conflicts), or the right"
            " answer (elsewhere), by the strict scorer, on questions used neither for the vector nor for choosing."
            " Log-odds shift: context against memory at the first token, first kind of conflict, in nats. Random: mean"
            f" over {parts['config']['n_random']} vectors of the chosen vector's norm."
        ),
        captions=captions(parts, drawn),
        tables=tables(parts),
        generations=parts["generations_test"].assign(condition=named),
        filters=search_report.FILTERS,
        start={**first[["regime", "kind"]].iloc[0], "condition": focus(parts)},
    )


def about(parts: Parts) -> str:
    """What the figures were measured on, and where the vector was added."""
    model, chosen = parts["model"], parts["chosen"]
    kind = "synthetic model " if parts["config"]["model"] == "organism" else ""
    return f"{kind}{model['name']}, layer {chosen['layer']} of {model['n_layers']}, coefficient {chosen['coeff']:g}"


def headline(parts: Parts) -> pd.DataFrame:
    """Context answers on held-out conflicts, right answers elsewhere: a row per condition, random draws averaged."""
    summary = parts["summary"].assign(condition=named, part=parts_of)
    wanted = (summary["regime"] == "conflict").map({True: "context", False: "right"})
    shown = summary[summary["metric"] == wanted]
    wide = shown.pivot_table(index="condition", columns="part", values="value", aggfunc="mean", sort=False)
    first = first_conflicts(summary)
    odds = first[first["metric"] == "log_odds"].groupby("condition", sort=False)["effect"].mean()
    return wide.loc[_ordered(shown, parts)].assign(**{"log-odds shift": odds}).reset_index()


def finding(parts: Parts) -> str:
    """What the chosen vector did on questions that chose nothing, on how many, and what it cost, in sentences."""
    first = first_conflicts(parts["summary"])
    context = _own(first, parts).set_index("metric").loc["context"]
    counts = first_conflicts(parts["paired"])
    counts = counts[named(counts) == focus(parts)]
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
        *_reversal(parts),
        f"{_cost_sentence(parts)}.",
    ]
    return " ".join(filter(None, sentences))


def _own(rows: pd.DataFrame, parts: Parts) -> pd.DataFrame:
    return rows[(rows["method"] == METHOD) & (rows["coeff"] == parts["chosen"]["coeff"])]


def _moved(row: pd.Series) -> str:
    return f"{row['value'] - row['effect']:.0%} → {row['value']:.0%}"


def _reversal(parts: Parts) -> list[str]:
    if "odd" not in parts:
        return []
    odd = first_conflicts(parts["odd"])
    odd = odd[odd["metric"] == "log_odds_odd"]
    own, drawn = odd[odd["method"] == METHOD].iloc[0], odd[odd["role"] == "control"]["value"]
    return [
        f"The part of the log-odds that turns with the sign: {signed(own['value'])} nats, random vectors"
        f" {signed(drawn.min())} to {signed(drawn.max())}."
    ]


def _cost_sentence(parts: Parts) -> str:
    """Right answers elsewhere and held-out perplexity, before and after."""
    own = _own(parts["summary"], parts)
    right = own[(own["metric"] == "right") & (own["regime"] != "conflict")]
    spent = [f"{kind} {_moved(row)}" for kind, (_, row) in zip(kinds_of(right), right.iterrows(), strict=True)]
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
        f" {gain} [{points[1]}, {points[2]}]), as the best within {budgets_said(parts['chosen']['budgets'])};"
        f" what follows was measured on {len(tested)} others about {int(counts['n'].max())} questions."
    )


def tables(parts: Parts) -> dict[str, pd.DataFrame]:
    """What the page folds away: both scorers, paired counts, costs."""
    scores, paired = parts["scores"], parts["paired"]
    scores, paired = (t[t["draw"].isna()].assign(condition=named) for t in (scores, paired))
    shares = ["n", "p_context", "p_context_or_both", "p_memory", "memorisation_ratio", "exact_match", "both", "neither"]
    counts = ["n", "n_missing", "helped", "hurt", "kept", "without", "effect", "p"]
    return {
        "By both scorers, in percent (p_context is P_c, p_context_or_both p_s, p_memory P_o)": scores[
            ["regime", "kind", "condition", "scorer", *shares]
        ],
        "Questions helped and hurt against unsteered (context answers; McNemar's exact test)": paired[
            ["regime", "kind", "questions", "condition", *counts]
        ],
        "What each condition costs (speed and memory on this machine; KL in nats at the first token)": parts["costs"],
    }


def figures(parts: Parts) -> dict[str, Figure]:
    """The search, the comparison by kind of conflict, whose answers, the continuous effect, its odd part, the costs."""
    summary, where, chosen = parts["summary"], about(parts), parts["chosen"]
    single = summary[summary["role"] != "control"].assign(condition=named, group=kinds_of)
    conflict, first, own = of_conflicts(single), first_conflicts(single), [focus(parts)]
    order = _ordered(conflict, parts)
    shares = first.pivot_table(index="condition", columns="metric", values="value", sort=False)
    shares = shares.assign(n=first.groupby("condition")["n"].max()).reset_index()
    kind = "" if (first["kind"] == "").all() else f": {first['kind'].iloc[0]}"
    drawn = {
        "layer_coeff": layer_coeff_heatmap(
            parts["validation"], metric="context", method=METHOD, chosen=(chosen["layer"], chosen["coeff"]),
            title="Context answers on the questions that chose the cell", metric_label="share of context answers",
            subtitle=where.split(",")[0],
        ),
        "context_answers": condition_bars(
            conflict, metric="context", metric_label="context answers", percent=True, conditions=order, focus=own,
            title="Context answers under conflict", subtitle=where,
        ),
        "verdicts": verdict_stack(
            shares, title=f"Whose answer under conflict{kind}", subtitle=where, conditions=order
        ),
        "log_odds": condition_bars(
            conflict, metric="log_odds", show="effect", metric_label="log-odds in nats", focus=own, subtitle=where,
            conditions=[name for name in order if name != UNSTEERED],
            title="Context against memory at the first token of the answer",
        ),
        **({"odd_part": _odd_figure(parts, where)} if "odd" in parts else {}),
    }  # fmt: skip
    for name, cost, label in (
        ("cost_agreement", AGREEMENT_LOST, "agreeing questions answered wrong"),
        ("cost_perplexity", HELD_OUT_PERPLEXITY, "perplexity of held-out text"),
    ):
        if cost in chosen["budgets"]:
            drawn[name] = _cost_figure(parts, first, single, cost, label, where)
    drawn["costs"] = _costs_figure(parts, where)
    return drawn


def _ordered(rows: pd.DataFrame, parts: Parts) -> list[str]:
    return ordered(rows, parts["config"]["cad_alpha"])


def _whole(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows without the vector's parts, which cost what wholes do."""
    return rows[~rows["method"].isin(PARTS)]


def _costs_figure(parts: Parts, where: str) -> Figure:
    costs = _whole(parts["costs"]).assign(seconds_ratio=lambda t: 1 / t["tokens_per_second_ratio"])
    names = {
        "seconds_ratio": "time per token", "forwards_per_token": "passes per token",
        "perplexity_ratio": "held-out perplexity", "kl": "KL at the first token, nats",
    }  # fmt: skip
    table = costs.melt("condition", list(names), var_name="metric", value_name="effect")
    scale = (table["metric"] == "kl").map({True: "difference", False: "ratio"})
    return cost_bars(
        table.assign(scale=scale), costs=names, conditions=_ordered(costs, parts), focus=[focus(parts)],
        title="What each condition costs", subtitle=where,
    )  # fmt: skip


def _odd_figure(parts: Parts, where: str) -> Figure:
    odd = parts["odd"].assign(condition=named, group=kinds_of)
    steered = odd[~is_unsteered(odd)]
    names = steered.loc[steered["role"] == "control", "condition"].unique()
    return condition_bars(
        odd, metric="log_odds_odd", show="effect", focus=[focus(parts)],
        conditions=[focus(parts), *sorted(names, key=lambda name: (len(name), name))],
        title="What turns with the sign: half of f(+m) − f(−m) in log-odds", metric_label="odd part, nats",
        subtitle=where,
    )  # fmt: skip


def _cost_figure(parts: Parts, first: pd.DataFrame, single: pd.DataFrame, cost: str, label: str, where: str) -> Figure:
    spent = single[(single["metric"] == cost) & single["regime"].isin(["agreement", FLUENCY])]
    table = pd.concat([first[first["metric"] == "context"], spent]).drop(columns="group")
    return cost_effect(
        table, effect="context", cost=cost, effect_shows="value", focus=[focus(parts)],
        conditions=_ordered(_whole(first), parts), budget=parts["chosen"]["budgets"][cost],
        percent=["context", *([cost] if cost == AGREEMENT_LOST else [])], effect_label="context answers",
        cost_label=label, title=f"What context answers cost: {label}", subtitle=where,
    )  # fmt: skip


def captions(parts: Parts, drawn: Mapping[str, Figure]) -> dict[str, str]:
    """Under every figure: on what it was measured, how much of it, and the published number where one is known."""
    summary, validation = parts["summary"], parts["validation"]
    plain = summary[is_unsteered(summary)].assign(group=kinds_of)
    n = {regime: int(rows["n"].max()) for regime, rows in plain.groupby("regime", sort=False)}
    kinds = [f"{rows['n'].max()} {kind}" for kind, rows in of_conflicts(plain).groupby("group", sort=False)]
    tried = int(validation.loc[validation["metric"] == "context", "n"].max())
    measured = {
        "layer_coeff": f"{tried} for choosing the most context answers with {budgets_said(parts['chosen']['budgets'])}",
        "cost_agreement": f"{kinds[0]}; {n.get('agreement', 0)} agreement",
        "cost_perplexity": f"{kinds[0]}; {n[FLUENCY]} texts (a logits rule has no perplexity of its own)",
    }
    return {
        name: f"{about(parts)}. Questions: {measured.get(name, ', '.join(kinds))}."
        + (f" Reference, not ours: {REFERENCES[name]}." if name in REFERENCES else "")
        for name in drawn
    }


def focus(parts: Parts) -> str:
    """The name of the condition that it is all about."""
    return f"ContextFocus {short_signed(parts['chosen']['coeff'])}"
