"""The lens as a picture: layers upward from the embedding, tokens to the right, the likeliest next token in each cell.

A table of `lens_difference` is drawn as one: colours diverge from "no change", and a cell is written on only where
steering changed its top token. Cells too small for words keep colour, outline and hover.
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.grid import colour_bar
from steering_lab.analysis.plots.parts.layout import Layout, lay_out
from steering_lab.analysis.plots.parts.lens_grid import Colours, Grid, Value, axis_title, lens_colours, lens_grid
from steering_lab.analysis.plots.parts.lens_sites import AXIS, TARGET_COLOURS, lens_hover, site_labels, site_ticks
from steering_lab.analysis.plots.parts.tokens import label_width, token_label

Targets = Sequence[str] | Mapping[str, str]
_LEFT, _LETTER = 74, 6.5  # the left margin and the width of a letter, in pixels
_OUTLINES = TARGET_COLOURS[:4]
_QUIET = {"hoverinfo": "skip", "cliponaxis": False}


def lens_heatmap(
    table: pd.DataFrame,
    *,
    value: Value = "top_probability",
    targets: Targets = (),
    limit: float | int | None = None,
    title: str = "",
    subtitle: str = "",
) -> go.Figure:
    """A cell per site and token of one prompt, coloured by `value`, with the lens's top token written in it.

    `table` is one of `logit_lens`, of `token_lens` with one target, or a `lens_difference` of such. A cell whose top
    token is among `targets` is bold and outlined, in one colour per target; a mapping also says in the key what each
    is. The colours end at `limit`, by default at 100 % for probabilities, else at the largest value. Fewer tokens are
    drawn larger: pass `table[table["position"] >= 30]`.

    Args:
        table: One of `logit_lens`, of `token_lens` with one target, or their `lens_difference`.
        value: The column that colours the cells.
        targets: Tokens that are outlined; a mapping also says what each is.
        limit: Where the colours end; by default 100 % for probabilities, else the largest value.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.

    Raises:
        ValueError: a column is missing, the table is empty or holds several prompts or targets, or more than four
            `targets`.
    """
    outlined = dict(targets) if isinstance(targets, Mapping) else dict.fromkeys(targets, "")
    if len(outlined) > len(_OUTLINES):
        raise ValueError(f"{len(outlined)} targets are too many to tell apart: outline at most {len(_OUTLINES)}")
    grid = lens_grid(table, value)
    colours = lens_colours(grid, value, limit)
    figure = go.Figure()
    _draw_cells(figure, grid, value)
    _draw_words(figure, grid, colours, outlined)
    _draw_outlines(figure, grid, outlined)
    _draw_generated(figure, grid)
    return _dress(figure, grid, colours, axis_title(grid, value), outlined, title, subtitle)


def _draw_cells(figure: go.Figure, grid: Grid, value: str) -> None:
    """The colours as one heatmap, and white gaps over them as lines: `xgap` blurs when scaled."""
    cells, width, height = grid.cells, int(grid.cells["x"].max()) + 1, int(grid.cells["y"].max()) + 1
    z, hover = np.full((height, width), np.nan), np.full((height, width), "no value", dtype=object)
    z[cells["y"], cells["x"]] = cells["z"]
    hover[cells["y"], cells["x"]] = lens_hover(cells, value)
    figure.add_heatmap(
        z=z,
        x0=0,
        dx=1,
        y0=0,
        dy=1,
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
        coloraxis="coloraxis",
        name="cells",
    )
    line = {"color": theme.PAPER, "width": 2 if min(grid.column, grid.row) > 18 else 0.6}
    x = [v for k in range(width + 1) for v in (k - 0.5, k - 0.5, None)]
    y = [v for _ in range(width + 1) for v in (-0.5, height - 0.5, None)]
    x += [v for _ in range(height + 1) for v in (-0.5, width - 0.5, None)]
    y += [v for k in range(height + 1) for v in (k - 0.5, k - 0.5, None)]
    figure.add_scatter(x=x, y=y, mode="lines", line=line, name="gaps", **_QUIET)


def _letters(grid: Grid) -> int:
    """How many letters fit into a cell; 0 where that is too few to read."""
    fit = int((grid.column - 6) / _LETTER)
    return fit if fit >= 3 and grid.row >= 15 else 0


def _draw_words(figure: go.Figure, grid: Grid, colours: Colours, outlined: Mapping[str, str]) -> None:
    fit, cells = _letters(grid), grid.cells
    if not fit:
        return
    written = cells[cells["spoken"]]
    text = [token_label(top, fit) for top in written["top"]]
    shares = (written["z"].to_numpy(dtype=float) - colours.low) / (colours.high - colours.low)
    figure.add_scatter(
        x=written["x"],
        y=written["y"],
        mode="text",
        text=[f"<b>{t}</b>" if top in outlined else t for t, top in zip(text, written["top"], strict=True)],
        textfont={"size": 11, "color": theme.ink_on(shares, colours.scale)},
        name="words",
        **_QUIET,
    )


def _draw_outlines(figure: go.Figure, grid: Grid, outlined: Mapping[str, str]) -> None:
    """A frame just inside each spoken cell whose top token is a target, on a halo: one colour per target."""
    width = 2.2 if min(grid.column, grid.row) > 18 else 1.4
    dx, dy = 0.5 - width / 2 / grid.column, 0.5 - width / 2 / grid.row
    for colour, target in zip(_OUTLINES, outlined, strict=False):
        x: list[float | None] = []
        y: list[float | None] = []
        for cell in grid.cells[(grid.cells["top"] == target) & grid.cells["spoken"]].itertuples():
            x += [cell.x - dx, cell.x + dx, cell.x + dx, cell.x - dx, cell.x - dx, None]
            y += [cell.y - dy, cell.y - dy, cell.y + dy, cell.y + dy, cell.y - dy, None]
        if not x:
            continue
        for ink, thick, name in ((theme.PAPER, 2 * width, "halo"), (colour, width, f"target {target}")):
            figure.add_scatter(x=x, y=y, mode="lines", line={"color": ink, "width": thick}, name=name, **_QUIET)


def _draw_generated(figure: go.Figure, grid: Grid) -> None:
    """A line where the prompt ends and what was generated begins."""
    cells = grid.cells
    if "generated" not in cells or cells["generated"].nunique() < 2:
        return
    x, top = float(cells.loc[cells["generated"], "x"].min()) - 0.5, float(cells["y"].max()) + 0.5
    line = {"color": theme.INK, "width": 1.6}
    figure.add_scatter(x=[x, x], y=[-0.5, top], mode="lines", line=line, name="prompt ends", **_QUIET)
    note = {"showarrow": False, "font": {"size": 11, "color": theme.MUTED}, "yanchor": "bottom", "y": top}
    figure.add_annotation(x=x, text="generated", xanchor="left", xshift=3, **note)


def _key(grid: Grid, outlined: Mapping[str, str]) -> dict[str, str]:
    marks, what = {}, "new top token" if grid.is_difference else "top token"
    for colour, (target, role) in zip(_OUTLINES, outlined.items(), strict=False):
        name = f"<b>{token_label(target, 24)}</b>" + (f", {role}" if role else "")
        marks[f"<span style='color:{colour}'><b>☐</b></span>"] = f"{what} is {name}"
    if grid.is_difference and _letters(grid):
        marks["word"] = "the new top token, where steering changed it"
    if empty := int(grid.cells["z"].isna().sum()):
        marks["white"] = f"no value ({empty} of {len(grid.cells)} cells)"
    return marks


def _dress(
    figure: go.Figure,
    grid: Grid,
    colours: Colours,
    label: str,
    outlined: Mapping[str, str],
    title: str,
    subtitle: str,
) -> go.Figure:
    """Axes, colour bar, title, key, size."""
    columns = grid.cells.drop_duplicates("x").sort_values("x")
    rows = grid.cells.drop_duplicates("y").sort_values("y")
    plot_width, plot_height = round(len(columns) * grid.column), round(len(rows) * grid.row)
    up = textwrap.wrap(AXIS, max(12, plot_height // 7), break_long_words=False)
    bar, right = colour_bar(figure, label, list(colours.ticks), list(colours.ticks.values()), plot_height)
    left = _LEFT + 16 * (len(up) - 1)
    tokens, under = _token_axis(columns, grid)
    shown = rows.iloc[site_ticks(len(rows), grid.row, 15)]
    return lay_out(
        figure,
        Layout((plot_width, plot_height), left, right, above=28, below=under + 36, least=420),
        (title, subtitle),
        _key(grid, outlined),
        coloraxis={"cmin": colours.low, "cmax": colours.high, "colorscale": colours.scale, "colorbar": bar},
        xaxis={**theme.BARE, "title": {"text": "token read", "standoff": 8}, **tokens},
        yaxis={
            **theme.BARE,
            "title": "<br>".join(up),
            "ticklabelstandoff": 4,
            "range": (-0.5, len(rows) - 0.5),
            "tickvals": shown["y"].tolist(),
            "ticktext": site_labels(shown),
        },
    )


def _token_axis(columns: pd.DataFrame, grid: Grid) -> tuple[dict[str, object], int]:
    """The tokens read, level where they fit or can be cut to six letters, else slanted; the height that they need."""
    widths, fit = [label_width(token) for token in columns["token"]], int((grid.column - 4) / _LETTER)
    level = fit >= min(6, max(widths))
    most = fit if level else 14
    every = max(1, int(np.ceil(12 / grid.column)))
    axis = {
        "range": (-0.5, len(columns) - 0.5),
        "tickvals": columns["x"].tolist()[::every],
        "ticktext": [token_label(token, most) for token in columns["token"]][::every],
        "tickangle": 0 if level else -60,
    }
    return axis, 24 if level else round(12 + 0.87 * _LETTER * min(most, max(widths)))
