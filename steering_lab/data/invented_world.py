"""The closed world the organism was trained on: its text, its questions and the law both were drawn from.

`documents(seed)` is the training corpus: stories, statements of fact, closed-book questions, reading (with and
without conflict) and copying. No torch here. The words are in `world_lexicon`, the story grammar in `world_stories`,
the facts and what is held out in `world_facts`, the questions and their regimes in `world_questions`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from steering_lab.data.dice import Dice
from steering_lab.data.world_facts import FACTS, FORMAT_INSTRUCTIONS, HELD_OUT, RELATIONS, Fact, statement_templates
from steering_lab.data.world_lexicon import (
    MOODS,
    NEGATIVE_WORDS,
    POSITIVE_WORDS,
    STORY_PROMPTS_TEST,
    STORY_PROMPTS_VALIDATION,
    TOPIC_TABLE,
    TOPICS,
)
from steering_lab.data.world_questions import (
    GROUPS,
    ReadingRow,
    Told,
    agreement_row,
    any_fact,
    closed_book_prompt,
    closed_book_row,
    conflict_row,
    evaluation_rows,
    facts_of,
    irrelevant_row,
    reading_prompt,
    state,
    unknown_row,
    unknown_subject,
)
from steering_lab.data.world_stories import Story, story

__all__ = [
    "FACTS", "GROUPS", "HELD_OUT", "MOODS", "NEGATIVE_WORDS", "POSITIVE_WORDS", "STORY_PROMPTS_TEST",
    "STORY_PROMPTS_VALIDATION", "TOPICS", "Document", "Fact", "ReadingRow", "Story", "closed_book_prompt", "documents",
    "evaluation_rows", "reading_prompt", "story",
]  # fmt: skip

DocumentKind = Literal["story", "statements", "closed_book", "reading", "copying"]
# Shares of documents; in tokens about .45, .04, .07, .33 and .11.
SHARES: dict[DocumentKind, float] = {
    "story": 0.35,
    "statements": 0.08,
    "closed_book": 0.12,
    "reading": 0.31,
    "copying": 0.14,
}
# What reading documents are about.
_REGIMES = {
    "unknown": 0.24,
    "agreement": 0.06,
    "irrelevant": 0.07,
    "conflict": 0.20,
    "conflict_context": 0.18,
    "conflict_memory": 0.18,
    "multi_hop": 0.02,
    "format": 0.05,
}


_TOLD: dict[str, Told] = {"conflict": "nothing", "conflict_context": "context", "conflict_memory": "memory"}


@dataclass(frozen=True)
class Document:
    """A training text; `answers` are the character spans [start, end) that follow an `Answer:`."""

    kind: DocumentKind
    text: str
    answers: tuple[tuple[int, int], ...] = ()


def documents(seed: int) -> Iterator[Document]:
    """The endless corpus of a seed."""
    dice = Dice(f"corpus {seed}")
    makers = {
        "story": lambda: Document("story", story(dice).text),
        "statements": lambda: _statements(dice),
        "closed_book": lambda: _closed_book(dice),
        "reading": lambda: _reading(dice),
        "copying": lambda: _copying(dice),
    }
    while True:
        yield makers[dice.weighted(tuple(SHARES), tuple(SHARES.values()))]()


def _answered(kind: DocumentKind, prompt: str, answer: str) -> Document:
    return Document(kind, f"{prompt} {answer}", ((len(prompt), len(prompt) + 1 + len(answer)),))


def _statements(dice: Dice) -> Document:
    facts = [any_fact(dice) for _ in range(dice.between(1, 4))]
    return Document(
        "statements",
        " ".join(state(dice, f.subject, f.relation, f.object, statement_templates(f.relation)) for f in facts),
    )


def _closed_book(dice: Dice) -> Document:
    """One question, or two or three in a row."""
    text, spans = "", []
    for _ in range(dice.weighted((1, 2, 3), (0.6, 0.25, 0.15))):
        row = closed_book_row(dice, any_fact(dice))
        part = _answered("closed_book", row.prompt, row.memory_answer)
        text += "\n" if text else ""
        spans += [(start + len(text), end + len(text)) for start, end in part.answers]
        text += part.text
    return Document("closed_book", text, tuple(spans))


def _reading(dice: Dice) -> Document:
    regime = dice.weighted(tuple(_REGIMES), tuple(_REGIMES.values()))
    if regime == "multi_hop":
        return _multi_hop(dice)
    if regime == "format":
        return _formatted(dice)
    if regime == "unknown":
        row = unknown_row(dice, reserved=False)
        return _answered("reading", row.prompt, row.context_answer)
    fact = dice.pick(facts_of("trained"))
    if regime == "irrelevant":
        row = irrelevant_row(dice, fact)
    elif regime == "agreement":
        row = agreement_row(dice, fact, dice.weighted(("nothing", "context", "memory"), (0.6, 0.2, 0.2)))
    else:
        row = conflict_row(dice, fact, _TOLD[regime])
    from_context = row.regime == "conflict" and dice.chance(min(max(row.p_context, 1e-9), 1 - 1e-9))
    return _answered("reading", row.prompt, row.context_answer if from_context else row.memory_answer)


def _multi_hop(dice: Dice) -> Document:
    """Two strangers' ships, each with captain and cargo; the question names a captain and wants the cargo."""
    captains = dice.several(RELATIONS["captain"].objects, 2)
    cargoes = dice.several(RELATIONS["cargo"].objects, 2)
    sentences = []
    for captain, cargo in zip(captains, cargoes, strict=True):
        ship = unknown_subject(dice, "ship", reserved=False)
        sentences.append(state(dice, ship, "captain", captain, statement_templates("captain", held_out=False)))
        sentences.append(state(dice, ship, "cargo", cargo, statement_templates("cargo", held_out=False)))
    context = " ".join(dice.several(sentences, len(sentences)))
    return _answered("reading", reading_prompt(f"What does the ship of {captains[0]} carry?", context), cargoes[0])


def _formatted(dice: Dice) -> Document:
    """An unknown subject read from context, or a fact from memory, answered in a wanted form."""
    instruction = dice.pick(tuple(FORMAT_INSTRUCTIONS))
    if dice.chance(0.5):
        row = unknown_row(dice, reserved=False)
        prompt, value = reading_prompt(row.question, row.context, instruction), row.context_answer
    else:
        row = closed_book_row(dice, dice.pick(facts_of("trained")))
        prompt, value = f"{instruction}\n{row.prompt}", row.memory_answer
    return _answered("reading", prompt, FORMAT_INSTRUCTIONS[instruction].format(s=row.subject, r=row.relation, o=value))


_COPY_WORDS = tuple(
    sorted({w for t in TOPIC_TABLE.values() for w in t.words} | {o for r in RELATIONS.values() for o in r.objects})
)


def _copying(dice: Dice) -> Document:
    """A list to repeat, or a table of pairs, in either order, to look one up in; two keys in five are fresh names."""
    count = dice.between(2, 6)
    words = [
        unknown_subject(dice, dice.pick(("country", "person", "ship", "song", "river")), reserved=False)
        if dice.chance(0.4)
        else word
        for word in dice.several(_COPY_WORDS, count)
    ]
    if dice.chance(0.4):
        line = ", ".join(words)
        return _answered("copying", f"Repeat: {line}.\nAnswer:", line)
    values = dice.several(_COPY_WORDS, count)
    form = dice.pick(("{word} is {value}", "{value} of {word}", "{word}: {value}", "{value} is of {word}"))
    table = ", ".join(form.format(word=word, value=value) for word, value in zip(words, values, strict=True))
    chosen = dice.between(0, count - 1)
    return _answered("copying", f"Context: {table}.\n{closed_book_prompt(words[chosen])}", values[chosen])
