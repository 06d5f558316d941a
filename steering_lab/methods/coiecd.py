"""COIECD: contrast context against memory only where the context stream hesitates.

With p2 = log p(y | context, question), p1 = log p(y | question) and the constraint set C

    near(y) = p2(y) > max p2 + log lam     far(y) = p2(y) < min p2 - log lam
    C       = near or far, or far alone where near holds a single token
    out(y)  = (p2 if y in C else p1) + alpha (p2 - p1)

Yuan et al. 2024, arXiv:2402.11893, as released (lam = 0.25 is their threshold ratio 4). There the set is written with
s = log_softmax(-p2 - H), H the closed-book entropy: s < min s - log lam and s > max s + log lam. H cancels inside the
softmax, which leaves these bounds on p2. So with alpha = 1 the likeliest tokens get CAD's score when several are within
a factor 1/lam of the top, every other plausible token plain p2, and a confident context stream decodes plainly. The
text of the paper speaks of an entropy shift; this follows the code.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from steering_lab.numerics.log_probs import to_log_probs


@dataclass(frozen=True)
class COIECD:
    """The rule as a `LogitsRule`.

    Raises:
        ValueError: `alpha` is negative, or `lam` outside (0, 1).
    """

    alpha: float = 1.0
    lam: float = 0.25

    def __post_init__(self) -> None:
        if not self.alpha >= 0:
            raise ValueError(f"alpha is {self.alpha}: it must be 0 or more")
        if not 0 < self.lam < 1:
            raise ValueError(f"lam is {self.lam}: it must lie between 0 and 1")

    def __call__(
        self, with_context: Float[Tensor, "batch d_vocab"], without_context: Float[Tensor, "batch d_vocab"]
    ) -> Float[Tensor, "batch d_vocab"]:
        """Scores whose softmax is the next-token distribution."""
        context = to_log_probs(with_context)
        prior = to_log_probs(without_context)
        kept = torch.where(constraint_set(context, self.lam), context, prior)
        shift = torch.nan_to_num(context - prior, nan=0.0, posinf=0.0, neginf=0.0)
        return kept + self.alpha * shift


def constraint_set(context: Float[Tensor, "batch d_vocab"], lam: float) -> Bool[Tensor, "batch d_vocab"]:
    """True for the tokens that keep the context stream's log-probability before the contrast is added.

    Args:
        context: Log-probabilities with the context.
        lam: In (0, 1]: the smaller, the more tokens are kept.
    """
    near = context > context.amax(dim=-1, keepdim=True) + math.log(lam)
    far = context < context.amin(dim=-1, keepdim=True) - math.log(lam)
    return (near & (near.sum(dim=-1, keepdim=True) > 1)) | far
