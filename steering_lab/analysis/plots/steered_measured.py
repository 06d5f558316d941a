"""What is steered against what is measured: a matrix whose diagonal is each vector's own effect."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.labels import escaped, signed
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.numerics.significance import LEVEL
from steering_lab.numerics.written import reach

_CELL, _LEFT = 74, 120  # side of a cell and width of the names, in pixels


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
    cells = summary.set_index(["method", "metric"])
    wanted = [(steered, f"{prefix}{measured}") for steered in topics for measured in topics]
    if missing := [cell for cell in wanted if cell not in cells.index]:
        raise ValueError(f"the table has no {missing[0][1]!r} of {missing[0][0]!r}")
    if cells.index.duplicated().any():
        raise ValueError("a vector stands at several layers or coefficients: choose one")
    rows, n = cells.loc[wanted], len(topics)
    effect = rows["effect"].to_numpy(dtype=float).reshape(n, n)
    most = float(np.nanmax(np.abs(effect))) or 1.0
    hover = [
        f"<b>{escaped(steered)}</b> steered, {escaped(measured)}<br>{signed(row.effect)} [{signed(row.low)},"
        f" {signed(row.high)}]<br>random vectors {reach(row.control_low, row.control_high, signed) or '–'}"
        for (steered, measured), row in zip(wanted, rows.itertuples(), strict=True)
    ]
    names = [escaped(topic) for topic in topics]
    figure = go.Figure(
        go.Heatmap(
            z=effect, x=names, y=names, zmin=-most, zmax=most, colorscale=[list(stop) for stop in theme.DIVERGING],
            xgap=2, ygap=2, showscale=False, customdata=np.array(hover).reshape(n, n),
            hovertemplate="%{customdata}<extra></extra>",
        )
    )  # fmt: skip
    untold = rows["effect"].between(rows["control_low"], rows["control_high"]) | rows["low"].le(0) & rows["high"].ge(0)
    for p in ("p_random", "p_family"):  # draws that did the same have a band without width, and tell little
        if p in rows:
            untold |= rows[p].astype(float) > LEVEL
    within = untold.to_numpy().reshape(n, n)
    for i in range(n):
        for j in range(n):
            font = {"color": theme.PAPER if abs(effect[i, j]) > 0.7 * most else theme.INK, "size": 13}
            text = signed(effect[i, j])
            figure.add_annotation(x=j, y=i, text=f"{text} ○" if within[i, j] else text, showarrow=False, font=font)
    side = n * _CELL
    return lay_out(
        figure,
        Layout((side, side), _LEFT, 24, least=560),
        (title, sentences(subtitle)),
        {"○": "not told from no effect, or not from random vectors of equal norm"} if within.any() else {},
        xaxis={"title": "topic measured", **theme.BARE, "tickangle": 0},
        yaxis={"title": "topic steered", **theme.BARE, "autorange": "reversed"},
    )
