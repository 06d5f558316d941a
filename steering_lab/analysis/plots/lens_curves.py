"""How chosen tokens fare along the stream at one place: a line each, and beside it the same without steering.

Colour says which token, a solid line what was read, a dashed one the clean run. Lines are named at their ends.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.labels import escaped
from steering_lab.analysis.plots.parts.layout import Layout, lay_out
from steering_lab.analysis.plots.parts.lens_sites import (
    AXIS,
    TARGET_COLOURS,
    lens_hover,
    site_labels,
    site_order,
    site_ticks,
)
from steering_lab.analysis.plots.parts.lines import Line, spread
from steering_lab.analysis.plots.parts.tokens import token_label

Measure = Literal["probability", "log_probability", "rank"]
MOST_TARGETS = 6
_AXES: dict[str, str] = {"probability": "probability", "log_probability": "log-probability (nats)", "rank": "rank"}
_LEFT, _PLOT, _LETTER = 76, (540, 320), 7.2  # left margin, size of the axes, width of a letter, in pixels


def lens_curves(
    table: pd.DataFrame,
    *,
    clean: pd.DataFrame | None = None,
    value: Measure = "probability",
    position: int = -1,
    targets: Sequence[str] | Mapping[str, str] = (),
    title: str = "",
    subtitle: str = "",
) -> go.Figure:
    """`value` of each target at one token read, against the sites in order; ranks on a log axis, the first on top.

    `table` and `clean` are tables of `token_lens` of one prompt, `clean` the one made outside the steering block.
    `position` counts from the end where it is negative. `targets` chooses and orders the lines, by default all of the
    table; a mapping also says in the label what each token is.

    Args:
        table: One of `token_lens`, of one prompt.
        clean: The same made outside the steering block.
        value: Probability, log-probability or rank.
        position: The token that was read; negative counts from the end.
        targets: The tokens that are drawn, in order; a mapping also says what each is. By default all.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.

    Raises:
        ValueError: a column, the position or a target is missing, several prompts, or more than six targets.
    """
    if value not in _AXES:
        raise ValueError(f"cannot draw {value!r}: choose one of {', '.join(_AXES)}")
    tables = [(table, False)] if clean is None else [(clean, True), (table, False)]
    roles = dict(targets) if isinstance(targets, Mapping) else dict.fromkeys(targets, "")
    sites = site_order(table)
    lines: list[Line] = []
    for one, is_clean in tables:
        rows = _at(one, position, value)
        for colour, (target, role) in zip(TARGET_COLOURS, _roles(rows, roles).items(), strict=False):
            points = rows[rows["target"] == target]
            points = points.assign(x=[sites.index(s) for s in zip(points["layer"], points["stream"], strict=True)])
            kind = "" if clean is None else ", clean" if is_clean else ", steered"
            name = token_label(target, 20) + (f" ({escaped(role)})" if role else "") + kind
            lines.append(Line(points.sort_values("x"), name, colour, is_clean))
    return _draw(lines, value, sites, title, subtitle)


def _at(table: pd.DataFrame, position: int, value: str) -> pd.DataFrame:
    """The rows of the one prompt at the position asked for."""
    if missing := [c for c in ("layer", "stream", "position", "target", value) if c not in table]:
        raise ValueError(f"the table has no column {missing[0]!r}: make it with token_lens")
    if table["prompt"].nunique() > 1:
        raise ValueError(f"the table holds {table['prompt'].nunique()} prompts: draw one, table[table['prompt'] == 0]")
    positions = sorted(table["position"].unique())
    if position not in positions and not -len(positions) <= position < 0:
        held = f"{positions[0]}..{positions[-1]}" if positions else "none"
        raise ValueError(f"position {position} is not in the table: it has {held}")
    return table[table["position"] == (position if position >= 0 else positions[position])]


def _roles(rows: pd.DataFrame, roles: Mapping[str, str]) -> Mapping[str, str]:
    held = list(rows["target"].unique())
    if unknown := [target for target in roles if target not in held]:
        raise ValueError(f"no rows for the token {unknown[0]!r}: the table has {', '.join(map(repr, held))}")
    if len(roles or held) > MOST_TARGETS:
        raise ValueError(f"{len(roles or held)} tokens are too many to tell apart: draw at most {MOST_TARGETS}")
    return roles or dict.fromkeys(held, "")


def _draw(lines: list[Line], value: str, sites: list[tuple[int, str]], title: str, subtitle: str) -> go.Figure:
    figure = go.Figure()
    for line in lines:
        figure.add_scatter(
            x=line.points["x"],
            y=line.points[value],
            mode="lines+markers",
            name=line.name,
            line={"color": line.colour, "width": 1.6 if line.clean else 2.4, "dash": "dash" if line.clean else "solid"},
            marker={
                "size": 6 if len(sites) <= 30 else 4,
                "color": theme.PAPER if line.clean else line.colour,
                "line": {"width": 1.4, "color": line.colour},
            },
            opacity=0.75 if line.clean else 1,
            customdata=[f"<b>{line.name}</b><br>{text}" for text in lens_hover(line.points, value)],
            hovertemplate="%{customdata}<extra></extra>",
            cliponaxis=False,
        )
    y_axis, y_range = _y_axis(lines, value)
    _draw_names(figure, lines, value, y_range)
    right = 26 + int(_LETTER * max(len(line.name) for line in lines))
    labels = site_labels(pd.DataFrame(sites, columns=["layer", "stream"]))
    ticks = site_ticks(len(sites), _PLOT[0] / max(1, len(sites) - 1), 30)
    return lay_out(
        figure,
        Layout(_PLOT, _LEFT, right),
        (title, subtitle),
        xaxis={
            "title": AXIS,
            "showgrid": False,
            "range": (-0.03 * len(sites), len(sites) - 1 + 0.03 * len(sites)),
            "tickvals": ticks,
            "ticktext": [labels[k] for k in ticks],
        },
        yaxis={"title": _AXES[value], "showline": False, "ticks": "", **y_axis},
    )


def _y_axis(lines: list[Line], value: str) -> tuple[dict[str, object], tuple[float, float]]:
    """The axis, and its range in the axis's own units, bottom first."""
    values = np.concatenate([line.points[value].to_numpy(dtype=float) for line in lines])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if value == "rank":
        span = max(1.0, float(np.log10(max(high, 1))))
        ends = (1.06 * span, -0.06 * span)
        ticks = [10.0**k for k in range(int(span) + 1)]
        return {"type": "log", "range": ends, "tickvals": ticks, "ticktext": [f"{t:,.0f}" for t in ticks]}, ends
    if value == "probability":
        top = max(high, 1e-6)
        step = next(m * 10.0**e for e in range(-7, 1) for m in (1, 2, 5) if 5 * m * 10.0**e >= top)
        ticks = [k * step for k in range(6) if k * step <= 1.0001]
        text = [f"{100 * t:.3g} %" for t in ticks]
        ends = (-0.03 * top, 1.06 * top)
        return {"range": ends, "tickvals": ticks, "ticktext": text}, ends
    pad = 0.05 * (high - low) or 0.5
    return {"range": (low - pad, high + pad)}, (low - pad, high + pad)


def _draw_names(figure: go.Figure, lines: list[Line], value: str, y_range: tuple[float, float]) -> None:
    """Each line's name at its right end, moved apart where two would touch."""
    places = []
    for line in lines:
        last = float(line.points[value].iloc[-1])
        place = float(np.log10(last)) if value == "rank" else last
        places.append((place - y_range[0]) / (y_range[1] - y_range[0]) if np.isfinite(place) else 0.0)
    order = sorted(range(len(lines)), key=lambda i: (round(places[i], 2), not lines[i].clean))
    for place, i in zip(spread([places[i] for i in order], 17 / _PLOT[1]), order, strict=True):
        weight = 400 if lines[i].clean else 600
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="left",
            xshift=6,
            y=place,
            yref="paper",
            yanchor="middle",
            showarrow=False,
            text=lines[i].name,
            font={"color": lines[i].colour, "size": 12, "weight": weight},
        )
