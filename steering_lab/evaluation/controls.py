"""What random directions of the same length do: the band a steering effect has to leave, in one cell and over a grid.

A control method holds several draws (column `draw`) per cell, each a random vector matched in norm to the steering
vector. Adding any vector of that length perturbs the model; what exceeds this is the direction's own effect.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t

from steering_lab.evaluation.pairing import CELL, RATIO_METRICS, pair_with_reference, paired_sums

MIN_DRAWS = 3
RANDOM = "random"


def is_control(method: str) -> bool:
    """Whether the method's name says that it is a control: "random", "random_front"."""
    return method == RANDOM or method.startswith(f"{RANDOM}_")


def controls_of(methods: Collection[str]) -> dict[str, str]:
    """method -> its control, by name: "actadd_front" -> "random_front" where both are among `methods`."""
    controls = sorted(filter(is_control, methods), key=len)
    steered = [method for method in methods if not is_control(method)]
    return {m: control for control in controls for m in steered if m.endswith(control.removeprefix(RANDOM) or "\0")}


def draw_effects(
    tidy: pd.DataFrame, *, reference: str = "unsteered", ratio_metrics: Collection[str] = RATIO_METRICS
) -> pd.DataFrame:
    """One row per metric, cell and random draw: metric, method, layer, coeff, draw, effect, log_effect.

    The effect is that of `summarise` (a paired difference, or a ratio for the ratio metrics) for one random vector,
    over the same prompts and samples. `log_effect` is the logarithm of a ratio, NaN for a difference.
    """
    paired = pair_with_reference(tidy, reference, ratio_metrics)
    drawn = paired[paired["draw"].notna()]
    blocks = [_effects_of_draws(rows, metric, ratio_metrics) for metric, rows in drawn.groupby("metric")]
    columns = ["metric", *CELL, "draw", "effect", "log_effect"]
    return pd.concat(blocks, ignore_index=True)[columns] if blocks else pd.DataFrame(columns=columns)


def _effects_of_draws(paired: pd.DataFrame, metric: object, ratio_metrics: Collection[str]) -> pd.DataFrame:
    sums = paired_sums(paired, by=(*CELL, "draw"))
    effect = sums.effect(np.ones((1, len(sums.steered))))[0]
    if metric in ratio_metrics:
        return sums.cells.assign(metric=metric, effect=np.exp(effect), log_effect=effect)
    return sums.cells.assign(metric=metric, effect=effect, log_effect=np.nan)


def control_bands(effects: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """metric, method (the control's), layer, coeff -> control_low, control_high, n_draws, from `draw_effects`.

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
    """The grid maxima of one metric and control method among the rows of `draw_effects`.

    Keep only the cells that could have been chosen (those within the side-effect budget): the wild cells of a grid
    otherwise set the maximum. Draws are taken as exchangeable with the steering vector's own grid.

    Raises:
        ValueError: no rows, several metrics or methods, or draws that do not cover the same cells.
    """
    for column in ("metric", "method"):
        if effects[column].nunique() != 1:
            raise ValueError(f"a grid is one {column}'s, not {sorted(effects[column].unique())}")
    if (counts := effects.groupby("draw").size()).nunique() != 1:
        raise ValueError(f"the draws cover different numbers of cells: {counts.to_dict()}")
    size = effects["log_effect"].fillna(effects["effect"]).abs()
    return GridMaxima(tuple(float(m) for m in size.groupby(effects["draw"]).max()))


def check_norms(summary: pd.DataFrame, controls: Mapping[str, str]) -> None:
    """Nothing, or a ValueError that names the first cell whose control is not matched to it in relative norm (1 %)."""
    norms = summary.drop_duplicates(list(CELL)).set_index("method")[["layer", "coeff", "relative_norm"]]
    for method, control in controls.items():
        both = norms.loc[[method]].merge(norms.loc[[control]], on=["layer", "coeff"], suffixes=("", "_control"))
        off = both[(both["relative_norm"] / both["relative_norm_control"] - 1).abs() > 0.01]
        for cell in off.head(1).itertuples():
            raise ValueError(
                f"{control} is no norm-matched control of {method}: at layer {cell.layer}, coeff {cell.coeff} their "
                f"relative norms are {cell.relative_norm_control:.3g} and {cell.relative_norm:.3g}"
            )


def attach_bands(summary: pd.DataFrame, bands: pd.DataFrame, controls: Mapping[str, str]) -> pd.DataFrame:
    """`summary` with the columns control_low, control_high, n_draws of each cell's control; NaN and 0 without one."""
    check_norms(summary, controls)
    own = [bands[bands["method"] == control].assign(method=method) for method, control in controls.items()]
    if not own:
        return summary.assign(control_low=np.nan, control_high=np.nan, n_draws=0)
    joined = summary.merge(pd.concat(own), on=["metric", *CELL], how="left")
    return joined.assign(n_draws=joined["n_draws"].fillna(0).astype(int))
