"""What a comparison's chosen vector costs beside conflicts, in sentences, from the tables of a run."""

from collections.abc import Iterator
from math import isnan
from typing import Any

import pandas as pd

from steering_lab.analysis.plots.parts.labels import signed
from steering_lab.evaluation.measuring.fluency import HELD_OUT_PERPLEXITY
from steering_lab.numerics.written import reach
from steering_lab.study.conflict.asking import PROMPTING
from steering_lab.study.conflict.naming import kinds_of
from steering_lab.study.conflict.rivals import METHOD
from steering_lab.study.page import Parts

NO_PROMPT = "held-out texts have no prompt before them"  # so they say nothing of prompting


def percent(share: float) -> str:
    """A share in whole percent, signed."""
    return signed(100 * share, 0)


def points(row: pd.Series) -> str:
    """An effect of shares in percentage points with its interval.

    Args:
        row: A row of a summary whose metric is a share.
    """
    ends = "" if isnan(row["low"]) else f" [{percent(row['low'])}, {percent(row['high'])}]"
    return f"by {percent(row['effect'])} points{ends}"


def moved(row: pd.Series) -> str:
    """A share before and after.

    Args:
        row: A row of a summary whose metric is a share, its effect a difference.
    """
    return f"from {row['value'] - row['effect']:.0%} to {row['value']:.0%}"


def own_rows(rows: pd.DataFrame, parts: Parts) -> pd.DataFrame:
    """Those of `rows` that are of the chosen vector at the chosen coefficient.

    Args:
        rows: Rows of a summary.
        parts: The run's files by name; `chosen` is read.
    """
    return rows[(rows["method"] == METHOD) & (rows["coeff"] == parts["chosen"]["coeff"])]


def cost_said(cost: Any) -> str:
    """A budgeted cost of the chosen vector, with its interval.

    Args:
        cost: Its row of the table of `confirm`, a named tuple.
    """
    name = cost.metric.replace("_", " ").replace("held out", "held-out")
    numbers = cost.held_out, cost.held_out_low, cost.held_out_high
    if cost.scale == "ratio":
        value, low, high = (f"{number:.2f}" for number in numbers)
        again = " on the search's own texts" if cost.metric == HELD_OUT_PERPLEXITY else ""
        return f"{name} ×{value} [{low}, {high}]{again}"
    value, low, high = map(percent, numbers)
    return f"{name} {value} points [{low}, {high}]"


def _elsewhere(parts: Parts) -> Iterator[tuple[str, pd.Series, str]]:
    """Right answers of every part but conflicts: what a reader calls it, its row, random vectors' band."""
    own = own_rows(parts["summary"], parts)
    right = own[(own["metric"] == "right") & (own["regime"] != "conflict")]
    for kind, (_, row) in zip(kinds_of(right), right.iterrows(), strict=True):
        band = reach(row["control_low"], row["control_high"], percent)
        yield kind, row, f"random vectors {band}" if band else "no random vectors"


def lost_elsewhere(parts: Parts) -> str:
    """Where right answers surely fall, or fall short of random vectors' band: what no budget of the choice may hold.

    Args:
        parts: The run's files by name; `summary` and `chosen` are read.
    """
    lost = [
        f"{kind} {points(row)} ({band})"
        for kind, row, band in _elsewhere(parts)
        if row["high"] < 0 or row["effect"] < row["control_low"]
    ]
    return f"; right answers elsewhere: {', '.join(lost)}" if lost else ""


def cost_sentence(parts: Parts) -> str:
    """Right answers elsewhere and held-out perplexity, before and after, beside random vectors.

    Args:
        parts: The run's files by name; `summary` and `chosen` are read.
    """
    spent = [f"{kind} {moved(row)} ({points(row)}; {band})" for kind, row, band in _elsewhere(parts)]
    own = own_rows(parts["summary"], parts)
    for row in own[own["metric"] == HELD_OUT_PERPLEXITY].itertuples():
        band = reach(row.control_low, row.control_high, lambda ratio: f"{ratio:.2f}")
        interval = "" if isnan(row.low) else f" [{row.low:.2f}, {row.high:.2f}]"
        spent.append(f"held-out perplexity ×{row.effect:.2f}{interval}{f' (random vectors {band})' if band else ''}")
    return f"Right answers elsewhere: {', '.join(spent)}"


def without_prompting(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary with nothing said of prompting on held-out text, where a prompt is not read; `why` has the reason.

    Older tables have the ×1 of a model without an edit there.

    Args:
        summary: One row per condition, part and metric.
    """
    silent = summary["method"].isin(PROMPTING) & (summary["metric"] == HELD_OUT_PERPLEXITY)
    numbers = summary[["value", "effect", "low", "high"]].mask(silent)
    why = summary["why"].astype(object).mask(silent, NO_PROMPT)
    return summary.assign(**{name: numbers[name] for name in numbers}, why=why)
