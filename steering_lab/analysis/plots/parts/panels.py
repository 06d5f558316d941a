"""Panels of horizontal bars, a row for each condition: band, bar, whisker and number, one below another."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.conditions import PUBLISHED, Show, colours, in_focus, number
from steering_lab.analysis.plots.parts.hover import numbers
from steering_lab.analysis.plots.parts.labels import escaped

LETTER = 6.6  # pixels: width of a letter
_MARK = 6  # pixels from the middle of a published mark to its edge
TOLD = "◇"  # what a paper prints
DIFFERS = "≠"  # behind a number whose interval leaves the reference out; bold is for what works, in heatmaps alone


class Panel(NamedTuple):
    """One group: its `rows`, the names of its `axis`, and in `log` whether the scale is one of ratios."""

    rows: pd.DataFrame
    axis: str
    log: bool


def dressed(
    rows: pd.DataFrame, focus: str | Sequence[str], label: str, show: Show, *, ratio: bool, percent: bool
) -> pd.DataFrame:
    """The rows with place from above (`y`), `colour`, printed `text` and `hover`.

    Args:
        rows: One per bar.
        focus: The conditions that stand out in colour.
        label: The name of what is shown.
        show: Whether values or effects are shown.
        ratio: Whether effects are ratios, on a log axis.
        percent: Whether values are shares, written in percent and percentage points.
    """
    reach = float(np.nan_to_num(rows[["at", "from", "to"]].abs().max().max()))
    places = {name: y for y, name in enumerate(rows["condition"].unique())}
    source = rows["value"] if show == "value" else rows["effect"]
    text = [
        number(v, show, ratio=ratio, percent=percent, reach=reach) if run else "not run"
        for v, run in zip(source, rows["run"], strict=True)
    ]
    focused = in_focus(rows, focus)
    hover = [
        "<br>".join([f"<b>{row.label}</b>" + (f", {escaped(row.group)}" if row.group else ""), *numbers(row, label)])
        for row in rows.itertuples()
    ]
    return rows.assign(
        y=rows["condition"].map(places),
        colour=colours(rows, focused, theme.REFERENCE),
        text=[f"{t} {DIFFERS}" if sure else t for t, sure in zip(text, rows["excludes"], strict=True)],
        hover=hover,
        told_text=[number(v, "effect", ratio=ratio, percent=percent, reach=reach) for v in rows[PUBLISHED]],
        focused=focused,
    )


def draw_panel(figure: go.Figure, panel: Panel, pixel: float = 0.0) -> None:
    """Draws `panel` on `figure`, from back to front: control's band, bars, line, whiskers, published marks, numbers.

    Args:
        figure: The figure that is added to.
        panel: The rows and their axis.
        pixel: How much of the axis a pixel is, so that no number stands on a published mark.
    """
    rows, on = panel.rows, {"xaxis": panel.axis, "yaxis": "y"}
    quiet = {"hoverinfo": "skip", **on}
    bar = {"orientation": "h", "y": rows["y"], **on}
    width = rows["band_to"] - rows["band_from"]
    alike = [3 if size == 0 else 0 for size in width]  # else a band without width is not seen
    band = {
        "color": theme.faint(theme.CONTROL, 0.2),
        "line": {"width": alike, "color": theme.faint(theme.CONTROL, 0.6)},
    }
    if rows["band_from"].notna().any():
        figure.add_bar(base=rows["band_from"], x=width, width=1, marker=band, name="control", hoverinfo="skip", **bar)
    fills = [
        theme.PAPER if broken else colour for broken, colour in zip(rows["degenerate"], rows["colour"], strict=True)
    ]
    marker = {"color": fills, "line": {"width": 1.6, "color": rows["colour"]}}
    figure.add_bar(
        base=rows["start"],
        x=rows["at"] - rows["start"],
        width=0.58,
        marker=marker,
        name="bars",
        customdata=rows["hover"],
        hovertemplate="%{customdata}<extra></extra>",
        **bar,
    )
    top, bottom = float(rows["y"].min()) - 0.5, float(rows["y"].max()) + 0.5
    line = {"color": theme.INK, "width": 1.2, "dash": "dot"}
    figure.add_scatter(
        x=[rows["line"].iloc[0]] * 2, y=[top, bottom], mode="lines", line=line, name="reference", **quiet
    )
    known = rows[rows["from"].notna() & rows["to"].notna()]
    x = [end for low, high in zip(known["from"], known["to"], strict=True) for end in (low, high, None)]
    y = [place for y in known["y"] for place in (y, y, None)]
    for colour, thick, name in ((theme.PAPER, 4.2, "whisker halo"), (theme.INK, 1.6, "whiskers")):
        figure.add_scatter(x=x, y=y, mode="lines", line={"color": colour, "width": thick}, name=name, **quiet)
    told = rows[rows["told"].notna()]
    if len(told):
        figure.add_scatter(
            x=told["told"], y=told["y"], mode="markers", name="published", cliponaxis=False,
            marker={"symbol": "diamond", "size": 9, "color": theme.PAPER, "line": {"width": 1.6, "color": theme.INK}},
            customdata=[f"<b>{row.label}</b><br>published {row.told_text}" for row in told.itertuples()],
            hovertemplate="%{customdata}<extra></extra>", **on,
        )  # fmt: skip
    left = rows["at"] < rows["start"]
    figure.add_scatter(
        x=_number_places(panel, left, pixel),
        y=rows["y"],
        text=[f"{t}\u2002" if to_left else f"\u2002{t}" for t, to_left in zip(rows["text"], left, strict=True)],
        textposition=["middle left" if to_left else "middle right" for to_left in left],
        textfont={"size": 11.5, "color": [theme.MUTED if np.isnan(at) else theme.INK for at in rows["at"]]},
        mode="text",
        cliponaxis=False,
        name="numbers",
        **quiet,
    )


def _number_places(panel: Panel, left: pd.Series, pixel: float) -> pd.Series:
    """Where each row's number begins: beyond its bar and whisker, and beyond a published mark that it would cover."""
    rows, side = panel.rows, left.map({True: -1, False: 1})
    outer = rows[["at", "to", "from"]]
    ends = outer.max(axis=1).where(~left, outer.min(axis=1)).fillna(rows[["start", "line", "band_to"]].max(axis=1))
    if rows["told"].isna().all():
        return ends
    end, told = (np.log10(ends), np.log10(rows["told"])) if panel.log else (ends, rows["told"])
    struck = ((told - end) * side).between(-_MARK * pixel, _letters(rows) * pixel)
    beyond = told + side * _MARK * pixel
    return ends.mask(struck, 10**beyond if panel.log else beyond)


def _letters(rows: pd.DataFrame) -> pd.Series:
    """How many pixels each row's number takes."""
    return rows["text"].str.replace(r"<[^>]*>", "", regex=True).str.len() * LETTER + 14


def axis_range(panels: list[Panel], width: int) -> tuple[float, float]:
    """From end to end of all that is drawn, with room for the numbers outside; logarithms on a log axis.

    Args:
        panels: All that share the axis.
        width: Of one panel, in pixels.
    """
    rows = pd.concat([panel.rows for panel in panels])
    places = rows[["start", "line", "at", "from", "to", "band_from", "band_to", "told"]].to_numpy(dtype=float)
    places = places[np.isfinite(places) & ((places > 0) | (not panels[0].log))]
    low, high = (np.log10(end) if panels[0].log else end for end in (places.min(), places.max()))
    letters = _letters(rows)
    to_left = rows["at"] < rows["start"]
    room_left, room_right = float(letters.where(to_left, 0).max()), float(letters.where(~to_left, 6).max())
    pixel = ((high - low) or 1.0) / max(40.0, width - room_left - room_right)
    return float(low - (room_left + 4 * bool(low < 0)) * pixel), float(high + room_right * pixel)


class RowNames(NamedTuple):
    """The conditions' names: their axis, the pixels that they need at the left, and the height of all rows."""

    axis: dict[str, object]
    left: int
    height: int


def row_names(rows: pd.DataFrame) -> RowNames:
    """The names of `rows` at the left of the first panel, wrapped, those in focus in the accent's colour."""
    names = [textwrap.wrap(name, 34) or [""] for name in rows["label"]]
    shown = ["<br>".join(name) for name in names]
    accent = f"<span style='color:{theme.CYCLE[0]}'><b>{{}}</b></span>"
    axis = {
        **theme.BARE,
        "ticklabelstandoff": 6,
        "range": [len(rows) - 0.5, -0.5],
        "tickvals": rows["y"].tolist(),
        "ticktext": [accent.format(n) if f else n for n, f in zip(shown, rows["focused"], strict=True)],
    }
    pitch = max(27, 15 * max(map(len, names)) + 10)
    return RowNames(axis, 24 + int(LETTER * max(len(part) for name in names for part in name)), pitch * len(rows))
