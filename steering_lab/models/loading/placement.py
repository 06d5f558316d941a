"""Where a model's weights are put, in which precision, and how much memory that takes."""

import sys
from typing import Any

import torch

TOLD_FROM = 2**30  # bytes: smaller models are loaded without a word


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


def weights_size(model_class: Any, config: Any, dtype: torch.dtype | str) -> int:
    """Bytes that the weights of `config` take in `dtype`, counted without making them."""
    own = getattr(config, "dtype", None) or torch.float32
    what = own if dtype == "auto" else dtype
    with torch.device("meta"):
        model = model_class.from_config(config)
    n_parameters = sum(p.numel() for p in model.parameters())  # a tied weight is listed once
    return n_parameters * (what if isinstance(what, torch.dtype) else getattr(torch, str(what))).itemsize


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on the device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def say_size(name: str, size: int, device: torch.device) -> None:
    """Says on stderr what a large model will take, before it is taken.

    Raises:
        ValueError: it is more than the device has free.
    """
    free = free_memory(device)
    if size > free:
        raise ValueError(
            f"{name} takes {size / 2**30:.1f} GiB and {device} has {free / 2**30:.1f} GiB free: choose a smaller dtype"
            " ('bfloat16'), quantization='8bit' or '4bit', another device, or device_map='auto' over several"
        )
    if size >= TOLD_FROM:
        print(f"{name}: {size / 2**30:.1f} GiB of weights to {device}, {free / 2**30:.1f} GiB free", file=sys.stderr)
