"""What figures made of cells share: their size in pixels, white gaps, hatching, strokes, the colour bar.

A table of cells has `left` and `right` (edges on the x axis) and `y` (its middle; every cell is one unit high).
"""

import re
import textwrap
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme

QUIET = {"hoverinfo": "skip"}
Broken = tuple[list[float | None], list[float | None]]  # a line of several pieces: x and y, None between the pieces


class Frame(NamedTuple):
    """The figure's size in pixels, and how many of them a unit of each axis has.

    Args:
        width: The figure's width in pixels.
        plot_height: The height of the plot in pixels.
        x_range: The range of the horizontal axis.
        px_x: Pixels of a unit to the right.
        px_y: Pixels of a unit upward.
    """

    width: int
    plot_height: int
    x_range: tuple[float, float]
    px_x: float
    px_y: float


def outline(cells: pd.DataFrame) -> Broken:
    """The cells' borders as one broken line."""
    x: list[float | None] = []
    y: list[float | None] = []
    for cell in cells.itertuples():
        x += [cell.left, cell.right, cell.right, cell.left, cell.left, None]
        y += [cell.y - 0.5, cell.y - 0.5, cell.y + 0.5, cell.y + 0.5, cell.y - 0.5, None]
    return x, y


def draw_gaps(figure: go.Figure, cells: pd.DataFrame, frame: Frame) -> None:
    """White gaps as a line trace: `xgap` is painted into the heatmap's bitmap and blurs when scaled.

    Args:
        figure: Drawn on.
        cells: One row per cell, with its edges `left`, `right` and its row `y`.
        frame: Pixels per cell: below 19 the gaps are one pixel wide, else two.
    """
    x, y = outline(cells)
    line = {"color": theme.PAPER, "width": 2 if min(frame.px_x, frame.px_y) > 18 else 1}
    figure.add_scatter(x=x, y=y, mode="lines", line=line, name="gaps", **QUIET)


def readable(cells: pd.DataFrame, frame: Frame) -> bool:
    """Whether a number fits into the narrowest of `cells`: 36 x 16 pixels by the `frame`."""
    return float((cells["right"] - cells["left"]).min()) * frame.px_x >= 36 and frame.px_y >= 16


def draw_strokes(figure: go.Figure, empty: pd.DataFrame) -> None:
    """A stroke on the `figure` through every cell of `empty`, which have no value."""
    x = [v for c in empty.itertuples() for v in (c.left + 0.1, c.right - 0.1, None)]
    y = [v for c in empty.itertuples() for v in (c.y - 0.35, c.y + 0.35, None)]
    line = {"color": theme.RULE, "width": 1.2}
    figure.add_scatter(x=x, y=y, mode="lines", line=line, name="no value", **QUIET)


def draw_hatching(figure: go.Figure, cells: pd.DataFrame) -> None:
    """White strokes across the cells, from their lower left to their upper right.

    Args:
        figure: The figure that is drawn into.
        cells: Placed cells (`cells.placed_cells`); none draws nothing.
    """
    x: list[float | None] = []
    y: list[float | None] = []
    for c in cells.itertuples():
        wide = c.right - c.left
        for shift in (-0.6, 0.6):  # of a cell's side: beside the number
            x += [c.left + wide * max(shift, 0), c.left + wide * min(1 + shift, 1), None]
            y += [c.y - 0.5 + max(-shift, 0), c.y - 0.5 + min(1 - shift, 1), None]
    figure.add_scatter(x=x, y=y, mode="lines", line={"color": theme.PAPER, "width": 1.4}, name="hatching", **QUIET)


def draw_border(figure: go.Figure, cells: pd.DataFrame, inside: pd.Series, *, name: str) -> None:
    """A broken line around the cells that are `inside`, none between two of them.

    Args:
        figure: The figure that is drawn into.
        cells: Placed cells (`cells.placed_cells`); rows may have edges of their own.
        inside: Which of them; none draws nothing.
        name: The line's name.
    """
    held = cells[inside]
    if held.empty:
        return
    cuts = sorted({*cells["left"].round(6), *cells["right"].round(6)})
    pieces, rows = list(pairwise(cuts)), range(-1, int(cells["y"].max()) + 2)
    spans: dict[int, list[tuple[float, float]]] = {row: [] for row in rows}
    for cell in held.itertuples():
        spans[int(cell.y)].append((round(cell.left, 6), round(cell.right, 6)))

    def filled(row: int, middle: float) -> bool:
        return any(left < middle < right for left, right in spans[row])

    x: list[float | None] = []
    y: list[float | None] = []
    for row in rows[1:]:
        for left, right in pieces:
            if filled(row, (left + right) / 2) != filled(row - 1, (left + right) / 2):
                x, y = [*x, left, right, None], [*y, row - 0.5, row - 0.5, None]
        for cut, (before, after) in zip(
            cuts, pairwise([False, *(filled(row, sum(p) / 2) for p in pieces), False]), strict=True
        ):
            if before != after:
                x, y = [*x, cut, cut, None], [*y, row - 0.5, row + 0.5, None]
    line = {"color": theme.INK, "width": 1.4, "dash": "2px,3px"}
    figure.add_scatter(x=x, y=y, mode="lines", line=line, cliponaxis=False, name=name, **QUIET)


def colour_bar(
    figure: go.Figure, label: str, ticks: Sequence[float | int], text: Sequence[str], plot_height: int
) -> tuple[dict[str, Any], int]:
    """A colour bar as high as the plot, and the right margin in pixels that it needs with the title placed beside it.

    Our own title, because plotly sets its own on the tick labels where these are wider than it had measured.

    Args:
        figure: The figure that is added to.
        label: The bar's title.
        ticks: Where its ticks are.
        text: What is written at each.
        plot_height: The height of the plot in pixels.
    """
    lines = textwrap.wrap(label, max(12, plot_height // 7))
    letters = max(len(re.sub(r"<[^>]*>", "", tick)) for tick in text)
    right = 32 + int(6.4 * letters)
    figure.add_annotation(
        text="<br>".join(lines),
        name="colour bar",
        textangle=-90,
        x=1,
        xref="paper",
        xanchor="left",
        xshift=right + 4,
        y=0.5,
        yref="paper",
        yanchor="middle",
        showarrow=False,
        font={"size": 12},
    )
    bar = {
        "tickvals": list(ticks),
        "ticktext": list(text),
        "outlinewidth": 0,
        "thickness": 11,
        "len": 1,
        "x": 1,
        "y": 0.5,
        "ypad": 0,
        "xpad": 14,
        "tickfont": {"size": 11},
        "ticks": "outside",
        "ticklen": 3,
        "tickcolor": theme.RULE,
    }
    return bar, right + 10 + 16 * len(lines)
