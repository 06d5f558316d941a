"""A grid holds a condition for each site and coefficient, and controls that say what they are controls of."""

import pytest
import torch

from steering_lab.evaluation.running.grid import layer_coeff_grid
from steering_lab.interventions.source import Source
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import resid_pre

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
    with pytest.raises(ValueError, match="coefficients"):
        layer_coeff_grid({VECTOR.site: VECTOR}, coeffs, {VECTOR.site: 1.0}, method="actadd")
