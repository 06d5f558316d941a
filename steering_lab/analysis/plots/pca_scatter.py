"""Classes of prompts on their first two principal components, and the steering vector among them."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.labels import escaped, round_ticks, signed, wrapped
from steering_lab.analysis.plots.parts.layout import Layout, lay_out, sentences

MOST_CLASSES = len(theme.SYMBOLS)
_LEFT, _RIGHT, _SIDE = 72, 34, (560, 420)  # margins; the most that the axes take, in pixels


def pca_scatter(
    points: pd.DataFrame,
    *,
    axes: pd.DataFrame,
    vector_name: str = "steering vector",
    title: str = "",
    subtitle: str = "",
) -> go.Figure:
    """PC1 to the right, PC2 upward, one scale for both: a colour and a shape per class, and its mean.

    `points` and `axes` are those of `pca_of_classes`. The vector, if it was given there, is an arrow from the mean of
    all prompts: the part of it that lies in this plane, at its own length. Hover shows the prompt.

    Args:
        points: The prompts' places, of `pca_of_classes`.
        axes: The two directions, of `pca_of_classes`.
        vector_name: What the arrow is called.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.

    Raises:
        ValueError: a column is missing, or more classes than colours.
    """
    if missing := [name for name in ("class", "prompt", "pc1", "pc2") if name not in points]:
        raise ValueError(f"the table has no column {missing[0]!r}: draw the points of pca_of_classes")
    classes = list(points["class"].unique())
    if len(classes) > MOST_CLASSES:
        raise ValueError(f"{len(classes)} classes are too many to tell apart: draw at most {MOST_CLASSES}")
    figure = go.Figure()
    looks = dict(zip(classes, zip(theme.CYCLE, theme.SYMBOLS, strict=True), strict=False))
    clouds = {name: points[points["class"] == name] for name in classes}
    rings = [ring for name, cloud in clouds.items() if (ring := _draw_ring(figure, cloud, looks[name][0])) is not None]
    for name, cloud in clouds.items():
        _draw_class(figure, cloud, *looks[name])
    tip = axes.set_index("component")["vector"].reindex(["pc1", "pc2"]).to_numpy(dtype=float)
    reach = [points[["pc1", "pc2"]].to_numpy(dtype=float), np.zeros((1, 2)), *rings]
    if not np.isnan(tip).any():
        reach.append(tip[None])
        _draw_arrow(figure, tip)
    return _laid_out(
        figure,
        np.concatenate(reach),
        clouds,
        looks,
        axes,
        bool(rings),
        "" if np.isnan(tip).any() else vector_name,
        (title, subtitle),
    )


def _draw_ring(figure: go.Figure, cloud: pd.DataFrame, colour: str) -> np.ndarray | None:
    """The 95 % confidence ellipse of the class mean (Hotelling's T²); none for fewer than six prompts."""
    n = len(cloud)
    if n < 6:
        return None
    places = cloud[["pc1", "pc2"]].to_numpy(dtype=float)
    variances, directions = np.linalg.eigh(np.cov(places.T) / n)
    reach = np.sqrt(variances.clip(0) * (n - 1) * (0.05 ** (-2 / (n - 2)) - 1))
    turn = np.linspace(0, 2 * np.pi, 73)
    ring = places.mean(axis=0) + (directions * reach @ np.stack([np.cos(turn), np.sin(turn)])).T
    line = {"color": theme.faint(colour, 0.7), "width": 1.4}
    look = {"fill": "toself", "fillcolor": theme.faint(colour, 0.14), "line": line}
    figure.add_scatter(x=ring[:, 0], y=ring[:, 1], mode="lines", name="ellipse", hoverinfo="skip", **look)
    return ring


def _draw_class(figure: go.Figure, cloud: pd.DataFrame, colour: str, symbol: str) -> None:
    line = {"width": 1, "color": theme.PAPER}
    figure.add_scatter(
        x=cloud["pc1"],
        y=cloud["pc2"],
        mode="markers",
        marker={"size": 9 if len(cloud) <= 60 else 6, "symbol": symbol, "color": colour, "opacity": 0.85, "line": line},
        customdata=[f"<b>{escaped(str(p[1]))}</b><br>{wrapped(p.prompt)}" for p in cloud.itertuples()],
        hovertemplate="%{customdata}<extra></extra>",
        name="class",
    )
    mean = cloud[["pc1", "pc2"]].mean()
    for width, shade in ((5.5, theme.PAPER), (2.6, colour)):
        cross = {"size": 15, "symbol": "cross-thin", "line": {"width": width, "color": shade}}
        figure.add_scatter(
            x=[mean["pc1"]], y=[mean["pc2"]], mode="markers", marker=cross, name="mean", hoverinfo="skip"
        )


def _draw_arrow(figure: go.Figure, tip: np.ndarray) -> None:
    for width, head, colour in ((6.0, 0, theme.PAPER), (2.4, 2, theme.INK)):
        figure.add_annotation(
            x=tip[0],
            y=tip[1],
            ax=0,
            ay=0,
            axref="x",
            ayref="y",
            text="",
            showarrow=True,
            arrowhead=head,
            arrowwidth=width,
            arrowcolor=colour,
            name="vector",
        )


def _laid_out(
    figure: go.Figure,
    reach: np.ndarray,
    clouds: dict[str, pd.DataFrame],
    looks: dict[str, tuple[str, str]],
    axes: pd.DataFrame,
    rings: bool,
    vector_name: str,
    words: tuple[str, str],
) -> go.Figure:
    """Axes of one scale that hold all that is drawn; title, key, size."""
    low, high = reach.min(axis=0), reach.max(axis=0)
    span = np.maximum(high - low, 0.25 * (high - low).max()) * 1.14
    unit = max(span[0] / _SIDE[0], span[1] / _SIDE[1])  # residual-stream units a pixel
    middle = (low + high) / 2
    size = [_SIDE[0], max(220, round(span[1] / unit))]
    ends = [(float(m - s * unit / 2), float(m + s * unit / 2)) for m, s in zip(middle, size, strict=True)]
    titles = [
        f"{row.component.upper()}, {100 * row.explained:.0f} % of the variance, {100 * row.between:.0f} % of it between"
        f" classes"
        for row in axes.itertuples()
    ]
    first = axes.iloc[0]
    chance = (
        f"By chance: a random direction has {100 * first['explained_random']:.1f} % of the variance, shuffled classes"
        f" {100 * first['between_shuffled']:.0f} % between them"
    )
    shapes = dict(zip(theme.SYMBOLS, "●■◆▲▼★", strict=True))
    marks = {
        f"<span style='color:{looks[name][0]}'>{shapes[looks[name][1]]}</span>": f"{escaped(name)} ({len(cloud)})"
        for name, cloud in clouds.items()
    }
    marks["<b>+</b>"] = "mean of a class" + (", in its 95 % confidence ellipse" if rings else "")
    if vector_name:
        along = ", ".join(f"{row.component.upper()} {signed(row.cosine)}" for row in axes.itertuples())
        marks["<b>➝</b>"] = f"{escaped(vector_name)}, cosine with {along} (random directions ±{first['random']:.2f})"
    for name, position, title_text in zip(("xaxis", "yaxis"), (0, 1), titles, strict=True):
        ticks = round_ticks(ends[position], ratio=False, most=size[position] // 70)
        figure.update_layout({name: {"title": title_text, "range": ends[position], "showgrid": True, **ticks}})
    layout = Layout((size[0], size[1]), _LEFT, _RIGHT)
    return lay_out(figure, layout, (words[0], sentences(words[1], chance)), marks)
