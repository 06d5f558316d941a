"""What says before generating whether pairs steer: a panel per statistic, by layer, in the band of exchanged sides."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.labels import signed
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.analysis.plots.parts.lines import draw_band
from steering_lab.analysis.plots.parts.sites import site_axis, thinned

PANELS = {"mean_cosine": "mean cosine", "d_prime": "d′", "split_half": "split halves"}
_LEFT, _RIGHT, _PLOT, _GAP = 72, 30, (560, 420), 0.05  # margins; the panels together; the share between two


def steerability_curves(table: pd.DataFrame, *, title: str = "", subtitle: str = "") -> go.Figure:
    """Three panels above one another, layers to the right: mean cosine, d' and the agreement of halves.

    `table` is that of `steerability`, of one set of pairs. Grey: where 95 % of the values lie when the sides of the
    pairs are exchanged at random. A filled point lies above it, an open one does not.

    Args:
        table: One row per site and statistic, of one set of pairs and one stream.
        title: The title; left out, none.
        subtitle: What stands before the number of pairs below the title, say the model.

    Raises:
        ValueError: a column is missing, or a site and statistic stand there twice.
    """
    needed = ("layer", "stream", "statistic", "value", "null_low", "null_high", "n_pairs")
    if missing := [name for name in needed if name not in table]:
        raise ValueError(f"the table has no column {missing[0]!r}: draw what steerability returned")
    axis = site_axis(table)
    if table.assign(at=axis.at).duplicated(["at", "statistic"]).any():
        raise ValueError("two rows for one site and statistic: draw one set of pairs, and one stream, at a time")
    order = {place: k for k, place in enumerate(axis.places)}
    points = table.assign(x=axis.at.map(order), name=axis.at.map(dict(zip(axis.places, axis.names, strict=True))))
    figure, height = go.Figure(), (1 - 2 * _GAP) / 3
    shown = thinned(len(axis.places), _PLOT[0] / len(axis.places), 26)
    axes: dict[str, object] = {}
    for k, (statistic, label) in enumerate(PANELS.items()):
        number = "" if k == 0 else str(k + 1)
        rows = points[points["statistic"] == statistic].sort_values("x")
        _draw(figure, rows, f"y{number}")
        top = 1 - k * (height + _GAP)
        axes[f"yaxis{number}"] = {
            "title": label,
            "domain": (max(0.0, top - height), top),
            "showline": False,
            "ticks": "",
        }
    names = [axis.names[i] for i in shown]
    axes["xaxis"] = {
        "title": axis.title, "showgrid": False, "range": (-0.5, len(axis.places) - 0.5), "tickvals": shown,
        "ticktext": names, "anchor": "y3",
    }  # fmt: skip
    n_pairs = int(table["n_pairs"].iloc[0])
    words = sentences(subtitle, f"{n_pairs} pairs, each measured by a direction from the others")
    blue = theme.CYCLE[0]
    marks = {
        f"<span style='color:{blue}'><b>━●</b></span>": "the pairs, above the band",
        f"<span style='color:{blue}'><b>○</b></span>": "not above it",
        f"<span style='color:{theme.faint(theme.CONTROL, 0.45)}'>■</span>": "sides exchanged at random, 95 % of values",
    }
    return lay_out(figure, Layout(_PLOT, _LEFT, _RIGHT), (title, words), marks, **axes)


def _draw(figure: go.Figure, rows: pd.DataFrame, axis: str) -> None:
    before = len(figure.data)
    draw_band(figure, rows, "null_low", "null_high", theme.faint(theme.CONTROL, 0.22))
    above = (rows["value"] > rows["null_high"]).to_numpy()
    colour = theme.CYCLE[0]
    figure.add_scatter(
        x=rows["x"],
        y=rows["value"],
        mode="lines+markers",
        line={"color": colour, "width": 2.2},
        marker={"size": 8, "color": np.where(above, colour, theme.PAPER), "line": {"width": 1.6, "color": colour}},
        customdata=[
            f"<b>layer {row.name_}</b><br>{PANELS[row.statistic]} {signed(row.value)}, p {row.p:.3f}"
            f"<br>sides exchanged [{signed(row.null_low)}, {signed(row.null_high)}]"
            for row in rows.rename(columns={"name": "name_"}).itertuples()
        ],
        hovertemplate="%{customdata}<extra></extra>",
        name=str(rows["statistic"].iloc[0]) if len(rows) else "",
    )
    for trace in figure.data[before:]:
        trace.update(xaxis="x", yaxis=axis)
    figure.add_hline(y=0, line={"color": theme.RULE, "width": 1}, layer="below", yref=axis)
