"""What a grid costs, in every currency at once: a small heatmap of layer × coefficient for each cost.

Each is coloured on a scale of its own, from what the unsteered model pays (pale) to the dearest cell (dark), so that
colours compare cells, not costs. The numbers are effects: ratios, or differences to unsteered.
"""

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.cells import COUNTED, counts, placed_cells, sweep_cells
from steering_lab.analysis.plots.parts.grid import QUIET, outline
from steering_lab.analysis.plots.parts.labels import escaped, short_signed, signed
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.analysis.plots.parts.sites import thinned
from steering_lab.numerics.written import times

UNITS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("neutral_kl", "neutral_kl_median", "neutral_kl_p95", "top1_agreement"), ("neutral texts",)),
    "facts": ("questions",),
}
"""What a cost is measured on, where that is not the prompts' continuations."""
GAINS = ("top1_agreement", "facts", "distinct_2")  # metrics of which less is a loss
_LEFT, _RIGHT, _GAP, _WIDEST = 64, 24, 26, 940  # pixels: margins, between panels, the widest panel
_BESIDE = 560  # pixels of all panels of a row: a page stretches it, and a phone has to shrink it
_CELL, _ROW, _HEAD, _FOOT = 46, 27, 58, 34  # a cell's width, a layer's height, above a panel, between rows of panels


class _Panel(NamedTuple):
    """One cost: its cells with `z` (what is paid, 0 as unsteered) and `text`; `top`, the z of the darkest colour."""

    cells: pd.DataFrame
    metric: str
    label: str
    darkest: str
    top: float


def cost_panel(
    summary: pd.DataFrame,
    *,
    costs: Mapping[str, str] | Sequence[str],
    method: str,
    place: str | None = None,
    gains: Collection[str] = GAINS,
    budgets: Mapping[str, float] | None = None,
    chosen: tuple[int, float | int] | None = None,
    title: str = "",
    subtitle: str = "",
    interval: str = "95 % interval",
) -> go.Figure:
    """A heatmap per cost over the grid of `method` at `place`; layer upward, coefficient to the right.

    A cell is the darker the more is paid: a larger ratio or difference, or, of `gains`, more that is lost. Ratios are
    coloured by their logarithm, no darker than ×2 needs, up to ×32; differences no darker than 0.1 needs.

    Args:
        summary: One row per cell and metric, as `summarise` makes it.
        costs: The metrics in order; a mapping also names them, as plotly's HTML.
        method: The method whose cells are drawn.
        place: The place whose cells are drawn; may be left out where there is one only.
        gains: The metrics that are better the higher.
        budgets: The most that the upper end of a cell's interval may be, by metric; what exceeds it is marked.
        chosen: The layer and coefficient that are marked.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.
        interval: What the caption calls the intervals.

    Raises:
        ValueError: no cost, a budget of none or of a gain, what `sweep_cells` refuses, or `chosen` is not a cell.
    """
    shown = dict(costs) if isinstance(costs, Mapping) else {name: escaped(name.replace("_", " ")) for name in costs}
    if not shown:
        raise ValueError("no cost to draw")
    for name in budgets or {}:
        if name not in shown or name in gains:
            raise ValueError(f"a budget of {name!r}: it is for a cost that is drawn, and of which more is dearer")
    panels = [
        _panel(summary, name, label, (method, place), -1.0 if name in gains else 1.0, (budgets or {}).get(name))
        for name, label in shown.items()
    ]
    cells = panels[0].cells
    if chosen is not None and not ((cells["layer"] == chosen[0]) & (cells["coeff"] == chosen[1])).any():
        raise ValueError(f"chosen cell layer {chosen[0]}, coeff {chosen[1]:g} is not in the table")
    figure = go.Figure()
    for i, panel in enumerate(panels):
        _draw(figure, panel, "" if i == 0 else str(i + 1), chosen)
    words = sentences(subtitle, "; ".join(part for part in (_counted(panels), interval) if part))
    return _laid_out(figure, panels, (title, words), _marks(panels, chosen))


def _counted(panels: list[_Panel]) -> str:
    """How much stands behind a cell; of which costs, where they were measured on different things."""
    of: dict[str, list[str]] = {}
    for panel in panels:
        of.setdefault(counts(panel.cells, units=UNITS.get(panel.metric, COUNTED)), []).append(panel.label)
    if len(of) == 1:
        return next(iter(of))
    return "; ".join(f"{words}: {', '.join(one.split(',')[0] for one in labels)}" for words, labels in of.items())


def _panel(
    summary: pd.DataFrame, metric: str, label: str, of: tuple[str, str | None], sign: float, budget: float | None
) -> _Panel:
    sweep = sweep_cells(summary, metric=metric, method=of[0], place=of[1])
    steered = sweep.cells[~sweep.cells["baseline"]].reset_index(drop=True)
    cells, ratio = placed_cells(steered, "coeff"), sweep.neutral == 1
    with np.errstate(divide="ignore"):
        paid = np.log2(cells["effect"]) if ratio else sign * cells["effect"]
    finite = paid[np.isfinite(paid)]
    dearest = float(finite.max()) if len(finite) else 0.0
    top = float(np.clip(dearest, 1.0, 5.0)) if ratio else max(dearest, 0.1)
    digits = 3 if 0 < dearest < 0.1 else 2 if top < 10 else 0
    text = [times(v) if ratio else signed(v, digits) for v in cells["effect"]]
    darkest = times(2**top) if ratio else short_signed(sign * float(f"{top:.2g}"))
    if dearest > top:
        darkest += " and more"
    label += ", × unsteered" if ratio else ""
    over = cells["high"] > budget if budget is not None else False
    z = paid.clip(0, 60)  # JSON has no infinity
    return _Panel(cells.assign(z=z, text=text, over=over), metric, label, darkest, top)


def _draw(figure: go.Figure, panel: _Panel, axis: str, chosen: tuple[int, float | int] | None) -> None:
    """Colours, gaps, numbers, notches over budget, strokes without a value, a frame if chosen."""
    cells, on = panel.cells, {"xaxis": f"x{axis}", "yaxis": f"y{axis}"}
    grid = cells.pivot(index="y", columns="x", values="z").to_numpy(dtype=float)
    hover = [
        f"<b>layer {c.layer}, coefficient {short_signed(c.coeff)}</b><br>{panel.label}: {c.text}"
        for c in cells.itertuples()
    ]
    figure.add_heatmap(
        z=grid, zmin=0, zmax=panel.top, colorscale=theme.COST, showscale=False, name="cells",
        customdata=cells.assign(hover=hover).pivot(index="y", columns="x", values="hover").to_numpy(dtype=object),
        hovertemplate="%{customdata}<extra></extra>", **on,
    )  # fmt: skip
    x, y = outline(cells)
    figure.add_scatter(x=x, y=y, mode="lines", line={"color": theme.PAPER, "width": 2}, name="gaps", **QUIET, **on)
    known = cells[cells["z"].notna()]
    ink = theme.ink_on(known["z"].to_numpy(dtype=float) / panel.top, theme.COST)
    figure.add_scatter(
        x=known["x"], y=known["y"], mode="text", text=known["text"], textfont={"size": 11, "color": ink}, name="labels",
        **QUIET, **on,
    )  # fmt: skip
    over, empty = cells[cells["over"]], cells[cells["z"].isna()]
    notch = {"symbol": "triangle-ne", "size": 8, "color": theme.INK, "line": {"width": 1, "color": theme.PAPER}}
    if len(over):
        figure.add_scatter(
            x=over["right"] - 0.13, y=over["y"] + 0.3, mode="markers", marker=notch, name="over budget", **QUIET, **on
        )
    if len(empty):
        strokes_x = [v for c in empty.itertuples() for v in (c.left + 0.1, c.right - 0.1, None)]
        strokes_y = [v for c in empty.itertuples() for v in (c.y - 0.35, c.y + 0.35, None)]
        line = {"color": theme.RULE, "width": 1.2}
        figure.add_scatter(x=strokes_x, y=strokes_y, mode="lines", line=line, name="no value", **QUIET, **on)
    if chosen is not None:
        x, y = outline(cells[(cells["layer"] == chosen[0]) & (cells["coeff"] == chosen[1])])
        for colour, width in ((theme.PAPER, 5.0), (theme.INK, 2.4)):
            line = {"color": colour, "width": width}
            figure.add_scatter(
                x=x[:-1], y=y[:-1], mode="lines", line=line, cliponaxis=False, name="chosen", **QUIET, **on
            )


def _marks(panels: list[_Panel], chosen: tuple[int, float | int] | None) -> dict[str, str]:
    """Glyph -> meaning, for the marks that some cell bears."""
    cells = pd.concat([panel.cells for panel in panels])
    marks = {
        "◥": "upper end over the budget" if cells["over"].any() else "",
        "╱": "no value" if cells["z"].isna().any() else "",
        "<b>☐</b>": f"chosen: layer {chosen[0]}, coefficient {short_signed(chosen[1])}" if chosen else "",
    }
    return {glyph: meaning for glyph, meaning in marks.items() if meaning}


def _laid_out(figure: go.Figure, panels: list[_Panel], words: tuple[str, str], marks: dict[str, str]) -> go.Figure:
    """As many panels side by side as the width allows; the name above each, layers at the left of the first."""
    cells = panels[0].cells
    columns, rows = int(cells["x"].max()) + 1, int(cells["y"].max()) + 1
    width = int(np.clip(_CELL * columns, 150, _WIDEST))
    row = _ROW if rows <= 16 else max(12.0, 430 / rows)
    height = int(row * rows)
    beside = min(len(panels), max(1, (_BESIDE + _GAP) // (width + _GAP)))
    below = -(-len(panels) // beside)
    plot = (beside * width + (beside - 1) * _GAP, below * height + (below - 1) * (_HEAD + _FOOT))
    coeffs = cells.drop_duplicates("x").sort_values("x")
    layers = cells.drop_duplicates("y").sort_values("y")
    layers = layers.iloc[thinned(len(layers), row, 15)]
    axes: dict[str, object] = {}
    for i, panel in enumerate(panels):
        down, right = divmod(i, beside)
        left, top = right * (width + _GAP), plot[1] - down * (height + _HEAD + _FOOT)
        name = "" if i == 0 else str(i + 1)
        first, last = right == 0, i + beside >= len(panels)
        axes[f"xaxis{name}"] = {
            **theme.BARE, "domain": [left / plot[0], (left + width) / plot[0]], "anchor": f"y{name}",
            "range": [-0.5, columns - 0.5], "tickvals": coeffs["x"].tolist(), "tickangle": 0,
            "ticktext": [short_signed(c) for c in coeffs["coeff"]], "title": "coefficient" if last else "",
        }  # fmt: skip
        axes[f"yaxis{name}"] = {
            **theme.BARE, "domain": [max(0.0, (top - height) / plot[1]), top / plot[1]], "anchor": f"x{name}",
            "range": [-0.5, rows - 0.5], "tickvals": layers["y"].tolist(), "title": "layer" if first else "",
            "ticktext": [str(layer) for layer in layers["layer"]] if first else [""] * len(layers),
        }  # fmt: skip
        head = "<br>".join(f"<b>{line}</b>" for line in textwrap.wrap(panel.label, width // 7))
        dark = f"<span style='font-size:11px;color:{theme.MUTED}'>darkest: {panel.darkest}</span>"
        figure.add_annotation(
            text=f"{head}<br>{dark}", name="cost", xref=f"x{name} domain", x=0, xanchor="left", yref=f"y{name} domain",
            y=1, yanchor="bottom", yshift=4, align="left", showarrow=False, font={"size": 12},
        )  # fmt: skip
    whole = {"least": 1}  # on a page: numbers fill their cells, so that narrower ones would run into each other
    return lay_out(figure, Layout(plot, _LEFT, _RIGHT, above=_HEAD + 26, least=420), words, marks, meta=whole, **axes)
