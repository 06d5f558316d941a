"""A measure of the stream along the layers: a line per run or per token, each in its interval's band.

Lines stand on the sites of the residual stream, carry their name at their end, and share one scale.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.hover import interval_text
from steering_lab.analysis.plots.parts.labels import amount, escaped, round_ticks
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.analysis.plots.parts.lines import MOST_LINES, Line, draw_band, draw_names, lone_intervals
from steering_lab.analysis.plots.parts.sites import SiteAxis, site_axis, site_place, thinned
from steering_lab.models.hook_points import HookSite

REQUIRED = ("layer", "stream", "mean", "low", "high")
MOST_MARKERS = 32  # points of a line; beyond that they touch
_LEFT, _PLOT = 72, (520, 320)  # left margin; width and height of the axes, in pixels


class Words(NamedTuple):
    """What is written around the axes, the author's own (plotly's HTML).

    Args:
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.
        y_title: The title of the vertical axis.
        interval: What the caption calls the intervals.
    """

    title: str
    subtitle: str
    y_title: str
    interval: str


def projection_curves(
    runs: Mapping[str, pd.DataFrame],
    *,
    reference: str | None = "clean",
    control: pd.DataFrame | None = None,
    edited: HookSite | None = None,
    y_title: str = "projection, residual-stream units",
    title: str = "",
    subtitle: str = "",
    interval: str = "Band: 95 % interval over prompts",
) -> go.Figure:
    """Means of several runs by layer, `runs` being name -> table of `mean_over_prompts`.

    The `reference`, where it is among them, is dashed and black. `control` (same columns) is drawn as its interval
    alone, the grey band of norm-matched random vectors. `edited` marks where the stream was edited.

    Args:
        runs: A table of `mean_over_prompts` for each run, by its name.
        reference: The run that is drawn dashed and black.
        control: The same columns of norm-matched random vectors, drawn as a grey band.
        edited: The site whose edit a line marks.
        y_title: The title of the vertical axis.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.
        interval: What the caption calls the intervals.

    Raises:
        ValueError: no run or more than eight, or a column is missing.
    """
    if not 0 < len(runs) <= MOST_LINES:
        raise ValueError(f"{len(runs)} runs: draw between one and {MOST_LINES}")
    tables = {name: _checked(table) for name, table in runs.items()}
    axis = site_axis(pd.concat(tables.values(), ignore_index=True))
    colours = iter((*theme.CYCLE, *theme.CYCLE))
    lines = [
        _line(table, escaped(name), theme.INK if name == reference else next(colours)) for name, table in tables.items()
    ]
    words = Words(title, subtitle, y_title, interval)
    band = None if control is None else _line(_checked(control), "control", theme.CONTROL)
    dashed = {escaped(reference)} if reference is not None else set()
    place = None if edited is None else site_place(next(iter(tables.values())), edited)
    return _draw(lines, axis, words, band=band, dashed=dashed, place=place, ratio=False)


def norm_curves(
    summary: pd.DataFrame,
    *,
    names: Mapping[int, str] | None = None,
    y_title: str = "norm of the vector / norm of the stream",
    title: str = "",
    subtitle: str = "",
    interval: str = "Band: 95 % interval over prompts",
) -> go.Figure:
    """The vector's length relative to the stream's, by layer, a line per `position`, if the table has that column.

    `summary` is `mean_over_prompts(norm_profile(...), "relative_norm", by=("layer", "stream", "position"))`. Where the
    lines differ more than tenfold the axis is logarithmic. A position at which the vector is exactly zero everywhere
    (ActAdd's first token) is not drawn but named in the key. `names` (position -> author's words) label the lines.

    Args:
        summary: `mean_over_prompts` of the column "relative_norm" of a `norm_profile`.
        names: What each position is called.
        y_title: The title of the vertical axis.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.
        interval: What the caption calls the intervals.

    Raises:
        ValueError: a column is missing, more than eight positions, or a vector that is zero everywhere.
    """
    table = _checked(summary).assign(position=summary.get("position", 0))
    by_position = dict(tuple(table.groupby("position")))
    still = [position for position, rows in by_position.items() if (rows["mean"] == 0).all()]
    drawn = {position: rows for position, rows in by_position.items() if position not in still}
    if not 0 < len(drawn) <= MOST_LINES:
        raise ValueError(f"{len(drawn)} positions with a vector: draw between one and {MOST_LINES}, or average them")
    named = {p: (names or {}).get(p, f"token {p}" if "position" in summary else "") for p in by_position}
    lines = [
        _line(rows, named[position], theme.CYCLE[i % len(theme.CYCLE)])
        for i, (position, rows) in enumerate(drawn.items())
    ]
    known = pd.concat(drawn.values())["mean"]
    known = known[known > 0]
    ratio = bool(known.max() > 10 * known.min())
    words = Words(title, subtitle, y_title, interval)
    marks = {"∅": f"{', '.join(named[p] for p in still)}: no vector, 0 at every layer"} if still else {}
    return _draw(lines, site_axis(table), words, ratio=ratio, marks=marks)


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    if missing := [column for column in REQUIRED if column not in table]:
        raise ValueError(f"the table has no column {missing[0]!r}: draw a table of mean_over_prompts")
    return table


def _line(table: pd.DataFrame, name: str, colour: str) -> Line:
    points = table.assign(x=site_axis(table).at, effect=table["mean"]).sort_values("x")
    return Line(points, name, colour)


def _draw(
    lines: list[Line],
    axis: SiteAxis,
    words: Words,
    *,
    ratio: bool,
    band: Line | None = None,
    dashed: set[str] = frozenset(),  # type: ignore[assignment]
    place: float | None = None,
    marks: Mapping[str, str] | None = None,
) -> go.Figure:
    """From back to front: zero, the control's band, the edit's line, bands, lines, names."""
    figure, marks = go.Figure(), dict(marks or {})
    y_range = _range([*lines, *([band] if band else [])], ratio)
    if not ratio:
        figure.add_hline(y=0, line={"color": theme.RULE, "width": 1}, layer="below")
    if band is not None:
        draw_band(figure, band.points, "low", "high", theme.faint(theme.CONTROL, 0.22))
        marks[f"<span style='color:{theme.faint(theme.CONTROL, 0.45)}'>■</span>"] = "random vectors of equal norm"
    if place is not None:
        _draw_edit(figure, place, axis, y_range)
    for line, symbol in zip(lines, (*theme.SYMBOLS, *theme.SYMBOLS), strict=False):
        _draw_line(figure, line, symbol, axis, dashed=line.name in dashed)
    draw_names(figure, lines, y_range, _PLOT[1], ratio=ratio)
    right = 24 + int(7.4 * max(len(line.name) for line in lines))
    return _dress(figure, lines, axis, words, marks, y_range, right, ratio=ratio)


def _range(lines: list[Line], ratio: bool) -> tuple[float, float]:
    ends = pd.concat([line.points[["effect", "low", "high"]] for line in lines]).to_numpy(dtype=float)
    ends = ends[np.isfinite(ends) & ((ends > 0) | (not ratio))]
    ends = np.log10(ends) if ratio else np.append(ends, 0.0)
    pad = 0.06 * (ends.max() - ends.min()) or 0.5
    return float(ends.min() - (pad if ratio or ends.min() < 0 else 0)), float(ends.max() + pad)


def _log_ticks(ends: tuple[float, float]) -> dict[str, object]:
    """1, 2 and 5 of every decade, or its 1 alone where that would be more than nine numbers."""
    decades = 10.0 ** np.arange(np.floor(ends[0]), np.ceil(ends[1]) + 1)
    inside = [step * d for d in decades for step in (1, 2, 5) if 10 ** ends[0] <= step * d <= 10 ** ends[1]]
    ticks = inside if len(inside) <= 9 else [tick for tick in inside if tick in decades]
    return {"type": "log", "tickvals": ticks, "ticktext": [amount(tick) for tick in ticks]}


def _draw_edit(figure: go.Figure, place: float, axis: SiteAxis, y_range: tuple[float, float]) -> None:
    x = float(np.interp(place, axis.places, range(len(axis.places))))
    figure.add_vline(x=x, line={"color": theme.INK, "width": 1, "dash": "dot"}, layer="below")
    on_left = x > 0.7 * (len(axis.places) - 1)
    figure.add_annotation(
        x=x,
        y=1,
        yref="paper",
        yanchor="bottom",
        xanchor="right" if on_left else "left",
        text="stream edited",
        showarrow=False,
        font={"size": 11, "color": theme.MUTED},
        name="edited",
    )


def _draw_line(figure: go.Figure, line: Line, symbol: str, axis: SiteAxis, *, dashed: bool) -> None:
    points = line.points.assign(x=line.points["x"].map({place: i for i, place in enumerate(axis.places)}))
    draw_band(figure, points, "low", "high", theme.faint(line.colour, 0.15))
    where = dict(enumerate(axis.names))
    figure.add_scatter(
        x=points["x"],
        y=points["effect"],
        mode="lines+markers" if len(points) <= MOST_MARKERS else "lines",
        name=line.name,
        line={"color": line.colour, "width": 2.2, **({"dash": "6px,4px"} if dashed else {})},
        marker={
            "size": 7,
            "symbol": symbol,
            "color": line.colour,
            "line": {"width": 1.4, "color": theme.PAPER},
        },
        error_y=lone_intervals(points, line.colour),
        customdata=[
            f"<b>{line.name}</b><br>{'embedding' if where[p.x] == 'embed' else f'layer {where[p.x]}'}"
            f"<br>{amount(p.effect)}{interval_text(p.low, p.high, getattr(p, 'why', None), amount)}"
            for p in points.itertuples()
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _dress(
    figure: go.Figure,
    lines: list[Line],
    axis: SiteAxis,
    words: Words,
    marks: Mapping[str, str],
    y_range: tuple[float, float],
    right: int,
    *,
    ratio: bool,
) -> go.Figure:
    """Axes, title, key, size."""
    last = max(len(axis.places) - 1, 1)
    known = pd.concat([line.points.reindex(columns=["n_prompts", "low"]) for line in lines])
    counted = f"{int(known['n_prompts'].max())} prompts" if known["n_prompts"].notna().any() else ""
    spoken = words.interval if known["low"].notna().any() else ""
    shown = thinned(len(axis.places), _PLOT[0] / (last + 1), 44 if "embed" in axis.names and last < 14 else 26)
    return lay_out(
        figure,
        Layout(_PLOT, _LEFT, right, above=24),
        (words.title, sentences(words.subtitle, counted, spoken)),
        marks,
        xaxis={
            "title": axis.title,
            "showgrid": False,
            "range": (-0.03 * last, 1.03 * last) if len(axis.places) > 1 else (-0.5, 0.5),
            "tickvals": shown,
            "ticktext": [axis.names[i] for i in shown],
        },
        yaxis={
            "title": words.y_title,
            "showline": False,
            "ticks": "",
            "range": y_range,
            **(_log_ticks(y_range) if ratio else round_ticks(y_range, ratio=False, show=amount)),
        },
    )
