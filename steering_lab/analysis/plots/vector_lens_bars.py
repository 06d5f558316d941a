"""What a vector says by itself: the tokens it raises to the right, those it lowers to the left, strongest on top."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.labels import round_ticks, signed
from steering_lab.analysis.plots.parts.layout import Layout, lay_out
from steering_lab.analysis.plots.parts.tokens import label_width, token_label

_SIDES = {"lowered": (-1, theme.CYCLE[0]), "raised": (1, theme.CYCLE[1])}
_LETTER, _PITCH, _BARS, _MOST = 6.8, 24, 420, 22  # letter, row and bars in pixels; letters of a label


def vector_lens_bars(table: pd.DataFrame, *, row: int | None = None, title: str = "", subtitle: str = "") -> go.Figure:
    """A pair of bars per rank, one to each side, for one row of a steering vector; `table` is one of `vector_lens`.

    Args:
        table: One of `vector_lens`.
        row: The row of the vector; may be left out where it has one.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.

    Raises:
        ValueError: a column or the row is missing, or there are several rows and none was chosen.
    """
    if missing := [c for c in ("row", "side", "rank", "token", "logit") if c not in table]:
        raise ValueError(f"the table has no column {missing[0]!r}: make it with vector_lens")
    held = sorted(table["row"].unique())
    if row is None and len(held) != 1:
        raise ValueError(f"the table has the rows {', '.join(map(str, held))} of a vector: choose one, e.g. row=1")
    if row is not None and row not in held:
        raise ValueError(f"row {row} is not in the table: it has {', '.join(map(str, held))} (a row of zeros has none)")
    rows = table[table["row"] == (held[0] if row is None else row)]
    rows = rows.assign(label=[token_label(token, _MOST) for token in rows["token"]])
    figure = go.Figure()
    for side, (_, colour) in _SIDES.items():
        _draw_side(figure, rows[rows["side"] == side], colour, left=side == "lowered")
    return _dress(figure, rows, title, subtitle)


def _draw_side(figure: go.Figure, rows: pd.DataFrame, colour: str, *, left: bool) -> None:
    hover = [
        f"<b>{token_label(r.token)}</b><br>{r.side}, rank {r.rank}<br>logit {signed(r.logit)}"
        for r in rows.itertuples()
    ]
    figure.add_bar(
        x=rows["logit"],
        y=rows["rank"],
        orientation="h",
        width=0.62,
        marker={"color": colour},
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
        name=rows["side"].iloc[0] if len(rows) else "",
    )
    outer = rows["logit"].clip(upper=0) if left else rows["logit"].clip(lower=0)
    figure.add_scatter(
        x=outer,
        y=rows["rank"],
        mode="text",
        text=[f"{label}\u2002" if left else f"\u2002{label}" for label in rows["label"]],
        textposition="middle left" if left else "middle right",
        textfont={"size": 12, "color": theme.INK},
        cliponaxis=False,
        hoverinfo="skip",
        name="tokens",
    )


def _dress(figure: go.Figure, rows: pd.DataFrame, title: str, subtitle: str) -> go.Figure:
    """Axes with room for the words outside the bars, the sides' names, title and size."""
    letters = {side: max((label_width(t) for t in rows["token"][rows["side"] == side]), default=0) for side in _SIDES}
    room = {side: _LETTER * min(count, _MOST) + 18 for side, count in letters.items()}
    low, high = min(0.0, float(rows["logit"].min())), max(0.0, float(rows["logit"].max()))
    pixel = (high - low or 1.0) / _BARS
    ends = (low - room["lowered"] * pixel, high + room["raised"] * pixel)
    plot, count = round(_BARS + sum(room.values())), int(rows["rank"].max())
    for side, (sign, colour) in _SIDES.items():
        figure.add_annotation(
            x=0,
            y=1,
            yref="paper",
            yanchor="bottom",
            yshift=4,
            xanchor="left" if sign > 0 else "right",
            xshift=6 * sign,
            text=f"<b>{side} →</b>" if sign > 0 else f"<b>← {side}</b>",
            font={"size": 12, "color": colour},
            showarrow=False,
            name="side",
        )
    figure.add_vline(x=0, line={"color": theme.INK, "width": 1.2})
    bars = (low, high if high > low else low + 1.0)
    ticks = round_ticks(bars, ratio=False, most=6, show=lambda v: signed(v, 0 if np.isclose(v, round(v)) else 2))
    return lay_out(
        figure,
        Layout((plot, _PITCH * count), left=34, right=26, above=36),
        (title, subtitle),
        barmode="overlay",
        xaxis={"title": "logit of the direction alone", "range": ends, "showgrid": False, **ticks},
        yaxis={**theme.BARE, "range": (count + 0.5, 0.5), "tickvals": [1, *range(5, count + 1, 5)]},
    )
