"""Cost against effect: points and intervals of the table, and a front that nothing beats."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.analysis.plots import cost_effect
from steering_lab.analysis.plots.cost_effect import pareto_front
from tests.analysis.plots.traces import trace

ComparisonTable = Callable[..., pd.DataFrame]


def draw(table: pd.DataFrame, **options: Any) -> go.Figure:
    return cost_effect(table, **{"effect": "context", "cost": "perplexity", **options})


def notes(figure: go.Figure, name: str) -> list[str]:
    return [note.text for note in figure.layout.annotations if note.name == name]


def test_points_are_cost_to_the_right_and_effect_upward(comparison: ComparisonTable) -> None:
    figure = draw(comparison())
    points = trace(figure, "conditions")
    assert list(points.x) == pytest.approx([1, 1.5, 0.8])
    assert list(points.y) == pytest.approx([0, 0.2, 0.02])
    assert notes(figure, "condition") == ["unsteered", "steered", "prompted"]


def test_intervals_go_both_ways(comparison: ComparisonTable) -> None:
    figure = draw(comparison(), conditions=["steered"])
    assert list(trace(figure, "x intervals").x) == [1.2, 2.0, None]
    assert list(trace(figure, "x intervals").y)[:2] == [0.2, 0.2]
    assert list(trace(figure, "y intervals").y) == [0.1, 0.35, None]


def test_ratios_are_logarithmic_and_differences_linear(comparison: ComparisonTable) -> None:
    figure = draw(comparison())
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.yaxis.type is None
    assert figure.layout.xaxis.range[0] < np.log10(0.7)
    figure = draw(comparison(), cost_shows="value")
    assert figure.layout.xaxis.type is None
    assert list(trace(figure, "conditions").x) == pytest.approx([6, 9, 4.8])


def test_the_front_joins_what_nothing_beats(comparison: ComparisonTable) -> None:
    front = trace(draw(comparison()), "front")  # prompted does more than unsteered for less
    assert list(front.x) == pytest.approx([0.8, 1.5])
    assert list(front.y) == pytest.approx([0.02, 0.2])


def test_degenerate_conditions_are_hollow_and_off_the_front(comparison: ComparisonTable) -> None:
    table = comparison()
    table["degenerate"] = table["condition"] == "prompted"
    figure = draw(table)
    assert list(trace(figure, "front").x) == pytest.approx([1, 1.5])
    assert "text degenerates" in notes(figure, "key")[0]


values = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=10)


@given(values)
def test_every_condition_is_on_the_front_or_beaten_by_one_on_it(pairs: list[tuple[int, int]]) -> None:
    points = pd.DataFrame(pairs, columns=["x", "y"]).assign(degenerate=False)
    front = points[pareto_front(points)]
    for point in points[~pareto_front(points)].itertuples():
        better = front[(front["x"] <= point.x) & (front["y"] >= point.y)]
        assert ((better["x"] < point.x) | (better["y"] > point.y)).any()
    along = front.sort_values("x").drop_duplicates()
    assert (np.diff(along["x"]) > 0).all()
    assert (np.diff(along["y"]) > 0).all()


def test_a_budget_is_a_line_with_its_number(comparison: ComparisonTable) -> None:
    figure = draw(comparison(), budget=1.3)
    assert notes(figure, "budget") == ["budget ×1.3"]
    assert next(shape for shape in figure.layout.shapes if shape.x0 == shape.x1).x0 == 1.3
    assert notes(draw(comparison(), budget=2), "budget") == ["budget ×2.0"]
    assert notes(draw(comparison()), "budget") == []


def test_conditions_without_a_number_are_named_not_dropped_in_silence(comparison: ComparisonTable) -> None:
    table = comparison()
    table.loc[(table["condition"] == "prompted") & (table["metric"] == "context"), ["value", "effect"]] = np.nan
    figure = draw(table)
    assert "not drawn: prompted" in figure.layout.title.text.replace("</span><br>", " ")
    assert len(trace(figure, "conditions").x) == 2


def test_shares_are_in_points_where_asked(comparison: ComparisonTable) -> None:
    figure = draw(comparison(), percent=["context"])
    assert figure.layout.yaxis.title.text == "context, difference to unsteered, percentage points"
    assert "+20" in figure.layout.yaxis.ticktext


def test_several_groups_and_empty_figures_are_refused(comparison: ComparisonTable) -> None:
    with pytest.raises(ValueError, match="2 groups in one scatter"):
        draw(comparison(groups=("easy", "hard")))
    with pytest.raises(ValueError, match="no condition has both 'context' and 'perplexity'"):
        draw(comparison().assign(effect=np.nan))
