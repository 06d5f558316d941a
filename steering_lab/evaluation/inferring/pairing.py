"""Paired observations: each steered value beside the unsteered value of the same prompt, sample and metric.

The prompt is the unit that was sampled; the continuations of one prompt are repeats of it. So all that later arithmetic
needs from a cell is, per prompt, four sums: weighted values and weights, steered and unsteered. An effect for any
weighting of the prompts (as they are, or resampled) is then one matrix product, which is what makes intervals cheap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from steering_lab.numerics.bootstrap import weighted_means
from steering_lab.numerics.intervals import prompt_effects
from steering_lab.tables import CELL, MEASUREMENTS, OBSERVATION, checked, is_unsteered

ROUNDING = 1e-5  # by which a value may lie outside its measure's bounds
DESCRIBED = {
    "scale": "compared as a", "distribution": "called", "least": "at least", "most": "at most",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class PairedSums:
    """Per prompt and cell, over the pairs in which both values are known; `cells` describes the columns.

    Args:
        cells: The cells' factors, a row for each column of the sums.
        steered: Sums of weight x value of the steered texts.
        steered_weight: Sums of their weights.
        unsteered: Sums of weight x value of the unsteered texts.
        unsteered_weight: Sums of their weights.
    """

    cells: pd.DataFrame
    steered: Float[np.ndarray, "prompts cells"]
    steered_weight: Float[np.ndarray, "prompts cells"]
    unsteered: Float[np.ndarray, "prompts cells"]
    unsteered_weight: Float[np.ndarray, "prompts cells"]

    def effect(self, prompts: Float[np.ndarray, "draws prompts"]) -> Float[np.ndarray, "draws cells"]:
        """Steered minus unsteered weighted mean under each weighting of the prompts; NaN where nothing is left."""
        steered = weighted_means(prompts, self.steered, self.steered_weight)
        return steered - weighted_means(prompts, self.unsteered, self.unsteered_weight)

    def of_prompts(self) -> Float[np.ndarray, "prompts cells"]:
        """What each prompt says of each cell's effect, which is their mean (`intervals.prompt_effects`)."""
        return prompt_effects(self.steered, self.steered_weight, self.unsteered, self.unsteered_weight)


def pair_with_unsteered(measured: pd.DataFrame) -> pd.DataFrame:
    """`measured` with the columns `unsteered` and `unsteered_weight` of the unsteered model's matching row.

    Rows are put in one fixed order, so that no later figure depends on the order they came in. Values on the scale
    "ratio" are replaced by their logarithm: their difference is the logarithm of a ratio, their weighted mean a
    geometric one.

    Raises:
        ValueError: no table of measurements (`tables.checked`), no rows of the unsteered model, a steered row without
            a counterpart there, (prompt, sample) does not identify one row of a cell and draw, a value is infinite or
            outside the metric's bounds, a ratio is not above 0, or a metric is described in two ways.
    """
    rows = checked(measured, MEASUREMENTS).sort_values(["metric", *CELL, "draw", *OBSERVATION], ignore_index=True)
    _check_values(rows)
    ratio = (rows["scale"] == "ratio").to_numpy()
    rows["value"] = np.log(rows["value"].to_numpy(float), where=ratio, out=rows["value"].to_numpy(float, copy=True))
    keys = ["metric", *OBSERVATION]
    base = rows.loc[is_unsteered(rows), [*keys, "value", "weight"]]
    if base.empty:
        methods = ", ".join(sorted(rows["method"].unique()))
        raise ValueError(f"no rows of the unsteered model to compare with; the table has {methods}")
    _check_unique(rows, ["metric", *CELL, "draw", *OBSERVATION])
    _check_unique(base, keys)
    base = base.rename(columns={"value": "unsteered", "weight": "unsteered_weight"})
    paired = rows.merge(base, on=keys, how="left", indicator=True)
    if (lone := paired["_merge"] == "left_only").any():
        row = paired[lone].iloc[0]
        raise ValueError(
            f"{row['method']} has prompt {row['prompt']!r}, sample {row['sample']}, which the unsteered model has not:"
            f" {lone.sum()} rows of {row['metric']} and other metrics have no counterpart"
        )
    return paired.drop(columns="_merge")


def _check_values(rows: pd.DataFrame) -> None:
    for column, says in DESCRIBED.items():
        if (two := rows.groupby("metric")[column].nunique(dropna=False) > 1).any():
            found = sorted(map(str, rows.loc[rows["metric"] == two[two].index[0], column].unique()))
            raise ValueError(f"{two[two].index[0]} is {says} {found[0]} in some rows and {found[1]} in others")
    infinite = np.isinf(rows["value"].to_numpy(float))
    wrong = infinite | ((rows["scale"] == "ratio") & (rows["value"] <= 0)).to_numpy()
    if wrong.any():
        row = rows[wrong].iloc[0]
        allowed = "finite or NaN" if np.isinf(row["value"]) else "above 0 or NaN, being compared as a ratio"
        raise ValueError(f"{row['metric']} of {row['method']}, prompt {row['prompt']!r} is {row['value']}: {allowed}")
    outside = (rows["value"] < rows["least"] - ROUNDING) | (rows["value"] > rows["most"] + ROUNDING)
    if outside.any():
        row = rows[outside].iloc[0]
        raise ValueError(
            f"{row['metric']} of {row['method']}, prompt {row['prompt']!r} is {row['value']:g}, where its measure says"
            f" that there can be {_range(row['least'], row['most'])}"
        )


def _range(least: float, most: float) -> str:
    if np.isnan(most):
        return f"{least:g} or more"
    return f"{most:g} or less" if np.isnan(least) else f"{least:g} to {most:g}"


def _check_unique(rows: pd.DataFrame, keys: Sequence[str]) -> None:
    if (twice := rows.duplicated(list(keys))).any():
        row = rows[twice].iloc[0]
        raise ValueError(
            f"prompt {row['prompt']!r}, sample {row['sample']} stands twice in one cell ({row['metric']}): number the "
            "samples of a prompt, and measure each continuation once"
        )


def paired_sums(paired: pd.DataFrame, by: Sequence[str] = CELL) -> PairedSums:
    """The sums per prompt for each cell of `paired`, of one metric; cells are the distinct values of the columns `by`.

    `cells` has, besides `by`: role, unit, relative_norm, value (the weighted mean of all known values), n (pairs in
    which both values are known), n_missing (the other pairs) and n_prompts (prompts with such a pair).
    """
    known = paired[["value", "unsteered"]].notna().all(axis=1).to_numpy()
    cell = paired.groupby(list(by), dropna=False, sort=True).ngroup().to_numpy()
    prompt = paired["prompt"].factorize(sort=True)[0]
    shape = (prompt.max() + 1, cell.max() + 1)

    def total(column: np.ndarray) -> np.ndarray:
        sums = np.zeros(shape)
        np.add.at(sums, (prompt[known], cell[known]), column[known])
        return sums

    value, weight, base, base_weight = (
        paired[c].to_numpy(float) for c in ("value", "weight", "unsteered", "unsteered_weight")
    )
    pairs = total(np.ones(len(paired)))
    cells = paired.assign(cell=cell).groupby("cell")[[*by, "role", "unit"]].first()
    described = pd.DataFrame(
        {
            "relative_norm": paired["relative_norm"].astype(float).groupby(cell).mean(),
            "value": _weighted_mean(value, weight, cell),
            "n": pairs.sum(axis=0).astype(int),
            "n_missing": np.bincount(cell) - pairs.sum(axis=0).astype(int),
            "n_prompts": (pairs > 0).sum(axis=0),
        }
    )
    return PairedSums(
        cells=cells.join(described).reset_index(drop=True),
        steered=total(value * weight),
        steered_weight=total(weight),
        unsteered=total(base * base_weight),
        unsteered_weight=total(base_weight),
    )


def _weighted_mean(value: np.ndarray, weight: np.ndarray, cell: np.ndarray) -> np.ndarray:
    known = ~np.isnan(value)
    count = cell.max() + 1
    total = np.bincount(cell[known], (value * weight)[known], minlength=count)
    with np.errstate(invalid="ignore"):
        return total / np.bincount(cell[known], weight[known], minlength=count)
