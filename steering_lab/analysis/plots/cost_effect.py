"""What an effect costs: a point per condition, its intervals both ways, and the front that nothing beats."""

import textwrap
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

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
    colours,
    compare,
    in_focus,
    limits,
    number,
    placed,
    tick,
)
from steering_lab.analysis.plots.parts.hover import interval_text
from steering_lab.analysis.plots.parts.labels import round_ticks
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.analysis.plots.parts.placing import Box, label_boxes

_LEFT, _RIGHT, _PLOT = 76, 40, (720, 440)  # margins; width and height of the axes, in pixels


def cost_effect(
    table: pd.DataFrame,
    *,
    effect: str,
    cost: str,
    conditions: Names | None = None,
    reference: str = "unsteered",
    effect_shows: Show = "effect",
    cost_shows: Show = "effect",
    focus: str | Sequence[str] = (),
    budget: float | int | None = None,
    percent: Collection[str] = (),
    effect_label: str | None = None,
    cost_label: str | None = None,
    title: str = "",
    subtitle: str = "",
    interval: str = "95 % interval over prompts",
    units: tuple[str, str] = COUNTED,
) -> go.Figure:
    """The metric `cost` to the right (less is better) against the metric `effect` upward (more is better).

    Both are metrics of one summary table (see `condition_bars`), shown as effects or as values; a ratio has a log axis.
    The front joins the conditions that none equals or beats in both; one whose text degenerates is drawn hollow and is
    no part of it, nor is one without a number. `budget` is the largest cost allowed, `percent` names metrics in shares.

    Args:
        table: One row per condition and metric, as for `condition_bars`.
        effect: The metric upward; more is better.
        cost: The metric to the right; less is better.
        conditions: The conditions in order; a mapping also names them. By default all, in the table's order.
        reference: The condition that the others are compared with.
        effect_shows: Whether `effect` is shown as an effect or a value.
        cost_shows: Whether `cost` is shown as an effect or a value.
        focus: The conditions that stand out in colour.
        budget: The largest cost allowed, marked by a line.
        percent: The metrics that are shares.
        effect_label: The name of `effect` on its axis.
        cost_label: The name of `cost` on its axis.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.
        interval: What the caption calls the intervals.
        units: What the caption calls prompts and continuations.

    Raises:
        ValueError: see `compare` and `placed`; several groups; a `focus` that is not drawn; nothing with both numbers.
    """
    upward, right = (
        compare(table, metric=metric, conditions=conditions, reference=reference) for metric in (effect, cost)
    )
    if len(upward.groups) > 1:
        raise ValueError(
            f"{len(upward.groups)} groups in one scatter cannot be told apart: draw one of {upward.groups}"
        )
    points = _points(upward, right, (effect_shows, cost_shows), focus)
    known = points[["x", "y"]].notna().all(axis=1)
    if not known.any():
        raise ValueError(f"no condition has both {effect!r} and {cost!r}")
    logs = (cost_shows == "effect" and right.neutral == 1, effect_shows == "effect" and upward.neutral == 1)
    lost = ", ".join(points.loc[~known, "label"])
    points = points[known].assign(front=pareto_front(points[known]))
    figure = go.Figure()
    axes = (
        _axis(points, "x", _PLOT[0], logs[0], cost_shows, right, percent=cost in percent, also=budget),
        _axis(points, "y", _PLOT[1], logs[1], effect_shows, upward, percent=effect in percent, also=None),
    )
    _draw_front(figure, points)
    if budget is not None:
        _draw_budget(figure, budget, logs[0], number(budget, cost_shows, ratio=logs[0], percent=cost in percent))
    _draw_points(figure, points)
    _draw_names(figure, points, axes, budget)
    titles = [
        axis_title(name, label, shows, ratio=c.neutral == 1, percent=name in percent, reference=reference)[1]
        for name, label, shows, c in (
            (cost, cost_label, cost_shows, right),
            (effect, effect_label, effect_shows, upward),
        )
    ]
    said = sentences(
        subtitle,
        counts(upward.rows, "condition", units),
        f"Lines: {interval}",
        f"Without a number, not drawn: {lost}" if lost else "",
    )
    return _laid_out(figure, points, axes, (titles[0], titles[1]), (title, said))


def _points(
    upward: Comparison, right: Comparison, shows: tuple[Show, Show], focus: str | Sequence[str]
) -> pd.DataFrame:
    """condition, label, x and y with the ends of their intervals, baseline, degenerate, colour."""
    y = placed(upward, shows[0])
    x = placed(right, shows[1]).set_index("condition").reindex(y["condition"]).reset_index()
    chosen = in_focus(y, focus)
    return pd.DataFrame(
        {
            **{name: y[name] for name in ("condition", "label", "baseline", "degenerate")},
            "x": x["at"],
            "x_low": x["from"],
            "x_high": x["to"],
            "y": y["at"],
            "y_low": y["from"],
            "y_high": y["to"],
            "x_why": x["why"],
            "y_why": y["why"],
            "colour": colours(y, chosen, theme.CONTROL),
            "focused": chosen,
        }
    )


def pareto_front(points: pd.DataFrame) -> pd.Series:
    """Whether no other row has x as small and y as large, one of them strictly; degenerate rows take no part.

    Args:
        points: One row per point, with `x` (what it costs), `y` (what it does) and `degenerate`.
    """
    sound = points[~points["degenerate"]]
    beaten = [
        bool(((sound["x"] <= p.x) & (sound["y"] >= p.y) & ((sound["x"] < p.x) | (sound["y"] > p.y))).any())
        for p in points.itertuples()
    ]
    return ~pd.Series(beaten, index=points.index) & ~points["degenerate"]


def _axis(
    points: pd.DataFrame,
    name: str,
    pixels: int,
    log: bool,
    shows: Show,
    compared: Comparison,
    *,
    percent: bool,
    also: float | int | None,
) -> dict[str, Any]:
    """Range (logarithms on a log axis) with a margin for marks and names, and round ticks."""
    places = points[[name, f"{name}_low", f"{name}_high"]].to_numpy(dtype=float).ravel()
    places = np.append(places, [] if also is None else [float(also)])
    places = places[np.isfinite(places) & ((places > 0) | (not log))]
    low, high = (float(np.log10(end) if log else end) for end in (places.min(), places.max()))
    margin = 0.07 * (high - low) or 0.5
    ends = (low - margin, high + margin)
    return {
        "range": ends,
        **round_ticks(
            ends,
            ratio=log,
            most=pixels // 60,
            show=lambda v: tick(v, shows, percent=percent),
            limits=limits(compared.rows, shows),
        ),
    }


def _draw_front(figure: go.Figure, points: pd.DataFrame) -> None:
    """The best effect to be had for at most each cost, as stairs."""
    front = points[points["front"]].sort_values(["x", "y"])
    line = {"color": theme.RULE, "width": 1.4, "dash": "dot", "shape": "hv"}
    figure.add_scatter(x=front["x"], y=front["y"], mode="lines", line=line, name="front", hoverinfo="skip")


def _draw_budget(figure: go.Figure, budget: float | int, log: bool, text: str) -> None:
    figure.add_vline(x=budget, line={"color": theme.INK, "width": 1.1, "dash": "dash"}, layer="below")
    note = {"text": f"budget {text}", "showarrow": False, "font": {"size": 11, "color": theme.MUTED}}
    at = float(np.log10(budget)) if log else budget
    figure.add_annotation(x=at, y=1, yref="paper", yanchor="bottom", name="budget", **note)


def _draw_points(figure: go.Figure, points: pd.DataFrame) -> None:
    short = "{:.4g}".format
    for end, other in (("x", "y"), ("y", "x")):
        known = points[points[f"{end}_low"].notna() & points[f"{end}_high"].notna()]
        for colour, part in known.groupby("colour"):
            along = [
                v for low, high in zip(part[f"{end}_low"], part[f"{end}_high"], strict=True) for v in (low, high, None)
            ]
            across = [v for at in part[other] for v in (at, at, None)]
            line = {"color": theme.faint(str(colour), 0.55), "width": 1.5}
            figure.add_scatter(
                **{end: along, other: across}, mode="lines", line=line, name=f"{end} intervals", hoverinfo="skip"
            )
    hollow = points["degenerate"] | points["baseline"]
    fill = [theme.PAPER if empty else colour for empty, colour in zip(hollow, points["colour"], strict=True)]
    figure.add_scatter(
        x=points["x"],
        y=points["y"],
        mode="markers",
        marker={"size": 10, "color": fill, "line": {"width": 1.6, "color": points["colour"]}},
        customdata=[
            f"<b>{p.label}</b><br>effect {p.y:.4g}{interval_text(p.y_low, p.y_high, p.y_why, short)}"
            f"<br>cost {p.x:.4g}{interval_text(p.x_low, p.x_high, p.x_why, short)}"
            for p in points.itertuples()
        ],
        hovertemplate="%{customdata}<extra></extra>",
        name="conditions",
    )


def _draw_names(
    figure: go.Figure, points: pd.DataFrame, axes: tuple[dict[str, Any], dict[str, Any]], budget: float | int | None
) -> None:
    """Every condition's name beside its point; a thin line leads to it where it had to stand apart."""
    x, x_low, x_high = (_pixels(points[name], axes[0], _PLOT[0]) for name in ("x", "x_low", "x_high"))
    y, y_low, y_high = (_pixels(points[name], axes[1], _PLOT[1]) for name in ("y", "y_low", "y_high"))
    lines = [Box(a, b, at - 2, at + 2) for a, b, at in zip(x_low, x_high, y, strict=True) if a < b]
    lines += [Box(at - 2, at + 2, a, b) for a, b, at in zip(y_low, y_high, x, strict=True) if a < b]
    stairs = sorted(zip(x[points["front"]], y[points["front"]], strict=True))
    for (left, low), (right, high) in pairwise(stairs):
        lines += [Box(left, right, low - 2, low + 2), Box(right - 2, right + 2, low, high)]
    if budget is not None:
        at = float(_pixels(pd.Series([float(budget)]), axes[0], _PLOT[0]).iloc[0])
        lines.append(Box(at - 2, at + 2, 0, _PLOT[1]))
    texts = ["\n".join(textwrap.wrap(label, 28)) for label in points["label"]]
    boxes = label_boxes(list(zip(x, y, strict=True)), texts, Box(-20, _PLOT[0] + _RIGHT - 6, 0, _PLOT[1]), lines)
    for box, at_x, at_y, text, point in zip(boxes, x, y, texts, points.itertuples(), strict=True):
        colour = theme.INK if point.colour == theme.OTHER else point.colour
        near = (min(max(at_x, box.left), box.right), min(max(at_y, box.bottom), box.top))
        figure.add_annotation(
            text=text.replace("\n", "<br>"),
            name="condition",
            align="left" if near[0] == box.left else "right" if near[0] == box.right else "center",
            font={"size": 12, "color": colour, "weight": 600 if point.focused else 400},
            **box.annotation(_PLOT),
        )
        if np.hypot(near[0] - at_x, near[1] - at_y) > 16:
            ends = {"x0": at_x / _PLOT[0], "y0": at_y / _PLOT[1], "x1": near[0] / _PLOT[0], "y1": near[1] / _PLOT[1]}
            line = {"color": theme.RULE, "width": 0.8}
            figure.add_shape(type="line", xref="paper", yref="paper", line=line, layer="below", **ends)


def _pixels(places: pd.Series, axis: dict[str, Any], size: int) -> pd.Series:
    low, high = axis["range"]
    return ((np.log10(places) if axis.get("type") == "log" else places) - low) / (high - low) * size


def _laid_out(
    figure: go.Figure,
    points: pd.DataFrame,
    axes: tuple[dict[str, Any], dict[str, Any]],
    titles: tuple[str, str],
    words: tuple[str, str],
) -> go.Figure:
    marks = {f"<span style='color:{theme.RULE}'><b>····</b></span>": "by estimate, no condition does more for less"}
    if points["degenerate"].any():
        marks["○"] = "text degenerates"
    return lay_out(
        figure,
        Layout(_PLOT, _LEFT, _RIGHT, above=30),
        words,
        marks,
        xaxis={"title": titles[0], **axes[0]},
        yaxis={"title": titles[1], "showline": False, "ticks": "", **axes[1]},
    )
