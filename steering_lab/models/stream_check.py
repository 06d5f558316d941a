"""A self-test at load: do this model's hook points show the residual stream, and does an edit there reach all of it?

Hook points wired to the wrong tensor are the commonest fault of hooked models, and they fail silently: the cache shows
an edit that the skip path never sees. A few short passes settle it for the model in hand. They also measure what the
views rest on: the scale of the output, and whether attention and MLP outputs sum. A view that does not hold is refused,
not the model. Two more passes and two single steps, of a padded pair and of a row alone with a cache each, say which
rows may share a pass.
"""

from functools import partial
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from steering_lab.models.batching import measured_batching
from steering_lab.models.block_outputs import measured_block_outputs
from steering_lab.models.hook_points import HookSite, resid_post, resid_pre
from steering_lab.models.hooked_model import Basis, HookedModel
from steering_lab.models.output_scale import OutputScale, fitted_output_scale
from steering_lab.models.plain_stream import PlainReference, deltas_like, entering_blocks, reference_stream
from steering_lab.models.refusal import refusal, refusing, transformer_lens_version
from steering_lab.models.tokens import ForwardPass, Tokens

__all__ = ["check_stream", "measured_basis", "probe_ids", "reference_stream"]


def probe_ids(tokenizer: Any, d_vocab: int, device: torch.device) -> Int[Tensor, "1 pos"]:
    """A fixed short sequence of ordinary tokens, after the beginning-of-text token where there is one.

    Args:
        tokenizer: Whose beginning-of-text token stands in front.
        d_vocab: Ids are taken from below it.
        device: Where the ids are put.
    """
    start = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]
    return torch.tensor([start + [(7919 * i + 17) % d_vocab for i in range(6)]], device=device)


@torch.no_grad()
def measured_basis(model: HookedModel, ids: Int[Tensor, "1 pos"]) -> Basis:
    """The basis of the stream of `model` on `ids`: "centred" where no layer has a mean component, else "raw"."""
    stream = model.residuals(_tokens(ids), model.sites())
    shares = [(x.float().mean(-1).abs() / x.float().std(-1)).max() for x in stream.values()]
    return "centred" if max(shares) < 1e-3 else "raw"


@torch.no_grad()
def check_stream(model: HookedModel, ids: Int[Tensor, "1 pos"], reference: PlainReference | None = None) -> None:
    """The model's output scale, refused views and batching are set, when every hook point is the residual stream.

    Checks that each site fires once a pass, that `resid_post(l)` is `resid_pre(l+1)`, that both equal plain Hugging
    Face's stream and logits where a `reference` is given, and that a delta added at `resid_pre` acts as one added to
    what enters the block: in plain Hugging Face with a `reference`, in the backend's own blocks without.

    Args:
        model: The model that was booted.
        ids: What is read, one row.
        reference: Plain Hugging Face's stream on the same ids.

    Raises:
        ModelRefused: one of these does not hold; the message names the hook point and the size of the difference.
    """
    with refusing(model.name, model.architecture, f"{transformer_lens_version()} fails in a pass through it"):
        _check_stream(model, _tokens(ids), reference)


def _check_stream(model: HookedModel, tokens: Tokens, reference: PlainReference | None) -> None:
    stream, logits = _stream_and_logits(model, tokens)
    for layer in range(model.n_layers - 1):
        _same(model, stream[resid_post(layer)], stream[resid_pre(layer + 1)], f"resid_post({layer})")
    if reference is not None:
        for layer, hidden in enumerate(reference.clean.entering):
            _same(model, stream[resid_pre(layer)], hidden, f"resid_pre({layer}) against Hugging Face")
        _same(model, logits, reference.clean.logits, "logits against Hugging Face")
    _check_edits(model, tokens, [stream[site] for site in model.sites()], reference)
    measure_views(model, tokens, logits, stream[resid_post(model.n_layers - 1)])
    model.batching = measured_batching(model, tokens.ids, logits, 1e-4 if _is_wide(model) else 0.05)


def _stream_and_logits(model: HookedModel, tokens: Tokens) -> tuple[dict[HookSite, Tensor], Tensor]:
    """What one pass under the edits in force shows at every site, and its logits. Every site fires once.

    Raises:
        ModelRefused: a site fires never or more than once.
    """
    seen: dict[HookSite, list[Tensor]] = {
        site: [] for layer in range(model.n_layers) for site in (resid_pre(layer), resid_post(layer))
    }

    def kept(resid: Tensor, forward_pass: ForwardPass, site: HookSite) -> Tensor:
        seen[site].append(resid)
        return resid

    with model.hooks({site: partial(kept, site=site) for site in seen}):
        logits = model.logits(tokens)
    for site, fired in seen.items():
        if len(fired) != 1:
            reason = f"{site.name} fired {len(fired)} times in one pass, a stream's hook fires once"
            raise refusal(model.name, model.architecture, f"in {transformer_lens_version()} {reason}")
    return {site: resid for site, (resid,) in seen.items()}, logits


def _check_edits(model: HookedModel, tokens: Tokens, clean: list[Tensor], reference: PlainReference | None) -> None:
    """A delta at every `resid_pre` acts as the same delta added to what enters each block."""
    deltas = deltas_like(clean) if reference is None else reference.edited.deltas or []

    def added(resid: Tensor, forward_pass: ForwardPass, layer: int) -> Tensor:
        return resid + deltas[layer].to(resid.device)

    with model.hooks({resid_pre(layer): partial(added, layer=layer) for layer in range(model.n_layers)}):
        ours, logits = _stream_and_logits(model, tokens)
    if reference is None:
        with entering_blocks([*model.backend.blocks], [partial(torch.add, delta) for delta in deltas]):
            stream, output = _stream_and_logits(model, tokens)
        entering = [stream[site] for site in model.sites()]
    else:
        entering, output = reference.edited.entering, reference.edited.logits
    for layer in range(model.n_layers - 1):  # what enters the next block is seen with that block's own delta on it
        behind = entering[layer + 1] - deltas[layer + 1].to(entering[layer + 1].device)
        _same(model, ours[resid_post(layer)], behind, f"a delta added at resid_pre({layer})", typical=True)
    _same(model, logits, output, f"a delta added at resid_pre({model.n_layers - 1})", typical=True)


def measure_views(model: HookedModel, tokens: Tokens, logits: Tensor, last: Tensor) -> None:
    """`model.output_scale` and `model.refused` are what these tokens show.

    `logits` are the model's own and `last` the stream behind its last block. The lens is offered where one positive
    factor, under the soft cap that the configuration names, makes the unembedding of `last` those logits; block outputs
    where attention and MLP sum to what each block adds.

    Args:
        model: The model.
        tokens: A text.
        logits: The model's own logits of it.
        last: The stream behind its last block.
    """
    exact = 1e-5 if _is_wide(model) else 0.02
    found = None
    for cap in (*_declared_caps(model), None):
        found = found or fitted_output_scale(model.unembedded(last), logits, cap, exact)
    model.output_scale = found or OutputScale()
    if found is None:
        model.refused["lens"] = (
            "its output is not its final norm and unembedding of the last stream, but for one factor: the logit lens,"
            " the direct path and the decomposition of logits are not offered; reading and steering the stream,"
            " generation and evaluation are"
        )
    left_out = measured_block_outputs(model, tokens)
    if not left_out <= 1e-3:
        model.refused["block outputs"] = (
            "what its attention and MLP write does not sum to what its blocks add to the stream (relative difference"
            f" {left_out:.2g}), as where a block norms its sum or has a third part: decompositions into attention and"
            " MLP and the direct path are not offered; reading and steering the stream, the logit lens and generation"
            " are"
        )


def _declared_caps(model: HookedModel) -> list[float]:
    """The soft caps of the output that the model's configurations name."""
    named = [getattr(model.backend.cfg, "output_logits_soft_cap", None)]
    hf_model = getattr(model.backend, "original_model", None)
    if hf_model is not None:
        named.append(getattr(hf_model.config.get_text_config(), "final_logit_softcapping", None))
    return [float(cap) for cap in named if cap is not None and cap > 0]


def _is_wide(model: HookedModel) -> bool:
    return model.dtype in (torch.float32, torch.float64)


def _same(model: HookedModel, got: Tensor, wanted: Tensor, what: str, typical: bool = False) -> None:
    """Nothing when both are the same to the model's precision: their largest entries, or with `typical` their root
    mean squares, in which a delta counts although a few entries of the stream are far larger.
    """
    tolerance = 1e-4 if _is_wide(model) else (0.2 if typical else 0.05)
    if got.shape != wanted.shape:
        gap = float("inf")
    elif typical:
        wanted = wanted.to(got.device).float()
        gap = float((got.float() - wanted).norm() / wanted.norm().clamp(min=1e-30))
    else:
        wanted = wanted.to(got.device).float()
        gap = float((got.float() - wanted).abs().max()) / max(1.0, float(wanted.abs().max()))
    if not gap <= tolerance:
        reason = (
            f"in {transformer_lens_version()} its hook points do not show the residual stream ({what}: relative"
            f" difference {gap:.2g}, allowed {tolerance:g})"
        )
        raise refusal(model.name, model.architecture, reason)


def _tokens(ids: Int[Tensor, "1 pos"]) -> Tokens:
    mask = torch.ones_like(ids, dtype=torch.bool)
    return Tokens(ids, mask, mask.sum(dim=1))
