"""Which vectors point the same way: cosines as a square of cells, and which of them chance would show too."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.grid import QUIET, Frame, colour_bar, draw_gaps, draw_strokes, readable
from steering_lab.analysis.plots.parts.labels import escaped, signed
from steering_lab.analysis.plots.parts.layout import Layout, lay_out

_LETTER = 6.6  # width of a letter at 12 pixels


def cosine_matrix(table: pd.DataFrame, *, names: str = "", title: str = "", subtitle: str = "") -> go.Figure:
    """Rows and columns in the order of the table, first on top; blue opposes, vermilion agrees.

    `table` is that of `cosines` or `cosine_by_layer`: left, right, cosine, random. A hatched cell is no larger
    than `random`. `names` titles both axes (say, "layer").

    Args:
        table: One of `cosines` or `cosine_by_layer`: left, right, cosine, random.
        names: The title of both axes, such as "layer".
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.

    Raises:
        ValueError: a column is missing, or the table is not one row per ordered pair.
    """
    if missing := [column for column in ("left", "right", "cosine", "random") if column not in table]:
        raise ValueError(f"the table has no column {missing[0]!r}: draw what cosines or cosine_by_layer returned")
    order = list(table["left"].unique())
    if len(table) != len(order) ** 2 or table.duplicated(["left", "right"]).any():
        raise ValueError(f"{len(table)} rows for {len(order)} vectors: one per ordered pair makes {len(order) ** 2}")
    rank = {name: i for i, name in enumerate(order)}
    cells = table.assign(x=table["right"].map(rank), y=-table["left"].map(rank)).reset_index(drop=True)
    cells = cells.assign(left_name=cells["left"], left=cells["x"] - 0.5, right=cells["x"] + 0.5, name=cells["right"])
    chance = (cells["cosine"].abs() <= cells["random"]) & (cells["x"] != -cells["y"])
    frame = _frame(order)
    figure = go.Figure(_squares(cells, chance, len(order)))
    draw_gaps(figure, cells, frame)
    _hatch(figure, cells[chance], frame)
    _numbers(figure, cells, chance, frame)
    empty = cells[cells["cosine"].isna()]
    if len(empty):
        draw_strokes(figure, empty)
    marks = {
        "╲╲": f"within ±{cells['random'].iloc[0]:.2f}, as 95 % of random directions are" if chance.any() else "",
        "╱": f"no direction ({len(empty)} of {len(cells)} cells)" if len(empty) else "",
    }
    return _laid_out(figure, order, frame, names, {k: v for k, v in marks.items() if v}, title, subtitle)


def _frame(order: list[str]) -> Frame:
    n = len(order)
    side = float(np.clip(520 / n, 10, 56)) if n > 1 else 80.0
    return Frame(0, round(side * n), (-0.5, n - 0.5), side, side)


def _squares(cells: pd.DataFrame, chance: pd.Series, n: int) -> list[go.Heatmap]:
    """Chance's cells on grey, the others on the diverging scale; both answer the pointer."""
    hover = [
        f"<b>{escaped(c.left_name)} · {escaped(c.name)}</b><br>cosine {signed(c.cosine, 3)}"
        f"<br>random directions ±{c.random:.3f}"
        for c in cells.itertuples()
    ]
    custom = np.array(hover, dtype=object).reshape(n, n)
    look = {"customdata": custom, "hovertemplate": "%{customdata}<extra></extra>"}
    grey = [[0.0, theme.GRID], [1.0, theme.GRID]]
    z = cells["cosine"].to_numpy(dtype=float)
    within = np.where(chance, z, np.nan).reshape(n, n)
    beyond = np.where(chance, np.nan, z).reshape(n, n)
    places = list(range(0, -n, -1))
    return [
        go.Heatmap(z=within, y=places, colorscale=grey, zmin=-1, zmax=1, showscale=False, name="chance", **look),
        go.Heatmap(z=beyond, y=places, coloraxis="coloraxis", name="cells", **look),
    ]


def _hatch(figure: go.Figure, cells: pd.DataFrame, frame: Frame) -> None:
    """Parallel strokes falling to the right; in small cells two, behind numbers four."""
    count = 4 if frame.px_x >= 30 else 2
    starts = (np.arange(count) + 0.5) * 2 / count - 1  # where a stroke y = x + c crosses the unit square
    x: list[float | None] = []
    y: list[float | None] = []
    for cell in cells.itertuples():
        for c in starts:
            ends = np.array([max(0.0, -c), min(1.0, 1 - c)])
            x += [*(cell.x - 0.5 + ends), None]
            y += [*(cell.y + 0.5 - ends - c), None]
    figure.add_scatter(x=x, y=y, mode="lines", line={"color": theme.PAPER, "width": 1.4}, name="hatching", **QUIET)


def _numbers(figure: go.Figure, cells: pd.DataFrame, chance: pd.Series, frame: Frame) -> None:
    if not readable(cells, frame):
        return
    shares = (cells["cosine"].to_numpy(dtype=float) + 1) / 2
    inks = [
        theme.MUTED if faint else ink for faint, ink in zip(chance, theme.ink_on(shares, theme.DIVERGING), strict=True)
    ]
    text = ["" if np.isnan(c) else signed(c) for c in cells["cosine"]]
    figure.add_scatter(
        x=cells["x"],
        y=cells["y"],
        mode="text",
        text=text,
        textfont={"size": 11.5, "color": inks},
        name="labels",
        **QUIET,
    )


def _laid_out(
    figure: go.Figure, order: list[str], frame: Frame, names: str, marks: dict[str, str], title: str, subtitle: str
) -> go.Figure:
    """Names on both axes, thinned where they would touch; title, key, size."""
    step = next(s for s in (1, 2, 4, 5, 10, 20, 50) if s * frame.px_y >= 15)
    plain = [escaped(name if len(name) <= 34 else name[:33] + "…") for name in order]
    longest = _LETTER * max(map(len, order)) if max(map(len, order)) <= 34 else _LETTER * 34
    upright = longest > step * frame.px_x - 6  # names that do not fit side by side stand on their ends
    left = 28 + int(longest) + (24 if names else 0)
    ticks = ["−1", "−0.5", "<b>0</b>", "+0.5", "+1"]
    bar, right = colour_bar(figure, "cosine", [-1, -0.5, 0, 0.5, 1], ticks, frame.plot_height)
    under = (int(longest) if upright else 16) + 12 + (26 if names else 0)
    shown = range(0, len(order), step)
    axis = {**theme.BARE, "title": names, "ticktext": [plain[i] for i in shown], "ticklabelstandoff": 5}
    return lay_out(
        figure,
        Layout((frame.plot_height, frame.plot_height), left, right, below=under + 10, least=440),
        (title, subtitle),
        marks,
        coloraxis={"cmin": -1, "cmax": 1, "colorscale": theme.DIVERGING, "colorbar": bar},
        xaxis={**axis, "tickvals": list(shown), "range": frame.x_range, "tickangle": -90 if upright else 0},
        yaxis={**axis, "tickvals": [-i for i in shown], "range": (0.5 - len(order), 0.5)},
    )
