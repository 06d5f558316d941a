"""Where a model's weights are put, in which precision, and how much memory that takes."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch

REPORTED_FROM = 2**30  # bytes: smaller models are loaded without a word
SPREADING = ("auto", "balanced", "balanced_low_0", "sequential")  # device maps over every GPU, then the CPU


def resolve_device(device: str | torch.device) -> torch.device:
    """The device; "auto" is the GPU where there is one.

    Raises:
        ValueError: a device that is not here.
    """
    if device != "auto":
        try:
            torch.empty(0, device=device)
            return torch.device(device)
        except (RuntimeError, AssertionError) as error:
            available = ", ".join(["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
            raise ValueError(f"device {str(device)!r} is not here: available are {available}") from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def resolve_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype | str:
    """The precision; "auto" is the checkpoint's own on a GPU and float32 elsewhere.

    Args:
        dtype: A type of torch, its name, or "auto".
        device: Where the model will run.

    Raises:
        ValueError: no floating-point type, or one that the device cannot compute in.
    """
    if dtype == "auto":
        return "auto" if device.type == "cuda" else torch.float32
    what = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(what, torch.dtype) or not what.is_floating_point:
        raise ValueError(f"unknown dtype {dtype!r}: choose 'auto', 'float32', 'bfloat16', 'float16' or 'float64'")
    try:
        square = torch.ones(2, 2, dtype=what, device=device)
        torch.nn.functional.layer_norm(square @ square, (2,)).softmax(dim=-1)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{device.type} cannot compute in {what}: choose 'float32'") from error
    return what


def places(device: torch.device, device_map: Any = None) -> list[torch.device]:
    """Where weights may go: the device, or those of transformers' `device_map`. None where the disk takes what is left.

    Raises:
        ValueError: a `device_map` of no kind, or with a device that is not here.
    """
    if device_map is None:
        return [device]
    given = list(device_map.values()) if isinstance(device_map, Mapping) else [device_map]
    if "disk" in given:
        return []
    if given[0] in SPREADING:
        spread = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
        return [*spread, torch.device("cpu")]
    try:
        named = [resolve_device(torch.device(one)) for one in given]
    except (RuntimeError, TypeError) as error:
        kinds = ", ".join(map(repr, SPREADING))
        raise ValueError(
            f"device_map is {device_map!r}: choose {kinds}, a device, or a mapping of modules to devices"
        ) from error
    return list(dict.fromkeys(named))


def weights_size(model_class: Any, config: Any, dtype: torch.dtype | str, bits: int | None = None) -> int:
    """Bytes that the weights of `config` take in `dtype`, counted without making them.

    With `bits` the linear layers but the unembedding are packed to so many bits and, in 4, a scale in float32 for every
    64 weights, as bitsandbytes does it.

    Args:
        model_class: The class that would hold them.
        config: Its configuration.
        dtype: The precision of the weights.
        bits: Bits of a packed weight; None is unpacked.
    """
    own = getattr(config, "dtype", None) or torch.float32
    what = own if dtype == "auto" else dtype
    width = (what if isinstance(what, torch.dtype) else getattr(torch, str(what))).itemsize
    with torch.device("meta"):
        model = model_class.from_config(config)
    size = width * sum(p.numel() for p in model.parameters())  # a tied weight is listed once
    if bits is None:
        return size
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear) or type(m).__name__ == "Conv1D"]
    packed = sum(m.weight.numel() for m in linear if m is not model.get_output_embeddings())
    return size - packed * width + packed * bits // 8 + (packed // 64 * 4 if bits == 4 else 0)


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on the device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def say_size(
    name: str, size: int, where: Sequence[torch.device], *, packable: bool = True, at_most: bool = False
) -> None:
    """Says on stderr what a large model will take, before it is taken.

    Args:
        name: What the model is called.
        size: Bytes.
        where: The devices over which its weights may be spread; none where the disk takes what is left.
        packable: Whether it could be quantised to take less.
        at_most: Whether it will take less, by how much is not known.

    Raises:
        ValueError: it is more than the devices have free.
    """
    free, devices = sum(map(free_memory, where)), " and ".join(map(str, where))
    if where and size > free and not at_most:
        less = ", quantization='8bit' or '4bit'" if packable else ""
        raise ValueError(
            f"{name} takes {size / 2**30:.1f} GiB and {devices} has {free / 2**30:.1f} GiB free: choose a smaller dtype"
            f" ('bfloat16'){less}, another device, or device_map='auto' over several"
        )
    if size >= REPORTED_FROM:
        most = "at most " if at_most else ""
        rest = f"{devices}, {free / 2**30:.1f} GiB free" if where else "the devices of device_map and the disk"
        print(f"{name}: {most}{size / 2**30:.1f} GiB of weights to {rest}", file=sys.stderr)
