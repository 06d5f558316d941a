"""Equal cost: the effect is read off each method's own curve, whose cost is uncertain too, and never beyond its end."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.equal_cost import SETTINGS, Setting, coverage
from steering_lab.evaluation.inferring.equal_cost import at_equal_cost, control_curve, cost_curves
from steering_lab.numerics.intervals import ALL_ALIKE
from tests.evaluation.tables import NONE, noise, observed, stacked

AXES = {"cost": "kl", "effect": "context"}


def cell(method: str, kl: dict, context: dict, coeff: float = 1.0, draw: float = NONE) -> pd.DataFrame:
    where = {"layer": 2.0, "coeff": coeff, "draw": draw, "control_of": "v"}
    return stacked(observed(method, kl, metric="kl", **where), observed(method, context, metric="context", **where))


def flat(value: float, prompts: int = 4) -> dict[str, list[float]]:
    return {f"prompt {i}": [value] for i in range(prompts)}


UNSTEERED = cell("unsteered", flat(0), flat(0.2), coeff=0)


def test_the_effect_is_straight_between_cells_by_hand() -> None:
    """From (0, .2) over (1, .4) to (3, .8): .3 at half a nat, .6 at two, unknown at four."""
    steered = stacked(cell("v", flat(3), flat(0.8), 2), cell("v", flat(1), flat(0.4), 1))
    out = at_equal_cost(stacked(UNSTEERED, steered), at=[0.5, 1, 2, 4], **AXES)
    np.testing.assert_allclose(out["value"], [0.3, 0.4, 0.6, np.nan])
    assert out["reached"].tolist() == [1, 1, 1, 0]
    assert np.isnan(out["low"].iloc[3])


def test_prompts_that_all_agree_leave_an_interval_of_shares_and_none_of_an_open_scale() -> None:
    base, own = (
        cell(m, flat(kl, 12), flat(right, 12), k) for m, kl, right, k in (("unsteered", 0, 1, 0), ("v", 1, 1, 1))
    )
    out = at_equal_cost(stacked(base, own), at=[0.5], **AXES).iloc[0]
    assert np.isnan(out["low"])
    assert out["why"] == ALL_ALIKE
    shares = stacked(base, own)
    is_share = shares["metric"] == "context"
    shares.loc[is_share, ["distribution", "least", "most"]] = ["bounded", 0.0, 1.0]
    out = at_equal_cost(shares, at=[0.5], **AXES).iloc[0]
    assert 0.7 < out["low"] < out["value"] == out["high"] == 1
    assert pd.isna(out["why"])


@pytest.mark.parametrize("setting", [*SETTINGS.values()][1::2])
def test_the_interval_holds_the_curve_at_its_level_at_the_ends_of_the_scale_too(setting: Setting) -> None:
    found = coverage(setting, 16, sets=120, n_boot=200, seed=1)
    assert found["covered"].min() >= 0.93 - 3 * (0.93 * 0.07 / 120) ** 0.5
    assert found["width"].min() > 0


def test_a_method_has_no_difference_to_itself_and_a_paired_one_to_a_shifted_copy() -> None:
    rng = np.random.default_rng(0)
    context = noise(rng, 12, 1)
    more = {prompt: [v + 0.5 + 0.05 * (-1) ** i for v in values] for i, (prompt, values) in enumerate(context.items())}
    base = cell("unsteered", flat(0, 12), flat(0, 12), coeff=0)
    tidy = stacked(base, cell("v", flat(1, 12), context), cell("w", flat(1, 12), more))
    out = at_equal_cost(tidy, at=[1], against="v", **AXES).set_index("method")
    assert out.loc["v", ["difference", "difference_low", "difference_high"]].tolist() == [0, 0, 0]
    assert out.loc["w", "difference"] == pytest.approx(0.5)
    apart = out.loc["w", "difference_high"] - out.loc["w", "difference_low"]
    assert 0 < apart < 0.1
    assert out.loc["w", "high"] - out.loc["w", "low"] > 0.5  # unpaired, nearly the same shift is uncertain


def test_the_uncertainty_of_the_cost_is_in_the_interval() -> None:
    """Every prompt gains .4, but at a cost of 1 or of 3 nats: at 1 nat the gain is known only as well as the cost."""
    kl = {f"prompt {i}": [1.0 if i % 2 else 3.0] for i in range(20)}
    tidy = stacked(cell("unsteered", flat(0, 20), flat(0.2, 20), coeff=0), cell("v", kl, flat(0.6, 20)))
    out = at_equal_cost(tidy, at=[1.0], **AXES).iloc[0]
    assert out["value"] == pytest.approx(0.4)
    assert out["low"] < 0.39 < 0.41 < out["high"]


def test_an_interval_needs_resamples_that_reach_the_cost() -> None:
    kl = {f"prompt {i}": [0.0 if i else 8.0] for i in range(8)}
    tidy = stacked(cell("unsteered", flat(0, 8), flat(0, 8), coeff=0), cell("v", kl, flat(1, 8)))
    out = at_equal_cost(tidy, at=[0.9], **AXES).iloc[0]
    assert out["value"] == pytest.approx(0.9)
    assert out["reached"] < 0.8  # a resample in three lacks the one prompt that moved
    assert np.isnan(out["low"])


def test_draws_are_curves_of_their_own_and_their_band_is_the_prediction_interval() -> None:
    values = [0.2, 0.3, 0.4]
    drawn = [cell("random", flat(1), flat(v), draw=k) for k, v in enumerate(values)]
    out = at_equal_cost(stacked(UNSTEERED, *drawn), at=[1.0], **AXES)
    assert out["value"].tolist() == values
    band = control_curve(out).iloc[0]
    half = 4.302653 * 0.1 * np.sqrt(1 + 1 / 3)  # t of two degrees of freedom at 97.5 %
    assert band["control_low"] == pytest.approx(0.3 - half, abs=1e-6)
    assert band["control_high"] == pytest.approx(0.3 + half, abs=1e-6)
    assert np.isnan(control_curve(out[out["draw"] < 2]).iloc[0]["control_low"])


def test_a_band_of_effects_of_shares_goes_as_far_below_nothing_as_above_it() -> None:
    base = cell("unsteered", flat(0), flat(0.9), coeff=0)
    drawn = [cell("random", flat(1), flat(share), draw=k) for k, share in enumerate([0.2, 0.3, 0.4])]
    shares = stacked(base, *drawn)
    shares.loc[shares["metric"] == "context", ["distribution", "least", "most"]] = ["bounded", 0.0, 1.0]
    out = at_equal_cost(shares, at=[1.0], **AXES)
    band = control_curve(out, of="effect").iloc[0]
    half = 4.302653 * 0.1 * np.sqrt(1 + 1 / 3)
    assert band["control_low"] == -1
    assert band["control_high"] == pytest.approx(-0.6 + half, abs=1e-6)


def test_a_whole_curve_goes_through_its_own_cells_and_no_further() -> None:
    cells = [cell("v", flat(k), flat(k / 5), k) for k in (0.001, 1, 3)]
    drawn = [cell("random", flat(2), flat(0.1 * k), draw=k) for k in range(3)]
    out = cost_curves(stacked(UNSTEERED, *cells, *drawn, cell("w", flat(4), flat(1))), least=0.01, n_points=9, **AXES)
    v = out[(out["method"] == "v") & out["value"].notna()]
    assert v[v["measured"]]["cost"].tolist() == pytest.approx([1, 3])
    assert v[v["measured"]]["value"].tolist() == pytest.approx([0.2, 0.6])
    assert v["cost"].min() == 0.01
    assert v["cost"].max() == pytest.approx(3)
    assert set(out["method"]) == {"v", "w"}
    known = out["control_low"].notna()
    assert known.any()
    assert out.loc[known, "cost"].max() <= 2  # the draws end at two nats
    with pytest.raises(ValueError, match="no cell costs 9 or more, the dearest 4"):
        cost_curves(stacked(UNSTEERED, *cells, cell("w", flat(4), flat(1))), least=9, **AXES)


def test_an_effect_on_other_prompts_is_read_at_the_cost_that_was_paid_elsewhere() -> None:
    """The cost is from (0) over 1 to 3 nats on four prompts, the effect from .2 over .4 to .8 on six others."""
    where = {"layer": 2.0, "control_of": "v"}
    cells = [(1.0, 1.0, 0.4), (2.0, 3.0, 0.8)]
    kl = [observed("v", flat(nats), metric="kl", coeff=c, **where) for c, nats, _ in cells]
    kl += [observed("v", flat(9), metric="kl", coeff=4.0, **where)]  # nobody asked the others at this strength
    right = [observed("v", flat(share, 6), metric="right", coeff=c, **where) for c, _, share in cells]
    base = [observed("unsteered", flat(0), metric="kl", coeff=0.0, **where)]
    others = stacked(observed("unsteered", flat(0.2, 6), metric="right", coeff=0.0, **where), *right)
    out = at_equal_cost(others, cost="kl", effect="right", at=[0.5, 2, 4], priced=stacked(*base, *kl))
    np.testing.assert_allclose(out["value"], [0.3, 0.6, np.nan])
    np.testing.assert_allclose(out["effect"], [0.1, 0.4, np.nan], atol=1e-9)
    assert (out["effect_low"] < out["effect"])[:2].all()
    assert (out["effect"] < out["effect_high"])[:2].all()
    assert out["effect_low"].isna().tolist() == [False, False, True]


def test_an_effect_is_what_is_left_of_the_value_without_the_unsteered_models() -> None:
    out = at_equal_cost(stacked(UNSTEERED, cell("v", flat(1), flat(0.4))), at=[0.5], **AXES).iloc[0]
    assert out["effect"] == pytest.approx(out["value"] - 0.2)


def test_what_cannot_be_compared_is_refused() -> None:
    tidy = stacked(UNSTEERED, cell("v", flat(1), flat(0.4)))
    with pytest.raises(ValueError, match="no metric 'nats'"):
        at_equal_cost(tidy, cost="nats", effect="context", at=[1])
    with pytest.raises(ValueError, match="no method 'w': the table has unsteered, v"):
        at_equal_cost(tidy, at=[1], against="w", **AXES)
    with pytest.raises(ValueError, match="above 0"):
        at_equal_cost(tidy, at=[0], **AXES)
    with pytest.raises(ValueError, match="one prompt"):
        at_equal_cost(tidy[tidy["prompt"] == "prompt 0"], at=[1], **AXES)
    with pytest.raises(ValueError, match="'w' lacks prompts"):
        at_equal_cost(stacked(tidy, cell("w", flat(1, 3), flat(0.4, 3))), at=[1], **AXES)
