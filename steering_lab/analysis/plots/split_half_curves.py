"""How far halves of the contrast pairs agree, layer by layer, beside the same pairs with their sides exchanged."""

import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.labels import signed
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.analysis.plots.parts.lines import draw_band, lone_intervals
from steering_lab.analysis.plots.parts.sites import thinned

_LEFT, _RIGHT, _PLOT = 72, 30, (520, 320)  # margins; width and height of the axes, in pixels


def split_half_curves(table: pd.DataFrame, *, title: str = "", subtitle: str = "") -> go.Figure:
    """Cosine of the halves' vectors against layer, with the splits' range, and what all pairs would reach.

    `table` is that of `split_half`. Grey: the splits of pairs whose sides were exchanged at random; dotted: random
    directions of the stream.

    Args:
        table: Of `split_half`.
        title: On the figure; left out, it says what is shown.
        subtitle: Below it; left out, how many pairs and splits there are.

    Raises:
        ValueError: a column is missing, or a layer stands there twice.
    """
    needed = ("layer", "stream", "cosine", "low", "high", "full_length", "flipped_low", "flipped_high", "random")
    if missing := [name for name in needed if name not in table]:
        raise ValueError(f"the table has no column {missing[0]!r}: draw what split_half returned")
    depth = table["layer"] + (table["stream"] == "resid_post")
    if depth.duplicated().any():
        raise ValueError(
            f"layer {table['layer'][depth.duplicated()].iloc[0]} stands twice: draw one stream of one model"
        )
    table = table.assign(depth=depth).sort_values("depth").reset_index(drop=True)
    mixed = table["stream"].nunique() > 1
    names = [
        "embed" if mixed and row.stream == "resid_pre" and row.layer == 0 else str(row.layer)
        for row in table.itertuples()
    ]
    points = table.assign(x=table.index, effect=table["cosine"])
    figure = go.Figure()
    draw_band(figure, points, "flipped_low", "flipped_high", theme.faint(theme.CONTROL, 0.22))
    for side in (-1, 1):
        dots = {"color": theme.CONTROL, "width": 1.4, "dash": "dot"}
        figure.add_scatter(
            x=points["x"], y=side * points["random"], mode="lines", line=dots, name="random", hoverinfo="skip"
        )
    _draw_lines(figure, points, names)
    return _laid_out(figure, points, names, title, subtitle)


def _draw_lines(figure: go.Figure, points: pd.DataFrame, names: list[str]) -> None:
    colour = theme.CYCLE[0]
    draw_band(figure, points, "low", "high", theme.faint(colour, 0.16))
    dashes = {"color": theme.CYCLE[2], "width": 2, "dash": "dash"}
    mark = {"size": 6, "symbol": "diamond"}
    figure.add_scatter(
        x=points["x"],
        y=points["full_length"],
        mode="lines+markers",
        line=dashes,
        marker=mark,
        name="full length",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=points["x"],
        y=points["cosine"],
        mode="lines+markers",
        line={"color": colour, "width": 2.2},
        marker={"size": 7, "line": {"width": 1.4, "color": theme.PAPER}},
        error_y=lone_intervals(points, colour),
        customdata=[
            f"<b>layer {name}</b><br>halves {signed(p.cosine)} [{signed(p.low)}, {signed(p.high)}]"
            f"<br>all pairs, estimated {signed(p.full_length)}"
            f"<br>sides exchanged [{signed(p.flipped_low)}, {signed(p.flipped_high)}]"
            f"<br>random directions ±{p.random:.2f}"
            for name, p in zip(names, points.itertuples(), strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
        name="halves",
    )


def _laid_out(figure: go.Figure, points: pd.DataFrame, names: list[str], title: str, subtitle: str) -> go.Figure:
    counted = [
        f"{int(points[column].iloc[0])} {noun}"
        for column, noun in (("n_pairs", "pairs"), ("n_splits", "splits"))
        if column in points
    ]
    words = sentences(subtitle, ", ".join(counted), "Bands: 95 % of the splits", _lost(points, names))
    blue, green, grey = theme.CYCLE[0], theme.CYCLE[2], theme.faint(theme.CONTROL, 0.45)
    marks = {
        f"<span style='color:{blue}'><b>━●</b></span>": "halves of the pairs",
        f"<span style='color:{green}'><b>╌◆</b></span>": "all pairs against as many others, estimated",
        f"<span style='color:{grey}'>■</span>": "halves, sides exchanged at random",
        f"<span style='color:{theme.CONTROL}'><b>····</b></span>": "95 % of random directions",
    }
    seen = points[["cosine", "low", "high", "full_length", "flipped_low", "flipped_high", "random"]]
    low = min(-float(points["random"].max()), float(seen.min().min()))
    shown = thinned(len(names), _PLOT[0] / len(names), 26)
    figure.add_hline(y=0, line={"color": theme.RULE, "width": 1}, layer="below")
    return lay_out(
        figure,
        Layout(_PLOT, _LEFT, _RIGHT),
        (title, words),
        marks,
        xaxis={
            "title": "layer",
            "showgrid": False,
            "range": (-0.5, len(names) - 0.5),
            "tickvals": shown,
            "ticktext": [names[i] for i in shown],
        },
        yaxis={
            "title": "cosine of mean differences",
            "showline": False,
            "ticks": "",
            "range": (low - 0.06, 1.06),
            "tickvals": [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1],
            "ticktext": ["−1", "−0.75", "−0.5", "−0.25", "0", "0.25", "0.5", "0.75", "1"],
        },
    )


def _lost(points: pd.DataFrame, names: list[str]) -> str:
    lost = [name for name, cosine in zip(names, points["cosine"], strict=True) if pd.isna(cosine)]
    return f"No value where the pairs do not differ: {', '.join(lost)}" if lost else ""
