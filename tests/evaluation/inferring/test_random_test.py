"""The grid's random test: seldom finds a cell among random vectors' own grids, and finds what no random vector does."""

import numpy as np
import pytest

from steering_lab.evaluation.inferring.random_test import random_grid

LAYERS, COEFFS = 8, np.array([-4, -2, -1, -0.5, -0.25, 0.25, 0.5, 1, 2, 4])
NORMS, AT = np.tile(np.abs(COEFFS), LAYERS), np.repeat(np.arange(float(LAYERS)), len(COEFFS))


def vectors(rng: np.random.Generator, n: int, *, df: float = np.inf, scatter: float = 0.0) -> np.ndarray:
    """The grids of random vectors: one direction per layer, growing with the coefficient, and noise in each cell."""
    size = np.exp(scatter * rng.normal(size=(1, LAYERS, 1)))
    along = rng.normal(size=(n, LAYERS, 1)) if np.isinf(df) else rng.standard_t(df, size=(n, LAYERS, 1))
    return (size * along * COEFFS + 0.3 * rng.normal(size=(n, LAYERS, len(COEFFS)))).reshape(n, -1)


@pytest.mark.parametrize("draws", [3, 5, 10])
@pytest.mark.parametrize(("df", "scatter"), [(np.inf, 0.0), (np.inf, 0.7), (4.0, 0.7)])
def test_a_random_vectors_own_grid_seldom_has_a_cell_that_random_vectors_do_not_reach(
    draws: int, df: float, scatter: float
) -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(100):
        own, *others = vectors(rng, draws + 1, df=df, scatter=scatter)
        found += bool((random_grid(np.array(others), NORMS, AT).p_family(own) <= 0.05).any())
    assert found <= 9  # 5 expected at most; more than 9 with probability 3 %


def test_five_draws_find_a_cell_that_lies_eight_standard_deviations_out() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(30):
        own, *others = vectors(rng, 6)
        own[35:40] += 8 * np.sqrt(COEFFS[5:] ** 2 + 0.09)
        found += bool((random_grid(np.array(others), NORMS, AT).p_family(own) <= 0.05).any())
    assert found >= 24  # 26 are; the doubling of p costs some


def test_a_cell_no_farther_out_than_a_draws_own_best_cell_is_not_told_from_random_vectors() -> None:
    rng = np.random.default_rng(0)
    draws = vectors(rng, 5)
    draws[2, 79] += 500
    grid = random_grid(draws, NORMS, AT)
    effects = grid.center + grid.spread * 0.99 * grid.farthest[2]
    assert (grid.p_family(effects) >= 2 / 6).all()


def test_units_and_a_shift_common_to_all_change_nothing() -> None:
    rng = np.random.default_rng(0)
    own, *others = vectors(rng, 6)
    plain = random_grid(np.array(others), NORMS, AT).p_family(own)
    moved = random_grid(np.array(others) * 30 + 7, NORMS * 3, AT).p_family(own * 30 + 7)
    assert moved == pytest.approx(plain)


def test_cells_in_which_no_draw_did_anything_are_judged_by_the_others() -> None:
    rng = np.random.default_rng(0)
    draws = vectors(rng, 5)
    draws[:, :10] = 0
    grid = random_grid(draws, NORMS, AT)
    assert (grid.spread > 0).all()


def test_a_draw_that_is_not_known_in_a_cell_is_left_out_of_it() -> None:
    rng = np.random.default_rng(0)
    draws = vectors(rng, 6)
    draws[5, :40] = np.nan
    gap, whole = (random_grid(d, NORMS, AT) for d in (draws, draws[:5]))
    assert gap.center[:40] == pytest.approx(whole.center[:40])
    assert np.isfinite(gap.p_family(draws[0])).all()
