"""Where labels stand: beside their points, off other labels and off other points. Pixels only, no drawing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

LETTER, LINE = 6.6, 15.0  # width of a letter and height of a line at 12 pixels


class Box(NamedTuple):
    """A rectangle in pixels, x to the right and y upward.

    Args:
        left: Its left edge.
        right: Its right edge.
        bottom: Its lower edge.
        top: Its upper edge.
    """

    left: float
    right: float
    bottom: float
    top: float

    def overlap(self, other: "Box") -> float:
        """The area that this box and `other` both cover."""
        return float(_covered([self], [other])[0])

    def annotation(self, plot: tuple[int, int]) -> dict[str, Any]:
        """What places plotly's annotation in the middle of the box, on a plot so many pixels wide and high."""
        return {
            "xref": "paper",
            "yref": "paper",
            "x": (self.left + self.right) / 2 / plot[0],
            "y": (self.bottom + self.top) / 2 / plot[1],
            "xanchor": "center",
            "yanchor": "middle",
            "showarrow": False,
        }


def label_boxes(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    frame: Box,
    avoid: Sequence[Box] = (),
    *,
    reach: float = 9.0,
) -> list[Box]:
    """A box for each text beside its point, in order: the first of 72 places that covers nothing, else the least bad.

    A text may have several lines. Near places come before far ones, right before left. Points and earlier labels are in
    the way as areas, `avoid` (say, intervals) by a third of theirs, and what leaves `frame` counts five times.

    Args:
        points: Where the points are, in pixels.
        texts: The text of each point.
        frame: What no text should leave.
        avoid: Areas that texts had better not cover.
        reach: How far from its point a text begins, in pixels.
    """
    dots = [Box(x - 6, x + 6, y - 6, y + 6) for x, y in points]
    placed: list[Box] = []
    for i, ((x, y), text) in enumerate(zip(points, texts, strict=True)):
        lines = text.split("\n")
        width, height = LETTER * max(map(len, lines)), LINE * len(lines)
        places = _places(x, y, width, height, reach)
        outside = width * height - _covered(places, [frame])
        costs = _covered(places, [*dots[:i], *dots[i + 1 :], *placed]) + _covered(places, avoid) / 3 + 5 * outside
        placed.append(places[int(np.argmin(costs + 0.5 * np.arange(len(places))))])
    return placed


def _covered(boxes: Sequence[Box], others: Sequence[Box]) -> Float[np.ndarray, " boxes"]:
    """The area of each of `boxes` that `others` cover, summed over them; together, as a curve may be a thousand."""
    left, right, bottom, top = np.reshape(boxes, (-1, 4, 1)).transpose(1, 0, 2).astype(float)
    of = np.reshape(others, (-1, 4)).T.astype(float)
    wide = np.minimum(right, of[1]) - np.maximum(left, of[0])
    high = np.minimum(top, of[3]) - np.maximum(bottom, of[2])
    return (wide.clip(0) * high.clip(0)).sum(axis=1)


def _places(x: float, y: float, width: float, height: float, reach: float) -> list[Box]:
    """Eight places around a point, at one `reach` and ever farther."""
    places = []
    for times in (1, 2, 3.5, 5, 7, 9, 12, 15, 19):
        far = times * reach
        right, left, middle = x + far, x - far - width, x - width / 2
        level, above, below = y - height / 2, y + far - 2, y - far - height + 2
        corners = [(right, level), (right, above), (right, below), (left, level), (middle, above), (middle, below)]
        corners += [(left, above), (left, below)]
        places += [Box(a, a + width, b, b + height) for a, b in corners]
    return places
