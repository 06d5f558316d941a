"""Prompt by prompt: what one layer's coefficients do to each, so that a mean does not hide whom it moves."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.cells import of_sweep
from steering_lab.analysis.plots.parts.grid import QUIET, Frame, colour_bar, draw_gaps, draw_strokes, readable
from steering_lab.analysis.plots.parts.labels import escaped, short_signed, signed, wrapped
from steering_lab.analysis.plots.parts.layout import Layout, lay_out
from steering_lab.tables import GENERATIONS, MEASUREMENTS, checked, is_unsteered

_SHOWN = ("method", "place", "role", "layer", "coeff", "prompt")
_LETTER, _LONGEST = 6.6, 44  # pixels of a letter; letters of a prompt beside its row


def prompt_coeff_strip(
    table: pd.DataFrame,
    *,
    metric: str,
    method: str,
    layer: int,
    place: str | None = None,
    examples: pd.DataFrame | None = None,
    metric_label: str | None = None,
    title: str = "",
    subtitle: str = "",
    limit: float | int | None = None,
) -> go.Figure:
    """A row per prompt (first on top), a column per coefficient: the mean over samples less the prompt's own unsteered.

    `table` holds measurements; `place` may be left out where the method stands at one place only. The outlined column
    holds the unsteered values themselves, in grey. Colours end at `limit`, by default at the largest difference.
    `examples` is a generations table: the first continuation of each cell appears on hover.

    Args:
        table: Measurements.
        metric: The metric that is shown.
        method: The method whose cells are drawn.
        layer: The layer whose cells are drawn.
        place: The place whose cells are drawn; may be left out where there is one only.
        examples: A generations table; the first continuation of each cell appears on hover.
        metric_label: The metric's name on the figure; by default that of the table.
        title: The figure's title, in plotly's HTML.
        subtitle: The line below it.
        limit: Where the colours end; by default the largest difference.

    Raises:
        ValueError: a column is missing, or there are no rows of the metric, the method, the place or the layer.
    """
    cells, base = _cells(table, metric, method, place, layer)
    frame = _frame(cells)
    label = escaped(metric.replace("_", " ")) if metric_label is None else metric_label
    reach = float(limit or np.nan_to_num(cells["effect"].abs().max()) or 1.0)
    figure = go.Figure(_squares(cells, label, _texts(examples, method, place, layer)))
    draw_gaps(figure, cells, frame)
    _numbers(figure, cells, base, reach, frame)
    empty = cells[cells["effect"].isna() & (cells["coeff"] != 0)]
    if len(empty):
        draw_strokes(figure, empty)
    marks = {
        f"<span style='color:{theme.MUTED}'>0.1</span>": "the prompt's own unsteered value"
        if readable(cells, frame)
        else "",
        "╱": f"no value ({len(empty)} of {len(cells)} cells)" if len(empty) else "",
    }
    return _laid_out(figure, cells, frame, label, reach, {k: v for k, v in marks.items() if v}, (title, subtitle))


def _cells(
    table: pd.DataFrame, metric: str, method: str, place: str | None, layer: int
) -> tuple[pd.DataFrame, pd.Series]:
    """prompt, coeff, value, effect, n, n_missing with their places on the full grid; each prompt's unsteered value."""
    table = checked(table, MEASUREMENTS, (*_SHOWN, "metric", "value", "weight"))
    rows = table[table["metric"] == metric]
    if rows.empty:
        raise ValueError(f"no rows for metric {metric!r}: the table has {sorted(table['metric'].unique())}")
    steered, base = rows[of_sweep(rows, method, place) & (rows["layer"] == layer)], rows[is_unsteered(rows)]
    if steered.empty or base.empty:
        known = rows[["method", "layer"]].drop_duplicates().to_records(index=False).tolist()[:12]
        raise ValueError(
            f"no rows for method {method!r} at layer {layer}, or none of the unsteered model: there are {known}"
        )
    own = _means(base, ["prompt"])["value"]
    means = _means(steered, ["prompt", "coeff"])
    prompts = list(rows["prompt"].unique())
    coeffs = sorted({0.0, *map(float, steered["coeff"].unique())})
    grid = pd.MultiIndex.from_product([prompts, coeffs], names=["prompt", "coeff"])
    cells = means.reindex(grid).reset_index()
    cells["effect"] = (cells["value"] - cells["prompt"].map(own)).where(cells["coeff"] != 0)
    x, y = (
        cells["coeff"].map({c: i for i, c in enumerate(coeffs)}),
        cells["prompt"].map({p: -i for i, p in enumerate(prompts)}),
    )
    return cells.assign(x=x, y=y, left=x - 0.5, right=x + 0.5), own.reindex(prompts)


def _means(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """value (the mean of the known values, each by its weight), n and n_missing."""
    weight = rows["weight"]
    known = rows["value"].notna()
    parts = rows[by].assign(sum=rows["value"] * weight, weight=known * weight, n=known, n_missing=~known)
    total = parts.groupby(by, sort=False).sum()
    return total.assign(value=total["sum"] / total["weight"].where(total["weight"] > 0))[["value", "n", "n_missing"]]


def _frame(cells: pd.DataFrame) -> Frame:
    rows, columns = 1 - int(cells["y"].min()), int(cells["x"].max()) + 1
    px_x = float(np.clip(620 / columns, 24, 66))
    return Frame(0, 26 * rows, (-0.5, columns - 0.5), px_x, 26.0)


def _texts(examples: pd.DataFrame | None, method: str, place: str | None, layer: int) -> dict[tuple[str, float], str]:
    """(prompt, coeff) -> the first continuation there; coefficient 0 is the unsteered one."""
    if examples is None:
        return {}
    examples = checked(examples, GENERATIONS, (*_SHOWN, "text"))
    steered = examples[of_sweep(examples, method, place) & (examples["layer"] == layer)]
    base = examples[is_unsteered(examples)].assign(coeff=0.0)
    first = pd.concat([steered, base]).drop_duplicates(["prompt", "coeff"])
    return {(row.prompt, float(row.coeff)): str(row.text) for row in first.itertuples()}


def _squares(cells: pd.DataFrame, label: str, texts: dict[tuple[str, float], str]) -> go.Heatmap:
    hover = []
    for cell in cells.itertuples():
        head = "unsteered" if cell.coeff == 0 else f"coefficient {short_signed(cell.coeff)}"
        lines = [f"<b>{head}</b>", f"<span style='color:{theme.MUTED}'>{wrapped(str(cell.prompt))}</span>"]
        if cell.coeff != 0:
            lines.append(f"{label} {signed(cell.value)}, {signed(cell.effect)} from unsteered")
            lines.append(
                f"{np.nan_to_num(cell.n):.0f} continuations, {np.nan_to_num(cell.n_missing):.0f} without a value"
            )
        if (cell.prompt, cell.coeff) in texts:
            lines += ["", wrapped(texts[cell.prompt, cell.coeff])]
        hover.append("<br>".join(lines))
    shape = (1 - int(cells["y"].min()), int(cells["x"].max()) + 1)
    return go.Heatmap(
        z=cells["effect"].where(cells["coeff"] != 0, 0.0).to_numpy(dtype=float).reshape(shape),
        y=list(range(0, -shape[0], -1)),
        customdata=np.array(hover, dtype=object).reshape(shape),
        hovertemplate="%{customdata}<extra></extra>",
        hoverongaps=True,
        coloraxis="coloraxis",
        name="cells",
    )


def _numbers(figure: go.Figure, cells: pd.DataFrame, base: pd.Series, reach: float, frame: Frame) -> None:
    """Each difference on its cell, and in the column of coefficient 0 the unsteered value."""
    if not readable(cells, frame):
        return
    still = cells["coeff"] == 0
    own = cells["prompt"].map(base)
    text = ["–" if s and np.isnan(v) else signed(v).removeprefix("+") if s else "" if np.isnan(e) else signed(e)
            for s, v, e in zip(still, own, cells["effect"], strict=True)]  # fmt: skip
    inks = theme.ink_on((cells["effect"].to_numpy(dtype=float) / reach + 1) / 2, theme.DIVERGING)
    colours = [theme.MUTED if s else ink for s, ink in zip(still, inks, strict=True)]
    font = {"size": 11.5, "color": colours}
    figure.add_scatter(x=cells["x"], y=cells["y"], mode="text", text=text, textfont=font, name="labels", **QUIET)


def _laid_out(
    figure: go.Figure,
    cells: pd.DataFrame,
    frame: Frame,
    label: str,
    reach: float,
    marks: dict[str, str],
    words: tuple[str, str],
) -> go.Figure:
    """Prompts at the left, coefficients below, the unsteered column outlined; title, key, size."""
    rows, columns = 1 - int(cells["y"].min()), int(cells["x"].max()) + 1
    prompts, coeffs = list(cells["prompt"].unique()), sorted(cells["coeff"].unique())
    names = [p if len(p) <= _LONGEST else p[: _LONGEST - 1] + "…" for p in (" ".join(str(p).split()) for p in prompts)]
    left = 28 + int(_LETTER * max(map(len, names)))
    plot = round(frame.px_x * columns)
    ticks = [-reach, -reach / 2, 0, reach / 2, reach]
    text = [signed(tick) for tick in ticks]
    text[2] = "<b>0</b>"
    if (cells["effect"].abs() > reach * 1.0001).any():
        text[0], text[-1] = f"≤ {text[0]}", f"≥ {text[-1]}"
    bar, right = colour_bar(figure, f"{label}, difference to unsteered", ticks, text, frame.plot_height)
    zero = coeffs.index(0.0)
    outline = {"color": theme.INK, "width": 1.6}
    figure.add_shape(type="rect", x0=zero - 0.5, x1=zero + 0.5, y0=0.5 - rows, y1=0.5, line=outline)
    note = {"text": "unsteered", "font": {"size": 11, "color": theme.MUTED}, "showarrow": False}
    figure.add_annotation(x=zero, y=0.5, yanchor="bottom", yshift=1, **note)
    step = next(s for s in (1, 2, 3, 5, 10, 20, 50) if s * frame.px_x >= 34)
    shown = [i for i in range(columns) if (i - zero) % step == 0]
    return lay_out(
        figure,
        Layout((plot, frame.plot_height), left, right, above=34, least=460),
        words,
        marks,
        coloraxis={"cmin": -reach, "cmax": reach, "colorscale": theme.DIVERGING, "colorbar": bar},
        xaxis={
            **theme.BARE,
            "title": "steering coefficient",
            "range": frame.x_range,
            "tickvals": shown,
            "ticktext": [short_signed(coeffs[i]) for i in shown],
        },
        yaxis={
            **theme.BARE,
            "ticklabelstandoff": 6,
            "range": (0.5 - rows, 0.5),
            "tickvals": list(range(0, -rows, -1)),
            "ticktext": [escaped(name) for name in names],
        },
    )
