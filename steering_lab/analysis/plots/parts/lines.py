"""Curves: a line in its band, intervals where a band has no width, and names at the ends, off one another."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

MOST_LINES = 8  # that can be told apart


class Line(NamedTuple):
    """One curve: its points, `x` and what stands there, its name, its colour, and whether it is the run left alone.

    Args:
        points: Where the curve goes: `x`, its value, its interval.
        name: What stands at its end.
        colour: Its colour.
        clean: Whether it is the run without steering.
    """

    points: pd.DataFrame
    name: str
    colour: str
    clean: bool = False


def draw_band(figure: go.Figure, points: pd.DataFrame, low: str, high: str, fill: str) -> None:
    """A filled band, broken where an end is unknown.

    Args:
        figure: The figure that is added to.
        points: A row for each x.
        low: The column of the lower end.
        high: The column of the upper end.
        fill: The band's colour.
    """
    known = points[low].notna() & points[high].notna()
    x: list[float | None] = []
    y: list[float | None] = []
    for _, run in points[known].groupby((~known).cumsum()[known]):
        x += [*run["x"], *run["x"][::-1], None]
        y += [*run[high], *run[low][::-1], None]
    figure.add_scatter(x=x, y=y, fill="toself", fillcolor=fill, mode="none", hoverinfo="skip", name=f"band {high}")


def lone_intervals(points: pd.DataFrame, colour: str) -> dict[str, object]:
    """Error bars for points without a neighbour, where a band has no width.

    Args:
        points: One line's points in order, with `low` and `high`.
        colour: Of the bars.
    """
    known = points["low"].notna() & points["high"].notna()
    lone = known & ~known.shift(1, fill_value=False) & ~known.shift(-1, fill_value=False)
    up, down = ((points[a] - points[b]).where(lone) for a, b in (("high", "effect"), ("effect", "low")))
    look = {"color": colour, "thickness": 1.6, "width": 0}
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "visible": bool(lone.any()), **look}


def draw_names(figure: go.Figure, lines: list[Line], y_range: tuple[float, float], height: int, *, ratio: bool) -> None:
    """Each line's name at its right end, moved apart where two would touch on an axis `height` pixels high.

    Args:
        figure: The figure that is added to.
        lines: The curves that are named.
        y_range: The range of the vertical axis.
        height: The height of the axis in pixels.
        ratio: Whether effects are ratios, on a log axis.
    """
    step = 16 * (y_range[1] - y_range[0]) / height
    ends = []
    for line in lines:
        known = line.points["effect"].dropna()
        known = np.log10(known[known > 0]) if ratio else known
        last, middle = (float(known.iloc[-1]), float(known.mean())) if len(known) else (y_range[0], y_range[0])
        ends.append((round(last / (3 * step)), middle, last, line))  # ends that nearly meet keep the lines' order
    ends.sort(key=lambda end: end[:2])
    for place, (*_, line) in zip(spread([end[2] for end in ends], step), ends, strict=True):
        font = {"color": line.colour, "size": 12, "weight": 600}
        figure.add_annotation(
            x=1, xref="paper", xanchor="left", xshift=4, y=place, showarrow=False, text=line.name, font=font
        )


def spread(places: list[float], step: float) -> list[float]:
    """`places` in the order given, moved as little as possible (least squares) to stand at least `step` apart.

    Isotonic regression of `places[i] - i * step` by pooling adjacent violators.
    """
    blocks: list[list[float]] = []
    for i, place in enumerate(places):
        blocks.append([place - i * step])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    flat = [float(np.mean(block)) for block in blocks for _ in block]
    return [place + i * step for i, place in enumerate(flat)]


def apart(places: list[float], least: float) -> list[float]:
    """Those of `places` that stand at least `least` apart, taken from 0 (or the nearest to it) outward."""
    kept: list[float] = []
    for place in sorted(places, key=abs):
        if all(abs(place - other) >= least for other in kept):
            kept.append(place)
    return sorted(kept)
