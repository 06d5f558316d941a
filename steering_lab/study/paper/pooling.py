"""Cells taken together: what several layers, or several vectors, do on average, as one more cell beside each of them.

Ratios are averaged as logarithms, weights as they are. An interval of a mean resamples texts: layers and vectors are
those that were chosen, not a sample.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from steering_lab.tables import is_unsteered


def pooled(table: pd.DataFrame, bands: Mapping[str, tuple[int, ...]]) -> pd.DataFrame:
    """`table` and, for every band, a cell whose value is the mean over its layers, of each text and draw.

    The cell's `place` is the band's name and it has no layer, so that its random vectors are averaged alike and stand
    beside it.

    Args:
        table: Measurements.
        bands: First and last layer by name.

    Raises:
        ValueError: a band without a layer of the table.
    """
    blocks = [table]
    for name, (first, last) in bands.items():
        inside = table[table["layer"].between(first, last)]
        if inside.empty:
            raise ValueError(f"band {name!r} is layers {first} to {last}, and the run has none of them")
        blocks.append(_mean(inside.assign(place=name, layer=np.nan), name))
    return pd.concat(blocks, ignore_index=True)


def each_by_its_own(table: pd.DataFrame, own: Mapping[str, Mapping[str, str]], called: str) -> pd.DataFrame:
    """`table` and a method whose value is the mean over several, each measured by metrics of its own.

    The unsteered model's is the mean of the same metrics, and random vectors of the same draw are averaged alike.

    Args:
        table: Measurements.
        own: By method, its metrics, and what each is called where it is one with the others'; a metric that all share
            keeps its name.
        called: The name of the mean of all.

    Raises:
        ValueError: a method or a metric that the table has not.
    """
    unsteered = is_unsteered(table)
    whose = table["method"].where(table["control_of"].isna(), table["control_of"])
    blocks = []
    for method, metrics in own.items():
        for metric, shared in metrics.items():
            rows = table[(table["metric"] == metric) & ((whose == method) | (unsteered & (metric != shared)))]
            if is_unsteered(rows).all():
                raise ValueError(f"the table has no {metric!r} of {method!r}")
            blocks.append(rows.assign(metric=shared))
    rows = pd.concat(blocks, ignore_index=True)
    rows["method"] = rows["method"].where(rows["role"] != "steered", called)
    rows["control_of"] = rows["control_of"].where(rows["control_of"].isna(), called)
    return pd.concat([table, _mean(rows, called)], ignore_index=True)


def _mean(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """The mean of the rows that are one cell, draw, text and metric by now, whatever condition they were."""
    ratio = rows["scale"] == "ratio"
    logs = rows.assign(value=np.log(rows["value"].where(ratio, 1)).where(ratio, rows["value"]))
    told = logs[["method", "control_of", "layer", "draw"]].itertuples(index=False)
    names = pd.Series([" ".join(map(str, (name, *one))) for one in told], logs.index)
    logs["condition"] = logs["condition"].where(is_unsteered(logs), names)
    kept = [column for column in rows.columns if column not in ("value", "weight", "relative_norm")]
    mean = logs.groupby(kept, dropna=False, as_index=False)[["value", "weight"]].mean()
    mean["value"] = np.where(mean["scale"] == "ratio", np.exp(mean["value"]), mean["value"])
    return mean.assign(relative_norm=np.nan)[rows.columns]
