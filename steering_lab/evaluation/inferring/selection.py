"""Choose a layer and a coefficient under side-effect budgets, then see what is left of the choice on held-out rows.

The best of many noisy cells looks better than it is (the winner's curse): the figures that led to a choice are not
evidence for it. `select` reads a summary of validation prompts, `confirm` one of prompts that played no part.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pandas as pd

from steering_lab.evaluation.inferring.budgets import JudgedBy, costs_of, over_budget
from steering_lab.evaluation.inferring.reasons import amount, described, nearest, passed_over
from steering_lab.tables import CELL, SUMMARY, checked, in_cell

NEEDED = (*CELL, "role", "metric", "scale", "effect", "low", "high", "degenerate")


@dataclass(frozen=True, eq=False)
class Selected:
    """A chosen cell with the summary rows that led to it.

    Args:
        effect: What it does.
        costs: What it costs, by metric.
        budgets: The most that each cost may be.
        instead_of: Why it beats the cell with the largest effect, where that is another one.
        direction: 1 if the effect was to rise, -1 if it was to fall; None where nobody said.
    """

    effect: pd.Series
    costs: Mapping[str, pd.Series]
    budgets: Mapping[str, float]
    instead_of: str = ""
    direction: int | None = None

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
    def wanted_up(self) -> bool:
        """Whether the effect was to rise: as was asked, or as it is where nobody said."""
        if self.direction is None:
            return bool(self.effect["effect"] > (1.0 if self.effect["scale"] == "ratio" else 0.0))
        return self.direction > 0

    @property
    def excludes_no_effect(self) -> bool:
        """Whether the effect's interval, on the rows it was chosen on, leaves out 0 (a ratio's: 1)."""
        idle = 1.0 if self.effect["scale"] == "ratio" else 0.0
        return not self.effect["low"] <= idle <= self.effect["high"]

    def __str__(self) -> str:
        return described(self.effect)


def select(
    summary: pd.DataFrame,
    *,
    effect: str,
    budgets: Mapping[str, float],
    direction: int = 1,
    methods: Collection[str] | None = None,
    places: Collection[str] | None = None,
    judged_by: JudgedBy = "interval",
    sure: bool = False,
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
        sure: Choose only a cell whose effect's interval lies on the wanted side of no effect.

    Raises:
        ValueError: no budget, a metric that the summary has not, a direction other than ±1, no affordable cell (the
            message names the nearest three, with what they break and by how much), or none that is sure.
    """
    if direction not in (1, -1):
        raise ValueError(f"direction is 1 (raise {effect}) or -1 (lower it), not {direction}")
    summary = checked(summary, SUMMARY, NEEDED)
    every = _candidates(summary, effect, budgets, methods, places, judged_by)
    candidates = every[~every["degenerate"].fillna(False).astype(bool)].copy()
    ends = {"interval": ("low", "high"), "estimate": ("effect", "effect")}[judged_by]
    candidates["bound"] = candidates[ends[0]] if direction == 1 else -candidates[ends[1]]
    scales = {cost: summary.loc[summary["metric"] == cost, "scale"].iloc[0] for cost in budgets}
    affordable = candidates[~candidates["over_budget"]].dropna(subset="bound")
    if affordable.empty:
        raise ValueError(_refusal(candidates, effect, budgets, scales, judged_by))
    ordered = affordable.assign(size=affordable["coeff"].abs()).sort_values(
        ["bound", *budgets, "size", "layer", "coeff", "method", "place"],
        ascending=[False] + [True] * (len(budgets) + 5),
    )
    if sure:
        ordered = _surely(ordered, effect, budgets, direction)
    best = ordered.iloc[0]
    instead = passed_over(every, best, budgets, scales) if direction == 1 else ""
    costs = {cost: row_of(summary, best, cost) for cost in budgets}
    return Selected(row_of(summary, best, effect), costs, budgets, instead, direction)


def _surely(ordered: pd.DataFrame, effect: str, budgets: Mapping[str, float], direction: int) -> pd.DataFrame:
    """Those of the affordable cells whose effect's interval is on the wanted side.

    Raises:
        ValueError: none; names the three that come nearest.
    """
    idle = (ordered["scale"] == "ratio").astype(float)
    sure = ordered["low"] > idle if direction == 1 else ordered["high"] < idle
    if sure.any():
        return ordered[sure]
    near = "; ".join(
        f"{described(cell)}: {' to '.join(amount(cell[end], cell['scale']) for end in ('low', 'high'))}"
        for _, cell in ordered.head(3).iterrows()
    )
    raises = "raises" if direction == 1 else "lowers"
    raise ValueError(f"no cell that keeps {_said(budgets)} surely {raises} {effect}; the nearest are {near}")


def _candidates(
    summary: pd.DataFrame,
    effect: str,
    budgets: Mapping[str, float],
    methods: Collection[str] | None,
    places: Collection[str] | None,
    judged_by: JudgedBy,
) -> pd.DataFrame:
    """The effect's row of each steered cell; a column for every cost as it is judged, and `over_budget`."""
    if effect not in set(summary["metric"]):
        raise ValueError(f"no metric {effect!r}; the summary has {', '.join(sorted(summary['metric'].unique()))}")
    narrowed = pd.Series(True, summary.index)
    for column, wanted in (("method", methods), ("place", places)):
        if absent := set(wanted or ()) - set(summary[column]):
            raise ValueError(
                f"no {column} {', '.join(sorted(absent))}; the summary has {set(summary[column].dropna())}"
            )
        narrowed &= True if wanted is None else summary[column].isin(list(wanted))
    costs = {cost: costs_of(summary, cost, judged_by) for cost in budgets}
    priced = summary.assign(**costs, over_budget=over_budget(summary, budgets, judged_by))
    steered = (priced["role"] == "steered") & (priced["coeff"] != 0)
    return priced[narrowed & steered & (priced["metric"] == effect)].copy()


def _refusal(
    candidates: pd.DataFrame,
    effect: str,
    budgets: Mapping[str, float],
    scales: Mapping[str, str],
    judged_by: JudgedBy,
) -> str:
    surely, judge = ("surely ", " (upper ends judge)") if judged_by == "interval" else ("", "")
    known = candidates.dropna(subset=[*budgets, "bound"])
    if known.empty:
        return (
            "no cell to choose from: every steered cell is degenerate, or lacks an interval of"
            f" {' or '.join([effect, *budgets])}"
        )
    return (
        f"no cell {surely}keeps {_said(budgets)}{judge}; the nearest are {nearest(known, budgets, scales)}."
        " Raise the budget, add smaller coefficients, or more prompts"
    )


def _said(budgets: Mapping[str, float]) -> str:
    return " and ".join(f"{cost} within {budget:g}" for cost, budget in budgets.items())


def row_of(summary: pd.DataFrame, cell: pd.Series, metric: str) -> pd.Series:
    """The row of a metric of the cell that a row belongs to. Raises ValueError where there is none.

    Args:
        summary: The summary that is looked in, which may be of other prompts.
        cell: A row of any table with the cell's factors.
        metric: Which of the cell's rows.
    """
    here = in_cell(summary, cell) & (summary["metric"] == metric)
    if not here.any():
        raise ValueError(f"no {metric} of {described(cell)} in this summary")
    return summary[here].iloc[0]
