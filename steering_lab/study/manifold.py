"""Where a sweep's cells take the stream, among the tokens of the texts that the unsteered model wrote in it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

import pandas as pd

from steering_lab.analysis.off_manifold import off_manifold
from steering_lab.evaluation.running.condition import Condition
from steering_lab.interventions.intervention import Intervention
from steering_lab.models.hooked_model import HookedModel
from steering_lab.numerics.covariance import TooFewPoints
from steering_lab.tables import is_unsteered


def manifold_table(model: HookedModel, conditions: Sequence[Condition], texts: Sequence[str]) -> pd.DataFrame:
    """One row per condition that edits the stream: its factors, and the columns of `off_manifold` among `texts`.

    It joins a summary's cells by `tables.CELL`. Nothing is generated. Conditions of several edits, or with an edit for
    each example, have no one place in the stream and no row. There are no rows at all of texts of which no two halves
    can be made (fewer than two, or fewer than three tokens in a half), or that no edit reaches: an edit of the one
    token in front of a prompt is where the gauge does not look.

    Args:
        model: The model that the conditions are for.
        conditions: Those of a sweep.
        texts: Neutral texts.
    """
    placed = {
        c.name: c.intervention
        for c in conditions
        if isinstance(c.intervention, Intervention) and len(c.intervention.terms) == 1
    }
    factors = {condition.name: asdict(condition.factors) for condition in conditions}
    if len(texts) < 2 or not placed:
        return pd.DataFrame()
    try:
        gauge = off_manifold(model, texts, placed)
    except TooFewPoints:
        return pd.DataFrame()
    if not gauge["n_tokens"].any():
        return pd.DataFrame()
    facts = pd.DataFrame([factors[name] for name in gauge["condition"]])
    return pd.concat([facts, gauge.drop(columns=["condition", "layer"])], axis=1)


def neutral_texts(generations: pd.DataFrame, write: Callable[[str], str]) -> list[str]:
    """What the unsteered model read and wrote in `generations`: each prompt as it was written, and its continuation.

    Args:
        generations: Continuations of any conditions; those that are missing are left out.
        write: How a prompt was put to the model.
    """
    plain = generations[is_unsteered(generations)]
    return [write(row.prompt) + row.text for row in plain.itertuples() if isinstance(row.text, str)]
