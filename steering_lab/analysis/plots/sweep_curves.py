"""Effect against coefficient or against layer: a line per layer, coefficient or method, each in its interval's band.

The grey band is what norm-matched random vectors do at the same cells; with several lines it is the widest of theirs.
Lines are labelled at their ends; a filled point marks a cell that works (column `state`), and in a table without states
any cell whose text does not degenerate.
"""

import textwrap
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale, unlabel_rgb

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.cells import counts, sweep_cells
from steering_lab.analysis.plots.parts.labels import escaped, round_ticks, short_signed, signed
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.analysis.plots.parts.lines import MOST_LINES, Line, apart, draw_band, draw_names, lone_intervals
from steering_lab.numerics.written import times
from steering_lab.tables import MEANING

_LEFT, _PLOT = 72, (520, 320)  # left margin; width and height of the axes, in pixels


def coeff_curves(
    summary: pd.DataFrame,
    *,
    metric: str,
    method: str | Sequence[str],
    place: str | Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    metric_label: str | None = None,
    title: str = "",
    subtitle: str = "",
    interval: str = "Band: 95 % interval over prompts",
) -> go.Figure:
    """Effect against coefficient, a line per layer, method and place, through "no change" at coefficient 0.

    `place` may be left out where each method stands at one place only. Without `layers`, up to six, evenly spaced, and
    the subtitle says so. Ratios (perplexity) are drawn on a log axis.

    Args:
        summary: One row per cell and metric, as `summarise` makes it.
        metric: The metric that is shown.
        method: One method or several.
        place: One place or several; may be left out where each method stands at one only.
        layers: The layers that are drawn; by default up to six, evenly spaced.
        metric_label: The metric's name on the figure; by default that of the table.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.
        interval: What the caption calls the intervals.

    Raises:
        ValueError: an unknown metric, method, place or layer, or more than eight lines.
    """
    return _curves(summary, metric, (method, place), "coeff", layers, metric_label, (title, subtitle, interval))


def layer_curves(
    summary: pd.DataFrame,
    *,
    metric: str,
    method: str | Sequence[str],
    place: str | Sequence[str] | None = None,
    coeffs: Sequence[float | int] | None = None,
    metric_label: str | None = None,
    title: str = "",
    subtitle: str = "",
    interval: str = "Band: 95 % interval over prompts",
) -> go.Figure:
    """Effect against layer, a line per coefficient and method; see `coeff_curves` for the rest.

    Args:
        summary: One row per cell and metric, as `summarise` makes it.
        metric: The metric that is shown.
        method: One method or several.
        place: One place or several; may be left out where each method stands at one only.
        coeffs: The coefficients that are drawn; by default up to six, evenly spaced.
        metric_label: The metric's name on the figure; by default that of the table.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.
        interval: What the caption calls the intervals.
    """
    return _curves(summary, metric, (method, place), "layer", coeffs, metric_label, (title, subtitle, interval))


def _curves(
    summary: pd.DataFrame,
    metric: str,
    wanted: tuple[str | Sequence[str], str | Sequence[str] | None],
    x: str,
    chosen: Sequence[float | int] | None,
    metric_label: str | None,
    words: tuple[str, str, str],
) -> go.Figure:
    by = "layer" if x == "coeff" else "coeff"
    methods, places = ([one] if isinstance(one, str | None) else list(one) for one in wanted)
    sweeps = {}
    for method in methods:
        for place in places:
            name = str(method) if place is None or len(places) == 1 else f"{method}, {place}"
            sweeps[name] = sweep_cells(summary, metric=metric, method=str(method), place=place)
    neutral = next(iter(sweeps.values())).neutral
    cells = pd.concat([sweep.cells.assign(method=name) for name, sweep in sweeps.items()], ignore_index=True)
    cells = cells[cells["run"]]
    every = [float(v) for v in sorted(cells.loc[~cells["baseline"], by].unique())]
    kept = _choose(every, chosen, by)
    lines = _lines(cells, kept, list(sweeps), x, by, neutral)
    plural = "layers" if by == "layer" else "coefficients"
    if len(lines) > MOST_LINES:
        raise ValueError(
            f"{len(lines)} lines are too many to tell apart: choose at most {MOST_LINES} {plural} × methods"
        )
    title, subtitle, interval = words
    left_out = f"{len(kept)} of {len(every)} {plural} shown" if chosen is None and len(kept) < len(every) else ""
    parts = [subtitle, "; ".join(part for part in (counts(cells), left_out) if part), interval]
    label = escaped(metric.replace("_", " ")) if metric_label is None else metric_label
    y_title = f"{label}, ratio to unsteered" if neutral == 1 else f"{label}, difference to unsteered"
    return _draw(lines, x, y_title, neutral, title, sentences(*parts))


def _choose(every: list[float], chosen: Sequence[float | int] | None, by: str) -> list[float]:
    if chosen is None:
        return [every[i] for i in np.unique(np.linspace(0, len(every) - 1, min(6, len(every))).round().astype(int))]
    if unknown := [c for c in chosen if c not in every]:
        raise ValueError(f"{by} {unknown[0]:g} is not in the table: it has {', '.join(f'{e:g}' for e in every)}")
    return sorted({float(c) for c in chosen})


def _lines(cells: pd.DataFrame, kept: list[float], methods: list[str], x: str, by: str, neutral: float) -> list[Line]:
    lines: list[Line] = []
    for name in methods:
        for value in kept:
            points = cells[(cells["method"] == name) & (cells[by] == value)]
            if x == "coeff":  # coefficient 0 changes nothing, by construction
                still = dict.fromkeys(("effect", "low", "high"), neutral)
                if points["control_low"].notna().any():
                    still |= dict.fromkeys(("control_low", "control_high"), neutral)
                baseline = pd.DataFrame(
                    {"coeff": [0.0], "degenerate": [False], "state": [None], **{k: [v] for k, v in still.items()}}
                )
                points = pd.concat([points[~points["baseline"]], baseline], ignore_index=True)
            what = f"layer {value:g}" if by == "layer" else f"coefficient {short_signed(value)}"
            shown = escaped(name.replace("_", " "))
            text = what if len(methods) == 1 else shown if len(kept) == 1 else f"{shown}, {what}"
            colour = theme.CYCLE[len(lines) % len(theme.CYCLE)]
            if len(methods) == 1 and len(kept) > 2:
                colour = _ordered_colour(value, kept, diverging=by == "coeff")
            lines.append(Line(points.sort_values(x).rename(columns={x: "x"}), text, colour))
    return lines


def _ordered_colour(value: float, kept: list[float], *, diverging: bool) -> str:
    """Layers along one ramp; coefficients by sign and size on the heatmap's scale, less its pale middle."""
    if diverging:
        same_sign = sorted(abs(v) for v in kept if v * value > 0)
        share = 0.5 + np.sign(value) * (0.24 + 0.26 * (same_sign.index(abs(value)) + 1) / len(same_sign))
        scale = theme.DIVERGING
    else:
        share, scale = 0.08 + 0.84 * kept.index(value) / (len(kept) - 1), theme.ORDERED
    rgb = unlabel_rgb(sample_colorscale([list(stop) for stop in scale], [float(np.clip(share, 0, 1))])[0])
    return "#" + "".join(f"{round(c):02x}" for c in rgb)


def _draw(lines: list[Line], x: str, y_title: str, neutral: float, title: str, subtitle: str) -> go.Figure:
    figure, ratio = go.Figure(), neutral == 1
    spread = pd.concat([line.points[["effect", "low", "high"]] for line in lines]).to_numpy(dtype=float)
    spread = np.append(spread[np.isfinite(spread) & ((spread > 0) | (not ratio))], neutral)
    ends = np.log10([spread.min(), spread.max()]) if ratio else np.array([spread.min(), spread.max()])
    pad = 0.06 * (ends[1] - ends[0]) or 0.5
    y_range = (float(ends[0] - pad), float(ends[1] + pad))
    control = _draw_control(figure, lines)
    for line, symbol in zip(lines, (*theme.SYMBOLS, *theme.SYMBOLS), strict=False):
        hollow = line.points["state"] != "works" if _stated(lines) else line.points["degenerate"].eq(True)
        _draw_line(figure, line, symbol, x, times if ratio else signed, hollow)
    draw_names(figure, lines, y_range, _PLOT[1], ratio=ratio)
    marks = {f"<span style='color:{theme.faint(theme.CONTROL, 0.45)}'>■</span>": control, **_points(lines)}
    right = 24 + int(7.4 * max(len(line.name) for line in lines))
    up = textwrap.wrap(y_title, _PLOT[1] // 7)
    left = _LEFT + 16 * (len(up) - 1)
    meant = {glyph: meaning for glyph, meaning in marks.items() if meaning}
    figure.add_hline(y=neutral, line={"color": theme.RULE, "width": 1}, layer="below")
    places = sorted({float(v) for line in lines for v in line.points["x"]})
    span = places[-1] - places[0] or 1.0
    text = {v: short_signed(v) if x == "coeff" else f"{v:.0f}" for v in places}
    shown = apart(places, (12 + 7 * max(map(len, text.values()))) * span / _PLOT[0])
    x_title = "steering coefficient" if x == "coeff" else "layer"
    return lay_out(
        figure,
        Layout(_PLOT, left, right),
        (title, subtitle),
        meant,
        xaxis={
            "title": x_title,
            "showgrid": False,
            "range": (places[0] - 0.03 * span, places[-1] + 0.03 * span),
            "tickvals": shown,
            "ticktext": [text[v] for v in shown],
            "tickangle": 0,
        },
        yaxis={
            "title": "<br>".join(up),
            "showline": False,
            "ticks": "",
            "range": y_range,
            **round_ticks(y_range, ratio=ratio),
        },
    )


def _points(lines: list[Line]) -> dict[str, str]:
    """What a filled and a hollow point mean, where there are both."""
    if _stated(lines):
        work = any((line.points["state"] == "works").any() for line in lines)
        return {"●": f"works: {MEANING['works']}"} if work else {"○": "no cell here works"}
    return {"○": "text degenerates"} if any(line.points["degenerate"].any() for line in lines) else {}


def _stated(lines: list[Line]) -> bool:
    return any(line.points["state"].notna().any() for line in lines)


def _draw_control(figure: go.Figure, lines: list[Line]) -> str:
    """The grey band behind everything; what it is, or "" if no cell has a control."""
    points = pd.concat([line.points.reindex(columns=["x", "control_low", "control_high"]) for line in lines])
    widest = points.groupby("x", as_index=False).agg({"control_low": "min", "control_high": "max"})
    if widest["control_low"].isna().all():
        return ""
    draw_band(figure, widest, "control_low", "control_high", theme.faint(theme.CONTROL, 0.22))
    return "random vectors of equal norm" + (", the widest range of those shown" if len(lines) > 1 else "")


def _draw_line(figure: go.Figure, line: Line, symbol: str, x: str, show: Callable[..., str], hollow: pd.Series) -> None:
    points = line.points
    draw_band(figure, points, "low", "high", theme.faint(line.colour, 0.15))
    marker = {
        "size": 7 if len(points) <= 24 else 5,
        "symbol": symbol,
        "color": [theme.PAPER if h else line.colour for h in hollow],
        "line": {"width": 1.4, "color": [line.colour if h else theme.PAPER for h in hollow]},
    }
    figure.add_scatter(
        x=points["x"],
        y=points["effect"],
        mode="lines+markers",
        name=line.name,
        line={"color": line.colour, "width": 2.2},
        marker=marker,
        error_y=lone_intervals(points, line.colour),
        customdata=[
            f"<b>{line.name}</b><br>{'coefficient ' + short_signed(p.x) if x == 'coeff' else f'layer {p.x:.0f}'}"
            f"<br>effect {show(p.effect)} [{show(p.low)}, {show(p.high)}]"
            for p in points.itertuples()
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )
