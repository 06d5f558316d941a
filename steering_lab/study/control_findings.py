"""What the controls beside a chosen vector did, in a sentence: of a sweep and of a comparison on conflicts alike."""

from collections.abc import Callable
from math import isnan

import pandas as pd

from steering_lab.evaluation.running.control_vectors import CONTROLS, RANDOM_CONTROLS, ControlName

CALLED: dict[ControlName, str] = {
    "random": "random vectors",
    "covariance": "random vectors drawn from the activations' covariance",
    "shuffled_labels": "shuffled labels",
    "other_concept": "another concept's vector",
    "shuffled_layer": "another layer's vector",
}
NOT_RANDOM = tuple(name for name in CONTROLS if name not in RANDOM_CONTROLS)  # those that make no band


def controls_sentence(rows: pd.DataFrame, what: str, show: Callable[[float], str]) -> str:
    """How far each control moves a metric on average over its draws, with its interval; nothing without a control.

    Args:
        rows: Those of a summary that are of one metric and of the controls of one cell, a row each.
        what: What the metric is called, with a unit where it has one: "context answers, in points".
        show: How an effect is written.
    """
    found = rows.set_index("method")
    said = [f"{CALLED[name]} {_moved(found.loc[name], show)}" for name in CONTROLS if name in found.index]
    return f"What controls of its norm do to {what}, on average over draws: {'; '.join(said)}." if said else ""


def _moved(row: pd.Series, show: Callable[[float], str]) -> str:
    ends = "no interval" if isnan(row["low"]) else f"[{show(row['low'])}, {show(row['high'])}]"
    return f"{show(row['effect'])} {ends}"
