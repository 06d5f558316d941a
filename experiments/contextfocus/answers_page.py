"""The page of what steered answers were: a row for each cell, its curves or bars, and paired differences.

Everything is drawn from a run's files; no model is loaded.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from steering_lab.analysis.plots import Figure, claim_curves, condition_bars
from steering_lab.analysis.plots.parts.labels import signed
from steering_lab.numerics.significance import LEVEL
from steering_lab.runs import read_run
from steering_lab.study.conflict.answers import odd_parts
from steering_lab.study.conflict.asking import PLACE
from steering_lab.study.conflict.naming import OVER_QUESTIONS, first_conflicts
from steering_lab.study.conflict.rivals import METHOD
from steering_lab.study.expectations import named, said
from steering_lab.study.page import described
from steering_lab.study.paper.beside_lines import moved
from steering_lab.study.paper.page import HELD_OUT, PAIRED_COLUMNS, publish_claim

INSTRUCTED = "instructed"
COSTS = {
    "neither": "Under conflict, more or fewer answers that are neither the context's nor the memory's",
    "agreement": "More or fewer right answers where the context agrees",
    "irrelevant": "More or fewer right answers where the context is about something else",
    "closed_book": "More or fewer right answers without a context",
}
SHOWN = {"context": "context answers", "memory": "memory answers", "log_odds": "log-odds, nats"}


def report_answers(folder: str | Path) -> Path:
    """Draws the page of a finished run from its files alone, and returns it.

    Args:
        folder: The folder of the finished run.
    """
    parts = read_run(folder)
    config, found = parts["config"], parts["measured"]
    own = found[found["against"].isna()]
    about = described(config["model"], parts.get("model", {}))
    plain = own[(own["metric"] == "context") & (own["role"] == "unsteered")].iloc[0]
    words = f"{about}; {plain['n']} answers on {plain['n_prompts']} questions, {plain['value']:.0%} context unsteered"
    figures = {
        metric: _curves(own, parts, metric, label, words)
        if config["x"] != "contrast"
        else condition_bars(
            own.assign(condition=own["who"]), metric=metric, metric_label=label, percent=metric != "log_odds",
            conditions=[who for who in _order(own) if metric != "log_odds" or who != "unsteered"],
            focus=[who for who in _order(own) if who.startswith(METHOD)],
            show="effect" if metric == "log_odds" else "value", title=config["source"], subtitle=words,
            **OVER_QUESTIONS,
        )
        for metric, label in SHOWN.items()
    }  # fmt: skip
    columns = ["who", "metric", "relative_norm", "value", "effect", "low", "high", "control_low", "control_high"]
    table = own[[*columns, "p_random", "p_family", "n", "n_prompts"]]
    wide = _headline(own, config)
    paired = found[found["against"].notna()][PAIRED_COLUMNS]
    return publish_claim(
        folder,
        parts,
        headline=wide,
        figures=figures,
        measured=found,
        observed=first_conflicts(parts["table"]),
        findings=(*moved(own, SHOWN), *_beside(own, config), *_turning(parts)),
        perplexed=HELD_OUT,
        tables={"Every cell, with its interval and random vectors' band": table, "Paired differences": paired},
        generations=parts.get("generations"),
    )


def _headline(own: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each cell: shares before their change, which has its interval, of context answers random ones too."""
    shown = [*SHOWN, *config["costs"]]
    told = own[own["metric"].isin(shown)].assign(
        text=[
            ("" if row.metric in ("log_odds", "perplexity") else f"{row.value:.0%} ")
            + ("" if row.role == "unsteered" else said(row, band=row.metric == "context"))
            for row in own[own["metric"].isin(shown)].itertuples()
        ]
    )
    wide = told.pivot(index="who", columns="metric", values="text").reindex(columns=shown)
    return wide.loc[_order(own)].rename(columns=named).reset_index().fillna("")


def _beside(own: pd.DataFrame, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Where an answer is told from the unsteered one in what no curve shows: neither city, and the costs."""
    told = []
    for metric in (metric for metric in COSTS if metric in ("neither", *config["costs"])):
        rows = own[(own["metric"] == metric) & (own["role"] != "unsteered")].set_index("who").reindex(_order(own))
        rows = rows[(rows["p_family"] <= LEVEL) & ((rows["low"] > 0) | (rows["high"] < 0))].reset_index()
        each = "; ".join(f"{row.who} {row.value:.0%}, {said(row, band=True)}" for row in rows.itertuples())
        if each:
            alone = "" if rows["control_low"].notna().any() else ", random vectors not asked"
            of = f"of {own.loc[own['role'] != 'unsteered', 'who'].nunique()} cells, corrected over a contrast's own"
            told.append(f"{COSTS[metric]} (unsteered {_unsteered(own, metric):.0%}; {of}{alone}): {each}.")
    return tuple(told)


def _turning(parts: Mapping[str, Any]) -> tuple[str, ...]:
    """The part of the log-odds that turns with the sign of m, where both signs were run, beside random vectors'."""
    table = first_conflicts(parts["table"])
    steered = table[(table["role"] == "steered") & (table["metric"] == "log_odds")]
    if not set(steered["coeff"]) & set(-steered["coeff"]):
        return ()
    odd = odd_parts(table, parts["config"]["seed"])
    told = []
    for m, rows in odd[odd["role"] != "unsteered"].groupby("coeff"):
        own, drawn = rows[rows["role"] == "steered"].iloc[0], rows.loc[rows["role"] == "control", "value"]
        beside = f", {len(drawn)} random vectors {signed(drawn.min())} to {signed(drawn.max())}" if len(drawn) else ""
        told.append(f"m {m:g} {signed(own['value'])} [{signed(own['low'])}, {signed(own['high'])}]{beside}")
    return (
        f"The part of the log-odds that turns with the sign, half of what m less −m does, in nats: {'; '.join(told)}.",
    )


def _unsteered(own: pd.DataFrame, metric: str) -> float:
    return float(own.loc[(own["metric"] == metric) & (own["role"] == "unsteered"), "value"].iloc[0])


def _order(own: pd.DataFrame) -> list[str]:
    """The cells as they were asked, by layer and m within a contrast."""
    first = {"unsteered": 0, INSTRUCTED: 1}
    cells = own.drop_duplicates("who").assign(first=lambda rows: rows["who"].map(first).fillna(2))
    cells["own"] = cells["method"].str.replace(METHOD, "")  # the published contrast before the others
    return list(cells.sort_values(["first", "own", "layer", "coeff"], kind="stable")["who"])


def _curves(own: pd.DataFrame, parts: Mapping[str, Any], metric: str, label: str, words: str) -> Figure:
    """One metric along layers or m, the published points beside it where they are of the same kind."""
    config, column = parts["config"], parts["config"]["x"]
    cells = own[(own["metric"] == metric) & (own["role"] == "steered") & (own["place"] == PLACE)]
    values = sorted(cells[column].unique())
    other = "coeff" if column == "layer" else "layer"
    several = cells[other].nunique() > 1
    if column == "coeff":  # at 0 every vector leaves the model as it is
        still = cells.drop_duplicates(["method", "layer"]).assign(
            coeff=0.0, effect=0.0, low=0.0, high=0.0, control_low=0.0, control_high=0.0
        )
        cells = pd.concat([cells, still]).sort_values("coeff")
        values = sorted(cells["coeff"].unique())
    low, high = (0, parts["model"]["n_layers"] - 1) if column == "layer" else (values[0], values[-1])

    def at(value: float) -> float:
        return (value - low) / ((high - low) or 1)

    names = cells["method"] + (cells[other].map(lambda one: f", {other} {one:g}") if several else "")
    points = config["curves"] if metric == "context" else {}
    if column == "coeff":
        points = {name: [(at(m), y) for m, y in its if low <= m <= high] for name, its in points.items()}
    shown = values[:: max(1, len(values) // 10)] if column == "layer" else values
    return claim_curves(
        {name: rows.assign(x=rows[column].map(at)) for name, rows in cells.groupby(names, sort=False)},
        points,
        published_as="others' numbers for other vectors: the paper's own were not obtained",
        x_label="layer" if column == "layer" else "m",
        y_label=f"{label}, more than unsteered",
        ticks={at(value): f"{value:g}" for value in shown},
        title=config["source"],
        subtitle=words,
    )
