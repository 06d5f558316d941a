"""What is steered against what is measured, or against the layer: matrices of effects, marked where none is told."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.labels import escaped, signed
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.numerics.significance import LEVEL
from steering_lab.numerics.written import reach

_CELL, _NARROW, _LEFT = 74, 44, 120  # side of a cell, of one of many, and width of the names, in pixels


def steered_measured(
    summary: pd.DataFrame, topics: Sequence[str], *, prefix: str = "", title: str = "", subtitle: str = ""
) -> go.Figure:
    """A row for each vector, a column for each metric: its effect, marked where nothing tells it.

    Args:
        summary: Rows of the vectors' cells, one for each method and metric: effect, low, high, control_low,
            control_high, and where they are known p_random and p_family.
        topics: The methods, in order; the metrics are `prefix` and their names.
        prefix: What the metrics' names begin with.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.

    Raises:
        ValueError: a cell is missing, or stands there twice.
    """
    wanted = [(steered, f"{prefix}{measured}") for steered in topics for measured in topics]
    cells = _cells(summary, ["method", "metric"], wanted, "a vector stands at several layers or coefficients")
    hover = [f"<b>{escaped(steered)}</b> steered, {escaped(measured)}" for steered in topics for measured in topics]
    axes = _Axes("topic measured", list(topics), list(topics))
    return _matrix(cells, hover, axes, Layout((len(topics) * _CELL,) * 2, _LEFT, 24, least=560), (title, subtitle))


def steered_by_layer(
    summary: pd.DataFrame, topics: Sequence[str], *, prefix: str = "", title: str = "", subtitle: str = ""
) -> go.Figure:
    """A row for each vector, a column for each layer: what the vector does to its own metric, marked as above.

    Args:
        summary: Rows of the vectors' cells, one for each method, layer and metric, as for `steered_measured`.
        topics: The methods, in order; each one's metric is `prefix` and its name.
        prefix: What the metrics' names begin with.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.

    Raises:
        ValueError: a cell is missing, or stands there twice.
    """
    layers = sorted(int(layer) for layer in summary.loc[summary["method"].isin(topics), "layer"].unique())
    wanted = [(topic, f"{prefix}{topic}", layer) for topic in topics for layer in layers]
    cells = _cells(summary, ["method", "metric", "layer"], wanted, "a vector stands at several coefficients")
    hover = [f"<b>{escaped(topic)}</b>, layer {layer}" for topic in topics for layer in layers]
    plot = (len(layers) * _NARROW, len(topics) * _NARROW)
    axes = _Axes("layer", list(topics), [str(layer) for layer in layers])
    return _matrix(cells, hover, axes, Layout(plot, _LEFT, 24, least=560), (title, subtitle))


class _Axes(NamedTuple):
    """What a matrix's columns are, and the names of its rows and columns."""

    across: str
    rows: list[str]
    columns: list[str]


def _cells(summary: pd.DataFrame, keys: list[str], wanted: Sequence[tuple[Any, ...]], twice: str) -> pd.DataFrame:
    """The wanted rows, in order."""
    cells = summary.set_index(keys)
    if missing := [cell for cell in wanted if cell not in cells.index]:
        raise ValueError(f"the table has no {missing[0][1]!r} of {missing[0][0]!r}")
    if cells.index.duplicated().any():
        raise ValueError(f"{twice}: choose one")
    return cells.loc[list(wanted)]


def _matrix(
    cells: pd.DataFrame, hover: Sequence[str], axes: _Axes, layout: Layout, words: tuple[str, str]
) -> go.Figure:
    shape = (len(axes.rows), len(axes.columns))
    effect = cells["effect"].to_numpy(dtype=float).reshape(shape)
    most = float(np.nanmax(np.abs(effect))) or 1.0
    said = [
        f"{cell}<br>{signed(row.effect)} [{signed(row.low)}, {signed(row.high)}]"
        f"<br>random vectors {reach(row.control_low, row.control_high, signed) or '–'}"
        for cell, row in zip(hover, cells.itertuples(), strict=True)
    ]
    figure = go.Figure(
        go.Heatmap(
            z=effect, x=[escaped(name) for name in axes.columns], y=[escaped(name) for name in axes.rows],
            zmin=-most, zmax=most, colorscale=[list(stop) for stop in theme.DIVERGING],
            xgap=2, ygap=2, showscale=False, customdata=np.array(said).reshape(shape),
            hovertemplate="%{customdata}<extra></extra>",
        )
    )  # fmt: skip
    untold = cells["effect"].between(cells["control_low"], cells["control_high"])
    untold |= cells["low"].le(0) & cells["high"].ge(0)
    for p in ("p_random", "p_family"):  # draws that did the same have a band without width, and tell little
        if p in cells:
            untold |= cells[p].astype(float) > LEVEL
    within = untold.to_numpy().reshape(shape)
    narrow = layout.plot[0] < _CELL * shape[1]
    for i, j in np.ndindex(shape):
        font = {"color": theme.PAPER if abs(effect[i, j]) > 0.7 * most else theme.INK, "size": 11 if narrow else 13}
        text = signed(effect[i, j])
        mark = ("<br>" if narrow else " ") + "○" if within[i, j] else ""
        figure.add_annotation(x=j, y=i, text=text + mark, showarrow=False, font=font)
    return lay_out(
        figure,
        layout,
        (words[0], sentences(words[1])),
        {"○": "not told from no effect, or not from random vectors of equal norm"} if within.any() else {},
        xaxis={"title": axes.across, "type": "category", **theme.BARE, "tickangle": 0},
        yaxis={"title": "topic steered", **theme.BARE, "autorange": "reversed"},
    )
