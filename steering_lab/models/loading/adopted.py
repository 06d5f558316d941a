"""TransformerLens objects that exist already, taken as they are."""

from typing import Any

from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading.pretrained import display_name
from steering_lab.models.prefix import Prefix, check_prefix
from steering_lab.models.stream_check import check_stream, measured_basis, probe_ids


def adopt(backend: Any, tokenizer: Any, prefix: Prefix | None) -> HookedModel:
    """The object behind a `HookedModel`; only its parameters' gradients are switched off. Its basis is measured.

    Without a `prefix` it goes on doing what it did: its `default_prepend_bos` counts, where its tokenizer has a
    beginning-of-text token at all.

    Raises:
        ValueError: a prefix that the tokenizer lacks, or hook points that do not show the stream (`check_stream`).
    """
    name = display_name(str(backend.cfg.model_name))
    own = check_prefix(tokenizer, prefix or _own_prefix(backend, tokenizer), name)
    backend.eval()
    for parameter in backend.parameters():
        parameter.requires_grad_(False)
    model = HookedModel(backend, tokenizer, name, prefix=own)
    ids = probe_ids(tokenizer, model.d_vocab, model.device)
    model.basis = measured_basis(model, ids)
    check_stream(model, ids)
    return model


def _own_prefix(backend: Any, tokenizer: Any) -> Prefix:
    if tokenizer.bos_token_id is None:
        return "tokenizer"
    return "bos" if getattr(backend.cfg, "default_prepend_bos", True) else "none"
