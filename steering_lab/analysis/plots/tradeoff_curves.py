"""One measure against another along curves: what each method gives for what it costs, on a logarithmic cost axis.

A curve is a method from weak to strong. Where measured points lie between interpolated ones, only those get a mark; a
curve of one point is a mark alone. Names stand at the curves' ends.
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.conditions import Names, labelled, number, tick
from steering_lab.analysis.plots.parts.hover import interval_text
from steering_lab.analysis.plots.parts.labels import escaped, round_ticks
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.analysis.plots.parts.lines import Line, draw_band, lone_intervals
from steering_lab.analysis.plots.parts.placing import LETTER, Box, label_boxes

MOST_CURVES = 8
_LEFT, _PLOT = 72, (620, 400)  # left margin; width and height of the axes, in pixels


def tradeoff_curves(
    table: pd.DataFrame,
    *,
    x: str,
    y: str,
    by: str = "method",
    curves: Names | None = None,
    levels: Mapping[str, float | int] | None = None,
    percent: bool = False,
    x_label: str | None = None,
    y_label: str | None = None,
    title: str = "",
    subtitle: str = "",
    interval: str = "Band: 95 % interval over prompts",
) -> go.Figure:
    """The column `y` upward against the column `x` to the right, a curve for each value of the column `by`.

    As known, the table also has `low` and `high` (y's interval) or `why` there is none, `least` and `most` (the ends of
    y's scale), `measured` (False: interpolated, no mark) and `control_low`, `control_high` (what random vectors do at
    the same x, drawn as one grey band). Rows without a number are left out of their curve. `curves` orders and names
    what is drawn, `levels` are y values of no x of their own, drawn as dotted lines.

    Args:
        table: A row for each point of a curve.
        x: The column to the right, above 0.
        y: The column upward.
        by: The column that tells curves apart.
        curves: The curves in order; a mapping also names them.
        levels: Values of y without an x, drawn as dotted lines, by their names.
        percent: Whether y is a share, written in percent.
        x_label: The title of the horizontal axis.
        y_label: The title of the vertical axis.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.
        interval: What the caption calls the intervals.

    Raises:
        ValueError: a column or a curve is missing, an x that is not above 0, no number at all, or more than eight
            curves.
    """
    if missing := [name for name in (x, y, by) if name not in table]:
        raise ValueError(f"the table has no column {missing[0]!r}: it has {', '.join(map(str, table.columns))}")
    if not (table[x].dropna() > 0).all():
        raise ValueError(f"{x} is {table[x].min():g} somewhere: on a logarithmic axis it must be above 0")
    names = labelled(list(table[by].astype(str).unique()), curves)
    if len(names) > MOST_CURVES:
        raise ValueError(f"{len(names)} curves are too many to tell apart: draw at most {MOST_CURVES}")
    every = _points(table, x, y, by)
    known = every[every["effect"].notna() & every["of"].isin(list(names))]
    if known.empty:
        raise ValueError(f"no curve has a number of {y!r}")
    colours = zip((*theme.CYCLE, theme.INK, theme.MUTED), names.items(), strict=False)
    lines = [Line(known[known["of"] == name].sort_values("x"), label, colour) for colour, (name, label) in colours]
    label = escaped(y.replace("_", " ")) if y_label is None else y_label
    axis = escaped(x.replace("_", " ")) if x_label is None else x_label
    words = (title, sentences(subtitle, interval if known["low"].notna().any() else ""))
    return _draw(lines, every, levels or {}, (axis, label + (", %" if percent else "")), words, percent=percent)


def _points(table: pd.DataFrame, x: str, y: str, by: str) -> pd.DataFrame:
    table = table.reset_index(drop=True)
    others = ("low", "high", "control_low", "control_high", "least", "most")
    numbers = {"x": x, "effect": y} | {name: name for name in others}
    columns = {name: table[source].astype(float) if source in table else np.nan for name, source in numbers.items()}
    measured = table["measured"].astype(bool) if "measured" in table else True
    of = table[by].astype(str)
    why = table.get("why")
    return pd.DataFrame({**columns, "of": of, "measured": measured, "why": why}).replace([np.inf, -np.inf], np.nan)


def _draw(
    lines: list[Line],
    every: pd.DataFrame,
    levels: Mapping[str, float | int],
    titles: tuple[str, str],
    words: tuple[str, str],
    *,
    percent: bool,
) -> go.Figure:
    figure = go.Figure()
    x_ends, y_ends = _ends(lines, levels)
    control = every.dropna(subset=["control_low", "control_high"]).drop_duplicates("x").sort_values("x")
    draw_band(figure, control, "control_low", "control_high", theme.faint(theme.CONTROL, 0.22))
    for name, level in levels.items():
        _draw_level(figure, escaped(name), float(level))
    for line in lines:
        draw_band(figure, line.points, "low", "high", theme.faint(line.colour, 0.1))
    for line, symbol in zip(lines, (*theme.SYMBOLS, *theme.SYMBOLS), strict=False):
        _draw_curve(figure, line, symbol, titles[0], percent=percent)
    _draw_names(figure, lines, x_ends, y_ends)
    right = 24 + int(LETTER * max(len(line.name) for line in lines))
    marks = {f"<span style='color:{theme.faint(theme.CONTROL, 0.45)}'>■</span>": "random vectors"}
    ticks = round_ticks(
        y_ends,
        ratio=False,
        most=7,
        show=lambda value: tick(value, "value", percent=percent),
        limits=(float(every["least"].fillna(-np.inf).max()), float(every["most"].fillna(np.inf).min())),
    )
    return lay_out(
        figure,
        Layout(_PLOT, _LEFT, right),
        words,
        marks if len(control) else {},
        xaxis={"title": titles[0], "range": x_ends, "showgrid": False, **_log_ticks(every["x"], x_ends)},
        yaxis={"title": titles[1], "range": y_ends, "showline": False, "ticks": "", **ticks},
    )


def _ends(lines: list[Line], levels: Mapping[str, float | int]) -> tuple[tuple[float, float], tuple[float, float]]:
    """The ranges of both axes with a margin, x as decimal logarithms."""
    x = np.log10(np.concatenate([line.points["x"] for line in lines]))
    y = np.concatenate([line.points[["effect", "low", "high"]].to_numpy().ravel() for line in lines])
    y = np.append(y[np.isfinite(y)], list(levels.values()))
    margins = [0.04 * (ends.max() - ends.min()) or 0.5 for ends in (x, y)]
    return (
        (float(x.min() - margins[0]), float(x.max() + margins[0])),
        (float(y.min() - margins[1]), float(y.max() + margins[1])),
    )


def _log_ticks(x: pd.Series, ends: tuple[float, float]) -> dict[str, object]:
    """A tick at each x where they are few whole numbers, else at 1 and 3 times the powers of ten."""
    places = sorted(x.dropna().unique())
    if len(places) > 8 or any(place % 1 for place in places):
        powers = range(int(np.floor(ends[0])), int(np.ceil(ends[1])) + 1)
        places = [m * 10.0**power for power in powers for m in (1, 3)]
    return {"type": "log", "tickvals": places, "ticktext": [f"{place:g}" for place in places]}


def _draw_level(figure: go.Figure, name: str, level: float) -> None:
    figure.add_hline(y=level, line={"color": theme.MUTED, "width": 1.2, "dash": "dot"}, layer="below")
    note = {"showarrow": False, "font": {"size": 11, "color": theme.MUTED}, "xanchor": "left", "yanchor": "top"}
    figure.add_annotation(x=0, xref="paper", xshift=4, y=level, text=name, name="level", **note)


def _draw_curve(figure: go.Figure, line: Line, symbol: str, x_title: str, *, percent: bool) -> None:
    points, look = line.points, {"color": line.colour, "width": 2.2}
    figure.add_scatter(x=points["x"], y=points["effect"], mode="lines", line=look, name=line.name, hoverinfo="skip")
    marked = points[points["measured"]]
    spans = [interval_text(p.low, p.high, p.why, lambda end: _shown(end, percent)) for p in marked.itertuples()]
    figure.add_scatter(
        x=marked["x"],
        y=marked["effect"],
        mode="markers",
        marker={"size": 8, "symbol": symbol, "color": line.colour, "line": {"width": 1.2, "color": theme.PAPER}},
        error_y=lone_intervals(marked, line.colour) if len(points) == 1 else None,
        customdata=[
            f"<b>{line.name}</b><br>{_shown(p.effect, percent)}{span}<br>{x_title} {p.x:.3g}"
            for p, span in zip(marked.itertuples(), spans, strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
        name=f"{line.name} measured",
    )


def _shown(value: float, percent: bool) -> str:
    return number(value, "value", ratio=False, percent=percent)


def _draw_names(figure: go.Figure, lines: list[Line], x_ends: tuple[float, float], y_ends: tuple[float, float]) -> None:
    """Each curve's name beside its last point, off the other curves as far as that can be."""

    def pixels(points: pd.DataFrame, up: str) -> list[tuple[float, float]]:
        x = (np.log10(points["x"]) - x_ends[0]) / (x_ends[1] - x_ends[0]) * _PLOT[0]
        y = (points[up] - y_ends[0]) / (y_ends[1] - y_ends[0]) * _PLOT[1]
        return list(zip(x, y, strict=True))

    shown = [line for line in lines if len(line.points)]
    tracks = [pixels(line.points, "effect") for line in shown]
    ways = [np.linspace(a, b, 12) for track in tracks for a, b in pairwise(track)] + [np.array(t) for t in tracks]
    avoid = [Box(x - 3, x + 3, y - 3, y + 3) for way in ways for x, y in way.tolist()]
    lone = pd.concat([line.points for line in shown if len(line.points) == 1] or [shown[0].points[:0]])
    lone = lone.dropna(subset=["low", "high"])
    bars = zip(pixels(lone, "low"), pixels(lone, "high"), strict=True)
    avoid += [Box(x - 2, x + 2, low, high) for (x, low), (_, high) in bars]
    frame = Box(0, _PLOT[0] + 20 + LETTER * max(len(line.name) for line in lines), -14, _PLOT[1] + 8)
    boxes = label_boxes([track[-1] for track in tracks], [line.name for line in shown], frame, avoid)
    for box, line in zip(boxes, shown, strict=True):
        figure.add_annotation(
            text=line.name,
            name="curve",
            font={"color": line.colour, "size": 12, "weight": 600},
            **box.annotation(_PLOT),
        )
