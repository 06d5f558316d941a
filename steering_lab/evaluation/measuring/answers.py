"""Whose answer a model gave: the context's, the memory's, both or neither, by the published scorer and by a strict one.

The published scorer (Bi et al. 2024, Context-DPO, arXiv:2412.15280, evaluation.py, after Zhou et al. 2023,
arXiv:2303.11315) is kept to the letter, since published numbers are its numbers. It errs in ways that the strict one
does not: "by John Williams, not James Horner" is scored as memory, a "not" anywhere voids the context answer, an alias
that normalises to nothing is found in every text, "pound" in "compound". Texts in, numbers out; no table, no model.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from steering_lab.data.answer_matching import NEGATION_WORDS, answer_words, normalise_answer, stated

Verdict = Literal["context", "memory", "both", "neither"]
VERDICTS: tuple[Verdict, ...] = ("context", "memory", "both", "neither")


class Judgement(NamedTuple):
    """Whether an answer states the `context` and the `memory` answer; `exact`: it is the context answer alone."""

    context: bool
    memory: bool
    exact: bool

    @property
    def verdict(self) -> Verdict:
        """The one of four classes that the answer falls into."""
        if self.context:
            return "both" if self.memory else "context"
        return "memory" if self.memory else "neither"


Judge = Callable[[str, Sequence[str], Sequence[str]], Judgement]


def judge_official(text: str, context_answers: Sequence[str], memory_answers: Sequence[str]) -> Judgement:
    """The published reading of `text`, by `context_answers` and `memory_answers`, defects included.

    context: a context answer, normalised, is a substring of the normalised text, and no negation word is among the
    normalised words. memory: the same for a memory answer, negated or not. exact: a context answer and the text
    normalise alike, and no negation word is among the words of the text as it stands.
    """
    normal = normalise_answer(text)
    golds = [normalise_answer(answer) for answer in context_answers]
    negated = not NEGATION_WORDS.isdisjoint(normal.split())
    return Judgement(
        context=not negated and any(gold in normal for gold in golds),
        memory=any(normalise_answer(answer) in normal for answer in memory_answers),
        exact=NEGATION_WORDS.isdisjoint(text.split()) and normal in golds,
    )


def judge_strict(text: str, context_answers: Sequence[str], memory_answers: Sequence[str]) -> Judgement:
    """The strict reading of `text`: whole words, longest answer first, negation only just before it, no blank answers.

    Both answers are read alike: "not James Horner" does not state James Horner.

    Args:
        text: What the model said.
        context_answers: Spellings of the context's answer.
        memory_answers: Spellings of the memory's; empty where there is none.
    """
    said = stated(text, context_answers, memory_answers, hear_negation=True)
    words = answer_words(text).words
    exact = bool(words) and any(answer_words(answer).words == words for answer in context_answers)
    return Judgement(said.context, said.memory, exact)


JUDGES: dict[str, Judge] = {"official": judge_official, "strict": judge_strict}


@dataclass(frozen=True)
class AnswerScores:
    """Shares in percent, of all answers but for M_R; NaN where there is nothing to take a share of.

    p_context (P_c): the context answer and not the memory's. p_context_or_both (p_s): the context answer, alone or
    with the memory's. p_memory (P_o): the memory answer, alone or with the context's. memorisation_ratio (M_R):
    p_memory of p_context + p_memory; its denominator moves with the condition, so decide by the others. exact_match
    (EM). both, neither: the rest of the four classes.

    Args:
        n: How many answers were judged.
        p_context: P_c, the context answer and not the memory's.
        p_context_or_both: p_s, the context answer, alone or with the memory's.
        p_memory: P_o, the memory answer, alone or with the context's.
        memorisation_ratio: M_R, p_memory of p_context + p_memory; its denominator moves with the condition, so decide
            by the others.
        exact_match: EM, the whole text is the context answer.
        both: The class that states both answers.
        neither: The class that states none.
    """

    n: int
    p_context: float
    p_context_or_both: float
    p_memory: float
    memorisation_ratio: float
    exact_match: float
    both: float
    neither: float


def answer_scores(judgements: Sequence[Judgement]) -> AnswerScores:
    """The scores of `judgements`: plain shares, in percent."""
    return _scores(judgements, denominator=float(len(judgements)), tiny=0.0)


def official_scores(
    texts: Sequence[str], context_answers: Sequence[Sequence[str]], memory_answers: Sequence[Sequence[str]]
) -> AnswerScores:
    """The published scorer's figures, its arithmetic included: shares of n + 10⁻⁵ answers, M_R of a sum + 10⁻¹⁰.

    One departure: with neither answer in any text M_R is NaN, where the published one prints 0, as if no answer came
    from memory.

    Args:
        texts: What the model said, one each question.
        context_answers: The spellings of each question's context answer.
        memory_answers: Those of its memory answer.

    Raises:
        ValueError: lists of unequal length, or a row without context or memory answers.
    """
    if not len(texts) == len(context_answers) == len(memory_answers):
        raise ValueError(f"{len(texts)} texts, {len(context_answers)} context and {len(memory_answers)} memory answers")
    for number, (context, memory) in enumerate(zip(context_answers, memory_answers, strict=True)):
        if not context or not memory:
            raise ValueError(
                f"row {number} has {len(context)} context and {len(memory)} memory answers: both are needed"
            )
    judged = [judge_official(*row) for row in zip(texts, context_answers, memory_answers, strict=True)]
    return _scores(judged, denominator=len(judged) + 1e-5, tiny=1e-10)


def _scores(judgements: Sequence[Judgement], denominator: float, tiny: float) -> AnswerScores:
    def share(hits: list[bool]) -> float:
        return sum(hits) * 100 / denominator if judgements else math.nan

    p_context = share([j.verdict == "context" for j in judgements])
    p_memory = share([j.memory for j in judgements])
    found = p_context + p_memory
    return AnswerScores(
        n=len(judgements),
        p_context=p_context,
        p_context_or_both=share([j.context for j in judgements]),
        p_memory=p_memory,
        memorisation_ratio=p_memory / (found + tiny) * 100 if found > 0 else math.nan,
        exact_match=share([j.exact for j in judgements]),
        both=share([j.verdict == "both" for j in judgements]),
        neither=share([j.verdict == "neither" for j in judgements]),
    )
