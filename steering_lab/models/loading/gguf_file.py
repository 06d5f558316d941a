"""GGUF files: one file with quantised weights and tokenizer, as llama.cpp runs them, dequantised on loading.

transformers reads them with the `gguf` package, for the architectures that it knows to map.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from steering_lab.models.loading.sources import Opened, weight_bar


class Kind(NamedTuple):
    """What a GGUF file says of itself: its architecture, and how its weights are stored, e.g. "Q4_1"."""

    architecture: str
    quantisation: str


def is_gguf(path: str | Path) -> bool:
    """Whether `path` is a file that begins as GGUF files do."""
    if not Path(path).is_file():
        return False
    with open(path, "rb") as file:
        return file.read(4) == b"GGUF"


def kind_of(path: Path) -> Kind:
    """Architecture and storage of the file's weights: the type its header names, or the commonest of its matrices.

    Raises:
        ValueError: the file is damaged.
    """
    from gguf import GGUFReader, LlamaFileType

    try:
        reader = GGUFReader(path)
        architecture = reader.fields["general.architecture"].contents()
        stored = reader.fields.get("general.file_type")
        if stored is not None:
            quantisation = LlamaFileType(stored.contents()).name.removeprefix("MOSTLY_").removeprefix("ALL_")
        else:
            matrices = [t for t in reader.tensors if len(t.shape) > 1]
            quantisation = max((t.tensor_type.name for t in matrices), key=[t.tensor_type.name for t in matrices].count)
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise ValueError(f"{path.name} is no GGUF file that can be read: {error}") from error
    return Kind(architecture, quantisation)


def open_gguf(path: Path, dtype: torch.dtype, name: str | None = None) -> Opened:
    """The model in the file, its weights dequantised to `dtype` on the CPU.

    Raises:
        ValueError: an architecture or a storage that transformers cannot dequantise, or a damaged file.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    kind = kind_of(path)
    if kind.architecture not in GGUF_SUPPORTED_ARCHITECTURES:
        known = ", ".join(sorted(GGUF_SUPPORTED_ARCHITECTURES))
        raise ValueError(
            f"{path.name} holds a model of architecture {kind.architecture!r}, which transformers cannot dequantise"
            f" (it can: {known}): pass the folder or hub name of the unquantised model"
        )
    folder, file = str(path.parent), path.name
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
        with weight_bar(shown=False):
            hf_model = AutoModelForCausalLM.from_pretrained(
                folder, gguf_file=file, dtype=dtype, attn_implementation="eager"
            )
    except Exception as error:  # whatever the reader of that architecture or storage stumbles over
        raise ValueError(
            f"{file} ({kind.architecture}, {kind.quantisation}) cannot be dequantised by transformers: {error}"
        ) from error
    _forget_the_file(hf_model)
    whole = kind.quantisation in ("F32", "F16", "BF16")
    quantisation = None if whole else f"dequantised from {kind.quantisation}"
    return Opened(hf_model, tokenizer, name or path.stem, None, quantisation)


def _forget_the_file(hf_model: Any) -> None:
    """The weights are ordinary ones now; with a `quantization_config`, saving them would raise."""
    for config in (hf_model.config, hf_model.config.get_text_config()):
        if hasattr(config, "quantization_config"):
            del config.quantization_config
    for flag in ("is_quantized", "hf_quantizer", "quantization_method"):
        if flag in vars(hf_model):
            delattr(hf_model, flag)
