"""Bars of conditions: heights, whisker ends, line and band are the table's numbers."""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from steering_lab.analysis.plots import condition_bars, cost_effect
from steering_lab.analysis.plots.parts import theme
from tests.analysis.plots.traces import traces

ComparisonTable = Callable[..., pd.DataFrame]


def key(figure: go.Figure) -> str:
    return next(note.text for note in figure.layout.annotations if note.name == "key")


def test_bars_end_at_the_values_first_condition_on_top(comparison: ComparisonTable) -> None:
    figure = condition_bars(comparison(), metric="context")
    (bars,) = traces(figure, "bars")
    assert list(np.add(bars.base, bars.x)) == pytest.approx([0.3, 0.5, 0.32])
    assert list(bars.y) == [0, 1, 2]
    assert figure.layout.yaxis.range == (2.5, -0.5)
    assert figure.layout.yaxis.ticktext == ("unsteered", "steered", "prompted")


def test_whiskers_end_at_the_reference_plus_the_intervals_ends(comparison: ComparisonTable) -> None:
    (whiskers,) = traces(condition_bars(comparison(), metric="context"), "whiskers")
    assert [x for x in whiskers.x if x is not None] == pytest.approx([0.4, 0.65, 0.27, 0.37])
    assert list(whiskers.y) == [1, 1, None, 2, 2, None]


def test_the_band_is_the_controls_on_rows_that_have_one(comparison: ComparisonTable) -> None:
    figure = condition_bars(comparison(), metric="context")
    (band,) = traces(figure, "control")
    assert band.base[1] == pytest.approx(0.25)
    assert band.base[1] + band.x[1] == pytest.approx(0.34)
    assert np.isnan(band.base[2])
    assert "random vectors of equal norm" in key(figure)
    table = comparison().assign(control_low=np.nan, control_high=np.nan)
    assert traces(condition_bars(table, metric="context"), "control") == []


def test_the_line_is_the_reference(comparison: ComparisonTable) -> None:
    (line,) = traces(condition_bars(comparison(), metric="context"), "reference")
    assert list(line.x) == [0.3, 0.3]


def test_effects_start_at_no_change_and_leave_the_reference_out_unless_asked(comparison: ComparisonTable) -> None:
    (bars,) = traces(condition_bars(comparison(), metric="context", show="effect"), "bars")
    assert list(bars.x) == pytest.approx([0.2, 0.02])
    names = ["unsteered", "steered"]
    (bars,) = traces(condition_bars(comparison(), metric="context", show="effect", conditions=names), "bars")
    assert list(bars.x) == pytest.approx([0, 0.2])


def test_ratios_stand_on_a_log_axis_from_one(comparison: ComparisonTable) -> None:
    figure = condition_bars(comparison(), metric="perplexity", show="effect")
    (bars,) = traces(figure, "bars")
    assert figure.layout.xaxis.type == "log"
    assert list(bars.base) == [1, 1]
    assert list(np.add(bars.base, bars.x)) == pytest.approx([1.5, 0.8])


def test_numbers_are_marked_exactly_where_the_interval_excludes_the_reference(comparison: ComparisonTable) -> None:
    (labels,) = traces(condition_bars(comparison(), metric="context", percent=True), "numbers")
    assert [text.strip() for text in labels.text] == ["30 %", "50 % ≠", "32 %"]


def test_one_accent_for_the_condition_in_focus(comparison: ComparisonTable) -> None:
    figure = condition_bars(comparison(), metric="context", focus="steered")
    (bars,) = traces(figure, "bars")
    assert list(bars.marker.color) == [theme.REFERENCE, theme.CYCLE[0], theme.OTHER]
    assert theme.CYCLE[0] in figure.layout.yaxis.ticktext[1]
    with pytest.raises(ValueError, match="focus 'CAD' is not drawn"):
        condition_bars(comparison(), metric="context", focus="CAD")


def test_a_missing_value_is_said_and_a_degenerate_condition_is_hollow(comparison: ComparisonTable) -> None:
    table = comparison()
    table.loc[table["condition"] == "prompted", ["value", "effect", "low", "high"]] = np.nan
    table["degenerate"] = table["condition"] == "steered"
    figure = condition_bars(table, metric="context")
    (bars,) = traces(figure, "bars")
    (labels,) = traces(figure, "numbers")
    assert labels.text[2].strip() == "no value"
    assert np.isnan(bars.x[2])
    assert list(bars.marker.color) == [theme.REFERENCE, theme.PAPER, theme.CYCLE[0]]
    assert "text degenerates" in key(figure)


def test_an_infinite_cost_is_no_bar_and_keeps_its_number(comparison: ComparisonTable) -> None:
    table = comparison()
    table.loc[(table["condition"] == "steered") & (table["metric"] == "perplexity"), ["effect", "high"]] = np.inf
    figure = condition_bars(table, metric="perplexity", show="effect")
    (labels,) = traces(figure, "numbers")
    assert "×∞" in labels.text[0]
    assert "Infinity" not in figure.to_json()


def test_groups_stand_side_by_side_on_one_scale_each_with_its_own_reference(comparison: ComparisonTable) -> None:
    table = comparison(groups=("easy", "<hard>"))
    table.loc[table["group"] == "<hard>", "value"] += 0.1
    figure = condition_bars(table, metric="context")
    assert [list(line.x) for line in traces(figure, "reference")] == [[0.3, 0.3], [0.4, 0.4]]
    assert figure.layout.xaxis.range == figure.layout.xaxis2.range
    assert figure.layout.xaxis.domain[1] < figure.layout.xaxis2.domain[0]
    assert [trace.xaxis for trace in traces(figure, "bars")] == ["x", "x2"]
    groups = [note.text for note in figure.layout.annotations if note.name == "group"]
    assert groups == ["<b>easy</b>", "<b>&lt;hard&gt;</b>"]


def test_more_groups_than_fit_are_refused(comparison: ComparisonTable) -> None:
    with pytest.raises(ValueError, match="7 groups are too many"):
        condition_bars(comparison(groups=tuple("abcdefg")), metric="context")


def test_all_marks_and_numbers_lie_within_the_axis(comparison: ComparisonTable) -> None:
    table = comparison()
    table.loc[table["condition"] == "prompted", ["value", "effect", "low", "high"]] = [-0.4, -0.7, -0.9, -0.5]
    figure = condition_bars(table, metric="context")
    low, high = figure.layout.xaxis.range
    ends = [x for trace in traces(figure, "whiskers") + traces(figure, "reference") for x in trace.x if x is not None]
    assert low < min(ends)
    assert max(ends) < high
    (labels,) = traces(figure, "numbers")
    assert labels.textposition == ("middle right", "middle right", "middle left")
    assert labels.x[2] == pytest.approx(-0.6)  # 0.3 − 0.9, the whisker's end, beyond the bar's at −0.4


def test_the_subtitle_says_n_and_whose_interval_it_is(comparison: ComparisonTable) -> None:
    text = condition_bars(comparison(), metric="context", title="T", subtitle="tiny model.").layout.title.text
    flat = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    assert flat == (
        "T tiny model. 40 prompts, 40 continuations a condition. "
        "Whisker: 95 % interval over prompts, of the paired difference to unsteered"
    )


def test_hover_says_why_there_is_no_interval(comparison: ComparisonTable) -> None:
    table = comparison().assign(why=None).astype({"why": "str"})
    table.loc[table["condition"] == "steered", ["low", "high", "why"]] = [np.nan, np.nan, "too few prompts"]
    bars = next(t for t in condition_bars(table, metric="context").data if t.name == "bars")
    assert "effect +0.200 (no interval: too few prompts)" in bars.customdata[1]
    assert "nan" not in "".join(bars.customdata)


def test_no_tick_stands_where_no_share_can_be(comparison: ComparisonTable) -> None:
    table = comparison().assign(least=0.0, most=1.0)
    table.loc[table["condition"] == "steered", ["value", "high"]] = [0.99, 0.9]
    for figure in (
        condition_bars(table, metric="context", percent=True),
        cost_effect(table, effect="context", cost="perplexity", effect_shows="value", percent=["context"]),
    ):
        axis = figure.layout.xaxis if figure.layout.xaxis.type != "log" else figure.layout.yaxis
        assert axis.range[1] > 1
        assert 0 <= min(axis.tickvals) < max(axis.tickvals) == pytest.approx(1)


def test_hover_has_effect_interval_and_control(comparison: ComparisonTable) -> None:
    (bars,) = traces(condition_bars(comparison(), metric="context"), "bars")
    assert "effect +0.200 [+0.100, +0.350]" in bars.customdata[1]
    assert "random vectors of equal norm [−0.050, +0.040]" in bars.customdata[1]
    assert "effect" not in bars.customdata[0]


def test_drawing_changes_no_table(comparison: ComparisonTable) -> None:
    table = comparison(groups=("easy", "hard"))
    before = table.copy(deep=True)
    condition_bars(table, metric="context", focus="steered")
    pd.testing.assert_frame_equal(table, before)


def test_a_published_effect_stands_from_our_reference_and_is_named_in_the_key(comparison: ComparisonTable) -> None:
    table = comparison()
    plain = condition_bars(table, metric="context")
    assert traces(plain, "published") == []
    assert "published" not in key(plain)
    table.loc[table["condition"] == "steered", "published"] = 0.36
    figure = condition_bars(table, metric="context", percent=True, published_as="published, second-hand")
    (told,) = traces(figure, "published")
    assert list(told.x) == pytest.approx([0.66])  # unsteered 0.3, and the whisker ends at 0.65
    assert list(told.y) == [1]
    assert "published +36" in told.customdata[0]
    assert "published, second-hand" in key(figure)
    (told,) = traces(condition_bars(table, metric="context", show="effect"), "published")
    assert list(told.x) == pytest.approx([0.36])


def test_a_published_ratio_stands_on_the_axis_of_ratios_and_of_values(comparison: ComparisonTable) -> None:
    table = comparison()
    table.loc[table["condition"] == "steered", "published"] = 1.69
    (told,) = traces(condition_bars(table, metric="perplexity", show="effect"), "published")
    assert list(told.x) == pytest.approx([1.69])
    (told,) = traces(condition_bars(table, metric="perplexity"), "published")
    assert list(told.x) == pytest.approx([6 * 1.69])


def test_a_published_effect_is_drawn_in_its_own_group_alone(comparison: ComparisonTable) -> None:
    table = comparison(groups=("easy", "hard"))
    table.loc[(table["condition"] == "steered") & (table["group"] == "hard"), "published"] = 0.1
    (told,) = traces(condition_bars(table, metric="context"), "published")
    assert told.xaxis == "x2"


@pytest.mark.parametrize(("published", "moves"), [(0.37, True), (0.36, True), (0.2, False), (0.9, False)])
def test_no_number_stands_on_a_published_mark(comparison: ComparisonTable, published: float, moves: bool) -> None:
    table = comparison()
    table.loc[table["condition"] == "steered", "published"] = published
    figure = condition_bars(table, metric="context")
    (labels,), (told,) = traces(figure, "numbers"), traces(figure, "published")
    assert (labels.x[1] > told.x[0]) == (moves or published < 0.35)
    assert (labels.x[1] == pytest.approx(0.65)) != moves  # the whisker's end
    assert figure.layout.xaxis.range[0] < told.x[0] < figure.layout.xaxis.range[1]


def test_a_published_effect_may_lie_beyond_what_ours_can_be(comparison: ComparisonTable) -> None:
    table = comparison().assign(least=0.0, most=1.0)
    table.loc[table["condition"] == "steered", "published"] = 0.9
    figure = condition_bars(table, metric="context")
    (told,) = traces(figure, "published")
    assert list(told.x) == pytest.approx([1.2])
    assert max(figure.layout.xaxis.tickvals) <= 1
