"""Projected normalised gradient descent with backtracking, on many independent problems at once.

    delta' = P( delta - eta R g / |g| )        P: |delta_site| <= max_norm x R_site

at each site by itself, R being the site's residual norm, so that step and budget mean the same at every layer. A step
is kept only where the loss falls: then eta grows, otherwise delta stays and eta halves. What is kept is therefore the
best that was ever seen. Knows no model: losses come from a function.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Descent:
    """How far and how long to go. `step` and `max_norm` are in residual norms at the site, losses in nats.

    The defaults are those under which a pilot of this method was measured.

    Args:
        n_iterations: Proposals at most.
        step: The first step, in residual norms at the site.
        max_norm: The longest delta, in residual norms at the site.
        grow: What a kept step multiplies the next one by; a refused one halves it.
        min_improvement: An improvement of the loss below this counts as none, in nats.
        patience: How many proposals in a row may improve the loss by less before it stops.
        stop_below: Stop where the loss is this low, in nats.
        max_kl: Refuse proposals whose KL(unsteered || steered), averaged over the target's steps, exceeds this, in
            nats.

    Raises:
        ValueError: a value outside its range; a budget of zero allows no delta.
    """

    n_iterations: int = 12
    step: float = 0.15
    max_norm: float = 1.0
    grow: float = 1.2
    min_improvement: float = 1e-3
    patience: int = 4
    stop_below: float | None = None
    max_kl: float | None = None

    def __post_init__(self) -> None:
        for name in ("step", "max_norm"):
            if not (isfinite(value := getattr(self, name)) and value > 0):
                raise ValueError(f"{name} is {value}: it must be a finite number above 0, in residual norms")
        for name in ("n_iterations", "patience"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} is {value}: it must be 1 or more")
        if not (isfinite(self.grow) and self.grow >= 1):
            raise ValueError(f"grow is {self.grow}: it must be 1 (steps never grow) or more")
        if not self.min_improvement >= 0:
            raise ValueError(f"min_improvement is {self.min_improvement}: it must be 0 or more, in nats")
        if self.max_kl is not None and not self.max_kl > 0:
            raise ValueError(f"max_kl is {self.max_kl}: it must be above 0 nats, or None")


class Evaluation(NamedTuple):
    """Each problem's `loss` and `gradient`, and in `kl` how far the model has moved: KL(unsteered || steered), nats."""

    loss: Float[Tensor, " problem"]
    gradient: Float[Tensor, "problem site d_model"]
    kl: Float[Tensor, " problem"]


@dataclass(frozen=True, eq=False)
class Descended:
    """Where each problem ended: its best delta, the loss of the best after every proposal, beginning with the start's.

    Args:
        deltas: The best delta of each problem.
        losses: The loss of the best so far, at the start and after every proposal.
        kl: KL(unsteered || steered) of the best, in nats.
        n_evaluated: How many points were looked at, the start among them.
    """

    deltas: Float[Tensor, "problem site d_model"]
    losses: tuple[tuple[float, ...], ...]
    kl: Float[Tensor, " problem"]
    n_evaluated: Int[Tensor, " problem"]


def descend(
    evaluate: Callable[[Tensor], Evaluation],
    start: Float[Tensor, "problem site d_model"],
    scales: Float[Tensor, "problem site"],
    descent: Descent,
) -> Descended:
    """The descent of every problem from its start, as if each ran alone.

    Args:
        evaluate: Loss, gradient and KL of every problem at its delta.
        start: Where each problem starts.
        scales: The residual norm of each problem and site.
        descent: How far and how long to go.

    Raises:
        ValueError: a loss that is not finite at the start, or a start beyond `max_norm` or `max_kl`.
    """
    _check_start(start, scales, descent)
    best, at = start, evaluate(start)
    _check_evaluation(at, descent)
    eta = torch.full_like(at.loss, descent.step)
    idle, active = torch.zeros_like(at.loss), _unfinished(at.loss, descent)
    trace, counted = [at.loss], torch.ones_like(at.loss, dtype=torch.long)
    for _ in range(descent.n_iterations):
        if not bool(active.any()):
            break
        direction = torch.nn.functional.normalize(at.gradient, dim=-1) * scales[..., None]
        proposal = project(best - eta[:, None, None] * direction, scales, descent.max_norm)
        proposed = evaluate(proposal)
        kept = active & (proposed.loss < at.loss) & torch.isfinite(proposed.loss)
        if descent.max_kl is not None:
            kept &= proposed.kl <= descent.max_kl
        gain = torch.where(kept, at.loss - proposed.loss, 0.0)
        best, at = (
            _pick(kept, proposal, best),
            Evaluation(*(_pick(kept, *pair) for pair in zip(proposed, at, strict=True))),
        )
        eta = torch.where(kept, (eta * descent.grow).clamp(max=2 * descent.max_norm), eta / 2)
        idle = torch.where(gain < descent.min_improvement, idle + 1, 0.0)
        counted += active
        trace.append(at.loss)
        active = active & (idle < descent.patience) & _unfinished(at.loss, descent)
    counts = counted.tolist()
    losses = [tuple(row[:n]) for row, n in zip(torch.stack(trace, dim=1).tolist(), counts, strict=True)]
    return Descended(best, tuple(losses), at.kl, counted)


def project(
    deltas: Float[Tensor, "problem site d_model"], scales: Float[Tensor, "problem site"], max_norm: float
) -> Float[Tensor, "problem site d_model"]:
    """The nearest deltas of at most `max_norm` x `scales` in length."""
    lengths = deltas.norm(dim=-1)
    return deltas * (max_norm * scales / lengths.clamp(min=1e-30)).clamp(max=1.0)[..., None]


def _pick(kept: Bool[Tensor, " problem"], new: Tensor, old: Tensor) -> Tensor:
    return torch.where(kept.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _unfinished(loss: Float[Tensor, " problem"], descent: Descent) -> Bool[Tensor, " problem"]:
    if descent.stop_below is None:
        return torch.ones_like(loss, dtype=torch.bool)
    return loss > descent.stop_below


def _check_start(start: Tensor, scales: Tensor, descent: Descent) -> None:
    relative = float((start.norm(dim=-1) / scales).max())
    if relative > descent.max_norm * (1 + 1e-5):
        raise ValueError(
            f"init is {relative:.3g} x the residual norm at its site, max_norm is {descent.max_norm:g}: scale it"
            " down or raise max_norm"
        )


def _check_evaluation(at: Evaluation, descent: Descent) -> None:
    if not bool(torch.isfinite(at.loss).all()):
        raise ValueError(
            f"the objective of prompt {int((~torch.isfinite(at.loss)).nonzero()[0])} is not finite before the first"
            " step: the model gives its target no probability at all"
        )
    if descent.max_kl is not None and bool((at.kl > descent.max_kl).any()):
        raise ValueError(f"init moves the model by {float(at.kl.max()):.3g} nats, max_kl is {descent.max_kl:g}")
