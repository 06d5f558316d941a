"""Means with their uncertainty over prompts: from one row per token to one row per layer.

Prompts are the sampled units. The tokens of one prompt are averaged first and never count as independent evidence.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from steering_lab.numerics.bootstrap import percentile_ends, resamples, weighted_means


def mean_over_prompts(
    table: pd.DataFrame,
    value: str,
    *,
    by: Sequence[str] = ("layer", "stream"),
    level: float = 0.95,
    n_boot: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per `by`: mean of the prompts' own means of `value`, low and high of its interval, n_prompts, n_missing.

    The interval is a percentile bootstrap over whole prompts, the same resamples for every row, its percentiles moved
    outward for few prompts (`numerics.bootstrap.expanded_tail`). NaN values
    are left out of a prompt's mean; a prompt without any value counts as missing. One prompt has no interval (NaN).

    Args:
        table: One row per observation, with a column `prompt`.
        value: The column that is averaged.
        by: The columns that make a row of the result.
        level: How often an interval should hold the true value: 0.95 is 95 %.
        n_boot: Resamples of the bootstrap.
        seed: What random draws follow from.

    Raises:
        ValueError: a column is missing, there are no rows, or a level outside (0, 1).
    """
    if missing := [column for column in ("prompt", value, *by) if column not in table]:
        raise ValueError(f"the table has no column {missing[0]!r}: it has {', '.join(map(str, table))}")
    if table.empty or not 0 < level < 1:
        raise ValueError("the table has no rows" if table.empty else f"level is between 0 and 1, not {level}")
    own = table.groupby([*by, "prompt"], sort=False)[value].mean().unstack("prompt")
    values, known = own.to_numpy(dtype=float).T, own.notna().to_numpy().T
    totals, n = np.where(known, values, 0.0), known.sum(axis=0)
    drawn = resamples(len(values), n_boot, np.random.default_rng(seed))
    low, high = percentile_ends(weighted_means(drawn, totals, known.astype(float)), n, level)
    mean = weighted_means(np.ones((1, len(values))), totals, known.astype(float))[0]
    summary = pd.DataFrame(
        {"mean": mean, "low": low, "high": high, "n_prompts": n, "n_missing": len(values) - n}, index=own.index
    )
    return table[[*by]].drop_duplicates().merge(summary.reset_index(), on=list(by))  # in the table's own order
