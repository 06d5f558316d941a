"""Questions whose context and memory may disagree: one frozen row each, and the twins that show what else changed.

A row says what is asked, what the context says and what the model should remember. Under a conflict the two answers
differ; its twins ask the same question with the context that agrees, with a context about something else, and without
one. Rows know no model, no prompt wording and no file: see `templates`, `conflict_readers`.
"""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple, get_args

from steering_lab.data.answer_matching import is_blank_answer, normalise_answer, stated

Regime = Literal["conflict", "agreement", "irrelevant", "closed_book", "unknown", "multi_hop"]


class _Needs(NamedTuple):
    """What a regime has (True), must not have (False) or may have (None)."""

    context: bool
    context_answers: bool
    memory_answers: bool | None


_NEEDS: dict[Regime, _Needs] = {
    "conflict": _Needs(True, True, True),
    "agreement": _Needs(True, True, True),
    "irrelevant": _Needs(True, False, True),
    "closed_book": _Needs(False, False, True),
    "unknown": _Needs(True, True, False),
    "multi_hop": _Needs(True, True, None),
}


def check_regime(regime: str) -> Regime:
    """`regime` itself. Raises ValueError if there is no such regime."""
    if regime not in _NEEDS:
        raise ValueError(f'regime "{regime}" is unknown: choose one of {", ".join(get_args(Regime))}')
    return regime


@dataclass(frozen=True)
class ConflictQA:
    """One question, its context, and every wording of the two answers.

    `group` names what is asked: rows of one group never fall into different splits. `original_context` is the text
    from which a conflicting context was made. `blank_*_aliases` hold wordings that normalise to nothing ("$"): no
    strict scorer can look for them, the published one finds them everywhere; they are set aside, not forgotten.

    Args:
        question: The question.
        context: The passage that is read; "" where the style has none.
        context_answers: Every wording of the context's answer.
        memory_answers: Every wording of memory's answer.
        group: What is asked; rows of one group are in one split.
        regime: "conflict", "agreement", "irrelevant" or "closed_book".
        original_context: The text from which a conflicting context was made.
        blank_context_aliases: Wordings of the context's answer that normalise to nothing.
        blank_memory_aliases: Wordings of memory's answer that normalise to nothing.
        meta: What else is known of the row, as text.

    Raises:
        ValueError: an unknown regime; a question, group or context without text; answers or a context that the regime
            needs and the row lacks, or the reverse; a wording that normalises to nothing among the answers; an
            agreement whose two sides share no wording.
    """

    question: str
    context: str
    context_answers: tuple[str, ...]
    memory_answers: tuple[str, ...]
    group: str
    regime: Regime = "conflict"
    original_context: str | None = None
    blank_context_aliases: tuple[str, ...] = ()
    blank_memory_aliases: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_regime(self.regime)
        for name in ("question", "group"):
            if not getattr(self, name).strip():
                raise ValueError(f"the {name} of a row is empty")
        needs = _NEEDS[self.regime]
        for name in ("context", "context_answers", "memory_answers"):
            self._check(name, getattr(needs, name))
        for answer in (*self.context_answers, *self.memory_answers):
            if is_blank_answer(answer):
                raise ValueError(
                    f"the answer {answer!r} to {self.question!r} normalises to nothing, so it can be looked for in no "
                    "text: leave it out, or set it aside in blank_context_aliases or blank_memory_aliases"
                )
        if self.regime == "agreement" and not self.answers_overlap:
            raise ValueError(
                f"context and memory agree on no answer to {self.question!r}: {self.context_answers} and "
                f"{self.memory_answers}"
            )

    def _check(self, name: str, needed: bool | None) -> None:
        value = getattr(self, name)
        present = bool(value.strip() if isinstance(value, str) else value)
        what = {"context": "context", "context_answers": "context answer", "memory_answers": "memory answer"}[name]
        if needed and not present:
            raise ValueError(f'a row of regime "{self.regime}" needs a {what}; {self.question!r} has none')
        if needed is False and present:
            raise ValueError(f'a row of regime "{self.regime}" has no {what}; {self.question!r} has {value!r}')

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits that stand for the question, the context, the answers and the regime."""
        said = [self.question, self.context, self.context_answers, self.memory_answers, self.regime]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    @property
    def right_answers(self) -> tuple[str, ...]:
        """The wordings that are right for a model that reads: the context's, or the memory's where it says nothing."""
        return self.context_answers or self.memory_answers

    @cached_property
    def answers_overlap(self) -> bool:
        """Whether some wording, normalised, is an answer of context and memory alike."""
        of_context = {normalise_answer(answer) for answer in self.context_answers}
        return any(normalise_answer(answer) in of_context for answer in self.memory_answers)

    @cached_property
    def contains_both(self) -> bool:
        """Whether the context states both answers, as whole words: then either can be read off it."""
        return all(stated(self.context, self.context_answers, self.memory_answers, hear_negation=False))

    @property
    def decides(self) -> bool:
        """Whether the answer shows where it came from: a conflict with distinct answers, one of them in the context."""
        return self.regime == "conflict" and not self.contains_both and not self.answers_overlap

    def begun(self, answer_prefix: str) -> str:
        """How its answer begins by `answer_prefix`, whose placeholders are filled from `meta`.

        Say "The capital of {subject} is", or "{begun}" where a row brings its own (`capitals`).

        Raises:
            ValueError: a placeholder that this row's `meta` does not have.
        """
        try:
            return answer_prefix.format(**self.meta)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"answer_prefix {answer_prefix!r} cannot be filled for {self.question!r} ({error}): its row knows"
                f" {', '.join(sorted(self.meta)) or 'no placeholder'}"
            ) from None

    def agreeing(self) -> "ConflictQA":
        """The same question over the original context, which says what the memory holds.

        Raises:
            ValueError: the original context is not known.
        """
        if self.original_context is None:
            raise ValueError(f"the original context of {self.question!r} is not known, so no row can agree with it")
        return replace(
            self,
            context=self.original_context,
            context_answers=self.memory_answers,
            blank_context_aliases=self.blank_memory_aliases,
            regime="agreement",
        )

    def closed_book(self) -> "ConflictQA":
        """The same question without a context. Raises ValueError if there is no memory answer."""
        return self._from_memory("", "closed_book")

    def over(self, context: str) -> "ConflictQA":
        """The same question over a context about something else; the memory decides.

        Raises:
            ValueError: no memory answer, or `context` states one of this row's answers.
        """
        if any(stated(context, self.context_answers, self.memory_answers, hear_negation=False)):
            raise ValueError(f"the context is not irrelevant to {self.question!r}: it states one of its answers")
        return self._from_memory(context, "irrelevant")

    def _from_memory(self, context: str, regime: Regime) -> "ConflictQA":
        return replace(self, context=context, context_answers=(), blank_context_aliases=(), regime=regime)


def irrelevant_twins(rows: Sequence[ConflictQA], seed: int = 0) -> tuple[ConflictQA, ...]:
    """Each row's question over the context of another group, drawn for `seed`, that states none of its answers.

    Args:
        rows: At least two groups.
        seed: What the contexts are drawn by.

    Raises:
        ValueError: no other group's context leaves a row's answers unsaid.
    """
    rng = random.Random(f"irrelevant contexts {seed}")
    twins = []
    for row in rows:
        for other in rng.sample(rows, len(rows)):
            if other.group == row.group or not other.context:
                continue
            if not any(stated(other.context, row.context_answers, row.memory_answers, hear_negation=False)):
                twins.append(row.over(other.context))
                break
        else:
            raise ValueError(f"none of the {len(rows)} rows has a context that is irrelevant to {row.question!r}")
    return tuple(twins)


def question_group(question: str) -> str:
    """What makes two rows the same question: its words without case, spacing and closing punctuation."""
    return " ".join(question.casefold().split()).rstrip(" ?.!")


def count_rows(rows: Sequence[ConflictQA]) -> dict[str, int]:
    """How many rows and groups there are, rows that state both answers, rows whose answers overlap, rows that decide,
    and blank aliases set aside."""
    return {
        "rows": len(rows),
        "groups": len({row.group for row in rows}),
        "contains_both": sum(row.contains_both for row in rows if row.regime == "conflict"),
        "answers_overlap": sum(row.answers_overlap for row in rows if row.regime == "conflict"),
        "decides": sum(row.decides for row in rows),
        "blank_aliases": sum(len(row.blank_context_aliases) + len(row.blank_memory_aliases) for row in rows),
    }
