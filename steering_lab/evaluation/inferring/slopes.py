"""Whom it steers: each prompt's slope over the coefficients, and how many prompts move the other way.

An average effect hides prompts that a vector pushes back (anti-steerable; Tan et al. 2024, arXiv:2407.12404). A slope
holds the noise of the prompt's samples, which alone makes half of the slopes of an idle vector negative: read a share
beside those of the vector's controls, which have rows of their own.
"""

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from steering_lab.evaluation.inferring.pairing import pair_with_unsteered
from steering_lab.tables import FAMILY

CURVE = (*FAMILY, "layer", "draw")
"""What one curve is: a method at a place and layer, or one draw of its control."""


def prompt_slopes(measured: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One row per curve and prompt: method, place, control_of, layer, draw, prompt, slope, n_coeffs.

    The slope is least squares' of the metric's mean over samples on the coefficient, in the metric's unit for a
    coefficient of 1, the unsteered model standing at 0; on the scale "ratio", of its logarithm. Samples in which either
    value is unknown are left out; a prompt of which no coefficient is known has no row.

    Args:
        measured: Measurements of the unsteered model and of others.
        metric: What is measured.

    Raises:
        ValueError: no such metric, or what `pair_with_unsteered` refuses.
    """
    if metric not in set(measured["metric"]):
        raise ValueError(f"no metric {metric!r}: the table has {', '.join(sorted(measured['metric'].unique()))}")
    paired = pair_with_unsteered(measured[measured["metric"] == metric])
    steered = paired[paired["coeff"].fillna(0) != 0].dropna(subset=["value", "unsteered"])
    moved = steered.assign(moved=steered["value"] - steered["unsteered"])
    points = moved.groupby([*CURVE, "prompt", "coeff"], dropna=False)["moved"].mean().reset_index()
    groups = points.groupby([*CURVE, "prompt"], dropna=False)
    fits = [(*key, _slope(rows["coeff"].to_numpy(), rows["moved"].to_numpy()), len(rows)) for key, rows in groups]
    return pd.DataFrame(fits, columns=[*CURVE, "prompt", "slope", "n_coeffs"])


def _slope(coeffs: np.ndarray, moved: np.ndarray) -> float:
    """Least squares with an intercept through these points and (0, 0), which is the prompt unsteered."""
    x, y = np.append(coeffs, 0.0), np.append(moved, 0.0)
    return float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())


def steered_otherwise(slopes: pd.DataFrame, *, toward: int = 1, level: float = 0.95) -> pd.DataFrame:
    """One row per curve: its columns, slope (mean), share, low, high, flat, n_prompts. NaN slopes are left out.

    share: of the prompts, how many move against `toward`, with the exact interval of a share (Clopper and Pearson).
    flat: how many do not move at all; these are not counted as moving the other way. All are NaN of no known slope.

    Args:
        slopes: Rows of `prompt_slopes`.
        toward: Whether the vector is to raise the metric (1) or to lower it (-1).
        level: How often an interval is to hold the share.

    Raises:
        ValueError: another direction, or a level outside (0, 1).
    """
    if toward not in (1, -1) or not 0 < level < 1:
        raise ValueError(f"toward is 1 or -1 and level between 0 and 1, not {toward} and {level}")
    rows = []
    for key, of in slopes.groupby(list(CURVE), dropna=False, sort=False):
        own = toward * of["slope"].dropna().to_numpy()
        if not (n := len(own)):
            rows.append((*key, *[np.nan] * 5, 0))
            continue
        against = int((own < 0).sum())
        ends = binomtest(against, n).proportion_ci(level, method="exact")
        rows.append((*key, float(of["slope"].mean()), against / n, ends.low, ends.high, float((own == 0).mean()), n))
    return pd.DataFrame(rows, columns=[*CURVE, "slope", "share", "low", "high", "flat", "n_prompts"])
