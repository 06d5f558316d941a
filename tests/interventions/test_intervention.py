"""Interventions as values: which tokens a place touches, what each edit's delta is, and the algebra of sums."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.interventions.intervention import (
    Ablate,
    Add,
    Clamp,
    Edit,
    Intervention,
    Place,
    PreserveNorm,
    add_rows,
)
from steering_lab.interventions.source import Source
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.tokens import ForwardPass

ROW, ROWS = torch.tensor([[3.0, 4.0, 0.0]]), torch.arange(9.0).reshape(3, 3)
RULES = ["at", "everywhere", "from_last_prompt_token", "generated"]


def pass_of(lengths: list[int], continuations: list[int]) -> ForwardPass:
    """The forward pass of a left-padded batch of these prompt and continuation lengths."""
    width = max(a + b for a, b in zip(lengths, continuations, strict=True))
    firsts = torch.tensor([[width - a - b] for a, b in zip(lengths, continuations, strict=True)])
    return ForwardPass(torch.arange(width) - firsts, torch.tensor(lengths), torch.arange(len(lengths)), len(lengths))


def expected(rule: str, start: int, position: int, length: int, n_rows: int) -> bool:
    """Whether the token at an absolute position is touched, in words."""
    if position < 0:
        return False
    if rule == "at":
        first = start if start >= 0 else length + start
        return position < length and first <= position < first + n_rows
    return position >= {"everywhere": 0, "from_last_prompt_token": length - 1, "generated": length}[rule]


@given(
    rule=st.sampled_from(RULES),
    start=st.integers(-9, 9),
    n_rows=st.integers(1, 5),
    sizes=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 4)), min_size=1, max_size=4),
)
def test_a_place_touches_exactly_its_tokens(rule: str, start: int, n_rows: int, sizes: list[tuple[int, int]]) -> None:
    forward_pass = pass_of([n for n, _ in sizes], [m for _, m in sizes])
    touched = Place(rule, start, clip=True).touched(forward_pass, n_rows)  # type: ignore[arg-type]
    for i, (length, _) in enumerate(sizes):
        wanted = [expected(rule, start, p, length, n_rows) for p in forward_pass.positions[i].tolist()]
        assert touched[i].tolist() == wanted


@given(start=st.integers(-9, 9), n_rows=st.integers(0, 5), length=st.integers(1, 6))
def test_room_is_asked_for_when_a_row_would_stand_outside_the_prompt(start: int, n_rows: int, length: int) -> None:
    first = start if start >= 0 else length + start
    fits = n_rows == 0 or (first >= 0 and first + n_rows <= length)
    forward_pass, counts = pass_of([length], [2]), torch.tensor([n_rows])
    Place("at", start, clip=True).check_room(forward_pass, counts)
    if fits:
        Place("at", start).check_room(forward_pass, counts)
    else:
        with pytest.raises(ValueError, match=f"{n_rows} tokens from position {start}, prompt 0 is {length}"):
            Place("at", start).check_room(forward_pass, counts)


# -- deltas by hand ---------------------------------------------------------------------------------------------------
RESID = torch.tensor([1.0, 2.0, 5.0])


def test_add_is_the_row() -> None:
    assert torch.equal(Add(ROW, resid_pre(0)).delta(RESID, ROW[0]), ROW[0])


def test_ablate_removes_the_projection() -> None:
    """u = (0.6, 0.8, 0), resid . u = 2.2, delta = -2.2 u."""
    delta = Ablate(ROW, resid_pre(0)).delta(RESID, ROW[0])
    assert delta.tolist() == pytest.approx([-1.32, -1.76, 0.0])


def test_clamp_sets_the_projection() -> None:
    """(5 - 2.2) u = 2.8 u."""
    delta = Clamp(ROW, resid_pre(0), to=5.0).delta(RESID, ROW[0])
    assert delta.tolist() == pytest.approx([1.68, 2.24, 0.0])


def test_preserve_norm_adds_and_rescales() -> None:
    """resid + row = (4, 6, 5) of length sqrt 77, resid of length sqrt 30."""
    delta = PreserveNorm(ROW, resid_pre(0)).delta(RESID, ROW[0])
    scale = math.sqrt(30 / 77)
    assert delta.tolist() == pytest.approx([4 * scale - 1, 6 * scale - 2, 5 * scale - 5])


def test_rows_of_unequal_number_are_summed_from_the_front() -> None:
    assert add_rows(ROWS, ROW).tolist() == [[3.0, 5.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]
    assert torch.equal(add_rows(ROW, ROWS), add_rows(ROWS, ROW))


# -- algebra ----------------------------------------------------------------------------------------------------------
coeffs = st.floats(-8, 8).filter(lambda x: x == 0 or abs(x) > 1e-3)


def total(intervention: Intervention) -> torch.Tensor:
    return sum((term.coeff * term.edit.rows for term in intervention.terms), torch.zeros(1, 3))


@given(coeffs, coeffs)
def test_coefficients_multiply_through_sums(a: float, b: float) -> None:
    one, other = Add(ROW, resid_pre(0)).everywhere(), Add(2 * ROW + 1, resid_post(1)).everywhere()
    assert torch.allclose(total(a * (one + b * other)), a * ROW + a * b * (2 * ROW + 1), atol=1e-4)
    assert torch.allclose(total(-(one - other)), total(other - one))
    assert torch.allclose(total((one + other) * a), total(a * one + a * other), atol=1e-4)


def test_nothing_is_neutral() -> None:
    one = Add(ROW, resid_pre(0)).everywhere()
    assert (one + Intervention()).terms == one.terms == (Intervention() + one).terms
    assert Intervention().sites == ()
    assert repr(Intervention()) == "Intervention(nothing)"


def test_sites_are_each_named_once_in_the_order_of_the_stream() -> None:
    late, early = Add(ROW, resid_post(2)).everywhere(), Add(ROW, resid_pre(0)).everywhere()
    assert (late + early + late).sites == (resid_pre(0), resid_post(2))


@pytest.mark.parametrize("coeff", [2, 2.0, True + 1, np.float32(2), np.float64(2), np.int64(2)])
def test_any_real_number_is_a_coefficient(coeff: float) -> None:
    one = Add(ROW, resid_pre(0)).everywhere()
    for scaled in (coeff * one, one * coeff):
        assert isinstance(scaled, Intervention)
        assert scaled.terms[0].coeff == 2.0
        assert type(scaled.terms[0].coeff) is float
    assert (one / coeff).terms[0].coeff == 0.5


@pytest.mark.parametrize("coeff", [math.nan, math.inf, -math.inf])
def test_a_coefficient_that_is_not_finite_is_refused(coeff: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        coeff * Add(ROW, resid_pre(0)).everywhere()


def test_rows_without_a_token_of_their_own_are_refused() -> None:
    many = Add(ROWS, resid_pre(0), Source("mine", "tiny", "f" * 16))
    for place in (many.everywhere, many.from_last_prompt_token, many.generated):
        with pytest.raises(ValueError, match=r"mine has 3 rows.*at_front\(\) or at\(i\)"):
            place()


def test_an_intervention_says_what_it_does() -> None:
    both = (
        2.0 * Add(ROW, resid_pre(0), Source("love", "tiny", "f" * 16)).at(-1) - Ablate(ROW, resid_post(1)).generated()
    )
    assert (
        repr(both) == "Intervention(+2 x add love at(-1) resid_pre(0); -1 x ablate the vector generated resid_post(1))"
    )


@dataclass(frozen=True, eq=False)
class Masked(Edit):
    """A user's edit with a field that is no setting."""

    mask: object = None
    by: object = 1


def test_the_settings_of_an_edit_are_its_own_scalar_fields() -> None:
    rows, site = torch.ones(1, 4), resid_pre(1)
    assert Add(rows, site).settings == {}
    assert Clamp(rows, site, to=2.0).settings == {"to": 2.0}
    assert Masked(rows, site, by=np.float32(0.5)).settings == {"mask": None, "by": 0.5}
    assert type(Masked(rows, site, by=np.float32(0.5)).settings["by"]) is float  # as JSON can hold


@pytest.mark.parametrize("field", [torch.ones(4), [1.0], {"a": 1}])
def test_a_field_that_is_no_setting_is_refused_where_the_edit_is_placed(field: object) -> None:
    with pytest.raises(
        ValueError, match=rf"Masked.mask is a {type(field).__name__}: the fields of an edit beside rows"
    ):
        Masked(torch.ones(1, 4), resid_pre(1), mask=field).everywhere()
