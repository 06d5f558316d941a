"""The final norm with its scale held still, which makes a logit difference a direction of the residual stream.

LayerNorm and RMSNorm are linear but for one number per token, their scale:

    norm(x) = A x / scale(x) + b,    logit(t) - logit(u) = r . x + constant,    r = A' (W_U[t] - W_U[u]) / scale(x)

A is measured by norming the unit vectors, so that no architecture's way of storing its weights need be known; all of
them have one scale, which stays in A, and scale(x) is measured in it: A x beside norm(x) - b. Where there is no final
norm A is the projection in front of the unembedding, or nothing. W_U carries the model's output scale.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.models.hooked_model import HookedModel


@torch.no_grad()
def logit_directions(
    model: HookedModel, resid: Float[Tensor, "batch d_model"], toward: Sequence[int], against: Sequence[int]
) -> Float[Tensor, "batch d_model"]:
    """Row by row the r of the module's docstring, in logits per unit of the residual stream, in float32.

    Frozen at the scale of `resid`, which stands behind the last block; `toward` and `against` are token ids. Logits are
    those before a final soft cap (Gemma 2): capping is not linear.

    Args:
        model: The model.
        resid: The stream behind the last block, a row for each prompt.
        toward: Ids of the tokens whose logit counts.
        against: Ids of the tokens whose logit is taken off.

    Raises:
        ValueError: not one pair of tokens per row, a token outside the vocabulary, or a model whose output does not
            follow from its last stream by norm and unembedding, or whose final norm is not linear but for its scale.
    """
    model.check_view("lens")
    if not len(toward) == len(against) == len(resid):
        raise ValueError(f"{len(resid)} rows need as many tokens on both sides, not {len(toward)} and {len(against)}")
    if outside := [i for i in (*toward, *against) if not 0 <= i < model.d_vocab]:
        raise ValueError(f"token {outside[0]} is outside 0..{model.d_vocab - 1} of {model.name}")
    unembedding = model.backend.unembed.W_U
    difference = (unembedding[:, list(toward)].float() - unembedding[:, list(against)].float()).T
    offset = model.normed(torch.zeros(model.d_model, device=model.device)).float()
    linear = model.normed(torch.eye(model.d_model, device=model.device)).float() - offset
    scale = _scale(model, resid.float() @ linear, model.normed(resid).float() - offset)
    return model.output_scale.scaled(difference @ linear.T / scale)


def _scale(
    model: HookedModel, linear: Float[Tensor, "batch d_read"], normed: Float[Tensor, "batch d_read"]
) -> Float[Tensor, "batch 1"]:
    """The number that each row of `linear` was divided by."""
    scale = (linear * linear).sum(-1, keepdim=True) / (linear * normed).sum(-1, keepdim=True)
    gap = float((linear / scale - normed).norm() / normed.norm())
    if not gap <= (1e-3 if model.dtype in (torch.float32, torch.float64) else 0.05):
        raise ValueError(
            f"the final norm of {model.name} ({model.architecture}) is not linear but for one scale per token (relative"
            f" difference {gap:.2g}): a logit difference is no direction of its stream; the logit lens is offered"
        )
    return scale
