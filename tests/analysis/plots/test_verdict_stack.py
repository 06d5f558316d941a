"""The four-way stack: shares as in the table, in one order, adding up to the whole bar."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from plotly.colors import unlabel_rgb, validate_colors

from steering_lab.analysis.plots import verdict_stack
from steering_lab.analysis.plots.verdict_stack import VERDICTS


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "condition": ["unsteered", "context_focus", "CAD"],
            "context": [0.2, 0.6, np.nan],
            "both": [0.1, 0.03, np.nan],
            "neither": [0.3, 0.27, np.nan],
            "memory": [0.4, 0.1, np.nan],
            "n": [120, 119, np.nan],
        }
    )


def bars(figure: go.Figure) -> dict[str, go.Bar]:
    return {bar.name: bar for bar in figure.data}


def test_the_bars_are_the_shares_stacked_from_context_to_memory() -> None:
    figure = verdict_stack(table())
    assert [bar.name for bar in figure.data] == ["context", "both", "neither", "memory"]
    assert figure.layout.barmode == "stack"
    assert list(bars(figure)["neither"].x)[:2] == [0.3, 0.27]
    assert figure.layout.yaxis.range == (2.5, -0.5)


def test_shares_are_printed_in_percent_where_they_fit() -> None:
    drawn = bars(verdict_stack(table()))
    assert list(drawn["context"].text) == ["20", "60", ""]
    assert list(drawn["both"].text) == ["10", "", ""]


def test_names_carry_n_where_it_is_known() -> None:
    names = verdict_stack(table()).layout.yaxis.ticktext
    assert "unsteered" in names[0]
    assert "(n = 120)" in names[0]
    assert "context focus" in names[1]
    assert names[2] == "CAD"


def test_a_condition_without_shares_is_said_to_have_none() -> None:
    notes = [note for note in verdict_stack(table()).layout.annotations if note.name == "no value"]
    assert [note.y for note in notes] == [2]


def test_conditions_choose_order_and_names() -> None:
    figure = verdict_stack(table(), conditions={"context_focus": "ContextFocus", "unsteered": "plain"})
    assert list(bars(figure)["memory"].x) == [0.1, 0.4]
    assert "ContextFocus" in figure.layout.yaxis.ticktext[0]


def test_shares_that_are_no_whole_are_refused() -> None:
    for wrong in (20.0, 0.3, -0.2, np.nan):
        with pytest.raises(ValueError, match=r"shares of 'unsteered' are context .* add up to it"):
            verdict_stack(table().assign(context=[wrong, 0.6, np.nan]))


def test_missing_columns_and_doubled_conditions_are_refused() -> None:
    with pytest.raises(ValueError, match="no column 'both'"):
        verdict_stack(table().drop(columns="both"))
    with pytest.raises(ValueError, match="two rows for condition 'unsteered'"):
        verdict_stack(pd.concat([table(), table()]))
    with pytest.raises(ValueError, match="no condition 'COIECD'"):
        verdict_stack(table(), conditions=["COIECD"])


def test_neighbours_differ_in_lightness_so_that_greyscale_keeps_them_apart() -> None:
    colours = validate_colors([verdict.colour for verdict in VERDICTS], "rgb")
    light = [np.dot(unlabel_rgb(colour), (0.2126, 0.7152, 0.0722)) / 255 for colour in colours]
    assert np.abs(np.diff(light)).min() > 0.12
