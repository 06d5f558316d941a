"""Methods compared at equal cost: the effect that each one has where its cost is the same, read off its own curve.

A method is a curve: its cells from weak to strong, each with a cost and an effect, beginning at the unsteered model.
Coefficients and budgets of different methods have no common scale; a cost that all of them pay, KL from the unsteered
model above all, is one. What a prompt says of the effect at a cost holds its own cost too (`Curve.at`), so an interval
holds the uncertainty of both axes, and the difference of two methods is paired.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from steering_lab.evaluation.inferring.controls import prediction_interval
from steering_lab.evaluation.inferring.pairing import DESCRIBED, PairedSums, pair_with_unsteered, paired_sums
from steering_lab.numerics.bootstrap import percentile_ends, resamples
from steering_lab.numerics.intervals import Interval, paired_interval, prompt_values
from steering_lab.numerics.kinds import Bounds, Kind
from steering_lab.tables import CELL, FAMILY, in_cell, is_unsteered

CURVE = (*FAMILY, "draw")
_TYPES = {**dict.fromkeys(FAMILY, "str"), "draw": float}
REACHED = 0.95  # share of the resamples that must reach a cost before an interval there is given
UNREACHED = "not all resamples of the prompts reach this cost"


class Curve(NamedTuple):
    """What each prompt says of the mean cost and of the mean effect of a curve's cells, the unsteered one first.

    Args:
        cost: A row for each prompt that pays, a column for each cell.
        effect: A row for each prompt, the same columns.
        apart: Whether the cost is that of other prompts, so that rows do not belong together.
    """

    cost: Float[np.ndarray, "priced cells"]
    effect: Float[np.ndarray, "prompts cells"]
    apart: bool = False  # whether the cost is that of other prompts

    def at(self, costs: Float[np.ndarray, " costs"]) -> Float[np.ndarray, "prompts costs"]:
        """What each prompt says of the effect at each cost; their mean is the curve there, NaN beyond either end.

        The curve is straight between the cells in the order of their mean cost. Between two of them a prompt's value is
        its own effect there, less the slope times what it pays there beyond the cost named: to first order, how the
        curve moves with the prompt. Where other prompts pay, it is its own effect.

        Args:
            costs: In the cost's unit (nats, or the logarithm of a ratio); NaN comes back for one outside the cells'
                mean costs.
        """
        order = np.argsort(self.cost.mean(axis=0), kind="stable")
        cost, effect = self.cost[:, order], self.effect[:, order]
        mean = cost.mean(axis=0)
        right = np.clip(np.searchsorted(mean, costs), 1, len(mean) - 1)
        left = right - 1
        step = mean[right] - mean[left]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (costs - mean[left]) / step
            slope = (effect[:, right] - effect[:, left]).mean(axis=0) / step

            def between(own: np.ndarray) -> np.ndarray:
                return (1 - share) * own[:, left] + share * own[:, right]

            found = between(effect) if self.apart else between(effect) - slope * (between(cost) - costs)
        return np.where((costs >= mean[0]) & (costs <= mean[-1]), found, np.nan)

    def resampled(
        self,
        costs: Float[np.ndarray, " costs"],
        priced: Float[np.ndarray, "draws priced"],
        weighting: Float[np.ndarray, "draws prompts"],
    ) -> Float[np.ndarray, "draws costs"]:
        """The curve at each cost in each resample, both axes anew; NaN where its dearest cell costs less.

        `priced` and `weighting` say how often each prompt stands in it, those of the cost and those of the effect.
        """
        cost, effect = priced @ self.cost / len(self.cost), weighting @ self.effect / len(self.effect)
        order = np.argsort(cost, axis=1, kind="stable")
        ordered = zip(np.take_along_axis(cost, order, 1), np.take_along_axis(effect, order, 1), strict=True)
        return np.stack([np.interp(costs, x, y, right=np.nan) for x, y in ordered])


class _Metric(NamedTuple):
    """What is known of the metric that is read off: its kind and the ends of its scale."""

    kind: Kind
    bounds: Bounds


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
    """One row per curve and cost in `at`: CURVE, cost, least, most, value, low, high, why, reached, effect.

    A curve is a method at a place, or one draw of its control. value: the mean of the metric `effect` where the mean of
    the metric `cost` is `cost`. NaN where the curve's dearest cell costs less: nothing is extrapolated. low, high: the
    interval of `interval_at`; NaN, with the reason in `why`, where there is none. reached: the share of resamples of
    the prompts that reach the cost. effect, effect_low, effect_high: the same less the unsteered model's. With
    `against`, a method: difference, difference_low, difference_high, the paired difference to that method.

    Args:
        tidy: Measurements, as `measure_table` makes them.
        cost: The metric that is the cost.
        effect: The metric that is read off.
        at: The costs at which it is read, above 0.
        against: The method that the others are subtracted from; none by default.
        priced: The measurements that the cost is read from, where they are of other prompts than the effect's: the two
            are then resampled apart, and only cells that both have count. By default `tidy`.
        seed: What random draws follow from.
        n_boot: Resamples of the prompts.
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
    metric = _described(tidy[tidy["metric"] == effect])
    axes = [costly[costly["metric"] == cost], tidy[tidy["metric"] == effect]]
    curves = _curves(axes, apart=priced is not None)
    payers, prompts = (len(own) for own in next(iter(curves.values()))[:2])
    if prompts < 2:
        raise ValueError("one prompt gives no interval: measure several")
    found = {key: curve.at(costs) for key, curve in curves.items()}
    rivals = [key for key in found if key[0] == against]
    if len(rivals) > 1:
        raise ValueError(
            f"{against!r} has {len(rivals)} curves (places or draws), and differences are to one: leave one"
        )
    rng = np.random.default_rng(seed)
    weighting = resamples(prompts, n_boot, rng)
    paying = weighting if priced is None else resamples(payers, n_boot, rng)
    drawn = {key: curve.resampled(costs, paying, weighting) for key, curve in curves.items()}
    reach, blocks = metric.bounds[1] - metric.bounds[0], []
    for key, own in found.items():
        low, high, why = interval_at(own, drawn[key], metric.kind, metric.bounds, level=level, seed=seed)
        block = pd.DataFrame({**dict(zip(CURVE, key, strict=True)), "cost": costs, "value": own.mean(axis=0)})
        reached = np.isfinite(drawn[key]).mean(axis=0)
        least, most = (float(end) if np.isfinite(end) else np.nan for end in metric.bounds)
        why = pd.Series(why).replace("", None)
        block = block.assign(least=least, most=most, low=low, high=high, why=why, reached=reached)
        origin = curves[key].effect[:, :1]
        moved, between = own - origin, drawn[key] - weighting @ origin / prompts
        low, high, _ = interval_at(moved, between, metric.kind, (-reach, reach), level=level, seed=seed)
        block = block.assign(effect=moved.mean(axis=0), effect_low=low, effect_high=high)
        for rival in rivals:
            apart, between = own - found[rival], drawn[key] - drawn[rival]
            low, high, _ = interval_at(apart, between, metric.kind, (-reach, reach), level=level, seed=seed)
            if key == rival:  # a method against itself is nothing, exactly
                low = high = apart.mean(axis=0)
            block = block.assign(difference=apart.mean(axis=0), difference_low=low, difference_high=high)
        blocks.append(block.astype(_TYPES))
    return pd.concat(blocks, ignore_index=True)


def interval_at(
    own: Float[np.ndarray, "prompts costs"],
    drawn: Float[np.ndarray, "draws costs"],
    kind: Kind,
    bounds: Bounds,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The interval at each cost, within `bounds`: the hull of that of `kind` and of the resampled curves' percentiles.

    The former never loses its width, the latter knows that the cost may lie in another stretch of the curve. None
    where `kind` has none and where fewer than 95 % of the resamples reach the cost. Simulated
    (`python -m benchmarks.equal_cost`) with 16, 40 and 100 prompts, a 95 % interval of shares covers the curve 93 to
    100 times in a hundred; the percentiles alone 29 times at a share of 1 % and 59 at 96 % with 16 prompts, having
    mostly no width there.

    Args:
        own: What each prompt says.
        drawn: The same of the curve in each resample.
        kind: The kind of the metric that is read off.
        bounds: The smallest and the largest that there can be.
        level: How often it should hold the true value: 0.95 is 95 %.
        seed: What the resamples of a skewed metric follow from.
    """
    low, high, why = paired_interval(
        own, kind, level=level, bounds=bounds, n_boot=len(drawn), rng=np.random.default_rng(seed)
    )
    lost = np.isfinite(drawn).mean(axis=0) < REACHED
    least, most = percentile_ends(drawn, np.where(lost | (why != ""), 0, len(own)), level)
    ends = np.minimum(low, least), np.maximum(high, most)
    low, high = (np.where(lost, np.nan, np.clip(end, *bounds)) for end in ends)
    return Interval(low, high, np.where(lost, UNREACHED, why))


def control_curve(
    curves: pd.DataFrame, level: float = 0.95, *, of: Literal["value", "effect"] = "value"
) -> pd.DataFrame:
    """cost -> control_low, control_high, n_draws over the random draws' rows of `at_equal_cost`.

    Where one more random direction would fall at that cost (`controls.prediction_interval`); NaN below three draws
    that reach it. Cut where the metric's bounds end: an effect can be as far below 0 as above it.

    Args:
        curves: The table of `at_equal_cost`; rows without a draw are left out.
        level: How often one more random direction should fall inside: 0.95 is 95 %.
        of: Whether the band is of the values or of the effects.
    """
    drawn = curves[curves["draw"].notna()].groupby("cost")[of].agg(["mean", "std", "count"])
    ends = prediction_interval(drawn["mean"], drawn["std"], drawn["count"], level)
    least, most = (float(curves[end].iloc[0]) if len(curves) else np.nan for end in ("least", "most"))
    if of == "effect":
        least, most = least - most, most - least
    low, high = (end.clip(None if np.isnan(least) else least, None if np.isnan(most) else most) for end in ends)
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


def _curves(axes: Sequence[pd.DataFrame], *, apart: bool) -> dict[tuple[Any, ...], Curve]:
    """The curve of every method, place and draw over the axes cost and effect, each beginning at the unsteered model.

    Both axes are plain means, of ratios too. Where they are of prompts `apart`, curves have the cells that both know.
    """
    paired = [pair_with_unsteered(axis.assign(scale="difference")) for axis in axes]
    prompts = [axis["prompt"].nunique() for axis in paired]
    if apart:
        paired = [_in_both(axis, other) for axis, other in (paired, paired[::-1])]
    elif set(paired[0]["prompt"]) != set(paired[1]["prompt"]):
        prompts[0] = -1  # no curve has it
    steered = [axis[~is_unsteered(axis)] for axis in paired]
    curves = {}
    for key, rows in steered[1].groupby(list(CURVE), dropna=False, sort=False):
        own = [axis[in_cell(axis, rows.iloc[0], CURVE)] for axis in steered]
        sums = [paired_sums(one) for one in own if len(one)]
        if [len(one.steered) for one in sums] != prompts:
            raise ValueError(f"{key[0]!r} lacks prompts that others have: measure every condition on all of them")
        curves[key] = Curve(_with_origin(sums[0]), _with_origin(sums[1]), apart)
    return curves


def _in_both(axis: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The rows of cells that the other axis knows too."""
    by = [*CELL, "draw"]
    return axis.merge(other[by].drop_duplicates(), on=by)


def _described(rows: pd.DataFrame) -> _Metric:
    """What the metric of `rows` is; of the plain mean of a ratio nothing is known, so it is skewed."""
    said = rows[list(DESCRIBED)].iloc[0]
    kind = Kind.SKEWED if said["scale"] == "ratio" else Kind(said["distribution"])
    least, most = (end if np.isnan(said[name]) else said[name] for name, end in (("least", -np.inf), ("most", np.inf)))
    return _Metric(kind, (least, most))


def _with_origin(sums: PairedSums) -> Float[np.ndarray, "prompts cells"]:
    """What the prompts say of each cell's mean, after the unsteered model's."""
    origin = prompt_values(sums.unsteered[:, :1], sums.unsteered_weight[:, :1])
    return np.concatenate([origin, prompt_values(sums.steered, sums.steered_weight)], axis=1)
