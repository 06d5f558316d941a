"""Log-probabilities of tokens, in nats, the vocabulary last: from logits, checked, and of several tokens together."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

Tokens = Sequence[int] | Int[Tensor, " some"]  # ids in the vocabulary, each once


def to_log_probs(logits: Float[Tensor, "*pos d_vocab"]) -> Float[Tensor, "*pos d_vocab"]:
    """log softmax of the logits, in float32 whatever they come in: half precision rounds a divergence below zero.

    A logit of −inf keeps the log-probability −inf; a row with NaN, or of −inf alone, is NaN.
    """
    return torch.log_softmax(logits.float(), dim=-1)


def check_log_probs(log_prob: Float[Tensor, "*pos d_vocab"], name: str) -> None:
    """Nothing where every row of `log_prob` holds log-probabilities in float32 or float64.

    Args:
        log_prob: What should be log-probabilities over the whole vocabulary.
        name: What the caller calls it, for the error.

    Raises:
        ValueError: half precision, or a row whose probabilities do not sum to 1 within 0.001 (raw logits, NaN).
    """
    if log_prob.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name} is {log_prob.dtype}: pass log_softmax(logits.float(), -1)")
    if not (log_prob.logsumexp(-1).abs() < 1e-3).all():
        raise ValueError(f"{name} does not sum to probability 1: pass log_softmax(logits.float(), -1)")


def any_of(log_prob: Float[Tensor, "*pos d_vocab"], tokens: Tokens) -> Float[Tensor, "*pos"]:
    """The log-probability, by `log_prob`, that one of `tokens` comes next; NaN for no tokens."""
    if not len(tokens):
        return log_prob.new_full(log_prob.shape[:-1], torch.nan)
    return log_prob[..., torch.as_tensor(tokens, device=log_prob.device)].logsumexp(-1)


def none_of(log_prob: Float[Tensor, "*pos d_vocab"], tokens: Tokens) -> Float[Tensor, "*pos"]:
    """log(1 − p), p the probability that one of `tokens` comes next: exact where p is close to 1.

    −inf where no other token is possible, or `tokens` are the whole vocabulary.

    Args:
        log_prob: Log-probabilities over the whole vocabulary.
        tokens: Ids; one that is there twice counts once, none at all gives 0.
    """
    others = torch.ones(log_prob.shape[-1], dtype=torch.bool, device=log_prob.device)
    others[torch.as_tensor(tokens, dtype=torch.long, device=log_prob.device)] = False
    return log_prob[..., others].logsumexp(-1)
