"""What each block's attention and MLP write into the residual stream.

    resid_post(l) = resid_pre(l) + attention(l) + mlp(l)

holds for serial and for parallel blocks, and where a block norms what it writes (Gemma 2) these are the normed tensors.
Where it does not hold (a block that norms or scales its sum, as OPT-350m and Gemma 4 do) the view is refused: whether
it holds is measured at load.
Read only: the hook points here are not offered for editing.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.integers import WholeNumbers, whole_numbers
from steering_lab.models.tokens import Tokens

_WRITERS = ("hook_attn_out", "hook_mlp_out")


class BlockOutputs(NamedTuple):
    """One block in one pass: the stream it reads, what it writes, the stream it leaves.

    Both streams are read after any edit in force at them, so `resid_post` less the other three is what an edit of
    `resid_post` did, and `resid_pre` less the `resid_post` before it what an edit of `resid_pre` did.

    Args:
        resid_pre: The stream that the block reads.
        attention: What its attention writes.
        mlp: What its MLP writes.
        resid_post: The stream that it leaves.
    """

    resid_pre: Float[Tensor, "batch pos d_model"]
    attention: Float[Tensor, "batch pos d_model"]
    mlp: Float[Tensor, "batch pos d_model"]
    resid_post: Float[Tensor, "batch pos d_model"]


def exposes_block_outputs(model: HookedModel, layer: int) -> bool:
    """Whether block `layer` shows what its attention and its MLP write, and these sum to what it adds to the stream.

    Args:
        model: The model.
        layer: The block, from 0.
    """
    return "block outputs" not in model.refused and _shows(model, layer)


def _shows(model: HookedModel, layer: int) -> bool:
    return all(f"blocks.{layer}.{writer}" in model.backend.hook_dict for writer in _WRITERS)


def block_outputs(model: HookedModel, tokens: Tokens, layers: WholeNumbers | None = None) -> dict[int, BlockOutputs]:
    """Every block's outputs (or those of `layers`), from one pass under the edits in force.

    Padding positions hold meaningless values: use `tokens.mask`.

    Raises:
        ValueError: a layer outside the model, or an architecture that does not show attention and MLP apart or whose
            blocks are not their sum.
    """
    layers = list(range(model.n_layers)) if layers is None else whole_numbers(layers, "layers")
    sites = [site for layer in layers for site in (resid_pre(layer), resid_post(layer))]
    for site in sites:
        model.check_site(site)
    model.check_view("block outputs")
    if hidden := [layer for layer in layers if not exposes_block_outputs(model, layer)]:
        raise ValueError(
            f"block {hidden[0]} of {model.name} does not show what its attention and its MLP write"
            f" ({' and '.join(_WRITERS)}): only the stream itself can be read"
        )
    names = [f"blocks.{layer}.{writer}" for layer in layers for writer in _WRITERS]
    held = model.activations(tokens, [*names, *(site.name for site in sites)], max(layers) + 1)
    outputs = {}
    for layer in layers:
        attention, mlp = (held[f"blocks.{layer}.{writer}"] for writer in _WRITERS)
        outputs[layer] = BlockOutputs(held[resid_pre(layer).name], attention, mlp, held[resid_post(layer).name])
    return outputs


@torch.no_grad()
def measured_block_outputs(model: HookedModel, tokens: Tokens) -> float:
    """How far attention and MLP are from summing to what their block adds: the largest share of it that they leave out.

    From 0 on, beyond what rounding of the sum in the model's precision explains; 0 where no block shows them apart.

    Args:
        model: The model; its backend is run once for each block.
        tokens: What it reads.
    """
    shown = [layer for layer in range(model.n_layers) if _shows(model, layer)]
    shares = [0.0]
    for block in block_outputs(model, tokens, shown).values() if shown else []:
        pre, attention, mlp, post = (x.float() for x in block)
        rounding = 2 * torch.finfo(block.resid_post.dtype).eps * (pre.abs() + attention.abs() + mlp.abs() + post.abs())
        left_out = ((post - pre - attention - mlp).abs() - rounding).clamp(min=0)
        shares.append(float(left_out.norm() / (post - pre).norm().clamp(min=1e-30)))
    return max(shares)
