"""Why a cell was not chosen, in words: the budget that it breaks and by how much, or what its interval leaves open.

A cell is its effect's row of a summary, with a column for the end by which each cost is judged.
"""

from collections.abc import Mapping

import pandas as pd

from steering_lab.numerics.written import times
from steering_lab.tables import in_cell


def described(cell: pd.Series) -> str:
    """A cell in words: its method, place, layer and coefficient."""
    place = "" if pd.isna(cell["place"]) else f", {cell['place'].replace('_', ' ')}"
    return f"{cell['method']}{place}, {where(cell)}"


def where(cell: pd.Series) -> str:
    """The layer and coefficient of a cell."""
    return f"layer {cell['layer']:g}, coefficient {cell['coeff']:g}"


def reached(cost: str, value: float, budget: float | int, scale: str) -> str:
    """What a cost comes to against its budget: "perplexity reaches ×1.75 (budget ×1.5)".

    Args:
        cost: The metric.
        value: The end of its interval that is judged.
        budget: The most that it may be.
        scale: "difference" or "ratio".
    """
    return f"{spaced(cost)} reaches {amount(value, scale)} (budget {amount(budget, scale)})"


def amount(value: float | int, scale: str) -> str:
    """An effect or cost on its own scale: "×1.75", "+0.04".

    Args:
        value: The number.
        scale: "difference" or "ratio".
    """
    if scale == "ratio":
        return times(value, fine=True)
    return "0" if value == 0 else f"{value:+.2g}".replace("-", "−")


def spaced(metric: str) -> str:
    """A metric's name as it stands in a sentence."""
    return metric.replace("_", " ")


def over(cell: pd.Series, budgets: Mapping[str, float], scales: Mapping[str, str]) -> str:
    """Which budgets a cell breaks and by how much: the end that is judged, against the budget; nothing if none.

    Args:
        cell: Its row.
        budgets: The most that each cost may be.
        scales: The scale of each cost.
    """
    broken = [
        reached(cost, cell[cost], budget, scales[cost]) if pd.notna(cell[cost]) else f"{spaced(cost)} has no interval"
        for cost, budget in budgets.items()
        if not cell[cost] <= budget
    ]
    return " and ".join(broken)


def nearest(cells: pd.DataFrame, budgets: Mapping[str, float], scales: Mapping[str, str], how_many: int = 3) -> str:
    """The cells that break the fewest budgets and those by the least, each with which and by how much.

    Args:
        cells: Their rows.
        budgets: The most that each cost may be.
        scales: The scale of each cost.
        how_many: How many are named.
    """
    broken = sum((~(cells[cost] <= budget)).astype(int) for cost, budget in budgets.items())
    near = cells.assign(broken=broken).sort_values(["broken", *budgets]).head(how_many)
    return "; ".join(f"{described(cell)}: {over(cell, budgets, scales)}" for _, cell in near.iterrows())


def passed_over(cells: pd.DataFrame, chosen: pd.Series, budgets: Mapping[str, float], scales: Mapping[str, str]) -> str:
    """Why the chosen cell beats the one with the largest effect of its method and place; nothing where it is that one.

    Args:
        cells: All steered cells of the summary, priced.
        chosen: The chosen cell's row.
        budgets: The most that each cost may be.
        scales: The scale of each cost.
    """
    rivals = cells[in_cell(cells, chosen, ("method", "place")) & (cells["effect"] > chosen["effect"])]
    if rivals.empty:
        return ""
    best = rivals.sort_values("effect", ascending=False).iloc[0]
    if pd.notna(best["degenerate"]) and best["degenerate"]:
        why = "its text has broken down"
    elif broken := over(best, budgets, scales):
        why = f"its {broken}"
    elif pd.isna(best["low"]):
        why = "its effect has no interval"
    else:
        ends = (amount(cell["low"], cell["scale"]) for cell in (best, chosen))
        why = "it is less sure: its lower end is {}, that of the chosen one {}".format(*ends)
    return f"{where(best)} raises it more ({amount(best['effect'], best['scale'])}), but {why}"
