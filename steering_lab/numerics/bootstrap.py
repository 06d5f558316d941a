"""Resampling of whole units (prompts, questions) and the percentiles that make an interval of it."""

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm, t


def resamples(n: int, n_boot: int, rng: np.random.Generator) -> Float[np.ndarray, "n_boot n"]:
    """How often each of `n` units stands in each of `n_boot` samples drawn with replacement; rows sum to `n`.

    Args:
        n: How many units there are, 1 or more.
        n_boot: How many samples.
        rng: Where they are drawn from.

    Raises:
        ValueError: no unit.
    """
    if n < 1:
        raise ValueError("there is nothing to resample: no prompt has a value")
    return rng.multinomial(n, np.full(n, 1 / n), size=n_boot).astype(float)


def weighted_means(
    weighting: Float[np.ndarray, "draws units"],
    sums: Float[np.ndarray, "units cells"],
    weights: Float[np.ndarray, "units cells"],
) -> Float[np.ndarray, "draws cells"]:
    """Each cell's mean, its sums over its weights, under each weighting of the units; NaN where no weight is left."""
    with np.errstate(invalid="ignore"):
        return (weighting @ sums) / (weighting @ weights)


def percentile_ends(
    draws: Float[np.ndarray, "draws cells"], n: Int[np.ndarray, " cells"], level: float
) -> tuple[Float[np.ndarray, " cells"], Float[np.ndarray, " cells"]]:
    """Low and high end of each column's interval over its resamples, widened for few units (`expanded_tail`).

    `n` is how many units each column has. NaN for a column with one unit or none, and for one without a known draw;
    draws that are NaN (a resample without any of the column's units) are left out.

    Args:
        draws: A value for each resample and column, NaN where a resample has none.
        n: How many units each column has.
        level: How often the interval should hold the true value: 0.95 is 95 %.
    """
    ends = np.full((2, draws.shape[1]), np.nan)
    known = ~np.isnan(draws).all(axis=0)
    for count in np.unique(n[known & (n > 1)]):
        tail, cells = expanded_tail(int(count), level), known & (n == count)
        quantile = np.nanquantile if np.isnan(draws[:, cells]).any() else np.quantile  # the former is far slower
        ends[:, cells] = quantile(draws[:, cells], [tail, 1 - tail], axis=0)
    return ends[0], ends[1]


def studentised_means(
    centred: Float[np.ndarray, "prompts cells"], weighting: Float[np.ndarray, "draws prompts"]
) -> Float[np.ndarray, "draws cells"]:
    """The mean of each resample in units of the resample's own standard error; infinite where that has no spread.

    `centred` has mean 0 in each column and NaN where a prompt is not known. Bootstrap-t: Efron and Tibshirani 1993, An
    Introduction to the Bootstrap, chapter 12.

    Args:
        centred: Values less their column's mean.
        weighting: How often each prompt stands in each resample (`resamples`).
    """
    known = ~np.isnan(centred)
    values, n = np.where(known, centred, 0), known.sum(axis=0)
    count = weighting @ known.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.sqrt((values**2).sum(axis=0) / n)
        mean = (weighting @ values) / count
        spread = np.maximum((weighting @ values**2) / count - mean**2, 0)
        spread[spread < 1e-12 * scale**2] = 0  # rounding is no spread
        mean[np.abs(mean) < 1e-9 * scale] = 0
        studentised = np.where(mean == 0, 0, mean / np.sqrt(spread / (count - 1)))
    studentised[count < 2] = 0  # a resample with one of the column's prompts, or none, says nothing
    return studentised


def studentised_ends(
    centred: Float[np.ndarray, "prompts cells"], weighting: Float[np.ndarray, "draws prompts"], level: float
) -> Float[np.ndarray, "2 cells"]:
    """The lower and upper percentile, over resamples, of `studentised_means`, each tail widened (`widened_tail`).

    An end is infinite where so many resamples have no spread.

    Args:
        centred: Values less their column's mean, NaN where a prompt is not known.
        weighting: How often each prompt stands in each resample (`resamples`).
        level: How often an interval from these ends should hold the true value: 0.95 is 95 %.
    """
    studentised, n = studentised_means(centred, weighting), (~np.isnan(centred)).sum(axis=0)
    ends, last = np.empty((2, len(n))), len(weighting) - 1
    for units in np.unique(n):
        lower = int(widened_tail(int(units), level) * last)
        cells = n == units
        ends[:, cells] = np.partition(studentised[:, cells], (lower, last - lower), axis=0)[[lower, last - lower]]
    return ends


def widened_tail(n: int, level: float) -> float:
    """The tail of a bootstrap-t at `level` over `n` units: two thirds of the way from the plain one to `expanded_tail`.

    A departure from the source. Simulated, plain tails cover lognormal effects of 8 prompts 90 times in a hundred,
    these 93 times; wholly expanded ones leave 97 % elsewhere.
    """
    return ((1 - level) / 2 + 2 * expanded_tail(n, level)) / 3


def expanded_tail(n: int, level: float) -> float:
    """The lower percentile, as a share, that gives a bootstrap interval of `level` over `n` units, `n` at least 2.

    With n units the plain percentile interval is too narrow by about √((n − 1)/n) and by normal instead of t tails; the
    percentiles are moved outward to Φ(√(n/(n − 1)) · t) as in Hesterberg 2015 (The American Statistician 69:4, expanded
    percentile interval). Simulated with normal effects, a 95 % interval covers 94 % with 8 to 20 units and 91 % with 5;
    with strongly skewed effects 89 % with 8 and 92 % with 20.

    Raises:
        ValueError: fewer than two units, or a level outside (0, 1).
    """
    if n < 2 or not 0 < level < 1:
        raise ValueError(f"an interval needs two units and a level between 0 and 1, not {n} and {level}")
    return float(norm.cdf(np.sqrt(n / (n - 1)) * t.ppf((1 - level) / 2, n - 1)))
