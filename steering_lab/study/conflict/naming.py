"""What a reader calls the conditions, kinds of question and budgets in the tables of a comparison on conflicts."""

from collections.abc import Mapping
from math import inf
from typing import Any

import pandas as pd

from steering_lab.analysis.plots.parts.labels import short_signed
from steering_lab.evaluation.running.control_vectors import CONTROLS, RANDOM
from steering_lab.study.conflict.answers import AGREEMENT_LOST
from steering_lab.study.conflict.rivals import BOTH, METHOD, PARTS, order_of_methods

LABELS = {METHOD: "ContextFocus", BOTH: "ContextFocus and instructed"} | {
    method: f"part: {recipe.replace('_', ' ')}" for method, recipe in PARTS.items()
} | {
    RANDOM: "random vectors", "covariance": "random, by covariance", "shuffled_labels": "shuffled labels",
    "other_concept": "another concept", "shuffled_layer": "another layer",
}  # fmt: skip

# What figures call the units of conflicts: a question has several, one for each context.
OVER_QUESTIONS: dict[str, Any] = {"interval": "95 % interval over questions", "units": ("questions", "answers")}


def named(rows: pd.DataFrame) -> pd.Series:
    """What a reader calls the condition of each of `rows`: vectors with their coefficient, parts, rivals, controls."""
    names = rows["method"].map(LABELS).fillna(rows["method"].str.replace("_", " "))
    coeffs = rows["coeff"].map(lambda c: "" if pd.isna(c) or c == 0 else f" {short_signed(c)}").astype(str)
    return names + coeffs.where(rows["method"].isin([METHOD, RANDOM]), "")


def ordered(rows: pd.DataFrame, cad_alpha: float) -> list[str]:
    """The names in the column `condition` of `rows`, each once, by `order_of_methods(cad_alpha)`."""
    rank = {method: place for place, method in enumerate(order_of_methods(cad_alpha))}
    places = rows["method"].map(rank).sort_values(kind="stable").index
    return list(dict.fromkeys(rows.loc[places, "condition"]))


def of_conflicts(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of conflicts."""
    return rows[rows["regime"] == "conflict"]


def first_conflicts(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first kind of conflict."""
    conflict = of_conflicts(rows)
    return conflict[conflict["kind"] == conflict["kind"].iloc[0]]


def controls_beside(rows: pd.DataFrame, coeff: float) -> pd.DataFrame:
    """Those of `rows` that are of the chosen vector's controls at `coeff`, the chosen coefficient."""
    return rows[(rows["control_of"] == METHOD) & rows["method"].isin(CONTROLS) & (rows["coeff"] == coeff)]


def kinds_of(rows: pd.DataFrame) -> pd.Series:
    """The kind of the question of each of `rows`: of conflict where there are several, or else its regime."""
    return rows["kind"].where(rows["kind"] != "", rows["regime"].str.replace("_", " "))


def parts_of(rows: pd.DataFrame) -> pd.Series:
    """What a reader calls the part that each of `rows` is from: its regime and, where there are several, its kind."""
    return rows["regime"].str.replace("_", " ") + rows["kind"].map(lambda kind: f", {kind}" if kind else "")


def budgets_said(budgets: Mapping[str, float]) -> str:
    """`budgets`, the most of each cost by its name, in words; a share of 1 is more than can be lost, so no bound."""
    bounds = {cost: most for cost, most in budgets.items() if most < inf and not (cost == AGREEMENT_LOST and most >= 1)}
    if not bounds:
        return "with no bound on what it costs"
    said = " and ".join(f"{cost.replace('_', ' ')} ≤ {most:g}" for cost, most in bounds.items())
    return f"within {said.replace('held out', 'held-out')}"
