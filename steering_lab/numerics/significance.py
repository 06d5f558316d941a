"""Exact tests of counts, and p-values adjusted for how many there are."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.stats import binom, false_discovery_control

LEVEL = 0.05
"""The p up to which something is told from nothing, everywhere."""


def mcnemar(helped: int, hurt: int) -> float:
    """Two-sided exact p that `helped` and `hurt` come from a fair coin: twice the smaller tail, at most 1.

    McNemar 1947, in its exact form: pairs that did not change say nothing; without a changed pair p is 1.

    Raises:
        ValueError: a negative count.
    """
    if helped < 0 or hurt < 0:
        raise ValueError(f"counts are 0 or more, not {helped} and {hurt}")
    return min(1.0, 2 * float(binom.cdf(min(helped, hurt), helped + hurt, 0.5)))


def holm(p: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """Holm's adjusted p: rejecting all below α keeps the chance of any false rejection at most α; NaN stays NaN."""
    return _adjusted(p, _holm)


def benjamini_hochberg(p: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """Benjamini and Hochberg's adjusted p: of all below α, an expected share of at most α is false; NaN stays NaN."""
    return _adjusted(p, false_discovery_control)


def _holm(p: np.ndarray) -> np.ndarray:
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(stepped[np.argsort(order)], 1)


def _adjusted(p: np.ndarray, adjust: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    known = ~np.isnan(p)
    adjusted = np.full(p.shape, np.nan)
    if known.any():
        adjusted[known] = adjust(p[known])
    return adjusted
