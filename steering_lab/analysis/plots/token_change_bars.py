"""The next tokens that steering raised and lowered most, each with its share of the divergence."""

from html import unescape

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.labels import round_ticks, signed
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.analysis.plots.parts.tokens import label_width, token_label

RAISED, LOWERED = theme.CYCLE[1], theme.CYCLE[0]
LEAST = 0.0005  # of the divergence: what a token contributes to be worth a bar
_WIDTH, _ROW, _LETTER = 420, 23, 7.3  # the axes' width, a token's row, a letter of its name, in pixels


def token_change_bars(
    table: pd.DataFrame,
    *,
    n: int = 8,
    title: str = "",
    subtitle: str = "",
) -> go.Figure:
    """A bar per token from the largest contribution to KL(steered || clean) down to the most negative one, in nats.

    `table` is one of `token_changes`. Up to `n` tokens that rose and `n` that fell, each by 0.05 % of the divergence or
    more. Beside a bar stands its share (lowered tokens are negative: over the vocabulary shares sum to 100 %), to the
    left its probability before and after.

    Args:
        table: One of `token_changes`.
        n: How many tokens that rose, and how many that fell, are drawn at most.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.

    Raises:
        ValueError: a column is missing, or no token changed.
    """
    needed = ("token", "p_clean", "p_steered", "change", "contribution", "kl_share")
    if missing := [column for column in needed if column not in table]:
        raise ValueError(f"the table has no column {missing[0]!r}: draw a table of token_changes")
    kl = float(table["contribution"].sum())
    raised = table[table["kl_share"] >= LEAST].nlargest(n, "contribution")
    lowered = table[table["kl_share"] <= -LEAST].nsmallest(n, "contribution").iloc[::-1]
    rows = pd.concat([raised, lowered], ignore_index=True)
    if rows.empty:
        raise ValueError("no token's probability changed: there is nothing to draw")
    rows = rows.assign(y=[*range(len(raised)), *(i + len(raised) + 0.5 for i in range(len(lowered)))])
    share = [f"{signed(100 * share, 0 if abs(share) >= 0.1 else 1)} %" for share in rows["kl_share"]]
    rest = 1 - float(rows["kl_share"].sum())
    counted = f"KL {kl:.3g} nats; {len(rows)} of {len(table)} tokens shown, the others add {signed(100 * rest, 0)} %"
    figure = go.Figure()
    figure.add_bar(
        x=rows["contribution"],
        y=rows["y"],
        orientation="h",
        width=0.7,
        marker={"color": [RAISED if c > 0 else LOWERED for c in rows["contribution"]]},
        customdata=[_hover(row) for row in rows.itertuples()],
        hovertemplate="%{customdata}<extra></extra>",
        name="tokens",
    )
    figure.add_scatter(
        x=rows["contribution"],
        y=rows["y"],
        mode="text",
        text=[f"\u2002{s}\u2002" for s in share],
        textposition=["middle right" if c > 0 else "middle left" for c in rows["contribution"]],
        textfont={"size": 11},
        cliponaxis=False,
        hoverinfo="skip",
        name="shares",
    )
    return _dress(figure, rows, (title, sentences(subtitle, counted)))


def _hover(row: object) -> str:
    get = lambda name: getattr(row, name)  # noqa: E731
    return (
        f"<b>{token_label(str(get('token')), 40)}</b><br>probability {_percent(get('p_clean'))} → "
        f"{_percent(get('p_steered'))}<br>log-probability {signed(get('change'))} nats"
        f"<br>contribution {signed(get('contribution'), 4)} nats"
    )


def _percent(p: float) -> str:
    """0.02 %, 1.3 %, 42 %; below a hundredth of a percent "<0.01 %"."""
    if p < 5e-5:
        return "0 %" if p == 0 else "<0.01 %"
    return f"{100 * p:.2f} %" if p < 0.01 else f"{100 * p:.1f} %" if p < 0.1 else f"{100 * p:.0f} %"


def _dress(figure: go.Figure, rows: pd.DataFrame, words: tuple[str, str]) -> go.Figure:
    """Names and probabilities at the left, zero, key, title, size."""
    tokens = [token_label(str(token), 20) for token in rows["token"]]
    odds = [f"{_percent(a)} → {_percent(b)}" for a, b in zip(rows["p_clean"], rows["p_steered"], strict=True)]
    beside = 14 + int(6.3 * max(map(len, odds)))
    left = beside + 24 + int(_LETTER * max(label_width(unescape(token)) for token in tokens))
    low, high = min(0.0, float(rows["contribution"].min())), max(0.0, float(rows["contribution"].max()))
    room = 62 * (high - low) / (_WIDTH - 124)
    ends = (low - room * (low < 0), high + room * (high > 0))
    height = int(_ROW * (rows["y"].max() + 1))
    marks = {f"<span style='color:{RAISED}'>■</span>": "raised", f"<span style='color:{LOWERED}'>■</span>": "lowered"}
    marks["%"] = "share of the KL divergence"
    note = {"xref": "paper", "x": 0, "showarrow": False, "yref": "y"}
    for y, text in zip(rows["y"], odds, strict=True):
        font = {"size": 11, "color": theme.MUTED}
        figure.add_annotation(y=y, text=text, xanchor="right", xshift=-8, font=font, name="odds", **note)
    for y, token in zip(rows["y"], tokens, strict=True):
        font = {"size": 12, "family": theme.MONO}
        isolated = f"\u2068{token}\u2069"  # a right-to-left token stays in its own place
        figure.add_annotation(y=y, text=isolated, xanchor="right", xshift=-beside, font=font, name="token", **note)
    font = {"size": 11, "color": theme.MUTED}
    head = {"xref": "paper", "x": 0, "xanchor": "right", "showarrow": False, "yref": "paper", "y": 1, "font": font}
    figure.add_annotation(text="unsteered → steered", yanchor="bottom", xshift=-8, name="head", **head)
    figure.add_vline(x=0, line={"color": theme.RULE, "width": 1})
    return lay_out(
        figure,
        Layout((_WIDTH, height), left, 24, above=34),
        words,
        marks,
        xaxis={
            "title": "contribution to KL(steered ‖ clean), nats",
            "range": ends,
            **round_ticks(ends, ratio=False, most=8),
        },
        yaxis={**theme.BARE, "range": (float(np.max(rows["y"])) + 0.5, -0.5), "showticklabels": False},
    )
