"""Numbers and model text as they stand on a figure."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.analysis.plots.parts.labels import escaped, round_ticks, short_signed, signed, wrapped
from steering_lab.numerics.written import times


@pytest.mark.parametrize(
    ("value", "text"), [(0.104, "+0.10"), (-0.5, "−0.50"), (0.001, "0.00"), (-0.001, "0.00"), (math.nan, "–")]
)
def test_a_signed_number_has_a_true_minus_and_zero_has_no_sign(value: float, text: str) -> None:
    assert signed(value) == text


@pytest.mark.parametrize(("value", "text"), [(8.0, "+8"), (-0.5, "−0.5"), (0.0, "0"), (-12.34, "−12.3")])
def test_a_coefficient_is_short(value: float, text: str) -> None:
    assert short_signed(value) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (0.834, "×0.83"),
        (1.0, "×1.0"),
        (3.16, "×3.2"),
        (41.4, "×41"),
        (1000, "×1k"),
        (1500, "×1.5k"),
        (15_000, "×15k"),
        (2e6, "×2·10⁶"),
        (math.inf, "×∞"),
        (math.nan, "–"),
    ],
)
def test_a_ratio_keeps_two_digits_at_any_size(ratio: float, text: str) -> None:
    assert times(ratio) == text


@given(st.text())
def test_no_model_text_can_open_a_tag(text: str) -> None:
    assert "<" not in escaped(text)
    assert "<" not in wrapped(text).replace("<br>", "")


def test_long_text_is_cut_and_says_so() -> None:
    rows = wrapped("word " * 200, width=20, lines=3).split("<br>")
    assert len(rows) == 3
    assert rows[-1].endswith("…")
    assert all(len(row) <= 20 for row in rows)


def test_an_empty_continuation_is_named() -> None:
    assert wrapped(" \n ") == "(empty)"


def test_ticks_are_round_steps_and_ratios_are_powers() -> None:
    assert round_ticks((-0.25, 0.31), ratio=False, most=6)["ticktext"] == ["−0.2", "−0.1", "0", "+0.1", "+0.2", "+0.3"]
    assert round_ticks((math.log10(0.9), math.log10(9)), ratio=True)["ticktext"] == ["×1", "×2", "×4", "×8"]
    assert round_ticks((-0.1, 4.2), ratio=True)["ticktext"] == ["×1", "×10", "×100", "×1k", "×10k"]


def test_ratios_over_a_short_range_have_round_steps_rather_than_one_power() -> None:
    ticks = round_ticks((math.log10(0.98), math.log10(1.22)), ratio=True)
    assert ticks["ticktext"] == ["×1", "×1.05", "×1.1", "×1.15", "×1.2"]
    assert ticks["type"] == "log"
