"""A condition's facts follow from what it does; what cannot follow is given once, and nothing can contradict it."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.evaluation.running.condition import UNSTEERED, Budget, Condition, prompting
from steering_lab.interventions.intervention import Add, Intervention
from steering_lab.methods.cad import CAD
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.tables import Factors

EDIT = Add(torch.tensor([[3.0, 4.0]]), resid_pre(2))
RULE: dict[str, Any] = {"rule": CAD(1.0), "without_context": str}


@given(st.floats(-100, 100), st.integers(0, 30), st.sampled_from(["front", "everywhere", "generated", "at(3)"]))
def test_layer_coefficient_and_place_are_the_interventions(coeff: float, layer: int, place: str) -> None:
    edit = replace(EDIT, site=resid_post(layer))
    placed = {"front": edit.at_front, "everywhere": edit.everywhere, "generated": edit.generated}
    whole = coeff * (placed[place]() if place in placed else edit.at(3))
    factors = Condition("mine", whole, resid_norms={resid_post(layer): 10.0}).factors
    assert (factors.layer, factors.coeff, factors.place, factors.role) == (layer, coeff, place, "steered")
    assert (factors.method, factors.unit) == ("mine", "coeff")
    assert factors.relative_norm == pytest.approx(abs(coeff) * 5 / 10)


def test_the_facts_cannot_be_told_otherwise() -> None:
    with pytest.raises(TypeError, match="factors"):
        Condition("mine", 4.0 * EDIT.everywhere(), factors={"layer": 3, "coeff": 2.0})  # type: ignore[call-arg]


def test_what_differs_between_edits_is_no_ones_fact() -> None:
    other = replace(EDIT, site=resid_pre(3))
    factors = Condition("two", 2 * EDIT.everywhere() + 2 * other.generated()).factors
    assert (factors.layer, factors.place, factors.coeff) == (None, None, 2)
    gated = Condition("gated", {"a": 2 * EDIT.everywhere(), "b": Intervention()}, resid_norms={resid_pre(2): 5.0})
    assert (gated.factors.layer, gated.factors.coeff, gated.factors.relative_norm) == (2, 2, 2)
    shut = Condition("shut", {"a": Intervention()}).factors
    assert (shut.role, shut.layer, shut.coeff) == ("steered", None, None)


def test_each_example_may_have_a_residual_norm_of_its_own() -> None:
    edits = {"a": EDIT.everywhere(), "b": EDIT.everywhere()}
    norms = {"a": {resid_pre(2): 5.0}, "b": {resid_pre(2): 2.5}}
    assert Condition("own", edits, resid_norms=norms).factors.relative_norm == pytest.approx((1 + 2) / 2)


def test_a_budget_is_no_coefficient() -> None:
    factors = Condition("delta", EDIT.everywhere(), budget=Budget(0.4, "resid_norm")).factors
    assert (factors.coeff, factors.budget, factors.unit) == (1.0, 0.4, "resid_norm")


def test_what_edits_nothing_is_a_baseline_but_for_the_unsteered_model() -> None:
    assert UNSTEERED.factors == Factors("unsteered", "unsteered", coeff=0.0)
    assert prompting("Love. ").factors == Factors("prompting Love.", "baseline")
    assert Condition("CAD", **RULE).factors == Factors("CAD", "baseline")
    assert Condition("a rival", EDIT.everywhere(), role="baseline").factors.role == "baseline"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"intervention": EDIT.everywhere(), "role": "unsteered"}, "'unsteered', but edits the stream or has a rule"),
        ({"role": "unsteered", **RULE}, "'unsteered', but edits the stream or has a rule"),
        ({"role": "steered"}, "has the role 'steered', but edits nothing"),
        ({"role": "control"}, "has the role 'control', but control_of is None"),
        ({"role": "baseline", "control_of": "caa"}, "has the role 'baseline', but control_of is 'caa'"),
        ({"draw": 1}, "is draw 1 of no control: say control_of"),
        ({"budget": Budget(0.0, "nats")}, "has a budget of 0.0: it must be above 0"),
    ],
)
def test_facts_that_contradict_each_other_are_refused(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Condition("x", **facts)


def test_a_condition_has_a_name_and_norms_where_it_edits() -> None:
    with pytest.raises(ValueError, match="a condition needs a name"):
        Condition("")
    with pytest.raises(ValueError, match=r"'x' edits .*2.*: resid_norms has no norm there"):
        _ = Condition("x", EDIT.everywhere(), resid_norms={resid_pre(1): 1.0}).factors
