"""Expectations that cannot hold together, whatever is measured: refused before a run."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas as pd

from steering_lab.study.expectations import Expectation


def check_together(expects: Sequence[str]) -> None:
    """Nothing when all lines may hold together, as far as two about one metric of the same or circles of several show.

    "effect" is taken for a metric of its own, though it is another name of the one that chose.

    Args:
        expects: The lines.

    Raises:
        ValueError: a line that cannot be read, two that exclude each other, or a circle of them.
    """
    lines = [Expectation.read(text) for text in expects]
    for one, other in combinations(lines, 2):
        if (one.who, one.metric) == (other.who, other.metric) and _apart(one, other):
            raise ValueError(f"expectations {one.text!r} and {other.text!r} can never both hold")
    for metric in dict.fromkeys(line.metric for line in lines):
        below = {}
        for line in lines:
            if line.metric == metric and line.other:
                ends = (line.other, line.who) if line.claim["side"] == "above" else (line.who, line.other)
                below[ends] = line.text
        for (low, high), text in below.items():
            if (back := _path(below, high, low)) is not None:
                circle = ", ".join(map(repr, [text, *back]))
                raise ValueError(f"expectations {circle} can never all hold: they go round in a circle")


def _apart(one: Expectation, other: Expectation) -> bool:
    """Whether no effect satisfies both, be it a difference or a ratio."""
    if one.other or other.other:
        return False
    return all(_exclude(one, other, idle) for idle in (0.0, 1.0))


def _exclude(one: Expectation, other: Expectation, idle: float) -> bool:
    bounds = [*one.bounds(idle, pd.DataFrame()), *other.bounds(idle, pd.DataFrame())]
    least = max(((bound.number, bound.strict) for bound in bounds if bound.up), default=None)
    most = min(((bound.number, not bound.strict) for bound in bounds if not bound.up), default=None)
    if least is None or most is None:
        return False
    return least[0] > most[0] or (least[0] == most[0] and (least[1] or not most[1]))


def _path(below: Mapping[tuple[str, str], str], start: str, end: str) -> list[str] | None:
    """The lines that lead upward from one to another; None where none do."""
    reached: dict[str, list[str]] = {start: []}
    waiting = [start]
    while waiting:
        here = waiting.pop()
        if here == end:
            return reached[here]
        for (low, high), text in below.items():
            if low == here and high not in reached:
                reached[high] = [*reached[here], text]
                waiting.append(high)
    return None
