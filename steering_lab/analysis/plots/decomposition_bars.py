"""What an edit did itself and what attention and MLP made of it: signed stacked bars, layer by layer and in sum."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.hover import interval_text
from steering_lab.analysis.plots.parts.labels import amount, round_ticks, signed
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.analysis.plots.parts.sites import thinned

PARTS = {"direct": theme.INK, "attention": theme.CYCLE[0], "mlp": theme.CYCLE[1], "final norm": theme.CYCLE[2]}
_NAMES = {"direct": "the edit itself", "attention": "what attention changed", "mlp": "what MLPs changed"}
_NAMES["final norm"] = "rescaling by the final norm"
_LEFT, _RIGHT, _HEIGHT = 76, 28, 300


def decomposition_bars(
    summary: pd.DataFrame,
    *,
    y_title: str = "effect along the direction, residual-stream units",
    title: str = "",
    subtitle: str = "",
    interval: str = "95 % interval over prompts",
) -> go.Figure:
    """A stack per layer, parts above zero upward and below it downward, a tick at their sum; all layers at the right.

    `summary` is `mean_over_prompts(table, "effect", by=("layer", "part"))` of an `effect_decomposition` or a
    `logit_decomposition`. The parts of all layers sum to the whole change, which the last tick shows. Intervals are on
    hover.

    Args:
        summary: `mean_over_prompts` of a decomposition by layer and part.
        y_title: The title of the vertical axis.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.
        interval: What the caption calls the intervals.

    Raises:
        ValueError: a column is missing, there are no rows, or a part is unknown.
    """
    if missing := [column for column in ("layer", "part", "mean", "low", "high") if column not in summary]:
        raise ValueError(f"the table has no column {missing[0]!r}: draw mean_over_prompts(..., by=('layer', 'part'))")
    if summary.empty:
        raise ValueError("the table has no rows to draw")
    if unknown := set(summary["part"]) - set(PARTS):
        raise ValueError(f"unknown part {min(unknown)!r}: a table of effects has {', '.join(PARTS)}")
    bars = _bars(summary)
    figure = go.Figure()
    for part, colour in PARTS.items():
        rows = bars[bars["part"] == part]
        if len(rows):
            _draw_part(figure, rows, colour, interval)
    sums = bars.groupby("x", as_index=False)["mean"].sum(min_count=1)
    touched = bars["mean"].abs().groupby(bars["x"]).max() > 1e-6 * bars["mean"].abs().max()
    moved = sums[sums["x"].map(touched)]
    x = [v for at in moved["x"] for v in (at - 0.46, at + 0.46, None)]
    y = [v for at in moved["mean"] for v in (at, at, None)]
    line = {"color": theme.INK, "width": 2}
    figure.add_scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", name="sum")
    return _dress(figure, bars, sums, summary, y_title, (title, subtitle))


def _bars(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows with their place `x` and `where` they belong; the sum over layers stands apart at the right."""
    order = {layer: float(i) for i, layer in enumerate(sorted(summary["layer"].unique()))}
    rows = summary.assign(x=summary["layer"].map(order), where=[f"layer {layer}" for layer in summary["layer"]])
    rows.loc[rows["part"] == "final norm", "where"] = "final norm"
    total = rows.groupby("part", as_index=False)["mean"].sum(min_count=1)
    total = total.assign(x=len(order) + 0.6, where="all layers", low=np.nan, high=np.nan)
    return pd.concat([rows, total], ignore_index=True)


def _draw_part(figure: go.Figure, rows: pd.DataFrame, colour: str, interval: str) -> None:
    name = _NAMES[str(rows["part"].iloc[0])]
    hover = []
    for row in rows.itertuples():
        ends = interval_text(row.low, row.high, getattr(row, "why", None), lambda end: signed(end, 3))
        ends += "" if np.isnan(row.low) else f"<br>{interval}"
        hover.append(f"<b>{row.where}: {name}</b><br>{signed(row.mean, 3)}{ends}")
    figure.add_bar(
        x=rows["x"],
        y=rows["mean"],
        width=0.74,
        marker={"color": colour, "line": {"width": 0}},
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
        name=name,
    )


def _dress(
    figure: go.Figure,
    bars: pd.DataFrame,
    sums: pd.DataFrame,
    summary: pd.DataFrame,
    y_title: str,
    words: tuple[str, str],
) -> go.Figure:
    """Axes, the sum's number, title, key, size."""
    layers = sorted(int(layer) for layer in summary["layer"].unique())
    last = float(bars["x"].max())
    plot = int(np.clip(48 * (len(layers) + 1.6), 380, 820))
    pixels = plot / (last + 1.2)
    names = [str(layer) for layer in layers]
    normed = set(summary.loc[summary["part"] == "final norm", "layer"])
    shown = [i for i in thinned(len(layers), pixels, 22) if layers[i] not in normed]
    places = [float(i) for i in shown] + [float(layers.index(layer)) for layer in normed] + [last]
    text = [names[i] for i in shown] + ["final<br>norm" for _ in normed] + ["<b>all<br>layers</b>"]
    split = (
        bars.assign(up=bars["mean"].clip(lower=0), down=bars["mean"].clip(upper=0)).groupby("x")[["up", "down"]].sum()
    )
    low, high = float(split["down"].min()), float(split["up"].max())
    pad = 0.1 * (high - low) or 0.5
    y_range = (low - pad * (low < 0), high + pad)
    whole = float(sums.loc[sums["x"] == last, "mean"].iloc[0])
    figure.add_annotation(
        x=last,
        y=float(split.loc[last, "up"]),
        yanchor="bottom",
        yshift=3,
        text=f"<b>{amount(whole, plus=True)}</b>",
        showarrow=False,
        name="whole",
    )
    figure.add_hline(y=0, line={"color": theme.RULE, "width": 1})
    figure.add_vline(x=last - 0.8, line={"color": theme.GRID, "width": 1}, layer="below")
    marks = {
        f"<span style='color:{PARTS[part]}'>■</span>": _NAMES[part] for part in PARTS if part in set(summary["part"])
    }
    marks["<b>—</b>"] = "their sum"
    known = summary.get("n_prompts")
    counted = "" if known is None else f"Mean of {int(known.max())} prompts"
    return lay_out(
        figure,
        Layout((plot, _HEIGHT), _LEFT, _RIGHT, below=68),
        (words[0], sentences(words[1], counted)),
        marks,
        barmode="relative",
        xaxis={
            "title": {"text": "layer", "standoff": 4},
            "showgrid": False,
            "range": (-0.6, last + 0.6),
            "tickvals": places,
            "ticktext": text,
            "ticks": "",
        },
        yaxis={
            "title": y_title,
            "showline": False,
            "ticks": "",
            "range": y_range,
            **round_ticks(y_range, ratio=False, show=lambda tick: amount(tick, plus=True)),
        },
    )
