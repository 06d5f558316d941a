"""Trade-off curves: the numbers of the table, marks only where something was measured, names at the curves' ends."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from steering_lab.analysis.plots import tradeoff_curves

AXES = {"x": "kl", "y": "context"}


def table(**columns: object) -> pd.DataFrame:
    """Two methods: "vector" at three costs, one of them interpolated, and "prompt" at one."""
    rows = [
        ("vector", 1.0, 0.5, True),
        ("vector", 0.1, 0.3, True),
        ("vector", 0.3, 0.4, False),
        ("prompt", 3.0, 0.9, True),
    ]
    made = pd.DataFrame(rows, columns=["method", "kl", "context", "measured"])
    return made.assign(low=made["context"] - 0.1, high=made["context"] + 0.2, **columns)


def trace(figure: go.Figure, name: str) -> Any:
    return next(trace for trace in figure.data if trace.name == name)


def notes(figure: go.Figure, name: str) -> list[str]:
    return [note.text for note in figure.layout.annotations if note.name == name]


def test_a_curve_runs_from_the_least_cost_to_the_most_and_only_measured_points_are_marked() -> None:
    figure = tradeoff_curves(table(), **AXES)
    assert list(trace(figure, "vector").x) == [0.1, 0.3, 1.0]
    assert list(trace(figure, "vector").y) == [0.3, 0.4, 0.5]
    assert list(trace(figure, "vector measured").x) == [0.1, 1.0]
    assert figure.layout.xaxis.type == "log"


def test_the_band_is_the_interval_and_a_lone_point_has_a_bar() -> None:
    figure = tradeoff_curves(table(), **AXES)
    bands = [t for t in figure.data if t.name == "band high"]
    assert list(bands[0].y)[:3] == pytest.approx([0.5, 0.6, 0.7])
    assert list(trace(figure, "prompt measured").error_y.array) == pytest.approx([0.2])
    assert trace(figure, "vector measured").error_y.array is None


def test_no_tick_stands_beyond_the_ends_of_the_scale_and_hover_says_why_an_interval_is_missing() -> None:
    share = table(least=0.0, most=1.0).assign(context=lambda t: t["context"] + 0.1, why=None)
    share.loc[0, ["low", "high", "why"]] = [np.nan, np.nan, "too few prompts"]
    share.loc[3, ["low", "high"]] = [0.0, 1.0]
    figure = tradeoff_curves(share, **AXES)
    assert figure.layout.yaxis.range[0] < 0 < 1 < figure.layout.yaxis.range[1]
    assert 0 <= min(figure.layout.yaxis.tickvals) < max(figure.layout.yaxis.tickvals) <= 1
    assert any("(no interval: too few prompts)" in text for text in trace(figure, "vector measured").customdata)


def test_rows_without_a_number_leave_their_curve_and_a_table_of_nothing_else_is_refused() -> None:
    holed = table()
    holed.loc[holed["kl"] == 0.3, "context"] = np.nan
    assert list(trace(tradeoff_curves(holed, **AXES), "vector").x) == [0.1, 1.0]
    with pytest.raises(ValueError, match="no curve has a number of 'context'"):
        tradeoff_curves(table().assign(context=np.nan), **AXES)


def test_a_table_of_repeated_index_is_drawn_row_by_row() -> None:
    twice = pd.concat([table(), table().assign(method=lambda t: t["method"] + " again")])
    assert list(trace(tradeoff_curves(twice, **AXES), "vector again").x) == [0.1, 0.3, 1.0]


def test_random_vectors_are_one_band_with_one_key() -> None:
    figure = tradeoff_curves(table(control_low=0.2, control_high=0.35), **AXES)
    assert sum(t.name == "band control_high" and len(t.x) > 0 for t in figure.data) == 1
    assert "random vectors" in notes(figure, "key")[0]
    assert not notes(tradeoff_curves(table(), **AXES), "key")


def test_curves_are_named_and_ordered_as_asked_and_levels_are_lines() -> None:
    figure = tradeoff_curves(
        table(), curves={"prompt": "the <b>prompt</b>", "vector": "v"}, levels={"unsteered": 0.2}, percent=True, **AXES
    )
    assert notes(figure, "curve") == ["the &lt;b&gt;prompt&lt;/b&gt;", "v"]
    assert notes(figure, "level") == ["unsteered"]
    assert figure.layout.yaxis.range[0] < 0.2
    assert "20" in figure.layout.yaxis.ticktext
    assert figure.layout.yaxis.title.text == "context, %"


def test_few_values_of_x_are_ticks_themselves_and_many_are_not() -> None:
    few = pd.DataFrame({"method": "m", "kl": [1, 2, 4, 8, 16], "context": [0.1, 0.2, 0.3, 0.3, 0.3]})
    assert list(tradeoff_curves(few, **AXES).layout.xaxis.ticktext) == ["1", "2", "4", "8", "16"]
    broken = few.assign(kl=[1, 2, 4, 8, 8.5])  # no tick may stand at 8.5, on top of the one at 8
    assert "8.5" not in tradeoff_curves(broken, **AXES).layout.xaxis.ticktext
    many = pd.DataFrame({"method": "m", "kl": np.geomspace(0.02, 4, 30), "context": np.linspace(0, 1, 30)})
    assert {"0.03", "0.1", "0.3", "1", "3"} <= set(tradeoff_curves(many, **AXES).layout.xaxis.ticktext)


def test_a_missing_column_an_unknown_curve_a_cost_of_zero_and_too_many_curves_are_refused() -> None:
    with pytest.raises(ValueError, match="no column 'nats'"):
        tradeoff_curves(table(), x="nats", y="context")
    with pytest.raises(ValueError, match="no condition 'w'"):
        tradeoff_curves(table(), curves=["w"], **AXES)
    with pytest.raises(ValueError, match="kl is 0 somewhere"):
        tradeoff_curves(table().assign(kl=0.0), **AXES)
    crowd = pd.concat([table().assign(method=str(k)) for k in range(9)])
    with pytest.raises(ValueError, match="9 curves are too many"):
        tradeoff_curves(crowd, **AXES)
