"""A prompt's slope is what its metric gains per coefficient, and prompts that lose are counted."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

from steering_lab.evaluation.inferring.slopes import prompt_slopes, steered_otherwise
from tests.evaluation.tables import observed, stacked

BASE = {"p": [1.0, 3.0], "q": [0.0, 0.0], "r": [5.0, 5.0]}
GAIN = {"p": 2.0, "q": -1.0, "r": 0.0}


def table() -> pd.DataFrame:
    """Three prompts whose values grow by their gain with every unit of the coefficient."""
    cells = [
        observed("actadd", {p: [v + GAIN[p] * c for v in own] for p, own in BASE.items()}, layer=2, coeff=c)
        for c in (-1.0, 0.5, 2.0)
    ]
    drawn = [
        observed("random", {p: [v + 0.5 * c for v in own] for p, own in BASE.items()}, layer=2, coeff=c, draw=d)
        for d in range(2)
        for c in (-1.0, 2.0)
    ]
    return stacked(observed("unsteered", BASE), *cells, *drawn)


def test_each_prompts_slope_is_its_gain_per_coefficient() -> None:
    slopes = prompt_slopes(table(), "sentiment")
    own = slopes[slopes["method"] == "actadd"].set_index("prompt")
    assert own["slope"].to_dict() == pytest.approx(GAIN)
    assert set(own["n_coeffs"]) == {3}
    drawn = slopes[slopes["method"] == "random"]
    assert len(drawn) == 6
    assert drawn["slope"].to_numpy() == pytest.approx(0.5)


def test_prompts_that_move_the_other_way_are_counted_with_an_exact_interval() -> None:
    rows = steered_otherwise(prompt_slopes(table(), "sentiment"))
    own = rows[rows["method"] == "actadd"].iloc[0]
    assert (own["share"], own["flat"], own["n_prompts"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3), 3)
    assert own["slope"] == pytest.approx(1 / 3)
    assert (own["low"], own["high"]) == pytest.approx((beta.ppf(0.025, 1, 3), beta.ppf(0.975, 2, 2)))
    drawn = rows[rows["method"] == "random"]
    assert drawn["draw"].tolist() == [0, 1]
    assert drawn["share"].tolist() == [0, 0]
    assert (drawn["high"] > 0.5).all()  # 0 of 3 is no zero
    down = steered_otherwise(prompt_slopes(table(), "sentiment"), toward=-1)
    assert down[down["method"] == "actadd"]["share"].iloc[0] == pytest.approx(1 / 3)
    assert (down[down["method"] == "random"]["share"] == 1).all()


def test_a_slope_that_is_not_known_is_neither_with_nor_against() -> None:
    slopes = prompt_slopes(table(), "sentiment")
    slopes.loc[slopes["prompt"] == "p", "slope"] = np.nan
    slopes.loc[slopes["draw"] == 1, "slope"] = np.nan
    rows = steered_otherwise(slopes).set_index(["method", "draw"])
    own = rows.loc["actadd"].iloc[0]
    assert (own["share"], own["flat"], own["n_prompts"]) == (0.5, 0.5, 2)
    unknown = rows.loc[("random", 1)]
    assert unknown["n_prompts"] == 0
    assert unknown[["slope", "share", "low", "high", "flat"]].isna().all()


def test_a_ratio_grows_by_its_logarithm() -> None:
    doubled = [observed("actadd", {"p": [4.0 * 2**c]}, layer=0, coeff=c, metric="perplexity") for c in (-1.0, 1.0, 2.0)]
    tidy = stacked(observed("unsteered", {"p": [4.0]}, metric="perplexity"), *doubled).assign(scale="ratio")
    assert prompt_slopes(tidy, "perplexity")["slope"].tolist() == pytest.approx([np.log(2)])


def test_samples_without_a_value_are_left_out_and_prompts_without_any_have_no_row() -> None:
    tidy = table()
    lost = (tidy["prompt"] == "q") & (tidy["method"] == "actadd")
    tidy.loc[lost | ((tidy["prompt"] == "p") & (tidy["sample"] == 1)), "value"] = np.nan
    own = prompt_slopes(tidy, "sentiment").query("method == 'actadd'").set_index("prompt")["slope"]
    assert own.to_dict() == pytest.approx({"p": 2.0, "r": 0.0})


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(ValueError, match="no metric 'vader': the table has sentiment"):
        prompt_slopes(table(), "vader")
    slopes = prompt_slopes(table(), "sentiment")
    for wrong in ({"toward": 0}, {"level": 1.0}):
        with pytest.raises(ValueError, match="toward is 1 or -1"):
            steered_otherwise(slopes, **wrong)
