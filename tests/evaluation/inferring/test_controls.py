"""Random controls: the band by hand, its coverage, and what a search over a grid of random vectors finds."""

import math
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from steering_lab.evaluation.inferring.controls import GridMaxima, control_bands, draw_effects, grid_maxima
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


def test_the_band_is_the_hull_of_those_of_random_vectors_and_other_controls_make_none() -> None:
    draws, far = drawn({0: -0.1, 1: 0.0, 2: 0.1}, layer=2), drawn({0: 4.9, 1: 5.0, 2: 5.1}, layer=2)
    steered = (observed("unsteered", BASE), observed("actadd", BASE, layer=2, coeff=1))

    def band(*controls: pd.DataFrame) -> pd.Series:
        summary = summarise(stacked(*steered, *controls))
        return summary[summary["method"] == "actadd"].iloc[0][["control_low", "control_high", "n_draws"]]

    near, other = band(*draws), band(*(d.assign(method="covariance") for d in far))
    both = band(*draws, *(d.assign(method="covariance") for d in far), *(d.assign(method="other") for d in far))
    assert (both["control_low"], both["control_high"]) == (near["control_low"], other["control_high"])
    assert band(*(d.assign(method="shuffled_labels") for d in draws))["n_draws"] == 0


def test_the_grid_maximum_of_each_draw_by_hand() -> None:
    tidy = stacked(
        observed("unsteered", BASE),
        *drawn({0: 0.1, 1: -0.3, 2: 0.0}, layer=1),
        *drawn({0: -0.2, 1: 0.1, 2: 0.05}, layer=2),
    )
    maxima = grid_maxima(draw_effects(tidy))
    assert maxima.maxima == pytest.approx((0.2, 0.3, 0.05))
    assert maxima.threshold == pytest.approx(0.3)
    assert (maxima.p(0.31), maxima.p(-0.25), maxima.p(0.0)) == (1 / 4, 2 / 4, 1)


def test_a_grid_of_several_metrics_or_of_uneven_draws_is_refused() -> None:
    effects = draw_effects(stacked(observed("unsteered", BASE), *drawn({0: 0.1, 1: 0.2}, layer=1)))
    with pytest.raises(ValueError, match="one metric's, not"):
        grid_maxima(pd.concat([effects, effects.assign(metric="length")]))
    with pytest.raises(ValueError, match="different numbers of cells"):
        grid_maxima(pd.concat([effects, effects.iloc[:1].assign(layer=2.0)]))


def test_without_draws_there_are_no_effects_of_draws() -> None:
    assert draw_effects(observed("unsteered", BASE)).empty


def test_the_best_of_a_random_grid_passes_the_threshold_no_more_often_than_promised() -> None:
    rng = np.random.default_rng(0)
    passed = 0
    for _ in range(500):
        draws = np.abs(rng.normal(size=(9, 20))).max(axis=1)
        passed += GridMaxima(tuple(draws)).p(float(np.abs(rng.normal(size=20)).max())) <= 0.1
    assert 0.06 <= passed / 500 <= 0.14  # 1 / 10, standard error 0.013
