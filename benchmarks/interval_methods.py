"""The intervals that `make calibration` compares: today's, the chosen ones, and those that were tried and left.

Each takes the prompts' differences ([prompts cells], no NaN), how many samples a prompt has, resampling weights, a
generator and the bounds of a difference, and gives both ends. What was left lives here and not in the package.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from steering_lab.numerics.bootstrap import expanded_tail, percentile_ends
from steering_lab.numerics.intervals import MIN_HEAVY, Kind, paired_mean_interval, paired_share_interval

LEVEL = 0.95
Ends = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Data:
    """Simulated cells: each prompt's difference, and what a method may use beside it."""

    effects: np.ndarray
    samples: int
    weighting: np.ndarray
    seed: int
    bounds: tuple[float, float]

    @property
    def n(self) -> int:
        """How many prompts each cell has."""
        return len(self.effects)

    @property
    def mean(self) -> np.ndarray:
        """Each cell's effect."""
        return self.effects.mean(axis=0)

    @property
    def error(self) -> np.ndarray:
        """Each cell's standard error over prompts."""
        return self.effects.std(axis=0, ddof=1) / np.sqrt(self.n)


def percentile(data: Data) -> Ends:
    """The percentile bootstrap with expanded tails (Hesterberg 2015)."""
    draws = data.weighting @ data.effects / data.n
    return percentile_ends(draws, np.full(draws.shape[1], data.n), LEVEL)


def bca(data: Data) -> Ends:
    """Bias-corrected and accelerated bootstrap (Efron 1987) with expanded tails; jackknife acceleration."""
    draws = np.sort(data.weighting @ data.effects / data.n, axis=0)
    below = (draws < data.mean - 1e-12).mean(axis=0) + (np.abs(draws - data.mean) <= 1e-12).mean(axis=0) / 2
    bias = norm.ppf(np.clip(below, 1 / len(draws), 1 - 1 / len(draws)))
    centred = data.effects - data.mean
    cubes, squares = (centred**3).sum(axis=0), (centred**2).sum(axis=0)
    skew = np.divide(cubes, 6 * squares**1.5, out=np.zeros_like(cubes), where=squares > 0)
    ends = []
    for z in norm.ppf(expanded_tail(data.n, LEVEL)) * np.array([1, -1]):
        share = norm.cdf(bias + (bias + z) / (1 - skew * (bias + z)))
        ends.append(draws[np.round(share * (len(draws) - 1)).astype(int), np.arange(draws.shape[1])])
    return ends[0], ends[1]


def symmetric(data: Data) -> Ends:
    """Chosen for symmetric scores: t over the prompts."""
    found = paired_mean_interval(data.effects, Kind.SYMMETRIC, level=LEVEL)
    return found.low, found.high


def skewed(data: Data) -> Ends:
    """Chosen for skewed measures: the hull of t and bootstrap-t."""
    found = paired_mean_interval(
        data.effects, Kind.SKEWED, level=LEVEL, n_boot=len(data.weighting), rng=np.random.default_rng(data.seed)
    )
    return found.low, found.high


def heavy(data: Data) -> Ends:
    """Chosen for heavy measures: the same, with enough prompts."""
    found = paired_mean_interval(
        data.effects, Kind.HEAVY, level=LEVEL, n_boot=len(data.weighting), rng=np.random.default_rng(data.seed)
    )
    return found.low, found.high


def bounded(data: Data) -> Ends:
    """Chosen for shares and bounded scores: two prompts added at the bounds."""
    found = paired_share_interval(data.effects, level=LEVEL, bounds=data.bounds)
    return found.low, found.high


def dirichlet(data: Data) -> Ends:
    """Gaffke 2005: Dirichlet weights over the sorted values and a bound; Clopper-Pearson for a single share."""
    rng = np.random.default_rng(data.seed)
    weights = rng.standard_gamma(1.0, (len(data.weighting), data.n + 1))
    weights /= weights.sum(axis=1, keepdims=True)
    own, rest, tail = weights[:, 1:] @ data.effects, weights[:, :1], (1 - LEVEL) / 2
    least, most = data.bounds
    return np.quantile(own + rest * least, tail, axis=0), np.quantile(own + rest * most, 1 - tail, axis=0)


def tango(data: Data) -> Ends:
    """Tango 1998's score interval; several samples count as n / r prompts, r the ratio of their variance to one's.

    With several samples per prompt the quantile is t's, and r is kept between 1 / samples and 1.
    """
    gained, lost = np.maximum(data.effects, 0).mean(axis=0), np.maximum(-data.effects, 0).mean(axis=0)
    one = gained + lost - (gained - lost) ** 2
    ratio = np.divide(data.error**2 * data.n, one, out=np.ones_like(one), where=one > 0)
    many = data.n / np.clip(ratio, 1 / data.samples, 1)
    z = norm.ppf((1 + LEVEL) / 2) if data.samples == 1 else t.ppf((1 + LEVEL) / 2, data.n - 1)
    low, high = (_tango_end(gained * many, lost * many, many, z, side) for side in (-1.0, 1.0))
    return low, high


def _tango_end(gained: np.ndarray, lost: np.ndarray, n: np.ndarray, z: float, side: float) -> np.ndarray:
    near, far = (gained - lost) / n, np.full_like(n, side)
    for _ in range(40):
        middle = (near + far) / 2
        b = -gained - lost + (2 * n - gained + lost) * middle
        root = np.sqrt(np.maximum(b**2 + 8 * n * lost * middle * (1 - middle), 0))
        variance = n * ((root - b) / (2 * n) + middle * (1 - middle))
        inside = (gained - lost - n * middle) ** 2 < z**2 * np.maximum(variance, 1e-300)
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
    return far


Method = Callable[[Data], Ends]
OPEN: dict[str, Method] = {"percentile": percentile, "BCa": bca, "t": symmetric, "t and bootstrap-t": skewed}
TAILED: dict[str, Method] = {**OPEN, f"the same from {MIN_HEAVY} prompts on": heavy}
ENDED: dict[str, Method] = {
    "percentile": percentile,
    "BCa": bca,
    "t": symmetric,
    "Tango": tango,
    "Dirichlet": dirichlet,
    "two added": bounded,
}
