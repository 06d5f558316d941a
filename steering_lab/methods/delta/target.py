"""What an optimised delta should make the model say: a continuation per prompt, and the distributions wanted on it.

    with distributions      J = mean over steps of KL( wanted || steered ), in nats
    with tokens alone       J = - mean over steps of log p(token) - log(1 - p(avoided token))

Continuations are forced: step t is scored given the target's own tokens before it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.numerics.divergence import kl_terms
from steering_lab.numerics.log_probs import none_of


class Avoided(NamedTuple):
    """A token that is wanted improbable after `step` tokens of the continuation."""

    step: int
    token: int


@dataclass(frozen=True, eq=False)
class Target:
    """Continuations as ids, with the log-probabilities wanted at each step, or None to want the tokens themselves.

    A target is also an objective, of one's own making. `tokens_run` counts the tokens that were read to make it.

    Args:
        tokens: Ids of each prompt's continuation.
        log_probs: The distribution wanted at each step; None wants the tokens themselves.
        avoid: What is to become less likely, for each prompt.
        tokens_run: How many tokens were read to make each target.
        reads: Sites whose stream `losses` is given.

    Raises:
        ValueError: no prompt, an empty continuation, or entries that do not match it.
    """

    tokens: tuple[tuple[int, ...], ...]
    log_probs: tuple[Float[Tensor, "_ d_vocab"], ...] | None = None
    avoid: tuple[Avoided | None, ...] | None = None
    tokens_run: tuple[int, ...] = ()
    reads: tuple[HookSite, ...] = ()

    def __post_init__(self) -> None:
        if not self.tokens or not all(self.tokens):
            raise ValueError("a target needs a continuation of at least one token for every prompt")
        if self.log_probs is not None and [len(x) for x in self.log_probs] != [len(t) for t in self.tokens]:
            raise ValueError("log_probs of a target hold one row per token of its continuation")
        if self.avoid is not None:
            if len(self.avoid) != len(self.tokens):
                raise ValueError(f"{len(self.avoid)} avoided tokens for {len(self.tokens)} prompts: one each, or None")
            for avoided, tokens in zip(self.avoid, self.tokens, strict=True):
                if avoided is not None and not 0 <= avoided.step < len(tokens):
                    raise ValueError(f"step {avoided.step} of an avoided token is outside 0..{len(tokens) - 1}")

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: Sequence[int]) -> "Target":
        """The same for the prompts `rows`."""
        return replace(
            self,
            tokens=tuple(self.tokens[i] for i in rows),
            log_probs=None if self.log_probs is None else tuple(self.log_probs[i] for i in rows),
            avoid=None if self.avoid is None else tuple(self.avoid[i] for i in rows),
            tokens_run=tuple(self.tokens_run[i] for i in rows) if self.tokens_run else (),
        )

    def described(self, model: HookedModel) -> Mapping[str, Any]:
        digests = [hashlib.sha256(x.float().cpu().numpy().tobytes()).hexdigest() for x in self.log_probs or ()]
        return {"name": "target", "tokens": self.tokens, "log_probs_sha256": digests, "avoid": self.avoid}

    def target(self, model: HookedModel, prompts: Sequence[str]) -> "Target":
        """Itself, whatever `model` and `prompts` are."""
        return self

    def losses(
        self,
        steered: Float[Tensor, "batch step d_vocab"],
        stream: Mapping[HookSite, Float[Tensor, "batch step d_model"]] | None = None,
    ) -> Float[Tensor, " batch"]:
        """J of each row, in nats, from steered log-probabilities; steps beyond a row's continuation do not count.

        Args:
            steered: Log-probabilities of each row and step.
            stream: What the stream holds at `reads`, for targets that look there.
        """
        return torch.stack([self._loss(steered[i, : len(tokens)], i) for i, tokens in enumerate(self.tokens)])

    def _loss(self, steered: Float[Tensor, "step d_vocab"], i: int) -> Float[Tensor, ""]:
        if self.log_probs is not None:
            loss = kl_terms(self.log_probs[i].to(steered.device), steered).sum(-1).mean()
        else:
            ids = torch.tensor(self.tokens[i], device=steered.device)
            loss = -steered.gather(-1, ids[:, None]).mean()
        if self.avoid is not None and (avoided := self.avoid[i]) is not None:
            loss = loss - none_of(steered[avoided.step], [avoided.token])
        return loss
