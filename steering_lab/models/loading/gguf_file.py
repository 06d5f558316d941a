"""GGUF files: one file with quantised weights and tokenizer, as llama.cpp runs them, dequantised on loading.

transformers reads them with the `gguf` package, for the architectures that it knows to map.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from steering_lab.models.loading.placement import places, say_size
from steering_lab.models.loading.sources import Opened, weight_bar

if TYPE_CHECKING:
    import torch

WHOLE = ("F32", "F16", "BF16")  # stored as they are, not quantised


class Kind(NamedTuple):
    """What a GGUF file says of itself: its architecture, and how its weights are stored, e.g. "Q4_1".

    Args:
        architecture: The architecture's name in the file.
        quantisation: How the weights are stored, e.g. "Q4_1".
        n_parameters: How many numbers the weights are.
        unread: What of it cannot be read; None where all can.
    """

    architecture: str
    quantisation: str
    n_parameters: int
    unread: str | None  # what of it transformers would leave out without a word, or None

    @property
    def dequantised(self) -> str | None:
        """What dequantising it leaves to be said of the weights, or None where they are stored whole."""
        return None if self.quantisation in WHOLE else f"dequantised from {self.quantisation}"


def is_gguf(path: str | Path) -> bool:
    """Whether `path` is a file that begins as GGUF files do."""
    if not Path(path).is_file():
        return False
    with open(path, "rb") as file:
        return file.read(4) == b"GGUF"


def kind_of(path: Path) -> Kind:
    """Architecture and storage of the file's weights: the type its header names, or the commonest of its matrices.

    Args:
        path: The GGUF file, of which the header alone is read.

    Raises:
        ValueError: the file is damaged.
    """
    from gguf import LlamaFileType

    try:
        reader = _reader(path)
        architecture = str(reader.fields["general.architecture"].contents())
        stored = reader.fields.get("general.file_type")
        if stored is not None:
            quantisation = LlamaFileType(stored.contents()).name.removeprefix("MOSTLY_").removeprefix("ALL_")
        else:
            matrices = [t.tensor_type.name for t in reader.tensors if len(t.shape) > 1]
            quantisation = max(matrices, key=matrices.count)
        n_parameters = sum(int(t.n_elements) for t in reader.tensors)
        unread = _unread(architecture, reader)
    except Exception as error:  # bytes that mean nothing stumble over anything
        reason = "it ends before what its header announces" if isinstance(error, _Short) else "its header means nothing"
        size = path.stat().st_size
        raise ValueError(f"{path.name} ({size:,} bytes) is damaged: {reason}; fetch or make the file again") from error
    return Kind(architecture, quantisation, n_parameters, unread)


class _Short(ValueError):
    """A file has no more bytes where its header announces some."""


def _reader(path: Path) -> Any:
    """The package's reader, which by itself reads past the end of a file that breaks off."""
    import numpy as np
    from gguf import GGUFReader

    class WithinTheFile(GGUFReader):
        def _get(self, offset: Any, dtype: Any, count: Any = 1, *rest: Any, **options: Any) -> Any:
            if int(offset) + np.dtype(dtype).itemsize * int(count) > len(self.data):
                raise _Short(f"{int(count)} of {np.dtype(dtype)} at byte {int(offset)}")
            return super()._get(offset, dtype, count, *rest, **options)

    return WithinTheFile(path)


def _unread(architecture: str, reader: Any) -> str | None:
    """Scaled rotary positions, which transformers reads for one architecture alone: without them the model is another.

    llama.cpp has them as fields, and for Llama 3 as a tensor of factors.
    """
    scaling = reader.fields.get(f"{architecture}.rope.scaling.type")
    kind = "none" if scaling is None or architecture == "gpt-oss" else str(scaling.contents())
    if kind != "none":
        return f"the scaling of its rotary positions ({kind})"
    if any(t.name.startswith(("rope_freqs", "rope_factors")) for t in reader.tensors):
        return "the factors of its rotary positions"
    return None


def dequantised_to(dtype: "torch.dtype | str") -> "torch.dtype":
    """What the weights become: the `dtype` asked for, and float32 for "auto"."""
    import torch

    return dtype if isinstance(dtype, torch.dtype) else torch.float32


def open_gguf(
    path: Path, dtype: "torch.dtype", *, device: "torch.device", device_map: Any = None, name: str | None = None
) -> Opened:
    """The model in the file, its weights dequantised to `dtype`.

    For most architectures transformers reads them all into the CPU's memory first, wherever they go.

    Args:
        path: The file.
        dtype: What the weights become.
        device: Where they go.
        device_map: transformers' placement over several devices, instead of `device`.
        name: What the model is called; by itself as the file is.

    Raises:
        ValueError: an architecture or a storage that transformers cannot dequantise, a damaged file, one of which
            transformers would leave something out, or more memory than is free.
    """
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    kind = kind_of(path)
    refusal = why_not(path, kind)
    if refusal is not None:
        raise ValueError(refusal)
    folder, file = str(path.parent), path.name
    what = f"{file} ({kind.architecture}, {kind.quantisation})"
    say_size(name or file, kind.n_parameters * dtype.itemsize, places(device, device_map), packable=False)
    options: dict[str, Any] = {"dtype": dtype, "device_map": {"": device} if device_map is None else device_map}
    if hasattr(transformers, "GgufConfig"):  # with a package of kernels it would keep the weights packed
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
        with weight_bar(shown=False):
            hf_model, loaded = AutoModelForCausalLM.from_pretrained(
                folder, gguf_file=file, attn_implementation="eager", output_loading_info=True, **options
            )
    except Exception as error:  # whatever the reader of that architecture or storage stumbles over
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{what} cannot be dequantised by transformers: {reason}") from error
    missing = sorted(loaded["missing_keys"])
    if missing:
        raise ValueError(f"{what} lacks {len(missing)} of the model's weights, {missing[0]} the first of them")
    _forget_the_file(hf_model)
    return Opened(hf_model, tokenizer, name or path.stem, None, kind.dequantised)


def why_not(path: Path, kind: Kind) -> str | None:
    """Why the file `path`, of `kind`, cannot be opened as the model that its makers run; None where it can."""
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    way_out = "pass the folder or hub name of the unquantised model"
    if kind.architecture not in GGUF_SUPPORTED_ARCHITECTURES:
        known = ", ".join(sorted(GGUF_SUPPORTED_ARCHITECTURES))
        return (
            f"{path.name} holds a model of architecture {kind.architecture!r}, which transformers cannot dequantise"
            f" (it can: {known}): {way_out}"
        )
    if kind.unread is not None:
        return f"{path.name} ({kind.architecture}): transformers does not read {kind.unread} from GGUF files: {way_out}"
    return None


def _forget_the_file(hf_model: Any) -> None:
    """The weights are ordinary ones now; with a `quantization_config`, saving them would raise."""
    for config in (hf_model.config, hf_model.config.get_text_config()):
        if hasattr(config, "quantization_config"):
            del config.quantization_config
    for flag in ("is_quantized", "hf_quantizer", "quantization_method"):
        if flag in vars(hf_model):
            delattr(hf_model, flag)
