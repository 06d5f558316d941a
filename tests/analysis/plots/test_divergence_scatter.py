"""Two vectors' divergences against one another: where means stand, ours and published ones."""

import numpy as np
import pandas as pd
import pytest

from steering_lab.analysis.plots import Figure, divergence_scatter
from tests.analysis.plots.traces import traces

VECTOR = pd.DataFrame({"prompt": ["a", "b"], "x": [2.0, 4.0]})
DRAWN = pd.DataFrame({"prompt": ["a", "a", "b", "b"], "draw": [0, 1, 0, 1], "y": [3.0, 5.0, 6.0, 10.0]})
LABELS = {"x_label": "vector", "y_label": "random vectors"}


def key(figure: Figure) -> str:
    return next(note.text for note in figure.layout.annotations if note.name == "key")


def test_the_means_stand_where_both_axes_have_theirs() -> None:
    (ours,) = traces(divergence_scatter(VECTOR, DRAWN, **LABELS), "ours")
    assert (ours.x[0], ours.y[0]) == pytest.approx((3, 6))


def test_a_published_mean_is_named_and_inside_the_frame() -> None:
    plain = divergence_scatter(VECTOR, DRAWN, **LABELS)
    assert "published" not in key(plain)
    figure = divergence_scatter(VECTOR, DRAWN, **LABELS, published=(7.7, 135.0))
    (told,) = traces(figure, "published")
    assert (told.x[0], told.y[0]) == (7.7, 135.0)
    assert told.marker.symbol == "diamond-open"
    assert "published" in key(figure)
    low, high = figure.layout.yaxis.range
    assert low < np.log10(2) < np.log10(135) < high
    assert figure.layout.xaxis.range == figure.layout.yaxis.range
