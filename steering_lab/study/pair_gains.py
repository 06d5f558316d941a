"""What a vector does to contrast pairs that it was not made from: the gain of one side over the other, in nats.

Nothing is sampled, so that a pair's slope over the coefficients has no noise of its own.
"""

from collections.abc import Iterator, Sequence

import pandas as pd

from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.evaluation.running.condition import Condition
from steering_lab.interventions.steering import steer
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.generation import continuation_log_probs
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.tables import measurements

GAIN = "pair_log_odds"


def steered_gains(
    model: HookedModel, concept: str, made: Sequence[ContrastPair], held_out: Sequence[ContrastPair],
    sites: Sequence[HookSite], coeffs: Sequence[float],
) -> Iterator[pd.DataFrame]:  # fmt: skip
    """Measurements of `GAIN` of the held-out pairs, unsteered and under the vector of the others at every token.

    Args:
        model: The model that is steered.
        concept: The method's name in the table; a pair's name begins with it.
        made: The pairs that the vector is made from (mean difference, scaled to the median residual norm there).
        held_out: The pairs that are measured.
        sites: Where.
        coeffs: The vector's lengths, in median residual norms.
    """
    yield gains(model, Condition("unsteered", role="unsteered"), concept, held_out)
    for site, vector in mean_difference_vectors(model, made, sites).items():
        norm = vector.source.details["median_resid_norm"]
        for coeff in coeffs:
            edit = coeff * (norm * vector.unit()).everywhere()
            condition = Condition(f"{concept} {site} coeff {coeff:g}", edit, method=concept, resid_norms={site: norm})
            yield gains(model, condition, concept, held_out)


def gains(model: HookedModel, condition: Condition, concept: str, pairs: Sequence[ContrastPair]) -> pd.DataFrame:
    """Log-probability of each pair's positive less its negative side under a condition, in nats.

    Args:
        model: The model that is asked.
        condition: What is done to it.
        concept: What the pairs are about; it stands before each in the table.
        pairs: Both sides of each are read.
    """
    rows = [model.token_ids(side) for pair in pairs for side in (pair.positive, pair.negative)]
    first = max(1, len(model.prefix_ids))
    with steer(model, condition.intervention_for("")):
        said = continuation_log_probs(model, [row[:first] for row in rows], [row[first:] for row in rows])
    values = [sum(a) - sum(b) for a, b in zip(said[::2], said[1::2], strict=True)]
    observed = pd.DataFrame({"prompt": [f"{concept}: {pair}" for pair in pairs], "sample": 0, "value": values})
    return measurements(condition.name, condition.factors, observed, metric=GAIN)
