"""The vector of contrast pairs by the name of a method, as a command line or a file of settings says it."""

from collections.abc import Sequence
from typing import Literal, get_args

from steering_lab.data.contrast_lists import ContrastLists, Contrasts, contrasts_of, only_pairs
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.actadd import actadd_vectors
from steering_lab.methods.mean_difference import mean_difference_vectors, sides_of
from steering_lab.methods.probe import fit_probe
from steering_lab.models.hook_points import HookSite, Sites, site_list
from steering_lab.models.hooked_model import HookedModel

MethodName = Literal["actadd", "mean_difference", "pca", "probe"]


def pair_vectors(
    method: MethodName,
    model: HookedModel,
    pairs: Contrasts,
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
        pairs: What the sides say: contrast pairs, or two lists for "mean_difference" and "probe".
        sites: Where the stream is read, and where the vectors belong.
        normalise: Whether each row is scaled to length 1.

    Raises:
        ValueError: an unknown method, several pairs for "actadd", two lists for it or for "pca", or what
            the method itself refuses.
    """
    given, sites = contrasts_of(pairs), site_list(sites)
    check_takes(method, given)
    match method:
        case "actadd":
            (pair,) = only_pairs(given, "actadd takes one pair")
            vectors = actadd_vectors(model, pair, sites)
        case "mean_difference" | "pca":
            vectors = mean_difference_vectors(model, given, sites, pca=method == "pca")
        case "probe":
            sides = sides_of(given)
            vectors = {site: fit_probe(model, *sides, site).direction for site in sites}
        case _:
            raise ValueError(f"unknown method {method!r}: choose one of {', '.join(get_args(MethodName))}")
    return {site: vector.unit() for site, vector in vectors.items()} if normalise else vectors


def check_takes(method: MethodName, given: Sequence[ContrastPair] | ContrastLists) -> None:
    """Nothing when a method can be made of what was given: asked before a model is loaded.

    Args:
        method: One of `pair_vectors`.
        given: Pairs, or two lists.

    Raises:
        ValueError: ActAdd of anything but one pair, or two lists for a method that takes the differences of pairs.
    """
    if isinstance(given, ContrastLists) and method in ("actadd", "pca"):
        needs = "takes one pair, token by token" if method == "actadd" else "takes the differences of pairs"
        raise ValueError(f"{method} {needs}, and here are two lists ({given}): choose mean_difference or probe")
    if not isinstance(given, ContrastLists) and method == "actadd" and len(given) != 1:
        raise ValueError(f"actadd takes one pair, not {len(given)}: choose mean_difference, pca or probe")
