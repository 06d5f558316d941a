"""Whether the best cell of a grid lies farther from what random vectors do than the best of as many of their own.

A grid has few random draws in each cell and many cells. One cell's draws alone say little of how far one more random
vector may fall; those of all cells together say enough. Two safeguards come from the draws themselves, each judged
against the others as if it were the steering vector: the tail is taken to be as heavy as theirs, and a cell that lies
no farther out than some draw's own best cell is not told from random vectors at all. Where all draws do the same there
is no spread to go by, and ranks alone judge. `make calibration` simulates how often it errs. Nothing here knows a
metric; ratios come as logarithms.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import t

from steering_lab.numerics.moderated import can_moderate, moderated, tail_df

CAUTION = (
    2.0  # what p over a grid is multiplied by: where random vectors do skewed things, 5 in 100 would else be 5 to 7
)
MIN_LAYERS = 5  # fewer have too few directions for a trend along them


@dataclass(frozen=True, eq=False)
class RandomGrid:
    """What random vectors do in each cell of a grid: where they lie, and how far one more of them may lie from there.

    Args:
        center: Their mean.
        spread: The standard deviation of one more random vector's distance from it; NaN where that is not known.
        df: The degrees of freedom of that distance.
        farthest: For each draw, how many spreads out its own best cell lies among the other draws; empty below eight
            cells.
        alike: How many draws did the very same in a cell whose spread is not known for that; elsewhere 0.
    """

    center: Float[np.ndarray, " cells"]
    spread: Float[np.ndarray, " cells"]
    df: Float[np.ndarray, " cells"]
    farthest: Float[np.ndarray, " draws"]
    alike: Int[np.ndarray, " cells"]

    def distance(self, effects: Float[np.ndarray, " cells"]) -> Float[np.ndarray, " cells"]:
        """How many spreads each of `effects`, one a cell, lies from what random vectors do there."""
        return np.abs(effects - self.center) / self.spread

    def p_family(self, effects: Float[np.ndarray, " cells"]) -> Float[np.ndarray, " cells"]:
        """For each of `effects`, the probability that the best of a random vector's cells lies as far out; NaN unknown.

        Over as many cells as are known here (Šidák 1967), times `CAUTION` from eight cells on, and never less than
        (1 + k) / (1 + draws), if k draws, at least one, have a cell of their own as far out. Where k draws did all the
        same, 1 / (1 + k) for any other effect, which is its rank, and 1 for theirs.
        """
        distance = self.distance(effects)
        alone = np.minimum(2 * t.sf(distance, self.df), 1 - 1e-16)
        anywhere = -np.expm1(np.sum(~np.isnan(distance)) * np.log1p(-alone))
        if len(self.farthest):
            anywhere = np.minimum(CAUTION * anywhere, 1)
        beaten = (self.farthest[:, None] >= distance).sum(axis=0)
        p = np.where(beaten > 0, np.maximum(anywhere, (1 + beaten) / (1 + len(self.farthest))), anywhere)
        ranked = np.where(np.isclose(effects, self.center, rtol=1e-9, atol=1e-12), 1.0, 1 / (1 + self.alike))
        return np.where((self.alike > 0) & ~np.isnan(effects), ranked, p)


def random_grid(
    draws: Float[np.ndarray, "draws cells"], norms: Float[np.ndarray, " cells"], layers: Float[np.ndarray, " cells"]
) -> RandomGrid:
    """What `draws` say of one more random vector, cell by cell; their variances are moderated from eight cells on.

    Args:
        draws: Each random vector's effect in each cell, at least three known in each.
        norms: The cells' relative norms, along which variances may grow; without one there is no such trend.
        layers: Their layers, along which variances may grow too, from five on. Draws at one layer use one direction, so
            that cells of one layer are not independent.
    """
    where = _Where(norms, layers)
    own = _center_and_spread(draws, where)
    if not can_moderate(np.nanvar(draws, axis=0)):
        return own
    judged = []
    for number, draw in enumerate(draws):
        judged.append(_center_and_spread(np.delete(draws, number, axis=0), where).distance(draw))
    distances = np.array(judged)
    farthest = np.nan_to_num(np.max(distances, axis=1, initial=0, where=~np.isnan(distances)))
    return replace(own, df=np.minimum(own.df, tail_df(distances)), farthest=farthest)


@dataclass(frozen=True, eq=False)
class _Where:
    norms: np.ndarray
    layers: np.ndarray

    @property
    def sites(self) -> int:
        return len(np.unique(self.layers))  # several NaN are one

    @property
    def trend(self) -> np.ndarray:
        terms = [np.ones(len(self.norms))]
        if (self.norms > 0).all():
            terms += [np.log(self.norms), np.log(self.norms) ** 2]
        if self.sites >= MIN_LAYERS and not np.isnan(self.layers).any():
            terms.append(self.layers - self.layers.mean())
        return np.stack(terms, axis=1)


def _center_and_spread(draws: np.ndarray, where: _Where) -> RandomGrid:
    count = (~np.isnan(draws)).sum(axis=0)
    center = np.nansum(draws, axis=0) / np.maximum(count, 1)
    df = np.maximum(count - 1, 1).astype(float)
    variance = np.nansum((draws - center) ** 2, axis=0) / df
    variance[variance < 1e-20 * np.maximum(center**2, 1e-20)] = 0  # rounding is no spread
    if can_moderate(variance):
        variance, df = moderated(variance, df, where.trend, most_df=(len(draws) - 1) * where.sites)
    spread = np.sqrt(variance * (1 + 1 / np.maximum(count, 1)))
    known = (variance > 0) & (count > 0)
    return RandomGrid(center, np.where(known, spread, np.nan), df, np.empty(0), np.where(known, 0, count))
