"""What a reader sees of ContextFocus against its rivals: figures, tables and sentences, from the tables of a run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from steering_lab.analysis.condition_table import condition_table
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
from steering_lab.evaluation.running.control_vectors import RANDOM, RANDOM_CONTROLS
from steering_lab.numerics.written import reach
from steering_lab.runs import read_run
from steering_lab.study.conflict import search_report
from steering_lab.study.conflict.answers import AGREEMENT_LOST, FLUENCY
from steering_lab.study.conflict.asking import PROMPTING
from steering_lab.study.conflict.comparison_costs import percent, without_prompting
from steering_lab.study.conflict.comparison_findings import answered, findings, focus, is_chosen, judged, opening
from steering_lab.study.conflict.naming import (
    LABELS,
    OVER_QUESTIONS,
    budgets_said,
    controls_beside,
    first_conflicts,
    kinds_of,
    named,
    of_conflicts,
    ordered,
    parts_of,
)
from steering_lab.study.conflict.rivals import METHOD, PARTS, UNSTEERED
from steering_lab.study.page import Parts, described, publish
from steering_lab.tables import TIDY, is_unsteered

LEAST_ROUNDS = 6  # of which the median of a ratio has an interval (`measuring.speed.median_interval`)
PERPLEXITY_NOTE = (
    "Held-out texts carry no prompt: nothing is known there of prompting, and a vector under an instruction counts by"
    " its edit alone. A logits rule has no perplexity of its own."
)


def report_comparison(folder: str | Path) -> Path:
    """Draws a finished run's figures and page from its files alone, prints what it found, and returns the page.

    A run that chose nothing shows its search and the rivals; one without rivals the search alone (`search_report`).

    Args:
        folder: The folder of the finished run; `index.html` and the figures in it are replaced.
    """
    parts = read_comparison(folder)
    if not is_chosen(parts) and "summary" not in parts:
        return search_report.report_search(folder, parts)
    drawn, first = figures(parts), first_conflicts(parts["generations_test"])
    start = {"condition": focus(parts)} if is_chosen(parts) else {}
    nothing = "" if is_chosen(parts) else ": nothing chosen"
    return publish(
        folder,
        parts,
        title=f"Context against memory on {model_of(parts)}{nothing}",
        findings=[opening(parts), *findings(parts)],
        headline=headline(parts),
        answers=answered(parts),
        figures=drawn,
        headline_note=(
            "Share of greedy answers that state the context's answer and not the memory's (conflicts), or the right"
            " answer (elsewhere), by the strict scorer; its change against unsteered in points with the 95 % interval;"
            " below it where one more random vector would fall, which prompts and decoding rules have not. On"
            " questions used neither for the vector nor for choosing, so that the search's heatmap shows other numbers."
            " Log-odds shift: context against memory at the first token,"
            " first kind of conflict, in nats. p: of context answers on these being unchanged, each condition asked"
            " alone."
            f"{_controls_note(parts)}"
        ),
        captions=captions(parts, drawn),
        tables=tables(parts),
        generations=parts["generations_test"].assign(condition=named),
        filters=search_report.FILTERS,
        start={**first[["regime", "kind"]].iloc[0], **start},
    )


def read_comparison(folder: str | Path) -> dict[str, Any]:
    """The run's files by name, without what was not measured: perplexity of prompting, speed of too few rounds.

    Args:
        folder: The folder of the finished run.
    """
    parts = read_run(folder, TIDY)
    if "summary" in parts:
        costs, silent = parts["costs"], parts["costs"]["method"].isin(PROMPTING)
        parts["summary"] = without_prompting(parts["summary"])
        costs = costs.assign(perplexity_ratio=costs["perplexity_ratio"].mask(silent))
        parts["costs"] = (
            costs if _is_timed(parts) else costs.drop(columns=costs.filter(like="tokens_per_second").columns)
        )
    return parts


def _is_timed(parts: Parts) -> bool:
    """Whether speeds have intervals: of fewer rounds there are none, and one round's ratio says nothing."""
    return int(parts["config"]["n_rounds"]) >= LEAST_ROUNDS


def _controls_note(parts: Parts) -> str:
    """How many draws the rows of controls are means of."""
    if not is_chosen(parts):
        return ""
    config = parts["config"]
    controls = config.get("controls", (RANDOM,))
    drawn = {name: config["n_shuffled"] if name == "shuffled_labels" else config["n_random"] for name in controls
             if name in (*RANDOM_CONTROLS, "shuffled_labels")}  # fmt: skip
    means = ", ".join(f"{LABELS[name]} of {n}" for name, n in drawn.items())
    return f" Controls are as long as the chosen vector; means over draws: {means}."


def about(parts: Parts) -> str:
    """What the figures were measured on, and where the vector was added.

    Args:
        parts: The run's files by name; `model`, `config` and `chosen` are read.
    """
    chosen = parts["chosen"]
    if not is_chosen(parts):
        return f"{model_of(parts)}; nothing chosen"
    return f"{model_of(parts)}; layer {chosen['layer']}, coefficient {chosen['coeff']:g}"


def model_of(parts: Parts) -> str:
    """The model in a few words, for titles and figures: its name, depth, size and quantisation.

    Args:
        parts: The run's files by name; `model` and `config` are read.
    """
    return described(parts["config"]["model"], parts["model"])


def headline(parts: Parts) -> pd.DataFrame:
    """Context answers on the first kind of held-out conflicts, right answers elsewhere; random draws are averaged.

    A share in percent, its change in points with its interval, and random vectors' band where there is one; p is that
    of context answers under conflict being unchanged.

    Args:
        parts: The run's files by name; `summary` is read.
    """
    summary = parts["summary"].assign(condition=named, part=parts_of)
    first = first_conflicts(summary)
    elsewhere = summary[(summary["regime"] != "conflict") & (summary["metric"] == "right")]
    shown = pd.concat([first[first["metric"] == "context"], elsewhere])
    odds = first[first["metric"] == "log_odds"].assign(part="log-odds shift")
    cells = pd.concat([shown.assign(said=_share_said), odds.assign(said=_shift_said)])
    wide = cells.drop_duplicates(["condition", "part"]).pivot(index="condition", columns="part", values="said")
    context = first[(first["metric"] == "context") & first["role"].isin(["steered", "baseline"])]
    p = context.drop_duplicates("condition").set_index("condition")["p_family"].dropna()
    wide["p, conflict"] = p.map("{:.2g}".format)
    columns = [*shown["part"].unique(), "log-odds shift", "p, conflict"]
    return wide.loc[_ordered(shown, parts), columns].fillna("–").reset_index().rename_axis(columns=None)


def _share_said(rows: pd.DataFrame) -> list[str]:
    """Each share in percent, with its change in points, its interval and random vectors' band."""
    return [
        f"{row.value:.0%}" if row.role == "unsteered" else f"{row.value:.0%}, {_change(row, percent)}"
        for row in rows.itertuples()
    ]


def _shift_said(rows: pd.DataFrame) -> list[str]:
    """Each change with its interval and random vectors' band; the unsteered model has none."""
    return ["–" if row.role == "unsteered" else _change(row, signed) for row in rows.itertuples()]


def _change(row: Any, show: Callable[[float], str]) -> str:
    interval, band = reach(row.low, row.high, show), reach(row.control_low, row.control_high, show)
    return " ".join(filter(None, [show(row.effect), interval])) + (band and f"\nrandom {band}")


def tables(parts: Parts) -> dict[str, pd.DataFrame]:
    """What the page folds away: both scorers, paired counts, costs.

    Args:
        parts: The run's files by name; `scores` and `paired` are read, and the search's where nothing was chosen.
    """
    scores, paired = parts["scores"], parts["paired"]
    scores, paired = (t[t["draw"].isna()].assign(condition=named) for t in (scores, paired))
    shares = ["n", "p_context", "p_context_or_both", "p_memory", "memorisation_ratio", "exact_match", "both", "neither"]
    counts = ["n", "n_missing", "helped", "hurt", "kept", "without", "effect", "p"]
    searched = {} if is_chosen(parts) else search_report.tables(parts)
    conflict = of_conflicts(parts["summary"])
    every = condition_table(conflict, metric="context", costs=[], groups=["kind"]).rename(columns={"p, corrected": "p"})
    return {
        **searched,
        "Context answers under conflict, with intervals, random vectors' bands and p (nothing is corrected)": every,
        "By both scorers, in percent (p_context is P_c, p_context_or_both p_s, p_memory P_o)": scores[
            ["regime", "kind", "condition", "scorer", *shares]
        ],
        "Questions helped and hurt against unsteered (context answers; McNemar's exact test)": paired[
            ["regime", "kind", "questions", "condition", *counts]
        ],
        f"What each condition costs ({_costs_note(parts)}KL in nats at the first token)": parts["costs"],
    }


def _costs_note(parts: Parts) -> str:
    """What the costs are of, and why there is no speed where there is none."""
    if _is_timed(parts):
        return "speed and memory on this machine; "
    return f"speed is not shown: an interval needs {LEAST_ROUNDS} rounds, this run has {parts['config']['n_rounds']}; "


def figures(parts: Parts, published: float = float("nan"), published_as: str = "") -> dict[str, Figure]:
    """The search, the comparison by kind of conflict, whose answers, the continuous effect, its odd part, the costs.

    Args:
        parts: The run's files by name; figures of what a run does not have are left out.
        published: What a paper's vector changes its context answers by, drawn beside the first kind of conflict.
        published_as: What the key calls it.
    """
    summary, where, chosen = parts["summary"], about(parts), parts["chosen"]
    single = summary[summary["role"] != "control"].assign(condition=named, group=kinds_of)
    conflict, first, own = of_conflicts(single), first_conflicts(single), _focus(parts)
    beside = controls_beside(of_conflicts(summary), chosen.get("coeff", float("nan")))
    compared = pd.concat([conflict, beside.assign(condition=named, group=kinds_of)])
    own_first = compared["condition"].isin(own) & (compared["kind"] == compared["kind"].iloc[0])
    order = _ordered(compared, parts)
    shares = first.pivot_table(index="condition", columns="metric", values="value", sort=False)
    shares = shares.assign(n=first.groupby("condition")["n"].max()).reset_index()
    kind = "" if (first["kind"] == "").all() else f": {first['kind'].iloc[0]}"
    drawn = {
        "context_answers": condition_bars(
            compared.assign(published=own_first.map({True: published})), metric="context", percent=True,
            metric_label="context answers", conditions=order, focus=own, published_as=published_as, **OVER_QUESTIONS,
            title="Context answers under conflict", subtitle=where,
        ),
        **_search_figures(parts),
        "verdicts": verdict_stack(
            shares, title=f"Whose answer under conflict{kind}", subtitle=where, conditions=_ordered(first, parts)
        ),
        "log_odds": condition_bars(
            compared, metric="log_odds", show="effect", metric_label="log-odds in nats", focus=own, subtitle=where,
            **OVER_QUESTIONS,
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


def _search_figures(parts: Parts) -> dict[str, Figure]:
    """The grid of the search, its cell marked where that held; of a search that chose nothing both sides' answers."""
    if not is_chosen(parts):
        return search_report.figures(parts)
    cell = (parts["chosen"]["layer"], parts["chosen"]["coeff"])
    return {
        "layer_coeff": layer_coeff_heatmap(
            search_report.validation(parts), metric="context", method=METHOD, bounds=(0, 1),
            chosen=cell if judged(parts).verdict.held else None, metric_label="share of context answers",
            title="Context answers on the questions that chose the cell", subtitle=model_of(parts),
            **OVER_QUESTIONS,
        )
    }  # fmt: skip


def _focus(parts: Parts) -> list[str]:
    return [focus(parts)] if is_chosen(parts) else []


def _ordered(rows: pd.DataFrame, parts: Parts) -> list[str]:
    return ordered(rows, parts["config"]["cad_alpha"])


def _whole(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows without the vector's parts, which cost what wholes do."""
    return rows[~rows["method"].isin(PARTS)]


def _costs_figure(parts: Parts, where: str) -> Figure:
    costs = _whole(parts["costs"])
    names = {
        "forwards_per_token": "passes per token", "perplexity_ratio": "held-out perplexity",
        "kl": "KL at the first token, nats",
    }  # fmt: skip
    table, interval = costs.melt("condition", list(names), var_name="metric", value_name="effect"), ""
    if _is_timed(parts):
        speed, names = "tokens_per_second_ratio", {"seconds": "time per token", **names}
        times = {"effect": 1 / costs[speed], "low": 1 / costs[f"{speed}_high"], "high": 1 / costs[f"{speed}_low"]}
        table = pd.concat([costs[["condition"]].assign(metric="seconds", **times), table], ignore_index=True)
        interval = f"Whisker: 95 % interval of the median of {parts['config']['n_rounds']} rounds"
    scale = (table["metric"] == "kl").map({True: "difference", False: "ratio"})
    return cost_bars(
        table.assign(scale=scale), costs=names, conditions=_ordered(costs, parts), focus=_focus(parts),
        title="What each condition costs", subtitle=where, interval=interval,
    )  # fmt: skip


def _odd_figure(parts: Parts, where: str) -> Figure:
    odd = parts["odd"].assign(condition=named, group=kinds_of)
    steered = odd[~is_unsteered(odd)]
    names = steered.loc[steered["role"] == "control", "condition"].unique()
    return condition_bars(
        odd, metric="log_odds_odd", show="effect", focus=_focus(parts),
        conditions=[*_focus(parts), *sorted(names, key=lambda name: (len(name), name))],
        title="What turns with the sign: half of f(+m) − f(−m) in log-odds", metric_label="odd part, nats",
        subtitle=where, **OVER_QUESTIONS,
    )  # fmt: skip


def _cost_figure(parts: Parts, first: pd.DataFrame, single: pd.DataFrame, cost: str, label: str, where: str) -> Figure:
    spent = single[(single["metric"] == cost) & single["regime"].isin(["agreement", FLUENCY])]
    shown = _whole(first)
    if cost == HELD_OUT_PERPLEXITY:
        shown = shown[~shown["method"].isin(PROMPTING)]
        spent = spent[~spent["method"].isin(PROMPTING)]
    table = pd.concat([shown[shown["metric"] == "context"], spent]).drop(columns="group")
    over = OVER_QUESTIONS["interval"] + (", of the cost over texts" if cost == HELD_OUT_PERPLEXITY else "")
    return cost_effect(
        table, effect="context", cost=cost, effect_shows="value", focus=_focus(parts),
        conditions=_ordered(shown, parts), budget=parts["chosen"]["budgets"][cost],
        percent=["context", *([cost] if cost == AGREEMENT_LOST else [])], effect_label="context answers",
        cost_label=label, title=f"What context answers cost: {label}", subtitle=where,
        units=OVER_QUESTIONS["units"], interval=over,
    )  # fmt: skip


def _on_questions(rows: pd.DataFrame) -> str:
    return f"{rows['n'].max()} on {rows['n_prompts'].max()} questions"


def captions(parts: Parts, drawn: Mapping[str, Figure]) -> dict[str, str]:
    """Under a figure: how much it was measured on, and what was chosen.

    Args:
        parts: The run's files by name; `summary` and `validation` are read.
        drawn: The figures that were made; captions of others are left out.
    """
    summary, validation = parts["summary"], parts["validation"]
    plain = summary[is_unsteered(summary)].assign(group=kinds_of)
    n = {regime: _on_questions(rows) for regime, rows in plain.groupby("regime", sort=False)}
    of_kinds = list(of_conflicts(plain).groupby("group", sort=False))
    kinds = [f"{_on_questions(rows)}{f' ({kind})' if len(of_kinds) > 1 else ''}" for kind, rows in of_kinds]
    texts = int(plain.loc[plain["regime"] == FLUENCY, "n"].max())
    tried = search_report.n_conflicts(validation)
    said = {
        "context_answers": f"Conflicts: {', '.join(kinds)}.",
        "cost_agreement": f"Conflicts: {kinds[0]}; agreement: {n.get('agreement', 0)}.",
        "costs": PERPLEXITY_NOTE if _is_timed(parts) else f"{PERPLEXITY_NOTE} {_costs_note(parts)}".rstrip("; ") + ".",
        "cost_perplexity": f"Conflicts: {kinds[0]}; {texts} texts. {PERPLEXITY_NOTE}",
    }
    wanted = f"{tried} conflicts, wanted: the most context answers {budgets_said(parts['chosen']['budgets'])}"
    if is_chosen(parts):
        held = judged(parts)
        marked = "Marked" if held.verdict.held else "Chosen, and not marked because it did not hold"
        at = f"layer {held.cell.layer:g}, coefficient {short_signed(held.cell.coeff)}"
        instead = f" Of these cells, {held.cell.instead_of}." if held.cell.instead_of else ""
        paler = search_report.paler(parts, held)
        said["layer_coeff"] = f"{wanted}. {marked}: {at}. On new questions: {held.verdict.said}.{paler}{instead}"
    else:
        said["layer_coeff_context"] = f"{wanted}. None was chosen, none is marked."
    return {name: said[name] for name in drawn if name in said}
