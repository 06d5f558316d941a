"""Effects with their uncertainty: from one observation per row to one row per cell and metric.

Prompts are the sampled units and are resampled whole; samples of one prompt never count as independent evidence. Every
comparison is paired: same prompt, same sample, steered against unsteered. Nothing here knows a model or a figure.
"""

import numpy as np
import pandas as pd

from steering_lab.evaluation.inferring.controls import attach_bands, paired_draw_effects
from steering_lab.evaluation.inferring.pairing import DESCRIBED, PairedSums, pair_with_unsteered, paired_sums
from steering_lab.evaluation.inferring.swap_test import swap_test
from steering_lab.numerics.intervals import Interval, Kind, paired_interval
from steering_lab.tables import CELL, SUMMARY, checked


def summarise(
    measured: pd.DataFrame, *, searched: bool = True, seed: int = 0, n_boot: int = 2000, level: float = 0.95
) -> pd.DataFrame:
    """One row per cell (`tables.CELL`) and metric with the columns of `tables.SUMMARY`, the unsteered cell included.

    value: the weighted mean of all known values. effect: the mean paired difference to the unsteered model, over the
    pairs in which both values are known; on the scale "ratio" `value` is the corpus value (geometric, weighted by
    tokens) and `effect` its ratio to the unsteered corpus value of the same prompts and samples (1 = no change).
    low, high: the interval of the effect by the metric's distribution (`intervals.paired_interval`), a ratio's that of
    its logarithms; NaN where there is none, and `why` says why. The unsteered model's own effect is nothing by
    definition and has no width. p, p_family: `swap_test`, alone and over the cells of
    the same method, place and metric. n, n_missing, n_prompts: pairs known, pairs in which a value is NaN, prompts with
    a known pair. degenerate: more than half of the cell's continuations are (metric "degenerate"; NA if it was not
    measured). control_low, control_high, n_draws, p_random: what norm-matched random vectors do in the cell, and
    whether it is told from them over the cells of its method, place and metric (`controls.attach_bands`).

    Args:
        measured: Measurements of the unsteered model and of others.
        searched: Whether the cells of a method at a place are a search, over which its p are corrected. Not so where a
            cell was chosen on other prompts: it, and its reversal, are each asked alone.
        seed: What the resamples of prompts follow from.
        n_boot: How many resamples.
        level: How often an interval is to hold the effect.

    Raises:
        ValueError: see `pair_with_unsteered`; a control that is not norm-matched; a level outside (0, 1).
    """
    if not 0 < level < 1 or n_boot < 1:
        raise ValueError(f"level is between 0 and 1 and n_boot at least 1, not {level} and {n_boot}")
    paired = pair_with_unsteered(measured)
    blocks = [
        _summarise_metric(paired_sums(rows), rows.iloc[0], searched, seed, n_boot, level).assign(metric=metric)
        for metric, rows in paired.groupby("metric")
    ]
    summary = _mark_degenerate(pd.concat(blocks, ignore_index=True))
    summary = attach_bands(summary, paired_draw_effects(paired), level, searched=searched)
    summary = summary.sort_values(["metric", *CELL], ignore_index=True, na_position="first")
    return checked(summary, SUMMARY)[SUMMARY.names]


def _summarise_metric(
    sums: PairedSums, metric: pd.Series, searched: bool, seed: int, n_boot: int, level: float
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)  # anew for each metric: all metrics see the same resamples
    effect = sums.effect(np.ones((1, len(sums.steered))))[0]
    found = effect_interval(sums, metric, n_boot=n_boot, level=level, rng=rng)
    p, p_family = swap_test(sums, Kind(metric["distribution"]), n_boot, rng, searched=searched)
    value = sums.cells["value"].to_numpy()
    if metric["scale"] == "ratio":
        value, effect = np.exp(value), np.exp(effect)
    own = {"value": value, "effect": effect, "low": found.low, "high": found.high}
    counts = sums.cells[["n", "n_missing", "n_prompts"]]
    cells = sums.cells[[*CELL, "role", "unit", "relative_norm"]].assign(**metric[list(DESCRIBED)], **own)
    return cells.assign(why=pd.Series(found.why).replace("", None), p=p, p_family=p_family, **counts)


def effect_interval(
    sums: PairedSums, metric: pd.Series, *, level: float, n_boot: int = 2000, rng: np.random.Generator | None = None
) -> Interval:
    """The interval of each cell's effect by the metric's distribution; a ratio's is that of its logarithms.

    Nothing is left of what cannot be: differences are cut where the metric's bounds end. The unsteered model against
    itself is nothing, exactly.

    Args:
        sums: The paired sums of each prompt and cell; of logarithms for a ratio.
        metric: What its columns say: scale, distribution, least, most.
        level: How often an interval should hold the true value: 0.95 is 95 %.
        n_boot: Resamples, where the interval is a bootstrap.
        rng: What draws them.
    """
    ratio, reach = metric["scale"] == "ratio", metric["most"] - metric["least"]
    if ratio or np.isnan(reach):
        reach = np.inf
    low, high, why = paired_interval(
        sums.of_prompts(), Kind(metric["distribution"]), level=level, bounds=(-reach, reach), n_boot=n_boot, rng=rng
    )
    itself = (sums.cells["role"] == "unsteered").to_numpy() & (sums.cells["n_prompts"] > 0).to_numpy()
    low, high = (np.where(itself, 0.0, np.clip(end, -reach, reach)) for end in (low, high))
    why = np.where(itself, "", why)
    return Interval(np.exp(low), np.exp(high), why) if ratio else Interval(low, high, why)


def _mark_degenerate(summary: pd.DataFrame) -> pd.DataFrame:
    share = summary.loc[summary["metric"] == "degenerate", [*CELL, "value"]].rename(columns={"value": "share"})
    share = summary[[*CELL]].merge(share, on=list(CELL), how="left")["share"].astype("Float64")
    return summary.assign(degenerate=(share > 0.5).array)
