"""Methods compared at equal cost: the effect that each one has where its cost is the same, read off its own curve.

A method is a curve: its cells from weak to strong, each with a cost and an effect, beginning at the unsteered model.
Coefficients and budgets of different methods have no common scale; a cost that all of them pay, KL from the unsteered
model above all, is one. Prompts are resampled whole and both axes are computed anew in each resample, so an interval
holds the uncertainty of the cost too, and the difference of two methods is paired.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from steering_lab.evaluation.inferring.controls import prediction_interval
from steering_lab.evaluation.inferring.pairing import PairedSums, pair_with_unsteered, paired_sums
from steering_lab.numerics.bootstrap import percentile_ends, resamples, weighted_means
from steering_lab.tables import CELL, FAMILY, in_cell, is_unsteered

CURVE = (*FAMILY, "draw")
_TYPES = {**dict.fromkeys(FAMILY, "str"), "draw": float}
REACHED = 0.95  # share of the resamples that must reach a cost before an interval there is given


class _Curve(NamedTuple):
    """Cost and effect of one curve's cells, the unsteered one among them, in each resample; row 0 is the sample."""

    cost: Float[np.ndarray, "draws cells"]
    effect: Float[np.ndarray, "draws cells"]

    def at(self, costs: Float[np.ndarray, " costs"]) -> Float[np.ndarray, "draws costs"]:
        """The effect at each cost, straight between the cells in the order of their cost; NaN beyond the dearest."""
        order = np.argsort(self.cost, axis=1, kind="stable")
        ordered = zip(np.take_along_axis(self.cost, order, 1), np.take_along_axis(self.effect, order, 1), strict=True)
        return np.stack([np.interp(costs, cost, effect, right=np.nan) for cost, effect in ordered])


def at_equal_cost(
    tidy: pd.DataFrame,
    *,
    cost: str,
    effect: str,
    at: Sequence[float | int],
    against: str | None = None,
    priced: pd.DataFrame | None = None,
    seed: int = 0,
    n_boot: int = 2000,
    level: float = 0.95,
) -> pd.DataFrame:
    """One row per curve and cost in `at`: method, place, control_of, draw, cost, value, low, high, reached, effect.

    A curve is a method at a place, or one draw of its control. value: the mean of the metric `effect` where the mean of
    the metric `cost` is `cost`. NaN where the curve's dearest cell costs less: nothing is extrapolated. low, high:
    percentile interval over resampled prompts, expanded as in `numerics.bootstrap.expanded_tail`; NaN unless 95 % of
    the resamples reach the cost (`reached` is that share). effect, effect_low, effect_high: the same less the
    unsteered model's. With `against`, a method: difference, difference_low,
    difference_high, the paired difference to that method.

    Args:
        tidy: Measurements, as `measure_table` makes them.
        cost: The metric that is the cost.
        effect: The metric that is read off.
        at: The costs at which it is read, above 0.
        against: The method that the others are subtracted from; none by default.
        priced: The measurements that the cost is read from, where they are of other prompts than the effect's: the two
            are then resampled apart, and only cells that both have count. By default `tidy`.
        seed: What random draws follow from.
        n_boot: Resamples of the bootstrap.
        level: How often an interval should hold the true value: 0.95 is 95 %.

    Raises:
        ValueError: a metric or method that is absent, one prompt only, a cost that is not above 0, or an `against` with
            several curves.
    """
    costs = np.asarray(at, dtype=float)
    if not len(costs) or not (costs > 0).all():
        raise ValueError(f"costs are {list(at)}: name at least one, all of them above 0")
    costly = tidy if priced is None else priced
    for table, column, name in ((costly, "metric", cost), (tidy, "metric", effect), (tidy, "method", against)):
        if name is not None and name not in (known := set(table[column])):
            raise ValueError(f"no {column} {name!r}: the table has {', '.join(sorted(known))}")
    axes = [costly[costly["metric"] == cost], tidy[tidy["metric"] == effect]]
    curves, prompts = _curves(axes, n_boot, np.random.default_rng(seed), apart=priced is not None)
    if prompts < 2:
        raise ValueError("one prompt gives no interval: measure several")
    found = {key: curve.at(costs) for key, curve in curves.items()}
    rivals = [drawn for (method, *_), drawn in found.items() if method == against]
    if len(rivals) > 1:
        raise ValueError(
            f"{against!r} has {len(rivals)} curves (places or draws), and differences are to one: leave one"
        )
    rival = rivals[0] if rivals else None
    blocks = []
    for key, drawn in found.items():
        ends, moved = _ends(drawn, prompts, level), drawn - curves[key].effect[:, :1]
        block = pd.DataFrame({**dict(zip(CURVE, key, strict=True)), "cost": costs, "value": drawn[0], **ends})
        moved_ends = _ends(moved, prompts, level)
        block["effect"], block["effect_low"], block["effect_high"] = moved[0], moved_ends["low"], moved_ends["high"]
        if rival is not None:
            apart = _ends(drawn - rival, prompts, level)
            block["difference"] = drawn[0] - rival[0]
            block["difference_low"], block["difference_high"] = apart["low"], apart["high"]
        blocks.append(block.astype(_TYPES))
    return pd.concat(blocks, ignore_index=True)


def control_curve(curves: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """cost -> control_low, control_high, n_draws over the random draws' rows of `at_equal_cost`.

    Where one more random direction would fall at that cost (`controls.prediction_interval`); NaN below three draws
    that reach it.
    """
    drawn = curves[curves["draw"].notna()].groupby("cost")["value"].agg(["mean", "std", "count"])
    low, high = prediction_interval(drawn["mean"], drawn["std"], drawn["count"], level)
    return pd.DataFrame({"control_low": low, "control_high": high, "n_draws": drawn["count"]}).reset_index()


def cost_curves(
    tidy: pd.DataFrame, *, cost: str, effect: str, least: float | int, n_points: int = 60, **options: Any
) -> pd.DataFrame:
    """`at_equal_cost` along every method's whole curve, for drawing: from `least` to its dearest cell.

    Besides `n_points` costs, evenly spaced in their logarithm, there is a row at each cell's own cost (`measured`).
    Random draws have no rows of their own but columns beside every other's: those of `control_curve`.

    Args:
        tidy: Measurements, as `measure_table` makes them.
        cost: The metric that is the cost.
        effect: The metric that is read off.
        least: The smallest cost.
        n_points: How many costs there are, evenly spaced in their logarithm.
        **options: Those of `at_equal_cost`: seed, n_boot, level.

    Raises:
        ValueError: see `at_equal_cost`; no cell costs as much as `least`.
    """
    cells = tidy[(tidy["metric"] == cost) & tidy["draw"].isna() & ~is_unsteered(tidy)]
    own = cells.groupby(list(CELL), dropna=False)["value"].mean() * (1 - 1e-9)  # not beyond the curve by rounding
    own = own[own >= least]
    if own.empty:
        raise ValueError(f"no cell costs {least:g} or more, the dearest {cells['value'].max():.3g}: lower `least`")
    costs = sorted({*np.geomspace(least, own.max(), n_points), *own})
    every = at_equal_cost(tidy, cost=cost, effect=effect, at=costs, **options)
    curves = every[every["draw"].isna()].merge(control_curve(every), on="cost", how="left")
    own = own.rename("cost").reset_index()[[*FAMILY, "cost"]].drop_duplicates().assign(measured=True)
    joined = curves.merge(own, on=[*FAMILY, "cost"], how="left")
    return joined.assign(measured=joined["measured"].notna())


def _curves(
    axes: Sequence[pd.DataFrame], n_boot: int, rng: np.random.Generator, *, apart: bool
) -> tuple[dict[tuple[Any, ...], _Curve], int]:
    """The curve of every method, place and draw, each beginning at the unsteered model; and how many prompts there are.

    Both axes, cost and effect, are plain means, of ratios too. Where they are of prompts `apart`, each is resampled by
    itself and curves have the cells that both know.
    """
    paired = [pair_with_unsteered(axis.assign(scale="difference")) for axis in axes]
    prompts = [axis["prompt"].nunique() for axis in paired]
    weights = [_weights(prompts[1], n_boot, rng)] * 2
    if apart:
        weights[0] = _weights(prompts[0], n_boot, rng)
        paired = [_in_both(axis, other) for axis, other in (paired, paired[::-1])]
    elif any(set(axis["prompt"]) != set(paired[1]["prompt"]) for axis in paired):
        prompts[0] = -1  # no curve has it
    steered = [axis[~is_unsteered(axis)] for axis in paired]
    curves = {}
    for key, rows in steered[1].groupby(list(CURVE), dropna=False, sort=False):
        own = [axis[in_cell(axis, rows.iloc[0], CURVE)] for axis in steered]
        sums = [paired_sums(one) if len(one) else None for one in own]
        if any(one is None or len(one.steered) != n for one, n in zip(sums, prompts, strict=True)):
            raise ValueError(f"{key[0]!r} lacks prompts that others have: measure every condition on all of them")
        curves[key] = _Curve(*(_with_origin(one, w) for one, w in zip(sums, weights, strict=True) if one is not None))
    return curves, prompts[1]


def _weights(prompts: int, n_boot: int, rng: np.random.Generator) -> Float[np.ndarray, "draws prompts"]:
    """Every prompt once, then resamples of them."""
    return np.concatenate([np.ones((1, prompts)), resamples(prompts, n_boot, rng)])


def _in_both(axis: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The rows of cells that the other axis knows too."""
    by = [*CELL, "draw"]
    return axis.merge(other[by].drop_duplicates(), on=by)


def _with_origin(sums: PairedSums, weights: Float[np.ndarray, "draws prompts"]) -> Float[np.ndarray, "draws cells"]:
    """The cells' means under each weighting of the prompts, after the unsteered model's."""
    steered = weighted_means(weights, sums.steered, sums.steered_weight)
    origin = weighted_means(weights, sums.unsteered[:, :1], sums.unsteered_weight[:, :1])
    return np.concatenate([origin, steered], axis=1)


def _ends(drawn: Float[np.ndarray, "draws costs"], prompts: int, level: float) -> dict[str, np.ndarray]:
    """low and high ends over the resamples, where enough of them reach the cost, and the share that does."""
    reached = np.isfinite(drawn[1:]).mean(axis=0)
    enough = (reached >= REACHED) & np.isfinite(drawn[0])
    low, high = percentile_ends(drawn[1:], np.where(enough, prompts, 0), level)
    return {"low": low, "high": high, "reached": reached}
