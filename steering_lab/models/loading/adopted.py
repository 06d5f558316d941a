"""TransformerLens objects that exist already, taken as they are."""

from typing import Any

import torch
from torch import Tensor

from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading.pretrained import display_name
from steering_lab.models.prefix import check_prefix
from steering_lab.models.stream_check import check_stream, measured_basis, probe_ids


def adopt(backend: Any, tokenizer: Any, prefix: str | None) -> HookedModel:
    """The object behind a `HookedModel`; only its parameters' gradients are switched off. Its basis is measured.

    Without a `prefix` it goes on doing what it did: its `default_prepend_bos` counts, where its tokenizer has a
    beginning-of-text token at all.

    Args:
        backend: A HookedTransformer or TransformerBridge in memory.
        tokenizer: Its own.
        prefix: What stands in front of a text.

    Raises:
        ValueError: a prefix that the tokenizer lacks, or hook points that do not show the stream (`check_stream`).
    """
    name = display_name(str(backend.cfg.model_name))
    own = check_prefix(tokenizer, prefix or _own_prefix(backend, tokenizer), name)
    backend.eval()
    for parameter in backend.parameters():
        parameter.requires_grad_(False)
    model = HookedModel(backend, tokenizer, name, weights=own_weights(backend), prefix=own)
    ids = probe_ids(tokenizer, model.d_vocab, model.device)
    model.basis = measured_basis(model, ids)
    check_stream(model, ids)
    model.settle()
    return model


_SPLIT = {"split_qkv_matrix": ("q", "k", "v"), "split_gate_up_matrix": ("gate", "in")}  # a bridge's, and its parts


def own_weights(backend: torch.nn.Module) -> list[Tensor]:
    """The backend's weights, without the copies that a bridge splits off a joint one (queries, keys and values; gate
    and up), so that they are those of the Hugging Face model. Parts that were changed since are weights of their own.
    """
    copies: set[int] = set()
    for module in backend.modules():
        for split, parts in _SPLIT.items():
            if hasattr(module, split):
                anew = getattr(module, split)(module.original_component)
                held = [getattr(module, part).original_component for part in parts]
                pairs = [(p, q) for old, new in zip(held, anew, strict=True) for p, q in _pairs(old, new)]
                if all(q is not None and torch.equal(p, q) for p, q in pairs):
                    copies |= {id(p) for p, _ in pairs}
    return [p for p in backend.parameters() if id(p) not in copies]


def _pairs(old: torch.nn.Module, new: torch.nn.Module) -> list[tuple[Tensor, Tensor | None]]:
    """Each parameter of `old` beside that of its name in `new`."""
    return [(p, dict(new.named_parameters()).get(name)) for name, p in old.named_parameters()]


def _own_prefix(backend: Any, tokenizer: Any) -> str:
    if tokenizer.bos_token_id is None:
        return "tokenizer"
    return "bos" if getattr(backend.cfg, "default_prepend_bos", True) else "none"
