"""A shrunken covariance gives distances near the true ones where the sample covariance has none to give."""

import numpy as np
import pytest
import torch
from torch import Tensor

from steering_lab.numerics.covariance import Whitening, fit_whitening, oas_shrinkage

DIM = 40


def gaussian(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points of a normal distribution with dimensions of very different spread, some correlated; its covariance."""
    rng = np.random.default_rng(1)
    loads = rng.normal(size=(DIM, 4))
    spread = 10.0 ** rng.uniform(-2, 2, DIM)
    covariance = (loads @ loads.T + np.eye(DIM)) * np.outer(spread, spread)
    points = np.random.default_rng(seed).multivariate_normal(np.full(DIM, 3.0), covariance, n)
    return torch.from_numpy(points), torch.from_numpy(covariance)


def error(whitening: Whitening) -> float:
    """Mean relative error of the distances of new points, against the exact ones, a common factor left out."""
    points, covariance = gaussian(500, seed=9)
    exact = torch.einsum("nd,nd->n", points - 3.0, torch.linalg.solve(covariance, (points - 3.0).T).T).sqrt()
    ratio = whitening.whitened(points).norm(dim=-1) / exact
    return float((ratio / ratio.median()).log().abs().mean())


def unshrunken(points: Tensor) -> Whitening:
    values, axes = torch.linalg.eigh(torch.cov(points.T))
    gains = values.clamp(min=1e-12).rsqrt()
    return Whitening(points.mean(dim=0), torch.ones(DIM).double(), axes.T, gains, 1.0, 0.0)


def test_many_points_give_the_exact_distances() -> None:
    points, covariance = gaussian(100_000)
    whitening = fit_whitening(points)
    assert whitening.shrinkage < 0.01
    new, _ = gaussian(50, seed=2)
    exact = torch.einsum("nd,nd->n", new - 3.0, torch.linalg.solve(covariance, (new - 3.0).T).T).sqrt()
    torch.testing.assert_close(whitening.whitened(new).norm(dim=-1), exact, rtol=0.03, atol=0)


@pytest.mark.parametrize("n", [20, 50, 80])
def test_shrinkage_makes_the_difference_where_points_are_few(n: int) -> None:
    points, _ = gaussian(n)
    whitening = fit_whitening(points)
    assert 0 < whitening.shrinkage < 1
    assert error(whitening) < 0.75 * error(unshrunken(points))


@pytest.mark.parametrize("n", [15, 90])
def test_the_distance_is_by_the_shrunken_covariance_written_out(n: int) -> None:
    points, _ = gaussian(n)
    whitening = fit_whitening(points)
    spread = points.std(dim=0, correction=0)
    scaled = (points - points.mean(dim=0)) / spread
    shrunken = (1 - whitening.shrinkage) * scaled.T @ scaled / n + whitening.shrinkage * torch.eye(DIM)
    new, _ = gaussian(20, seed=3)
    apart = new - points.mean(dim=0)
    covariance = shrunken * torch.outer(spread, spread)
    exact = torch.einsum("nd,nd->n", apart, torch.linalg.solve(covariance, apart.T).T).sqrt()
    torch.testing.assert_close(whitening.whitened(new).norm(dim=-1), exact)


def test_units_of_a_dimension_change_no_distance() -> None:
    points, _ = gaussian(30)
    units = 10.0 ** torch.linspace(-3, 3, DIM).double()
    one, other = fit_whitening(points), fit_whitening(points * units)
    torch.testing.assert_close(other.whitened(points * units).norm(dim=-1), one.whitened(points).norm(dim=-1))


def test_the_weight_by_hand() -> None:
    """S = diag(3, 1): p = 2, tr S^2 = 10, (tr S)^2 = 16; ((1 - 1) 10 + 16) / ((19 + 1 - 1) (10 - 8)) at n = 19."""
    assert oas_shrinkage(torch.tensor([3.0, 1.0]), 2, 19) == pytest.approx(16 / 38)
    assert oas_shrinkage(torch.ones(3), 3, 5) == 1.0


def test_a_dimension_without_spread_still_gives_finite_distances() -> None:
    points, _ = gaussian(30)
    points[:, 0] = 7.0
    whitening = fit_whitening(points)
    assert bool(torch.isfinite(whitening.whitened(points + 1.0)).all())


@pytest.mark.parametrize(("points", "message"), [(torch.zeros(2, 3), "2 points"), (torch.ones(5, 3), "are alike")])
def test_points_without_covariance_are_refused(points: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_whitening(points)
