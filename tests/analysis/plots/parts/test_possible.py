"""A colour bar ends where its metric does, and no value changes its colour."""

import pytest
from plotly.colors import sample_colorscale

from steering_lab.analysis.plots.parts.possible import Bar, possible
from steering_lab.analysis.plots.parts.theme import DIVERGING

BAR = Bar(DIVERGING, -0.3, 0.9, [-0.3, 0.0, 0.3, 0.6, 0.9], ["−0.30", "0.00", "<b>+0.30</b>", "+0.60", "+0.90"])


def colour(bar: Bar, value: float) -> tuple[float, ...]:
    share = (value - bar.low) / (bar.high - bar.low)
    [found] = sample_colorscale([list(stop) for stop in bar.scale], [share])
    return tuple(float(part) for part in found[4:-1].split(","))


def test_no_share_is_below_nothing_and_every_value_keeps_its_colour() -> None:
    cut = possible(BAR, (0, 1))
    assert (cut.low, cut.high) == (0, 0.9)
    assert cut.tick_text == ["0.00", "<b>+0.30</b>", "+0.60", "+0.90"]
    for value in (0.0, 0.17, 0.3, 0.71, 0.9):
        assert colour(cut, value) == pytest.approx(colour(BAR, value), abs=8)


def test_an_end_without_a_tick_near_it_gets_one() -> None:
    cut = possible(BAR, (-0.1, None))
    assert cut.tick_text[:2] == ["−0.1", "0.00"]


def test_a_bar_within_its_bounds_or_without_any_stays_as_it_is() -> None:
    assert possible(BAR, (None, None)) is BAR
    assert possible(BAR, (-1, 1)) is BAR
