"""A vector as the conditions of one comparison: steered, and under a random vector of the same norm."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from steering_lab.cli.options import Place

if TYPE_CHECKING:
    from steering_lab.evaluation.running.condition import Condition
    from steering_lab.evaluation.running.writing import Prefixed
    from steering_lab.interventions.steering_vector import SteeringVector
    from steering_lab.models.hooked_model import HookedModel

STEERED, RANDOM = "steered", "random, same norm"


def steered_conditions(
    lm: "HookedModel",
    vector: "SteeringVector",
    coeff: float,
    place: Place,
    write: "Prefixed",
    prompts: Sequence[str],
    *,
    random: bool = False,
    seed: int = 0,
) -> "list[Condition]":
    """The condition called `STEERED`, and with `random` its control called `RANDOM`.

    Args:
        lm: The model, whose residual norms on `prompts` say how large the addition is.
        vector: What is added.
        coeff: How much of it.
        place: At which tokens.
        write: How a prompt is put to the model.
        prompts: What will be continued.
        random: Whether a random vector of the same norm stands beside it.
        seed: What that vector is drawn by.
    """
    from dataclasses import replace

    from steering_lab.evaluation.running.grid import layer_coeff_grid, median_resid_norms

    norms = median_resid_norms(lm, [write(prompt) for prompt in prompts], [vector.site])
    grid = layer_coeff_grid(
        {vector.site: vector},
        [coeff],
        norms,
        method="steered",
        place=place,
        n_random=int(random),
        seed=seed,
        write=write,
    )
    return [replace(one, name=name) for one, name in zip(grid, (STEERED, RANDOM), strict=False)]
