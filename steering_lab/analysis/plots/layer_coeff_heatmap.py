"""The layer × coefficient heatmap: where steering works, by how much, and what chance and cost say about it.

Colour is the value. What a cell says (column `state`, as `evaluation.inferring.states` makes it) has marks of its own,
so that the figure survives greyscale: a cell that works is in full colour with a bold number, one that moves but is not
told from random vectors is pale, one that shows nothing is paler with its number in grey, one that works at more than
the budget is hatched. A notch where text degenerates, a stroke where there is no value, a frame around the chosen cell,
a dotted line around the cells whose stream lies farther out than neutral text's (column `distance_percentile`).
In a table without states nothing is bold; a ring is where a random vector does as much, and pale is what is over
budget.
"""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.cells import (
    COUNTED,
    CoeffAxis,
    Sweep,
    counts,
    how_many_work,
    norm_position,
    placed_cells,
    sweep_cells,
)
from steering_lab.analysis.plots.parts.grid import (
    QUIET,
    Frame,
    colour_bar,
    draw_border,
    draw_gaps,
    draw_hatching,
    draw_strokes,
    outline,
    readable,
)
from steering_lab.analysis.plots.parts.hover import hover_text
from steering_lab.analysis.plots.parts.labels import escaped, short_signed, signed
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.analysis.plots.parts.possible import Bar, Bounds, possible
from steering_lab.analysis.plots.parts.sites import thinned
from steering_lab.numerics.written import times
from steering_lab.tables import MEANING

Value = Literal["value", "difference", "ratio"]
_LEFT = 64  # left margin in pixels
FAR = 99.0  # the percentile of distance among neutral tokens beyond which a stream is called far out
VEILS = {
    "moves, not told from random vectors": 0.6,
    "nothing shown": 0.85,
    "over budget": 0.62,
}  # how much white is laid over


class ColourAxis(NamedTuple):
    """What a cell's number `z` becomes: label texts, a colour scale from `low` to `high`, and the bar's ticks.

    Args:
        z: What the colour stands for, one number a cell.
        text: The label of each cell.
        scale: The colour scale.
        low: Where the colours begin.
        high: Where the colours end.
        ticks: The ticks of the colour bar.
        tick_text: What is written at the ticks.
    """

    z: pd.Series
    text: list[str]
    scale: theme.Scale
    low: float
    high: float
    ticks: list[float]
    tick_text: list[str]

    def without_signs(self) -> "ColourAxis":
        """The same without plus signs, for what is never below 0."""
        text, ticks = ([one.replace("+", "") for one in texts] for texts in (self.text, self.tick_text))
        return self._replace(text=text, tick_text=ticks)


def layer_coeff_heatmap(
    summary: pd.DataFrame,
    *,
    metric: str,
    method: str,
    place: str | None = None,
    value: Value = "value",
    center: float | int | Literal["unsteered"] = "unsteered",
    coeff_axis: CoeffAxis = "coeff",
    chosen: tuple[int, float | int] | None = None,
    examples: pd.DataFrame | None = None,
    metric_label: str | None = None,
    title: str = "",
    subtitle: str = "",
    interval: str = "95 % interval over prompts",
    units: tuple[str, str] = COUNTED,
    limit: float | int | None = None,
    bounds: Bounds = (None, None),
) -> go.Figure:
    """Layer upward, coefficient to the right, one cell per (layer, coeff) of `method` at `place` under `metric`.

    A cell shows its mean ("value", centred on the unsteered mean), its effect ("difference", centred on 0) or its
    effect as a "ratio" to unsteered on a log scale from ×1. The colours end at `limit` (largest deviation from the
    centre, or largest ratio); by default differences end at the largest one, though never
    below what random vectors do in the median cell, and ratios at ×32 or below, and what lies
    beyond keeps its number and the end's colour. `place` may be left out where the method stands at one place only.
    `examples` is a generations table: the first continuation of each cell appears on hover. `metric_label`, `title`,
    `subtitle` and `interval` are the author's words (plotly's HTML), not model text.

    Args:
        summary: One row per cell and metric, as `summarise` makes it; its column `state`, if any, says what works.
        metric: The metric that is shown.
        method: The method whose cells are drawn.
        place: The place whose cells are drawn; may be left out where there is one only.
        value: Whether a cell shows its mean ("value"), its effect ("difference") or its effect as a "ratio".
        center: Where the colours of a "value" are neutral: a number, or the unsteered mean.
        coeff_axis: Whether columns are coefficients or relative norms.
        chosen: The layer and coefficient that are marked.
        examples: A generations table; the first continuation of each cell appears on hover.
        metric_label: The metric's name on the figure; by default that of the table.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.
        interval: What the caption calls the intervals.
        units: What the caption calls prompts and continuations.
        limit: Where the colours end: the largest deviation from the centre, or the largest ratio.
        bounds: The least and the most that a "value" can be, None where it is open: the colour bar goes no further,
            and where it cannot be below 0 there are no plus signs.

    Raises:
        ValueError: the table lacks what is asked for, or `chosen` is not a cell of it.
    """
    sweep = sweep_cells(summary, metric=metric, method=method, place=place)
    cells = placed_cells(sweep.cells, coeff_axis)
    label = escaped(metric.replace("_", " ")) if metric_label is None else metric_label
    axis = _ratio_axis(cells, limit) if value == "ratio" else _difference_axis(cells, sweep, value, center, limit)
    if value == "value" and bounds[0] is not None and bounds[0] >= 0:
        axis = axis.without_signs()
    frame = _frame(cells)
    figure = go.Figure(_rectangles(cells, axis, hover_text(cells, summary, sweep, label, examples)))
    _draw_veil(figure, cells)
    draw_gaps(figure, cells, frame)
    _draw_labels(figure, cells, axis, frame)
    _draw_marks(figure, cells, axis, frame)
    draw_border(figure, cells, _far(cells), name="far out")
    if chosen is not None:
        _draw_chosen(figure, cells, chosen)
    shown = Bar(axis.scale, axis.low, axis.high, axis.ticks, axis.tick_text)
    if value == "value":
        shown = possible(shown, bounds)
    bar, right = colour_bar(figure, label, shown.ticks, shown.tick_text, frame.plot_height)
    frame = frame._replace(width=frame.width + right)
    figure.update_coloraxes(cmin=shown.low, cmax=shown.high, colorscale=shown.scale, colorbar=bar)
    words = (title, _subtitle(cells, subtitle, interval, units))
    marks = _marks(cells, axis, frame, chosen)
    return _dress(figure, cells, sweep, frame, coeff_axis, right, words, marks)


def _difference_axis(
    cells: pd.DataFrame,
    sweep: Sweep,
    value: Value,
    center: float | int | Literal["unsteered"],
    limit: float | int | None,
) -> ColourAxis:
    """Diverging, equally far to both sides of the unsteered value, which the bar prints in bold."""
    z = cells["value"] if value == "value" else cells["effect"]
    middle = (sweep.unsteered if value == "value" else sweep.neutral) if center == "unsteered" else float(center)
    if np.isnan(middle):
        raise ValueError("the table has no unsteered value for this metric: pass center=<number>")
    far = float(np.nan_to_num((z - middle).abs().max()))  # 0 where no cell has a value
    chance = float(np.nan_to_num(cells[["control_low", "control_high"]].abs().max(axis=1).median()))
    reach = limit or max(far, chance) or 1.0  # where all is chance, all is pale
    power = int(np.floor(np.log10(reach)))
    digits = 1 - power if power < -1 else max(0, 2 - max(power, 0))
    ticks = [middle + reach * step for step in (-1, -0.5, 0, 0.5, 1)]
    text = [signed(tick, digits) for tick in ticks]
    text[2] = f"<b>{text[2]}</b>"
    if far > reach:
        text[0], text[-1] = f"≤ {text[0]}", f"≥ {text[-1]}"
    return ColourAxis(z, [signed(v, digits) for v in z], theme.DIVERGING, ticks[0], ticks[-1], ticks, text)


def _ratio_axis(cells: pd.DataFrame, limit: float | int | None) -> ColourAxis:
    """Sequential in log2, from ×1; a ratio below 1 keeps its number and the lightest colour."""
    ratio = cells["effect"]
    if (ratio < 0).any():
        raise ValueError("effects below 0 are no ratios: draw them with value='difference'")
    largest = float(ratio.replace(np.inf, np.nan).max())
    top = limit or min(32.0, max(2.0, 2.0 ** np.ceil(np.log2(largest)) if largest > 1 else 2.0))
    with np.errstate(divide="ignore"):
        z = pd.Series(np.log2(ratio), index=cells.index).clip(-60, 60)  # JSON has no infinity
    ticks = [*np.arange(0, np.log2(top) - 0.4), float(np.log2(top))]
    text = [f"×{2**tick:.3g}" for tick in ticks]
    text[0] = f"<b>{'≤ ' if (ratio < 0.995).any() else ''}×1</b>"
    if (ratio > top * 1.0001).any():
        text[-1] = f"≥ {text[-1]}"
    return ColourAxis(z, [times(r) for r in ratio], theme.COST, 0.0, ticks[-1], ticks, text)


def _frame(cells: pd.DataFrame) -> Frame:
    rows, left, right = int(cells["y"].max()) + 1, float(cells["left"].min()), float(cells["right"].max())
    narrowest = float((cells["right"] - cells["left"]).min())
    plot_width = float(np.clip(66 * (right - left) / max(narrowest, 0.4), 400, 840))
    row = 29.0 if 4 <= rows <= 16 else max(12.0, (120 if rows < 4 else 480) / rows)
    return Frame(round(plot_width) + _LEFT, round(row * rows), (left, right), plot_width / (right - left), row)


def _rectangles(cells: pd.DataFrame, axis: ColourAxis, hover: pd.Series) -> list[go.Heatmap]:
    """One heatmap for a regular grid, else one per layer with edges of its own, all on one colour axis."""
    data = cells.assign(z=axis.z, hover=hover)
    regular = data.groupby("y")["x"].agg(tuple).nunique() == 1
    groups = [data] if regular else [part for _, part in data.groupby("y")]
    traces = []
    for part in groups:
        part = part.sort_values(["y", "x"])
        columns, rows = part["x"].nunique(), part["y"].nunique()
        first = part[part["y"] == part["y"].min()]
        custom = np.empty((rows, columns, 3), dtype=object)
        for k, name in enumerate(("layer", "coeff", "hover")):
            custom[..., k] = part[name].to_numpy(dtype=object).reshape(rows, columns)
        traces.append(
            go.Heatmap(
                z=part["z"].to_numpy(dtype=float).reshape(rows, columns),
                x=[*first["left"], first["right"].iloc[-1]],
                y=[*(np.unique(part["y"]) - 0.5), part["y"].max() + 0.5],
                customdata=custom,
                hovertemplate="%{customdata[2]}<extra></extra>",
                coloraxis="coloraxis",
                name="cells",
            )
        )
    return traces


def _draw_veil(figure: go.Figure, cells: pd.DataFrame) -> None:
    """Paler what does not work: by the table's `state`, or, where it has none, by its column `over_budget`."""
    for name, veiled in _veiled(cells).items():
        x, y = outline(cells[veiled])
        veil = {"mode": "none", "fill": "toself", "fillcolor": theme.faint(theme.PAPER, VEILS[name])}
        figure.add_scatter(x=x, y=y, name=name, **veil, **QUIET)
    if (costly := cells["state"] == "works, over budget").any():
        draw_hatching(figure, cells[costly])


def _veiled(cells: pd.DataFrame) -> dict[str, pd.Series]:
    """Name of a veil -> the cells under it, where there are any."""
    silent = cells["state"].isna().all()
    under = {name: cells["over_budget"] & silent if name == "over budget" else cells["state"] == name for name in VEILS}
    return {name: veiled for name, veiled in under.items() if veiled.any()}


def _ink(cells: pd.DataFrame, axis: ColourAxis) -> list[str]:
    """The colour that can be read on each of `cells`."""
    shares = (axis.z[cells.index].to_numpy(dtype=float) - axis.low) / (axis.high - axis.low)
    pale = pd.concat([pd.Series(False, cells.index), *_veiled(cells).values()], axis=1).any(axis=1)
    return [theme.MUTED if under else ink for under, ink in zip(pale, theme.ink_on(shares, axis.scale), strict=True)]


def _draw_labels(figure: go.Figure, cells: pd.DataFrame, axis: ColourAxis, frame: Frame) -> None:
    """A number in every cell, bold where it works; in cells too small for numbers, a dot where it works."""
    if readable(cells, frame):
        text = [
            "" if np.isnan(z) else f"<b>{label}</b>" if works else label
            for label, works, z in zip(axis.text, cells["state"] == "works", axis.z, strict=True)
        ]
    else:
        text = ["<b>•</b>" if works else "" for works in (cells["state"] == "works") & axis.z.notna()]
    font = {"size": 11.5, "color": _ink(cells, axis)}
    figure.add_scatter(
        x=((cells["left"] + cells["right"]) / 2).tolist(),
        y=cells["y"].tolist(),
        mode="text",
        text=text,
        textfont=font,
        name="labels",
        **QUIET,
    )


def _draw_marks(figure: go.Figure, cells: pd.DataFrame, axis: ColourAxis, frame: Frame) -> None:
    """A ring at the lower left, a notch at the upper right, a stroke through what has no value."""
    inset = min(7.0, frame.px_y * 0.27)
    narrowest = float((cells["right"] - cells["left"]).min())
    dx, dy = min(7.0 / frame.px_x, 0.27 * narrowest), inset / frame.px_y
    usual, broken, empty = cells[_ringed(cells)], cells[cells["degenerate"]], cells[axis.z.isna()]
    inks = [theme.MUTED if ink == theme.INK else ink for ink in _ink(usual, axis)]
    ring = {"symbol": "circle-open", "size": min(6.0, inset), "color": inks, "line": {"width": 1.2}}
    notch = {"symbol": "triangle-ne", "size": min(9.0, 1.3 * inset), "color": theme.INK}
    notch["line"] = {"width": 1, "color": theme.PAPER}
    if len(usual):
        x, y = (usual["left"] + dx).tolist(), (usual["y"] - 0.5 + dy).tolist()
        figure.add_scatter(x=x, y=y, mode="markers", marker=ring, name="inside control", **QUIET)
    if len(broken):
        x, y = (broken["right"] - dx).tolist(), (broken["y"] + 0.5 - dy).tolist()
        figure.add_scatter(x=x, y=y, mode="markers", marker=notch, name="degenerate", **QUIET)
    if len(empty):
        draw_strokes(figure, empty)


def _ringed(cells: pd.DataFrame) -> pd.Series:
    """Where a random vector does as much, in a table whose states do not say so."""
    return cells["inside_control"] & bool(cells["state"].isna().all())


def _far(cells: pd.DataFrame) -> pd.Series:
    """Where the median token of the steered stream is farther out than nearly all neutral ones."""
    return cells["distance_percentile"] > FAR


def _draw_chosen(figure: go.Figure, cells: pd.DataFrame, chosen: tuple[int, float | int]) -> None:
    layer, coeff = chosen
    cell = cells[(cells["layer"] == layer) & (cells["coeff"] == coeff) & cells["run"]]
    if cell.empty:
        raise ValueError(f"chosen cell layer {layer}, coeff {coeff:g} is not in the table")
    x, y = outline(cell)
    for colour, width in ((theme.PAPER, 5.5), (theme.INK, 2.8)):
        line = {"color": colour, "width": width}
        figure.add_scatter(x=x[:-1], y=y[:-1], mode="lines", line=line, cliponaxis=False, name="chosen", **QUIET)


def _marks(
    cells: pd.DataFrame, axis: ColourAxis, frame: Frame, chosen: tuple[int, float | int] | None
) -> dict[str, str]:
    """Glyph -> meaning, for the marks that some cell bears."""
    number = "×2.0" if axis.scale is not theme.DIVERGING else "+0.0" if "+" in "".join(axis.tick_text) else "0.0"
    works = f"<b>{number}</b>" if readable(cells, frame) else "<b>•</b>"
    empty, states, paler = int(axis.z.isna().sum()), set(cells["state"].dropna()), "paler: a cost exceeds its budget"
    swatch = {
        name: f"<span style='color:{theme.faint(theme.CONTROL, round(1.05 - white, 2))}'>■</span>"
        for name, white in VEILS.items()
    }
    marks = {
        works: f"works: {MEANING['works']}" if "works" in states else "",
        "▨": "works, over budget" if "works, over budget" in states else "",
        swatch["moves, not told from random vectors"]: "moves, not told from random vectors"
        if "moves, not told from random vectors" in states
        else "",
        f"<span>{number}</span>": "moves" if "moves" in states else "",
        swatch["nothing shown"]: "nothing shown" if "nothing shown" in states else "",
        "○": "within the range of random vectors of equal norm" if _ringed(cells).any() else "",
        "◥": "text degenerates" if cells["degenerate"].any() else "",
        "<b>⋯</b>": f"farther out in the stream than {FAR:g} % of neutral tokens" if _far(cells).any() else "",
        swatch["over budget"]: paler if cells["over_budget"].any() and not states else "",
        "╱": f"no value ({empty} of {len(cells)} cells)" if empty else "",
        "<b>☐</b>": f"chosen: layer {chosen[0]}, coefficient {short_signed(chosen[1])}" if chosen else "",
    }
    return {glyph: meaning for glyph, meaning in marks.items() if meaning}


def _subtitle(cells: pd.DataFrame, subtitle: str, interval: str, units: tuple[str, str]) -> str:
    spoken = interval if cells["low"].notna().any() else ""
    return sentences(
        subtitle, "; ".join(part for part in (counts(cells, units=units), spoken) if part), how_many_work(cells)
    )


def _coeff_ticks(cells: pd.DataFrame, coeff_axis: CoeffAxis, frame: Frame) -> tuple[list[float], list[str]]:
    """Every coefficient, or round relative norms; thinned where labels would touch."""
    if coeff_axis == "coeff":
        columns = cells.drop_duplicates("x").sort_values("x")
        places, values = columns["x"].tolist(), columns["coeff"].tolist()
    else:
        smallest = float(cells["relative_norm"][cells["relative_norm"] > 0].min())
        nice = [m * 10.0**e for e in range(-4, 5) for m in (1, 2, 5)]
        values = [0.0, *(sign * v for v in nice for sign in (-1, 1))]
        places = norm_position(pd.Series(values), smallest).tolist()
    order = sorted(range(len(values)), key=lambda i: (values[i] != 0, abs(places[i])))  # 0 first, then outward
    kept: list[int] = []
    for i in order:
        apart = all(abs(places[i] - places[j]) * frame.px_x >= 34 for j in kept)
        if apart and frame.x_range[0] <= places[i] <= frame.x_range[1]:
            kept.append(i)
    kept.sort(key=lambda i: places[i])
    return [places[i] for i in kept], [short_signed(values[i]) for i in kept]


def _dress(
    figure: go.Figure,
    cells: pd.DataFrame,
    sweep: Sweep,
    frame: Frame,
    coeff_axis: CoeffAxis,
    right: int,
    words: tuple[str, str],
    marks: dict[str, str],
) -> go.Figure:
    """Axes, unsteered column, title, key, size."""
    places, coeffs = _coeff_ticks(cells, coeff_axis, frame)
    layers = cells.drop_duplicates("y").sort_values("y")
    shown = layers.iloc[thinned(len(layers), frame.px_y, 15)]
    x_title = "steering coefficient" if coeff_axis == "coeff" else "norm of the added vector / median residual norm"
    baseline = cells[cells["baseline"]]
    if len(baseline):
        x, y = baseline["x"].iloc[0], cells["y"].max() + 0.5
        if coeff_axis == "coeff":
            figure.add_shape(
                type="rect", x0=x - 0.5, x1=x + 0.5, y0=-0.5, y1=y, line={"color": theme.INK, "width": 1.6}
            )
        note = {"text": "unsteered", "font": {"size": 11, "color": theme.MUTED}, "showarrow": False}
        figure.add_annotation(x=x, y=y, yanchor="bottom", yshift=1, **note)
    return lay_out(
        figure,
        Layout((frame.width - _LEFT - right, frame.plot_height), _LEFT, right, above=34),
        words,
        marks,
        meta={"browse": ["layer", "coeff"], "method": sweep.method, "place": sweep.place},
        xaxis={**theme.BARE, "title": x_title, "range": frame.x_range, "tickvals": places, "ticktext": coeffs},
        yaxis={
            **theme.BARE,
            "title": "layer",
            "range": [-0.5, cells["y"].max() + 0.5],
            "tickvals": shown["y"].tolist(),
            "ticktext": [str(layer) for layer in shown["layer"]],
        },
    )
