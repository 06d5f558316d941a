"""Where a figure's title, plot and key stand: one value with its sizes, and the one function that sets them.

The title stands above the plot and the key of its marks below; both are measured here, because plotly knows the height
of neither before it draws.
"""

import html
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import plotly.graph_objects as go

from steering_lab.analysis.plots.parts.theme import INK, MUTED, TEMPLATE

_APART = "\u2003\u2002"  # between the entries of a key
_BAR = 30  # pixels above the plot that a page's mode bar needs, in place of a title
_EDGE = 18  # pixels from the figure's edge to its title and key


@dataclass(frozen=True)
class Layout:
    """The sizes about a figure's plot, in pixels.

    Args:
        plot: Width and height of the axes, all panels together.
        left: What stands at the left of them: numbers and names.
        right: What stands at their right: names of lines, a colour bar.
        above: Between title and plot, where names may stand on the plot.
        below: Between plot and key: the axis' numbers and title.
        least: The least width of the figure, for its title; what is missing is added at the right.
    """

    plot: tuple[int, int]
    left: int
    right: int
    above: int = 18
    below: int = 58
    least: int = 0

    @property
    def width(self) -> int:
        """Of the whole figure."""
        return max(self.left + self.plot[0] + self.right, self.least)


def lay_out(
    figure: go.Figure,
    layout: Layout,
    words: tuple[str, str],
    marks: Mapping[str, str] | None = None,
    **options: Any,
) -> go.Figure:
    """The figure in the lab's template and in its size, with its title above and the key of its marks below.

    Args:
        figure: What has been drawn; changed, and returned.
        layout: The sizes about the plot.
        words: Title and subtitle, the author's HTML, never model text.
        marks: Glyph to meaning.
        options: For plotly's `update_layout`: axes, colour axis, how bars stand.
    """
    title, legend = title_block(*words, layout.width), key(marks or {}, layout.width)
    if legend.text:
        _place_key(figure, legend.text, layout)
    right = layout.width - layout.left - layout.plot[0]
    top, bottom = title.height + layout.above, layout.below + 8 + legend.height
    return figure.update_layout(
        template=TEMPLATE,
        width=layout.width,
        height=top + layout.plot[1] + bottom,
        margin={"l": layout.left, "r": right, "t": top, "b": bottom},
        title=title.title,
        **options,
    )


def sentences(*parts: str) -> str:
    """The parts that are not empty, with a full stop between them and none at the end."""
    return ". ".join(part.rstrip(". ") for part in parts if part)


class TitleBlock(NamedTuple):
    """A title over its wrapped subtitle, and the height in pixels that the two need."""

    title: dict[str, str]
    height: int


def title_block(title: str, subtitle: str, width: int) -> TitleBlock:
    """`title` over `subtitle` for a figure `width` pixels wide; both are the author's HTML, never model text.

    One text with spans, because plotly's own subtitle moves with its number of lines.
    """
    titles = textwrap.wrap(title, max(20, int((width - 2 * _EDGE) / 8.8)))
    room = int((width - 2 * _EDGE) / 6.1)
    count = -(-len(subtitle) // room)  # then balanced lines, no orphan at the end
    subtitles = textwrap.wrap(subtitle, min(room, -(-len(subtitle) // count) + 8)) if subtitle else []
    span = f"<span style='font-size:12.5px;font-weight:400;color:{MUTED}'>{{}}</span>"
    text = "<br>".join([*titles, *(span.format(row) for row in subtitles)])
    return TitleBlock({"text": text}, 8 + 22 * (len(titles) + len(subtitles)))


class Key(NamedTuple):
    """`text`: what the marks of a figure mean, in lines that fit its width. `height`: the pixels that they need."""

    text: str
    height: int


def key(marks: Mapping[str, str], width: int) -> Key:
    """Glyph and meaning, side by side, as many to a line as fit; nothing without marks.

    Our own text, because plotly's horizontal legend reserves the longest entry's width for each and its height
    cannot be known beforehand.
    """
    lines: list[list[str]] = [[]]
    used = 0.0
    for glyph, meaning in marks.items():
        needed = 6.2 * len(meaning) + 50
        if lines[-1] and used + needed > width - 2 * _EDGE:
            lines, used = [*lines, []], 0.0
        lines[-1].append(f"<span style='color:{INK}'>{glyph}</span>\u2002{meaning}")
        used += needed
    return Key("<br>".join(_APART.join(line) for line in lines), 20 * len(lines) if marks else 0)


class Words(NamedTuple):
    """The text about a figure, as plotly has it; the key in its entries.

    Args:
        title: The title, with plotly's tags in it; empty where there is none.
        subtitle: The line below the title, likewise.
        key: What colours and marks mean, an entry each.
    """

    title: str = ""
    subtitle: str = ""
    key: tuple[str, ...] = ()


def without_words(figure: go.Figure) -> tuple[go.Figure, Words]:
    """The figure without title and key and without the room that they took, and the two, for a page to print."""
    bare = go.Figure(figure)
    layout, title = bare.layout, (bare.layout.title.text or "").split("<br>")
    keys = [note for note in layout.annotations if note.name == "key"]
    if not layout.margin.t or not layout.height or not title[0]:
        return bare, Words()
    above = 8 + 22 * len(title) - _BAR
    below = 8 + 20 * sum(note.text.count("<br>") + 1 for note in keys) if keys else 0
    layout.annotations = [note for note in layout.annotations if note.name != "key"]
    layout.title = None
    layout.margin.update(t=layout.margin.t - above, b=layout.margin.b - below)
    layout.height -= above + below
    first = next((i for i, line in enumerate(title) if line.startswith("<span style")), len(title))
    entries = [entry for note in keys for line in note.text.split("<br>") for entry in line.split(_APART)]
    return bare, Words(" ".join(title[:first]), " ".join(title[first:]), tuple(entries))


def plain(text: str) -> str:
    """Plotly's text without its tags and entities."""
    return html.unescape(re.sub(r"</?[a-z][^<>]*>", "", text))


def _place_key(figure: go.Figure, text: str, layout: Layout) -> None:
    """Under the axes, flush with the figure's title."""
    figure.add_annotation(
        text=text,
        name="key",
        x=0,
        xref="paper",
        xanchor="left",
        xshift=_EDGE - layout.left,
        y=0,
        yref="paper",
        yanchor="top",
        yshift=-layout.below,
        align="left",
        showarrow=False,
        font={"size": 12, "color": MUTED},
    )
