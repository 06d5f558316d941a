"""A paper's curve made again: ours with its interval and what random vectors do, the published points beside it."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.labels import amount, escaped, round_ticks, short_signed, signed
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.analysis.plots.parts.lines import MOST_LINES, Line, draw_band, draw_names, lone_intervals
from steering_lab.numerics.written import times

_LEFT, _PLOT = 72, (620, 340)
_GLYPHS = "○□◇△▽☆"  # of `theme.SYMBOLS`, open


def along(
    cells: pd.DataFrame, column: str, by: str, *, log: bool = False, ends: tuple[float | int, float | int] | None = None
) -> tuple[dict[str, pd.DataFrame], dict[float, str]]:
    """The lines of `claim_curves` and its ticks: each of `by`, its cells from 0 at the first to 1 at the last.

    Args:
        cells: Rows with effect, low and high.
        column: What the figure goes along.
        by: What tells the lines apart.
        log: Whether equal ratios are equally far, of values above 0.
        ends: What is first and last; by default the least and the most of the cells'.
    """
    values = sorted(cells[column].unique())
    scale = np.log if log else np.asarray
    first, last = map(scale, ends or (values[0], values[-1]))
    span = last - first or 1
    lines = {str(name): rows.assign(x=(scale(rows[column]) - first) / span) for name, rows in cells.groupby(by)}
    return lines, {float((scale(value) - first) / span): f"{value:g}" for value in values}


def claim_curves(
    lines: Mapping[str, pd.DataFrame],
    published: Mapping[str, Sequence[Sequence[float | int]]],
    *,
    x_label: str,
    y_label: str,
    neutral: float | int = 0,
    ticks: Mapping[float, str] | None = None,
    title: str = "",
    subtitle: str = "",
    level: bool = False,
    over: str = "texts or prompts",
    chance: str = "where one more random vector of equal norm would fall",
    published_as: str = "published, as the paper or its authors give it",
) -> go.Figure:
    """Effects along x from 0 to 1, a line each in its interval's band; published points as open marks, on a thin line
    where there are more than two.

    The grey band is what norm-matched random vectors do at the same x, at each the widest of the curves' own. Ours and
    published points share the axes, so that a published layer stands at its depth: 0 is the first, 1 the last.

    Args:
        lines: By name, rows with x, effect, low, high and, where there are controls, control_low and control_high.
        published: By name, (x, y) of each point, in the paper's own numbers.
        x_label: The name of the axis to the right.
        y_label: And of that upward.
        neutral: What no effect is: 1 draws ratios on a log axis.
        level: Whether the values are no change of anything, and so written without a sign.
        ticks: What stands below the axis, by x; by default numbers.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.
        over: What the intervals are over.
        chance: What the key calls the grey band.
        published_as: What the key calls the published points.

    Raises:
        ValueError: no line, or more than eight.
    """
    if not lines or len(lines) + len(published) > MOST_LINES:
        raise ValueError(f"{len(lines)} lines and {len(published)} published: draw one to {MOST_LINES}")
    figure, ratio = go.Figure(), neutral == 1
    drawn = [
        Line(points.sort_values("x"), escaped(name), theme.CYCLE[i % len(theme.CYCLE)])
        for i, (name, points) in enumerate(lines.items())
    ]
    told = [
        Line(pd.DataFrame(points, columns=["x", "effect"]).sort_values("x"), f"{glyph} {escaped(name)}", theme.CONTROL)
        for (name, points), glyph in zip(published.items(), _GLYPHS * 2, strict=False)
    ]
    known = [rows.points[["effect", "low", "high"]].to_numpy(dtype=float).ravel() for rows in drawn]
    known += [rows.points["effect"].to_numpy(dtype=float) for rows in told]
    values = np.concatenate([*known, [neutral]])
    values = values[np.isfinite(values) & ((values > 0) | (not ratio))]
    ends = np.log10([values.min(), values.max()]) if ratio else np.array([values.min(), values.max()])
    pad = 0.06 * (ends[1] - ends[0]) or 0.5
    y_range = (float(ends[0] - pad), float(ends[1] + pad))
    controls = pd.concat([line.points.reindex(columns=["x", "control_low", "control_high"]) for line in drawn])
    widest = controls.groupby("x", as_index=False).agg({"control_low": "min", "control_high": "max"})
    if has_control := bool(widest["control_low"].notna().any()):
        draw_band(figure, widest, "control_low", "control_high", theme.faint(theme.CONTROL, 0.22))
        alike = widest[np.isclose(widest["control_low"], widest["control_high"])]  # a band without width is not seen
        figure.add_scatter(
            x=alike["x"], y=alike["control_low"], mode="markers", hoverinfo="skip", name="random vectors alike",
            marker={"symbol": "line-ew-open", "size": 14, "color": theme.faint(theme.CONTROL, 0.6)},
        )  # fmt: skip
    show = times if ratio else "{:.2f}".format if level else signed
    for line, symbol in zip(drawn, (*theme.SYMBOLS, *theme.SYMBOLS), strict=False):
        draw_band(figure, line.points, "low", "high", theme.faint(line.colour, 0.15))
        figure.add_scatter(
            x=line.points["x"], y=line.points["effect"], mode="lines+markers", name=line.name,
            line={"color": line.colour, "width": 2.2}, error_y=lone_intervals(line.points, line.colour),
            marker={"size": 6, "symbol": symbol, "color": line.colour, "line": {"width": 1, "color": theme.PAPER}},
            customdata=[
                f"<b>{line.name}</b><br>{show(p.effect)} [{show(p.low)}, {show(p.high)}]"
                for p in line.points.itertuples()
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    for line, symbol in zip(told, theme.SYMBOLS * 2, strict=False):
        figure.add_scatter(
            x=line.points["x"], y=line.points["effect"], name=line.name,
            mode="lines+markers" if len(line.points) > 2 else "markers",  # what is between two is not published
            line={"color": line.colour, "width": 1.2, "dash": "dot"},
            marker={"size": 7, "symbol": f"{symbol}-open", "color": line.colour},
            customdata=[f"<b>{line.name}</b>, published<br>{show(p.effect)}" for p in line.points.itertuples()],
            hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    draw_names(figure, [*drawn, *told], y_range, _PLOT[1], ratio=ratio)
    figure.add_hline(y=neutral, line={"color": theme.RULE, "width": 1}, layer="below")
    surely = any(line.points["low"].notna().any() for line in drawn)
    marks = {
        "●": f"ours, in its 95 % interval over {over}" if surely else "ours, too few of them differ for an interval"
    }
    if has_control:
        frame = [10**end for end in y_range] if ratio else y_range
        shared = (
            ", at each place the widest of the curves' own (the table has each)"
            if controls.dropna().groupby("x").size().gt(1).any()
            else ""
        )
        cut = widest["control_low"].min() < frame[0] or widest["control_high"].max() > frame[1]
        told_of = f"{chance}{shared}{'; it goes on beyond the frame' if cut else ''}"
        marks[f"<span style='color:{theme.faint(theme.CONTROL, 0.45)}'>▬</span>"] = told_of
    if told:
        marks[f"<span style='color:{theme.CONTROL}'>○</span>"] = published_as
    xaxis = {"title": x_label, "showgrid": False, "range": (-0.03, 1.03), "tickangle": 0}
    if ticks:
        xaxis |= {"tickvals": list(ticks), "ticktext": [escaped(text) for text in ticks.values()]}
    right = 24 + int(7.4 * max(len(line.name) for line in (*drawn, *told)))
    return lay_out(
        figure,
        Layout(_PLOT, _LEFT, right),
        (title, sentences(subtitle)),
        marks,
        xaxis=xaxis,
        yaxis={
            "title": y_label,
            "showline": False,
            "ticks": "",
            "range": y_range,
            **round_ticks(y_range, ratio=ratio, show=amount if level else short_signed),
        },
    )
