"""What a cell may cost, and which cells cost more: the side effects that a choice is bounded by."""

from collections.abc import Mapping
from typing import Literal

import pandas as pd

from steering_lab.tables import CELL

JudgedBy = Literal["interval", "estimate"]


def over_budget(summary: pd.DataFrame, budgets: Mapping[str, float], judged_by: JudgedBy = "interval") -> pd.Series:
    """For each row, whether its cell breaks one of `budgets`: a cost's upper end is above it, or unknown.

    With `judged_by="estimate"`, whether the cost itself is.

    Raises:
        ValueError: no budget, or a cost that the summary has not.
    """
    if not budgets:
        raise ValueError("name at least one cost with its budget, such as budgets={'perplexity': 1.2}")
    broken = pd.Series(False, summary.index)
    for cost, budget in budgets.items():
        broken |= ~(costs_of(summary, cost, judged_by) <= budget)
    return broken


def costs_of(summary: pd.DataFrame, cost: str, judged_by: JudgedBy) -> pd.Series:
    """What each row's cell in `summary` costs by the metric `cost`, as `judged_by` says; NaN where unknown."""
    if cost not in set(summary["metric"]):
        raise ValueError(f"no metric {cost!r}; the summary has {', '.join(sorted(summary['metric'].unique()))}")
    end = {"interval": "high", "estimate": "effect"}[judged_by]
    own = summary.loc[summary["metric"] == cost, [*CELL, end]].drop_duplicates(list(CELL))
    return summary[list(CELL)].merge(own, on=list(CELL), how="left")[end].set_axis(summary.index)
