"""Resamples, means under them and the percentiles of an interval: by hand and at the edges."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from steering_lab.numerics.bootstrap import expanded_tail, percentile_ends, resamples, weighted_means


@given(st.integers(1, 40), st.integers(0, 1000))
def test_every_resample_holds_as_many_units_as_there_are(n: int, seed: int) -> None:
    drawn = resamples(n, 50, np.random.default_rng(seed))
    assert drawn.shape == (50, n)
    assert (drawn.sum(axis=1) == n).all()
    assert ((drawn >= 0) & (drawn == np.round(drawn))).all()


def test_every_unit_is_drawn_once_on_average() -> None:
    drawn = resamples(5, 20_000, np.random.default_rng(0))
    assert drawn.mean(axis=0) == pytest.approx(np.ones(5), abs=4 * math.sqrt(0.8 / 20_000))


def test_nothing_cannot_be_resampled() -> None:
    with pytest.raises(ValueError, match="nothing to resample"):
        resamples(0, 10, np.random.default_rng(0))


def test_weighted_means_by_hand_and_nan_where_no_weight_is_left() -> None:
    sums, weights = np.array([[2.0, 0.0], [9.0, 5.0]]), np.array([[1.0, 0.0], [3.0, 1.0]])
    found = weighted_means(np.array([[1.0, 1.0], [2.0, 0.0]]), sums, weights)
    assert found == pytest.approx(np.array([[11 / 4, 5.0], [2.0, math.nan]]), nan_ok=True)


def test_the_ends_of_equal_draws_are_their_value_and_few_units_have_none() -> None:
    draws = np.full((100, 4), 7.0)
    draws[:, 3] = math.nan
    low, high = percentile_ends(draws, np.array([0, 1, 2, 9]), 0.95)
    assert low == pytest.approx([math.nan, math.nan, 7.0, math.nan], nan_ok=True)
    assert high == pytest.approx(low, nan_ok=True)


def test_many_units_give_the_plain_percentiles_and_few_a_wider_interval() -> None:
    draws = np.random.default_rng(0).normal(size=(4000, 3))
    draws[:, 1:] = draws[:, :1]
    low, high = percentile_ends(draws, np.array([100_000, 20, 4]), 0.95)
    plain = np.quantile(draws[:, 0], [0.025, 0.975])
    assert [low[0], high[0]] == pytest.approx(plain, abs=1e-3)
    assert (np.diff(low) < 0).all()
    assert (np.diff(high) > 0).all()


def test_a_draw_that_is_nan_is_left_out_and_moves_no_other_column() -> None:
    draws = np.random.default_rng(0).normal(size=(500, 2))
    holed = draws.copy()
    holed[::5, 1] = math.nan
    low, high = percentile_ends(holed, np.array([8, 8]), 0.9)
    alone = percentile_ends(draws[:, :1], np.array([8]), 0.9)
    assert (low[0], high[0]) == (alone[0][0], alone[1][0])
    rest = percentile_ends(np.delete(draws, np.s_[::5], axis=0)[:, 1:], np.array([8]), 0.9)
    assert (low[1], high[1]) == (rest[0][0], rest[1][0])


def test_no_columns_give_no_ends() -> None:
    low, high = percentile_ends(np.empty((10, 0)), np.empty(0, dtype=int), 0.95)
    assert len(low) == len(high) == 0


def test_the_expanded_tail_by_hand() -> None:
    """Two units: t with one degree of freedom is Cauchy, its 2.5 % point -tan(0.475 pi)."""
    assert expanded_tail(2, 0.95) == pytest.approx(norm.cdf(-math.sqrt(2) * math.tan(0.475 * math.pi)))
    assert expanded_tail(10**6, 0.95) == pytest.approx(0.025, abs=1e-5)


@pytest.mark.parametrize(("n", "level"), [(1, 0.95), (0, 0.95), (5, 0.0), (5, 1.0), (5, 95.0), (5, math.nan)])
def test_an_impossible_interval_is_refused(n: int, level: float) -> None:
    with pytest.raises(ValueError, match="an interval needs two units and a level between 0 and 1"):
        expanded_tail(n, level)
