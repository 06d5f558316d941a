"""Questions of the invented world: closed book, reading, and the conflict between context and memory.

A `ReadingRow` says what is asked, what the context claims and what the memory holds, under one of the regimes; its
prompt is `[instruction\\n]Context: ...\\nQuestion: ...\\nAnswer:`. The law of the world: with a context instruction
the context is right, with a memory instruction the memory is, and without either the context is right with
probability sigmoid(worth of the source + rarity of the subject). The same functions make training and evaluation
rows; they differ in `group`, which says what is held out.
"""

import random
from dataclasses import dataclass
from math import exp
from typing import Literal
from zlib import crc32

from steering_lab.organism.facts import (
    CONTEXT_INSTRUCTIONS,
    ENTITIES,
    FACTS,
    HELD_OUT,
    HELD_OUT_CONTEXT_INSTRUCTIONS,
    HELD_OUT_MEMORY_INSTRUCTIONS,
    HELD_OUT_SOURCE_LOGITS,
    MEMORY_INSTRUCTIONS,
    NEUTRAL_INSTRUCTIONS,
    NO_SOURCE_LOGIT,
    RARITY_LOGIT,
    RARITY_WEIGHT,
    RELATIONS,
    SOURCE_LOGITS,
    Fact,
    invented_name,
    question_templates,
    statement_templates,
)
from steering_lab.organism.rng import Rng

Regime = Literal["closed_book", "unknown", "agreement", "irrelevant", "conflict"]
Told = Literal["nothing", "context", "memory"]
Group = Literal["trained", "subjects", "relation", "templates", "wordings", "sources"]
GROUPS: tuple[Group, ...] = ("trained", "subjects", "relation", "templates", "wordings", "sources")
_FREQUENCIES = tuple(RARITY_WEIGHT[f.rarity] for f in FACTS)
_SUBJECTS = {name for names in ENTITIES.values() for name in names}


def closed_book_prompt(question: str) -> str:
    """`Question: <question>\\nAnswer:`, from `question`, as the organism was trained on it."""
    return f"Question: {question}\nAnswer:"


def reading_prompt(question: str, context: str, instruction: str = "") -> str:
    """`[instruction\\n]Context: ...\\nQuestion: ...\\nAnswer:`, as the organism was trained on it.

    Args:
        question: What is asked.
        context: What stands in front of the question.
        instruction: A line before both; "" is none.
    """
    lead = f"{instruction}\n" if instruction else ""
    return f"{lead}Context: {context}\n{closed_book_prompt(question)}"


@dataclass(frozen=True)
class ReadingRow:
    """One question. An answer that does not exist (no context, unknown subject) is empty; `p_context` is the law's
    probability that the context decides.

    Args:
        question: The question.
        context: The passage; "" is none.
        context_answer: What the passage says; "" is nothing.
        memory_answer: What the world says; "" is nothing.
        instruction: What stands in front; "" is nothing.
        regime: Which kind of question.
        group: What of a conflict training never showed; "trained" is nothing.
        subject: Who the fact is about.
        relation: The name of the relation.
        p_context: The law's probability that the context decides.
    """

    question: str
    context: str
    context_answer: str
    memory_answer: str
    instruction: str
    regime: Regime
    group: Group
    subject: str
    relation: str
    p_context: float

    @property
    def prompt(self) -> str:
        """What the model reads, up to and including `Answer:`."""
        if not self.context:
            return closed_book_prompt(self.question)
        return reading_prompt(self.question, self.context, self.instruction)

    @property
    def closed_book(self) -> str:
        """The bare question, without context and instruction."""
        return closed_book_prompt(self.question)


def _in_conflict_training(fact: Fact) -> bool:
    return fact.subject not in HELD_OUT.subjects and fact.relation != HELD_OUT.relation


def facts_of(group: Group) -> tuple[Fact, ...]:
    """The facts a group's conflicts are about: held-out subjects, the held-out relation, or those of training."""
    if group == "subjects":
        return tuple(f for f in FACTS if f.subject in HELD_OUT.subjects and f.relation != HELD_OUT.relation)
    if group == "relation":
        return tuple(f for f in FACTS if f.subject not in HELD_OUT.subjects and f.relation == HELD_OUT.relation)
    return tuple(f for f in FACTS if _in_conflict_training(f))


def unknown_subject(rng: Rng, kind: str, *, reserved: bool) -> str:
    """A fresh name no fact is about. One name in ten is `reserved` for evaluation: training never meets it.

    Args:
        rng: What the name is drawn by.
        kind: What the name's ending tells.
        reserved: Whether it is one of those that training never meets.
    """
    draw = random.Random(rng.between(0, 2**31))
    while True:
        name = invented_name(kind, draw)
        if name not in _SUBJECTS and (crc32(name.encode()) % 10 == 0) == reserved:
            return name


def state(rng: Rng, subject: str, relation: str, value: str, templates: tuple[str, ...]) -> str:
    """A sentence that claims the fact.

    Args:
        rng: What draws the choices.
        subject: Who the fact is about.
        relation: The name of the relation.
        value: What is claimed.
        templates: The wordings to choose from.
    """
    sentence = rng.pick(templates).format(s=subject, r=relation, o=value)
    return sentence[0].upper() + sentence[1:]


def ask(rng: Rng, subject: str, relation: str, *, held_out: bool | None) -> str:
    """A question for the fact.

    Args:
        rng: What draws the choices.
        subject: Who the fact is about.
        relation: The name of the relation.
        held_out: Whether the wording is one that training never used in a conflict; None is any.
    """
    return rng.pick(question_templates(relation, held_out=held_out)).format(s=subject, r=relation)


def closed_book_row(rng: Rng, fact: Fact, *, held_out: bool | None = None) -> ReadingRow:
    """The fact asked without context.

    Args:
        rng: What the wording is drawn by.
        fact: What is asked.
        held_out: Whether the wording is one held out from conflict.
    """
    question = ask(rng, fact.subject, fact.relation, held_out=held_out)
    return ReadingRow(question, "", "", fact.object, "", "closed_book", "trained", fact.subject, fact.relation, 0.0)


def unknown_row(rng: Rng, *, reserved: bool) -> ReadingRow:
    """A subject that only the context knows, with up to two distracting statements.

    Args:
        rng: What subject, fact and wording are drawn by.
        reserved: Whether the subject's name is one that training never meets.
    """
    relation = RELATIONS[rng.pick(tuple(RELATIONS))]
    subject = unknown_subject(rng, relation.kind, reserved=reserved)
    value = rng.pick(relation.objects)
    claim = state(rng, subject, relation.name, value, statement_templates(relation.name))
    context = _context(rng, _sourced(rng, claim, SOURCE_LOGITS)[0], subject, relation.name, reserved=reserved)
    question = ask(rng, subject, relation.name, held_out=None)
    instruction = _instruction(rng, "context" if rng.chance(0.25) else "nothing", held_out=False)
    return ReadingRow(question, context, value, "", instruction, "unknown", "trained", subject, relation.name, 1.0)


def agreement_row(rng: Rng, fact: Fact, told: Told) -> ReadingRow:
    """The context says what the memory holds.

    Args:
        rng: What the wording is drawn by.
        fact: What is asked.
        told: How the context says it.
    """
    return _known_row(rng, fact, fact.object, told, "agreement", "trained")


def conflict_row(rng: Rng, fact: Fact, told: Told, group: Group = "trained") -> ReadingRow:
    """The context claims another object of the same relation.

    Args:
        rng: What draws the choices.
        fact: The fact that is contradicted.
        told: What the instruction asks for: the context, the memory, or nothing.
        group: What of a conflict training never showed; "trained" is nothing.
    """
    others = sorted({o for o in RELATIONS[fact.relation].objects if o != fact.object})
    return _known_row(rng, fact, rng.pick(others), told, "conflict", group)


def irrelevant_row(rng: Rng, fact: Fact) -> ReadingRow:
    """The context is about something else; the memory decides.

    Args:
        rng: What the context is drawn by.
        fact: What is asked.
    """
    context = _context(rng, "", fact.subject, fact.relation, reserved=False)
    question = ask(rng, fact.subject, fact.relation, held_out=False)
    return ReadingRow(question, context, "", fact.object, "", "irrelevant", "trained", fact.subject, fact.relation, 0.0)


def _known_row(rng: Rng, fact: Fact, claimed: str, told: Told, regime: Regime, group: Group) -> ReadingRow:
    templates = statement_templates(fact.relation, held_out=group == "templates")
    claim = state(rng, fact.subject, fact.relation, claimed, templates)
    sources = HELD_OUT_SOURCE_LOGITS if group == "sources" else SOURCE_LOGITS
    sourced, worth = _sourced(rng, claim, sources, always=group == "sources")
    context = _context(rng, sourced, fact.subject, fact.relation, reserved=False)
    question = ask(rng, fact.subject, fact.relation, held_out=group == "templates")
    instruction = _instruction(rng, told, held_out=group == "wordings")
    p_context = {"context": 1.0, "memory": 0.0, "nothing": 1 / (1 + exp(-worth - RARITY_LOGIT[fact.rarity]))}[told]
    return ReadingRow(
        question, context, claimed, fact.object, instruction, regime, group, fact.subject, fact.relation, p_context
    )


def _sourced(rng: Rng, claim: str, sources: dict[str, float], *, always: bool = False) -> tuple[str, float]:
    if not always and rng.chance(0.4):
        return claim, NO_SOURCE_LOGIT
    source = rng.pick(tuple(sources))
    return f"{source} {claim}", sources[source]


def _context(rng: Rng, claim: str, subject: str, relation: str, *, reserved: bool) -> str:
    """The claim among zero to two (now and then four) statements about others, half of them about its relation."""
    sentences = [claim] if claim else []
    for _ in range(rng.weighted((0, 1, 2, 4), (0.45, 0.33, 0.18, 0.04)) + (not claim)):
        other = relation if rng.chance(0.5) else rng.pick(tuple(r for r in RELATIONS if r != HELD_OUT.relation))
        kind = RELATIONS[other].kind
        stranger = unknown_subject(rng, kind, reserved=reserved) if rng.chance(0.5) else ""
        if not stranger:
            known = [f for f in FACTS if f.relation == other and f.subject not in HELD_OUT.subjects | {subject}]
            fact = rng.pick(known)
            sentences.append(state(rng, fact.subject, other, fact.object, statement_templates(other, held_out=False)))
        else:
            value = rng.pick(RELATIONS[other].objects)
            sentences.append(state(rng, stranger, other, value, statement_templates(other, held_out=False)))
    return " ".join(rng.several(sentences, len(sentences)))


def _instruction(rng: Rng, told: Told, *, held_out: bool) -> str:
    if told == "context":
        return rng.pick(HELD_OUT_CONTEXT_INSTRUCTIONS if held_out else CONTEXT_INSTRUCTIONS)
    if told == "memory":
        return rng.pick(HELD_OUT_MEMORY_INSTRUCTIONS if held_out else MEMORY_INSTRUCTIONS)
    return rng.pick(NEUTRAL_INSTRUCTIONS) if rng.chance(0.1) else ""


def any_fact(rng: Rng) -> Fact:
    """A fact drawn by `rng`, the common ones more often."""
    return rng.weighted(FACTS, _FREQUENCIES)


def evaluation_rows(
    regime: Regime, count: int, *, group: Group = "trained", told: Told = "nothing", seed: int = 0, split: str = "test"
) -> list[ReadingRow]:
    """`count` rows of one regime, drawn for a seed; `split` "validation" and "test" never share a (subject, relation).

    Args:
        regime: Which kind of question.
        count: How many rows.
        group: What of a conflict training never showed; "trained" is nothing.
        told: What the instruction asks for: the context, the memory, or nothing.
        seed: What random draws follow from.
        split: "validation" or "test".

    Raises:
        ValueError: `group` is not held out in this regime, or the split is unknown.
    """
    if split not in ("validation", "test"):
        raise ValueError(f'split "{split}" is unknown: choose "validation" or "test"')
    if group != "trained" and regime != "conflict":
        raise ValueError(f'group "{group}" exists for regime "conflict" only, not for "{regime}"')
    rng = Rng(f"evaluation {regime} {group} {told} {seed} {split}")
    if regime == "unknown":
        return [unknown_row(rng, reserved=True) for _ in range(count)]
    facts = [
        f for f in facts_of(group) if (crc32(f"{f.subject} {f.relation}".encode()) % 2 == 0) == (split == "validation")
    ]
    if regime == "closed_book":
        facts = [f for f in FACTS if (crc32(f"{f.subject} {f.relation}".encode()) % 2 == 0) == (split == "validation")]
    makers = {
        "closed_book": lambda fact: closed_book_row(rng, fact),
        "agreement": lambda fact: agreement_row(rng, fact, told),
        "irrelevant": lambda fact: irrelevant_row(rng, fact),
        "conflict": lambda fact: conflict_row(rng, fact, told, group),
    }
    return [makers[regime](rng.pick(facts)) for _ in range(count)]
