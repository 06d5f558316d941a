"""Distances in a cloud of points with few points for its dimensions: a shrunken covariance, and what it whitens."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Whitening:
    """A normal distribution fitted to points, as the map that makes it a standard one.

    Args:
        mean: The points' mean.
        inverse: What centred points are multiplied by.
        shrinkage: How much of the correlations was given up, in [0, 1].
    """

    mean: Float[Tensor, " dim"]
    inverse: Float[Tensor, "dim dim"]
    shrinkage: float

    def whitened(self, points: Float[Tensor, "point dim"]) -> Float[Tensor, "point dim"]:
        """The points, centred, at unit covariance; their lengths are Mahalanobis distances."""
        return self.turned(points.double() - self.mean)

    def turned(self, differences: Float[Tensor, "point dim"]) -> Float[Tensor, "point dim"]:
        """Differences of points in the same coordinates."""
        return differences.double() @ self.inverse


def fit_whitening(points: Float[Tensor, "point dim"]) -> Whitening:
    """The whitening of `points` by their mean and shrunken covariance, in float64.

        D^1/2 ((1 - s) R + s I) D^1/2,   D the variances, R the correlations

    The weight s is the oracle-approximating one of Chen, Wiesel, Eldar and Hero 2010, arXiv:0907.4698, eq. 23, computed
    on the points in units of their standard deviations. Different from the paper, which shrinks toward equal variances:
    in a residual stream some dimensions vary a hundred times more than others, and their mean variance says nothing of
    either. A dimension without spread counts as one with a thousandth of the median's.

    Raises:
        ValueError: fewer than three points, or points that are all alike.
    """
    points = points.double()
    if len(points) < 3:
        raise ValueError(f"{len(points)} points have no covariance to speak of: give three or more")
    mean, spread = points.mean(dim=0), points.std(dim=0, correction=0)
    if not bool((spread > 0).any()):
        raise ValueError(f"all {len(points)} points are alike: they have no covariance")
    spread = torch.where(spread > 0, spread, 1e-3 * spread[spread > 0].median())
    scaled = (points - mean) / spread
    correlations = scaled.T @ scaled / len(points)
    shrinkage = oas_shrinkage(correlations, len(points))
    shrunken = (1 - shrinkage) * correlations
    shrunken.diagonal().add_(shrinkage * float(correlations.diagonal().mean()))
    values, axes = torch.linalg.eigh(shrunken)
    inverse = axes / values.clamp(min=1e-12).sqrt() / spread[:, None]
    return Whitening(mean, inverse, shrinkage)


def oas_shrinkage(covariance: Float[Tensor, "dim dim"], n_points: int) -> float:
    """How far to shrink a sample covariance of `n_points` toward equal variances, in [0, 1].

        ((1 - 2/p) tr S^2 + (tr S)^2) / ((n + 1 - 2/p) (tr S^2 - (tr S)^2 / p))

    and 1 at most: Chen et al. 2010, arXiv:0907.4698, eq. 23.
    """
    dim, squares = len(covariance), float((covariance**2).sum())
    trace = float(covariance.diagonal().sum()) ** 2
    beyond = (n_points + 1 - 2 / dim) * (squares - trace / dim)
    return min(1.0, ((1 - 2 / dim) * squares + trace) / beyond) if beyond > 0 else 1.0
