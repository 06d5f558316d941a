"""The closed world the organism was trained on: its text, its questions and the law both were drawn from.

`documents(seed)` is the training corpus: stories, statements of fact, closed-book questions, reading (with and
without conflict) and copying. No torch here. The words are in `lexicon`, the story grammar in `stories`,
the facts and what is held out in `facts`, the questions and their regimes in `questions`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from steering_lab.organism.dice import Dice
from steering_lab.organism.facts import FACTS, FORMAT_INSTRUCTIONS, HELD_OUT, RELATIONS, Fact, statement_templates
from steering_lab.organism.lexicon import (
    MOODS,
    NEGATIVE_WORDS,
    POSITIVE_WORDS,
    STORY_PROMPTS_TEST,
    STORY_PROMPTS_VALIDATION,
    TOPIC_TABLE,
    TOPICS,
)
from steering_lab.organism.questions import (
    GROUPS,
    ReadingRow,
    Told,
    agreement_row,
    any_fact,
    ask,
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
from steering_lab.organism.stories import Story, story

__all__ = [
    "FACTS", "GROUPS", "HELD_OUT", "MOODS", "NEGATIVE_WORDS", "POSITIVE_WORDS", "STORY_PROMPTS_TEST",
    "STORY_PROMPTS_VALIDATION", "TOPICS", "Document", "Fact", "ReadingRow", "Story", "closed_book_prompt", "documents",
    "evaluation_rows", "lookups", "reading_prompt", "small_tables", "story",
]  # fmt: skip

DocumentKind = Literal["story", "statements", "closed_book", "reading", "copying"]
# Shares of documents; in tokens about .42, .04, .06, .34 and .14.
SHARES: dict[DocumentKind, float] = {
    "story": 0.40,
    "statements": 0.07,
    "closed_book": 0.11,
    "reading": 0.29,
    "copying": 0.13,
}
# What reading documents are about.
_REGIMES = {
    "unknown": 0.12,
    "several": 0.14,
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
    """A training text; `answers` are the character spans [start, end) that the rest of the text decides."""

    kind: DocumentKind
    text: str
    answers: tuple[tuple[int, int], ...] = ()


def small_tables(seed: int) -> Iterator[Document]:
    """The endless corpus that training begins with: looking things up is learnt late, or never, among other tasks."""
    dice = Dice(f"small tables {seed}")
    while True:
        yield _small_table(dice)


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


def _asked(kind: DocumentKind, lead: str, questions: Iterable[tuple[str, str]]) -> Document:
    """Questions and their answers, one after the other, below a lead such as a context."""
    text, spans = lead, []
    for question, answer in questions:
        text += ("\n" if text else "") + closed_book_prompt(question)
        spans.append((len(text), len(text) + 1 + len(answer)))
        text += f" {answer}"
    return Document(kind, text, tuple(spans))


def _closed_book(dice: Dice) -> Document:
    """One question, or two or three in a row."""
    rows = [closed_book_row(dice, any_fact(dice)) for _ in range(dice.weighted((1, 2, 3), (0.6, 0.25, 0.15)))]
    return _asked("closed_book", "", [(row.question, row.memory_answer) for row in rows])


def _reading(dice: Dice) -> Document:
    regime = dice.weighted(tuple(_REGIMES), tuple(_REGIMES.values()))
    if regime == "multi_hop":
        return _multi_hop(dice)
    if regime == "format":
        return _formatted(dice)
    if regime == "several":
        return _several(dice)
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


def _several(dice: Dice) -> Document:
    """Two to four strangers, most of them in one relation, each asked about: only the name tells which is meant."""
    common = RELATIONS[dice.pick(tuple(RELATIONS))]
    sentences, questions = [], []
    for _ in range(dice.between(2, 4)):
        relation = common if dice.chance(0.7) else RELATIONS[dice.pick(tuple(RELATIONS))]
        subject, value = unknown_subject(dice, relation.kind, reserved=False), dice.pick(relation.objects)
        sentences.append(state(dice, subject, relation.name, value, statement_templates(relation.name)))
        questions.append((ask(dice, subject, relation.name, held_out=None), value))
    return _asked("reading", f"Context: {' '.join(sentences)}", dice.several(questions, len(questions)))


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
_SINGLE_WORDS = tuple(w for w in _COPY_WORDS if " " not in w)
_FEW_WORDS = _SINGLE_WORDS[::37][:12]
_TABLES = ("{key} is {value}", "{key}: {value}", "{value} of {key}", "{value} is of {key}")


def _small_table(dice: Dice) -> Document:
    """Two to four pairs to repeat or to look up; half of the words are of a dozen, which the model soon tells apart."""
    count = dice.between(2, 4)
    keys, values = _small_words(dice, count), _small_words(dice, count)
    pairs = list(zip(keys, values, strict=True))
    if dice.chance(2 / 3):
        return _again(dice, pairs)
    return _asked("copying", _table(dice, pairs, _TABLES[:2]), dice.several(pairs, count))


def _small_words(dice: Dice, count: int) -> list[str]:
    words: dict[str, None] = {}
    while len(words) < count:
        words[dice.pick(_FEW_WORDS if dice.chance(0.5) else _SINGLE_WORDS)] = None
    return list(words)


def _copying(dice: Dice) -> Document:
    """A list to repeat, a table of pairs to repeat in another order, or one to look keys up in."""
    count = dice.between(2, 6)
    task = dice.weighted(("repeat", "again", "look up"), (0.25, 0.25, 0.5))
    words = _copy_words(dice, count, reserved=False)
    if task == "repeat":
        line = ", ".join(words)
        return _answered("copying", f"Repeat: {line}.\nAnswer:", line)
    if task == "again":
        return _again(dice, list(zip(words, _copy_words(dice, count, reserved=False), strict=True)))
    pairs = list(zip(words, dice.several(_COPY_WORDS, count), strict=True))
    return _asked("copying", _table(dice, pairs), dice.several(pairs, dice.between(1, count)))


def _again(dice: Dice, pairs: Sequence[tuple[str, str]]) -> Document:
    """Pairs, and the same pairs again in another order: the plainest task that a lookup by content solves."""
    link = dice.pick((" ", ": "))
    text = f"Context: {', '.join(key + link + value for key, value in pairs)}.\nAgain:"
    spans: list[tuple[int, int]] = []
    for key, value in dice.several(pairs, len(pairs)):
        text += f"{',' if spans else ''} {key}{link.rstrip()}"
        spans.append((len(text), len(text) + 1 + len(value)))
        text += f" {value}"
    return Document("copying", text, tuple(spans))


def _copy_words(dice: Dice, count: int, *, reserved: bool) -> list[str]:
    return [
        unknown_subject(dice, dice.pick(("country", "person", "ship", "song", "river")), reserved=reserved)
        if dice.chance(0.4)
        else word
        for word in dice.several(_COPY_WORDS, count)
    ]


def _table(dice: Dice, pairs: Sequence[tuple[str, str]], forms: Sequence[str] = _TABLES) -> str:
    """A context that lists pairs, key first or value first."""
    form = dice.pick(forms)
    return f"Context: {', '.join(form.format(key=key, value=value) for key, value in pairs)}."


def lookups(count: int, *, seed: int = 0) -> list[tuple[str, str]]:
    """`count` prompts that ask for a key of a table of two to six, with the value wanted; no fresh key was trained."""
    dice, rows = Dice(f"lookups {seed}"), []
    for _ in range(count):
        keys = _copy_words(dice, dice.between(2, 6), reserved=True)
        pairs = list(zip(keys, dice.several(_COPY_WORDS, len(keys)), strict=True))
        key, value = dice.pick(pairs)
        rows.append((f"{_table(dice, pairs)}\n{closed_book_prompt(key)}", value))
    return rows
