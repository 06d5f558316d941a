"""What the controls beside a chosen vector did, in a sentence: of a sweep and of a comparison on conflicts alike."""

from collections.abc import Callable
from math import isnan

import pandas as pd

from steering_lab.evaluation.running.control_vectors import CONTROLS, RANDOM, RANDOM_CONTROLS, ControlName

CALLED: dict[ControlName, str] = {
    "random": "random vectors",
    "covariance": "random vectors drawn from the activations' covariance",
    "shuffled_labels": "shuffled labels",
    "other_concept": "another concept's vector",
    "shuffled_layer": "another layer's vector",
}
NOT_RANDOM = tuple(name for name in CONTROLS if name not in RANDOM_CONTROLS)  # those that make no band


def controls_sentence(rows: pd.DataFrame, what: str, show: Callable[[float], str], unit: str = "") -> str:
    """How far each control moves a metric on average over its draws, with its interval.

    Nothing where plain random vectors are the only control: their band says more.

    Args:
        rows: Those of a summary that are of one metric and of the controls of one cell, a row each.
        what: What the metric is called.
        show: How an effect is written.
        unit: What it is counted in, with a space before it; said once.
    """
    found = rows.set_index("method")
    names = [name for name in CONTROLS if name in found.index]
    if set(names) <= {RANDOM}:
        return ""
    first = f"{CALLED[names[0]]} move {what} by {_moved(found.loc[names[0]], show, unit)}"
    others = [f"{CALLED[name]} by {_moved(found.loc[name], show)}" for name in names[1:]]
    return f"At its norm and on average over draws, {', '.join([first, *others])}."


def _moved(row: pd.Series, show: Callable[[float], str], unit: str = "") -> str:
    ends = "(no interval)" if isnan(row["low"]) else f"[{show(row['low'])}, {show(row['high'])}]"
    return f"{show(row['effect'])}{unit} {ends}"
