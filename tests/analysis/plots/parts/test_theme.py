"""The template, the scales and ink on cells."""

import numpy as np
import plotly.io as pio
from plotly.colors import sample_colorscale, unlabel_rgb

from steering_lab.analysis.plots.parts import theme


def test_the_template_is_registered_and_the_default_left_alone() -> None:
    assert "steering_lab" in pio.templates
    assert pio.templates.default != "steering_lab"


def test_ink_is_dark_on_the_middle_of_the_scale_and_white_at_its_ends() -> None:
    assert theme.ink_on(np.array([0.0, 0.5, 1.0]), theme.DIVERGING) == [theme.PAPER, theme.INK, theme.PAPER]


def test_ink_is_dark_where_there_is_no_cell_colour() -> None:
    assert theme.ink_on(np.array([np.nan]), theme.COST) == [theme.INK]


def test_both_arms_of_the_diverging_scale_are_equally_dark() -> None:
    for share in (0.1, 0.25, 0.4):
        colours = sample_colorscale([list(stop) for stop in theme.DIVERGING], [share, 1 - share])
        left, right = (np.dot(unlabel_rgb(colour), (0.2126, 0.7152, 0.0722)) / 255 for colour in colours)
        assert abs(left - right) < 0.1
