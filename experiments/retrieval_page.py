"""The page of retrieval and steering together, drawn from a run's files; no model is loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from steering_lab.analysis.intervals import mean_over_prompts
from steering_lab.analysis.plots import Figure, claim_curves, condition_bars
from steering_lab.numerics.kinds import Kind
from steering_lab.runs import read_run
from steering_lab.study.conflict.descents import GATED
from steering_lab.study.conflict.naming import OVER_QUESTIONS
from steering_lab.study.conflict.rivals import METHOD
from steering_lab.study.expectations import expected_answers, said
from steering_lab.study.page import Parts, described, publish

from .retrieval_search import CHANCE, RAW, STATES, TFIDF, WORDS
from .retrieval_times import COLD, UNGATED, WARM

MISSED = "missed"
# What is counted over each kind of passage, by the name of the figure's panel: kind and metric.
COUNTED = {
    "right passage": ("right", "right"),
    "outdated context": ("outdated", "context"),
    "outdated memory": ("outdated", "memory"),
    "wrong context": ("wrong", "context"),
    "wrong memory": ("wrong", "memory"),
    "missed passage": (MISSED, "right"),
}
DRAWN = ("right passage", "outdated context", "wrong context", "missed passage")
WHO = (STATES, RAW, TFIDF, WORDS, METHOD, METHOD + GATED, WARM)
METRICS = ("hit", "time", *COUNTED)
LABELS = {"unsteered": "unsteered", METHOD: "ContextFocus, always", METHOD + GATED: "ContextFocus, gated"}


def report_retrieval(folder: str | Path) -> Path:
    """Draws the page of a finished run from its files alone, and returns it.

    Args:
        folder: The folder of the finished run.
    """
    parts = read_run(folder)
    rates, answers = hit_rates(parts), _counted(parts["summary"])
    about = described(parts["config"]["model"], parts["model"])
    chosen = parts["chosen"]
    words = f"{about}; embedded at layer {_layer(parts)}, steered at {chosen['layer']}, coefficient {chosen['coeff']:g}"
    found = measured(parts)
    figures = {
        "hits": _hits(rates, parts, about),
        "answers": condition_bars(
            answers[answers["group"].isin(DRAWN)], metric="share", metric_label="share of answers", percent=True,
            focus=METHOD + GATED,
            conditions={name: label for name, label in LABELS.items() if name != "unsteered"},
            title="Answers over what was found, by kind of passage", subtitle=words, **OVER_QUESTIONS,
        ),
    }  # fmt: skip
    times = parts["times"]
    shown = ["group", "condition", "value", "effect", "low", "high", "control_low", "control_high", "p_random", "n"]
    return publish(
        folder, parts, title=f"Retrieval and steering together, {about}", findings=_findings(parts, rates, answers),
        headline=_headline(answers), figures=figures, answers=expected_answers(parts["config"], found),
        headline_note=(
            "Shares of answers over the passage that was found, with what steering changes and its 95 % interval over"
            " questions. context: the passage's answer; memory: the right one. Missed: the passage is about another."
        ),
        captions={
            "hits": "Each question against databases of one passage for every question group; intervals over questions."
            " The questions that the vector is from chose the layer and are not counted.",
            "answers": "Grey: random vectors of the same norm, always or behind the same gate.",
        },
        tables={
            "Answers by kind of passage, against unsteered": answers[shown],
            "Behind the gate against always, paired by question": _counted(parts["paired"])[
                ["group", "effect", "low", "high", "n"]
            ],
            "Where the gate is open": _gates(parts["gates"]),
            "Milliseconds a query, in turn": times,
            "Hit rates": rates[["method", "layer", "kind", "mean", "low", "high", "n_prompts"]],
        },
        generations=parts.get("generations"),
        filters=("condition", "kind", "prompt"),
    )  # fmt: skip


def hit_rates(parts: Parts) -> pd.DataFrame:
    """The hit rate of each search and layer over reported questions, of all passages (kind "all") and of each kind.

    Args:
        parts: The run's files by name; `hits` is read.
    """
    hits = parts["hits"][parts["hits"]["reported"]]
    every = pd.concat([hits.assign(kind="all"), hits])
    every = every.assign(layer=every["layer"].astype(float).fillna(-1))
    rates = mean_over_prompts(every, "value", by=("method", "layer", "kind"), kind=Kind.BOUNDED)
    return rates.assign(layer=rates["layer"].where(rates["layer"] >= 0))


def measured(parts: Parts) -> pd.DataFrame:
    """What expectations are answered by: hit rates, answers against unsteered and against one another, times.

    Args:
        parts: The run's files by name.
    """
    none = {"control_low": float("nan"), "control_high": float("nan"), "against": None, "scale": "difference"}
    rates = hit_rates(parts)
    rates = rates[(rates["kind"] == "all") & (rates["layer"].isna() | (rates["layer"] == _layer(parts)))]
    hits = rates.assign(who=rates["method"], metric="hit", effect=rates["mean"], **none)
    own = _counted(parts["summary"])
    own = own[own["role"] == "steered"]
    paired = _counted(parts["paired"])
    rows = [
        hits,
        _beside(parts, none),
        *(each.assign(who=each["condition"], metric=each["group"]) for each in (own, paired)),
    ]
    times = parts["times"][parts["times"]["query"] == WARM]
    ends = {"effect": times["ratio"], "low": times["ratio_low"], "high": times["ratio_high"]}
    rows.append(times.assign(who=WARM, metric="time", **{**none, "scale": "ratio"}, **ends))
    columns = ["who", "metric", "scale", "effect", "low", "high", "control_low", "control_high", "against", "p_random"]
    return pd.concat([each.reindex(columns=columns) for each in rows], ignore_index=True)


def _beside(parts: Parts, none: Mapping[str, Any]) -> pd.DataFrame:
    """The search by states against the searches by words, paired by question and database."""
    hits = parts["hits"][parts["hits"]["reported"]]
    wide = hits[hits["layer"].isna() | (hits["layer"] == _layer(parts))].pivot(
        index=["prompt", "sample"], columns="method", values="value"
    )
    blocks = []
    for other in (TFIDF, WORDS):
        apart = (wide[STATES] - wide[other]).rename("value").reset_index().assign(against=other)
        blocks.append(mean_over_prompts(apart, "value", by=("against",), kind=Kind.BOUNDED, bounds=(-1.0, 1.0)))
    found = pd.concat(blocks, ignore_index=True)
    return found.assign(**{**none, "against": found["against"]}, who=STATES, metric="hit", effect=found["mean"])


def _layer(parts: Parts) -> int:
    return int(parts["chosen"]["embedded_at"].split("(")[1].rstrip(")"))


def _among(parts: Parts) -> str:
    """The layers among which that of the embedding was chosen."""
    if named := parts["config"]["embed_layers"]:
        return f"layers {', '.join(map(str, sorted(named)))}"
    depth = parts["model"]["n_layers"]
    return f"layers {depth // 4} to {depth - depth // 4 - 1}"


def _size(parts: Parts) -> int:
    hits = parts["hits"]
    return int(hits[(hits["method"] == TFIDF) & (hits["sample"] == 0)]["prompt"].nunique())


def _counted(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows that are shown, each with its panel as `group`, one metric for all, and the condition's name."""
    blocks = [
        summary[(summary["kind"] == kind) & (summary["metric"] == metric) & (summary["role"] != "control")].assign(
            group=name, metric="share"
        )
        for name, (kind, metric) in COUNTED.items()
    ]
    shown = pd.concat(blocks, ignore_index=True)
    return shown.assign(condition=shown["method"], against=shown.get("against"))


def _headline(answers: pd.DataFrame) -> pd.DataFrame:
    """A row per kind of passage and answer, a column per condition: the share, its change, what random vectors do."""
    told = answers.assign(
        text=[
            f"{row.value:.0%}" + ("" if row.role == "unsteered" else f", {said(row, band=True)}")
            for row in answers.itertuples()
        ]
    )
    wide = told.pivot(index="group", columns="condition", values="text").reindex(columns=list(LABELS))
    wide = wide.rename(columns=LABELS).assign(n=answers.groupby("group")["n"].first())
    return (
        wide.reindex([name for name in COUNTED if name in wide.index])
        .rename_axis("passage, answer", columns=None)
        .reset_index()
    )


def _gates(gates: pd.DataFrame) -> pd.DataFrame:
    by_kind = gates.groupby("kind", sort=False)
    found = by_kind.agg(n=("open", "size"), open=("open", "mean"), agrees=("agrees", "mean"))
    return found.assign(median_divergence=by_kind["divergence"].median()).reset_index()


def _hits(rates: pd.DataFrame, parts: Parts, about: str) -> Figure:
    """Hit rate against layer, the searches by words and chance as level lines."""
    depth = parts["model"]["n_layers"]
    every = rates[rates["kind"] == "all"].rename(columns={"mean": "effect"})
    lines = {}
    for name in (STATES, RAW, TFIDF, WORDS):
        rows = every[every["method"] == name]
        level = rows.loc[rows.index.repeat(2)].assign(layer=[0.0, depth - 1.0]) if rows["layer"].isna().all() else rows
        lines[name] = level.assign(x=level["layer"] / (depth - 1))
    ends = {"x": [0.0, 1.0], "effect": 1 / _size(parts), "low": float("nan"), "high": float("nan")}
    lines[CHANCE] = pd.DataFrame(ends)
    every_few = range(0, depth, max(1, depth // 10))
    figure = claim_curves(
        lines, {}, x_label="layer of the embedding", y_label="passages about what was asked",
        ticks={layer / (depth - 1): str(layer) for layer in every_few},
        title="Whose passage does a question find?", subtitle=about,
    )  # fmt: skip
    shares = [0, 0.25, 0.5, 0.75, 1]
    return figure.update_yaxes(tickvals=shares, ticktext=[f"{share:.0%}" for share in shares])


def _findings(parts: Parts, rates: pd.DataFrame, answers: pd.DataFrame) -> list[str]:
    """One sentence, and what stands behind it."""
    every = rates[rates["kind"] == "all"]
    own = every[(every["method"] == STATES) & (every["layer"] == _layer(parts))].iloc[0]
    words = {name: every[every["method"] == name].iloc[0] for name in (TFIDF, WORDS)}
    times = parts["times"].set_index("query")
    warm, cold, plain = (times.loc[query] for query in (WARM, COLD, UNGATED))
    over_wrong = answers[answers["group"] == "wrong context"].set_index("condition")
    gated = next(over_wrong.loc[[METHOD + GATED]].itertuples())
    within = ", no more than random vectors may" if gated.control_low <= gated.effect <= gated.control_high else ""
    opened = ", ".join(f"{row.open:.0%} of {row.kind}" for row in _gates(parts["gates"]).itertuples())
    layered = every[every["method"] == STATES]
    best = layered.loc[layered["mean"].idxmax()]
    return [
        f"The model's own states at layer {_layer(parts)} find the asked passage for {_share(own)} of"
        f" {own['n_prompts']} questions (TF-IDF {_share(words[TFIDF])}, bag of words {_share(words[WORDS])}, chance"
        f" {1 / _size(parts):.1%}); over {gated.n} wrong passages the vector behind the gate takes the passage's"
        f" answers from {over_wrong.loc['unsteered', 'value']:.0%} to {gated.value:.0%} ({said(gated, band=True)})"
        f"{within}; a query whose prompt was read ahead takes ×{warm['ratio']:.2f} [{warm['ratio_low']:.2f},"
        f" {warm['ratio_high']:.2f}] of a cold one's time.",
        f"The layer was chosen on other questions among {_among(parts)}. On these layer {best['layer']:.0f} finds most"
        f" of all, {_share(best)}.",
        f"The gate was open over {opened} passages; where it is open over a right one, nothing is to be gained.",
        f"Timed on {cold['n_questions']:.0f} questions in {cold['n_rounds']:.0f} rounds, a query took {_ms(cold)} cold,"
        f" {_ms(warm)} with its prompt read ahead; over the same passage without gate and vector it takes"
        f" ×{plain['ratio']:.2f} [{plain['ratio_low']:.2f}, {plain['ratio_high']:.2f}] of cold. The worker took"
        f" {warm['worker_ms']:.0f} ms for a prompt, which takes {warm['megabytes']:.1f} MB on disk; {warm['ahead']:.0%}"
        f" of queries found theirs, and {warm['same_text']:.0%} gave the cold query's text.",
        "What is gained over wrong passages is gained in errors: neither the vector nor the gate knows which are true.",
    ]


def _ms(row: pd.Series) -> str:
    return f"{row['ms']:.0f} ms [{row['low']:.0f}, {row['high']:.0f}]"


def _share(row: pd.Series) -> str:
    digits = 1 if 0.99 < row["mean"] < 1 else 0  # nearly all is not all
    return f"{row['mean']:.{digits}%} [{row['low']:.{digits}%}, {row['high']:.{digits}%}]"
