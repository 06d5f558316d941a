"""Matrices of effects: a cell is marked where it is told from no effect and from random vectors, and only there."""

import pandas as pd
import pytest

from steering_lab.analysis.plots import steered_by_layer, steered_measured


def cells(layers: tuple[int, ...] = (4,)) -> pd.DataFrame:
    """Music moves its own words and nothing else is told; the further a layer, the less."""
    rows = [
        {
            "method": steered, "metric": f"any word of {measured}", "layer": float(layer),
            "effect": (own := 0.5 / (1 + layer) if steered == measured == "music" else 0.01),
            "low": own - 0.05, "high": own + 0.05, "control_low": -0.02, "control_high": 0.02,
            "p_random": 0.01, "p_family": 0.01,
        }
        for steered in ("music", "war") for measured in ("music", "war") for layer in layers
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_diagonal_is_told_and_the_rest_is_marked() -> None:
    figure = steered_measured(cells(), ["music", "war"], prefix="any word of ")
    assert [note.text for note in figure.layout.annotations[:4]] == ["+0.10", "+0.01 ○", "+0.01 ○", "+0.01 ○"]


def test_along_layers_each_vector_is_shown_by_its_own_metric() -> None:
    figure = steered_by_layer(cells((0, 1, 29)), ["music", "war"], prefix="any word of ")
    [matrix] = figure.data
    assert (list(matrix.y), list(matrix.x)) == (["music", "war"], ["0", "1", "29"])
    assert matrix.z.tolist() == [pytest.approx([0.5, 0.25, 0.5 / 30]), [0.01] * 3]
    assert [note.text for note in figure.layout.annotations[:3]] == ["+0.50", "+0.25", "+0.02<br>○"]


def test_a_cell_that_is_missing_or_there_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="the table has no 'any word of sea' of 'sea'"):
        steered_by_layer(cells(), ["music", "sea"], prefix="any word of ")
    with pytest.raises(ValueError, match="a vector stands at several layers or coefficients: choose one"):
        steered_measured(cells((0, 1)), ["music", "war"], prefix="any word of ")
    with pytest.raises(ValueError, match="a vector stands at several coefficients: choose one"):
        steered_by_layer(pd.concat([cells(), cells()]), ["music", "war"], prefix="any word of ")
