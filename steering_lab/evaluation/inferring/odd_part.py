"""The part of an effect that changes sign with the coefficient.

Adding any vector perturbs a model, and part of what happens is the same for +m and -m: it belongs to the perturbation,
not to the direction. Half of f(+m) - f(-m) is what the direction itself does; a random direction has little of it.
"""

import numpy as np
import pandas as pd

from steering_lab.tables import CELL, MEASUREMENTS, OBSERVATION, checked, is_unsteered

ROW = ["metric", *CELL, "draw", *OBSERVATION]


def odd_part(tidy: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The measurements of `<metric>_odd` of `tidy`: (f(+m) - f(-m)) / 2 of every question, and 0 unsteered.

    One row per cell with a coefficient m > 0, draw, prompt and sample that the table has at both signs. A value
    that is NaN at either sign is NaN. It lies within half the distance of the metric's bounds on either side of 0.

    Raises:
        ValueError: no such metric, or no cell that was run at both signs.
    """
    tidy = checked(tidy, MEASUREMENTS)
    rows = tidy[tidy["metric"] == metric]
    if rows.empty:
        raise ValueError(f"no metric {metric!r}; the table has {', '.join(sorted(tidy['metric'].unique()))}")
    steered = rows[rows["coeff"].fillna(0) > 0]
    backward = rows.assign(coeff=-rows["coeff"])[[*ROW, "value"]]
    both = steered.merge(backward, on=ROW, suffixes=("", "_backward"))
    if both.empty:
        raise ValueError(f"no cell of {metric!r} was run at +m and at -m")
    both = both.assign(value=(both["value"] - both["value_backward"]) / 2).drop(columns="value_backward")
    plain = rows[is_unsteered(rows)]
    plain = plain.assign(value=np.where(plain["value"].isna(), np.nan, 0.0))
    odd = pd.concat([plain, both], ignore_index=True)
    half = (odd["most"] - odd["least"]) / 2
    return odd.assign(metric=f"{metric}_odd", least=-half, most=half)
