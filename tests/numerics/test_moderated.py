"""Moderated variances: what they estimate, at the ends where the others say all or nothing, and tails by number."""

import numpy as np
import pytest

from steering_lab.numerics.moderated import moderated, tail_df


def test_the_prior_that_variances_were_drawn_from_is_found_again() -> None:
    rng = np.random.default_rng(0)
    prior_df, expected, df = 8.0, 2.5, np.full(20_000, 4.0)
    true = expected * prior_df / rng.chisquare(prior_df, size=len(df))
    own = true * rng.chisquare(4, size=len(df)) / 4
    found = moderated(own, df, np.ones((len(df), 1)))
    assert found.df[0] - 4 == pytest.approx(prior_df, rel=0.1)
    assert found.variance == pytest.approx((prior_df * expected + 4 * own) / 12, rel=0.1)


def test_a_trend_is_followed() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(0, 3, 4000)
    own = np.exp(2 * x) * rng.chisquare(4, size=len(x)) / 4
    found = moderated(own, np.full(len(x), 4.0), np.stack([np.ones_like(x), x], axis=1), most_df=100)
    assert np.log(found.variance) == pytest.approx(2 * x, abs=0.3)
    assert (found.df > 50).all()


def test_where_variances_scatter_widely_each_keeps_its_own() -> None:
    rng = np.random.default_rng(0)
    own = np.exp(8 * rng.normal(size=500))
    found = moderated(own, np.full(500, 30.0), np.ones((500, 1)))
    large = own > np.median(own)  # the smallest are raised to what a trend with hardly any weight lets expect
    assert np.log(found.variance[large]) == pytest.approx(np.log(own[large]), abs=0.1)
    assert (found.df < 31).all()


def test_no_group_is_worth_more_than_all_together() -> None:
    own = np.full(10, 2.0)
    assert moderated(own, np.full(10, 4.0), np.ones((10, 1)), most_df=40).df.tolist() == [40] * 10


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="7 groups have a variance above 0: 8 are needed"):
        moderated(np.ones(7), np.full(7, 4.0), np.ones((7, 1)))


@pytest.mark.parametrize("df", [3.0, 6.0])
def test_a_tail_is_found_again(df: float) -> None:
    assert tail_df(np.random.default_rng(0).standard_t(df, size=50_000)) == pytest.approx(df, rel=0.15)


def test_values_that_do_not_vary_have_the_heaviest_tail() -> None:
    assert tail_df(np.zeros(20)) == 1
