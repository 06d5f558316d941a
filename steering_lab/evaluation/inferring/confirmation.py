"""What is left of a choice on prompts that played no part in it, and whether that holds, in plain words."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from steering_lab.evaluation.inferring.reasons import amount, spaced
from steering_lab.evaluation.inferring.selection import NEEDED, Selected, row_of
from steering_lab.numerics.significance import LEVEL
from steering_lab.tables import SUMMARY, checked


def confirm(selected: Selected, held_out: pd.DataFrame) -> pd.DataFrame:
    """A row for the effect and each cost of `selected`: as chosen, on held-out prompts, and the gap between them.

    Columns: role, metric, scale; chosen, held_out with held_out_low, held_out_high; gap (held out minus chosen, or over
    chosen for a ratio: an effect that shrank is the winner's curse); control_low, control_high, p_family and p_random
    of the held-out rows; budget (of a cost); holds (effect: its held-out interval leaves out no effect on the wanted
    side; cost: its upper end is within budget); degenerate (whether the cell's held-out text has broken down). Wanted
    is what `select` was asked for; of a cell that somebody else chose without saying, the side that it was on.
    `verdict` says it in words.

    Raises:
        ValueError: the held-out summary lacks the cell or a metric.
    """
    held_out = checked(held_out, SUMMARY, NEEDED)
    rows = []
    for role, chosen in (("effect", selected.effect), *(("cost", cost) for cost in selected.costs.values())):
        new = row_of(held_out, selected.effect, chosen["metric"])
        ratio = chosen["scale"] == "ratio"
        idle, up = 1.0 if ratio else 0.0, selected.wanted_up
        wanted_side = new["low"] > idle if up else new["high"] < idle
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
                "p_family": new.get("p_family", np.nan),
                "p_random": new.get("p_random", np.nan),
                "budget": selected.budgets.get(chosen["metric"], np.nan) if role == "cost" else np.nan,
                "holds": bool(wanted_side if role == "effect" else new["high"] <= selected.budgets[chosen["metric"]]),
                "degenerate": bool(pd.notna(new["degenerate"]) and new["degenerate"]),
            }
        )
    return pd.DataFrame(rows)


UNSURE = "not surely within its budget"


class Verdict(NamedTuple):
    """Whether a choice held on prompts that did not make it, and in words: "held", or everything that did not.

    Args:
        held: Whether nothing failed.
        said: "held", or everything that failed, with semicolons between.
    """

    held: bool
    said: str

    @property
    def only_unsure_of_budget(self) -> bool:
        """Whether all that failed is that a cost is not surely within its budget."""
        return self.said.startswith(UNSURE) and ";" not in self.said


def verdict(confirmation: pd.DataFrame) -> Verdict:
    """What a `confirm` table comes to: "held", or all that failed.

    "effect not confirmed": its interval holds no effect or lies on the side that was not wanted, or its corrected p is
    above 0.05. "is in the band of random vectors": the effect is, and "shrank into" it where it was larger when it was
    chosen; where none were run, none can be. "random vectors do more": it is short of the band. "not told from random
    vectors": it is beyond the band, but p_random is above 0.05.
    "broke its budget: perplexity ×1.75, lower end ×1.6 (budget ×1.5)": all of a cost's interval is above. "not surely
    within its budget: perplexity ×1.4, up to ×1.72 (budget ×1.5)": a part of it. "its text has broken down": it is
    degenerate.

    Args:
        confirmation: One row for the effect and one for each cost, of one cell, as `confirm` makes it.
    """
    effect = confirmation[confirmation["role"] == "effect"].iloc[0]
    costs = confirmation[(confirmation["role"] == "cost") & ~confirmation["holds"]]
    up = effect["held_out"] > (1.0 if effect["scale"] == "ratio" else 0.0)
    failed = []
    if not effect["holds"] or effect["p_family"] > LEVEL:
        failed.append("effect not confirmed")
    if effect["control_low"] <= effect["held_out"] <= effect["control_high"]:
        failed.append(f"{'shrank into' if _shrank(effect) else 'is in'} the band of random vectors")
    elif effect["holds"] and (effect["held_out"] < effect["control_low"]) == up and pd.notna(effect["control_low"]):
        failed.append("random vectors do more")
    elif effect["p_random"] > LEVEL:
        failed.append("not told from random vectors")
    low = costs["held_out_low"].fillna(costs["held_out"])
    for said, rows in (
        ("broke its budget", costs[low > costs["budget"]]),
        (UNSURE, costs[~(low > costs["budget"])]),
    ):
        if len(rows):
            failed.append(f"{said}: {' and '.join(_spent(cost) for _, cost in rows.iterrows())}")
    if confirmation["degenerate"].any():
        failed.append("its text has broken down")
    return Verdict(not failed, "; ".join(failed) or "held")


def _shrank(effect: pd.Series) -> bool:
    """Whether a held-out effect is nearer to no effect than it was where it was chosen, on the same side or not."""
    held_out, chosen = effect["held_out"], effect["chosen"]
    if effect["scale"] == "ratio":
        return bool(abs(np.log(held_out)) < abs(np.log(chosen)))
    return bool(abs(held_out) < abs(chosen))


def _spent(cost: pd.Series) -> str:
    """A cost that does not hold: its estimate, the end of its interval that says so, and its budget."""
    value, low, high, budget = (
        "" if pd.isna(cost[name]) else amount(cost[name], cost["scale"])
        for name in ("held_out", "held_out_low", "held_out_high", "budget")
    )
    end = f"lower end {low}" if cost["held_out_low"] > cost["budget"] else f"up to {high}" if high else "no interval"
    return f"{spaced(cost['metric'])} {value or 'unknown'}, {end} (budget {budget})"
