"""A grid holds a condition for each site and coefficient, and controls that say what they are controls of."""

import re
from typing import Any

import pytest
import torch

from steering_lab.evaluation.running.grid import layer_coeff_grid, median_resid_norms
from steering_lab.interventions.source import Source
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.hooked_model import HookedModel

VECTOR = SteeringVector(torch.tensor([[3.0, 4.0]]), resid_pre(2), Source("v", "tiny", "f"))


def test_a_grids_controls_say_what_they_are_controls_of() -> None:
    cell, *controls = layer_coeff_grid({VECTOR.site: VECTOR}, [2.0], {VECTOR.site: 4.0}, method="caa", n_random=2)
    assert [c.factors.draw for c in controls] == [0, 1]
    for control in controls:
        facts = control.factors
        assert (facts.method, facts.role, facts.control_of) == ("random", "control", "caa")
        assert (facts.layer, facts.coeff, facts.place) == (cell.factors.layer, cell.factors.coeff, cell.factors.place)
        assert facts.relative_norm == pytest.approx(cell.factors.relative_norm)


@pytest.mark.parametrize("coeffs", [[], [0.0], [1.0, 1.0]])
def test_a_grid_needs_different_coefficients_beside_zero(coeffs: list[float]) -> None:
    with pytest.raises(ValueError, match=r"coeffs is .*: give each once, and one that is not 0"):
        layer_coeff_grid({VECTOR.site: VECTOR}, coeffs, {VECTOR.site: 1.0}, method="actadd")


@pytest.mark.parametrize("coeff", [float("nan"), float("inf"), -1e30, 1e19])
def test_a_grid_refuses_a_coefficient_that_no_stream_can_hold(coeff: float) -> None:
    message = rf"coeffs has {coeff:g}: choose numbers between -1e+19 and 1e+19"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        layer_coeff_grid({VECTOR.site: VECTOR}, [1.0, coeff], {VECTOR.site: 1.0}, method="actadd")


@pytest.mark.parametrize(
    ("n_random", "message"), [(-1, "n_random is -1: it must be 0 or more"), (2.5, "n_random is an integer, not 2.5")]
)
def test_a_grid_refuses_a_number_of_draws_that_there_cannot_be(n_random: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        layer_coeff_grid({VECTOR.site: VECTOR}, [1.0], {VECTOR.site: 1.0}, method="actadd", n_random=n_random)


def test_residual_norms_take_one_text_as_one_prompt_and_one_site_as_no_list(gpt2: HookedModel) -> None:
    site = resid_pre(1)
    assert median_resid_norms(gpt2, "I love you", [site]) == median_resid_norms(gpt2, ["I love you"], [site])
    with pytest.raises(ValueError, match=r"resid_pre\(1\) is no list of sites: write \[resid_pre\(1\)\]"):
        median_resid_norms(gpt2, ["I love you"], site)  # type: ignore[arg-type]
