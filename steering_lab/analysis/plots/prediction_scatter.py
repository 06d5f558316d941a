"""What was seen before steering against what steering did: a panel per statistic, a point per concept and layer."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.labels import escaped, signed
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences
from steering_lab.analysis.plots.steerability_curves import PANELS

_LEFT, _RIGHT, _PLOT, _GAP = 72, 24, (840, 300), 0.04  # margins; the panels together; the share between two


def prediction_scatter(
    before: pd.DataFrame, after: pd.DataFrame, *, label: str = "mean slope", title: str = "", subtitle: str = ""
) -> go.Figure:
    """Mean cosine, d' and split halves to the right in a panel each, the mean slope upward; a thin line per concept.

    Args:
        before: Rows of `steerability` with the column concept; several for one site are averaged.
        after: Rows of `steered_otherwise` whose method is the concept.
        label: What the slope is, with its unit.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.

    Raises:
        ValueError: a column is missing, or no concept and layer stand in both tables.
    """
    for table, needed in ((before, ("concept", "layer", "statistic", "value")), (after, ("method", "layer", "slope"))):
        if missing := [name for name in needed if name not in table]:
            raise ValueError(
                f"the table has no column {missing[0]!r}: draw those of steerability and steered_otherwise"
            )
    seen = before.groupby(["concept", "layer", "statistic"], as_index=False)["value"].mean()
    did = after.rename(columns={"method": "concept"})[["concept", "layer", "slope"]]
    both = seen.merge(did, on=["concept", "layer"]).dropna(subset=["value", "slope"])
    if both.empty:
        raise ValueError("no concept and layer stand in both tables")
    layers = sorted(both["layer"].unique())
    places = np.linspace(0, 1, len(layers)) if len(layers) > 1 else np.array([0.5])
    colours = dict(zip(layers, sample_colorscale([list(stop) for stop in theme.ORDERED], places), strict=True))
    figure, width = go.Figure(), (1 - 2 * _GAP) / 3
    axes: dict[str, object] = {"yaxis": {"title": label, "showline": False, "ticks": ""}}
    for k, (statistic, name) in enumerate(PANELS.items()):
        number = "" if k == 0 else str(k + 1)
        left = k * (width + _GAP)
        axes[f"xaxis{number}"] = {"title": name, "domain": (left, left + width), "showgrid": False}
        for concept, rows in both[both["statistic"] == statistic].groupby("concept"):
            rows = rows.sort_values("layer")
            ring = {"width": 1, "color": theme.PAPER}
            figure.add_scatter(
                x=rows["value"], y=rows["slope"], xaxis=f"x{number}", yaxis="y", mode="lines+markers", name=statistic,
                line={"color": theme.faint(theme.CONTROL, 0.3), "width": 1},
                marker={"size": 8, "color": [colours[layer] for layer in rows["layer"]], "line": ring},
                customdata=[
                    f"<b>{escaped(str(concept))}</b>, layer {row.layer:g}<br>{name} {signed(row.value)}"
                    f"<br>{label} {signed(row.slope)}"
                    for row in rows.itertuples()
                ],
                hovertemplate="%{customdata}<extra></extra>",
            )  # fmt: skip
    figure.add_hline(y=0, line={"color": theme.RULE, "width": 1}, layer="below")
    marks = {f"<span style='color:{colours[layer]}'>●</span>": f"layer {layer:g}" for layer in layers}
    words = sentences(subtitle, f"{both['concept'].nunique()} concepts, a line each through its layers")
    return lay_out(figure, Layout(_PLOT, _LEFT, _RIGHT), (title, words), marks, **axes)
