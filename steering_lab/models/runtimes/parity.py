"""Whether plain modules do what the hooked model does: tried once, at load, on a few tokens.

A padded pair is read whole and, where a cache may stand for the tokens before, in two passes, with a delta in the
stream of every block; both runtimes read it under the same edits. Where their logits part by more than rounding, the
model has no plain runtime, and `refused` says so.
"""

from collections.abc import Iterator
from math import sqrt
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from steering_lab.models.batching import LengthDependence, read_in_turn
from steering_lab.models.hook_points import HookSite, resid_post
from steering_lab.models.hooked_model import HookedModel, StreamEdit
from steering_lab.models.plain_stream import deltas_like
from steering_lab.models.runtimes.plain import PlainRuntime
from steering_lab.models.tokens import Tokens

Attention = Literal["auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"]


def rounding(model: HookedModel) -> float:
    """The relative difference in the logits of `model` that the order of sums explains.

    1e-4 in float32 and float64: about ten times the most that was seen, a hundredth of what a wrong tensor makes. In
    half precision each of the 2 x n_layers additions to the stream is rounded both ways: 4 x eps x sqrt(2 x n_layers),
    eps = 2^-7 for bfloat16, 2^-10 for float16.
    """
    if model.dtype in (torch.float32, torch.float64):
        return 1e-4
    return 4 * torch.finfo(model.dtype).eps * sqrt(2 * model.n_layers)


@torch.no_grad()
def attach_plain(model: HookedModel, hf_model: Any, ids: Int[Tensor, "1 pos"], attention: Attention = "auto") -> None:
    """`model.plain` is `hf_model`, where it was seen to do what the hooked model does.

    Args:
        model: The model.
        hf_model: The plain Hugging Face model.
        ids: A text to compare the two on.
        attention: The implementation of attention; "auto" takes the fastest that agrees.

    Raises:
        ValueError: an `attention` asked for by name that the model does not have, or that does not agree.
    """
    model.settle()
    last = "it has none"
    for name in _attentions(hf_model) if attention == "auto" else [attention]:
        try:
            hf_model.set_attn_implementation(name)
            model.plain = PlainRuntime(hf_model, model.backend.adapter.component_mapping["blocks"].name)
            apart = _apart(model, ids)
        except Exception as error:  # whatever an implementation that does not fit runs into
            last = " ".join(str(error).split())
        else:
            if apart <= rounding(model):
                model.batching = model.batching.widened(LengthDependence.of(hf_model))
                return
            last = f"its logits are {apart:.2g} apart from TransformerLens's, allowed {rounding(model):.2g}"
    model.plain = None
    model.refused["plain runtime"] = last
    if attention != "auto":
        raise ValueError(f"attention {attention!r} does not run {model.name} ({type(hf_model).__name__}): {last}")


def _attentions(hf_model: Any) -> Iterator[str]:
    """The implementations to try. Scores that are capped are so in the eager one alone."""
    config = hf_model.config.get_text_config()
    if getattr(hf_model, "_supports_sdpa", False) and getattr(config, "attn_logit_softcapping", None) is None:
        yield "sdpa"
    yield "eager"


def _apart(model: HookedModel, ids: Int[Tensor, "1 pos"]) -> float:
    """The largest difference between the runtimes' logits at real tokens, relative to the largest logit."""
    row = ids[0].tolist()
    batches = [model.pad([row, row[: len(row) // 2 + 1]])] if model.batching.pads else [model.pad([row])]
    said = []
    with model.hooks(_deltas(model, batches[0])):
        for runtime in ("hooked", "plain"):
            with model.running(runtime):  # type: ignore[arg-type]
                read = [model.logits(tokens) for tokens in batches]
                if model.batching.caches:
                    read += read_in_turn(model, batches)
                said.append(torch.cat([logits[batches[0].mask].float() for logits in read]))
    hooked, plain = said
    return float((hooked - plain).abs().max() / hooked.abs().max().clamp(min=1e-30))


def _deltas(model: HookedModel, tokens: Tokens) -> dict[HookSite, StreamEdit]:
    """At the entrance of every block and behind the last, a vector as long as the stream there, its sign turning."""
    sites = [*model.sites(), resid_post(model.n_layers - 1)]
    stream = model.residuals(tokens, sites)

    def adding(delta: Tensor) -> StreamEdit:
        return lambda resid, forward_pass: resid + delta.to(resid.device)

    deltas = deltas_like([stream[site][tokens.mask][None] for site in sites])
    return {site: adding(delta) for site, delta in zip(sites, deltas, strict=True)}
