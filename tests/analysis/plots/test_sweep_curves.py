"""Curves with intervals, the control's band, and labels that do not touch."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.analysis.plots import coeff_curves, layer_curves
from steering_lab.analysis.plots.parts.lines import spread

SweepTable = Callable[..., pd.DataFrame]
SENTIMENT = {"metric": "sentiment", "method": "actadd"}


def trace(figure: go.Figure, name: str) -> Any:
    return next(trace for trace in figure.data if trace.name == name)


def test_a_curve_is_the_effects_of_the_table_through_no_change_at_zero(sweep: SweepTable) -> None:
    line = trace(coeff_curves(sweep(), **SENTIMENT), "layer 2")
    assert list(line.x) == [-4, 0, 4]
    assert list(line.y) == pytest.approx([-0.2, 0, 0.2])


def test_layer_curves_are_the_same_numbers_the_other_way(sweep: SweepTable) -> None:
    line = trace(layer_curves(sweep(), **SENTIMENT), "coefficient +4")
    assert list(line.x) == [0, 1, 2]
    assert list(line.y) == pytest.approx([0, 0.1, 0.2])


def test_the_band_is_the_interval_and_breaks_where_it_is_unknown(sweep: SweepTable) -> None:
    table = sweep(coeffs=(1, 2, 3, 4))
    gap = (table["metric"] == "sentiment") & (table["layer"] == 2) & (table["coeff"] == 2)
    table.loc[gap, ["value", "effect", "low", "high"]] = np.nan
    band = trace(coeff_curves(table, layers=[2], **SENTIMENT), "band high")
    assert list(band.x) == [0, 1, 1, 0, None, 3, 4, 4, 3, None]
    assert band.y[5] == pytest.approx(0.35)
    assert band.y[8] == pytest.approx(0.05)


def test_a_lone_point_shows_its_interval_as_a_bar(sweep: SweepTable) -> None:
    line = trace(layer_curves(sweep(layers=[1]), **SENTIMENT), "coefficient +4")
    assert line.error_y.visible
    assert list(line.error_y.array) == pytest.approx([0.15])


def test_the_control_band_is_the_widest_of_the_lines_shown(sweep: SweepTable) -> None:
    table = sweep()
    table.loc[(table["layer"] == 1) & (table["metric"] == "sentiment"), "control_high"] = 0.5
    band = trace(layer_curves(table, **SENTIMENT), "band control_high")
    assert list(band.y)[:6] == pytest.approx([0.12, 0.5, 0.12, -0.12, -0.12, -0.12])


def test_points_of_degenerate_cells_are_hollow(sweep: SweepTable) -> None:
    table = sweep()
    table.loc[(table["layer"] == 2) & (table["coeff"] == 4), "degenerate"] = True
    fills = list(trace(coeff_curves(table, **SENTIMENT), "layer 2").marker.color)
    assert fills[0] == fills[1] != fills[2] == "#ffffff"


def test_with_states_a_point_is_filled_exactly_where_the_cell_works(sweep: SweepTable) -> None:
    table = sweep()
    own = (table["metric"] == "sentiment") & table["layer"].notna()
    table.loc[own, "state"] = np.where((table["layer"] == 2) & (table["coeff"] == 4), "works", "nothing shown")[own]
    figure = coeff_curves(table, **SENTIMENT)
    fills = list(trace(figure, "layer 2").marker.color)
    assert fills[0] == fills[1] == "#ffffff" != fills[2]
    assert set(trace(figure, "layer 1").marker.color) == {"#ffffff"}
    assert "works" in next(note.text for note in figure.layout.annotations if note.name == "key")


def test_ratios_stand_on_a_log_axis_with_one_in_view(sweep: SweepTable) -> None:
    axis = coeff_curves(sweep(), metric="perplexity", method="actadd").layout.yaxis
    assert axis.type == "log"
    assert axis.range[0] < 0 < axis.range[1]
    assert "×1" in axis.ticktext


def test_many_layers_are_thinned_and_the_subtitle_says_so(sweep: SweepTable) -> None:
    figure = coeff_curves(sweep(layers=range(48)), **SENTIMENT)
    assert len([t for t in figure.data if str(t.name).startswith("layer")]) == 6
    assert "6 of 48" in figure.layout.title.text


def test_places_are_lines_of_their_own(sweep: SweepTable) -> None:
    both = pd.concat([sweep(), sweep().query("method != 'unsteered'").assign(place="everywhere")])
    figure = coeff_curves(both, metric="sentiment", method="actadd", place=["front", "everywhere"], layers=[2])
    assert {"actadd, front", "actadd, everywhere"} <= {t.name for t in figure.data}


def test_an_absent_layer_and_too_many_lines_are_refused(sweep: SweepTable) -> None:
    with pytest.raises(ValueError, match="layer 9 is not in the table: it has 0, 1, 2"):
        coeff_curves(sweep(), layers=[9], **SENTIMENT)
    with pytest.raises(ValueError, match="12 lines"):
        coeff_curves(sweep(layers=range(12)), layers=list(range(12)), **SENTIMENT)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8))
def test_labels_stand_a_step_apart_and_stay_where_they_already_do(places: list[float]) -> None:
    places = sorted(places)
    moved = spread(places, 1.0)
    assert all(b - a >= 1 - 1e-9 for a, b in pairwise(moved))
    assert sum(moved) == pytest.approx(sum(places), abs=1e-6)
    apart = [3.0 * i for i in range(len(places))]
    assert spread(apart, 1.0) == pytest.approx(apart)
