"""Conditions beside one another: a horizontal bar each, with its interval, the reference's line and chance's band.

One colour for the conditions in focus, one for all others. Whiskers are the interval of the paired effect, not of the
condition's own mean: where a whisker crosses the line, the condition may as well be the reference.
"""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.cells import COUNTED, counts
from steering_lab.analysis.plots.parts.conditions import (
    Comparison,
    Names,
    Show,
    axis_title,
    compare,
    limits,
    number,
    placed,
    tick,
)
from steering_lab.analysis.plots.parts.labels import escaped, round_ticks
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.analysis.plots.parts.panels import DIFFERS, TOLD, Panel, axis_range, draw_panel, dressed, row_names

MOST_GROUPS = 6
_WIDTHS = (460, 310, 230, 190, 165, 150)  # of a panel in pixels, by how many stand side by side
_GAP, _RIGHT = 26, 24  # between panels, right margin


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
    interval: str = "95 % interval over prompts",
    units: tuple[str, str] = COUNTED,
    chance: str = "random vectors of equal norm",
    published_as: str = "published, as far from our unsteered as it is from the paper's",
) -> go.Figure:
    """A bar per condition from above downward, at its value or effect; groups stand side by side on one scale.

    `summary` has the columns of `summarise` (or condition, value, effect, low, high, and as known control_low,
    control_high, group, degenerate); `conditions` orders them, a mapping also names them. `percent` prints shares in
    percent and their differences in percentage points. Ratios as "effect" are drawn on a log axis from ×1. With a
    column `published`, the effect that a paper prints of the same row, an open diamond stands there from our reference,
    so that a whisker holds it exactly if the interval does.

    Args:
        summary: One row per cell and metric, as `summarise` makes it.
        metric: The metric that is shown.
        conditions: The conditions in order; a mapping also names them. By default all, in the table's order.
        reference: The condition that the others are compared with.
        show: Whether values or effects are shown.
        focus: The conditions that stand out in colour.
        percent: Whether values are shares, written in percent and percentage points.
        metric_label: The metric's name on the figure; by default that of the table.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.
        interval: What the caption calls the intervals.
        units: What the caption calls prompts and continuations.
        chance: What the key calls the grey band.
        published_as: What the key calls the published points.

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
    low, high = axis_range(panels, _WIDTHS[len(panels) - 1])
    for panel in panels:
        draw_panel(figure, panel, (high - low) / _WIDTHS[len(panels) - 1])
    whisker = f"Whisker: {interval}, of the paired {'ratio' if ratio else 'difference'} to {escaped(reference)}"
    words = (title, sentences(subtitle, counts(rows, "condition", units), whisker))
    return _laid_out(
        figure, panels, compared, shown, words, show, percent=percent, reference=reference, keys=(chance, published_as)
    )


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
    keys: tuple[str, str],
) -> go.Figure:
    """Axes, panel names, the reference's name, title, key and size."""
    rows, count = panels[0].rows, len(panels)
    each = _WIDTHS[count - 1]
    names = row_names(rows)
    plot = count * each + (count - 1) * _GAP
    titles = [textwrap.wrap(escaped(group), max(12, each // 8), break_on_hyphens=False) for group in compared.groups]
    layout = Layout((plot, names.height), names.left, _RIGHT, above=34 + 18 * max(map(len, titles)))
    lay_out(figure, layout, words, _marks(panels, reference, *keys))
    ends = axis_range(panels, each)
    ticks = round_ticks(
        ends,
        ratio=panels[0].log,
        most=max(3, each // 55),
        show=lambda value: tick(value, show, percent=percent),
        limits=limits(rows, show),
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
    return figure.update_layout(barmode="overlay", yaxis=names.axis)


def _marks(panels: list[Panel], reference: str, chance: str, published_as: str) -> dict[str, str]:
    rows = pd.concat([panel.rows for panel in panels])
    marks = {}
    if rows["band_from"].notna().any():
        marks[f"<span style='color:{theme.faint(theme.CONTROL, 0.45)}'>■</span>"] = chance
    if rows["told"].notna().any():
        marks[TOLD] = published_as
    if rows["excludes"].any():
        marks[DIFFERS] = f"the interval excludes {escaped(reference)}"
    if rows["degenerate"].any():
        marks["□"] = "text degenerates"
    return marks
