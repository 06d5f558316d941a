"""How far the steered next-token distribution is from the unsteered one, in nats.

All functions read log-probabilities (`log_softmax` of the logits) in float32 or float64 with the vocabulary last.
Half precision is refused: its rounding makes divergences negative, or infinite where a token was only unlikely.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def kl(log_p: Float[Tensor, "*pos d_vocab"], log_q: Float[Tensor, "*pos d_vocab"]) -> Float[Tensor, "*pos"]:
    """KL(p ‖ q) = Σ p (log p − log q), in nats, at least 0.

    A token that p excludes (−inf) adds nothing; one that only q excludes makes the divergence +inf.

    Raises:
        ValueError: half precision, or a row whose probabilities do not sum to 1 (raw logits have been passed?).
    """
    _check(log_p, "log_p")
    _check(log_q, "log_q")
    return _within(log_p, log_q).clamp_min(0)  # rounding below zero


def effectiveness(
    log_steered: Float[Tensor, "*pos d_vocab"],
    log_unsteered: Float[Tensor, "*pos d_vocab"],
    aligned: Int[Tensor, " aligned"],
) -> Float[Tensor, "*pos"]:
    """log P_steered(A) − log P_unsteered(A) in nats: how much likelier the aligned tokens A became together.

    Source: the code of Turner et al. 2023 (arXiv:2308.10248), module `logits`.
    """
    _check(log_steered, "log_steered")
    _check(log_unsteered, "log_unsteered")
    return log_steered[..., aligned].logsumexp(-1) - log_unsteered[..., aligned].logsumexp(-1)


def disruption(
    log_steered: Float[Tensor, "*pos d_vocab"],
    log_unsteered: Float[Tensor, "*pos d_vocab"],
    aligned: Int[Tensor, " aligned"],
) -> Float[Tensor, "*pos"]:
    """Σ_S P_steered(S) KL(steered within S ‖ unsteered within S), S = aligned tokens and the rest; nats, at least 0.

    What steering did beyond moving probability between the two sets, so that by the chain rule
    KL(steered ‖ unsteered) = disruption + KL of the two-way split. NaN where the unsteered model gives a set no
    probability. Source: as `effectiveness`.
    """
    total = kl(log_steered, log_unsteered)
    rest = torch.ones(log_steered.shape[-1], dtype=torch.bool, device=log_steered.device)
    rest[aligned] = False
    sets = [aligned, rest.nonzero().squeeze(-1)]
    split = [torch.stack([log[..., s].logsumexp(-1) for s in sets], -1) for log in (log_steered, log_unsteered)]
    return (total - _within(split[0], split[1])).clamp_min(0)


def _within(log_p: Float[Tensor, "*pos n"], log_q: Float[Tensor, "*pos n"]) -> Float[Tensor, "*pos"]:
    return torch.where(log_p == -torch.inf, 0.0, log_p.exp() * (log_p - log_q)).sum(-1)


def _check(log_prob: Float[Tensor, "*pos d_vocab"], name: str) -> None:
    if log_prob.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name} is {log_prob.dtype}: pass log_softmax(logits.float(), -1)")
    if not log_prob.logsumexp(-1).abs().max() < 1e-3:
        raise ValueError(f"{name} does not sum to probability 1: pass log_softmax(logits.float(), -1)")
