"""Choose a layer and a coefficient under a side-effect budget, then see what is left of the choice on held-out rows.

The best of many noisy cells looks better than it is (the winner's curse): the figures that led to a choice are not
evidence for it. `select` reads a summary of validation prompts, `confirm` one of prompts that played no part.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from steering_lab.evaluation.controls import is_control
from steering_lab.evaluation.pairing import CELL


@dataclass(frozen=True, eq=False)
class Selected:
    """A chosen cell with the summary rows that led to it: what it does (`effect`) and what it costs (`cost`)."""

    method: str
    layer: float
    coeff: float
    budget: float
    effect: pd.Series
    cost: pd.Series

    @property
    def excludes_no_effect(self) -> bool:
        """Whether the effect's interval, on the rows it was chosen on, leaves out 0 (a ratio's: 1)."""
        idle = 1.0 if self.effect["scale"] == "ratio" else 0.0
        return not self.effect["low"] <= idle <= self.effect["high"]

    def __str__(self) -> str:
        return f"{self.method}, layer {self.layer:g}, coefficient {self.coeff:g}"


def select(
    summary: pd.DataFrame,
    *,
    effect: str,
    cost: str,
    budget: float,
    direction: int = 1,
    methods: Collection[str] | None = None,
    reference: str = "unsteered",
) -> Selected:
    """The steered cell with the largest effect among those whose cost stays within `budget`.

    Both ends are judged with their uncertainty against them. A cell is affordable if the *upper* end of its cost's
    interval is at most `budget` (on the cost's own scale: 1.2 for a perplexity ratio) and its text is not degenerate
    (a loop costs little perplexity). Cells are ranked by the *lower* end of their effect, not by the effect itself: the
    largest of many estimates tends to be one of the noisiest. `direction=-1` wants the effect as far down as possible
    and ranks by the upper end. Ties go to the smaller cost, then the smaller coefficient, then the earlier layer. The
    unsteered arm, random controls and prompting are never chosen; `methods` narrows the choice further.

    Raises:
        ValueError: a metric that the summary has not, a direction other than ±1, or no affordable cell (the message
            names the nearest miss).
    """
    if direction not in (1, -1):
        raise ValueError(f"direction is 1 (raise {effect}) or -1 (lower it), not {direction}")
    candidates = _candidates(summary, effect, cost, methods, reference)
    candidates["bound"] = candidates["low"] if direction == 1 else -candidates["high"]
    affordable = candidates[candidates["cost"] <= budget].dropna(subset="bound")
    if affordable.empty:
        raise ValueError(_nearest_miss(candidates, effect, cost, budget))
    ranked = affordable.assign(size=affordable["coeff"].abs()).sort_values(
        ["bound", "cost", "size", "layer", "coeff", "method"], ascending=[False, True, True, True, True, True]
    )
    best = ranked.iloc[0]
    cell = (str(best["method"]), float(best["layer"]), float(best["coeff"]))
    return Selected(*cell, budget, effect=_row(summary, cell, effect), cost=_row(summary, cell, cost))


def _candidates(
    summary: pd.DataFrame, effect: str, cost: str, methods: Collection[str] | None, reference: str
) -> pd.DataFrame:
    """One row per steered, sound cell: the effect's row, with the upper end of its cost in the column `cost`."""
    for metric in (effect, cost):
        if metric not in set(summary["metric"]):
            raise ValueError(f"no metric {metric!r}; the summary has {', '.join(sorted(summary['metric'].unique()))}")
    if absent := set(methods or ()) - set(summary["method"]):
        raise ValueError(f"no method {', '.join(sorted(absent))}; the summary has {set(summary['method'])}")
    edited = summary["layer"].notna() & (summary["coeff"].fillna(0) != 0)  # prompting has neither
    steered = edited & (summary["method"] != reference) & ~summary["method"].map(is_control)
    wanted = steered & (True if methods is None else summary["method"].isin(list(methods)))
    cells = summary[wanted & ~summary["degenerate"].fillna(False).astype(bool)]
    costs = cells[cells["metric"] == cost].rename(columns={"high": "cost", "effect": "cost_effect"})
    return cells[cells["metric"] == effect].merge(costs[[*CELL, "cost", "cost_effect"]], on=list(CELL))


def _nearest_miss(candidates: pd.DataFrame, effect: str, cost: str, budget: float) -> str:
    known = candidates.dropna(subset=["cost", "bound"])
    if known.empty:
        return f"no cell to choose from: every steered cell is degenerate, or lacks an interval of {effect} or {cost}"
    near = known.loc[known["cost"].idxmin()]
    return (
        f"no cell keeps {cost} within {budget:g}: nearest is {near['method']}, layer {near['layer']:g}, coefficient "
        f"{near['coeff']:g} with {near['cost_effect']:.3g} (interval up to {near['cost']:.3g}); raise the budget, "
        "add smaller coefficients, or more prompts"
    )


def _row(summary: pd.DataFrame, cell: tuple[str, float, float], metric: str) -> pd.Series:
    here = (summary[[*CELL]] == list(cell)).all(axis=1) & (summary["metric"] == metric)
    if not here.any():
        raise ValueError(f"no {metric} of {cell[0]}, layer {cell[1]:g}, coefficient {cell[2]:g} in this summary")
    return summary[here].iloc[0]


def confirm(selected: Selected, held_out: pd.DataFrame) -> pd.DataFrame:
    """Two rows, effect and cost of the chosen cell: as chosen, on held-out prompts, and the gap between them.

    Columns: role, metric, scale; chosen, held_out with held_out_low, held_out_high; gap (held out minus chosen, or over
    chosen for a ratio: an effect that shrank is the winner's curse); control_low, control_high of the held-out rows;
    holds (effect: its held-out interval leaves out no effect on the same side; cost: its upper end is within budget).

    Raises:
        ValueError: the held-out summary lacks the cell or a metric.
    """
    cell = (selected.method, selected.layer, selected.coeff)
    rows = []
    for role, chosen in (("effect", selected.effect), ("cost", selected.cost)):
        new = _row(held_out, cell, chosen["metric"])
        ratio = chosen["scale"] == "ratio"
        idle = 1.0 if ratio else 0.0
        same_side = new["low"] > idle if chosen["effect"] > idle else new["high"] < idle
        rows.append(
            {
                "role": role,
                "metric": chosen["metric"],
                "scale": chosen["scale"],
                "chosen": chosen["effect"],
                "held_out": new["effect"],
                "held_out_low": new["low"],
                "held_out_high": new["high"],
                "gap": new["effect"] / chosen["effect"] if ratio else new["effect"] - chosen["effect"],
                "control_low": new.get("control_low", np.nan),
                "control_high": new.get("control_high", np.nan),
                "holds": bool(same_side if role == "effect" else new["high"] <= selected.budget),
            }
        )
    return pd.DataFrame(rows)
