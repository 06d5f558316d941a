"""What a cell says, in one of five states, and how many of a run's own random vectors would have been said to work.

Everything is read off a summary: whether the effect is there (`p_family`), whether random vectors do as much
(`p_random`), and what it costs. Both p are corrected over the cells that the table holds of a method at a place, unless
the table was summarised as not `searched`, as confirmed cells are.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from steering_lab.evaluation.inferring.budgets import over_budget
from steering_lab.evaluation.inferring.controls import MIN_DRAWS
from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.evaluation.running.control_vectors import RANDOM_CONTROLS
from steering_lab.tables import is_unsteered

LEVEL = 0.05


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


class Judged(NamedTuple):
    """Of `draws` random vectors, each judged against the others as if it were the steering vector, how many `work`."""

    work: int
    draws: int


def judge_draws(
    measured: pd.DataFrame, metric: str, budgets: Mapping[str, float], *, method: str, place: str | None = None
) -> Judged:
    """How many of the random vectors beside `method` at `place` have a cell that works, judged by the other draws.

    A check of the run on itself. It says little with five draws: each is judged by four, and they are the same four
    but one, so even a test that never errs twice in a hundred may find one.

    Args:
        measured: Measurements of the unsteered model and of the draws.
        metric: What is wanted.
        budgets: The most that each cost may be.
        method: Whose random vectors.
        place: Where they are added; None where the method's edits are at several.

    Raises:
        ValueError: fewer than four draws: three are needed to judge one.
    """
    own = measured["method"].isin(RANDOM_CONTROLS) & (measured["control_of"] == method)
    own &= (measured["place"] == place) | (measured["place"].isna() & pd.isna(place))
    wanted = measured["metric"].isin([metric, *budgets, "degenerate"])
    drawn, unsteered = measured[own & wanted], measured[is_unsteered(measured) & wanted]
    kinds = drawn[["method", "draw"]].drop_duplicates()
    if kinds.groupby("method").size().min() <= MIN_DRAWS or kinds.empty:
        raise ValueError(f"{len(kinds)} random vectors beside {method}: each is judged by at least {MIN_DRAWS} others")
    work = 0
    for one in kinds.itertuples():
        is_it = (drawn["method"] == one.method) & (drawn["draw"] == one.draw)
        vector = drawn[is_it].assign(method=method, role="steered", control_of=None, draw=np.nan)
        others = drawn[~is_it & (drawn["method"] == one.method)]
        summary = summarise(pd.concat([unsteered, vector, others], ignore_index=True))
        judged = summary[summary["role"] != "control"]
        work += int((states(judged, metric, budgets) == "works").any())
    return Judged(work, len(kinds))
