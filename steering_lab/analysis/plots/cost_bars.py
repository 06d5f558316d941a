"""What each condition costs, in every currency at once: a panel of bars per cost, each on a scale of its own."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts.conditions import NUMBERS, Names, compare, labelled, placed, tick
from steering_lab.analysis.plots.parts.labels import escaped, round_ticks
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.analysis.plots.parts.panels import DIFFERS, Panel, axis_range, draw_panel, dressed, row_names

_PANEL, _GAP, _RIGHT = 190, 26, 24  # pixels: a panel, between panels, right margin


def cost_bars(
    table: pd.DataFrame,
    *,
    costs: Mapping[str, str] | Sequence[str],
    conditions: Names | None = None,
    reference: str = "unsteered",
    focus: str | Sequence[str] = (),
    title: str = "",
    subtitle: str = "",
    interval: str = "Whisker: 95 % interval",
) -> go.Figure:
    """A row per condition, a panel per cost: bars start where nothing is paid more than by the reference.

    `table` has the columns condition, metric, scale, effect and, as known, value, low, high: effects are ratios to the
    reference (drawn on a log axis from ×1) where scale is "ratio", else differences (from 0). `costs` orders the
    metrics; a mapping also names them, as plotly's HTML. What a condition has no number for is said.

    Args:
        table: One row per condition and metric: condition, metric, scale, effect and, as known, value, low, high.
        costs: The metrics in order; a mapping also names them.
        conditions: The conditions in order; a mapping also names them. By default all, in the table's order.
        reference: The condition that the others are compared with.
        focus: The conditions that stand out in colour.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.
        interval: What the caption calls the intervals.

    Raises:
        ValueError: a column is missing, a cost is not in the table or none is asked for, and what `compare` refuses.
    """
    if missing := [name for name in ("condition", "metric", "scale", "effect") if name not in table]:
        raise ValueError(f"the table has no column {missing[0]!r}: it needs condition, metric, scale and effect")
    shown = dict(costs) if isinstance(costs, Mapping) else {name: escaped(name.replace("_", " ")) for name in costs}
    if not shown:
        raise ValueError("no cost to draw")
    if unknown := [name for name in shown if name not in set(table["metric"])]:
        raise ValueError(f"no cost {unknown[0]!r}: the table has {sorted(table['metric'].unique())}")
    table = table[table["metric"].isin(list(shown))]
    names = labelled(list(table["condition"].unique()), conditions)
    figure, panels = go.Figure(), []
    for i, (metric, label) in enumerate(shown.items()):
        compared = compare(_completed(table, metric, list(names)), metric=metric, conditions=names, reference=reference)
        ratio = compared.neutral == 1
        rows = dressed(placed(compared, "effect"), focus, label, "effect", ratio=ratio, percent=False)
        rows["label"] = rows["condition"].map(names)  # escaped once, not twice
        panels.append(Panel(rows, "x" if i == 0 else f"x{i + 1}", ratio))
        draw_panel(figure, panels[-1])
    known = any(panel.rows["from"].notna().any() for panel in panels)
    words = sentences(subtitle, interval if known else "")
    return _laid_out(figure, panels, list(shown.values()), reference, title, words)


def _completed(table: pd.DataFrame, metric: str, names: list[str]) -> pd.DataFrame:
    """The rows of one metric, NaN for the conditions that it does not know."""
    rows = table[table["metric"] == metric]
    lacking = [name for name in names if name not in set(rows["condition"])]
    same = {"metric": metric, "scale": rows["scale"].iloc[0]}
    blank = pd.DataFrame({"condition": lacking, **same, **dict.fromkeys(NUMBERS, np.nan)})
    rows = rows.assign(**{name: np.nan for name in NUMBERS if name not in rows})
    return pd.concat([rows, blank], ignore_index=True) if lacking else rows


def _laid_out(
    figure: go.Figure, panels: list[Panel], labels: list[str], reference: str, title: str, subtitle: str
) -> go.Figure:
    """Axes, the name above each panel, the conditions' names at the left; title and size."""
    rows, count = panels[0].rows, len(panels)
    names = row_names(rows)
    plot = count * _PANEL + (count - 1) * _GAP
    heads = [textwrap.wrap(label, _PANEL // 7) for label in labels]
    marks = {DIFFERS: f"the interval excludes {escaped(reference)}"}
    meant = marks if any(panel.rows["excludes"].any() for panel in panels) else {}
    above = 22 + 18 * max(map(len, heads))
    layout = Layout((plot, names.height), names.left, _RIGHT, above=above, below=34, least=400)
    lay_out(figure, layout, (title, subtitle), meant)
    for i, (panel, head) in enumerate(zip(panels, heads, strict=True)):
        ends = axis_range([panel], _PANEL)
        ticks = round_ticks(ends, ratio=panel.log, most=3, show=lambda v: tick(v, "effect", percent=False))
        axis = {**ticks, "range": ends, "domain": [i * (_PANEL + _GAP) / plot, (i * (_PANEL + _GAP) + _PANEL) / plot]}
        figure.update_layout({panel.axis.replace("x", "xaxis"): {**axis, "anchor": "y"}})
        figure.add_annotation(
            text="<br>".join(f"<b>{line}</b>" for line in head),
            name="cost",
            xref=f"{panel.axis} domain",
            x=0,
            xanchor="left",
            yref="paper",
            y=1,
            yanchor="bottom",
            yshift=6,
            align="left",
            showarrow=False,
            font={"size": 12.5},
        )
    return figure.update_layout(barmode="overlay", yaxis=names.axis)
