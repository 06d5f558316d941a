"""The final norm with its scale held still, which makes a logit difference a direction of the residual stream.

LayerNorm and RMSNorm are linear but for one number per token, their scale:

    norm(x) = A x / scale(x) + b,    logit(t) - logit(u) = r . x + constant,    r = A' (W_U[t] - W_U[u]) / scale(x)

A is measured by norming the unit vectors, so that no architecture's way of storing its weights need be known.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.models.hooked_model import HookedModel


class _Normed(NamedTuple):
    normed: Float[Tensor, "batch d_model"]
    scale: Float[Tensor, "batch 1"]


@torch.no_grad()
def logit_directions(
    model: HookedModel, resid: Float[Tensor, "batch d_model"], toward: Sequence[int], against: Sequence[int]
) -> Float[Tensor, "batch d_model"]:
    """Row by row the r of the module's docstring, in logits per unit of the residual stream, in float32.

    Frozen at the scale of `resid`, which stands behind the last block; `toward` and `against` are token ids. Logits are
    those before a final soft cap (Gemma 2): capping is not linear.

    Raises:
        ValueError: not one pair of tokens per row, or a token outside the vocabulary.
    """
    if not len(toward) == len(against) == len(resid):
        raise ValueError(f"{len(resid)} rows need as many tokens on both sides, not {len(toward)} and {len(against)}")
    if outside := [i for i in (*toward, *against) if not 0 <= i < model.d_vocab]:
        raise ValueError(f"token {outside[0]} is outside 0..{model.d_vocab - 1} of {model.name}")
    unembedding = model.backend.unembed.W_U.float()
    difference = (unembedding[:, list(toward)] - unembedding[:, list(against)]).T
    units = _normed(model, torch.eye(model.d_model, device=model.device))
    nothing = _normed(model, torch.zeros(1, model.d_model, device=model.device))
    linear = (units.normed - nothing.normed) * units.scale
    return difference @ linear.T / _normed(model, resid).scale


def _normed(model: HookedModel, resid: Float[Tensor, "batch d_model"]) -> _Normed:
    """What the final norm makes of `resid`, and the scale it divided by."""
    scales: list[Tensor] = []

    def read(scale: Tensor, hook: Any = None) -> None:
        scales.append(scale)

    with model.backend.hooks(fwd_hooks=[("ln_final.hook_scale", read)]):
        normed = model.backend.ln_final(resid[None].to(model.dtype))
    return _Normed(normed[0].float(), scales[0].reshape(-1, 1).float())
