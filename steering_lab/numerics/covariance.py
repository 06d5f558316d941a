"""Distances in a cloud of points with few points for its dimensions: a shrunken covariance, and what it whitens."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

MIN_POINTS = 3  # that have a covariance to speak of
_LEAST = 1e-12  # of a variance, in squared spreads


class TooFewPoints(ValueError):
    """So few points that they have no covariance to speak of."""


@dataclass(frozen=True, eq=False)
class Whitening:
    """A normal distribution fitted to points, as the map that makes it a standard one.

    Args:
        mean: The points' mean.
        spread: Their standard deviation in each dimension.
        axes: Where the points vary, in units of their spread: as many directions as points or dimensions, if fewer.
        gains: What is multiplied along each axis.
        rest: And in all other directions, where the shrunken covariance has one variance.
        shrinkage: How much of the correlations was given up, in [0, 1].
    """

    mean: Float[Tensor, " dim"]
    spread: Float[Tensor, " dim"]
    axes: Float[Tensor, "axis dim"]
    gains: Float[Tensor, " axis"]
    rest: float
    shrinkage: float

    def whitened(self, points: Float[Tensor, "point dim"]) -> Float[Tensor, "point dim"]:
        """The points, centred, at unit covariance; their lengths are Mahalanobis distances."""
        return self.turned(points.double() - self.mean)

    def turned(self, differences: Float[Tensor, "point dim"]) -> Float[Tensor, "point dim"]:
        """Differences of points in the same coordinates.

        Args:
            differences: Of two points each; unlike for a point, the mean plays no part.
        """
        scaled = differences.double() / self.spread
        return self.rest * scaled + ((scaled @ self.axes.T) * (self.gains - self.rest)) @ self.axes


def fit_whitening(points: Float[Tensor, "point dim"]) -> Whitening:
    """The whitening of `points` by their mean and shrunken covariance, in float64.

        D^1/2 ((1 - s) R + s I) D^1/2,   D the variances, R the correlations

    The weight s is the oracle-approximating one of Chen, Wiesel, Eldar and Hero 2010, arXiv:0907.4698, eq. 23, computed
    on the points in units of their standard deviations. Different from the paper, which shrinks toward equal variances:
    in a residual stream some dimensions vary a hundred times more than others, and their mean variance says nothing of
    either. A dimension without spread counts as one with a thousandth of the median's.

    Raises:
        TooFewPoints: fewer than three, a ValueError.
        ValueError: points that are all alike.
    """
    points = points.double()
    if len(points) < MIN_POINTS:
        raise TooFewPoints(f"{len(points)} points have no covariance to speak of: give three or more")
    mean, spread = points.mean(dim=0), points.std(dim=0, correction=0)
    if not bool((spread > 0).any()):
        raise ValueError(f"all {len(points)} points are alike: they have no covariance")
    spread = torch.where(spread > 0, spread, 1e-3 * spread[spread > 0].median())
    _, singular, axes = torch.linalg.svd((points - mean) / spread, full_matrices=False)
    variances, dim = singular**2 / len(points), points.shape[1]
    shrinkage = oas_shrinkage(variances, dim, len(points))
    common = shrinkage * float(variances.sum()) / dim
    gains = ((1 - shrinkage) * variances + common).clamp(min=_LEAST).rsqrt()
    return Whitening(mean, spread, axes, gains, max(common, _LEAST) ** -0.5, shrinkage)


def oas_shrinkage(variances: Float[Tensor, " axis"], dim: int, n_points: int) -> float:
    """How far to shrink a sample covariance S toward equal variances, in [0, 1].

        ((1 - 2/p) tr S^2 + (tr S)^2) / ((n + 1 - 2/p) (tr S^2 - (tr S)^2 / p))

    and 1 at most: Chen et al. 2010, arXiv:0907.4698, eq. 23.

    Args:
        variances: Those along its axes; what is not there is 0.
        dim: p, how many dimensions there are.
        n_points: n, how many points it is of.
    """
    squares, trace = float((variances**2).sum()), float(variances.sum()) ** 2
    beyond = (n_points + 1 - 2 / dim) * (squares - trace / dim)
    return min(1.0, ((1 - 2 / dim) * squares + trace) / beyond) if beyond > 0 else 1.0
