"""The cells of one sweep, taken from a summary table and laid out on a grid; no drawing here.

A cell is one layer and coefficient of one method under one metric. `effect`, `low`, `high` and the control's band are
on the effect's own scale, on which "as unsteered" is 0 for differences and 1 for ratios (perplexity).
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from steering_lab.tables import CELL, PERCENTILES, SUMMARY, State, checked, is_unsteered

CoeffAxis = Literal["coeff", "relative_norm"]
REQUIRED = (*CELL, "role", "metric", "scale", "value", "effect", "low", "high")
OPTIONAL = (
    "relative_norm", "degenerate", "control_low", "control_high", "n_draws", "n_prompts", "n", "n_missing",
    *PERCENTILES,
)  # fmt: skip

WORDS = ("state", "why")  # of a cell: what it shows, and why it has no interval; missing where the table is silent
FLAGS = ("run", "degenerate", "over_budget")  # of a cell, False where the table is silent
STATES = get_args(State)
LEAST_SIMULATED = 8  # cells, from which on their draws are judged together (`numerics.moderated`)
NULL_GRIDS = {3: 0.04, 5: 0.07, 10: 0.04}
"""By random vectors a cell: the share of null grids that have a cell that works, at most (docs/measures.md)."""


class Sweep(NamedTuple):
    """`cells`: one row per layer and coefficient, full grid, NaN where the sweep has no row (`run` is False there).

    `unsteered` is the metric's unsteered value (NaN if the table has none), `neutral` the effect of changing nothing,
    `place` where the vectors are added (None where the table does not know).

    Args:
        cells: One row per layer and coefficient, the full grid.
        unsteered: The metric's unsteered value; NaN if the table has none.
        neutral: The effect of changing nothing: 0, or 1 for ratios.
        method: The method whose cells they are.
        place: Where the vectors are added; None where the table does not know.
    """

    cells: pd.DataFrame
    unsteered: float
    neutral: float
    method: str
    place: str | None

    def rows_of(self, table: pd.DataFrame) -> pd.DataFrame:
        """Those rows of any table that belong to the sweep."""
        return table[of_sweep(table, self.method, self.place)]


def of_sweep(table: pd.DataFrame, method: str, place: str | None) -> pd.Series:
    """Which rows are of the method at the place; of the method at its only one where `place` is None.

    Args:
        table: Any table with the columns method and place.
        method: A method that the table has rows of.
        place: A place at which it has some; None where it has one place only, or none.

    Raises:
        ValueError: no such rows, or no place given and several there.
    """
    own = table["method"] == method
    if not own.any():
        raise ValueError(f"no rows for method {method!r}: the table has {sorted(table['method'].unique())}")
    places = sorted(table.loc[own, "place"].dropna().unique())
    if place is None and len(places) > 1:
        raise ValueError(f"{method!r} stands at {', '.join(places)}: choose one, say place={places[0]!r}")
    if place is not None and place not in places:
        raise ValueError(f"no rows for {method!r} at place {place!r}: the table has {', '.join(places) or 'none'}")
    return own if place is None else own & (table["place"] == place)


def sweep_cells(summary: pd.DataFrame, *, metric: str, method: str, place: str | None = None) -> Sweep:
    """The full layer × coefficient grid of a method under `metric`, the unsteered column (coefficient 0) included.

    `place` may be left out where the method stands at one place only. Added columns: `run`, `baseline` (coefficient 0),
    `inside_control` (the effect is within the band of norm-matched random vectors at the same cell) and `state`
    (the table's own column of that name, `tables.State`; missing where the table is silent). `why`, the reason of a
    cell without an interval, is carried along.

    Args:
        summary: One row per cell and metric, as `summarise` makes it.
        metric: The metric that is shown.
        method: The method whose cells are drawn.
        place: The place whose cells are drawn; may be left out where there is one only.

    Raises:
        ValueError: a column is missing, nothing matches, the place is not clear, or a cell has two rows.
    """
    summary = checked(summary, SUMMARY, REQUIRED)
    of_metric = summary[summary["metric"] == metric]
    if of_metric.empty:
        raise ValueError(f"no rows for metric {metric!r}: the table has {sorted(summary['metric'].unique())}")
    rows = of_metric[of_sweep(of_metric, method, place)]
    rows = rows[rows["layer"].notna()]
    if rows.empty:
        raise ValueError(f"no rows for method {method!r} have a layer, so there is no grid to draw")
    rows = rows.reindex(columns=[*REQUIRED, *OPTIONAL, *WORDS, "over_budget"]).astype({"layer": int, "coeff": float})
    if (twice := rows.duplicated(["layer", "coeff"])).any():
        first = rows[twice].iloc[0]
        raise ValueError(f"two rows for layer {first['layer']}, coeff {first['coeff']:g} of {method!r}")
    unsteered = of_metric[is_unsteered(of_metric)]
    rows["run"] = True
    if len(unsteered) and not (rows["coeff"] == 0).any():
        rows = pd.concat([rows, _baseline_column(unsteered, rows["layer"].unique())], ignore_index=True)
    neutral = neutral_effect(of_metric)
    value = float(unsteered["value"].iloc[0]) if len(unsteered) else np.nan
    at = rows["place"].dropna()
    return Sweep(_judged(_full_grid(rows)), value, neutral, method, at.iloc[0] if len(at) else None)


def neutral_effect(of_metric: pd.DataFrame) -> float:
    """The effect of changing nothing: 1 where effects are ratios, else 0, as the column `scale` says.

    Args:
        of_metric: The rows of one metric of a summary, whose scale is the same.
    """
    return 1.0 if (of_metric["scale"] == "ratio").all() else 0.0


def _baseline_column(unsteered: pd.DataFrame, layers: np.ndarray) -> pd.DataFrame:
    """The unsteered row once per layer, at coefficient 0."""
    one = unsteered.iloc[[0]].reindex(columns=[*REQUIRED, *OPTIONAL])
    column = pd.concat([one] * len(layers), ignore_index=True)
    return column.assign(layer=layers, coeff=0.0, relative_norm=0.0, run=True)


def _full_grid(rows: pd.DataFrame) -> pd.DataFrame:
    layers, coeffs = sorted(rows["layer"].unique()), sorted(rows["coeff"].unique())
    grid = pd.MultiIndex.from_product([layers, coeffs], names=["layer", "coeff"])
    cells = rows.set_index(["layer", "coeff"]).reindex(grid).reset_index()
    flags = {name: cells[name].astype("boolean").fillna(False).astype(bool) for name in FLAGS}
    numbers = [c for c in ("value", "effect", "low", "high", *OPTIONAL) if c != "degenerate"]
    if wrong := set(cells["state"].dropna()) - set(STATES):
        raise ValueError(f"a cell is said to be {sorted(wrong)[0]!r}: one of {', '.join(STATES)}")
    return cells.assign(**flags, **{name: pd.to_numeric(cells[name]).astype(float) for name in numbers})


def _judged(cells: pd.DataFrame) -> pd.DataFrame:
    baseline = cells["coeff"] == 0
    inside = (cells["effect"] >= cells["control_low"]) & (cells["effect"] <= cells["control_high"])
    return cells.assign(baseline=baseline, inside_control=inside & ~baseline)


def how_many_work(cells: pd.DataFrame) -> str:
    """How many cells work, and in how many grids without steering any would, where that was simulated.

    Empty if the table knows no states. Fewer than `LEAST_SIMULATED` cells are judged by another rule, each by its own
    draws, so that the share of simulated grids is not theirs.
    """
    said = cells["state"].notna()
    if not said.any():
        return ""
    if cells.loc[said, "control_low"].isna().all():
        return "No random vectors were run here, so no cell can be said to work"
    work, many = int((cells["state"] == "works").sum()), int(said.sum())
    count = f"{work or 'None'} of {many} cell{'' if many == 1 else 's'} {'works' if work == 1 else 'work'}"
    if dear := int((cells["state"] == "works, over budget").sum()):
        count += f" within the budget, {dear} over it"
    if many < LEAST_SIMULATED:
        return (
            f"{count}; so few are each judged by their own random vectors: of grids in which nothing steers at most 5 %"
            " have one that does, if what random vectors do is distributed normally"
        )
    known, fewest = cells["n_draws"].max(), min(NULL_GRIDS)  # an older table does not know how many
    draws = max(n for n in NULL_GRIDS if n == fewest or n <= known)
    return (
        f"{count}; of simulated grids of 80 cells in which nothing steers, at most {NULL_GRIDS[draws]:.0%} have one"
        f" that does with {draws} random vectors to a cell"
    )


def placed_cells(cells: pd.DataFrame, coeff_axis: CoeffAxis) -> pd.DataFrame:
    """`cells` with `x`, `left`, `right` and `y`: columns a unit wide, or each layer's cells at their own norms.

    On the relative-norm axis x is sign(coeff) · log2(1 + r / r0), r0 the smallest norm of the sweep, and neighbours
    in a layer meet half way; cells that were not run are left out.

    Args:
        cells: The full grid, as `sweep_cells` makes it.
        coeff_axis: "coeff": columns by rank, equally far apart; "relative_norm": by what the vector weighs against the
            stream.

    Raises:
        ValueError: a cell that was run has no relative norm.
    """
    y = cells["layer"].rank(method="dense") - 1
    if coeff_axis == "coeff":
        x = cells["coeff"].rank(method="dense") - 1
        return cells.assign(x=x, left=x - 0.5, right=x + 0.5, y=y)
    cells = cells.assign(y=y)[cells["run"]]
    if (unknown := cells["relative_norm"].isna()).any():
        first = cells[unknown].iloc[0]
        raise ValueError(
            f"layer {first['layer']}, coeff {first['coeff']:g} has no relative_norm: use coeff_axis='coeff'"
        )
    norms = cells["relative_norm"].abs()
    x = norm_position(np.sign(cells["coeff"]) * norms, float(norms[norms > 0].min()))
    cells = cells.assign(x=x).sort_values(["y", "x"])
    gaps = cells.groupby("y")["x"]
    before, after = (cells["x"] - gaps.shift(1)) / 2, (gaps.shift(-1) - cells["x"]) / 2
    half_left, half_right = before.fillna(after).fillna(0.5), after.fillna(before).fillna(0.5)
    return cells.assign(left=cells["x"] - half_left, right=cells["x"] + half_right)


def norm_position(signed_norm: pd.Series, smallest: float) -> pd.Series:
    """Where a signed relative norm stands on the axis, in doublings of (1 + r / smallest).

    Args:
        signed_norm: |coeff x vector| / median |resid|, with the coefficient's sign; 0 stands at 0.
        smallest: The smallest norm above 0 of the sweep, which stands at ±1.
    """
    return np.sign(signed_norm) * np.log2(1 + signed_norm.abs() / smallest)


COUNTED = ("prompts", "continuations")


def counts(cells: pd.DataFrame, each: str = "cell", units: Sequence[str] = COUNTED) -> str:
    """How much text stands behind each, e.g. "16 prompts, 64 continuations a cell"; empty if the table is silent.

    Args:
        cells: Cells of a sweep; those not run and the unsteered ones do not count.
        each: What the numbers are of, as the sentence ends: "a cell".
        units: What is resampled, and what there may be several of in each; one alone where there are not.
    """
    steered = cells[cells["run"] & ~cells["baseline"]]
    parts = []
    for column, noun in zip(("n_prompts", "n"), units, strict=False):
        known = steered[column].dropna()
        if len(known):
            low, high = int(known.min()), int(known.max())
            parts.append(f"{low} {noun}" if low == high else f"{low} to {high} {noun}")
    return ", ".join(parts) + f" a {each}" if parts else ""
