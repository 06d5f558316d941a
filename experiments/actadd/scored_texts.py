"""Texts scored as they stand, under every condition: nothing is written, and what a run folder holds is kept."""

from collections.abc import Sequence

from steering_lab.evaluation.measuring.fluency import log_probs_of
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.evaluate import DECODING, cell_key
from steering_lab.interventions.intervention import Intervention
from steering_lab.models.progress import progress_bar
from steering_lab.study.setup import Setup


def scored_texts(
    setup: Setup, conditions: Sequence[Condition], texts: Sequence[str], rows: Sequence[list[int]], n_rows: int
) -> dict[Condition, list[list[float]]]:
    """Nats of every scored token of every text under each condition; what the run folder holds is not scored again.

    Predictions made from a position at which a vector stands are no part of it.

    Args:
        setup: The model and the run's folder.
        conditions: What is compared, each with one edit for all texts.
        texts: What the cells are kept by.
        rows: The ids of each text.
        n_rows: How many tokens the longest vector covers.
    """
    found = dict[Condition, list[list[float]]]()
    for condition in progress_bar(conditions, what="scored texts", leave=True):
        key = f"{len(rows[0])} {n_rows} {cell_key(setup.model, condition, texts, DECODING)}"
        if key not in setup.folder.kept:
            assert isinstance(condition.intervention, Intervention)
            of_texts = log_probs_of(setup.model, condition.intervention, rows, n_rows + 1)
            setup.folder.keep({key: [{"log_probs": nats} for nats in of_texts]})
        found[condition] = [row["log_probs"] for row in setup.folder.kept[key]]
    return found
