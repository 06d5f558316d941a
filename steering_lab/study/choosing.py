"""Which cell of each form is chosen, or why none is."""

from collections.abc import Sequence

import pandas as pd

from steering_lab.evaluation.condition import PlaceName
from steering_lab.evaluation.selection import Selected, select

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
