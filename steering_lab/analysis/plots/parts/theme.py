"""The lab's look: palette, plotly template, and ink that can be read on any cell.

Importing this module registers the template "steering_lab"; figures name it themselves, plotly's default is left alone.
"""

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
from plotly.colors import sample_colorscale, unlabel_rgb

TEMPLATE = "steering_lab"
INK, MUTED, RULE, GRID, PAPER = "#1b1f24", "#5b6470", "#9aa3ad", "#e6e8eb", "#ffffff"
CONTROL = "#6b7280"  # whatever a figure compares against is grey
OTHER, REFERENCE = "#93a5b8", "#c9ced4"  # bars beside the one in focus; the bar that all are compared with
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")  # Okabe and Ito, less their yellow
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "star")

Scale = list[tuple[float, str]]
# Blue to vermilion: apart under deuteranopia, protanopia and tritanopia, both arms equally light at equal distance,
# and a warm grey centre so that a cell without effect still reads as a cell.
DIVERGING: Scale = [
    (0.0, "#0b4a8f"),
    (0.16, "#2f7dbb"),
    (0.31, "#83b6da"),
    (0.43, "#cfe1ee"),
    (0.5, "#f2f1ee"),
    (0.57, "#fadfca"),
    (0.69, "#f3a670"),
    (0.84, "#db621f"),
    (1.0, "#9c3304"),
]
# One hue, no kin of the diverging pair, for what steering costs: the darker, the dearer.
COST: Scale = [
    (0.0, "#f5f3f8"),
    (0.2, "#ddd3e9"),
    (0.4, "#bda9d6"),
    (0.6, "#977bbd"),
    (0.8, "#6f4c9b"),
    (1.0, "#40206b"),
]
# One hue for shares from nothing to all: the darker, the likelier.
SHARE: Scale = [
    (0.0, "#eef3f8"),
    (0.25, "#c3d8ea"),
    (0.5, "#83b3d8"),
    (0.75, "#3480bb"),
    (1.0, "#0b4079"),
]
# An order of lines (layers, early to late): dark violet to amber, steadily lighter, none too pale for white paper.
ORDERED: Scale = [(0.0, "#2d1e6b"), (0.3, "#8b2a82"), (0.6, "#cf4a5c"), (0.85, "#e58331"), (1.0, "#dba11c")]
SANS = "Inter, 'Helvetica Neue', Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
MONO = "'JetBrains Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
BARE = {"showgrid": False, "showline": False, "ticks": "", "zeroline": False}  # the axis of a heatmap


def _axis() -> dict[str, object]:
    return {
        "showline": True,
        "linecolor": RULE,
        "linewidth": 1,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": RULE,
        "tickfont": {"size": 12, "color": INK},
        "gridcolor": GRID,
        "zeroline": False,
        "title": {"font": {"size": 13, "color": INK}, "standoff": 10},
    }


pio.templates[TEMPLATE] = go.layout.Template(
    layout={
        "font": {"family": SANS, "size": 12, "color": INK},
        "colorway": CYCLE,
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "title": {
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"l": 18, "t": 22},
            "font": {"size": 17, "color": INK, "weight": 600},
        },
        "xaxis": _axis(),
        "yaxis": _axis(),
        "showlegend": False,
        "hoverlabel": {
            "bgcolor": PAPER,
            "bordercolor": "#c4cad1",
            "align": "left",
            "font": {"family": SANS, "size": 12.5, "color": INK},
            "namelength": -1,
        },
        "hovermode": "closest",
    }
)


def ink_on(shares: np.ndarray, scale: Scale) -> list[str]:
    """Dark or white for a label on each cell, by the relative luminance (WCAG 2) of the cell's colour.

    `shares` are positions on `scale`, in [0, 1] after clipping; NaN gets dark ink, for it stands on paper.
    """
    positions = np.clip(np.nan_to_num(shares, nan=0.0), 0, 1)
    luminances = [_luminance(colour) for colour in sample_colorscale([list(stop) for stop in scale], positions)]
    dark = [luminance >= 0.28 or np.isnan(share) for luminance, share in zip(luminances, shares, strict=True)]
    return [INK if is_dark else PAPER for is_dark in dark]


def _luminance(colour: str) -> float:
    red, green, blue = (
        c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in unlabel_rgb(colour))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def faint(colour: str, opacity: float) -> str:
    """`colour`, as `#rrggbb`, as a translucent `rgba(...)` of `opacity` 0 to 1, for bands."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
