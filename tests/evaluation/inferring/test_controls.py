"""Random controls: the band by hand, its coverage, and which controls make one."""

import math
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from steering_lab.evaluation.inferring.controls import attach_bands, control_bands, draw_effects
from steering_lab.evaluation.inferring.random_test import random_grid
from steering_lab.evaluation.inferring.statistics import summarise
from tests.evaluation.tables import factors, observed, stacked

BASE = {"p": [0.0], "q": [0.0]}


def drawn(effects: dict[int, float], **where: float) -> list[pd.DataFrame]:
    """One control condition per draw whose effect over BASE is the given one."""
    return [
        observed("random", {"p": [e - 1], "q": [e + 1]}, draw=draw, coeff=1, **where) for draw, e in effects.items()
    ]


def test_a_control_is_that_of_its_own_method_and_place_only() -> None:
    tidy = stacked(
        observed("unsteered", BASE),
        *drawn({0: -0.1, 1: 0.0, 2: 0.1}, layer=2),
        observed("actadd", BASE, layer=2, coeff=1),
        observed("actadd", BASE, layer=2, coeff=1, place="everywhere"),
        observed("mean_difference", BASE, layer=2, coeff=1),
    )
    steered = summarise(tidy).query("role == 'steered'").set_index(["method", "place"])
    assert steered["n_draws"].to_dict() == {
        ("actadd", "everywhere"): 0, ("actadd", "front"): 3, ("mean_difference", "front"): 0,
    }  # fmt: skip


def test_a_cells_band_is_the_prediction_interval_of_its_draws() -> None:
    tidy = stacked(
        observed("unsteered", BASE),
        *drawn({0: -0.1, 1: 0.0, 2: 0.1}, layer=2),
        observed("actadd", BASE, layer=2, coeff=1),
    )
    row = summarise(tidy).set_index("method").loc["actadd"]
    # mean 0, s = 0.1, t(0.975, 2 degrees of freedom) = 4.302653, √(1 + 1/3) = 1.154701
    assert row["control_high"] == pytest.approx(0.1 * 4.302653 * 1.154701)
    assert row["control_low"] == pytest.approx(-row["control_high"])
    assert row["n_draws"] == 3


def test_a_band_ends_where_the_measure_does() -> None:
    tidy = stacked(
        observed("unsteered", {"p": [0.1], "q": [0.1]}),
        *drawn({0: 0.0, 1: 0.1, 2: 0.2}, layer=2),
        observed("actadd", {"p": [0.3], "q": [0.3]}, layer=2, coeff=1),
    )
    open_ended = summarise(tidy)
    band = attach_bands(open_ended.assign(least=0.0, most=0.5), draw_effects(tidy)).set_index("method").loc["actadd"]
    assert band[["control_low", "control_high"]].tolist() == pytest.approx([-0.1, 0.4])
    assert open_ended.set_index("method").loc["actadd", "control_low"] < -0.4


def test_two_draws_make_no_band_and_other_cells_get_none() -> None:
    tidy = stacked(
        observed("unsteered", BASE),
        *drawn({0: -0.1, 1: 0.1}, layer=2),
        *(observed("actadd", BASE, layer=layer, coeff=1) for layer in (2, 3)),
    )
    steered = summarise(tidy).query("method == 'actadd'")
    assert steered[["control_low", "control_high"]].isna().all(axis=None)
    assert steered["n_draws"].tolist() == [2, 0]


def test_the_band_of_a_ratio_is_formed_on_the_log_scale() -> None:
    base = observed("unsteered", {"p": [2.0], "q": [8.0]}, metric="perplexity")
    draws = [
        observed("random", {"p": [2.0 * r], "q": [8.0 * r]}, layer=0, coeff=1, draw=i, metric="perplexity")
        for i, r in enumerate((1, 2, 4))
    ]
    bands = control_bands(draw_effects(stacked(base, *draws)))
    half = math.log(2) * 4.30265273 * 1.15470054
    assert bands["control_low"].item() == pytest.approx(2 / math.exp(half))
    assert bands["control_high"].item() == pytest.approx(2 * math.exp(half))


@pytest.mark.parametrize("draws", [3, 10])
def test_the_band_holds_one_more_random_direction_at_its_level(draws: int) -> None:
    rng = np.random.default_rng(0)
    cells = 2000
    index = pd.MultiIndex.from_product([range(cells), range(draws)], names=["layer", "draw"])
    effects = pd.DataFrame({"effect": rng.normal(0.1, 0.2, size=len(index))}, index=index).reset_index()
    facts = asdict(factors("random", coeff=1.0)) | {"metric": "sentiment", "log_effect": math.nan}
    bands = control_bands(effects.assign(**{name: facts[name] for name in facts if name not in effects}))
    another = rng.normal(0.1, 0.2, size=cells)
    inside = (another > bands["control_low"]) & (another < bands["control_high"])
    assert 0.935 <= inside.mean() <= 0.965  # 0.95 ± three standard errors


def test_a_control_of_another_norm_is_refused() -> None:
    tidy = stacked(
        observed("unsteered", BASE),
        *drawn({0: 0.0, 1: 0.1}, layer=2),
        observed("actadd", BASE, layer=2, coeff=1, norm=0.5),
    )
    with pytest.raises(
        ValueError, match=r"a control of actadd is not norm-matched: at layer 2.0, coeff 1.0 .* 0.1 and"
    ):
        summarise(tidy)


def test_several_kinds_of_random_control_make_the_hull_of_their_bands() -> None:
    base, own = observed("unsteered", BASE), observed("actadd", BASE, layer=2, coeff=1)
    narrow, wide = drawn({0: -0.1, 1: 0.0, 2: 0.1}, layer=2), drawn({0: -0.1, 1: 0.5, 2: 0.9}, layer=2)
    others = [d.assign(method="covariance") for d in wide]
    alone = [summarise(stacked(base, own, *draws)).query("method == 'actadd'") for draws in (narrow, wide)]
    both = summarise(stacked(base, own, *narrow, *others)).query("method == 'actadd'")
    assert both["control_low"].item() == min(a["control_low"].item() for a in alone)
    assert both["control_high"].item() == max(a["control_high"].item() for a in alone)
    assert both["p_random"].item() == max(a["p_random"].item() for a in alone)
    assert both["n_draws"].item() == 6


def test_a_control_that_is_no_random_vector_makes_no_band_and_may_have_another_norm() -> None:
    shuffled = [d.assign(method="shuffled labels", relative_norm=7.0) for d in drawn({0: -0.1, 1: 0, 2: 0.1}, layer=2)]
    own = observed("actadd", BASE, layer=2, coeff=1)
    summary = summarise(stacked(observed("unsteered", BASE), own, *shuffled))
    assert summary[["control_low", "control_high", "p_random"]].isna().all(axis=None)
    assert set(summary["method"]) == {"unsteered", "actadd", "shuffled labels"}


def test_one_cell_is_judged_by_the_t_distribution_of_its_own_draws() -> None:
    tidy = stacked(
        observed("unsteered", BASE),
        *drawn({0: -0.1, 1: 0.0, 2: 0.1}, layer=2),
        observed("actadd", {"p": [0.4], "q": [0.6]}, layer=2, coeff=1),
    )
    row = summarise(tidy).set_index("method").loc["actadd"]
    # 0.5 / (0.1 · √(1 + 1/3)) = 4.330127; t with 2 degrees of freedom is as far out on either side with p 0.0494
    assert row["p_random"] == pytest.approx(2 * t.sf(4.330127, 2))


def test_two_draws_say_nothing_of_how_far_random_vectors_fall() -> None:
    own = observed("actadd", {"p": [0.4], "q": [0.6]}, layer=2, coeff=1)
    summary = summarise(stacked(observed("unsteered", BASE), own, *drawn({0: -0.1, 1: 0.1}, layer=2)))
    assert summary["p_random"].isna().all()


def test_among_draws_that_all_do_the_same_a_cell_has_its_rank() -> None:
    for effect, p in ((0.5, 1 / 4), (0.1, 1.0)):
        own = observed("actadd", {"p": [effect - 0.1], "q": [effect + 0.1]}, layer=2, coeff=1)
        summary = summarise(stacked(observed("unsteered", BASE), own, *drawn({0: 0.1, 1: 0.1, 2: 0.1}, layer=2)))
        assert summary.set_index("method").loc["actadd", "p_random"] == p


def test_the_cells_of_a_grid_are_judged_together_and_a_ratio_by_its_logarithm() -> None:
    rng = np.random.default_rng(0)
    base = observed("unsteered", {"p": [2.0], "q": [8.0]}, metric="perplexity")
    ratios = np.exp(rng.normal(0, 0.1, size=(5, 10)))
    draws = [
        observed("random", {"p": [2 * r], "q": [8 * r]}, layer=layer, coeff=1, draw=draw, metric="perplexity")
        for draw, row in enumerate(ratios)
        for layer, r in enumerate(row)
    ]
    effects = np.where(np.arange(10) == 4, 9.0, 1.0)
    own = [
        observed("actadd", {"p": [2 * r], "q": [8 * r]}, layer=layer, coeff=1, metric="perplexity")
        for layer, r in enumerate(effects)
    ]
    found = summarise(stacked(base, *draws, *own)).query("method == 'actadd'").sort_values("layer")
    grid = random_grid(np.log(ratios), np.full(10, 0.1), np.arange(10.0))
    assert found["p_random"].to_numpy() == pytest.approx(grid.p_family(np.log(effects)))
    assert found["p_random"].le(0.05).tolist() == [layer == 4 for layer in range(10)]


def test_without_draws_there_are_no_effects_of_draws() -> None:
    assert draw_effects(observed("unsteered", BASE)).empty
