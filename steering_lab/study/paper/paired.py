"""Paired differences between two of a run's own conditions, for the lines of a claim that compare them."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.study.expectations import Expectation, named


def measured_with_paired(
    summary: pd.DataFrame,
    table: pd.DataFrame,
    roles: Sequence[str],
    who: Callable[[Any], str],
    expects: Sequence[str],
    seed: int,
) -> pd.DataFrame:
    """What lines are answered by: the summary's rows of these roles by name, and the differences that lines ask for.

    Args:
        summary: Of every cell.
        table: The measurements that it is of.
        roles: Whose rows.
        who: The name of a row of either, as lines have it.
        expects: The lines.
        seed: Of the intervals of the differences.
    """
    rows, own = (both[both["role"].isin(roles)] for both in (summary, table))
    names = pd.Series([who(row) for row in own.itertuples()], own.index)
    paired = paired_differences(own, names, expects, lambda pairs: summarise(pairs, searched=False, seed=seed))
    rows = rows.assign(who=[who(row) for row in rows.itertuples()], against=None)
    return pd.concat([rows, paired], ignore_index=True)


def paired_differences(
    table: pd.DataFrame,
    names: pd.Series,
    expects: Sequence[str],
    summed: Callable[[pd.DataFrame], pd.DataFrame],
) -> pd.DataFrame:
    """The summary of every "WHO ... above OTHER" of `expects` that are both here, OTHER in the unsteered model's place.

    Prompt by prompt, so that what two conditions share does not widen the interval of their difference.

    Args:
        table: Measurements, those of random vectors left out or not.
        names: Who each row of it is, as lines have it; rows that are nobody's are left out of it.
        expects: The lines.
        summed: Makes the summary of a table, role and method among its columns.
    """
    asked = {(one.who, one.other) for one in map(Expectation.read, expects) if one.other}
    blocks = []
    for who, other in sorted(asked):
        sides = names[names.map(named).isin([who, other])].map(named)
        rows = table.loc[sides.index]
        metrics = [set(rows.loc[sides == one, "metric"]) for one in (who, other)]
        if set(sides) != {who, other} or metrics[0] != metrics[1]:  # such as other texts, which are no pairs
            continue
        rows = rows.assign(role=rows["role"].where(sides != other, "unsteered"))
        found = summed(rows[(rows["role"] == "unsteered") == (sides == other)])
        blocks.append(found[found["role"] != "unsteered"].assign(who=who, against=other))
    return pd.concat(blocks, ignore_index=True) if blocks else pd.DataFrame()
