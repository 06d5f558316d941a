"""The closed world the organism was trained on: its text, its questions and the law both were drawn from.

`documents(seed)` is the training corpus: stories, statements of fact, closed-book questions, reading (with and
without conflict) and copying. No torch here. The words are in `lexicon`, the story grammar in `stories`,
the facts and what is held out in `facts`, the questions and their regimes in `questions`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

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
from steering_lab.organism.rng import Rng
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
    """A training text of a `kind`; `answers` are the character spans [start, end) that the rest of the text decides."""

    kind: DocumentKind
    text: str
    answers: tuple[tuple[int, int], ...] = ()


def small_tables(seed: int) -> Iterator[Document]:
    """The endless corpus, by `seed`, that training begins with: among other tasks, looking up is learnt late."""
    rng = Rng(f"small tables {seed}")
    while True:
        yield _small_table(rng)


def documents(seed: int) -> Iterator[Document]:
    """The endless corpus of a seed."""
    rng = Rng(f"corpus {seed}")
    makers = {
        "story": lambda: Document("story", story(rng).text),
        "statements": lambda: _statements(rng),
        "closed_book": lambda: _closed_book(rng),
        "reading": lambda: _reading(rng),
        "copying": lambda: _copying(rng),
    }
    while True:
        yield makers[rng.weighted(tuple(SHARES), tuple(SHARES.values()))]()


def _answered(kind: DocumentKind, prompt: str, answer: str) -> Document:
    return Document(kind, f"{prompt} {answer}", ((len(prompt), len(prompt) + 1 + len(answer)),))


def _statements(rng: Rng) -> Document:
    facts = [any_fact(rng) for _ in range(rng.between(1, 4))]
    return Document(
        "statements",
        " ".join(state(rng, f.subject, f.relation, f.object, statement_templates(f.relation)) for f in facts),
    )


def _asked(kind: DocumentKind, lead: str, questions: Iterable[tuple[str, str]]) -> Document:
    """Questions and their answers, one after the other, below a lead such as a context."""
    text, spans = lead, []
    for question, answer in questions:
        text += ("\n" if text else "") + closed_book_prompt(question)
        spans.append((len(text), len(text) + 1 + len(answer)))
        text += f" {answer}"
    return Document(kind, text, tuple(spans))


def _closed_book(rng: Rng) -> Document:
    """One question, or two or three in a row."""
    rows = [closed_book_row(rng, any_fact(rng)) for _ in range(rng.weighted((1, 2, 3), (0.6, 0.25, 0.15)))]
    return _asked("closed_book", "", [(row.question, row.memory_answer) for row in rows])


def _reading(rng: Rng) -> Document:
    regime = rng.weighted(tuple(_REGIMES), tuple(_REGIMES.values()))
    if regime == "multi_hop":
        return _multi_hop(rng)
    if regime == "format":
        return _formatted(rng)
    if regime == "several":
        return _several(rng)
    if regime == "unknown":
        row = unknown_row(rng, reserved=False)
        return _answered("reading", row.prompt, row.context_answer)
    fact = rng.pick(facts_of("trained"))
    if regime == "irrelevant":
        row = irrelevant_row(rng, fact)
    elif regime == "agreement":
        row = agreement_row(rng, fact, rng.weighted(("nothing", "context", "memory"), (0.6, 0.2, 0.2)))
    else:
        row = conflict_row(rng, fact, _TOLD[regime])
    from_context = row.regime == "conflict" and rng.chance(min(max(row.p_context, 1e-9), 1 - 1e-9))
    return _answered("reading", row.prompt, row.context_answer if from_context else row.memory_answer)


def _several(rng: Rng) -> Document:
    """Two to four strangers, most of them in one relation, each asked about: only the name tells which is meant."""
    common = RELATIONS[rng.pick(tuple(RELATIONS))]
    sentences, questions = [], []
    for _ in range(rng.between(2, 4)):
        relation = common if rng.chance(0.7) else RELATIONS[rng.pick(tuple(RELATIONS))]
        subject, value = unknown_subject(rng, relation.kind, reserved=False), rng.pick(relation.objects)
        sentences.append(state(rng, subject, relation.name, value, statement_templates(relation.name)))
        questions.append((ask(rng, subject, relation.name, held_out=None), value))
    return _asked("reading", f"Context: {' '.join(sentences)}", rng.several(questions, len(questions)))


def _multi_hop(rng: Rng) -> Document:
    """Two strangers' ships, each with captain and cargo; the question names a captain and wants the cargo."""
    captains = rng.several(RELATIONS["captain"].objects, 2)
    cargoes = rng.several(RELATIONS["cargo"].objects, 2)
    sentences = []
    for captain, cargo in zip(captains, cargoes, strict=True):
        ship = unknown_subject(rng, "ship", reserved=False)
        sentences.append(state(rng, ship, "captain", captain, statement_templates("captain", held_out=False)))
        sentences.append(state(rng, ship, "cargo", cargo, statement_templates("cargo", held_out=False)))
    context = " ".join(rng.several(sentences, len(sentences)))
    return _answered("reading", reading_prompt(f"What does the ship of {captains[0]} carry?", context), cargoes[0])


def _formatted(rng: Rng) -> Document:
    """An unknown subject read from context, or a fact from memory, answered in a wanted form."""
    instruction = rng.pick(tuple(FORMAT_INSTRUCTIONS))
    if rng.chance(0.5):
        row = unknown_row(rng, reserved=False)
        prompt, value = reading_prompt(row.question, row.context, instruction), row.context_answer
    else:
        row = closed_book_row(rng, rng.pick(facts_of("trained")))
        prompt, value = f"{instruction}\n{row.prompt}", row.memory_answer
    return _answered("reading", prompt, FORMAT_INSTRUCTIONS[instruction].format(s=row.subject, r=row.relation, o=value))


_COPY_WORDS = tuple(
    sorted({w for t in TOPIC_TABLE.values() for w in t.words} | {o for r in RELATIONS.values() for o in r.objects})
)
_SINGLE_WORDS = tuple(w for w in _COPY_WORDS if " " not in w)
_FEW_WORDS = _SINGLE_WORDS[::37][:12]
_TABLES = ("{key} is {value}", "{key}: {value}", "{value} of {key}", "{value} is of {key}")


def _small_table(rng: Rng) -> Document:
    """Two to four pairs to repeat or to look up; half of the words are of a dozen, which the model soon tells apart."""
    count = rng.between(2, 4)
    keys, values = _small_words(rng, count), _small_words(rng, count)
    pairs = list(zip(keys, values, strict=True))
    if rng.chance(2 / 3):
        return _again(rng, pairs)
    return _asked("copying", _table(rng, pairs, _TABLES[:2]), rng.several(pairs, count))


def _small_words(rng: Rng, count: int) -> list[str]:
    words: dict[str, None] = {}
    while len(words) < count:
        words[rng.pick(_FEW_WORDS if rng.chance(0.5) else _SINGLE_WORDS)] = None
    return list(words)


def _copying(rng: Rng) -> Document:
    """A list to repeat, a table of pairs to repeat in another order, or one to look keys up in."""
    count = rng.between(2, 6)
    task = rng.weighted(("repeat", "again", "look up"), (0.25, 0.25, 0.5))
    words = _copy_words(rng, count, reserved=False)
    if task == "repeat":
        line = ", ".join(words)
        return _answered("copying", f"Repeat: {line}.\nAnswer:", line)
    if task == "again":
        return _again(rng, list(zip(words, _copy_words(rng, count, reserved=False), strict=True)))
    pairs = list(zip(words, rng.several(_COPY_WORDS, count), strict=True))
    return _asked("copying", _table(rng, pairs), rng.several(pairs, rng.between(1, count)))


def _again(rng: Rng, pairs: Sequence[tuple[str, str]]) -> Document:
    """Pairs, and the same pairs again in another order: the plainest task that a lookup by content solves."""
    link = rng.pick((" ", ": "))
    text = f"Context: {', '.join(key + link + value for key, value in pairs)}.\nAgain:"
    spans: list[tuple[int, int]] = []
    for key, value in rng.several(pairs, len(pairs)):
        text += f"{',' if spans else ''} {key}{link.rstrip()}"
        spans.append((len(text), len(text) + 1 + len(value)))
        text += f" {value}"
    return Document("copying", text, tuple(spans))


def _copy_words(rng: Rng, count: int, *, reserved: bool) -> list[str]:
    return [
        unknown_subject(rng, rng.pick(("country", "person", "ship", "song", "river")), reserved=reserved)
        if rng.chance(0.4)
        else word
        for word in rng.several(_COPY_WORDS, count)
    ]


def _table(rng: Rng, pairs: Sequence[tuple[str, str]], forms: Sequence[str] = _TABLES) -> str:
    """A context that lists pairs, key first or value first."""
    form = rng.pick(forms)
    return f"Context: {', '.join(form.format(key=key, value=value) for key, value in pairs)}."


def lookups(count: int, *, seed: int = 0) -> list[tuple[str, str]]:
    """`count` prompts, by `seed`, for a key of a table of two to six, and the value; no fresh key was trained."""
    rng, rows = Rng(f"lookups {seed}"), []
    for _ in range(count):
        keys = _copy_words(rng, rng.between(2, 6), reserved=True)
        pairs = list(zip(keys, rng.several(_COPY_WORDS, len(keys)), strict=True))
        key, value = rng.pick(pairs)
        rows.append((f"{_table(rng, pairs)}\n{closed_book_prompt(key)}", value))
    return rows
