"""What a quantised weight stands for: its own count and precision, and the plain tensors that hold it.

bitsandbytes packs two 4-bit codes in a byte and keeps the scales of a weight beside it, on the parameter or, once the
8-bit layer has run, on the layer; torchao's weights are tensor subclasses around codes and scales. Every other weight
is what it is. Neither package is imported: their weights are known by what they hold.
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

COMPUTED_IN = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def _is_wrapper(weight: Any) -> bool:
    """Whether the weight is a tensor subclass around other tensors, as torchao's are."""
    return is_traceable_wrapper_subclass(weight)


def n_values(weight: Tensor) -> int:
    """How many numbers the weight stands for, packed or not."""
    state = getattr(weight, "quant_state", None)
    return weight.numel() if state is None else state.shape.numel()


def compute_dtype(weights: Iterable[Tensor]) -> torch.dtype:
    """The precision of the first weight that is kept as the model computes, never that of packed codes.

    Args:
        weights: In the order in which they are looked at.

    Raises:
        ValueError: no weight is kept so.
    """
    weights = list(weights)
    for weight in weights:
        if getattr(weight, "quant_state", None) is None and weight.dtype in COMPUTED_IN:
            return weight.dtype
    kinds = ", ".join(sorted({str(weight.dtype) for weight in weights}))
    raise ValueError(f"no weight of this model is kept in a precision that a stream can have, only {kinds or 'none'}")


def stored_parts(weight: Tensor) -> list[Tensor]:
    """The plain tensors that hold the weight: itself, or its codes and scales."""
    if _is_wrapper(weight):
        names, _ = weight.__tensor_flatten__()  # type: ignore[attr-defined]
        return [part for name in names for part in stored_parts(getattr(weight, name))]
    state = getattr(weight, "quant_state", None)
    scales = [] if state is None else [state.as_dict(packed=True)]
    return [weight.detach(), *(value for packed in scales for value in packed.values() if torch.is_tensor(value))]


def row_scales(modules: Iterable[torch.nn.Module]) -> list[Tensor]:
    """The scales of bitsandbytes' 8-bit `modules`, on the weight until the layer has run, then on the layer."""
    found = []
    for module in modules:
        for holder in (module._parameters.get("weight"), getattr(module, "state", None)):
            scale = getattr(holder, "SCB", None)
            if torch.is_tensor(scale):
                found.append(scale)
    return found


def said_of(weights: Iterable[Tensor]) -> str | None:
    """Which weights are quantised in memory, in words; None where none is."""
    for weight in weights:
        if getattr(weight, "quant_state", None) is not None:
            return "quantised to 4 bits (bitsandbytes)"
        if hasattr(weight, "SCB") and weight.dtype == torch.int8:
            return "quantised to 8 bits (bitsandbytes)"
        if _is_wrapper(weight):
            return f"quantised ({type(weight).__module__.split('.')[0]} {type(weight.data).__name__})"
    return None


def sharing_parameters(hf_model: torch.nn.Module) -> dict[int, Any]:
    """A memo for `copy.deepcopy` under which the copy has its own parameters around the same memory, scales included.

    A quantised parameter keeps its class and what it carries; it may not be the caller's own, since a first pass takes
    the scales off it.

    Args:
        hf_model: The model whose parameters are shared.
    """
    memo: dict[int, Any] = {}
    carrying: list[tuple[torch.nn.Parameter, torch.nn.Parameter]] = []
    for parameter in hf_model.parameters():
        twin = memo[id(parameter)] = _twin(parameter)
        if vars(parameter) and not _is_wrapper(parameter):
            carrying.append((parameter, twin))
    holders = [getattr(m, name, None) for m in hf_model.modules() for name in ("state", "quant_state")]
    for holder in [*holders, *(parameter for parameter, _ in carrying)]:
        memo |= {id(tensor): tensor for tensor in _tensors_on(holder)}
    for parameter, own in carrying:
        vars(own).update({name: copy.deepcopy(value, memo) for name, value in vars(parameter).items()})
    return memo


def _twin(parameter: torch.nn.Parameter) -> torch.nn.Parameter:
    if _is_wrapper(parameter):
        return torch.nn.Parameter(parameter.data, requires_grad=False)
    return torch.Tensor._make_subclass(type(parameter), parameter.data, False)  # type: ignore[attr-defined]


def _tensors_on(holder: Any) -> list[Tensor]:
    """The tensors among an object's attributes, and among those of the quantisation states that it nests."""
    found = []
    for value in getattr(holder, "__dict__", {}).values():
        if torch.is_tensor(value):
            found.append(value)
        elif type(value).__name__ == "QuantState":
            found += _tensors_on(value)
    return found
