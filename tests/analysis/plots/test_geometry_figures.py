"""Cosine matrix, plane of classes and halves of pairs: what is drawn is the table, and chance stands beside it."""

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from scipy.stats import f

from steering_lab.analysis.plots import cosine_matrix, pca_scatter, split_half_curves
from steering_lab.analysis.plots.parts import theme
from tests.analysis.plots.traces import traces


def key(figure: go.Figure) -> str:
    return next(note.text for note in figure.layout.annotations if note.name == "key")


# -- cosine_matrix -----------------------------------------------------------------------------------------------------
def matrix(values: list[list[float]], names: list[str], random: float = 0.2) -> pd.DataFrame:
    pairs = pd.MultiIndex.from_product([names, names], names=["left", "right"]).to_frame(index=False)
    return pairs.assign(cosine=np.ravel(values), random=random)


THREE = matrix([[1, -0.5, 0.1], [-0.5, 1, 0.2], [0.1, 0.2, 1]], ["b", "<a>", "c"])


def test_the_cells_are_the_table_in_its_own_order_first_on_top() -> None:
    figure = cosine_matrix(THREE)
    (cells,), (chance,) = traces(figure, "cells"), traces(figure, "chance")
    assert list(cells.y) == [0, -1, -2]
    assert figure.layout.yaxis.range == (-2.5, 0.5)
    assert figure.layout.xaxis.ticktext == figure.layout.yaxis.ticktext == ("b", "&lt;a&gt;", "c")
    assert np.array_equal(np.nan_to_num(cells.z) + np.nan_to_num(chance.z), THREE["cosine"].to_numpy().reshape(3, 3))
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-1, 1)


def test_exactly_the_cells_within_chance_lose_their_colour_and_are_hatched() -> None:
    figure = cosine_matrix(THREE)
    (chance,), (hatching,) = traces(figure, "chance"), traces(figure, "hatching")
    assert np.argwhere(~np.isnan(chance.z)).tolist() == [[0, 2], [1, 2], [2, 0], [2, 1]]
    hatched = {(round(x), round(y)) for x, y in zip(hatching.x, hatching.y, strict=True) if x is not None}
    assert hatched <= {(x, -y) for x in range(4) for y in range(-1, 3)}
    assert "within ±0.20" in key(figure)
    assert traces(cosine_matrix(matrix([[1, 0.9], [0.9, 1]], ["a", "b"])), "hatching")[0].x in (None, ())


def test_hatching_stays_within_its_cell() -> None:
    (hatching,) = traces(cosine_matrix(matrix([[1, 0.1], [0.9, 1]], ["a", "b"])), "hatching")
    x, y = ([v for v in axis if v is not None] for axis in (hatching.x, hatching.y))
    assert (min(x), max(x), min(y), max(y)) == pytest.approx((0.5, 1.5, -0.5, 0.5), abs=0.26)
    assert min(x) >= 0.5
    assert max(x) <= 1.5
    assert min(y) >= -0.5
    assert max(y) <= 0.5


def test_a_vector_without_direction_is_struck_through_and_counted() -> None:
    figure = cosine_matrix(matrix([[math.nan, math.nan], [math.nan, 1]], ["zero", "one"]))
    assert "no direction (3 of 4 cells)" in key(figure)
    assert traces(figure, "labels")[0].text == ("", "", "", "+1.00")


@pytest.mark.parametrize("n", [1, 48])
def test_one_vector_and_many_layers_draw(n: int) -> None:
    figure = cosine_matrix(matrix(np.eye(n).tolist(), [str(i) for i in range(n)]), names="layer")
    assert figure.layout.width <= 760
    assert len(figure.layout.xaxis.ticktext) <= 24


def test_an_incomplete_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="8 rows for 3 vectors: one per ordered pair makes 9"):
        cosine_matrix(THREE.iloc[:-1])
    with pytest.raises(ValueError, match="no column 'random'"):
        cosine_matrix(THREE.drop(columns="random"))


# -- pca_scatter -------------------------------------------------------------------------------------------------------
def plane(n: int = 8, vector: tuple[float, float] = (3.0, 1.0)) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(0)
    points = pd.DataFrame(
        {
            "class": ["love"] * n + ["<hate>"] * n,
            "prompt": "<b>",
            "pc1": rng.normal(size=2 * n),
            "pc2": rng.normal(size=2 * n),
        }
    )
    axes = pd.DataFrame(
        {
            "component": ["pc1", "pc2"], "explained": [0.5, 0.2], "explained_random": 0.01, "between": [0.4, 0.0],
            "between_shuffled": 0.1, "vector": vector, "cosine": [0.9, 0.3], "random": 0.17,
        }
    )  # fmt: skip
    return points, axes


def test_every_prompt_stands_at_its_place_in_its_classes_colour_and_shape() -> None:
    points, axes = plane()
    drawn = traces(pca_scatter(points, axes=axes), "class")
    assert [list(t.x) for t in drawn] == [list(points["pc1"][:8]), list(points["pc1"][8:])]
    assert [(t.marker.color, t.marker.symbol) for t in drawn] == list(zip(theme.CYCLE, theme.SYMBOLS, strict=True))[:2]
    assert "&lt;hate&gt;" in drawn[1].customdata[0]
    assert "&lt;b&gt;" in drawn[1].customdata[0]


def test_both_axes_have_one_scale_and_hold_everything() -> None:
    points, axes = plane(vector=(40.0, -3.0))
    layout = pca_scatter(points, axes=axes).layout
    (left, right), (bottom, top) = layout.xaxis.range, layout.yaxis.range
    wide = layout.width - layout.margin.l - layout.margin.r
    high = layout.height - layout.margin.t - layout.margin.b
    assert (right - left) / wide == pytest.approx((top - bottom) / high)
    assert left < points["pc1"].min()
    assert right > 40
    assert bottom < -3


def test_the_arrow_runs_from_the_mean_of_all_to_the_vector_and_only_if_there_is_one() -> None:
    points, axes = plane()
    arrows = [note for note in pca_scatter(points, axes=axes).layout.annotations if note.name == "vector"]
    assert {(note.ax, note.ay, note.x, note.y) for note in arrows} == {(0, 0, 3, 1)}
    assert "cosine with PC1 +0.90, PC2 +0.30 (random directions ±0.17)" in key(pca_scatter(points, axes=axes))
    bare = pca_scatter(points, axes=axes.assign(vector=np.nan, cosine=np.nan))
    assert not [note for note in bare.layout.annotations if note.name == "vector"]
    assert "cosine" not in key(bare)


def test_ellipses_are_hotellings_confidence_region_of_the_mean() -> None:
    points, axes = plane(n=8)
    ring = traces(pca_scatter(points, axes=axes), "ellipse")[0]
    cloud = points[["pc1", "pc2"]].to_numpy()[:8]
    away = np.stack([ring.x, ring.y], axis=1) - cloud.mean(axis=0)
    t_squared = np.einsum("ni,ij,nj->n", away, np.linalg.inv(np.cov(cloud.T) / 8), away)
    assert t_squared == pytest.approx(np.full(73, 2 * 7 / 6 * f.isf(0.05, 2, 6)))


def test_few_prompts_have_no_ellipse_and_too_many_classes_are_refused() -> None:
    points, axes = plane(n=5)
    assert traces(pca_scatter(points, axes=axes), "ellipse") == []
    with pytest.raises(ValueError, match="7 classes are too many"):
        pca_scatter(pd.concat([points.assign(**{"class": name}) for name in "abcdefg"]), axes=axes)


# -- split_half_curves -------------------------------------------------------------------------------------------------
def halves() -> pd.DataFrame:
    rows = [(0, "resid_pre", np.nan), (0, "resid_post", 0.4), (1, "resid_post", 0.6)]
    table = pd.DataFrame(rows, columns=["layer", "stream", "cosine"])
    at = table["cosine"]
    return table.assign(low=at - 0.1, high=at + 0.1, full_length=2 * at / (1 + at), flipped_low=-0.3, flipped_high=0.3,
                        random=0.17, n_pairs=12, n_splits=200)  # fmt: skip


def test_lines_are_the_table_in_the_order_of_the_stream() -> None:
    figure = split_half_curves(halves().iloc[::-1])
    (line,), (full,) = traces(figure, "halves"), traces(figure, "full length")
    assert list(line.y)[1:] == [0.4, 0.6]
    assert list(full.y)[1:] == pytest.approx([0.8 / 1.4, 0.75])
    assert figure.layout.xaxis.ticktext == ("embed", "0", "1")
    assert "No value where the pairs do not differ: embed" in figure.layout.title.text.replace("</span><br>", " ")


def test_both_kinds_of_chance_are_drawn_and_named() -> None:
    figure = split_half_curves(halves())
    assert {tuple(t.y) for t in traces(figure, "random")} == {(0.17,) * 3, (-0.17,) * 3}
    (band,) = traces(figure, "band flipped_high")
    assert {y for y in band.y if y is not None} == {-0.3, 0.3}
    assert "sides exchanged at random" in key(figure)
    assert "random directions" in key(figure)


def test_one_layer_draws_and_two_models_do_not() -> None:
    figure = split_half_curves(halves().iloc[[1]])
    assert traces(figure, "halves")[0].error_y.visible
    with pytest.raises(ValueError, match="layer 0 stands twice"):
        split_half_curves(pd.concat([halves(), halves()]))
