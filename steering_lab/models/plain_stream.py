"""What plain Hugging Face computes of a model before anything wraps it: its stream and logits, as it is and edited.

The edit adds to the stream at every block, by torch's own pre-hooks, about as much as is there. The sign turns from
block to block, so that the sums stay small and an edit that goes astray at one block is seen right behind it.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from steering_lab.models.refusal import refusal, refusing

Change = Callable[[Tensor], Tensor]


class PlainStream(NamedTuple):
    """The stream entering each block and the logits, of an unwrapped model; `deltas` were added where there are any."""

    entering: list[Float[Tensor, "batch pos d_model"]]
    logits: Float[Tensor, "batch pos d_vocab"]
    deltas: list[Float[Tensor, " d_model"]] | None = None


class PlainReference(NamedTuple):
    """The same passage as the model reads it (`clean`), and with a delta added at every block (`edited`)."""

    clean: PlainStream
    edited: PlainStream


def deltas_like(stream: Sequence[Float[Tensor, "batch pos d_model"]]) -> list[Float[Tensor, " d_model"]]:
    """One vector a block, as long as the stream there is on average (root mean square), its sign turning."""
    deltas = []
    for layer, resid in enumerate(stream):
        shape = torch.linspace(-1, 1, resid.shape[-1], device=resid.device) * 3**0.5  # root mean square 1
        size = resid.float().square().mean().sqrt()
        deltas.append((shape * size * (-1) ** layer).to(resid.dtype))
    return deltas


@torch.no_grad()
def reference_stream(hf_model: Any, ids: Int[Tensor, "1 pos"], name: str) -> PlainReference:
    """Two passes of an unwrapped Hugging Face model, as it is and with a delta added at every block.

    Args:
        hf_model: The model, which no bridge has wrapped.
        ids: What it reads, one row.
        name: The model, as an error names it.

    Raises:
        ModelRefused: its forward pass fails, it keeps no key-value cache, or no stack of blocks hands one stream on.
    """
    architecture = type(hf_model).__name__
    if "past_key_values" not in inspect.signature(hf_model.forward).parameters:
        raise refusal(
            name, architecture, "its forward pass takes no past_key_values, the key-value cache that generation needs"
        )
    with refusing(name, architecture, f"transformers {version('transformers')} fails in its own forward pass"):
        depth = int(hf_model.config.get_text_config().num_hidden_layers)
        for blocks in [[*m] for m in hf_model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == depth]:
            clean = _pass(hf_model, ids, blocks, [_as_it_is] * depth)
            if len(clean.entering) == depth and all(x.ndim == 3 and x.shape[:2] == ids.shape for x in clean.entering):
                deltas = deltas_like(clean.entering)
                edited = _pass(hf_model, ids, blocks, [partial(torch.add, delta) for delta in deltas])
                return PlainReference(clean, edited._replace(deltas=deltas))
    raise refusal(name, architecture, f"no stack of its {depth} blocks hands on one residual stream")


def _pass(hf_model: Any, ids: Tensor, blocks: Sequence[torch.nn.Module], changes: Sequence[Change]) -> PlainStream:
    """One pass under `changes`; what enters a block is kept as the block sees it, changed."""
    entering: list[Tensor] = []

    def kept(resid: Tensor, change: Change) -> Tensor:
        entering.append(change(resid))
        return entering[-1]

    with entering_blocks(blocks, [partial(kept, change=change) for change in changes]):
        logits = hf_model(ids, use_cache=False).logits
    return PlainStream(entering, logits)


def _as_it_is(resid: Tensor) -> Tensor:
    return resid


@contextmanager
def entering_blocks(blocks: Sequence[torch.nn.Module], changes: Sequence[Change]) -> Iterator[None]:
    """Each change applied to what enters its block, in front of any other pre-hook there, until the block ends.

    Args:
        blocks: The modules.
        changes: What is done to the stream in front of each block.
    """

    with ExitStack() as stack:
        for block, change in zip(blocks, changes, strict=False):
            handle = block.register_forward_pre_hook(entering(change), with_kwargs=True, prepend=True)
            stack.callback(handle.remove)
        yield


def entering(change: Callable[[Tensor], Tensor | None]) -> Any:
    """A forward pre-hook of a block, with kwargs: `change` of the stream that enters it, or None to leave it as it is.

    A block that is handed no stream is left alone.
    """

    def run(module: Any, args: tuple, kwargs: dict) -> Any:
        if args and torch.is_tensor(args[0]):
            changed = change(args[0])
            return None if changed is None else ((changed, *args[1:]), kwargs)
        if torch.is_tensor(kwargs.get("hidden_states")):
            changed = change(kwargs["hidden_states"])
            return None if changed is None else (args, kwargs | {"hidden_states": changed})
        return None

    return run


def leaving(change: Callable[[Tensor], Tensor | None]) -> Any:
    """A forward hook of a block: `change` of the stream that leaves it, or None to leave it as it is."""

    def run(module: Any, args: tuple, output: Any) -> Any:
        changed = change(output[0] if isinstance(output, tuple) else output)
        if changed is None or not isinstance(output, tuple):
            return changed
        return (changed, *output[1:])

    return run
