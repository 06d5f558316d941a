"""CAD, context-aware decoding: amplify what the context changes in the next-token distribution.

    logits(y) = (1 + alpha) log p(y | context, question) - alpha log p(y | question)

Shi et al. 2023, "Trusting Your Evidence: Hallucinate Less with Context-aware Decoding", arXiv:2305.14739, section 2;
the authors use alpha = 1 for questions with conflicting context and 0.5 for summaries. Two forward passes per token.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.numerics.log_probs import to_log_probs


@dataclass(frozen=True)
class CAD:
    """The rule as a `LogitsRule`; `alpha=0` is plain decoding. Raw logits and log-probabilities give the same result.

    Raises:
        ValueError: `alpha` is negative.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not self.alpha >= 0:
            raise ValueError(f"alpha is {self.alpha}: it must be 0 (plain decoding) or more")

    def __call__(
        self, with_context: Float[Tensor, "batch d_vocab"], without_context: Float[Tensor, "batch d_vocab"]
    ) -> Float[Tensor, "batch d_vocab"]:
        """Scores whose softmax is the next-token distribution; with -inf where the context stream says impossible."""
        context = to_log_probs(with_context)
        prior = to_log_probs(without_context)
        shift = torch.nan_to_num(context - prior, nan=0.0, posinf=0.0, neginf=0.0)  # tokens that a stream rules out
        return context + self.alpha * shift if self.alpha else context
