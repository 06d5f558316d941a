"""What is chosen on validation and by which rule: cells, sites, strengths, numbers of iterations, thresholds."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from steering_lab.evaluation.inferring.selection import Selected, select
from steering_lab.evaluation.running.grid import PlaceName
from steering_lab.models.hook_points import HookSite, resid_post
from steering_lab.numerics.divergence import LN2
from steering_lab.tables import strength

Chosen = Sequence[Selected | str]  # for each form, in their order: the cell, or the reason why there is none


def choose(
    summary: pd.DataFrame, metric: str, forms: Sequence[tuple[str, PlaceName]], perplexity_budget: float
) -> list[Selected | str]:
    """For each form, a method at a place, the cell that raises `metric` most within the budget (`select`)."""
    budgets = {"perplexity": perplexity_budget}
    chosen: list[Selected | str] = []
    for method, place in forms:
        try:
            chosen.append(select(summary, effect=metric, budgets=budgets, methods=[method], places=[place]))
        except ValueError as refusal:
            chosen.append(str(refusal))
    return chosen


def choose_cell(summary: pd.DataFrame, effect: str, budgets: Mapping[str, float], sure: bool) -> Selected:
    """The cell that raises `effect` most among those within the budgets, by the estimates, as most papers choose.

    Raises:
        ValueError: none is within the budgets, or, where it has to be `sure`, the best of those may raise nothing.
    """
    chosen = select(summary, effect=effect, budgets=budgets, judged_by="estimate")
    if sure and not chosen.effect["low"] > 0:
        raise ValueError(
            f"no cell within the budgets surely raises {effect} answers: the best, {chosen}, moves them by"
            f" {chosen.effect['effect']:+.2f} [{chosen.effect['low']:+.2f}, {chosen.effect['high']:+.2f}]"
        )
    return chosen


def choose_site(cells: pd.DataFrame, effect: str, most_kl: float) -> HookSite:
    """The block output where `effect` is the most for at most `most_kl` nats; the smaller KL wins ties.

    Raises:
        ValueError: no cell costs so little.
    """
    affordable = cells[cells["kl"] <= most_kl]
    if affordable.empty:
        raise ValueError(
            f"no coefficient keeps the vector within {most_kl:g} nats, the gentlest cell costs {cells['kl'].min():.3g}:"
            " add smaller coeffs"
        )
    best = affordable.sort_values([effect, "kl"], ascending=[False, True]).iloc[0]
    return resid_post(int(best["layer"]))


def choose_iterations(trace: pd.DataFrame, effect: str, spare: float) -> int:
    """The fewest iterations whose `effect` comes within `spare` of the most."""
    enough = trace[trace[effect] >= trace[effect].max() - spare]
    return int(enough["iterations"].min())


def choose_strength(cells: pd.DataFrame, kl: float) -> float:
    """The coefficient or budget whose KL is nearest to `kl`, by their ratio."""
    return float(strength(cells)[(np.log(cells["kl"].clip(lower=1e-9)) - np.log(kl)).abs().idxmin()])


def choose_threshold(gates: pd.DataFrame) -> float:
    """The divergence that parts conflicts from other rows best: share of them open less share of the others open.

    Ties go to the higher one, which steers less.
    """
    conflict = gates["regime"] == "conflict"

    def parted(threshold: float) -> float:
        is_open = (gates["divergence"] >= threshold) & ~gates["agrees"]
        return round(float(is_open[conflict].mean() - is_open[~conflict].mean()), 9)  # ties are ties

    return max((LN2, *sorted((d for d in gates["divergence"] if d > 0), reverse=True)), key=parted)
