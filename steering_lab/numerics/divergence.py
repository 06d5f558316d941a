"""How far one next-token distribution is from another, in nats.

All functions read log-probabilities (`to_log_probs` of the logits) with the vocabulary last. A token that the first
distribution gives probability 0 adds nothing to a divergence, whatever the second gives it.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from steering_lab.numerics.log_probs import any_of, check_log_probs, none_of

LN2 = math.log(2)  # nats: the Jensen-Shannon divergence of distributions that share no token


def kl_terms(log_p: Float[Tensor, "*pos n"], log_q: Float[Tensor, "*pos n"]) -> Float[Tensor, "*pos n"]:
    """p (log p − log q) of each token, from `log_p` and `log_q`: signed, and their sum is KL(p ‖ q).

    Nothing is checked, and NaN stays NaN. The sum may be below 0 by rounding; it has a gradient in `log_q`, which `kl`
    loses where it is cut off at 0. +inf for a token that only q excludes; 0 where p itself rounds to 0.
    """
    p = log_p.exp()
    return torch.where(p == 0, 0.0, p * (log_p - log_q))


def kl(log_p: Float[Tensor, "*pos d_vocab"], log_q: Float[Tensor, "*pos d_vocab"]) -> Float[Tensor, "*pos"]:
    """KL(p ‖ q) = Σ p (log p − log q) from `log_p` and `log_q`, in nats, at least 0.

    A token that p excludes (−inf) adds nothing; one that only q excludes makes the divergence +inf.

    Raises:
        ValueError: half precision, or a row whose probabilities do not sum to 1 (raw logits have been passed?).
    """
    check_log_probs(log_p, "log_p")
    check_log_probs(log_q, "log_q")
    return kl_terms(log_p, log_q).sum(-1).clamp_min(0)  # rounding below zero


def jensen_shannon(
    left: Float[Tensor, "*batch d_vocab"], right: Float[Tensor, "*batch d_vocab"]
) -> Float[Tensor, "*batch"]:
    """JS(p, q) = ½ KL(p ‖ m) + ½ KL(q ‖ m), m = (p + q)/2: in nats, in [0, ln 2], symmetric; computed in float64.

    Args:
        left: Log-probabilities.
        right: Log-probabilities of the same shape; −inf in both is no difference.
    """
    left, right = left.double(), right.double()
    middle = torch.logaddexp(left, right) - LN2
    both = kl_terms(left, middle).sum(-1) + kl_terms(right, middle).sum(-1)
    return (both / 2).clamp(0.0, LN2).float()


def effectiveness(
    log_steered: Float[Tensor, "*pos d_vocab"],
    log_unsteered: Float[Tensor, "*pos d_vocab"],
    aligned: Int[Tensor, " aligned"],
) -> Float[Tensor, "*pos"]:
    """log P_steered(A) − log P_unsteered(A) in nats: how much likelier the aligned tokens A became together.

    Source: the code of Turner et al. 2023 (arXiv:2308.10248), module `logits`.

    Args:
        log_steered: Log-probabilities under steering.
        log_unsteered: Log-probabilities without.
        aligned: Ids of the tokens A, each once.
    """
    check_log_probs(log_steered, "log_steered")
    check_log_probs(log_unsteered, "log_unsteered")
    return any_of(log_steered, aligned) - any_of(log_unsteered, aligned)


def disruption(
    log_steered: Float[Tensor, "*pos d_vocab"],
    log_unsteered: Float[Tensor, "*pos d_vocab"],
    aligned: Int[Tensor, " aligned"],
) -> Float[Tensor, "*pos"]:
    """Σ_S P_steered(S) KL(steered within S ‖ unsteered within S), S = aligned tokens and the rest; nats, at least 0.

    What steering did beyond moving probability between the two sets, so that by the chain rule
    KL(steered ‖ unsteered) = disruption + KL of the two-way split. NaN where the unsteered model gives a set no
    probability. Source: as `effectiveness`.

    Args:
        log_steered: Log-probabilities under steering.
        log_unsteered: Log-probabilities without.
        aligned: Ids of the tokens of the first set; all others are the second.
    """
    total = kl(log_steered, log_unsteered)
    split = [torch.stack([any_of(log, aligned), none_of(log, aligned)], -1) for log in (log_steered, log_unsteered)]
    return (total - kl_terms(split[0], split[1]).sum(-1)).clamp_min(0)
