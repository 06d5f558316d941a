"""The vector of contrast pairs by the name of a method, as a command line or a file of settings says it."""

from typing import Literal, get_args

from steering_lab.data.contrast_pairs import Pairs, pair_list
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.actadd import actadd_vectors
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.methods.probe import fit_probe
from steering_lab.models.hook_points import HookSite, Sites, site_list
from steering_lab.models.hooked_model import HookedModel

MethodName = Literal["actadd", "mean_difference", "pca", "probe"]


def pair_vectors(
    method: MethodName,
    model: HookedModel,
    pairs: Pairs,
    sites: Sites,
    *,
    normalise: bool = False,
) -> dict[HookSite, SteeringVector]:
    """A vector at every site: one row, but by "actadd" one row per token of the pair.

    Args:
        method: "actadd" (`actadd_vectors`, one pair), "mean_difference", "pca" (the first principal component of the
            differences, with the mean's sign and length) or "probe" (`fit_probe`: of length 1, and it needs four pairs
            or more with different prompts).
        model: The model read.
        pairs: What the sides say.
        sites: Where the stream is read, and where the vectors belong.
        normalise: Whether each row is scaled to length 1.

    Raises:
        ValueError: an unknown method, several pairs for "actadd", or what the method itself refuses.
    """
    pairs, sites = pair_list(pairs), site_list(sites)
    match method:
        case "actadd":
            if len(pairs) != 1:
                raise ValueError(f"actadd takes one pair, not {len(pairs)}: choose mean_difference, pca or probe")
            vectors = actadd_vectors(model, pairs[0], sites)
        case "mean_difference" | "pca":
            vectors = mean_difference_vectors(model, pairs, sites, pca=method == "pca")
        case "probe":
            sides = [pair.positive for pair in pairs], [pair.negative for pair in pairs]
            vectors = {site: fit_probe(model, *sides, site).direction for site in sites}
        case _:
            raise ValueError(f"unknown method {method!r}: choose one of {', '.join(get_args(MethodName))}")
    return {site: vector.unit() for site, vector in vectors.items()} if normalise else vectors
