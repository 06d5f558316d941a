"""One prompt's stream along a direction: layer upward, token to the right, diverging from zero.

Draw a table of `projection_profile` made outside or inside a `with steer(...)` block, or the `difference` of both.
"""

from html import unescape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.grid import QUIET, Frame, colour_bar, draw_gaps, draw_strokes, readable
from steering_lab.analysis.plots.parts.labels import escaped, signed
from steering_lab.analysis.plots.parts.layout import Layout, lay_out
from steering_lab.analysis.plots.parts.sites import SiteAxis, site_axis, site_place, thinned
from steering_lab.analysis.plots.parts.tokens import label_width, token_label
from steering_lab.models.hook_points import HookSite

_LEFT, _RIGHT = 72, 112  # margins in pixels; the colour bar stands in the right one
_CELLS, _WIDTHS = (46, 84), (420, 860)  # least and most: a token's column, and the axes
_TICK = 6.8  # pixels of a character under the axis


class _Colours(NamedTuple):
    reach: float
    digits: int
    ticks: list[float]
    names: list[str]


def projection_heatmap(
    table: pd.DataFrame,
    *,
    prompt: int = 0,
    value: str = "projection",
    label: str = "projection, residual-stream units",
    edited: HookSite | None = None,
    limit: float | int | None = None,
    title: str = "",
    subtitle: str = "",
) -> go.Figure:
    """A cell per site and token of `prompt`, coloured by `value` from -`limit` to `limit`.

    By default the colours end at the largest value behind the first token, whose stream is often of another order; what
    lies beyond keeps its number and the end's colour. `edited` draws a line under the first sites that show its edit.

    Args:
        table: One of `projection_profile`.
        prompt: The number of the prompt that is drawn.
        value: The column that colours the cells.
        label: The name of what is shown.
        edited: The site whose edit a line marks.
        limit: The colours run from minus this to this; by default the largest value behind the first token.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.

    Raises:
        ValueError: a column is missing, the prompt is not in the table, or a cell has two rows.
    """
    if missing := [column for column in ("prompt", "position", "token", value) if column not in table]:
        raise ValueError(f"the table has no column {missing[0]!r}: draw a table of projection_profile")
    rows = table[table["prompt"] == prompt]
    if rows.empty:
        raise ValueError(f"prompt {prompt} is not in the table: it has {', '.join(map(str, table['prompt'].unique()))}")
    axis = site_axis(rows)
    cells = _cells(rows, axis, value)
    frame, tokens = _frame(cells), cells.drop_duplicates("position").sort_values("x")
    colours = _colours(cells, limit)
    figure = go.Figure(_rectangles(cells, colours, value))
    draw_gaps(figure, cells, frame)
    draw_strokes(figure, cells[cells["z"].isna()])
    if readable(cells, frame):
        _draw_numbers(figure, cells, colours)
    marks = {"╱": f"no value ({cells['z'].isna().sum()} of {len(cells)} cells)"} if cells["z"].isna().any() else {}
    if edited is not None:
        marks["┅"] = "the edit sets in above this line"
        _draw_edit(figure, axis, site_place(rows, edited), frame)
    return _dress(figure, tokens, axis, frame, colours, label, (title, subtitle), marks)


def _cells(rows: pd.DataFrame, axis: SiteAxis, value: str) -> pd.DataFrame:
    """Every site and token once, with `x`, `left`, `right`, `y` and `z`."""
    cells = rows.assign(place=axis.at, z=rows[value].astype(float))
    if cells.duplicated(["place", "position"]).any():
        raise ValueError(
            "two rows for one site and token: draw one table at a time, or resid_pre apart from resid_post"
        )
    grid = pd.MultiIndex.from_product([axis.places, sorted(cells["position"].unique())], names=["place", "position"])
    tokens = cells.drop_duplicates("position").set_index("position")["token"]
    cells = cells.set_index(["place", "position"]).reindex(grid).reset_index()
    x = cells["position"].rank(method="dense") - 1
    y = cells["place"].map({place: float(i) for i, place in enumerate(axis.places)})
    named = cells["place"].map(dict(zip(axis.places, axis.names, strict=True)))
    token = cells["position"].map(tokens)
    return cells.assign(x=x, left=x - 0.5, right=x + 0.5, y=y, site=named, token=token)


def _frame(cells: pd.DataFrame) -> Frame:
    columns, rows = int(cells["x"].max()) + 1, int(cells["y"].max()) + 1
    longest = max(_length(str(token)) for token in cells["token"])
    width = float(np.clip(np.clip(longest + 8, *_CELLS) * columns, *_WIDTHS))
    row = 27.0 if rows <= 18 else max(9.0, 480 / rows)
    row = max(row, 120 / rows)
    return Frame(round(width) + _LEFT + _RIGHT, round(row * rows), (-0.5, columns - 0.5), width / columns, row)


def _length(token: str) -> float:
    """Pixels of a token's label under the axis."""
    return _TICK * label_width(unescape(token_label(token, 16)))


def _colours(cells: pd.DataFrame, limit: float | int | None) -> _Colours:
    size = cells["z"].abs()
    behind = size[cells["position"] > cells["position"].min()]
    largest = float(np.nan_to_num(size.max()))
    reach = float(limit or np.nan_to_num(behind.max()) or largest or 1.0)
    digits = int(np.clip(1 - np.floor(np.log10(reach)), 0, 6))
    ticks = [reach * step for step in (-1, -0.5, 0, 0.5, 1)]
    names = [signed(tick, digits) if tick else "<b>0</b>" for tick in ticks]
    if largest > reach * 1.0001:
        names[0], names[-1] = f"≤ {names[0]}", f"≥ {names[-1]}"
    return _Colours(reach, digits, ticks, names)


def _rectangles(cells: pd.DataFrame, colours: _Colours, value: str) -> go.Heatmap:
    shape = (cells["y"].nunique(), cells["x"].nunique())
    hover = [_hover(cell, value, colours.digits) for cell in cells.to_dict("records")]
    return go.Heatmap(
        z=cells["z"].to_numpy().reshape(shape),
        x=np.arange(shape[1] + 1) - 0.5,
        y=np.arange(shape[0] + 1) - 0.5,
        customdata=np.array(hover, dtype=object).reshape(shape),
        hovertemplate="%{customdata}<extra></extra>",
        coloraxis="coloraxis",
        name="cells",
    )


def _hover(cell: dict[str, Any], value: str, digits: int) -> str:
    where = "embedding" if cell["site"] == "embed" else f"layer {cell['site']}"
    lines = [f"<b>{where}, token {cell['position']}: {token_label(str(cell['token']), 24)}</b>"]
    lines.append(f"{escaped(value.replace('_', ' '))} {signed(cell['z'], digits + 1)}")
    for name in ("cosine", "resid_norm"):
        if name in cell and name != value and not np.isnan(cell[name]):
            lines.append(f"{name.replace('resid_norm', 'length of the stream')} {cell[name]:.3g}".replace("-", "−"))
    return "<br>".join(lines)


def _draw_numbers(figure: go.Figure, cells: pd.DataFrame, colours: _Colours) -> None:
    shares = (cells["z"].to_numpy() / colours.reach + 1) / 2
    figure.add_scatter(
        x=cells["x"],
        y=cells["y"],
        mode="text",
        text=["" if np.isnan(z) else signed(z, colours.digits) for z in cells["z"]],
        textfont={"size": 10.5, "color": theme.ink_on(shares, theme.DIVERGING)},
        name="labels",
        **QUIET,
    )


def _draw_edit(figure: go.Figure, axis: SiteAxis, place: float, frame: Frame) -> None:
    y = sum(other < place for other in axis.places) - 0.5
    line = {"color": theme.INK, "width": 1.8, "dash": "6px,3px"}
    ends = [frame.x_range[0], frame.x_range[1]]
    figure.add_scatter(x=ends, y=[y, y], mode="lines", line=line, cliponaxis=False, name="edit", **QUIET)


def _dress(
    figure: go.Figure,
    tokens: pd.DataFrame,
    axis: SiteAxis,
    frame: Frame,
    colours: _Colours,
    label: str,
    words: tuple[str, str],
    marks: dict[str, str],
) -> go.Figure:
    """Axes, colour bar, title, key, size."""
    shown = thinned(len(tokens), frame.px_x, 15)
    named = tokens["token"].iloc[shown].astype(str)
    names = [token_label(token, 16) for token in named]
    longest = max(map(_length, named))
    upright = longest <= frame.px_x - 4
    room = 16 if upright else int(longest) + 6
    layers = thinned(len(axis.places), frame.px_y, 15)
    bar, right = colour_bar(figure, label, colours.ticks, colours.names, frame.plot_height)
    return lay_out(
        figure,
        Layout((frame.width - _LEFT - _RIGHT, frame.plot_height), _LEFT, right, below=room + 34),
        words,
        marks,
        coloraxis={
            "cmin": -colours.reach, "cmax": colours.reach, "colorscale": theme.DIVERGING, "colorbar": bar,
        },
        xaxis={
            **theme.BARE,
            "title": {"text": "token", "standoff": 6},
            "range": frame.x_range,
            "tickvals": tokens["x"].iloc[shown].tolist(),
            "ticktext": names,
            "tickangle": 0 if upright else -90,
            "tickfont": {"family": theme.MONO, "size": 11},
        },
        yaxis={
            **theme.BARE,
            "title": axis.title,
            "range": [-0.5, len(axis.places) - 0.5],
            "tickvals": layers,
            "ticktext": [axis.names[i] for i in layers],
        },
    )  # fmt: skip
