"""Conditions beside one another: a horizontal bar each, with its interval, the reference's line and chance's band.

One colour for the conditions in focus, one for all others. Whiskers are the interval of the paired effect, not of the
condition's own mean: where a whisker crosses the line, the condition may as well be the reference.
"""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.cells import counts
from steering_lab.analysis.plots.parts.conditions import (
    Comparison,
    Names,
    Show,
    axis_title,
    colours,
    compare,
    in_focus,
    number,
    placed,
    tick,
)
from steering_lab.analysis.plots.parts.hover import numbers
from steering_lab.analysis.plots.parts.labels import escaped, round_ticks
from steering_lab.analysis.plots.parts.layout import Layout, lay_out

MOST_GROUPS = 6
_WIDTHS = (460, 310, 230, 190, 165, 150)  # of a panel in pixels, by how many stand side by side
_GAP, _RIGHT, _LETTER = 26, 24, 6.6  # between panels, right margin, width of a letter


class Panel(NamedTuple):
    """One group: its rows, the names of its axis, and whether the scale is one of ratios."""

    rows: pd.DataFrame
    axis: str
    log: bool


def condition_bars(
    summary: pd.DataFrame,
    *,
    metric: str,
    conditions: Names | None = None,
    reference: str = "unsteered",
    show: Show = "value",
    focus: str | Sequence[str] = (),
    percent: bool = False,
    metric_label: str | None = None,
    title: str = "",
    subtitle: str = "",
    interval: str = "95 % bootstrap interval over prompts",
) -> go.Figure:
    """A bar per condition from above downward, at its value or effect; groups stand side by side on one scale.

    `summary` has the columns of `summarise` (or condition, value, effect, low, high, and as known control_low,
    control_high, group, degenerate); `conditions` orders them, a mapping also names them. `percent` prints shares in
    percent and their differences in percentage points. Ratios as "effect" are drawn on a log axis from ×1.

    Raises:
        ValueError: see `compare` and `placed`; a `focus` that is not drawn; more than six groups.
    """
    compared = compare(summary, metric=metric, conditions=conditions, reference=reference)
    if show == "effect" and conditions is None:
        compared = compared._replace(rows=compared.rows[~compared.rows["baseline"]])
    if len(compared.groups) > MOST_GROUPS:
        raise ValueError(f"{len(compared.groups)} groups are too many side by side: draw at most {MOST_GROUPS}")
    ratio = compared.neutral == 1
    label, shown = axis_title(metric, metric_label, show, ratio=ratio, percent=percent, reference=reference)
    rows = dressed(placed(compared, show), focus, label, show, ratio=ratio, percent=percent)
    figure, log = go.Figure(), ratio and show == "effect"
    panels = [
        Panel(rows[rows["group"] == group], "x" if i == 0 else f"x{i + 1}", log)
        for i, group in enumerate(compared.groups)
    ]
    for panel in panels:
        draw_panel(figure, panel)
    rest = [
        subtitle,
        counts(rows, "condition"),
        f"Whisker: {interval}, of the paired {'ratio' if ratio else 'difference'} to {escaped(reference)}",
    ]
    block = (title, ". ".join(part.rstrip(". ") for part in rest if part))
    return _laid_out(figure, panels, compared, shown, block, show, percent=percent, reference=reference)


def dressed(
    rows: pd.DataFrame, focus: str | Sequence[str], label: str, show: Show, *, ratio: bool, percent: bool
) -> pd.DataFrame:
    """The rows with place from above (`y`), `colour`, printed `text` and `hover`."""
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
        text=[f"<b>{t}</b>" if sure else t for t, sure in zip(text, rows["excludes"], strict=True)],
        hover=hover,
        focused=focused,
    )


def draw_panel(figure: go.Figure, panel: Panel) -> None:
    """From back to front: the control's band, the bars, the line, the whiskers, the numbers."""
    rows, on = panel.rows, {"xaxis": panel.axis, "yaxis": "y"}
    quiet = {"hoverinfo": "skip", **on}
    bar = {"orientation": "h", "y": rows["y"], **on}
    band = {"color": theme.faint(theme.CONTROL, 0.2), "line": {"width": 0}}
    width = rows["band_to"] - rows["band_from"]
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
    left = rows["at"] < rows["start"]
    outer = rows[["at", "to", "from"]]
    figure.add_scatter(
        x=outer.max(axis=1).where(~left, outer.min(axis=1)).fillna(rows[["start", "line", "band_to"]].max(axis=1)),
        y=rows["y"],
        text=[f"{t}\u2002" if to_left else f"\u2002{t}" for t, to_left in zip(rows["text"], left, strict=True)],
        textposition=["middle left" if to_left else "middle right" for to_left in left],
        textfont={"size": 11.5, "color": [theme.MUTED if np.isnan(at) else theme.INK for at in rows["at"]]},
        mode="text",
        cliponaxis=False,
        name="numbers",
        **quiet,
    )


def axis_range(panels: list[Panel], width: int) -> tuple[float, float]:
    """From end to end of all that is drawn, with room for the numbers outside; logarithms on a log axis."""
    rows = pd.concat([panel.rows for panel in panels])
    places = rows[["start", "line", "at", "from", "to", "band_from", "band_to"]].to_numpy(dtype=float)
    places = places[np.isfinite(places) & ((places > 0) | (not panels[0].log))]
    low, high = (np.log10(end) if panels[0].log else end for end in (places.min(), places.max()))
    letters = rows["text"].str.replace(r"<[^>]*>", "", regex=True).str.len() * _LETTER + 14
    to_left = rows["at"] < rows["start"]
    room_left, room_right = float(letters.where(to_left, 0).max()), float(letters.where(~to_left, 6).max())
    pixel = ((high - low) or 1.0) / max(40.0, width - room_left - room_right)
    return float(low - (room_left + 4 * bool(low < 0)) * pixel), float(high + room_right * pixel)


def _laid_out(
    figure: go.Figure,
    panels: list[Panel],
    compared: Comparison,
    label: str,
    words: tuple[str, str],
    show: Show,
    *,
    percent: bool,
    reference: str,
) -> go.Figure:
    """Axes, panel names, the reference's name, title, key and size."""
    rows, count = panels[0].rows, len(panels)
    each = _WIDTHS[count - 1]
    names = [textwrap.wrap(name, 34) or [""] for name in rows["label"]]
    pitch = max(27, 15 * max(map(len, names)) + 10)
    left = 24 + int(_LETTER * max(len(part) for name in names for part in name))
    plot = count * each + (count - 1) * _GAP
    titles = [textwrap.wrap(escaped(group), max(12, each // 8), break_on_hyphens=False) for group in compared.groups]
    layout = Layout((plot, pitch * len(rows)), left, _RIGHT, above=34 + 18 * max(map(len, titles)))
    lay_out(figure, layout, words, _marks(panels, reference))
    ends = axis_range(panels, each)
    ticks = round_ticks(
        ends,
        ratio=panels[0].log,
        most=max(3, each // 55),
        show=lambda value: tick(value, show, percent=percent),
    )
    for i, (panel, group) in enumerate(zip(panels, compared.groups, strict=True)):
        axis = {**ticks, "range": ends, "domain": [i * (each + _GAP) / plot, (i * (each + _GAP) + each) / plot]}
        figure.update_layout(
            {panel.axis.replace("x", "xaxis"): {**axis, "anchor": "y", "title": label if count == 1 else ""}}
        )
        note = {"xref": f"{panel.axis} domain", "x": 0, "xanchor": "left", "yref": "paper", "y": 1, "showarrow": False}
        if group:
            text = "<br>".join(f"<b>{line}</b>" for line in titles[i])
            figure.add_annotation(
                text=text, yanchor="bottom", yshift=22, name="group", align="left", font={"size": 12.5}, **note
            )
        at = float(panel.rows["line"].iloc[0])
        place = (np.log10(at) if panel.log else at) - ends[0]
        text = escaped(reference)
        if show == "value" and not rows["baseline"].any():
            text += " " + number(at, show, ratio=False, percent=percent, reach=ends[1])
        note |= {"x": place / (ends[1] - ends[0]), "xanchor": "center"}
        figure.add_annotation(
            text=text, yanchor="bottom", name="reference", font={"size": 11, "color": theme.MUTED}, **note
        )
    if count > 1:
        figure.add_annotation(
            text=label,
            x=0.5,
            xref="paper",
            y=0,
            yref="paper",
            yanchor="top",
            yshift=-28,
            showarrow=False,
            font={"size": 13},
        )
    shown = ["<br>".join(name) for name in names]
    accent = f"<span style='color:{theme.CYCLE[0]}'><b>{{}}</b></span>"
    return figure.update_layout(
        barmode="overlay",
        yaxis={
            **theme.BARE,
            "ticklabelstandoff": 6,
            "range": [len(rows) - 0.5, -0.5],
            "tickvals": rows["y"].tolist(),
            "ticktext": [accent.format(n) if f else n for n, f in zip(shown, rows["focused"], strict=True)],
        },
    )


def _marks(panels: list[Panel], reference: str) -> dict[str, str]:
    rows = pd.concat([panel.rows for panel in panels])
    marks = {}
    if rows["band_from"].notna().any():
        marks[f"<span style='color:{theme.faint(theme.CONTROL, 0.45)}'>■</span>"] = "random vectors of equal norm"
    if rows["excludes"].any():
        marks["<b>bold</b>"] = f"the interval excludes {escaped(reference)}"
    if rows["degenerate"].any():
        marks["□"] = "text degenerates"
    return marks
