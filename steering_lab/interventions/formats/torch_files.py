"""Tensors in `.pt` files: steering-vectors' {layer: tensor}, and the bare tensors of CAA and ContextFocus.

Both mean what a block puts out. Neither has room for provenance, so a vector that is to be remembered is also `save`d.
Files are read with `weights_only=True`: tensors and containers, and of steering-vectors' pickled dataclass only its
two fields, without its package.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from steering_lab.interventions.formats.exchange import Vectors, by_layer, only_row, source_in, vector_from
from steering_lab.interventions.source import UNKNOWN
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import HookSite, resid_post
from steering_lab.models.hooked_model import HookedModel
from steering_lab.safe_files import make_folder


class _TheirSteeringVector:
    """Stands for `steering_vectors.SteeringVector` while a file is read: two attributes, no behaviour."""

    layer_activations: Any = None
    layer_type: Any = "decoder_block"


_THEIRS = "steering_vectors.steering_vector.SteeringVector"


def export_steering_vectors(vectors: Vectors, path: str | Path, *, coeff: float) -> Path:
    """Write {layer: tensor}: `SteeringVector(torch.load(path))` of the package steering-vectors applies it.

    Args:
        vectors: What is written, at most one a layer.
        path: The file.
        coeff: What each vector is multiplied by.

    Raises:
        ValueError: `resid_pre(0)`, more than one row, another basis; see `by_layer`.
    """
    form = "a steering-vectors file"
    layers = {layer: only_row(vector, form) for layer, vector in by_layer(vectors, coeff, form).items()}
    path = Path(path)
    make_folder(path.parent)
    torch.save(layers, path)
    return path


def read_steering_vectors(path: str | Path, *, model: HookedModel | None = None) -> dict[HookSite, SteeringVector]:
    """The vectors of a {layer: tensor} file or of a pickled `steering_vectors.SteeringVector`, at block outputs.

    The file does not say which weights they are for: name the `model`.

    Args:
        path: The file.
        model: The model that the vectors are for; None leaves that unknown, which `steer` refuses unless asked.

    Raises:
        ValueError: anything else, or vectors for attention, MLP or norms, which are not the residual stream.
    """
    path = Path(path)
    with torch.serialization.safe_globals([(_TheirSteeringVector, _THEIRS)]):
        held = tensors_in(path)
    if isinstance(held, _TheirSteeringVector):
        if held.layer_type != "decoder_block":
            raise ValueError(f"{path} steers {held.layer_type!r}, only 'decoder_block' is the residual stream")
        held = held.layer_activations
    if not isinstance(held, Mapping) or not held or not all(isinstance(layer, int) for layer in held):
        raise ValueError(f"{path} does not hold {{layer: tensor}}")
    sites = {resid_post(layer): row for layer, row in sorted(held.items())}
    return {site: vector_from(row, site, source_in(None, site, path, model=model), path) for site, row in sites.items()}


def export_caa(vectors: Vectors, folder: str | Path, *, coeff: float, named: str = "") -> list[Path]:
    """Write `vec_layer_{n}.pt`, or `vec_layer_{n}_{named}.pt`, into `folder`: one bare tensor per layer.

    Args:
        vectors: What is written.
        folder: Where the files are written.
        coeff: What each vector is multiplied by.
        named: What stands behind the layer in their names.

    Raises:
        ValueError: the folder already holds such files, which would mix; or as `export_steering_vectors`.
    """
    form = "a folder of CAA vectors"
    layers = {layer: only_row(vector, form) for layer, vector in by_layer(vectors, coeff, form).items()}
    folder = make_folder(folder)
    if any(name == named for _, name in _caa_files(folder)):
        raise ValueError(f"{folder} already holds vectors{f' of {named}' if named else ''}: choose an empty folder")
    paths = []
    for layer, row in layers.items():
        paths.append(folder / f"vec_layer_{layer}{f'_{named}' if named else ''}.pt")
        torch.save(row.clone(), paths[-1])
    return paths


def read_caa(
    folder: str | Path, *, named: str | None = None, model: HookedModel | None = None
) -> dict[HookSite, SteeringVector]:
    """The vectors of a folder of `vec_layer_{n}.pt` or `vec_layer_{n}_{named}.pt`, at block outputs.

    A name in a file's name says nothing about weights: `model` is the one that the vectors are for.

    Raises:
        ValueError: no such file, files of several models without saying which, or a file that is no 1-D tensor.
    """
    folder = Path(folder)
    files = _caa_files(folder)
    models = sorted({name for _, name in files})
    if named is None and len(models) > 1:
        raise ValueError(f"{folder} holds vectors of {', '.join(map(repr, models))}: choose one with named=")
    chosen = {layer: path for (layer, name), path in sorted(files.items()) if named is None or name == named}
    if not chosen:
        raise ValueError(f"{folder} holds no vec_layer_<n>.pt{f' of {named!r}' if named else ''}, only {models or '-'}")
    found = {}
    for layer, path in chosen.items():
        site = resid_post(layer)
        source = source_in(None, site, path, model=model, hint=named or models[0] or UNKNOWN)
        found[site] = vector_from(tensors_in(path), site, source, path)
    return found


def _caa_files(folder: Path) -> dict[tuple[int, str], Path]:
    """Files by layer and model name, which is empty where the file names none."""
    named = ((re.fullmatch(r"vec_layer_(\d+)(?:_(.+))?\.pt", path.name), path) for path in folder.glob("*.pt"))
    return {(int(name[1]), name[2] or ""): path for name, path in named if name is not None}


def tensors_in(path: Path) -> Any:
    """What `path` holds, read as tensors and containers only.

    Raises:
        ValueError: it holds something else.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{path} does not hold tensors only, and nothing else is ever unpickled: {reason}") from error
