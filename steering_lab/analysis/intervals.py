"""Means with their uncertainty over prompts: from one row per token to one row per layer.

Prompts are the sampled units. The tokens of one prompt are averaged first and never count as independent evidence.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm, t


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
    outward for few prompts (Hesterberg 2015, The American Statistician 69:4, expanded percentile interval). NaN values
    are left out of a prompt's mean; a prompt without any value counts as missing. One prompt has no interval (NaN).

    Raises:
        ValueError: a column is missing, there are no rows, or a level outside (0, 1).
    """
    if missing := [column for column in ("prompt", value, *by) if column not in table]:
        raise ValueError(f"the table has no column {missing[0]!r}: it has {', '.join(map(str, table))}")
    if table.empty or not 0 < level < 1:
        raise ValueError("the table has no rows" if table.empty else f"level is between 0 and 1, not {level}")
    own = table.groupby([*by, "prompt"], sort=False)[value].mean().unstack("prompt")
    values, known = own.to_numpy(dtype=float).T, own.notna().to_numpy().T
    resamples = np.random.default_rng(seed).multinomial(len(values), np.full(len(values), 1 / len(values)), n_boot)
    means = _means(resamples, values, known)
    n = known.sum(axis=0)
    low, high = np.full((2, len(n)), np.nan)
    for count in np.unique(n[n > 1]):
        tail = norm.cdf(np.sqrt(count / (count - 1)) * t.ppf((1 - level) / 2, count - 1))
        low[n == count], high[n == count] = np.nanquantile(means[:, n == count], [tail, 1 - tail], axis=0)
    mean = _means(np.ones((1, len(values))), values, known)[0]
    summary = pd.DataFrame(
        {"mean": mean, "low": low, "high": high, "n_prompts": n, "n_missing": len(values) - n}, index=own.index
    )
    return table[[*by]].drop_duplicates().merge(summary.reset_index(), on=list(by))  # in the table's own order


def _means(weights: np.ndarray, values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Weighted means over prompts of each column's known values; NaN where a resample holds none of them."""
    weight = weights @ known.astype(float)
    return np.divide(
        weights @ np.where(known, values, 0.0), weight, out=np.full(weight.shape, np.nan), where=weight > 0
    )
