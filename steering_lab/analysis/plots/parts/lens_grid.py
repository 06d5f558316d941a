"""The cells of one lens table laid out on a grid, and the colours that they get; no drawing here."""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.labels import round_ticks, signed
from steering_lab.analysis.plots.parts.lens_sites import site_order
from steering_lab.analysis.plots.parts.tokens import token_label

Value = Literal["top_probability", "probability", "log_probability", "entropy", "kl_to_final"]


class Quantity(NamedTuple):
    """What a colour stands for: its words, its scale, where that begins and ends in units of the limit, in percent.

    Args:
        says: The words for it.
        scale: The colour scale.
        low: Where the scale begins, in units of the limit.
        high: Where the scale ends, in units of the limit.
        percent: Whether it is written in percent.
    """

    says: str
    scale: theme.Scale
    low: float = 0.0
    high: float = 1.0
    percent: bool = False


QUANTITIES = {
    "top_probability": Quantity("probability of the top token", theme.SHARE, percent=True),
    "probability": Quantity("probability of {target}", theme.SHARE, percent=True),
    "log_probability": Quantity("log-probability of {target} (nats)", theme.SHARE, low=-1.0, high=0.0),
    "entropy": Quantity("entropy of the lens (nats)", theme.COST),
    "kl_to_final": Quantity("KL(model’s output ‖ lens) (nats)", theme.COST),
}


class Grid(NamedTuple):
    """Cells with `x`, `y`, `z` and whether they are `spoken` for; how many pixels a column and a row have.

    Args:
        cells: One row per site and token.
        column: Pixels of a column.
        row: Pixels of a row.
        is_difference: Whether values are steered minus clean.
    """

    cells: pd.DataFrame
    column: float
    row: float
    is_difference: bool


class Colours(NamedTuple):
    """The scale, its ends, and the ticks of its bar.

    Args:
        scale: The colour scale.
        low: Where the colours begin.
        high: Where the colours end.
        ticks: What is written at each tick of the bar.
    """

    scale: theme.Scale
    low: float
    high: float
    ticks: dict[float, str]


def lens_grid(table: pd.DataFrame, value: str) -> Grid:
    """One cell per row, checked, with its place: column by position, row by site.

    Args:
        table: Of `logit_lens`, `token_lens` or `lens_difference`, about one prompt and at most one token followed.
        value: The column that is drawn.
    """
    if value not in QUANTITIES:
        raise ValueError(f"cannot draw {value!r}: choose one of {', '.join(QUANTITIES)}")
    if missing := [c for c in ("layer", "stream", "position", "token", "top", value) if c not in table]:
        made_by = "token_lens" if missing[0].endswith("probability") else "logit_lens"
        raise ValueError(f"the table has no column {missing[0]!r}: make it with {made_by}")
    if table.empty:
        raise ValueError("the table is empty: there is nothing to draw")
    for column in ("prompt", "target"):
        if column in table and table[column].nunique() > 1:
            first = table[column].tolist()[0]
            raise ValueError(
                f"the table holds {table[column].nunique()} {column}s: draw one, e.g."
                f" table[table[{column!r}] == {first!r}]"
            )
    sites, positions = site_order(table), sorted(table["position"].unique())
    cells = table.assign(
        x=table["position"].map({p: x for x, p in enumerate(positions)}),
        y=[sites.index(site) for site in zip(table["layer"], table["stream"], strict=True)],
        z=table[value].astype(float),
        spoken=table[value].notna() & (table["top"] != table["clean_top"] if "clean_top" in table else True),
    )
    if cells.duplicated(["x", "y"]).any():
        raise ValueError("two rows for one site and position: draw one table at a time")
    height = max(120 / len(sites), float(np.clip(735 / len(sites), 11, 27)))
    return Grid(cells, float(np.clip(1080 / len(positions), 8, 92)), height, "clean_top" in table)


def axis_title(grid: Grid, value: str) -> str:
    """What the column `value` of `grid` is, with its unit; of a difference, what changes."""
    target = token_label(str(grid.cells["target"].iloc[0]), 16) if "target" in grid.cells else ""
    says = QUANTITIES[value].says.format(target=target)
    if not grid.is_difference:
        return says
    return f"change in {says}" + (" (percentage points)" if QUANTITIES[value].percent else "")


def lens_colours(grid: Grid, value: str, limit: float | int | None) -> Colours:
    """From nothing to the limit, or for a difference equally far to both sides of 0; what lies beyond is said.

    Args:
        grid: The cells.
        value: The column that is drawn.
        limit: Where the colours end; None is the largest value, or 1 for a probability.
    """
    quantity = QUANTITIES[value]
    if grid.is_difference:
        quantity = quantity._replace(scale=theme.DIVERGING, low=-1.0, high=1.0)
    far = float(np.nan_to_num(grid.cells["z"].abs().max()))
    share = quantity.percent and not grid.is_difference
    reach = float(limit or (1.0 if share else far) or 1.0)
    ends, factor = (reach * quantity.low, reach * quantity.high), 100 if quantity.percent else 1
    digits = max(0, 1 - int(np.floor(np.log10(factor * reach))))
    middle = [reach * step for step in (-0.5, 0, 0.5)] if grid.is_difference else _between(ends)
    ticks = {
        v: signed(factor * v, digits) if v < 0 or grid.is_difference else f"{factor * v:.{digits}f}"
        for v in sorted({*ends, *middle})
    }
    if grid.is_difference:
        ticks[0.0] = "<b>0</b>"
    for end, beyond, sign in zip(ends, (grid.cells["z"] < ends[0], grid.cells["z"] > ends[1]), "≤≥", strict=True):
        if beyond.any():
            ticks[end] = f"{sign} {ticks[end]}"
    return Colours(quantity.scale, *ends, {v: f"{text} %" if share else text for v, text in ticks.items()})


def _between(ends: tuple[float, float]) -> list[float]:
    """Round numbers that stand clear of both ends."""
    places = np.array(round_ticks(ends, ratio=False, most=5)["tickvals"])
    clear = 0.09 * (ends[1] - ends[0])
    return places[(places - ends[0] > clear) & (ends[1] - places > clear)].tolist()
