"""Conditions: the columns of a comparison. Unsteered, prompting, every cell of a sweep and every control is one."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering_vector import SteeringVector, random_like
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel

PlaceName = Literal["front", "everywhere", "from_last_prompt_token", "generated"]
CONTROL = "random"


@dataclass(frozen=True, eq=False)
class Condition:
    """What is done to a prompt: how it is written (`template`, with "{prompt}" in it) and how the stream is edited.

    `factors` describe it in tables: method, layer, coeff, relative_norm, draw.

    Raises:
        ValueError: a template without "{prompt}".
    """

    name: str
    intervention: Intervention = field(default_factory=Intervention)
    template: str = "{prompt}"
    factors: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if "{prompt}" not in self.template:
            raise ValueError(f"the template {self.template!r} of condition {self.name!r} has no {{prompt}} in it")

    def write(self, prompt: str) -> str:
        """The prompt as this condition puts it to the model."""
        return self.template.replace("{prompt}", prompt)


UNSTEERED = Condition("unsteered", factors={"method": "unsteered", "coeff": 0.0})


def prompting(prefix: str) -> Condition:
    """The baseline that writes `prefix` before every prompt instead of editing the stream."""
    name = f"prompting {prefix.strip()}"
    return Condition(name, template=prefix + "{prompt}", factors={"method": name})


def layer_coeff_grid(
    vectors: Mapping[HookSite, SteeringVector],
    coeffs: Sequence[float],
    resid_norms: Mapping[HookSite, float],
    *,
    method: str,
    place: PlaceName = "front",
    n_random: int = 0,
    seed: int = 0,
) -> list[Condition]:
    """One condition per site and non-zero coefficient, named "<method>_<place>", and beside it its random controls.

    A control is `random_like` the cell's own vector: `n_random` draws per site, each used at every coefficient, under
    the method "random_<place>". `relative_norm` is |coeff x longest row| / median |resid| at the site, since bare
    coefficients are comparable neither across layers nor across models. Coefficient 0 is `UNSTEERED` and left out.

    Raises:
        ValueError: no non-zero coefficient, or a coefficient twice.
    """
    if len(set(coeffs)) < len(coeffs) or not any(coeffs):
        raise ValueError(f"coefficients {list(coeffs)} must differ and hold one that is not 0")
    grid = []
    for site, vector in vectors.items():
        arms = [(method, None, vector)]
        arms += [(CONTROL, draw, random_like(vector, _draw_seed(seed, site, draw))) for draw in range(n_random)]
        for name, draw, rows in arms:
            placed = _placed(rows, place)
            for coeff in coeffs:
                if coeff:
                    factors = {
                        "method": f"{name}_{place}",
                        "layer": site.layer,
                        "coeff": float(coeff),
                        "relative_norm": abs(coeff) * vector.norm / resid_norms[site],
                        "draw": draw,
                    }
                    label = f"{name}_{place} {site} coeff {coeff:g}" + ("" if draw is None else f" draw {draw}")
                    grid.append(Condition(label, coeff * placed, factors=factors))
    return grid


@torch.no_grad()
def median_resid_norms(model: HookedModel, prompts: Sequence[str], sites: Sequence[HookSite]) -> dict[HookSite, float]:
    """Median length of the residual over the tokens of `prompts`, without the beginning-of-text token, at each site."""
    tokens = model.to_tokens(list(prompts))
    counted = tokens.mask & (tokens.positions >= int(model.bos_token_id is not None))
    if not counted.any():
        raise ValueError("the prompts hold no token beside the beginning of text, so there is no norm to measure")
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


def _draw_seed(seed: int, site: HookSite, draw: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {site} {draw}".encode()).digest()[:6], "big")
