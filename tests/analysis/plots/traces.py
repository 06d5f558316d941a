"""What a figure draws, by the names of its traces."""

from typing import Any

import plotly.graph_objects as go


def traces(figure: go.Figure, name: str) -> list[Any]:
    """All traces of that name, in the order in which they are drawn."""
    return [one for one in figure.data if one.name == name]


def trace(figure: go.Figure, name: str) -> Any:
    """The first of them."""
    return traces(figure, name)[0]
