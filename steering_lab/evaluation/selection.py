"""Choose a layer and a coefficient under side-effect budgets, then see what is left of the choice on held-out rows.

The best of many noisy cells looks better than it is (the winner's curse): the figures that led to a choice are not
evidence for it. `select` reads a summary of validation prompts, `confirm` one of prompts that played no part.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from steering_lab.tables import CELL, SUMMARY, checked, in_cell

JudgedBy = Literal["interval", "estimate"]
_NEEDED = (*CELL, "role", "metric", "scale", "effect", "low", "high", "degenerate")


@dataclass(frozen=True, eq=False)
class Selected:
    """A chosen cell with the summary rows that led to it: what it does (`effect`) and what it costs (`costs`)."""

    effect: pd.Series
    costs: Mapping[str, pd.Series]
    budgets: Mapping[str, float]

    @property
    def method(self) -> str:
        """What was done, by its name."""
        return str(self.effect["method"])

    @property
    def place(self) -> str | None:
        """At which tokens; None where that differs between the cell's edits."""
        return None if pd.isna(self.effect["place"]) else str(self.effect["place"])

    @property
    def layer(self) -> float:
        """The layer that is edited; NaN where several are."""
        return float(self.effect["layer"])

    @property
    def coeff(self) -> float:
        """What the edit is multiplied by."""
        return float(self.effect["coeff"])

    @property
    def excludes_no_effect(self) -> bool:
        """Whether the effect's interval, on the rows it was chosen on, leaves out 0 (a ratio's: 1)."""
        idle = 1.0 if self.effect["scale"] == "ratio" else 0.0
        return not self.effect["low"] <= idle <= self.effect["high"]

    def __str__(self) -> str:
        return _described(self.effect)


def select(
    summary: pd.DataFrame,
    *,
    effect: str,
    budgets: Mapping[str, float],
    direction: int = 1,
    methods: Collection[str] | None = None,
    places: Collection[str] | None = None,
    judged_by: JudgedBy = "interval",
) -> Selected:
    """The steered cell with the largest effect among those that keep every metric of `budgets` within its budget.

    Both ends are judged with their uncertainty against them. A cell is affordable if the *upper* end of each cost's
    interval is at most the budget (on the cost's own scale: 1.2 for a perplexity ratio) and its text is not degenerate
    (a loop costs little perplexity). Cells are ranked by the *lower* end of their effect, not by the effect itself: the
    largest of many estimates tends to be one of the noisiest. `direction=-1` wants the effect as far down as possible
    and ranks by the upper end. With `judged_by="estimate"` the estimates stand in for all these ends: the rule of most
    papers, blind to noise. Ties go to the smaller costs, in the order of `budgets`, then the smaller coefficient,
    then the earlier layer. Only cells of the role "steered" are chosen, never the unsteered model, a control or a
    baseline.

    Args:
        summary: Of validation prompts (`summarise`).
        effect: The metric that is wanted.
        budgets: The most that each cost, a metric, may be.
        direction: 1 to raise the effect, -1 to lower it.
        methods: The methods to choose from, all by default.
        places: The places to choose from, all by default.
        judged_by: The ends of intervals, or the estimates alone.

    Raises:
        ValueError: no budget, a metric that the summary has not, a direction other than ±1, or no affordable cell (the
            message names the nearest miss).
    """
    if direction not in (1, -1):
        raise ValueError(f"direction is 1 (raise {effect}) or -1 (lower it), not {direction}")
    summary = checked(summary, SUMMARY, _NEEDED)
    candidates = _candidates(summary, effect, budgets, methods, places, judged_by)
    ends = {"interval": ("low", "high"), "estimate": ("effect", "effect")}[judged_by]
    candidates["bound"] = candidates[ends[0]] if direction == 1 else -candidates[ends[1]]
    affordable = candidates[~candidates["over_budget"]].dropna(subset="bound")
    if affordable.empty:
        raise ValueError(_nearest_miss(candidates, effect, budgets))
    best = (
        affordable.assign(size=affordable["coeff"].abs())
        .sort_values(
            ["bound", *budgets, "size", "layer", "coeff", "method", "place"],
            ascending=[False] + [True] * (len(budgets) + 5),
        )
        .iloc[0]
    )
    return Selected(_row(summary, best, effect), {cost: _row(summary, best, cost) for cost in budgets}, budgets)


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
    places: Collection[str] | None,
    judged_by: JudgedBy,
) -> pd.DataFrame:
    """The effect's row of each steered, sound cell; a column for every cost as it is judged, and `over_budget`."""
    if effect not in set(summary["metric"]):
        raise ValueError(f"no metric {effect!r}; the summary has {', '.join(sorted(summary['metric'].unique()))}")
    narrowed = pd.Series(True, summary.index)
    for column, wanted in (("method", methods), ("place", places)):
        if absent := set(wanted or ()) - set(summary[column]):
            raise ValueError(
                f"no {column} {', '.join(sorted(absent))}; the summary has {set(summary[column].dropna())}"
            )
        narrowed &= True if wanted is None else summary[column].isin(list(wanted))
    costs = {cost: _costs(summary, cost, judged_by) for cost in budgets}
    priced = summary.assign(**costs, over_budget=over_budget(summary, budgets, judged_by))
    steered = (priced["role"] == "steered") & (priced["coeff"] != 0)
    cells = priced[narrowed & steered & ~priced["degenerate"].fillna(False).astype(bool)]
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
        f" {_described(near)}, which reaches"
        f" {' and '.join(f'{near[cost]:.3g}' for cost in budgets)}; raise the budget, add smaller coefficients, or"
        " more prompts"
    )


def _described(cell: pd.Series) -> str:
    place = "" if pd.isna(cell["place"]) else f", {cell['place'].replace('_', ' ')}"
    return f"{cell['method']}{place}, layer {cell['layer']:g}, coefficient {cell['coeff']:g}"


def _row(summary: pd.DataFrame, cell: pd.Series, metric: str) -> pd.Series:
    here = in_cell(summary, cell) & (summary["metric"] == metric)
    if not here.any():
        raise ValueError(f"no {metric} of {_described(cell)} in this summary")
    return summary[here].iloc[0]


def confirm(selected: Selected, held_out: pd.DataFrame) -> pd.DataFrame:
    """A row for the effect and each cost of the chosen cell: as chosen, on held-out prompts, and the gap between them.

    Columns: role, metric, scale; chosen, held_out with held_out_low, held_out_high; gap (held out minus chosen, or over
    chosen for a ratio: an effect that shrank is the winner's curse); control_low, control_high of the held-out rows;
    holds (effect: its held-out interval leaves out no effect on the same side; cost: its upper end is within budget).

    Raises:
        ValueError: the held-out summary lacks the cell or a metric.
    """
    held_out = checked(held_out, SUMMARY, _NEEDED)
    rows = []
    for role, chosen in (("effect", selected.effect), *(("cost", cost) for cost in selected.costs.values())):
        new = _row(held_out, selected.effect, chosen["metric"])
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
