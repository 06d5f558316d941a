"""Variances that borrow strength, where there are many groups of few observations each; and how heavy a tail is.

Empirical Bayes: the groups' true variances are taken to scatter around a trend, and a group's own variance is averaged
with the trend's, each weighted by its degrees of freedom. Smyth 2004, Statistical Applications in Genetics and
Molecular Biology 3:1; the trend as in Sartor et al. 2006, BMC Bioinformatics 7:538. Nothing here knows what the groups
are.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq, minimize_scalar
from scipy.special import digamma, polygamma
from scipy.stats import t

MIN_GROUPS = 8  # fewer do not say how variances scatter
TAIL = 0.2  # the share of the largest values that a tail is judged by
MOST_DF = 200.0  # as good as normal


class Moderated(NamedTuple):
    """Each group's `variance` after the averaging and the degrees of freedom `df` it is worth."""

    variance: Float[np.ndarray, " groups"]
    df: Float[np.ndarray, " groups"]


def can_moderate(variance: Float[np.ndarray, " groups"]) -> bool:
    """Whether enough groups have a `variance` above 0 to learn how variances scatter."""
    return int((variance > 0).sum()) >= MIN_GROUPS


def moderated(
    variance: Float[np.ndarray, " groups"],
    df: Float[np.ndarray, " groups"],
    trend: Float[np.ndarray, "groups terms"],
    most_df: float | int = np.inf,
) -> Moderated:
    """The groups' variances, each averaged with what the others let expect of it.

    Groups without any spread take no part in the fit of what is expected; theirs is then mostly that.

    Args:
        variance: Each group's own, from independent observations.
        df: Their degrees of freedom, at least 1.
        trend: Terms of the regression of log variances, the constant among them.
        most_df: What all groups together are worth; no group is taken to be worth more.

    Raises:
        ValueError: fewer than `MIN_GROUPS` groups with a variance above 0.
    """
    if not can_moderate(variance):
        raise ValueError(f"{int((variance > 0).sum())} groups have a variance above 0: {MIN_GROUPS} are needed")
    seen = variance > 0
    half = df[seen] / 2
    level = np.log(variance[seen]) - digamma(half) + np.log(half)
    slopes, _, rank, _ = np.linalg.lstsq(trend[seen], level, rcond=None)
    scatter = float(((level - trend[seen] @ slopes) ** 2).sum() / (seen.sum() - rank))
    prior_df = 2 * _inverse_trigamma(scatter - float(polygamma(1, half).mean()))
    if np.isinf(prior_df):  # they scatter no more than variances of so few observations must
        return Moderated(np.exp(trend @ slopes), np.full(len(df), float(most_df)))
    expected = np.exp(trend @ slopes + digamma(prior_df / 2) - np.log(prior_df / 2))
    worth = df + prior_df
    return Moderated((prior_df * expected + df * variance) / worth, np.minimum(worth, most_df))


def tail_df(distances: Float[np.ndarray, "..."]) -> float:
    """The degrees of freedom of a t distribution whose tail is as heavy as that of the largest fifth of `distances`.

    The likeliest for those beyond the 80th percentile, given that they are; between 1 and 200.
    """
    sizes = np.abs(distances[np.isfinite(distances)])
    start = np.quantile(sizes, 1 - TAIL)
    beyond = sizes[sizes > start]
    if not len(beyond):
        return 1.0

    def unlikely(log_df: float) -> float:
        df = np.exp(log_df)
        return float(len(beyond) * t.logsf(start, df) - t.logpdf(beyond, df).sum())

    return float(np.exp(minimize_scalar(unlikely, bounds=(0, np.log(MOST_DF)), method="bounded").x))


def _inverse_trigamma(value: float) -> float:
    if value < 1e-4:  # more than 10,000: as good as no scatter
        return np.inf
    return float(np.exp(brentq(lambda x: np.log(polygamma(1, np.exp(x)) / value), -20, 12)))
