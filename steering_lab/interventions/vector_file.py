"""A steering vector on disk: safetensors with a JSON header, in which everything that can be checked is.

Any tool can read the numbers, and `safe_open` shows the provenance without running code.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from steering_lab.interventions.source import Source
from steering_lab.models.hook_points import HookSite
from steering_lab.safe_files import make_folder, replace_file

FORMAT = 1
KIND = "a steering vector saved by steering_lab"
# How files of other tools end, and what reads them.
OTHERS = {
    ".gguf": "read_gguf(path)",
    ".svec": 'read_svec(path, reading="act_add")',
    ".pt": "read_steering_vectors(path), or read_tensor(path, site) for a bare tensor",
    ".npy": "read_tensor(path, site)",
    ".json": "read_neuronpedia(path), or read_easysteer(path) for a spec",
}


def write_vector(path: str | Path, rows: Float[Tensor, "row d_model"], site: HookSite, source: Source) -> Path:
    """`path`, after writing tensor `direction.<hook name>` there and, under "steering_lab", the header as JSON.

    The header holds format, site, the rows' norms, the source, and a SHA-256 over all that and the numbers.

    Args:
        path: The file.
        rows: The vector's rows.
        site: The hook point that the numbers are for.
        source: Where they come from.
    """
    path = Path(path)
    norms = rows.double().norm(dim=-1).tolist()
    header: dict[str, Any] = {"format": FORMAT, "site": site.name, "norms": norms, "source": asdict(source)}
    header["sha256"] = _digest(header, rows)
    make_folder(path.parent)
    held = save({f"direction.{site.name}": rows.contiguous()}, {"steering_lab": json.dumps(header)})
    return replace_file(path, held)


def read_vector(path: str | Path) -> tuple[Float[Tensor, "row d_model"], HookSite, Source]:
    """Rows, site and source of the file `path` that `write_vector` wrote.

    Files of earlier versions have no SHA-256: there only the norms show whether the numbers changed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is another tool's, not a steering vector of a format known here, or it changed.
    """
    path = Path(path)
    reader = "read_caa(path)" if path.is_dir() and any(path.glob("*.pt")) else OTHERS.get(path.suffix)
    if path.exists() and reader is not None:
        raise ValueError(
            f"{path} is not {KIND}, which ends in .safetensors: read another tool's file in Python with"
            f" steering_lab.interventions.formats.{reader}, and save() what that returns"
        )
    if not path.is_file():
        raise FileNotFoundError(f"no steering vector at {path}{': it is a folder' if path.is_dir() else ''}")
    header, tensors = _opened(path)
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} has format {header.get('format')}, this version reads {FORMAT}")
    try:
        site, source = HookSite.parse(header["site"]), Source.read(header["source"])
        norms, digest = torch.tensor(header["norms"], dtype=torch.float64), header.pop("sha256", None)
        if list(tensors) != [f"direction.{site.name}"]:
            raise ValueError(f"it holds {list(tensors)}, its header says {site.name}")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not {KIND}: {error}") from error
    (rows,) = tensors.values()
    if rows.ndim != 2 or not rows.is_floating_point():
        raise ValueError(f"{path} is not {KIND}: it holds {rows.dtype} of shape {list(rows.shape)}, not [row, d_model]")
    _check_numbers(path, rows, norms)
    if digest is not None and digest != _digest(header, rows):
        raise ValueError(f"{path} changed after it was written: its SHA-256 is not that of its header and numbers")
    return rows, site, source


def stored_digest(path: str | Path) -> str | None:
    """The SHA-256 that the file `path` holds of its header and numbers, not compared; None in earlier versions.

    Raises:
        ValueError: it is no steering vector.
    """
    return _opened(Path(path))[0].get("sha256")


def _opened(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            if "steering_lab" not in (file.metadata() or {}):
                raise ValueError("no provenance in it; a bare tensor is read with formats.read_tensor(path, site)")
            header = json.loads(file.metadata()["steering_lab"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:  # JSON errors are ValueErrors
        raise ValueError(f"{path} is not {KIND}: {error}") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path} is not {KIND}: its header is {header!r}")
    return header, tensors


def _check_numbers(path: Path, rows: Tensor, norms: Tensor) -> None:
    found = rows.double().norm(dim=-1)
    if norms.shape != found.shape or not torch.allclose(norms, found, rtol=1e-5, atol=0.0):
        raise ValueError(
            f"{path} changed after it was written: its header says norms {norms.tolist()}, its rows have"
            f" {found.tolist()}"
        )


def _digest(header: dict[str, Any], rows: Tensor) -> str:
    """Over the header as JSON reads it back, so that tuples and integer keys count as what they become."""
    text = json.dumps(json.loads(json.dumps(header)), sort_keys=True)
    return hashlib.sha256(text.encode() + rows.float().contiguous().numpy().tobytes()).hexdigest()
