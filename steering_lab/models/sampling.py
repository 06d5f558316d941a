"""How the next token is drawn from logits: penalties, temperature, top-k and nucleus, by inverting the distribution.

Float32 throughout, as logits are. A token is where the cumulative distribution of those that may be drawn, in the
vocabulary's order, first exceeds u times its total, u uniform in [0, 1). In the order of probability, two tokens as
likely as rounding can tell would change places, and the draw with them. u comes from a generator of each row's own, so
that a row draws the same token whatever stands beside it.
"""

from dataclasses import dataclass
from math import isfinite

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from steering_lab.models.integers import Whole, whole_number

COLDEST = 1e-30  # above 0: divided by less, float32 logits are infinite
NO_TOKEN = -1  # stands among what was drawn where there was nothing to draw from


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn; `temperature=0` is greedy.

    In TransformerLens's order and meaning: logits / temperature, minus `freq_penalty` x how often the token already
    stands in prompt and continuation (beginning-of-text token included), then the `top_k` best, then the smallest set
    with probability >= `top_p`. Turner et al. 2023 (arXiv:2308.10248, appendix C) used temperature 1, top_p 0.3,
    freq_penalty 1. `repetition_penalty` is Hugging Face's (Keskar et al. 2019, arXiv:1909.05858) and comes before the
    temperature: the logit of a token that stands in prompt or continuation is divided by it where positive, multiplied
    where negative; 1 changes nothing. Padding counts for neither penalty.

    Args:
        temperature: What logits are divided by; 0 is greedy.
        top_k: Draw from so many of the best; None is all.
        top_p: Then from the smallest set with at least this probability.
        freq_penalty: Taken off a logit for every time the token stands in the text already.
        repetition_penalty: Divides the logit of a token that stands in the text where positive, multiplies it where
            negative; 1 changes nothing.

    Raises:
        ValueError: a value outside its range.
    """

    temperature: float = 1.0
    top_k: Whole | None = None
    top_p: float = 1.0
    freq_penalty: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not (self.temperature == 0 or COLDEST <= self.temperature <= 1 / COLDEST):
            raise ValueError(
                f"temperature is {self.temperature}: it must be 0 (greedy) or more, at least {COLDEST:g} and finite"
            )
        if self.top_k is not None:
            object.__setattr__(self, "top_k", whole_number(self.top_k, "top_k"))
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k is {self.top_k}: it must be 1 or more, or None")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}: it must lie in (0, 1]")
        if not isfinite(self.freq_penalty):
            raise ValueError(f"freq_penalty is {self.freq_penalty}: it must be finite")
        if not (isfinite(self.repetition_penalty) and self.repetition_penalty > 0):
            raise ValueError(f"repetition_penalty is {self.repetition_penalty}: it must be finite and above 0")

    @property
    def counts_tokens(self) -> bool:
        """Whether the next token depends on which tokens have been there."""
        return bool(self.freq_penalty) or self.repetition_penalty != 1


GREEDY = Sampling(temperature=0.0)


def draw(
    logits: Float[Tensor, "batch d_vocab"],
    sampling: Sampling,
    uniforms: Float[Tensor, " batch"],
    counts: Float[Tensor, "batch d_vocab"] | None = None,
) -> Int[Tensor, " batch"]:
    """One token per row: the best where sampling is greedy, else the cumulative distribution inverted at `uniforms`.

    Unlike TransformerLens, a frequency penalty counts under greedy decoding too, since no option may be ignored.
    `counts` says how often each token stands in prompt and continuation; without it there is no penalty.

    Args:
        logits: Of the next token.
        sampling: How tokens are drawn.
        uniforms: A number in [0, 1) for each row.
        counts: How often each token stands in prompt and continuation; None is no penalty.
    """
    if counts is not None and sampling.repetition_penalty != 1:
        penalty = sampling.repetition_penalty
        logits = torch.where(counts > 0, torch.where(logits > 0, logits / penalty, logits * penalty), logits)
    if sampling.temperature > 0:
        logits = logits / sampling.temperature
    if counts is not None:
        logits = logits - sampling.freq_penalty * counts
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = torch.softmax(logits, dim=-1)
    if sampling.top_k is None and sampling.top_p == 1:
        return _invert(probabilities, uniforms).squeeze(-1)
    likely, tokens = _most_likely(probabilities, sampling)
    kept = torch.zeros_like(probabilities).scatter_(-1, tokens, likely * _kept(likely, sampling))
    return _invert(kept, uniforms).squeeze(-1)


def or_no_token(chosen: Int[Tensor, " batch"], logits: Float[Tensor, "batch d_vocab"]) -> Int[Tensor, " batch"]:
    """The chosen tokens, `NO_TOKEN` where a row's logits hold NaN or infinity, or are -infinity alone."""
    return torch.where(logits.amax(dim=-1).isfinite(), chosen, NO_TOKEN)


def _kept(likely: Float[Tensor, "batch some"], sampling: Sampling) -> Bool[Tensor, "batch some"]:
    """Which of the most likely tokens may be drawn: the `top_k` best, of them the fewest that hold `top_p`.

    The token that crosses `top_p` is kept. Probabilities come in descending order.
    """
    best = torch.arange(likely.shape[-1], device=likely.device) < (sampling.top_k or likely.shape[-1])
    held = torch.where(best, likely, 0.0)
    before = held.cumsum(dim=-1) - held
    whole = held.sum(dim=-1, keepdim=True) if sampling.top_k is not None else 1.0
    return best & (before < sampling.top_p * whole)


def _most_likely(
    probabilities: Float[Tensor, "batch d_vocab"], sampling: Sampling
) -> tuple[Float[Tensor, "batch some"], Int[Tensor, "batch some"]]:
    """The probabilities in descending order, equal ones in the vocabulary's, and their tokens.

    On a CPU a few hundred, where those that are kept end before what may tie with the last of them: sorting a whole
    vocabulary takes as long as a pass of a small model.
    """
    few = max(FEW, 2 * (sampling.top_k or 0))
    if probabilities.device.type == "cpu" and few < probabilities.shape[-1]:
        tokens = probabilities.topk(few, dim=-1).indices.sort(dim=-1).values  # among equals topk gives any order
        likely, order = probabilities.gather(-1, tokens).sort(dim=-1, descending=True, stable=True)
        if not bool((_kept(likely, sampling) & (likely == likely[:, -1:])).any()):
            return likely, tokens.gather(-1, order)
    return probabilities.sort(dim=-1, descending=True, stable=True)


FEW = 256


def _invert(weights: Float[Tensor, "batch d_vocab"], uniforms: Float[Tensor, " batch"]) -> Int[Tensor, "batch 1"]:
    """The first index whose cumulative weight exceeds `uniforms` x the total; never one without weight.

    Where weights are no numbers, as after an edit that overflows, it is some index of the vocabulary (`or_no_token`).
    """
    cumulative = weights.cumsum(dim=-1)
    total = cumulative[:, -1:].contiguous()
    index = torch.searchsorted(cumulative, uniforms.float()[:, None] * total, right=True)
    return torch.minimum(index, torch.searchsorted(cumulative, total)).clamp(max=weights.shape[-1] - 1)


def token_counts(
    ids: Int[Tensor, "batch pos"], mask: Bool[Tensor, "batch pos"], d_vocab: int
) -> Float[Tensor, "batch d_vocab"]:
    """How often each of `d_vocab` tokens stands in each row of `ids`, where `mask` is true."""
    counts = torch.zeros(len(ids), d_vocab, device=ids.device, dtype=torch.float32)
    return counts.scatter_add_(1, ids, mask.float())


def uniforms_of(seed: tuple[int, int], steps: int) -> Float[Tensor, " steps"]:
    """A row's own numbers in [0, 1), `steps` of them, by its `seed`; a longer row begins with a shorter one's."""
    mixed = (seed[0] * 0x9E3779B97F4A7C15 + seed[1] * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**63
    return torch.rand(steps, generator=torch.Generator().manual_seed(mixed), dtype=torch.float64)
