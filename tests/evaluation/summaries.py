"""A small summary to choose from: what each cell gives and costs."""

import pandas as pd


def cell(
    layer: float,
    coeff: float,
    effect: tuple[float, float, float],
    cost: tuple[float, float, float],
    *,
    method: str = "actadd",
    place: str = "front",
    role: str = "steered",
    degenerate: bool = False,
) -> pd.DataFrame:
    """Summary rows of one cell; effect and cost as (estimate, low, high)."""
    rows = [("sentiment", "difference", *effect), ("perplexity", "ratio", *cost)]
    table = pd.DataFrame(rows, columns=["metric", "scale", "effect", "low", "high"])
    facts = {"method": method, "role": role, "place": place, "control_of": None, "budget": float("nan")}
    return table.assign(**facts, layer=layer, coeff=coeff, degenerate=degenerate)


UNSTEERED = cell(float("nan"), 0, (0, 0, 0), (1, 1, 1), method="unsteered", role="unsteered")
MILD = cell(2, 1, (0.3, 0.2, 0.4), (1.05, 1.0, 1.1))
STRONG = cell(2, 2, (0.5, 0.4, 0.6), (1.15, 1.05, 1.19))
NOISY = cell(3, 1, (0.9, 0.1, 1.7), (1.1, 1.0, 1.15))
COSTLY = cell(2, 4, (0.9, 0.8, 1.0), (1.15, 1.0, 1.4))
GRID = pd.concat([UNSTEERED, MILD, STRONG, NOISY, COSTLY], ignore_index=True)
CHOICE = {"effect": "sentiment", "budgets": {"perplexity": 1.2}}
