"""Which cell of each form is chosen, or why none is."""

from collections.abc import Mapping, Sequence

import pandas as pd

from steering_lab.evaluation.selection import Selected, select

Chosen = Mapping[str, Selected | str]  # by form: the cell, or the reason why there is none


def choose(
    summary: pd.DataFrame, metric: str, forms: Sequence[str], perplexity_budget: float
) -> dict[str, Selected | str]:
    """For each form, by its name in tables, the cell that raises `metric` most within the budget (`select`)."""
    chosen: dict[str, Selected | str] = {}
    for form in forms:
        try:
            chosen[form] = select(summary, effect=metric, budgets={"perplexity": perplexity_budget}, methods=[form])
        except ValueError as refusal:
            chosen[form] = str(refusal)
    return chosen
