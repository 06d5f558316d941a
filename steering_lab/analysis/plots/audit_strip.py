"""Which tokens an edit touched, as text: every token a box, coloured by how much of the stream was changed there."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.grid import QUIET, colour_bar
from steering_lab.analysis.plots.parts.labels import escaped, wrapped
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.analysis.plots.parts.tokens import label_width, token_label

MOST_SITES = 8
_LEFT, _WIDTH = 118, 760  # the left margin and the width that tokens flow in, in pixels
_LETTER, _LINE, _HEAD, _BREAK = (
    7.3,
    27,
    30,
    18,
)  # a monospaced letter; heights of a line, a site's head, what follows it
_NEEDED = (
    "prompt",
    "forward",
    "layer",
    "stream",
    "position",
    "token",
    "is_prompt",
    "touched",
    "change",
    "relative",
    "terms",
)


class Site(NamedTuple):
    """One site's tokens with their boxes (`left`, `wide`, `y`, in pixels from the upper left) and its own head."""

    boxes: pd.DataFrame
    head: str
    y: float


def audit_strip(table: pd.DataFrame, *, prompt: int = 0, title: str = "", subtitle: str = "") -> go.Figure:
    """The prompt's tokens, then the generated ones, as running text, once per site; padding is left out.

    Colour is the measured change over the norm of the stream. Every token stands for the
    forward pass that read it: the prompt for the first, each generated token for one of its own.

    Args:
        table: One of `audit`.
        prompt: The number of the prompt that is drawn.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.

    Raises:
        ValueError: a column is missing, no rows for `prompt`, or more than eight sites.
    """
    sites = _flowed(_rows(table, prompt))
    boxes = pd.concat([site.boxes for site in sites], ignore_index=True)
    reach = float(np.nan_to_num(boxes["relative"].max())) or 1.0
    height = max(150, int(boxes["y"].max() + _LINE))
    figure = go.Figure()
    vain = ~boxes["touched"] & (boxes["terms"] != "")
    for name, part, look in (
        (
            "untouched",
            boxes[~boxes["touched"] & ~vain],
            {"color": theme.PAPER, "line": {"width": 1, "color": theme.GRID}},
        ),
        ("in vain", boxes[vain], {"color": theme.PAPER, "line": {"width": 1.2, "color": theme.MUTED}}),
        (
            "touched",
            boxes[boxes["touched"]],
            {"coloraxis": "coloraxis", "line": {"width": 1, "color": theme.COST[4][1]}},
        ),
    ):
        colour = {"color": part["relative"]} if name == "touched" else {}
        figure.add_bar(
            orientation="h",
            base=part["left"],
            x=part["wide"],
            y=part["y"],
            width=_LINE - 5,
            marker=look | colour,
            customdata=[_hover(token) for token in part.itertuples()],
            hovertemplate="%{customdata}<extra></extra>",
            name=name,
        )
    inks = np.where(
        boxes["touched"], theme.ink_on(boxes["relative"].to_numpy(dtype=float) / reach, theme.COST), theme.MUTED
    )
    font = {"family": theme.MONO, "size": 12, "color": inks}
    middle = boxes["left"] + boxes["wide"] / 2
    figure.add_scatter(x=middle, y=boxes["y"], mode="text", text=boxes["text"], textfont=font, name="tokens", **QUIET)
    for site in sites:
        _name_site(figure, site)
    marks = {"<b>□</b>": "in the edit's place, yet unchanged: a zero row, or terms that cancel"} if vain.any() else {}
    return _laid_out(figure, reach, height, marks, title, subtitle)


def _rows(table: pd.DataFrame, prompt: int) -> pd.DataFrame:
    if missing := [name for name in _NEEDED if name not in table]:
        raise ValueError(f"the table has no column {missing[0]!r}: draw what audit returned")
    rows = table[(table["prompt"] == prompt) & (table["position"] >= 0)]
    if rows.empty:
        raise ValueError(f"no rows for prompt {prompt}: the table has {sorted(table['prompt'].unique())}")
    if (count := len(rows[["layer", "stream"]].drop_duplicates())) > MOST_SITES:
        raise ValueError(f"{count} sites are too many to read: take the rows of at most {MOST_SITES}")
    return rows


def _flowed(rows: pd.DataFrame) -> list[Site]:
    """Tokens side by side in lines, a new one where the line is full and where the prompt ends."""
    sites, y = [], 0.0
    for (layer, stream), part in rows.groupby(["layer", "stream"], sort=False):
        part = part.assign(text=[token_label(token, 16) for token in part["token"]])
        terms = list(dict.fromkeys(term for all_of in part["terms"] for term in all_of.split("; ") if term))
        head = f"<b>{stream}({layer})</b>  changed at {part['touched'].sum()} of {len(part)} tokens"
        if terms:
            named = "; ".join(terms)
            head += (
                f"  <span style='color:{theme.MUTED}'>{escaped(named if len(named) <= 84 else named[:83] + '…')}</span>"
            )
        top, y = y, y + _HEAD
        x, before = 0.0, True
        lefts: list[float] = []
        ys: list[float] = []
        widths = [_LETTER * max(1, label_width(_plain(text))) + 9 for text in part["text"]]
        for wide, is_prompt in zip(widths, part["is_prompt"], strict=True):
            if x and (x + wide > _WIDTH or is_prompt != before):
                x, y = 0.0, y + _LINE + 8 * (is_prompt != before)
            lefts, ys, x, before = [*lefts, x], [*ys, y], x + wide + 3, is_prompt
        sites.append(Site(part.assign(left=lefts, wide=widths, y=ys), head, top))
        y += _LINE + _BREAK
    return sites


def _plain(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _hover(token: object) -> str:
    get = lambda name: getattr(token, name)  # noqa: E731
    changed = f"changed by {get('change'):.4g}, {100 * get('relative'):.3g} % of the stream's norm"
    part = "prompt" if get("is_prompt") else "generated"
    lines = [
        f"<b>{escaped(repr(get('token')))}</b>, token {get('position')}, {part}",
        f"forward {get('forward')}, {get('stream')}({get('layer')})",
        changed if get("touched") else "unchanged",
    ]
    return "<br>".join([*lines, *([wrapped(get("terms"))] if get("terms") else [])])


def _name_site(figure: go.Figure, site: Site) -> None:
    note = {"xref": "x", "yref": "y", "xanchor": "left", "showarrow": False, "align": "left"}
    figure.add_annotation(x=0, y=site.y, text=site.head, xshift=-_LEFT + 18, font={"size": 12}, name="site", **note)
    for is_prompt, part in site.boxes.groupby("is_prompt", sort=False):
        first, last = int(part["forward"].min()), int(part["forward"].max())
        passes = f"forward {first}" if first == last else f"forwards {first}–{last}"
        text = f"{'prompt' if is_prompt else 'generated'}<br>{passes}"
        font = {"size": 11, "color": theme.MUTED}
        figure.add_annotation(
            x=0, y=float(part["y"].min()), text=text, xshift=-_LEFT + 18, font=font, name="passes", **note
        )


def _laid_out(
    figure: go.Figure, reach: float, height: int, marks: dict[str, str], title: str, subtitle: str
) -> go.Figure:
    ticks = [0.0, reach / 2, reach]
    text = [f"{100 * tick:.{0 if reach > 0.1 else 2}f} %" for tick in ticks]
    bar, right = colour_bar(figure, "change / stream norm", ticks, text, height)
    words = sentences(subtitle, "Measured before and after the edit in every forward pass")
    hidden = {"visible": False}
    return lay_out(
        figure,
        Layout((_WIDTH, height), _LEFT, right, above=26, below=10),
        (title, words),
        marks,
        barmode="overlay",
        coloraxis={"cmin": 0, "cmax": reach, "colorscale": theme.COST, "colorbar": bar},
        xaxis={**hidden, "range": (-1, _WIDTH + 1)},
        yaxis={**hidden, "range": (height - _HEAD / 2, -_HEAD / 2)},
    )


def audit_html(table: pd.DataFrame, *, prompt: int = 0) -> str:
    """`audit_strip` as running HTML text for a notebook or a page, one paragraph per site; model text is escaped.

    Args:
        table: An audit (`analysis.audit`).
        prompt: The index of the prompt that is shown.
    """
    rows = _rows(table, prompt)
    reach = float(np.nan_to_num(rows["relative"].max())) or 1.0
    paragraphs = []
    for (layer, stream), part in rows.groupby(["layer", "stream"], sort=False):
        shares = part["relative"].to_numpy(dtype=float) / reach
        fills = sample_colorscale([list(stop) for stop in theme.COST], np.nan_to_num(shares).clip(0, 1))
        inks = theme.ink_on(shares, theme.COST)
        spans = [_span(*row) for row in zip(part.itertuples(), fills, inks, strict=True)]
        paragraphs.append(
            f"<p style='font-family:{theme.MONO};line-height:2'><b>{stream}({layer})</b> {' '.join(spans)}</p>"
        )
    return "\n".join(paragraphs)


def _span(token: object, fill: str, ink: str) -> str:
    get = lambda name: getattr(token, name)  # noqa: E731
    style = f"background:{fill};color:{ink}" if get("touched") else f"background:{theme.PAPER};color:{theme.MUTED}"
    tip = f"token {get('position')}, forward {get('forward')}: changed by {get('change'):.4g}"
    edge = theme.GRID if get("is_prompt") else theme.RULE
    return (
        f"<span style='{style};border:1px solid {edge};border-radius:3px;padding:1px 3px' title='{tip}'>"
        f"{token_label(get('token'), 16)}</span>"
    )
