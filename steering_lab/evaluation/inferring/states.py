"""What a cell says, in one of five states.

Everything is read off a summary: whether the effect is there (`p_family`), whether random vectors do as much
(`p_random`), and what it costs. Both p are corrected over the cells that the table holds of a method at a place, unless
the table was summarised as not `searched`, as confirmed cells are.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from steering_lab.evaluation.inferring.budgets import over_budget
from steering_lab.numerics.significance import LEVEL


def states(summary: pd.DataFrame, metric: str, budgets: Mapping[str, float]) -> pd.Series:
    """The `State` of each cell's effect on `metric`, one for each row of that metric; missing where nothing is steered.

    A cell works if p_random and p_family are at most 0.05, the upper end of each cost's interval is within its budget,
    and its text is not degenerate. A cell of which p_random is not known moves, no more can be said. The unsteered
    model and baselines, which no random vector compares with, have no state.

    Args:
        summary: One row per cell and metric (`summarise`).
        metric: What is wanted of the cells.
        budgets: The most that each cost, a metric, may be; none if nothing is bounded.

    Raises:
        ValueError: a metric or a cost that the summary has not.
    """
    rows = summary[summary["metric"] == metric]
    if rows.empty:
        raise ValueError(f"no metric {metric!r}; the summary has {', '.join(sorted(summary['metric'].unique()))}")
    broken = over_budget(summary, budgets)[rows.index] if budgets else pd.Series(False, rows.index)
    costly = broken | rows["degenerate"].fillna(False).astype(bool)
    moves, told_apart = rows["p_family"] <= LEVEL, rows["p_random"] <= LEVEL
    found = np.select(
        [moves & told_apart & ~costly, moves & told_apart, moves & rows["p_random"].notna(), moves],
        ["works", "works, over budget", "moves, not told from random vectors", "moves"],
        "nothing shown",
    )
    return pd.Series(found, rows.index, name="state").where(rows["role"].isin(["steered", "control"]), None)
