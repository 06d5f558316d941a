"""A self-test at load: do this model's hook points show the residual stream, and does an edit there reach all of it?

Hook points wired to the wrong tensor are the commonest fault of hooked models, and they fail silently: the cache shows
an edit that the skip path never sees. Four short passes settle it for the model in hand. Two more
and two single steps, of a padded pair and of a row alone with a cache each, say which rows may share a pass.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from steering_lab.models.batching import measured_batching
from steering_lab.models.block_outputs import block_outputs, exposes_block_outputs
from steering_lab.models.hook_points import HookSite, resid_post, resid_pre
from steering_lab.models.hooked_model import Basis, ForwardPass, HookedModel, Tokens


class ReferenceStream(NamedTuple):
    """What plain Hugging Face computed before any wrapping: the stream entering each block, and the logits."""

    hidden_states: list[Float[Tensor, "batch pos d_model"]]
    logits: Float[Tensor, "batch pos d_vocab"]


def probe_ids(tokenizer: Any, d_vocab: int, device: torch.device) -> Int[Tensor, "1 pos"]:
    """A fixed short sequence of ordinary tokens, after the beginning-of-text token where there is one."""
    start = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]
    return torch.tensor([start + [(7919 * i + 17) % d_vocab for i in range(6)]], device=device)


@torch.no_grad()
def reference_stream(hf_model: Any, ids: Int[Tensor, "1 pos"]) -> ReferenceStream:
    """Stream and logits of an unwrapped Hugging Face model, less the last hidden state, which is normed already."""
    output = hf_model(ids, output_hidden_states=True, use_cache=False)
    return ReferenceStream(list(output.hidden_states[:-1]), output.logits)


@torch.no_grad()
def measured_basis(model: HookedModel, ids: Int[Tensor, "1 pos"]) -> Basis:
    """ "centred" when the stream has no mean component at any layer, as after TransformerLens's weight processing."""
    stream = model.residuals(_tokens(ids), model.sites())
    shares = [(x.float().mean(-1).abs() / x.float().std(-1)).max() for x in stream.values()]
    return "centred" if max(shares) < 1e-3 else "raw"


@torch.no_grad()
def check_stream(model: HookedModel, ids: Int[Tensor, "1 pos"], reference: ReferenceStream | None = None) -> None:
    """Nothing when every hook point is the residual stream; `model.batching` is measured then.

    Checks that each site fires once a pass, that `resid_post(l)` is `resid_pre(l+1)`, that both equal plain Hugging
    Face's stream and logits where a `reference` is given, and that a delta added at a middle `resid_pre` stands whole
    in `resid_post` beside what attention and MLP wrote: the additivity that `resid_mid` of a bridge lacks.

    Raises:
        ValueError: one of these does not hold; the message names the hook point and the size of the difference.
    """
    tolerance = 1e-4 if model.dtype in (torch.float32, torch.float64) else 0.05
    sites = [s for layer in range(model.n_layers) for s in (resid_pre(layer), resid_post(layer))]
    counts = dict.fromkeys(sites, 0)

    def counter(site: HookSite) -> Any:
        def count(resid: Tensor, told: ForwardPass) -> Tensor:
            counts[site] += 1
            return resid

        return count

    tokens = _tokens(ids)
    with model.hooks({site: counter(site) for site in sites}):
        logits = model.logits(tokens)
    for site, count in counts.items():
        if count != 1:
            raise ValueError(f"{model.name}: {site.name} fired {count} times in one pass, a stream's hook fires once")
    stream = model.residuals(tokens, sites)
    for layer in range(model.n_layers - 1):
        _same(model, stream[resid_post(layer)], stream[resid_pre(layer + 1)], f"resid_post({layer})", tolerance)
    if reference is not None:
        for layer, hidden in enumerate(reference.hidden_states):
            _same(model, stream[resid_pre(layer)], hidden, f"resid_pre({layer}) against Hugging Face", tolerance)
        _same(model, logits, reference.logits, "logits against Hugging Face", tolerance)
    _check_additivity(model, tokens, tolerance)
    model.batching = measured_batching(model, ids, logits, tolerance)


def _check_additivity(model: HookedModel, tokens: Tokens, tolerance: float) -> None:
    layer = model.n_layers // 2
    if not exposes_block_outputs(model, layer):
        return
    delta = torch.linspace(-1, 1, model.d_model, device=model.device, dtype=model.dtype)
    clean = model.residuals(tokens, [resid_pre(layer)])[resid_pre(layer)]
    with model.hooks({resid_pre(layer): lambda resid, told: resid + delta}):
        block = block_outputs(model, tokens, [layer])[layer]
    whole = clean + delta + block.attention + block.mlp
    _same(model, block.resid_post, whole, f"a delta added at resid_pre({layer})", tolerance)


def _same(model: HookedModel, got: Tensor, wanted: Tensor, what: str, tolerance: float) -> None:
    scale = max(1.0, float(wanted.float().abs().max()))
    gap = float((got.float() - wanted.float()).abs().max()) / scale
    if not gap <= tolerance:
        raise ValueError(
            f"{model.name}: hook points do not show the residual stream ({what}: relative difference {gap:.2g},"
            f" allowed {tolerance:g}); this architecture cannot be steered through this version of transformer_lens"
        )


def _tokens(ids: Int[Tensor, "1 pos"]) -> Tokens:
    mask = torch.ones_like(ids, dtype=torch.bool)
    return Tokens(ids, mask, mask.sum(dim=1))
