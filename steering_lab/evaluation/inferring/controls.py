"""What random directions of the same length do: the band a steering effect has to leave, in one cell and over a grid.

A control method holds several draws (column `draw`) per cell, each a random vector matched in norm to the steering
vector. Adding any vector of that length perturbs the model; what exceeds this is the direction's own effect.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t

from steering_lab.evaluation.inferring.pairing import pair_with_unsteered, paired_sums
from steering_lab.evaluation.running.control_vectors import RANDOM_CONTROLS
from steering_lab.tables import CELL, FAMILY

MIN_DRAWS = 3
MATCHED = ("method", "place", "layer", "coeff", "budget")
"""In what a steered cell and its control agree, the control's `control_of` standing for its method."""


def draw_effects(measured: pd.DataFrame) -> pd.DataFrame:
    """One row per metric, cell and random draw of `measured`: metric, the cell's columns, draw, effect, log_effect.

    The effect is that of `summarise` (a paired difference, or a ratio) for one random vector, over the same prompts and
    samples. `log_effect` is the logarithm of a ratio, NaN for a difference.
    """
    paired = pair_with_unsteered(measured)
    drawn = paired[paired["draw"].notna()]
    blocks = [_effects_of_draws(rows, metric) for metric, rows in drawn.groupby("metric")]
    columns = ["metric", *CELL, "draw", "effect", "log_effect"]
    return pd.concat(blocks, ignore_index=True)[columns] if blocks else pd.DataFrame(columns=columns)


def _effects_of_draws(paired: pd.DataFrame, metric: object) -> pd.DataFrame:
    sums = paired_sums(paired, by=(*CELL, "draw"))
    effect = sums.effect(np.ones((1, len(sums.steered))))[0]
    if paired["scale"].iloc[0] == "ratio":
        return sums.cells.assign(metric=metric, effect=np.exp(effect), log_effect=effect)
    return sums.cells.assign(metric=metric, effect=effect, log_effect=np.nan)


def control_bands(effects: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """metric and the control's cell -> control_low, control_high, n_draws, from `draw_effects`.

    The band is where the *measured* effect of one more random direction would fall with probability `level`
    (`prediction_interval` over the draws' effects, on the log scale for ratios). An effect outside it is more than a
    random direction of that length gives in this cell, the noise of these prompts and samples included. It speaks for
    one cell; some cells of a grid leave it by chance: see
    `grid_maxima`. Below three draws there is no band (NaN).
    """
    ratio = effects["log_effect"].notna()
    scaled = effects.assign(scaled=np.where(ratio, effects["log_effect"], effects["effect"]), ratio=ratio)
    cells = scaled.groupby(["metric", *CELL], dropna=False)
    band = cells["scaled"].agg(["mean", "std", "count"])
    low, high = prediction_interval(band["mean"], band["std"], band["count"], level)
    is_ratio = cells["ratio"].any()
    return pd.DataFrame(
        {
            "control_low": np.where(is_ratio, np.exp(low), low),
            "control_high": np.where(is_ratio, np.exp(high), high),
            "n_draws": band["count"],
        },
        index=band.index,
    ).reset_index()


def prediction_interval(mean: pd.Series, std: pd.Series, count: pd.Series, level: float) -> tuple[pd.Series, pd.Series]:
    """mean ± t · s · √(1 + 1/k): where one more of k draws would fall with probability `level`; normal draws assumed.

    NaN below three draws.

    Args:
        mean: The draws' mean in each cell.
        std: Their standard deviation.
        count: How many draws there are.
        level: The probability that one more draw falls inside.
    """
    k = count.where(count >= MIN_DRAWS)
    half = t.ppf((1 + level) / 2, k - 1) * std * np.sqrt(1 + 1 / k)
    return mean - half, mean + half


@dataclass(frozen=True)
class GridMaxima:
    """The largest |effect| over a grid (|log ratio| for ratios), once for each random draw.

    Choosing the best of many cells finds something large even among random directions; this is how large. Compare the
    chosen cell's |effect| with it, over the same cells as were searched.
    """

    maxima: tuple[float, ...]

    @property
    def threshold(self) -> float:
        """The largest of the maxima; one more random direction exceeds it anywhere with probability 1 / (draws + 1)."""
        return max(self.maxima)

    def p(self, effect: float) -> float:
        """(1 + draws whose maximum reaches |effect|) / (1 + draws): the family-wise p of the best cell.

        Never below 1 / (1 + draws), so 19 draws are needed for 0.05. Pass the logarithm of a ratio.
        """
        return (1 + sum(m >= abs(effect) for m in self.maxima)) / (1 + len(self.maxima))


def grid_maxima(effects: pd.DataFrame) -> GridMaxima:
    """The grid maxima of one metric and one method's control among `effects`, rows of `draw_effects`.

    Keep only the cells that could have been chosen (those within the side-effect budget): the wild cells of a grid
    otherwise set the maximum. Draws are taken as exchangeable with the steering vector's own grid.

    Raises:
        ValueError: no rows, several metrics, controls or places, or draws that do not cover the same cells.
    """
    if effects.empty:
        raise ValueError("no draws, so nothing that a search among them would find")
    for column in ("metric", *FAMILY):
        if effects[column].nunique() > 1:
            raise ValueError(f"a grid is one {column}'s, not {sorted(effects[column].unique())}")
    if (counts := effects.groupby("draw").size()).nunique() != 1:
        raise ValueError(f"the draws cover different numbers of cells: {counts.to_dict()}")
    size = effects["log_effect"].fillna(effects["effect"]).abs()
    return GridMaxima(tuple(float(m) for m in size.groupby(effects["draw"]).max()))


def check_norms(summary: pd.DataFrame) -> None:
    """Nothing, or a ValueError that names the first cell whose control is not matched to it in relative norm (1 %)."""
    cells = summary.drop_duplicates(list(CELL))
    controls = cells[cells["role"] == "control"].drop(columns="method").rename(columns={"control_of": "method"})
    both = cells.merge(controls, on=list(MATCHED), suffixes=("", "_control"))
    off = both[(both["relative_norm"] / both["relative_norm_control"] - 1).abs() > 0.01]
    for cell in off.head(1).itertuples():
        raise ValueError(
            f"a control of {cell.method} is not norm-matched: at layer {cell.layer}, coeff {cell.coeff} their relative"
            f" norms are {cell.relative_norm_control:.3g} and {cell.relative_norm:.3g}"
        )


def attach_bands(summary: pd.DataFrame, bands: pd.DataFrame) -> pd.DataFrame:
    """`summary` with control_low, control_high, n_draws of each cell's random vectors in `bands`; NaN and 0 without.

    Of several kinds of random vector (`RANDOM_CONTROLS`) it is the hull of their bands; other controls make none.

    Raises:
        ValueError: a control that is not norm-matched.
    """
    check_norms(summary)
    own = bands[bands["method"].isin(RANDOM_CONTROLS)].rename(columns={"method": "control", "control_of": "method"})
    if own.empty:
        return summary.assign(control_low=np.nan, control_high=np.nan, n_draws=0)
    hull = {"control_low": "min", "control_high": "max", "n_draws": "min"}
    own = own.groupby(["metric", *MATCHED], dropna=False, as_index=False).agg(hull)
    joined = summary.merge(own, on=["metric", *MATCHED], how="left")
    return joined.assign(n_draws=joined["n_draws"].fillna(0).astype(int))
