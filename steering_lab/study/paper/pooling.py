"""Cells taken together: what several layers do on average, as one more cell beside each of them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd


def pooled(table: pd.DataFrame, bands: Mapping[str, tuple[int, ...]]) -> pd.DataFrame:
    """`table` and, for every band, a cell whose value is the mean over its layers, of each text and draw.

    Ratios are averaged as logarithms, weights as they are. The cell's `place` is the band's name and it has no layer,
    so that its random vectors are averaged alike and stand beside it. An interval of it resamples texts: the layers are
    those that were chosen, not a sample.

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
        ratio = inside["scale"] == "ratio"
        logs = inside.assign(
            value=np.log(inside["value"].where(ratio, 1)).where(ratio, inside["value"]), place=name, layer=np.nan
        )
        logs["condition"] = [f"{m} {name} {d}" for m, d in zip(logs["method"], logs["draw"], strict=True)]
        kept = [column for column in table.columns if column not in ("value", "weight", "layer", "relative_norm")]
        mean = logs.groupby(kept, dropna=False, as_index=False)[["value", "weight"]].mean()
        mean = mean.assign(layer=np.nan, relative_norm=np.nan)
        mean["value"] = np.where(mean["scale"] == "ratio", np.exp(mean["value"]), mean["value"])
        blocks.append(mean[table.columns])
    return pd.concat(blocks, ignore_index=True)
