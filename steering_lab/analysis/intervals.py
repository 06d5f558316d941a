"""Means with their uncertainty over prompts: from one row per token to one row per layer.

Prompts are the sampled units. The tokens of one prompt are averaged first and never count as independent evidence.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from steering_lab.numerics.intervals import paired_interval
from steering_lab.numerics.kinds import Bounds, Kind


def mean_over_prompts(
    table: pd.DataFrame,
    value: str,
    *,
    by: Sequence[str] = ("layer", "stream"),
    kind: Kind = Kind.SYMMETRIC,
    bounds: Bounds = (0.0, 1.0),
    level: float = 0.95,
    n_boot: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per `by`: mean of the prompts' own means of `value`, low and high of its interval, why, counts.

    The interval is that of the measure's kind (`numerics.intervals.paired_interval`) over the prompts, NaN where there
    is none; `why` then says why. NaN values are left out of a prompt's mean; n_prompts and n_missing count the prompts
    with and without a value.

    Args:
        table: One row per observation, with a column `prompt`.
        value: The column that is averaged.
        by: The columns that make a row of the result.
        kind: How the prompts' means are distributed; projections, effects along a direction and relative norms are
            symmetric enough.
        bounds: The smallest and the largest value of a bounded one.
        level: How often an interval should hold the true value: 0.95 is 95 %.
        n_boot: Resamples, where the interval is a bootstrap.
        seed: What these follow from.

    Raises:
        ValueError: a column is missing, there are no rows, or a level outside (0, 1).
    """
    if missing := [column for column in ("prompt", value, *by) if column not in table]:
        raise ValueError(f"the table has no column {missing[0]!r}: it has {', '.join(map(str, table))}")
    if table.empty or not 0 < level < 1:
        raise ValueError("the table has no rows" if table.empty else f"level is between 0 and 1, not {level}")
    own = table.groupby([*by, "prompt"], sort=False)[value].mean().unstack("prompt")
    values = own.to_numpy(dtype=float).T
    n, rng = (~np.isnan(values)).sum(axis=0), np.random.default_rng(seed)
    low, high, why = paired_interval(values, kind, level=level, bounds=bounds, n_boot=n_boot, rng=rng)
    mean = np.divide(np.nansum(values, axis=0), n, out=np.full(len(n), np.nan), where=n > 0)
    ends = {"low": low, "high": high, "why": pd.Series(why, own.index).replace("", None)}
    counts = {"n_prompts": n, "n_missing": len(values) - n}
    summary = pd.DataFrame({"mean": mean, **ends, **counts}, index=own.index)
    return table[[*by]].drop_duplicates().merge(summary.reset_index(), on=list(by))  # in the table's own order
