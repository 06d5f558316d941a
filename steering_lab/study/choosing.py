"""What is chosen on validation and by which rule: cells, sites, strengths, numbers of iterations, thresholds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from steering_lab.evaluation.inferring.reasons import amount, where
from steering_lab.evaluation.inferring.selection import Selected, select
from steering_lab.evaluation.running.grid import PlaceName
from steering_lab.models.hook_points import HookSite, resid_post
from steering_lab.numerics.divergence import LN2
from steering_lab.tables import strength

Chosen = Sequence[Selected | str]  # for each form, in their order: the cell, or the reason why there is none


def choose(
    summary: pd.DataFrame,
    metric: str,
    forms: Sequence[tuple[str, PlaceName]],
    budgets: Mapping[str, float],
    *,
    sure: bool = True,
) -> list[Selected | str]:
    """For each form, a method at a place, the cell that raises `metric` most within the budgets (`select`).

    Every experiment chooses a cell by this rule: intervals decide, of the effect and of every cost.

    Args:
        summary: Of validation prompts.
        metric: What is to rise.
        forms: Methods with their places.
        budgets: The most that each cost may be.
        sure: Choose only a cell whose interval lies above no effect.
    """
    chosen: list[Selected | str] = []
    for method, place in forms:
        try:
            own: dict[str, Any] = {"methods": [method], "places": [place], "sure": sure}
            chosen.append(select(summary, effect=metric, budgets=budgets, **own))
        except ValueError as refusal:
            chosen.append(str(refusal))
    return chosen


def choose_site(cells: pd.DataFrame, effect: str, most_kl: float, *, sure: bool = True) -> HookSite:
    """The block output of the cell with the highest lower end of `effect`'s interval, among those that cost little.

    Its mean KL may be at most `most_kl`, by estimate: it is no budget here but where methods are read off later, their
    mean KL too. The smaller KL wins ties.

    Args:
        cells: One row per layer and coefficient, with `layer`, `coeff`, `kl` in nats, and `low` and `high`, the
            interval of the effect less the unsteered model's.
        effect: What is to rise, as a refusal calls it.
        most_kl: Nats that a cell may cost.
        sure: Choose only a cell whose interval lies above no effect.

    Raises:
        ValueError: no cell costs so little or has an interval, or none is sure; names the nearest three.
    """
    affordable = cells[cells["kl"] <= most_kl].dropna(subset="low")
    if affordable.empty:
        raise ValueError(
            f"no coefficient keeps the vector within {most_kl:g} nats, the gentlest cell costs {cells['kl'].min():.3g}:"
            " add smaller coeffs"
        )
    ordered = affordable.sort_values(["low", "kl"], ascending=[False, True])
    best = ordered.iloc[0]
    if sure and not best["low"] > 0:
        near = "; ".join(
            f"{where(cell)}: {amount(cell['low'], 'difference')} to {amount(cell['high'], 'difference')}"
            for _, cell in ordered.head(3).iterrows()
        )
        raise ValueError(f"no cell within {most_kl:g} nats surely raises {effect}; the nearest are {near}")
    return resid_post(int(best["layer"]))


def choose_iterations(trace: pd.DataFrame, effect: str, spare: float) -> int:
    """The fewest iterations whose `effect` comes within `spare` of the most.

    Args:
        trace: One row per number of iterations, with `iterations` and the effect's column.
        effect: The column that is to be high.
        spare: How far below the most is enough, in the effect's unit; 0 takes the fewest that reach it.
    """
    enough = trace[trace[effect] >= trace[effect].max() - spare]
    return int(enough["iterations"].min())


def choose_strength(cells: pd.DataFrame, kl: float) -> float:
    """The coefficient or budget whose KL is nearest to `kl`, by their ratio.

    Args:
        cells: One row per coefficient or budget, with its `kl` in nats; 0 counts as 1e-9.
        kl: Nats that are wanted, above 0.
    """
    return float(strength(cells)[(np.log(cells["kl"].clip(lower=1e-9)) - np.log(kl)).abs().idxmin()])


def choose_threshold(gates: pd.DataFrame) -> float:
    """The divergence that parts conflicts from other rows best: share of them open less share of the others open.

    Ties go to the higher one, which steers less.

    Args:
        gates: One row per prompt: its `regime`, its `divergence` in nats, and whether context and memory `agrees`,
            which keeps its gate shut.
    """
    conflict = gates["regime"] == "conflict"

    def parted(threshold: float) -> float:
        is_open = (gates["divergence"] >= threshold) & ~gates["agrees"]
        return round(float(is_open[conflict].mean() - is_open[~conflict].mean()), 9)  # ties are ties

    return max((LN2, *sorted((d for d in gates["divergence"] if d > 0), reverse=True)), key=parted)
