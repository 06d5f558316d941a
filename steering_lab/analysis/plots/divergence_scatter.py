"""How far a vector moves each text against how far random vectors do: a point a text, a line from least to most."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences

_PLOT, _LEFT = (420, 420), 84


def divergence_scatter(
    vector: pd.DataFrame,
    drawn: pd.DataFrame,
    *,
    x_label: str,
    y_label: str,
    published: tuple[float, float] | None = None,
    title: str = "",
    subtitle: str = "",
) -> go.Figure:
    """Each text's value under the vector to the right, under random vectors upward: their median, and their range.

    Both axes are logarithmic and equally long, so that the diagonal is where both move a text alike. A filled diamond
    is the mean over texts, upward over draws as well; an open one a paper's.

    Args:
        vector: prompt and x, a row for each text.
        drawn: prompt, draw and y, a row for each text and draw.
        x_label: The name of the axis to the right.
        y_label: And of that upward.
        published: The means that a paper prints, to the right and upward.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.

    Raises:
        ValueError: a text without a draw, or a value that is not above 0.
    """
    ranges = drawn.groupby("prompt")["y"].agg(["min", "median", "max"])
    points = vector.set_index("prompt").join(ranges)
    if points["median"].isna().any():
        raise ValueError(f"{points.index[points['median'].isna()][0]!r} has no random vector")
    if not (points[["x", "min"]] > 0).all().all():
        raise ValueError("a divergence is not above 0: on a log axis it has no place")
    figure = go.Figure()
    known = [*points[["x", "min", "max"]].to_numpy().ravel(), *(published or ())]
    ends = np.log10([min(known), max(known)])
    pad = max(0.05, 0.04 * (ends[1] - ends[0]))  # room for a mark
    span = (float(ends[0] - pad), float(ends[1] + pad))
    line = [10 ** span[0], 10 ** span[1]]
    figure.add_scatter(
        x=line, y=line, mode="lines", hoverinfo="skip", line={"color": theme.RULE, "width": 1}, name="alike"
    )
    above = points["median"] > points["x"]
    bars = {"array": points["max"] - points["median"], "arrayminus": points["median"] - points["min"]}
    look = {"type": "data", "symmetric": False, "color": theme.faint(theme.CONTROL, 0.35), "width": 0, "thickness": 1}
    figure.add_scatter(
        x=points["x"], y=points["median"], mode="markers", name="texts", error_y={**look, **bars},
        marker={"size": 7, "color": [theme.CYCLE[0] if up else theme.CYCLE[1] for up in above],
                "line": {"width": 1, "color": theme.PAPER}},
        customdata=[
            f"{prompt}<br>vector {p.x:.3f}<br>random {p.median:.3f} [{p.min:.3f}, {p.max:.3f}]"
            for prompt, p in zip(points.index, points.itertuples(), strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip
    means = {"ours": (float(points["x"].mean()), float(drawn["y"].mean()))}
    means |= {"published": published} if published else {}
    looks = {
        "ours": {"symbol": "diamond", "line": {"width": 1, "color": theme.PAPER}},
        "published": {"symbol": "diamond-open", "line": {"width": 2}},
    }
    for name, (x, y) in means.items():
        figure.add_scatter(
            x=[x], y=[y], mode="markers", name=name, marker={"size": 12, "color": theme.INK, **looks[name]},
            customdata=[f"mean, {name}<br>vector {x:.3g}<br>random {y:.3g}"],
            hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    axis = {"type": "log", "range": span, "dtick": "D2" if span[1] - span[0] < 1.2 else 1}
    more = f"most random vectors move it more ({int(above.sum())} texts)"
    marks = {
        f"<span style='color:{theme.CYCLE[0]}'>●</span>": more,
        f"<span style='color:{theme.CYCLE[1]}'>●</span>": f"the vector moves it more ({int((~above).sum())})",
        "│": "from the least to the most of the draws",
        "◆": "the mean, ours",
        **({"◇": "the mean, published"} if published else {}),
    }
    return lay_out(
        figure,
        Layout(_PLOT, _LEFT, 24, least=620),
        (title, sentences(subtitle)),
        marks,
        xaxis={"title": x_label, **axis},
        yaxis={"title": y_label, "showline": False, **axis},
    )
