"""The swap test: by hand, exact for idle steering, and seldom wrong where differences are skewed."""

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from steering_lab.evaluation.inferring.pairing import PairedSums
from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.evaluation.inferring.swap_test import bootstrap_test, exchange_test, prompt_scores, swap_test
from steering_lab.numerics.kinds import Kind
from tests.evaluation.tables import by_layer, noise, observed, shifted, stacked

Sample = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
SKEWED: dict[str, Sample] = {
    "exponential": lambda rng, size: rng.exponential(size=size) - 1,
    "counts": lambda rng, size: rng.poisson(2 * rng.exponential(size=size)) - 2.0,
    "normal": lambda rng, size: rng.normal(size=size),
}


def single(cells: int) -> list[np.ndarray]:
    """Every cell is a search of its own."""
    return [np.array([cell]) for cell in range(cells)]


def paired(rng: np.random.Generator, prompts: int, cells: int) -> PairedSums:
    """Sums of unequal weights on either side."""
    arms = [(rng.uniform(1, 5, (prompts, cells)), rng.normal(size=(prompts, cells))) for _ in range(2)]
    described = pd.DataFrame({"method": "a", "place": "front", "control_of": None}, index=range(cells))
    (weight, value), (base_weight, base) = arms
    return PairedSums(described, value * weight, weight, base * base_weight, base_weight)


def test_exchanging_a_prompt_turns_the_sign_of_its_score_and_of_no_other() -> None:
    sums = paired(np.random.default_rng(0), 6, 3)
    turned = np.array([1, 0, 0, 1, 0, 1])[:, None] == 1
    swapped = PairedSums(
        sums.cells,
        *(np.where(turned, other, own) for own, other in (
            (sums.steered, sums.unsteered), (sums.steered_weight, sums.unsteered_weight),
            (sums.unsteered, sums.steered), (sums.unsteered_weight, sums.steered_weight),
        )),
    )  # fmt: skip
    assert prompt_scores(swapped) == pytest.approx(np.where(turned, -1, 1) * prompt_scores(sums))


def test_with_equal_weights_a_score_is_the_prompts_own_difference() -> None:
    rng = np.random.default_rng(0)
    steered, base, weight = rng.normal(size=(5, 2)), rng.normal(size=(5, 2)), np.full((5, 2), 4.0)
    sums = PairedSums(pd.DataFrame(index=range(2)), steered * 4, weight, base * 4, weight)
    assert prompt_scores(sums) == pytest.approx(steered - base)


def test_a_prompt_that_is_not_known_takes_no_part() -> None:
    scores = np.random.default_rng(0).normal(1, 1, size=(9, 2))
    short = np.where(np.arange(9)[:, None] < 8, scores, np.nan)
    gap, whole = (exchange_test(s, single(2), 500, np.random.default_rng(1)) for s in (short, scores[:8]))
    assert gap[0] == pytest.approx(whole[0])
    gap, whole = (bootstrap_test(s, single(2), 4000, np.random.default_rng(1)) for s in (short, scores[:8]))
    assert gap[0] == pytest.approx(whole[0], abs=0.06)  # a resample may hold the prompt that is not known
    assert np.isnan(exchange_test(np.full((9, 1), np.nan), single(1), 10, np.random.default_rng(0))).all()


@pytest.mark.parametrize("name", SKEWED)
@pytest.mark.parametrize("prompts", [8, 16, 37])
def test_a_skewed_measure_without_an_effect_has_p_below_five_per_cent_six_times_in_a_hundred_at_most(
    name: str, prompts: int
) -> None:
    rng = np.random.default_rng(0)
    scores = SKEWED[name](rng, (prompts, 4000))
    plain, _ = exchange_test(scores, [], 500, rng)
    with_skew, _ = bootstrap_test(scores, [], 500, rng)
    assert (np.maximum(plain, with_skew) <= 0.05).mean() <= 0.06  # standard error 0.0035
    if name == "exponential":
        assert (plain <= 0.05).mean() > 0.06  # what the bootstrap is there for


def test_a_search_over_skewed_cells_without_an_effect_finds_one_six_times_in_a_hundred_at_most() -> None:
    rng = np.random.default_rng(0)
    found = plain = 0
    for _ in range(200):
        scores = rng.exponential(size=(16, 30)) + rng.exponential(size=(16, 1)) - 2
        family = [np.arange(30)]
        p, with_skew = (test(scores, family, 300, rng)[1] for test in (exchange_test, bootstrap_test))
        found += bool((np.maximum(p, with_skew) <= 0.05).any())
        plain += bool((p <= 0.05).any())
    assert found <= 200 * 0.06
    assert plain > 200 * 0.06


def test_a_skewed_measures_p_is_the_larger_of_both_tests_and_never_below_the_p_of_its_cell_alone() -> None:
    sums = paired(np.random.default_rng(0), 12, 6)
    symmetric, skewed = (swap_test(sums, kind, 500, np.random.default_rng(1)) for kind in (Kind.SYMMETRIC, Kind.SKEWED))
    assert (skewed[0] >= symmetric[0]).all()
    assert (skewed[1] >= skewed[0]).all()


def test_a_skewed_cell_in_which_hardly_a_prompt_differs_does_not_hide_the_effect_of_another() -> None:
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(2, 1, size=(16, 1)), np.zeros((16, 5))], axis=1)
    scores[0, 1:] = 1
    _, p_family = bootstrap_test(scores, [np.arange(6)], 2000, rng)
    assert p_family[0] < 0.01
    assert (p_family[1:] == 1).all()


def test_one_prompt_says_nothing_and_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p, p_family = bootstrap_test(np.array([[0.0, 2.0]]), single(2), 100, np.random.default_rng(0))
    assert p.tolist() == p_family.tolist() == [1, 1]


def test_the_swap_test_by_hand() -> None:
    base = observed("unsteered", {"p": [0.0], "q": [0.0], "r": [0.0]})
    steered = observed("actadd", {"p": [1.0], "q": [2.0], "r": [-1.0]}, layer=1, coeff=1)
    row = cell(summarise(stacked(base, steered)))
    # |±1 ± 2 ± 1| ≥ 2 in 6 of the 8 exchanges: sums 2, 4, 0, 2 and their mirror images.
    assert row["p"] == pytest.approx(6 / 8)
    assert row["p_family"] == pytest.approx(6 / 8)


def test_searching_a_grid_of_noise_seldom_finds_a_corrected_p_below_five_per_cent() -> None:
    rng = np.random.default_rng(3)
    hits = plain = 0
    for _ in range(60):
        tables = (
            by_layer("unsteered", rng.normal(size=(1, 9, 1))),
            by_layer("actadd", rng.normal(size=(12, 9, 1))),
        )
        steered = summarise(stacked(*tables), n_boot=10).query("method == 'actadd'")
        hits += bool((steered["p_family"] < 0.05).any())
        plain += bool((steered["p"] < 0.05).any())
    assert hits <= 7  # 3 expected; 8 or more with probability under 1 %
    assert plain > 15


def test_a_plain_effect_survives_the_correction() -> None:
    rng = np.random.default_rng(4)
    tables = [observed("unsteered", noise(rng, 12, 2))]
    tables += [observed("actadd", noise(rng, 12, 2), layer=i, coeff=1) for i in range(10)]
    tables += [observed("actadd", shifted(noise(rng, 12, 2), 3), layer=10, coeff=1)]
    steered = summarise(stacked(*tables)).query("method == 'actadd'").set_index("layer")
    assert steered.loc[10, "p_family"] < 0.01
    assert (steered["p_family"] >= steered["p"] - 1e-12).all()


def cell(summary: pd.DataFrame) -> pd.Series:
    """The one steered row."""
    return summary[summary["method"] == "actadd"].iloc[0]
