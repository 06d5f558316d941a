"""A bare tensor in a file (.pt, .npy, .safetensors): numbers that say neither their place nor their model.

Whoever reads them says both: the site always, the model where it is known. Nothing is unpickled beyond tensors. A
vector that is to be remembered is `save`d after reading, and then says where it belongs by itself.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from steering_lab.interventions.formats.exchange import source_in, vector_from
from steering_lab.interventions.formats.torch_files import tensors_in
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import HookSite, Site, check_is_site
from steering_lab.models.hooked_model import HookedModel

BARE = (".pt", ".pth", ".npy", ".safetensors")


def read_tensor(
    path: str | Path, site: Site, *, model: HookedModel | None = None, row: int | Literal["all"] | None = None
) -> SteeringVector:
    """The tensor of a file as a vector at `site`, in float32: one of shape [d_model], or [1, d_model].

    Of two dimensions with several rows nothing says whether a row is a token, a layer or a feature: `row` picks one, or
    takes "all" of them as one row per token.

    Args:
        path: A .pt or .pth (read with `weights_only`), .npy (without pickles) or .safetensors file of one tensor.
        site: The hook point that the numbers are for: nothing in the file says it.
        model: The model that they are for; None leaves that unknown, which `steer` refuses unless asked.
        row: Which row of several is read; None refuses several.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another kind of file, no single tensor of numbers, a shape that is no vector or does not fit the
            model, a layer outside it, or a vector of steering_lab, which says its own site.
    """
    path = Path(path)
    check_is_site(site)
    rows = _rows(path, _held(path), row)
    vector = vector_from(rows, site, source_in(None, site, path, model=model), path, n_dims=rows.ndim)
    if model is not None:
        model.check_site(site)
        if rows.shape[-1] != model.d_model:
            raise ValueError(
                f"{path} is {rows.shape[-1]} wide (shape {tuple(rows.shape)}), the stream of {model.name} is"
                f" {model.d_model}: it is not a vector of this model"
            )
    return vector


def is_bare(path: str | Path) -> bool:
    """Whether the file is one of `read_tensor`: of its kinds, and not one that `SteeringVector.save` wrote."""
    path = Path(path)
    if not path.is_file() or path.suffix not in BARE:
        return False
    if path.suffix != ".safetensors":
        return True
    try:
        with safe_open(path, framework="pt") as file:
            return "steering_lab" not in (file.metadata() or {})
    except SafetensorError:
        return False


def _held(path: Path) -> Tensor:
    """The one tensor of the file."""
    if not path.is_file():
        raise FileNotFoundError(f"no tensor at {path}{': it is a folder' if path.is_dir() else ''}")
    if path.suffix not in BARE:
        raise ValueError(f"{path}: a bare tensor is read from {', '.join(BARE)}, not from {path.suffix!r}")
    if path.suffix == ".safetensors":
        return _only(path)
    held: Any = _array(path) if path.suffix == ".npy" else tensors_in(path)
    if not isinstance(held, Tensor):
        hint = ": read {layer: tensor} with read_steering_vectors" if isinstance(held, dict) else ""
        raise ValueError(f"{path} holds a {type(held).__name__}, where one tensor is wanted{hint}")
    return held


def _array(path: Path) -> Tensor:
    try:
        return torch.from_numpy(np.load(path, allow_pickle=False))
    except (ValueError, TypeError, EOFError, OSError) as error:
        raise ValueError(f"{path} holds no array of numbers, and nothing else is ever unpickled: {error}") from error


def _only(path: Path) -> Tensor:
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            if "steering_lab" in (file.metadata() or {}):
                raise ValueError(f"{path} says its own site and model: read it with SteeringVector.load(path)")
            if len(names) != 1:
                raise ValueError(f"{path} holds {len(names)} tensors ({', '.join(names[:5])}), where one is wanted")
            return file.get_tensor(names[0])
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from error


def _rows(path: Path, held: Tensor, row: int | Literal["all"] | None) -> Tensor:
    """`held` as one row, or with "all" as its rows."""
    if held.ndim not in (1, 2) or held.numel() == 0:
        raise ValueError(f"{path} has shape {tuple(held.shape)}: a vector is [d_model], or [row, d_model]")
    if held.ndim == 1 or len(held) == 1:
        return held.reshape(-1)
    if row is None:
        raise ValueError(
            f"{path} has {len(held)} rows (shape {tuple(held.shape)}), and nothing says what they are: name one,"
            f' row=0 to {len(held) - 1}, or row="all" for one row per token'
        )
    if row == "all":
        return held
    if not -len(held) <= row < len(held):
        raise ValueError(f"row {row} of {path} is outside {-len(held)}..{len(held) - 1}")
    return held[row]


def site_asked(path: Path, layer: int | None, stream: str, how: str) -> HookSite:
    """The site that the user named for a file that names none.

    Args:
        path: The file.
        layer: The layer that was named, if any.
        stream: The stream: "resid_pre" or "resid_post".
        how: How a layer is named here: "--layer N".

    Raises:
        ValueError: no layer was named.
    """
    if layer is None:
        raise ValueError(f"{path} is a bare tensor and does not say where it belongs: add {how}")
    return HookSite(layer, stream)  # type: ignore[arg-type]
