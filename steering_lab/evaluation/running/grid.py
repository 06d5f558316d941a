"""The conditions of a sweep: a method at each layer and coefficient, its random controls beside it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch

from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.seeds import seed_of
from steering_lab.evaluation.running.writing import Example, Prefixed
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering_vector import SteeringVector, random_like
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel

PlaceName = Literal["front", "everywhere", "from_last_prompt_token", "generated"]
RANDOM = "random"  # the method of random controls


def layer_coeff_grid(
    vectors: Mapping[HookSite, SteeringVector],
    coeffs: Sequence[float],
    resid_norms: Mapping[HookSite, float],
    *,
    method: str,
    place: PlaceName = "front",
    n_random: int = 0,
    seed: int = 0,
    write: Callable[[Example], str] | None = None,
) -> list[Condition]:
    """One condition of `method` per site and non-zero coefficient, and beside it its random controls.

    A control is `random_like` the cell's own vector: `n_random` draws per site, each used at every coefficient, under
    the method "random". `relative_norm` is |coeff x longest row| / median |resid| at the site, since bare
    coefficients are comparable neither across layers nor across models. Coefficient 0 is `UNSTEERED` and left out.

    Args:
        vectors: The vector of each site.
        coeffs: What each vector is multiplied by.
        resid_norms: The median residual norm at each site (`median_resid_norms`).
        method: The vectors' method, by its name.
        place: At which tokens they are added.
        n_random: Random draws for each site.
        seed: What the draws follow from.
        write: How an example is put to the model.

    Raises:
        ValueError: no non-zero coefficient, or a coefficient twice.
    """
    if len(set(coeffs)) < len(coeffs) or not any(coeffs):
        raise ValueError(f"coefficients {list(coeffs)} must differ and hold one that is not 0")
    grid = []
    for site, vector in vectors.items():
        rows: list[tuple[str, SteeringVector, dict[str, Any]]] = [(method, vector, {"method": method})]
        for draw in range(n_random):
            control = {"method": RANDOM, "control_of": method, "draw": draw}
            rows.append((f"{RANDOM} {draw} for {method}", random_like(vector, seed_of(seed, site, draw)), control))
        for name, own, facts in rows:
            placed = _placed(own, place)
            grid += [
                Condition(f"{name} {place} {site} coeff {coeff:g}", coeff * placed, write or Prefixed(),
                          resid_norms=resid_norms, **facts)
                for coeff in coeffs if coeff
            ]  # fmt: skip
    return grid


@torch.no_grad()
def median_resid_norms(model: HookedModel, prompts: Sequence[str], sites: Sequence[HookSite]) -> dict[HookSite, float]:
    """Median length of the residual over the tokens of `prompts` at each site, without the attention sink in front."""
    tokens = model.to_tokens(list(prompts))
    counted = tokens.mask & (tokens.positions >= model.n_sink)
    if not counted.any():
        raise ValueError("the prompts hold no token behind the first, so there is no norm to measure: make one longer")
    streams = model.residuals(tokens, list(sites))
    return {site: float(stream.float().norm(dim=-1)[counted].median()) for site, stream in streams.items()}


def _placed(vector: SteeringVector, place: PlaceName) -> Intervention:
    match place:
        case "front":
            return vector.at_front()
        case "everywhere":
            return vector.everywhere()
        case "from_last_prompt_token":
            return vector.from_last_prompt_token()
        case "generated":
            return vector.generated()
    raise ValueError(f"unknown place {place!r}: choose front, everywhere, from_last_prompt_token or generated")
