"""What the answers were: context, both, neither or memory, as shares of one bar per condition.

The order is an argument: what ends at "both" states the context's answer at all (p_s), what begins there does not.
"""

import textwrap
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.conditions import Names, labelled
from steering_lab.analysis.plots.parts.layout import Layout, lay_out


class AnswerClass(NamedTuple):
    """A class of answers: its column, its meaning in the key, its colour (apart in greyscale and to any eye)."""

    column: str
    meaning: str
    colour: str


VERDICTS = (
    AnswerClass("context", "context answer", "#0072B2"),
    AnswerClass("both", "both", "#8cc6ea"),
    AnswerClass("neither", "neither", "#e3e5e8"),
    AnswerClass("memory", "memory answer", "#D55E00"),
)
_PLOT, _RIGHT, _LETTER = 520, 30, 6.6


def verdict_stack(
    shares: pd.DataFrame, *, conditions: Names | None = None, title: str = "", subtitle: str = ""
) -> go.Figure:
    """One bar of 100 % per condition, from above downward in the table's order or that of `conditions`.

    `shares` has one row per condition: condition, context, both, neither, memory (shares of 1) and n (answers judged,
    NaN if unknown). A row of NaN is drawn as "no value".

    Args:
        shares: One row per condition: condition, context, both, neither, memory, n.
        conditions: The conditions in order; a mapping also names them. By default all, in the table's order.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.

    Raises:
        ValueError: a column is missing, a condition is there twice or not at all, or shares that do not add up to 1.
    """
    columns = [verdict.column for verdict in VERDICTS]
    if missing := [name for name in ("condition", *columns, "n") if name not in shares]:
        raise ValueError(f"the table has no column {missing[0]!r}: it needs condition, {', '.join(columns)}, n")
    if (twice := shares["condition"].duplicated()).any():
        raise ValueError(f"two rows for condition {shares['condition'][twice].iloc[0]!r}")
    labels = labelled(list(shares["condition"]), conditions)
    rows = shares.set_index("condition").loc[list(labels)].reset_index()
    numbers = rows[columns].astype(float)
    known = numbers.notna().any(axis=1)
    wrong = known & ~(np.isclose(numbers.sum(axis=1, skipna=False), 1, atol=0.005) & (numbers >= 0).all(axis=1))
    if wrong.any():
        row = rows[wrong].iloc[0]
        given = ", ".join(f"{name} {row[name]:g}" for name in columns)
        raise ValueError(f"the shares of {row['condition']!r} are {given}: four shares of 1 that add up to it")
    figure = go.Figure()
    _draw(figure, numbers, rows["n"], list(labels.values()))
    for y in np.flatnonzero(~known):
        note = {"xanchor": "left", "showarrow": False, "font": {"size": 11.5, "color": theme.MUTED}}
        figure.add_annotation(x=0, y=int(y), text="\u2002no value", name="no value", **note)
    return _laid_out(figure, _names(list(labels.values()), rows["n"]), title, subtitle)


def _draw(figure: go.Figure, numbers: pd.DataFrame, n: pd.Series, labels: list[str]) -> None:
    for verdict in VERDICTS:
        share = numbers[verdict.column]
        hover = [
            f"<b>{label}</b><br>{verdict.meaning}: {100 * s:.1f} %" + ("" if np.isnan(of) else f" of {of:.0f} answers")
            for label, s, of in zip(labels, share, n.astype(float), strict=True)
        ]
        figure.add_bar(
            x=share,
            y=list(range(len(share))),
            orientation="h",
            width=0.72,
            marker={"color": verdict.colour, "line": {"color": theme.PAPER, "width": 1}},
            text=[f"{100 * s:.0f}" if s * _PLOT >= 22 else "" for s in share],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            constraintext="none",
            textfont={
                "size": 11.5,
                "color": theme.ink_on(np.array([0.5]), [(0.0, verdict.colour), (1.0, verdict.colour)])[0],
            },
            customdata=hover,
            hovertemplate="%{customdata}<extra></extra>",
            name=verdict.column,
        )


def _names(labels: list[str], n: pd.Series) -> list[str]:
    """Each condition's name in lines, with its n, muted, at the end."""
    names = []
    for label, count in zip(labels, n.astype(float), strict=True):
        text = "<br>".join(textwrap.wrap(label, 34) or [""])
        names.append(text if np.isnan(count) else f"{text} <span style='color:{theme.MUTED}'>(n = {count:.0f})</span>")
    return names


def _laid_out(figure: go.Figure, names: list[str], title: str, subtitle: str) -> go.Figure:
    plain = [pd.Series(name.split("<br>")).str.replace(r"<[^>]*>", "", regex=True) for name in names]
    left = 24 + int(_LETTER * max(int(lines.str.len().max()) for lines in plain))
    height = len(names) * max(27, 15 * max(map(len, plain)) + 10)
    squares = {f"<span style='color:{v.colour}'>■</span>": v.meaning for v in VERDICTS}
    ticks = [0, 0.25, 0.5, 0.75, 1]
    return lay_out(
        figure,
        Layout((_PLOT, height), left, _RIGHT),
        (title, subtitle),
        squares,
        barmode="stack",
        xaxis={
            "title": "share of the answers, %",
            "range": [0, 1],
            "showgrid": False,
            "tickvals": ticks,
            "ticktext": [f"{100 * tick:.0f}" for tick in ticks],
        },
        yaxis={
            **theme.BARE,
            "ticklabelstandoff": 6,
            "range": [len(names) - 0.5, -0.5],
            "tickvals": list(range(len(names))),
            "ticktext": names,
        },
    )
