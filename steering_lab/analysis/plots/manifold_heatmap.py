"""How far out every cell of a sweep takes the stream: layer upward, coefficient to the right, as in its heatmap."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.grid import QUIET, Frame, colour_bar, draw_gaps, outline, readable
from steering_lab.analysis.plots.parts.labels import short_signed
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.analysis.plots.parts.sites import thinned
from steering_lab.numerics.written import times

_LEFT, _LONG = 64, 97.5  # the left margin in pixels; the percentile beyond which a stream is called long or short


def manifold_heatmap(
    table: pd.DataFrame,
    *,
    method: str,
    place: str,
    chosen: tuple[int, float | int] | None = None,
    title: str = "",
    subtitle: str = "",
) -> go.Figure:
    """One cell per (layer, coeff) of `method` at `place`: how far out its stream is, among the tokens of neutral text.

    Colour: the percentile of the median token's Mahalanobis distance. Number: that distance over the usual one. A
    wedge: the stream is longer, or shorter, than 97.5 % of tokens. A ring: farther out than the cell's
    random vectors of equal norm, by 2 % of their mean or more.

    Args:
        table: Factors of conditions with the columns of `off_manifold`, one row per condition.
        method: The method that is drawn.
        place: The place that is drawn.
        chosen: The layer and coefficient that are framed.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.

    Raises:
        ValueError: a column is missing, or the table has no such cells.
    """
    needed = ("method", "place", "role", "control_of", "layer", "coeff", "norm_percentile", "distance_percentile")
    if missing := [name for name in (*needed, "distance_ratio", "norm_ratio", "n_tokens") if name not in table]:
        raise ValueError(f"the table has no column {missing[0]!r}: draw conditions with the columns of off_manifold")
    cells = _cells(table, method, place)
    rows, columns = int(cells["y"].max()) + 1, int(cells["x"].max()) + 1
    width, row = (
        float(np.clip(66 * columns, 400, 840)),
        29.0 if 4 <= rows <= 16 else max(12.0, (120 if rows < 4 else 480) / rows),
    )
    frame = Frame(round(width) + _LEFT, round(row * rows), (-0.5, columns - 0.5), width / columns, row)
    figure = go.Figure(_rectangles(cells))
    draw_gaps(figure, cells, frame)
    _draw_marks(figure, cells, frame)
    marks = _marks(cells, chosen)
    if chosen is not None:
        framed = cells[(cells["layer"] == chosen[0]) & (cells["coeff"] == chosen[1])]
        x, y = outline(framed)
        for colour, thick in ((theme.PAPER, 5.5), (theme.INK, 2.8)):
            line = {"color": colour, "width": thick}
            figure.add_scatter(x=x[:-1], y=y[:-1], mode="lines", line=line, cliponaxis=False, name="chosen", **QUIET)
    ticks = [50, 75, 90, 100]
    label = "percentile of the distance among neutral tokens"
    bar, right = colour_bar(figure, label, ticks, ["≤ 50", "75", "90", "100"], frame.plot_height)
    figure.update_coloraxes(cmin=50, cmax=100, colorscale=theme.COST, colorbar=bar)
    low, high = int(cells["n_tokens"].min()), int(cells["n_tokens"].max())
    tokens = f"{low}" if low == high else f"{low} to {high}"
    words = sentences(
        subtitle, f"Number: Mahalanobis distance over that of the median neutral token; {tokens} tokens a cell"
    )
    return _dress(figure, cells, frame, right, (title, words), marks)


def _cells(table: pd.DataFrame, method: str, place: str) -> pd.DataFrame:
    """The method's cells with `x`, `y`, `left`, `right`, and how far out their random vectors lie (`random`)."""
    own = table[(table["method"] == method) & (table["place"] == place) & (table["role"] == "steered")]
    if own.empty:
        raise ValueError(f"the table has no cells of {method!r} at {place!r}")
    beside = table[(table["control_of"] == method) & (table["place"] == place) & (table["method"] == "random")]
    random = beside.groupby(["layer", "coeff"])["distance_ratio"].mean().rename("random").reset_index()
    cells = own.merge(random, on=["layer", "coeff"], how="left")
    x, y = (cells[name].rank(method="dense") - 1 for name in ("coeff", "layer"))
    return cells.assign(x=x, y=y, left=x - 0.5, right=x + 0.5).sort_values(["y", "x"])


def _rectangles(cells: pd.DataFrame) -> go.Heatmap:
    percentiles = cells.pivot(index="y", columns="x", values="distance_percentile")
    hover = cells.assign(hover=[_hover(cell) for cell in cells.itertuples()]).pivot(
        index="y", columns="x", values="hover"
    )
    return go.Heatmap(
        z=percentiles.to_numpy(dtype=float), x=sorted(cells["x"].unique()), y=sorted(cells["y"].unique()),
        customdata=hover.to_numpy(), hovertemplate="%{customdata}<extra></extra>", coloraxis="coloraxis", name="cells",
    )  # fmt: skip


def _hover(cell: Any) -> str:
    random = "" if np.isnan(cell.random) else f"<br>random vectors of equal norm: {times(cell.random)}"
    return (
        f"<b>layer {cell.layer:g}, coefficient {short_signed(cell.coeff)}</b>"
        f"<br>distance {times(cell.distance_ratio)} the usual, percentile {cell.distance_percentile:.1f}{random}"
        f"<br>length {times(cell.norm_ratio)} the usual, percentile {cell.norm_percentile:.1f}"
        f"<br>{cell.n_tokens:g} tokens"
    )


def _draw_marks(figure: go.Figure, cells: pd.DataFrame, frame: Frame) -> None:
    """The ratio in every cell that has room, a ring at the lower left, a wedge at the upper right."""
    inks = np.array(theme.ink_on((cells["distance_percentile"].to_numpy() - 50) / 50, theme.COST))
    if readable(cells, frame):
        font, text = {"size": 11.5, "color": inks.tolist()}, [times(ratio) for ratio in cells["distance_ratio"]]
        figure.add_scatter(x=cells["x"], y=cells["y"], mode="text", text=text, textfont=font, name="labels", **QUIET)
    inset = min(7.0, frame.px_y * 0.27)
    dx, dy = inset / frame.px_x, inset / frame.px_y
    for name, symbol, where, right in (
        ("beyond random", "circle-open", _beyond_random(cells), False),
        ("long", "triangle-up", cells["norm_percentile"] >= _LONG, True),
        ("short", "triangle-down", cells["norm_percentile"] <= 100 - _LONG, True),
    ):
        at = cells[where]
        x = at["right"] - dx if right else at["left"] + dx
        y = at["y"] + (0.5 - dy if right else dy - 0.5)
        mark = {
            "symbol": symbol,
            "size": min(7.0, inset),
            "color": inks[where.to_numpy()].tolist(),
            "line": {"width": 1.2},
        }
        if len(at):
            figure.add_scatter(x=x, y=y, mode="markers", marker=mark, name=name, **QUIET)


def _beyond_random(cells: pd.DataFrame) -> pd.Series:
    return cells["distance_ratio"] > 1.02 * cells["random"]


def _marks(cells: pd.DataFrame, chosen: tuple[int, float | int] | None) -> dict[str, str]:
    marks = {
        "○": "farther out than the mean of its random vectors of equal norm" if _beyond_random(cells).any() else "",
        "▲": f"longer than {_LONG:g} % of tokens" if (cells["norm_percentile"] >= _LONG).any() else "",
        "▼": f"shorter than {_LONG:g} % of tokens" if (cells["norm_percentile"] <= 100 - _LONG).any() else "",
        "<b>☐</b>": f"chosen: layer {chosen[0]}, coefficient {short_signed(chosen[1])}" if chosen else "",
    }
    return {glyph: meaning for glyph, meaning in marks.items() if meaning}


def _dress(
    figure: go.Figure, cells: pd.DataFrame, frame: Frame, right: int, words: tuple[str, str], marks: dict[str, str]
) -> go.Figure:
    columns, layers = cells.drop_duplicates("x").sort_values("x"), cells.drop_duplicates("y").sort_values("y")
    shown, rows = thinned(len(columns), frame.px_x, 40), thinned(len(layers), frame.px_y, 15)
    return lay_out(
        figure,
        Layout((frame.width - _LEFT, frame.plot_height), _LEFT, right),
        words,
        marks,
        xaxis={
            **theme.BARE, "title": "coefficient", "range": frame.x_range, "fixedrange": True,
            "tickvals": columns["x"].iloc[shown].tolist(),
            "ticktext": [short_signed(coeff) for coeff in columns["coeff"].iloc[shown]],
        },
        yaxis={
            **theme.BARE, "title": "layer", "range": (-0.5, len(layers) - 0.5), "fixedrange": True,
            "tickvals": layers["y"].iloc[rows].tolist(), "ticktext": [f"{k:g}" for k in layers["layer"].iloc[rows]],
        },
    )  # fmt: skip
