"""A pair's vector at its sites as conditions: unsteered, every coefficient, and random vectors of its norm beside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.evaluation.running.condition import UNSTEERED, Condition
from steering_lab.evaluation.running.grid import layer_coeff_grid, median_resid_norms
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.actadd import actadd_vectors
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.study.settings import ModelSettings, RandomSettings


@dataclass(frozen=True)
class PadSettings(ModelSettings):
    """How the two prompts of a pair become equally long.

    Args:
        pad: What continues the shorter one: a token that is no attention sink to the model, as a space is to some.
    """

    pad: str = " "


@dataclass(frozen=True)
class CellSettings(PadSettings, RandomSettings):
    """What `front_cells` asks of a Config."""


def pair_said(positive: str, negative: str, config: Mapping[str, Any]) -> str:
    """A pair as a page says it: "Love − Hate", "weddings − tabs" where one prompt is padding alone.

    Args:
        positive: What is added.
        negative: What is taken away.
        config: What config.json of the run holds; older runs have no `pad` and were padded with spaces.
    """
    pad = config.get("pad", " ")
    return f"{positive.strip()} − {negative.strip() or {' ': 'spaces', chr(9): 'tabs'}.get(pad, repr(pad))}"


class Cells(NamedTuple):
    """What a pair adds.

    Args:
        vectors: The pair's vector at each site.
        conditions: Unsteered, then every cell at the front and its random vectors.
    """

    vectors: Mapping[HookSite, SteeringVector]
    conditions: Sequence[Condition]

    @property
    def n_rows(self) -> int:
        """How many tokens the longest vector covers."""
        return max(len(vector.rows) for vector in self.vectors.values())


def front_cells(
    model: HookedModel,
    pair: ContrastPair,
    sites: Sequence[HookSite],
    coeffs: Sequence[float],
    texts: str | Sequence[str],
    config: CellSettings,
    method: str = "actadd",
) -> Cells:
    """The pair's ActAdd vectors, and the conditions that add them at the front.

    Args:
        model: The model that is steered.
        pair: What is added, and what is taken away.
        sites: Where.
        coeffs: What the difference is multiplied by.
        texts: Over whose tokens the stream's median norm is taken.
        config: What pads the shorter prompt, how many random vectors, and the seed that they follow from.
        method: What the cells are called in tables.
    """
    vectors, norms = actadd_vectors(model, pair, sites, pad=config.pad), median_resid_norms(model, texts, sites)
    grid = layer_coeff_grid(
        vectors, coeffs, norms, method=method, place="front", n_random=config.n_random, seed=config.seed
    )
    return Cells(vectors, [UNSTEERED, *grid])
