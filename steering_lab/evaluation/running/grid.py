"""The conditions of a sweep: a method at each layer and coefficient, its controls beside it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.control_vectors import Control, random_controls
from steering_lab.evaluation.running.writing import Example, Prefixed
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering_vector import LONGEST, SteeringVector
from steering_lab.models.hook_points import HookSite, Sites
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.integers import Whole, whole_number
from steering_lab.models.reading import read_tokens

PlaceName = Literal["front", "everywhere", "from_last_prompt_token", "generated"]


def layer_coeff_grid(
    vectors: Mapping[HookSite, SteeringVector],
    coeffs: Sequence[float],
    resid_norms: Mapping[HookSite, float],
    *,
    method: str,
    place: PlaceName = "front",
    n_random: Whole = 0,
    seed: int = 0,
    controls: Sequence[Control] = (),
    write: Callable[[Example], str] | None = None,
) -> list[Condition]:
    """One condition of `method` per site and non-zero coefficient, and beside it its controls.

    A control stands at every coefficient of its site under its own name as method, `control_of` being `method`:
    `n_random` draws of `random_like` the cell's own vector ("random"), and whatever `controls` are given besides.
    `relative_norm` is |coeff x longest row| / median |resid| at the site, since bare coefficients are comparable
    neither across layers nor across models. Coefficient 0 is `UNSTEERED` and left out.

    Args:
        vectors: The vector of each site.
        coeffs: What each vector is multiplied by.
        resid_norms: The median residual norm at each site (`median_resid_norms`).
        method: The vectors' method, by its name.
        place: At which tokens they are added.
        n_random: Random draws for each site; 0 is none.
        seed: What the draws follow from.
        controls: Further controls, each with a vector for every site (`control_vectors`).
        write: How an example is put to the model.

    Raises:
        ValueError: coefficients that `check_coeffs` refuses, or a number of draws below 0 or that is no integer.
    """
    check_coeffs("coeffs", coeffs)
    if (n_random := whole_number(n_random, "n_random")) < 0:
        raise ValueError(f"n_random is {n_random}: it must be 0 or more")
    beside = [*random_controls(vectors, n_random, seed), *controls]
    grid = []
    for site, vector in vectors.items():
        rows: list[tuple[str, SteeringVector, dict[str, Any]]] = [(method, vector, {"method": method})]
        for one in beside:
            named = one.name if one.draw is None else f"{one.name} {one.draw}"
            facts: dict[str, Any] = {"method": one.name, "control_of": method, "draw": one.draw}
            rows.append((f"{named} for {method}", one.vectors[site], facts))
        for name, own, its in rows:
            placed = _placed(own, place)
            grid += [
                Condition(f"{name} {place} {site} coeff {coeff:g}", coeff * placed, write or Prefixed(),
                          resid_norms=resid_norms, **its)
                for coeff in coeffs if coeff
            ]  # fmt: skip
    return grid


def check_coeffs(name: str, coeffs: Sequence[float]) -> None:
    """Nothing when the coefficients, called `name`, can be swept.

    Args:
        name: What the user calls them: the parameter or the setting.
        coeffs: What vectors are to be multiplied by; 0 may be among them, as the unsteered model.

    Raises:
        ValueError: none that is not 0, one twice, or one that is not finite or that no vector's length makes small
            enough to add; says which.
    """
    if odd := [coeff for coeff in coeffs if not abs(coeff) < LONGEST]:
        raise ValueError(f"{name} has {odd[0]:g}: choose numbers between {-LONGEST:g} and {LONGEST:g}")
    if not any(coeffs) or len(set(coeffs)) < len(coeffs):
        raise ValueError(f"{name} is {list(coeffs)}: give each once, and one that is not 0")


def median_resid_norms(model: HookedModel, prompts: str | Sequence[str], sites: Sites) -> dict[HookSite, float]:
    """Median length of the residual over the tokens of `prompts` at each site, without the attention sink in front.

    Args:
        model: The model that reads; edits in force are seen.
        prompts: What it reads: one text or several. All their tokens count alike, so that a long one counts for more.
        sites: Where.

    Raises:
        ValueError: no list of sites, one outside the model, or prompts without a token behind the first.
    """
    streams = read_tokens(model, prompts, sites)
    return {site: float(stream.norm(dim=-1).median()) for site, stream in streams.items()}


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
