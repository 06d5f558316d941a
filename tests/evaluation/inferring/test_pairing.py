"""Paired sums: an effect under any weighting of the prompts equals the same effect computed from the rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.evaluation.inferring.pairing import pair_with_unsteered, paired_sums
from tests.evaluation.tables import NONE, noise, observed, stacked


@given(st.integers(0, 1000))
def test_a_resampled_effect_equals_the_effect_of_the_resampled_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    base, values = noise(rng, 4, 3), noise(rng, 4, 3)
    values["prompt 1"][2] = NONE
    tidy = stacked(observed("unsteered", base), observed("actadd", values, layer=0, coeff=1))
    paired = pair_with_unsteered(tidy)
    draw = rng.integers(0, 4, size=4)
    rows = [pair for i in draw for pair in zip(values[f"prompt {i}"], base[f"prompt {i}"], strict=True)]
    differences = [a - b for a, b in rows if not np.isnan(a)]
    sums = paired_sums(paired)
    weights = np.bincount(draw, minlength=4)[None].astype(float)
    assert sums.effect(weights)[0, 0] == pytest.approx(np.mean(differences))


def test_cells_that_differ_in_place_or_budget_alone_are_two() -> None:
    own = observed("actadd", {"p": [2.0, 6.0]}, layer=0, coeff=1)
    others = own.assign(place="everywhere"), own.assign(budget=0.4, unit="resid_norm")
    cells = paired_sums(pair_with_unsteered(stacked(observed("unsteered", {"p": [1.0, 3.0]}), own, *others))).cells
    assert cells["value"].tolist() == [4, 4, 4, 2]
    assert cells["unit"].fillna("none").tolist() == ["coeff", "resid_norm", "coeff", "none"]


@pytest.mark.parametrize(
    ("ends", "said"),
    [((0.0, np.nan), "-1, where its measure says that there can be 0 or more"), ((np.nan, -2.0), "-2 or less"),
     ((0.0, 1.0), "0 to 1")],
)  # fmt: skip
def test_a_value_outside_its_bounds_is_refused_with_the_bounds_that_there_are(
    ends: tuple[float, float], said: str
) -> None:
    rows = stacked(observed("unsteered", {"p": [-1.0]}), observed("actadd", {"p": [-1.0]}, layer=0, coeff=1))
    with pytest.raises(ValueError, match=said):
        pair_with_unsteered(rows.assign(least=ends[0], most=ends[1]))


def test_a_metric_with_two_scales_is_refused() -> None:
    base = observed("unsteered", {"p": [1.0]})
    with pytest.raises(ValueError, match="sentiment is compared as a difference in some rows and ratio in others"):
        pair_with_unsteered(stacked(base, observed("actadd", {"p": [1.0]}, layer=0, coeff=1).assign(scale="ratio")))
