"""How far out cells are, whether pairs steer, and what the one says of the other: what is drawn is the table."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from steering_lab.analysis.plots import manifold_heatmap, prediction_scatter, steerability_curves


def traces(figure: go.Figure, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name == name]


def key(figure: go.Figure) -> str:
    return next((note.text for note in figure.layout.annotations if note.name == "key"), "")


# -- manifold_heatmap --------------------------------------------------------------------------------------------------
def gauge(**changed: object) -> pd.DataFrame:
    """Two layers and two coefficients; the random vectors of layer 1 lie nearer than the vector."""
    rows = [
        {
            "method": method, "place": "everywhere", "role": role, "control_of": of, "layer": layer, "coeff": coeff,
            "draw": draw, "norm_percentile": 99.0 if coeff > 1 else 60.0,
            "distance_percentile": 50.0 + 10 * layer + coeff, "distance_ratio": ratio, "norm_ratio": 1.2,
            "n_tokens": 80,
        }
        for layer, coeff in product((1, 3), (-1.0, 2.0))
        for method, role, of, draw, ratio in (
            ("caa", "steered", None, None, 2.0),
            ("random", "control", "caa", 0, 1.0 if layer == 1 else 2.0),
            ("random", "control", "caa", 1, 1.5 if layer == 1 else 3.0),
            ("covariance", "control", "caa", 0, 9.0),
        )
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**changed)


def test_colours_are_percentiles_and_numbers_ratios() -> None:
    figure = manifold_heatmap(gauge(), method="caa", place="everywhere")
    (cells,), (labels,) = traces(figure, "cells"), traces(figure, "labels")
    assert np.array_equal(cells.z, [[59.0, 62.0], [79.0, 82.0]])
    assert figure.layout.yaxis.ticktext == ("1", "3")
    assert figure.layout.xaxis.ticktext == ("−1", "+2")
    assert set(labels.text) == {"×2.0"}
    assert "random vectors of equal norm: ×2.5" in cells.customdata[1, 0]


def test_a_ring_where_the_vector_is_farther_out_than_random_ones_and_a_wedge_where_it_is_long() -> None:
    figure = manifold_heatmap(gauge(), method="caa", place="everywhere", chosen=(3, 2.0))
    (rings,), (wedges,) = traces(figure, "beyond random"), traces(figure, "long")
    assert [round(y) for y in rings.y] == [0, 0]  # layer 1 alone
    assert [round(x) for x in wedges.x] == [1, 1]  # coefficient 2 alone
    assert not traces(figure, "short")
    assert "farther out than the mean of its random vectors" in key(figure)
    assert "chosen: layer 3, coefficient +2" in key(figure)
    assert len(traces(figure, "chosen")) == 2
    near = gauge().assign(distance_ratio=1.0, norm_percentile=50.0)
    assert key(manifold_heatmap(near, method="caa", place="everywhere")) == ""


def test_a_gauge_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no cells of 'probe' at 'everywhere'"):
        manifold_heatmap(gauge(), method="probe", place="everywhere")
    with pytest.raises(ValueError, match="no column 'distance_ratio'"):
        manifold_heatmap(gauge().drop(columns="distance_ratio"), method="caa", place="everywhere")


# -- steerability_curves -----------------------------------------------------------------------------------------------
def seen(**changed: object) -> pd.DataFrame:
    rows = [
        {"layer": layer, "stream": "resid_post", "statistic": name, "value": value, "null_low": -0.2, "null_high": 0.2,
         "p": 0.5, "n_pairs": 12}
        for layer, value in ((4, 0.1), (0, 0.5), (9, 0.3))
        for name in ("mean_cosine", "d_prime", "split_half")
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**changed)


def test_each_statistic_has_its_panel_with_layers_in_order_and_open_points_inside_the_band() -> None:
    figure = steerability_curves(seen())
    axes = set()
    for name in ("mean_cosine", "d_prime", "split_half"):
        (line,) = traces(figure, name)
        axes.add(line.yaxis)
        assert list(line.y) == [0.5, 0.1, 0.3]
        filled = [colour != line.marker.color[1] for colour in line.marker.color]
        assert filled == [True, False, True]
    assert axes == {"y", "y2", "y3"}
    assert len(traces(figure, "band null_high")) == 3
    assert figure.layout.xaxis.ticktext == ("0", "4", "9")


def test_two_sets_of_pairs_in_one_figure_are_refused() -> None:
    with pytest.raises(ValueError, match="one set of pairs, and one stream, at a time"):
        steerability_curves(pd.concat([seen(), seen()]))
    with pytest.raises(ValueError, match="no column 'null_low'"):
        steerability_curves(seen().drop(columns="null_low"))


# -- prediction_scatter ------------------------------------------------------------------------------------------------
def test_a_point_for_each_concept_and_layer_that_stand_in_both_tables() -> None:
    before = pd.concat([seen(concept="<a>"), seen(concept="b"), seen(concept="b", value=0.9), seen(concept="lone")])
    after = pd.DataFrame({"method": ["<a>"] * 3 + ["b"] * 2, "layer": [0, 4, 9, 0, 4], "slope": [1.0, 2, 3, 4, 5]})
    figure = prediction_scatter(before, after)
    a, b = traces(figure, "d_prime")
    assert (list(a.x), list(a.y)) == ([0.5, 0.1, 0.3], [1, 2, 3])
    assert list(b.x) == pytest.approx([0.7, 0.5])  # two halves' values, averaged
    assert a.marker.color[0] == b.marker.color[0]
    assert "&lt;a&gt;" in a.customdata[0]
    with pytest.raises(ValueError, match="no concept and layer stand in both"):
        prediction_scatter(before, after.assign(layer=17))
