"""EasySteer's steering spec, JSON for its vLLM: vectors at block outputs, each with a clause that says which tokens.

The clause says nearly what our places say, so whole interventions go in and come out. The numbers travel inside the
file (EasySteer's payload of kind "direction": float32, base64, a SHA-256), so that it needs no second one. The spec has
no room for provenance; its `name` carries the recipes. A position beyond a short prompt's end is an error here and the
prompt's last token there.
"""

import base64
import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from steering_lab.interventions.formats.exchange import (
    check_basis,
    json_in,
    same_place,
    source_in,
    vector_from,
    written,
)
from steering_lab.interventions.intervention import Add, Intervention, Placed, Term, check_placed
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import resid_post
from steering_lab.models.hooked_model import HookedModel

FORM = "an EasySteer spec"
WHERE: dict[str, dict[str, Any]] = {
    "everywhere": {"prompt": "all", "generation": "all"},
    "from_last_prompt_token": {"prompt_positions": [-1], "generation": "all"},
    "generated": {"generation": "all"},
}


def export_easysteer(intervention: Placed, path: str | Path) -> Path:
    """Write `intervention`, one vector per clause, at scale 1: POST it, or pass it as `--steering-config`.

    A file of several vectors needs a server started with `--steer-multi-vector`.

    Args:
        intervention: Vectors, each with its place.
        path: The file, of JSON.

    Raises:
        ValueError: nothing, a vector that was not placed, an edit other than adding, `resid_pre(0)`, a clipped place,
            or another basis.
    """
    check_placed(intervention)
    if not intervention.terms:
        raise ValueError(f"Intervention() does nothing: {FORM} needs at least one vector")
    clauses: list[tuple[dict[str, Any], dict[int, Tensor], list[str]]] = []
    for term in intervention.terms:
        layer = _check(term)
        for apply, row in _clauses(term):
            _, rows, labels = next((held for held in clauses if held[0] == apply), (None, None, None))
            if rows is None or labels is None:
                rows, labels = {}, []
                clauses.append((apply, rows, labels))
            rows[layer] = rows[layer] + row if layer in rows else row
            labels.append(term.edit.source.recipe if term.edit.source else "")
    vectors = [_entry(apply, rows, labels) for apply, rows, labels in clauses]
    return written(path, {"vectors": vectors, "conflict": "sequential"})


def read_easysteer(path: str | Path, *, model: HookedModel | None = None) -> Intervention:
    """The intervention of a spec whose vectors are added as they are. A spec never says which `model` it is for.

    Args:
        path: The file.
        model: The model that the vectors are for; None leaves that unknown, which `steer` refuses unless asked.

    Raises:
        ValueError: not such a file, another algorithm, a file elsewhere instead of numbers, changed numbers, a clause
            that no place here says, or several vectors of which only the first would act ("priority").
    """
    path, spec = json_in(path)
    if not isinstance(spec, dict) or not isinstance(spec.get("vectors"), list) or not spec["vectors"]:
        raise ValueError(f"{path} is not {FORM}: it has no 'vectors'")
    if len(spec["vectors"]) > 1 and spec.get("conflict") != "sequential":
        raise ValueError(f"{path}: several vectors act together only with 'conflict': 'sequential'")
    return sum((_placed(entry, path, model) for entry in spec["vectors"]), Intervention())


def _check(term: Term) -> int:
    """The block whose output the term adds to."""
    if type(term.edit) is not Add:
        raise ValueError(f"{FORM} written here only adds vectors, not: {term}")
    if term.place.clip:
        raise ValueError(f"{FORM} cannot drop rows beyond a short prompt's end: place {term} without too_long='clip'")
    if term.edit.source is not None:
        check_basis(term.edit.source.basis, term.edit.label, FORM)
    return same_place(term.edit.site, "resid_post", FORM).layer


def _clauses(term: Term) -> list[tuple[dict[str, Any], Tensor]]:
    """Which tokens, and what is added there."""
    rows = term.coeff * term.edit.rows.detach().to("cpu", torch.float32)
    if term.place.rule != "at":
        return [(WHERE[term.place.rule], rows[0])]
    start = term.place.start
    if start < 0 < start + len(rows):
        raise ValueError(f"{len(rows)} rows from token {start} of the prompt reach beyond its end")
    return [({"prompt_positions": [start + i]}, row) for i, row in enumerate(rows)]


def _entry(apply: dict[str, Any], rows: dict[int, Tensor], labels: list[str]) -> dict[str, Any]:
    tensors = {f"layer.{layer}": row.numpy().astype("<f4").tobytes() for layer, row in rows.items()}
    sizes = {name: [len(data) // 4] for name, data in tensors.items()}
    wire = {
        "version": 1,
        "kind": "direction",
        "tensors": {n: {"shape": sizes[n], "data": base64.b64encode(tensors[n]).decode()} for n in sorted(tensors)},
        "extra": {},
        "sha256": _digest(tensors),
    }
    name = "; ".join(dict.fromkeys(label for label in labels if label)) or None
    return {"data": wire, "algorithm": "direct", "scale": 1.0, "normalize": False, "apply": apply, "name": name}


def _digest(tensors: dict[str, bytes]) -> str:
    """The payload's identity as EasySteer computes it: kind, version, and each tensor's name, shape and bytes."""
    digest = hashlib.sha256(b"direction:1")
    for name in sorted(tensors):
        digest.update(name.encode() + str((len(tensors[name]) // 4,)).encode() + tensors[name])
    return digest.hexdigest()


def _placed(entry: dict[str, Any], path: Path, model: HookedModel | None) -> Intervention:
    if entry.get("algorithm", "direct") != "direct" or entry.get("normalize"):
        raise ValueError(f"{path}: only vectors that are added as they are can be read, not {_settings(entry)}")
    layers, scale = entry.get("layers"), float(entry.get("scale", 1.0))
    total = Intervention()
    for layer, row in _rows(entry, path).items():
        if layers is None or layer in layers:
            site = resid_post(layer)
            vector = vector_from(row, site, source_in(None, site, path, model=model), path)
            total = total + scale * _at(vector, entry.get("apply"), path)
    return total


def _rows(entry: dict[str, Any], path: Path) -> dict[int, Tensor]:
    wire = entry.get("data")
    if wire is None:
        raise ValueError(f"{path} points to {entry.get('source')!r}: read that file with read_gguf, then place it")
    try:
        if (wire["version"], wire["kind"]) != (1, "direction"):
            raise ValueError(f"{path}: a payload of kind {wire['kind']!r}, version {wire['version']!r} cannot be read")
        tensors = {name: base64.b64decode(held["data"], validate=True) for name, held in wire["tensors"].items()}
        if wire["sha256"] != _digest(tensors):
            raise ValueError(f"{path}: the numbers do not match their SHA-256")
        names = {int(name.removeprefix("layer.")): data for name, data in tensors.items()}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: a payload is incomplete ({error!r})") from error
    return {layer: torch.frombuffer(bytearray(data), dtype=torch.float32) for layer, data in sorted(names.items())}


def _at(vector: SteeringVector, apply: Any, path: Path) -> Intervention:
    if apply == WHERE["everywhere"]:
        return vector.everywhere()
    if apply == WHERE["from_last_prompt_token"]:
        return vector.from_last_prompt_token()
    if apply == WHERE["generated"]:
        return vector.generated()
    if isinstance(apply, dict) and set(apply) == {"prompt_positions"}:
        return sum((vector.at(position) for position in apply["prompt_positions"]), Intervention())
    raise ValueError(f"{path}: no place here says {apply!r}")


def _settings(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in ("algorithm", "normalize") if key in entry}
