"""Plain Hugging Face as the oracle: the same weights in modules that nothing wraps, read and edited by torch's hooks.

Knows nothing of TransformerLens's hook points: blocks are reached through Hugging Face's own module tree.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from steering_lab.models.hook_points import HookSite, resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading.boot import sharing_copy
from steering_lab.models.plain_stream import entering_blocks, leaving


class PlainPass(NamedTuple):
    """What plain Hugging Face computed: the stream before and after each block, and the logits."""

    stream: dict[HookSite, Float[Tensor, "batch pos d_model"]]
    logits: Float[Tensor, "batch pos d_vocab"]


def plain_model(model: HookedModel) -> Any | None:
    """Unwrapped Hugging Face modules around the model's own weights, without a copy; None where there are none.

    Attention is eager, as TransformerLens runs it. A TransformerLens object that its owner made has none: its weights
    may have been processed.
    """
    if model.plain is None:
        return None
    plain = sharing_copy(model.plain.hf_model)
    plain.set_attn_implementation("eager")
    return plain


def plain_blocks(model: HookedModel, plain: Any) -> torch.nn.ModuleList:
    """The transformer blocks of `plain`, the Hugging Face modules of `model`, in order."""
    path = model.backend.adapter.component_mapping["blocks"].name
    return plain.get_submodule(path)


@torch.no_grad()
def plain_pass(
    model: HookedModel,
    plain: Any,
    ids: Int[Tensor, "1 pos"],
    edit: tuple[HookSite, Callable[[Tensor], Tensor]] | None = None,
) -> PlainPass:
    """One uncached pass of one unpadded sequence, with an edit of the stream at one site or without.

    Args:
        model: The model.
        plain: The plain Hugging Face model.
        ids: Ids of the tokens that are read.
        edit: A site and the edit of the stream there; None is no edit.
    """
    seen: dict[HookSite, Tensor] = {}
    with _reading(plain_blocks(model, plain), seen, edit):
        logits = plain(ids, use_cache=False).logits
    return PlainPass(seen, logits)


@contextmanager
def _reading(
    blocks: torch.nn.ModuleList, seen: dict[HookSite, Tensor], edit: tuple[HookSite, Callable[[Tensor], Tensor]] | None
) -> Iterator[None]:
    def see(site: HookSite, resid: Tensor) -> Tensor:
        seen[site] = edit[1](resid) if edit is not None and edit[0] == site else resid
        return seen[site]

    entering = [partial(see, resid_pre(layer)) for layer in range(len(blocks))]
    with entering_blocks([*blocks], entering), ExitStack() as stack:
        for layer, block in enumerate(blocks):
            handle = block.register_forward_hook(leaving(partial(see, resid_post(layer))))
            stack.callback(handle.remove)
        yield


@torch.no_grad()
def plain_greedy(plain: Any, ids: Int[Tensor, "1 pos"], new: int, *, use_cache: bool = True) -> list[int]:
    """The `new` token ids that Hugging Face's own `generate` continues with, greedily and past any end of text.

    Without the checkpoint's own generation settings, whose penalties would make another text than the best tokens.

    Args:
        plain: The plain Hugging Face model.
        ids: Ids of the tokens that are read.
        new: How many tokens are written.
        use_cache: Whether keys and values are kept from step to step.
    """
    from transformers import GenerationConfig

    own, plain.generation_config = plain.generation_config, GenerationConfig(pad_token_id=0)
    try:
        how: dict[str, Any] = {"do_sample": False, "max_new_tokens": new, "use_cache": use_cache}
        output = plain.generate(ids, attention_mask=torch.ones_like(ids), **how)
    finally:
        plain.generation_config = own
    return output[0, ids.shape[1] :].tolist()
