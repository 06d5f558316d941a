"""Intervals of paired effects: by hand, against SciPy, exactly at every share, and at the edges."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import multinomial, ttest_rel

from steering_lab.numerics.intervals import (
    ALL_ALIKE,
    FEW_DIFFER,
    MIN_HEAVY,
    MIN_PROMPTS,
    NO_VALUE,
    TOO_FEW,
    TOO_FEW_FOR_TAIL,
    Interval,
    Kind,
    paired_interval,
    paired_mean_interval,
    paired_share_interval,
    prompt_effects,
    ratio_interval,
)

TRINOMIAL = [-1.0, 0.0, 1.0]


def skewed(effects: np.ndarray, seed: int = 0) -> Interval:
    return paired_mean_interval(effects, Kind.SKEWED, rng=np.random.default_rng(seed))


def of_counts(n: int, counts: np.ndarray) -> Interval:
    """The share interval of every pair (lost, gained) among `n` prompts with one sample each."""
    columns = [np.repeat(TRINOMIAL, [lost, n - lost - gained, gained]) for lost, gained in counts]
    return paired_share_interval(np.stack(columns, axis=1))


def exact_coverage(n: int, shares: list[tuple[float, float]]) -> list[float]:
    """How often the share interval covers, for each (share lost, share gained), by enumerating all outcomes."""
    counts = np.array([(lost, gained) for lost in range(n + 1) for gained in range(n + 1 - lost)])
    low, high, _ = of_counts(n, counts)
    found = []
    for lost, gained in shares:
        full = np.column_stack([counts, n - counts.sum(axis=1)])
        chance = multinomial.pmf(full, n, [lost, gained, 1 - lost - gained])
        found.append(float(chance[(low <= gained - lost) & (gained - lost <= high)].sum()))
    return found


@pytest.mark.parametrize("n", [*range(1, 26), 37])
def test_a_share_is_covered_93_times_in_a_hundred_whatever_it_is(n: int) -> None:
    grid = [*np.linspace(0, 0.06, 7), *np.linspace(0.1, 1, 19)]
    shares = [(a, b) for a in grid for b in grid if a + b < 1]
    shares += [(a, 1 - a) for a in np.linspace(0, 0.5, 51)]  # every prompt changes: the worst for few prompts
    assert min(exact_coverage(n, shares)) >= 0.93


def test_a_share_interval_by_hand() -> None:
    # 8 prompts, one gained: with -1 and +1 added 10 values, mean 0.1, mean of squares 0.3, variance 0.29, t(9) = 2.262
    low, high, why = paired_share_interval(np.array([[1.0], *[[0.0]] * 7]))
    half = 2.2621572 * math.sqrt(0.29 / 9)
    assert [low[0], high[0]] == pytest.approx([0.1 - half, 0.1 + half])
    assert why[0] == ""


def test_nothing_lost_of_68_says_at_most_four_in_a_hundred() -> None:
    low, high, _ = paired_share_interval(np.zeros((68, 1)))
    assert high[0] == pytest.approx(0.0406, abs=1e-4)
    assert low[0] == -high[0]
    assert paired_share_interval(np.zeros((68, 1)), bounds=(0.0, 1.0)).high[0] == pytest.approx(0.0428, abs=1e-4)


@given(arrays(float, st.tuples(st.integers(1, 30), st.just(2)), elements=st.sampled_from(TRINOMIAL)))
def test_a_share_interval_has_width_holds_the_effect_and_stays_possible(effects: np.ndarray) -> None:
    low, high, _ = paired_share_interval(effects)
    assert (low < high).all()
    assert (low >= -1).all()
    assert (high <= 1).all()
    assert (low <= effects.mean(axis=0) + 1e-12).all()
    assert (high >= effects.mean(axis=0) - 1e-12).all()


@given(arrays(float, st.tuples(st.integers(1, 30), st.just(2)), elements=st.sampled_from(TRINOMIAL)))
def test_exchanging_the_arms_turns_an_interval_round(effects: np.ndarray) -> None:
    there, back = paired_share_interval(effects), paired_share_interval(-effects)
    assert back.low == pytest.approx(-there.high)


def test_equal_weights_give_each_prompts_own_difference() -> None:
    steered, unsteered, weight = np.array([[3.0], [1.0]]), np.array([[1.0], [1.0]]), np.full((2, 1), 4.0)
    assert prompt_effects(steered, weight, unsteered, weight) == pytest.approx(np.array([[0.5], [0.0]]))


@given(st.integers(0, 1000))
def test_the_mean_of_the_prompts_is_the_difference_of_the_weighted_means(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steered, unsteered = rng.normal(size=(2, 9, 3))
    weight, base = rng.integers(1, 50, size=(2, 9, 3)).astype(float)
    effect = steered.sum(0) / weight.sum(0) - unsteered.sum(0) / base.sum(0)
    assert prompt_effects(steered, weight, unsteered, base).mean(axis=0) == pytest.approx(effect)


def test_a_prompt_without_a_value_is_nan_and_changes_no_other() -> None:
    rng = np.random.default_rng(0)
    sums, base, weight = rng.normal(size=(10, 1)), rng.normal(size=(10, 1)), np.ones((10, 1))
    weight[3] = 0
    found = prompt_effects(sums, weight, base, weight)
    assert np.isnan(found[3, 0])
    rest = np.delete(np.arange(10), 3)
    assert found[rest] == pytest.approx(prompt_effects(*(part[rest] for part in (sums, weight, base, weight))))
    for kind in Kind:
        whole, without = (
            paired_interval(e, kind, bounds=(-9.0, 9.0), n_boot=20_000, rng=np.random.default_rng(1))
            for e in (found, found[rest])
        )
        resampled = 0.3 if kind == Kind.SKEWED else 1e-9  # other resamples
        ends = [without.low[0], without.high[0]]
        assert [whole.low[0], whole.high[0]] == pytest.approx(ends, abs=resampled, nan_ok=True)


def test_a_symmetric_interval_is_scipys_of_the_paired_t_test() -> None:
    steered, unsteered = np.random.default_rng(0).normal(size=(2, 12, 4))
    expected = ttest_rel(steered, unsteered, axis=0).confidence_interval(0.95)
    low, high, _ = paired_mean_interval(steered - unsteered, Kind.SYMMETRIC)
    assert low == pytest.approx(expected.low)
    assert high == pytest.approx(expected.high)


def test_a_ratio_is_the_exponential_of_its_logarithm() -> None:
    logs = np.random.default_rng(0).normal(size=(12, 4))
    low, high, _ = paired_mean_interval(logs, Kind.SYMMETRIC)
    assert ratio_interval(logs).low == pytest.approx(np.exp(low))
    assert ratio_interval(logs).high == pytest.approx(np.exp(high))


@given(st.integers(0, 200), st.floats(0.01, 100), st.floats(-10, 10))
def test_a_unit_and_an_offset_carry_over_to_the_ends(seed: int, scale: float, offset: float) -> None:
    effects = np.random.default_rng(seed).exponential(size=(10, 2))
    plain, moved = skewed(effects), skewed(effects * scale + offset)
    assert moved.low == pytest.approx(plain.low * scale + offset, rel=1e-6, abs=1e-6 * scale)
    assert moved.high == pytest.approx(plain.high * scale + offset, rel=1e-6, abs=1e-6 * scale)


def test_a_long_tail_is_given_room_on_its_side_and_the_plain_interval_is_inside() -> None:
    effects = np.random.default_rng(0).lognormal(size=(12, 20))
    wide, plain = skewed(effects), paired_mean_interval(effects, Kind.SYMMETRIC)
    assert (wide.low <= plain.low).all()
    assert (wide.high >= plain.high).all()
    assert ((wide.high - plain.high) > (plain.low - wide.low)).mean() > 0.9


def test_all_alike_and_too_few_have_no_interval_and_say_why() -> None:
    effects = np.full((12, 4), np.nan)
    effects[:, 0] = 0.1  # alike, up to rounding
    effects[:, 1] = 0
    effects[: MIN_PROMPTS - 1, 2] = range(MIN_PROMPTS - 1)
    for found in (skewed(effects), paired_mean_interval(effects, Kind.SYMMETRIC)):
        assert list(found.why) == [ALL_ALIKE, ALL_ALIKE, TOO_FEW, NO_VALUE]
        assert np.isnan([found.low, found.high]).all()


def test_a_heavy_measure_has_a_skewed_ones_interval_from_enough_prompts_on() -> None:
    effects = np.random.default_rng(0).lognormal(sigma=2, size=(MIN_HEAVY, 2))
    effects[0, 1] = np.nan
    found = paired_mean_interval(effects, Kind.HEAVY, rng=np.random.default_rng(0))
    assert list(found.why) == ["", TOO_FEW_FOR_TAIL]
    assert [found.low[0], found.high[0]] == [skewed(effects).low[0], skewed(effects).high[0]]
    with pytest.raises(ValueError, match="a heavy measure's interval needs an rng"):
        paired_mean_interval(effects, Kind.HEAVY)


def test_one_prompt_has_an_interval_only_where_the_scale_has_ends() -> None:
    found = paired_share_interval(np.array([[1.0, 0.0, np.nan]]))
    assert (found.high - found.low)[:2] == pytest.approx([2, 2], abs=0.7)
    assert list(found.why) == ["", "", NO_VALUE]
    assert paired_mean_interval(np.array([[1.0]]), Kind.SYMMETRIC).why[0] == TOO_FEW


def test_one_prompt_that_differs_among_zeros_gives_a_skewed_measure_no_end() -> None:
    effects = np.zeros((16, 2))
    effects[0] = 1
    effects[:, 1] = np.random.default_rng(0).exponential(size=16)
    assert list(skewed(effects).why) == [FEW_DIFFER, ""]


@pytest.mark.parametrize("n", [MIN_PROMPTS, 16])
def test_equal_seeds_give_equal_intervals_and_a_cell_does_not_depend_on_its_neighbours(n: int) -> None:
    effects = np.random.default_rng(0).exponential(size=(n, 3))
    assert skewed(effects).high == pytest.approx(skewed(effects).high, abs=0)
    assert skewed(effects[:, 1:2]).high[0] == pytest.approx(skewed(effects).high[1], rel=1e-9)


@pytest.mark.parametrize("bounds", [(1.0, -1.0), (0.0, 0.0), (-math.inf, 1.0), (0.0, math.nan)])
def test_bounds_are_finite_and_ascending(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="two finite numbers"):
        paired_share_interval(np.zeros((9, 1)), bounds=bounds)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_is_a_share(level: float) -> None:
    for kind in Kind:
        with pytest.raises(ValueError, match="level is between 0 and 1"):
            paired_interval(np.zeros((9, 1)), kind, level=level, rng=np.random.default_rng(0))


def test_a_bounded_measure_has_no_open_interval_and_a_skewed_one_needs_an_rng() -> None:
    with pytest.raises(ValueError, match="call paired_share_interval"):
        paired_mean_interval(np.zeros((9, 1)), Kind.BOUNDED)
    with pytest.raises(ValueError, match="needs an rng"):
        paired_mean_interval(np.arange(9.0)[:, None], Kind.SKEWED)
