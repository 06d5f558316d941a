"""Neuronpedia's JSON: {"steering_vector": numbers, "hook": TransformerLens name, "strength": x}.

Hook names are our own, so every site can be said and nothing is moved. The file is the steering part of a request to
its completion endpoint, with the settings under which a vector is added to every token; the key `steering_lab` is ours.
"""

from pathlib import Path
from typing import Any

from steering_lab.interventions.formats.exchange import (
    Vectors,
    json_in,
    only_row,
    provenance,
    scaled,
    source_in,
    vector_from,
    written,
)
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel

FORM = "a Neuronpedia vector"
EVERYWHERE = {
    "steer_method": "SIMPLE_ADDITIVE",
    "normalize_steering": False,
    "steer_special_tokens": True,
    "strength_multiplier": 1.0,
}


def export_neuronpedia(vectors: Vectors, path: str | Path, *, coeff: float) -> Path:
    """Write `coeff` times the vectors to `path`, each with strength 1.

    Raises:
        ValueError: more than one row, another basis; see `scaled`.
    """
    listed = scaled(vectors, coeff, FORM)
    entries = [{"hook": v.site.name, "strength": 1.0, "steering_vector": only_row(v, FORM).tolist()} for v in listed]
    return written(path, {"vectors": entries, **EVERYWHERE, "steering_lab": provenance(listed)})


def read_neuronpedia(path: str | Path, *, model: HookedModel | None = None) -> dict[HookSite, SteeringVector]:
    """The vectors of `path` (a request, a list or a single vector), each times its strength; equal hooks summed.

    `model` is the one that they are for where the file does not say, which only our own do.

    Raises:
        ValueError: not such a file, a hook outside the residual stream, or a request that steers otherwise than by
            adding to every token.
    """
    path, content = json_in(path)
    content = {"vectors": content} if isinstance(content, list) else content
    content = {"vectors": [content]} if isinstance(content, dict) and "steering_vector" in content else content
    if not isinstance(content, dict) or not content.get("vectors"):
        raise ValueError(f"{path} holds no Neuronpedia vectors")
    _check_settings(path, content)
    found: dict[HookSite, SteeringVector] = {}
    for entry in content["vectors"]:
        vector = _vector(entry, content, path, model)
        found[vector.site] = found[vector.site] + vector if vector.site in found else vector
    return found


def _check_settings(path: Path, content: dict[str, Any]) -> None:
    for key, wanted in EVERYWHERE.items():
        if key != "strength_multiplier" and content.get(key, wanted) != wanted:
            raise ValueError(
                f"{path} steers with {key} = {content[key]!r}: only {wanted!r} is a vector added everywhere"
            )


def _vector(entry: Any, content: dict[str, Any], path: Path, model: HookedModel | None) -> SteeringVector:
    try:
        hook, numbers, strength = entry["hook"], entry["steering_vector"], float(entry["strength"])
        strength *= float(content.get("strength_multiplier", 1.0))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: a vector lacks its hook, strength or numbers ({error!r})") from error
    site = HookSite.parse(hook)
    source = source_in(content.get("steering_lab"), site, path, model=model)
    vector = vector_from(numbers, site, source, path)
    return vector if strength == 1 else strength * vector
