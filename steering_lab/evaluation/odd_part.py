"""The part of an effect that changes sign with the coefficient.

Adding any vector perturbs a model, and part of what happens is the same for +m and -m: it belongs to the perturbation,
not to the direction. Half of f(+m) - f(-m) is what the direction itself does; a random direction has little of it.
"""

import numpy as np
import pandas as pd

CELL = ["metric", "method", "layer", "coeff", "draw", "prompt", "sample"]


def odd_part(tidy: pd.DataFrame, metric: str, *, reference: str = "unsteered") -> pd.DataFrame:
    """The tidy table of `<metric>_odd`, for `summarise`: (f(+m) - f(-m)) / 2 of every question, and 0 unsteered.

    One row per method, layer, coefficient m > 0, draw, prompt and sample that the table has at both signs. A value
    that is NaN at either sign is NaN.

    Raises:
        ValueError: no such metric, or no cell that was run at both signs.
    """
    rows = tidy[tidy["metric"] == metric]
    if rows.empty:
        raise ValueError(f"no metric {metric!r}; the table has {', '.join(sorted(tidy['metric'].unique()))}")
    steered = rows[rows["coeff"].fillna(0) > 0]
    backward = rows.assign(coeff=-rows["coeff"])[[*CELL, "value"]]
    both = steered.merge(backward, on=CELL, suffixes=("", "_backward"))
    if both.empty:
        raise ValueError(f"no cell of {metric!r} was run at +m and at -m")
    both = both.assign(value=(both["value"] - both["value_backward"]) / 2).drop(columns="value_backward")
    plain = rows[rows["method"] == reference]
    plain = plain.assign(value=np.where(plain["value"].isna(), np.nan, 0.0))
    return pd.concat([plain, both], ignore_index=True).assign(metric=f"{metric}_odd")
