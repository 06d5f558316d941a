"""What a delta is optimised for: objectives that name a `Target` for every prompt.

An objective is a value that says what it will ask for before anything is computed, so that a result on disk can be
found by it. Targets are those of the unedited model, whatever steering block is open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.methods.cad import CAD
from steering_lab.methods.delta.target import Avoided, Target
from steering_lab.methods.delta.weighted import Objective as Objective
from steering_lab.methods.delta.weighted import Weighable
from steering_lab.models.generation import LogitsRule, generate
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.scoring import forced_logits
from steering_lab.numerics.log_probs import to_log_probs


@dataclass(frozen=True)
class GroundedAnswer(Weighable):
    """Say the context's answer and not the memory's: labelled, for single examples or a vector learnt from many.

        J = - mean over tokens of log p(answer) - log(1 - p(memory answer))

    with the second term at the first token where the two answers part (at their start, mostly). The promotion and
    suppression of one-shot steering vectors (Dunefsky and Cohan 2025, arXiv:2502.18862), whose second term ranges over
    the whole sequence. Answers are written as they follow the prompt, most often with a space in front.

    Args:
        answers: The context's answer of each prompt, as it follows the prompt.
        memory_answers: What memory answers, for each prompt; None (for all, or for one) leaves the second term out.

    Raises:
        ValueError: an empty answer, or not one memory answer (or None) for each.
    """

    answers: tuple[str, ...]
    memory_answers: tuple[str | None, ...] | None = None

    def __post_init__(self) -> None:
        if not self.answers or not all(answer.strip() for answer in self.answers):
            raise ValueError("every prompt needs an answer, none of them empty")
        if self.memory_answers is not None and len(self.memory_answers) != len(self.answers):
            raise ValueError(f"{len(self.memory_answers)} memory answers for {len(self.answers)} prompts")

    def __len__(self) -> int:
        return len(self.answers)

    def take(self, rows: Sequence[int]) -> "GroundedAnswer":
        """The same for the prompts `rows`."""
        memory = None if self.memory_answers is None else tuple(self.memory_answers[i] for i in rows)
        return GroundedAnswer(tuple(self.answers[i] for i in rows), memory)

    def described(self, model: HookedModel) -> Mapping[str, Any]:
        ids = [model.token_ids(answer) for answer in self.answers]
        return {"name": "grounded answer", "answers": ids, "memory_answers": self.memory_answers}

    def target(self, model: HookedModel, prompts: Sequence[str]) -> Target:
        """The answers to `prompts` as tokens of `model`.

        Raises:
            ValueError: an answer whose first letters melt into the prompt's last token, or two answers of which one
                begins with the other.
        """
        memory = self.memory_answers or (None,) * len(self)
        tokens, avoid = [], []
        for prompt, answer, other in zip(prompts, self.answers, memory, strict=True):
            tokens.append(following(model, prompt, answer))
            avoid.append(None if other is None else _parting(tokens[-1], following(model, prompt, other), answer))
        return Target(tuple(tokens), avoid=tuple(avoid), tokens_run=(0,) * len(tokens))


@dataclass(frozen=True)
class ImitateInstructed(Weighable):
    """Answer the plain prompt as the model answers the instructed one: per-query distillation of a prompt, unlabelled.

    J is the divergence from the unsteered model's distribution on the instructed prompt, along that prompt's own greedy
    continuation of up to `n_tokens`. Prompt distillation into steering: Heyman and Vandeputte 2026.
    """

    instructed: tuple[str, ...]
    n_tokens: int = 4

    def __len__(self) -> int:
        return len(self.instructed)

    def take(self, rows: Sequence[int]) -> "ImitateInstructed":
        """The same for the prompts `rows`."""
        return replace(self, instructed=tuple(self.instructed[i] for i in rows))

    def described(self, model: HookedModel) -> Mapping[str, Any]:
        ids = [model.token_ids(prompt) for prompt in self.instructed]
        return {"name": "imitate instructed", "instructed": ids, "n_tokens": self.n_tokens}

    def target(self, model: HookedModel, prompts: Sequence[str]) -> Target:
        """The greedy continuation by `model` of the instructed prompts, and its distributions."""
        with model.unedited():
            tokens = generate(model, list(self.instructed), max_new_tokens=self.n_tokens).tokens
            wanted = forced_log_probs(model, self.instructed, tokens)
        run = _lengths(model, self.instructed, tokens)
        return Target(tuple(map(tuple, tokens)), wanted, tokens_run=tuple(2 * n for n in run))


@dataclass(frozen=True)
class ContrastClosedBook(Weighable):
    """Decode plainly what context-aware decoding would decode with two streams: unlabelled, per query.

        wanted = softmax( (1 + alpha) log p(y | context, question) - alpha log p(y | question) )

    along the greedy continuation of that very rule (Shi et al. 2023, arXiv:2305.14739, as `CAD`). It inherits CAD's
    harm where context and memory agree or the context is beside the point: use it behind a `conflict_gate`.

    Args:
        without_context: Each prompt without its context.
        alpha: How strongly the two are set apart; 0 asks for plain decoding.
        n_tokens: How many tokens of the continuation are imitated.
    """

    without_context: tuple[str, ...]
    alpha: float = 1.0
    n_tokens: int = 4

    def __post_init__(self) -> None:
        CAD(self.alpha)

    def __len__(self) -> int:
        return len(self.without_context)

    def take(self, rows: Sequence[int]) -> "ContrastClosedBook":
        """The same for the prompts `rows`."""
        return replace(self, without_context=tuple(self.without_context[i] for i in rows))

    def described(self, model: HookedModel) -> Mapping[str, Any]:
        ids = [model.token_ids(prompt) for prompt in self.without_context]
        return {"name": "contrast closed book", "without": ids, "alpha": self.alpha, "n_tokens": self.n_tokens}

    def target(self, model: HookedModel, prompts: Sequence[str]) -> Target:
        """What the rule decodes from `model` and `prompts`, and its distributions."""
        rule: LogitsRule = CAD(self.alpha)
        bare = list(self.without_context)
        with model.unedited(), torch.no_grad():
            drawn = generate(model, list(prompts), max_new_tokens=self.n_tokens, rule=rule, without_context=bare)
            context = forced_log_probs(model, prompts, drawn.tokens)
            memory = forced_log_probs(model, bare, drawn.tokens)
        wanted = tuple(to_log_probs(rule(c, m)) for c, m in zip(context, memory, strict=True))
        both = zip(_lengths(model, prompts, drawn.tokens), _lengths(model, bare, drawn.tokens), strict=True)
        return Target(tuple(map(tuple, drawn.tokens)), wanted, tokens_run=tuple(2 * (a + b) for a, b in both))


@torch.no_grad()
def forced_log_probs(
    model: HookedModel, prompts: Sequence[str], continuations: Sequence[Sequence[int]]
) -> tuple[Float[Tensor, "_ d_vocab"], ...]:
    """The log-probabilities of `model` that each token of `continuations` behind `prompts` was drawn by."""
    found: list[Tensor] = []
    rows = [model.token_ids(prompt) for prompt in prompts]
    for start in range(0, len(rows), 32):
        part = slice(start, start + 32)
        for logits in forced_logits(model, rows[part], continuations[part]):
            found.append(to_log_probs(logits))
    return tuple(found)


def _lengths(model: HookedModel, prompts: Sequence[str], tokens: Sequence[Sequence[int]]) -> list[int]:
    return [len(model.token_ids(p)) + len(t) for p, t in zip(prompts, tokens, strict=True)]


def following(model: HookedModel, prompt: str, answer: str) -> tuple[int, ...]:
    """The tokens by which `answer` continues `prompt`.

    Raises:
        ValueError: its first letters melt into the prompt's last token.
    """
    before, whole = model.token_ids(prompt), model.token_ids(prompt + answer)
    if whole[: len(before)] != before or len(whole) == len(before):
        raise ValueError(
            f"the answer {answer!r} melts into the last token of its prompt {prompt[-20:]!r}: begin it with a space or"
            " a line break, or end the prompt without one"
        )
    return tuple(whole[len(before) :])


def _parting(answer: Sequence[int], other: Sequence[int], text: str) -> Avoided:
    """Where the two answers part, and the other's token there."""
    for step, (own, token) in enumerate(zip(answer, other, strict=False)):
        if own != token:
            return Avoided(step, token)
    raise ValueError(f"the answer {text!r} and its memory answer begin alike to the end of one: nothing to avoid")
