"""A plain Hugging Face model made a `HookedModel`: bridged, frozen, its hook points checked against the original."""

import copy
from typing import Any

from steering_lab.models.bridging import boot_transformers
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading.sources import Opened
from steering_lab.models.prefix import check_prefix, prefix_ids
from steering_lab.models.quantised_weights import compute_dtype, said_of, sharing_parameters
from steering_lab.models.runtimes.parity import Attention, attach_plain
from steering_lab.models.stream_check import check_stream, probe_ids, reference_stream


def boot(opened: Opened, prefix: str, attention: Attention = "auto") -> HookedModel:
    """The model in its own weights and basis, by a TransformerBridge and by plain modules beside it.

    Args:
        opened: Configuration, weights and tokenizer.
        prefix: What stands in front of a text.
        attention: How the plain modules attend; "auto" is what transformers takes by itself.

    Raises:
        ValueError: a prefix that the tokenizer lacks, an architecture that TransformerLens does not run, or hook points
            that do not show the stream (`check_stream`), or an attention that the plain modules do not have.
    """
    name, tokenizer = opened.name, opened.tokenizer
    check_prefix(tokenizer, prefix, name)
    hf_model = opened.hf_model.eval().requires_grad_(False)
    hf_model.set_attn_implementation("eager")
    weight = next(hf_model.parameters())
    ids = probe_ids(tokenizer, hf_model.config.get_text_config().vocab_size, weight.device)
    reference, weights = reference_stream(hf_model, ids, name), list(hf_model.parameters())
    quantisation = opened.quantisation or said_of(weights)
    spread = getattr(hf_model, "hf_device_map", None) and len(set(hf_model.hf_device_map.values())) > 1
    plain = sharing_copy(hf_model)
    bridge = boot_transformers(
        name,
        hf_model=hf_model,
        tokenizer=_as_it_is(tokenizer),
        device=None if spread else str(weight.device),
        dtype=compute_dtype(weights),
    )
    bridge.cfg.default_prepend_bos = bool(prefix_ids(tokenizer, prefix))  # what its own `to_tokens` does
    model = HookedModel(bridge, copy.deepcopy(tokenizer), name, "raw", opened.revision, weights, prefix, quantisation)
    for parameter in bridge.parameters():
        parameter.requires_grad_(False)
    check_stream(model, ids, reference)
    attach_plain(model, plain, ids, attention)
    return model


def _as_it_is(tokenizer: Any) -> Any:
    """A copy that TransformerLens uses as it is; unmarked, it would be read anew from the name it came from."""
    own = copy.deepcopy(tokenizer)
    own.init_kwargs = {"name_or_path": ""} | own.init_kwargs | {"add_bos_token": True}
    return own


def sharing_copy(hf_model: Any) -> Any:
    """A copy of `hf_model` with its own modules around the same weights: booting a bridge rewires what it is given."""
    memo = sharing_parameters(hf_model) | {id(buffer): buffer for buffer in hf_model.buffers()}
    return copy.deepcopy(hf_model, memo)
