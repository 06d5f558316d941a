"""What random directions of the same length do: the band a steering effect has to leave, and a test over the grid.

A control method holds several draws (column `draw`) per cell, each a random vector matched in norm to the steering
vector. Adding any vector of that length perturbs the model; what exceeds this is the direction's own effect.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import t

from steering_lab.evaluation.inferring.pairing import pair_with_unsteered, paired_sums
from steering_lab.evaluation.inferring.random_test import random_grid
from steering_lab.evaluation.running.control_vectors import RANDOM_CONTROLS
from steering_lab.tables import CELL, FAMILY, in_cell, within_reach

MIN_DRAWS = 3
BAND = ("control_low", "control_high", "p_random")
MATCHED = ("method", "place", "layer", "coeff", "budget")
"""In what a steered cell and its control agree, the control's `control_of` standing for its method."""


def draw_effects(measured: pd.DataFrame) -> pd.DataFrame:
    """One row per metric, cell and random draw of `measured`: metric, the cell's columns, draw, effect, log_effect.

    The effect is that of `summarise` (a paired difference, or a ratio) for one random vector, over the same prompts and
    samples. `log_effect` is the logarithm of a ratio, NaN for a difference.
    """
    return paired_draw_effects(pair_with_unsteered(measured))


def paired_draw_effects(paired: pd.DataFrame) -> pd.DataFrame:
    """`draw_effects` of a table that is `paired` already."""
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
    one cell; some cells of a grid leave it by chance: see `random_test`. Below three draws there is no band (NaN).
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


def _is_random(rows: pd.DataFrame) -> pd.Series:
    return (rows["role"] == "control") & rows["method"].isin(RANDOM_CONTROLS)


def check_norms(summary: pd.DataFrame) -> None:
    """Nothing, or a ValueError that names the first cell whose random control differs in relative norm (by 1 %).

    Args:
        summary: Cells with their relative norms; where a norm is missing nothing is compared.
    """
    cells = summary.drop_duplicates(list(CELL))
    controls = cells[_is_random(cells)].drop(columns="method").rename(columns={"control_of": "method"})
    both = cells.merge(controls, on=list(MATCHED), suffixes=("", "_control"))
    off = both[(both["relative_norm"] / both["relative_norm_control"] - 1).abs() > 0.01]
    for cell in off.head(1).itertuples():
        raise ValueError(
            f"a control of {cell.method} is not norm-matched: at layer {cell.layer}, coeff {cell.coeff} their relative"
            f" norms are {cell.relative_norm_control:.3g} and {cell.relative_norm:.3g}"
        )


def attach_bands(
    summary: pd.DataFrame, effects: pd.DataFrame, level: float = 0.95, *, searched: bool = True
) -> pd.DataFrame:
    """`summary` with what random vectors do in each cell: control_low, control_high, n_draws, p_random.

    Where a method has several kinds of `RANDOM_CONTROLS`, the band is the hull of theirs, `n_draws` the sum and
    `p_random` the largest. NaN and 0 for a cell without one.

    Args:
        summary: One row per cell and metric.
        effects: What each draw does (`draw_effects`).
        level: The probability that one more draw falls inside a band.
        searched: Whether a method's cells are a search, over which `p_random` is corrected.

    Raises:
        ValueError: a random control that is not norm-matched.
    """
    check_norms(summary)
    own = effects[effects["method"].isin(RANDOM_CONTROLS)]
    of_one = own.groupby(["metric", *FAMILY], dropna=False, sort=False)
    bands = [_judged(summary, draws, level, searched) for _, draws in of_one]
    found = pd.concat(bands) if bands else pd.DataFrame(columns=[*BAND, "n_draws"], dtype=float)
    hull = found.groupby(level=0).agg(
        {"control_low": "min", "control_high": "max", "p_random": "max", "n_draws": "sum"}
    )
    banded = summary.assign(
        **{name: hull[name].reindex(summary.index).astype(float) for name in BAND},
        n_draws=hull["n_draws"].reindex(summary.index).fillna(0).astype(int),
    )
    return within_reach(banded)


def _judged(summary: pd.DataFrame, draws: pd.DataFrame, level: float, searched: bool) -> pd.DataFrame:
    """The band and p_random of those rows of `summary` whose cells the `draws` of one control are matched to."""
    control, keys = draws.iloc[0], list(MATCHED[2:])
    judged = pd.Series({"metric": control["metric"], "method": control["control_of"], "place": control["place"]})
    rows = summary[in_cell(summary, judged, tuple(judged.index))].reset_index(names="row")
    bands = control_bands(draws, level).drop(columns=["metric", *FAMILY])
    joined = rows.merge(bands, on=keys, suffixes=("_none", "")).set_index("row")
    p_random = np.full(len(joined), np.nan)
    enough = (joined["n_draws"] >= MIN_DRAWS).to_numpy()
    if enough.any():
        rows = joined[enough]
        searches = [rows] if searched else [rows.iloc[[i]] for i in range(len(rows))]
        p_random[enough] = np.concatenate([_p_random(search, draws, keys) for search in searches])
    return joined[["control_low", "control_high", "n_draws"]].assign(p_random=p_random)


def _p_random(rows: pd.DataFrame, draws: pd.DataFrame, keys: list[str]) -> Float[np.ndarray, " cells"]:
    """`random_test` of the effects in `rows`, the whole family's."""
    ratio = draws["log_effect"].notna().any()
    column, effects = ("log_effect", np.log(rows["effect"])) if ratio else ("effect", rows["effect"])
    cells = rows[keys].assign(cell=range(len(rows)))
    placed = draws.merge(cells, on=keys)
    wide = np.full((placed["draw"].nunique(), len(rows)), np.nan)
    wide[placed["draw"].rank(method="dense").astype(int) - 1, placed["cell"]] = placed[column]
    grid = random_grid(wide, rows["relative_norm"].to_numpy(float), rows["layer"].to_numpy(float))
    return grid.p_family(effects.to_numpy(float))
