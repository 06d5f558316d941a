"""Values against the quantiles that a normal distribution would give them: a bulk on the line, tails that leave it."""

from statistics import NormalDist

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.labels import escaped, signed
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.analysis.plots.parts.lines import draw_band, spread
from steering_lab.analysis.plots.parts.tokens import token_label

_PLOT, _LEFT, _RIGHT = (560, 400), 72, 120
_GAP = 0.15  # between a point and what stands beside it, in standard deviations


def quantile_plot(
    values: pd.DataFrame, drawn: pd.DataFrame, *, y_label: str, named: int = 6, title: str = "", subtitle: str = ""
) -> go.Figure:
    """Each value upward, at the place to the right where a normal distribution would have one of its rank.

    The line is the normal distribution through the quartiles, which tails do not move. The grey band is from the least
    to the most that random vectors give at a rank. The values at both ends are named.

    Args:
        values: token, value, and low and high where an interval is known.
        drawn: draw and value: those of every random vector, as many of each as of `values`.
        y_label: The name of the axis upward.
        named: How many values are named at either end.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.

    Raises:
        ValueError: fewer than four values, or a draw that has not as many.
    """
    n = len(values)
    if n < 4:
        raise ValueError(f"{n} values have no quantiles to draw: give four or more")
    if len(odd := drawn["draw"].value_counts().loc[lambda count: count != n]):
        raise ValueError(f"draw {odd.index[0]} has {odd.iloc[0]} values, and there are {n}")
    points = values.sort_values("value", ignore_index=True).assign(
        x=[NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)]
    )
    figure = go.Figure()
    if len(drawn):
        ranked = drawn.sort_values(["draw", "value"]).assign(x=np.tile(points["x"], drawn["draw"].nunique()))
        reach = ranked.groupby("x", as_index=False)["value"].agg(["min", "max"])
        draw_band(figure, reach, "min", "max", theme.faint(theme.CONTROL, 0.3))
    first, third = points["value"].quantile([0.25, 0.75])
    slope = (third - first) / np.subtract(*points["x"].quantile([0.75, 0.25]))
    ends = points["x"].iloc[[0, -1]]
    figure.add_scatter(
        x=ends, y=(first + third) / 2 + slope * ends, mode="lines", hoverinfo="skip", name="normal",
        line={"color": theme.RULE, "width": 1.2},
    )  # fmt: skip
    figure.add_scatter(
        x=points["x"], y=points["value"], mode="markers", name="values", marker={"size": 5, "color": theme.CYCLE[0]},
        error_y={"type": "data", "symmetric": False, "array": points["high"] - points["value"], "width": 0,
                 "arrayminus": points["value"] - points["low"], "color": theme.faint(theme.CYCLE[0], 0.4)},
        customdata=[
            f"<b>{token_label(str(p.token), 40)}</b><br>{signed(p.value)} [{signed(p.low)}, {signed(p.high)}]"
            for p in points.itertuples()
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip
    y_range = _name_ends(figure, points, min(named, n // 2))
    marks = {f"<span style='color:{theme.CYCLE[0]}'>●</span>": "a token, in its 95 % interval over texts"}
    marks["—"] = "normal, through the quartiles"
    if len(drawn):
        marks[f"<span style='color:{theme.faint(theme.CONTROL, 0.45)}'>■</span>"] = (
            "random vectors of equal norm, from the least to the most"
        )
    return lay_out(
        figure,
        Layout(_PLOT, _LEFT, _RIGHT),
        (title, sentences(subtitle)),
        marks,
        xaxis={
            "title": "quantile of the normal distribution, standard deviations",
            "showgrid": False,
            "range": (points["x"].iloc[0] - _GAP, points["x"].iloc[-1] + _GAP),
        },
        yaxis={"title": escaped(y_label), "showline": False, "ticks": "", "range": y_range},
    )


def _name_ends(figure: go.Figure, points: pd.DataFrame, named: int) -> tuple[float, float]:
    """Names both ends, a thin line from each name to its point, and returns how far up the axis has to reach.

    The highest stand at the right edge, at their heights; the lowest below the bulk, where nothing else is drawn.
    """
    reach = points[["value", "low", "high"]].to_numpy(dtype=float)
    least, most = float(np.nanmin(reach)), float(np.nanmax(reach))
    step = 15 * (most - least) / _PLOT[1] or 1.0
    top, bottom = points.tail(named), points.head(named)
    right = points["x"].iloc[-1] + _GAP
    at = spread([float(value) for value in top["value"]], step)
    beside = float(bottom["x"].iloc[-1]) + 4 * _GAP
    under = points.loc[points["x"].between(beside, beside + 10 * _GAP), ["value", "low"]].min(axis=None) - step
    below = [float(under) - i * step for i in range(named)][::-1]  # the lowest value lowest, as it stands itself
    for part, x, places in ((top, right, at), (bottom, beside, below)):
        for row, place in zip(part.itertuples(), places, strict=True):
            figure.add_annotation(
                x=row.x, y=row.value, ax=x, ay=place, axref="x", ayref="y", text=token_label(str(row.token), 14),
                xanchor="left", showarrow=True, arrowhead=0, arrowwidth=0.6, arrowcolor=theme.RULE, standoff=4,
                font={"size": 11, "family": theme.MONO, "color": theme.MUTED},
            )  # fmt: skip
    return min(least, below[0]) - 1.5 * step, max(most, at[-1]) + step
