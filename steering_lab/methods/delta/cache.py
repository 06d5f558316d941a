"""Optimised deltas on disk, one safetensors file each, found by a hash of everything that determines them.

A file that does not read as a whole result of its own key is taken for absent and written anew. Files appear under
their name only when complete.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from steering_lab.interventions.source import Source
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.delta.result import Result
from steering_lab.methods.delta.weighted import AnyObjective
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.safe_files import make_folder, replace_file

FORMAT = 1  # part of every key: raise it when the method changes what it returns
MEASURES = ("losses", "kl", "relative_norms", "resid_norms", "forward_equivalents", "seconds")


def hash_json(value: Any) -> str:
    """SHA-256 of the value as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def result_key(
    model: HookedModel,
    prompts: Sequence[str],
    objective: AnyObjective,
    init: Sequence[SteeringVector] | None,
    settings: Mapping[str, Any],
) -> str:
    """The hash of model, prompts as tokens, objective, start and settings: equal keys, equal deltas.

    Args:
        model: The model that is steered.
        prompts: The prompts of one problem.
        objective: What its delta is optimised for.
        init: The vectors that it starts from; None is zero.
        settings: What else determines the result, as JSON.
    """
    start = [hashlib.sha256(v.rows.contiguous().numpy().tobytes()).hexdigest() for v in init or ()]
    of_model = [model.fingerprint, _config(model), model.basis, model.prefix, str(model.dtype), model.device.type]
    ids = [model.token_ids(prompt) for prompt in prompts]
    return hash_json([FORMAT, of_model, ids, objective.described(model), start, settings])


def _config(model: HookedModel) -> dict[str, str]:
    """How the weights are put to use: the same weights under another attention window are another model."""
    original = getattr(model.backend, "original_model", None)
    config = model.backend.cfg.to_dict() if original is None else original.config.to_dict()
    return {name: str(value) for name, value in config.items() if name not in ("_name_or_path", "transformers_version")}


def find_result(folder: Path, key: str) -> Result | None:
    """The result kept in `folder` under `key`, or None where there is none that is whole."""
    path = folder / f"{key}.safetensors"
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["steering_lab"])
            if header["key"] != key:
                return None
            source = Source.read(header["source"])
            vectors = tuple(SteeringVector(file.get_tensor(n), HookSite.parse(n), source) for n in header["sites"])
        measured = {name: header["measured"][name] for name in MEASURES}
    except (SafetensorError, KeyError, TypeError, ValueError, OSError):
        return None
    held: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in measured.items()}
    return Result(vectors, **held, cached=True)


def keep_result(folder: Path, key: str, result: Result) -> Path:
    """Writes the result to `folder` under `key`, in one step. Raises OSError where it cannot; names the file."""
    header = {
        "key": key,
        "sites": [vector.site.name for vector in result.vectors],
        "source": asdict(result.vectors[0].source),
        "measured": {name: getattr(result, name) for name in MEASURES},
    }
    path = make_folder(folder) / f"{key}.safetensors"
    tensors: dict[str, torch.Tensor] = {vector.site.name: vector.rows.contiguous() for vector in result.vectors}
    return replace_file(path, save(tensors, {"steering_lab": json.dumps(header)}))
