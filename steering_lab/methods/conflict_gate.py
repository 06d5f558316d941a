"""Where context and memory disagree about a question: the queries that steering toward the context is for.

    JS(p, q) = 1/2 KL(p || m) + 1/2 KL(q || m),   m = (p + q)/2

between the next-token distributions with the context (p) and without it (q), in [0, ln 2] nats. A gate is open where JS
reaches the threshold and the context does not state what the model answers closed book. The second condition is needed:
a context can move the distribution far and still agree (another wording, more certainty). Steering an open query toward
its context is what is wanted; steering a shut one can only do harm (a pilot without the gate lost a third of the
agreeing questions and most of those with an irrelevant context). An irrelevant context, which states no answer at all,
is shut only by the threshold, and the threshold is a trade: a conflict in which the model clings to its memory diverges
little too, and is the one that most wants steering. Choose it on rows of every kind; `fit_probe` on the same kinds is
the labelled alternative.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.data.answer_matching import is_blank_answer, mentions
from steering_lab.interventions.intervention import Intervention
from steering_lab.models.generation import generate
from steering_lab.models.hooked_model import HookedModel
from steering_lab.numerics.divergence import LN2, jensen_shannon
from steering_lab.numerics.log_probs import to_log_probs


@dataclass(frozen=True, eq=False)
class ConflictGate:
    """What was measured of each query, and the verdict.

    `divergence` is JS in nats; `answers` what the model says closed book; `agrees` whether the context states that.

    Args:
        divergence: JS of each query, in nats.
        answers: What the model says closed book.
        agrees: Whether the context states that answer.
        threshold: The divergence from which a gate is open.
    """

    divergence: Float[Tensor, " query"]
    answers: tuple[str, ...]
    agrees: tuple[bool, ...]
    threshold: float

    @property
    def open(self) -> list[bool]:
        """True for the queries that are in conflict."""
        far = (self.divergence >= self.threshold).tolist()
        return [apart and not agrees for apart, agrees in zip(far, self.agrees, strict=True)]

    def choose(
        self, intervention: Intervention | Sequence[Intervention], otherwise: Intervention | None = None
    ) -> list[Intervention]:
        """One intervention for each query, as `steer` takes them: `intervention` (or its own) where the gate is open.

        Args:
            intervention: Where the gate is open: one for all queries, or one for each.
            otherwise: Where it is shut; None is no edit.

        Raises:
            ValueError: another number of interventions than queries.
        """
        each = [intervention] * len(self.answers) if isinstance(intervention, Intervention) else list(intervention)
        if len(each) != len(self.answers):
            raise ValueError(f"{len(each)} interventions for {len(self.answers)} queries: pass one, or one for each")
        other = Intervention() if otherwise is None else otherwise
        return [own if is_open else other for own, is_open in zip(each, self.open, strict=True)]


@torch.no_grad()
def conflict_gate(
    model: HookedModel,
    with_context: Sequence[str],
    closed_book: Sequence[str],
    threshold: float,
    *,
    contexts: Sequence[str],
    answer_tokens: int = 8,
    stop: Sequence[str] = ("\n", "."),
    batch_size: int = 32,
) -> ConflictGate:
    """The gate of every query, from the unedited model's own two answers; no label is looked at.

    Args:
        model: The model that is read.
        with_context: The prompts with their context.
        closed_book: The same without.
        threshold: In [0, ln 2] nats.
        contexts: The bare passages, in which the closed-book answer is looked for as whole words.
        answer_tokens: How many tokens a closed-book answer has at most.
        stop: Texts before which it ends.
        batch_size: Prompts read in one pass.

    Raises:
        ValueError: lists of different lengths, or a threshold outside [0, ln 2].
    """
    if not len(with_context) == len(closed_book) == len(contexts) or not contexts:
        raise ValueError(
            f"{len(with_context)} prompts with context, {len(closed_book)} closed book and {len(contexts)} contexts:"
            " one of each for every query"
        )
    if not 0 <= threshold <= LN2:
        raise ValueError(f"threshold is {threshold}: it must lie in [0, ln 2 = 0.693] nats")
    with model.unedited():
        apart = []
        for first in range(0, len(contexts), batch_size):
            part = slice(first, first + batch_size)
            apart.append(
                jensen_shannon(_next_log_probs(model, with_context[part]), _next_log_probs(model, closed_book[part]))
            )
        answers = generate(
            model, list(closed_book), max_new_tokens=answer_tokens, stop=stop, batch_size=batch_size
        ).texts
    agrees = tuple(
        not is_blank_answer(answer) and bool(mentions(context, [answer]))
        for answer, context in zip(answers, contexts, strict=True)
    )
    return ConflictGate(torch.cat(apart).cpu(), tuple(answers), agrees, threshold)


def _next_log_probs(model: HookedModel, prompts: Sequence[str]) -> Float[Tensor, "batch d_vocab"]:
    return to_log_probs(model.logits(model.to_tokens(list(prompts)))[:, -1])
