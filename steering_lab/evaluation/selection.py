"""Choose a layer and a coefficient under side-effect budgets, then see what is left of the choice on held-out rows.

The best of many noisy cells looks better than it is (the winner's curse): the figures that led to a choice are not
evidence for it. `select` reads a summary of validation prompts, `confirm` one of prompts that played no part.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from steering_lab.evaluation.controls import is_control
from steering_lab.evaluation.pairing import CELL

JudgedBy = Literal["interval", "estimate"]


@dataclass(frozen=True, eq=False)
class Selected:
    """A chosen cell with the summary rows that led to it: what it does (`effect`) and what it costs (`costs`)."""

    method: str
    layer: float
    coeff: float
    budgets: Mapping[str, float]
    effect: pd.Series
    costs: Mapping[str, pd.Series]

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
    budgets: Mapping[str, float],
    direction: int = 1,
    methods: Collection[str] | None = None,
    reference: str = "unsteered",
    judged_by: JudgedBy = "interval",
) -> Selected:
    """The steered cell with the largest effect among those that keep every metric of `budgets` within its budget.

    Both ends are judged with their uncertainty against them. A cell is affordable if the *upper* end of each cost's
    interval is at most the budget (on the cost's own scale: 1.2 for a perplexity ratio) and its text is not degenerate
    (a loop costs little perplexity). Cells are ranked by the *lower* end of their effect, not by the effect itself: the
    largest of many estimates tends to be one of the noisiest. `direction=-1` wants the effect as far down as possible
    and ranks by the upper end. With `judged_by="estimate"` the estimates stand in for all these ends: the rule of most
    papers, blind to noise. Ties go to the smaller costs, in the order of `budgets`, then the smaller coefficient,
    then the earlier layer. The unsteered arm, random controls and prompting are never chosen; `methods` narrows the
    choice further.

    Raises:
        ValueError: no budget, a metric that the summary has not, a direction other than ±1, or no affordable cell (the
            message names the nearest miss).
    """
    if direction not in (1, -1):
        raise ValueError(f"direction is 1 (raise {effect}) or -1 (lower it), not {direction}")
    candidates = _candidates(summary, effect, budgets, methods, reference, judged_by)
    ends = {"interval": ("low", "high"), "estimate": ("effect", "effect")}[judged_by]
    candidates["bound"] = candidates[ends[0]] if direction == 1 else -candidates[ends[1]]
    affordable = candidates[~candidates["over_budget"]].dropna(subset="bound")
    if affordable.empty:
        raise ValueError(_nearest_miss(candidates, effect, budgets))
    best = affordable.assign(size=affordable["coeff"].abs()).sort_values(
        ["bound", *budgets, "size", "layer", "coeff", "method"], ascending=[False] + [True] * (len(budgets) + 4)
    ).iloc[0]  # fmt: skip
    cell = (str(best["method"]), float(best["layer"]), float(best["coeff"]))
    costs = {cost: _row(summary, cell, cost) for cost in budgets}
    return Selected(*cell, budgets, _row(summary, cell, effect), costs)


def over_budget(summary: pd.DataFrame, budgets: Mapping[str, float], judged_by: JudgedBy = "interval") -> pd.Series:
    """For each row of the summary, whether its cell breaks a budget: a cost's upper end is above it, or unknown.

    With `judged_by="estimate"`, whether the cost itself is.

    Raises:
        ValueError: no budget, or a cost that the summary has not.
    """
    if not budgets:
        raise ValueError("name at least one cost with its budget, such as budgets={'perplexity': 1.2}")
    broken = pd.Series(False, summary.index)
    for cost, budget in budgets.items():
        broken |= ~(_costs(summary, cost, judged_by) <= budget)
    return broken


def _costs(summary: pd.DataFrame, cost: str, judged_by: JudgedBy) -> pd.Series:
    """What each row's cell is taken to cost by the metric `cost`; NaN where it is unknown."""
    if cost not in set(summary["metric"]):
        raise ValueError(f"no metric {cost!r}; the summary has {', '.join(sorted(summary['metric'].unique()))}")
    end = {"interval": "high", "estimate": "effect"}[judged_by]
    own = summary.loc[summary["metric"] == cost, [*CELL, end]].drop_duplicates(list(CELL))
    return summary[list(CELL)].merge(own, on=list(CELL), how="left")[end].set_axis(summary.index)


def _candidates(
    summary: pd.DataFrame,
    effect: str,
    budgets: Mapping[str, float],
    methods: Collection[str] | None,
    reference: str,
    judged_by: JudgedBy,
) -> pd.DataFrame:
    """The effect's row of each steered, sound cell; a column for every cost as it is judged, and `over_budget`."""
    if effect not in set(summary["metric"]):
        raise ValueError(f"no metric {effect!r}; the summary has {', '.join(sorted(summary['metric'].unique()))}")
    if absent := set(methods or ()) - set(summary["method"]):
        raise ValueError(f"no method {', '.join(sorted(absent))}; the summary has {set(summary['method'])}")
    costs = {cost: _costs(summary, cost, judged_by) for cost in budgets}
    priced = summary.assign(**costs, over_budget=over_budget(summary, budgets, judged_by))
    edited = priced["layer"].notna() & (priced["coeff"].fillna(0) != 0)  # prompting has neither
    steered = edited & (priced["method"] != reference) & ~priced["method"].map(is_control)
    wanted = steered & (True if methods is None else priced["method"].isin(list(methods)))
    cells = priced[wanted & ~priced["degenerate"].fillna(False).astype(bool)]
    return cells[cells["metric"] == effect].copy()


def _nearest_miss(candidates: pd.DataFrame, effect: str, budgets: Mapping[str, float]) -> str:
    known = candidates.dropna(subset=[*budgets, "bound"])
    if known.empty:
        return (
            "no cell to choose from: every steered cell is degenerate, or lacks an interval of"
            f" {' or '.join([effect, *budgets])}"
        )
    broken = sum((known[cost] > budget).astype(int) for cost, budget in budgets.items())
    near = known.assign(broken=broken).sort_values(["broken", *budgets]).iloc[0]
    return (
        f"no cell keeps {' and '.join(f'{cost} within {budget:g}' for cost, budget in budgets.items())}: nearest is"
        f" {near['method']}, layer {near['layer']:g}, coefficient {near['coeff']:g}, which reaches"
        f" {' and '.join(f'{near[cost]:.3g}' for cost in budgets)}; raise the budget, add smaller coefficients, or"
        " more prompts"
    )


def _row(summary: pd.DataFrame, cell: tuple[str, float, float], metric: str) -> pd.Series:
    here = (summary[[*CELL]] == list(cell)).all(axis=1) & (summary["metric"] == metric)
    if not here.any():
        raise ValueError(f"no {metric} of {cell[0]}, layer {cell[1]:g}, coefficient {cell[2]:g} in this summary")
    return summary[here].iloc[0]


def confirm(selected: Selected, held_out: pd.DataFrame) -> pd.DataFrame:
    """A row for the effect and each cost of the chosen cell: as chosen, on held-out prompts, and the gap between them.

    Columns: role, metric, scale; chosen, held_out with held_out_low, held_out_high; gap (held out minus chosen, or over
    chosen for a ratio: an effect that shrank is the winner's curse); control_low, control_high of the held-out rows;
    holds (effect: its held-out interval leaves out no effect on the same side; cost: its upper end is within budget).

    Raises:
        ValueError: the held-out summary lacks the cell or a metric.
    """
    cell = (selected.method, selected.layer, selected.coeff)
    rows = []
    for role, chosen in (("effect", selected.effect), *(("cost", cost) for cost in selected.costs.values())):
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
                "holds": bool(same_side if role == "effect" else new["high"] <= selected.budgets[chosen["metric"]]),
            }
        )
    return pd.DataFrame(rows)
