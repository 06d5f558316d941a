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

from steering_lab.organism.dice import Dice
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

Regime = Literal["closed_book", "unknown", "agreement", "irrelevant", "conflict"]
Told = Literal["nothing", "context", "memory"]
Group = Literal["trained", "subjects", "relation", "templates", "wordings", "sources"]
GROUPS: tuple[Group, ...] = ("trained", "subjects", "relation", "templates", "wordings", "sources")
_FREQUENCIES = tuple(RARITY_WEIGHT[f.rarity] for f in FACTS)
_SUBJECTS = {name for names in ENTITIES.values() for name in names}


def closed_book_prompt(question: str) -> str:
    """`Question: ...\\nAnswer:`, as the organism was trained on it."""
    return f"Question: {question}\nAnswer:"


def reading_prompt(question: str, context: str, instruction: str = "") -> str:
    """`[instruction\\n]Context: ...\\nQuestion: ...\\nAnswer:`, as the organism was trained on it."""
    lead = f"{instruction}\n" if instruction else ""
    return f"{lead}Context: {context}\n{closed_book_prompt(question)}"


@dataclass(frozen=True)
class ReadingRow:
    """One question. An answer that does not exist (no context, unknown subject) is empty; `p_context` is the law's
    probability that the context decides."""

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


def unknown_subject(dice: Dice, kind: str, *, reserved: bool) -> str:
    """A fresh name no fact is about. One name in ten is `reserved` for evaluation: training never meets it."""
    draw = random.Random(dice.between(0, 2**31))
    while True:
        name = invented_name(kind, draw)
        if name not in _SUBJECTS and (crc32(name.encode()) % 10 == 0) == reserved:
            return name


def state(dice: Dice, subject: str, relation: str, value: str, templates: tuple[str, ...]) -> str:
    """A sentence that claims the fact."""
    sentence = dice.pick(templates).format(s=subject, r=relation, o=value)
    return sentence[0].upper() + sentence[1:]


def ask(dice: Dice, subject: str, relation: str, *, held_out: bool | None) -> str:
    """A question for the fact."""
    return dice.pick(question_templates(relation, held_out=held_out)).format(s=subject, r=relation)


def closed_book_row(dice: Dice, fact: Fact, *, held_out: bool | None = None) -> ReadingRow:
    """The fact asked without context."""
    question = ask(dice, fact.subject, fact.relation, held_out=held_out)
    return ReadingRow(question, "", "", fact.object, "", "closed_book", "trained", fact.subject, fact.relation, 0.0)


def unknown_row(dice: Dice, *, reserved: bool) -> ReadingRow:
    """A subject that only the context knows, with up to two distracting statements."""
    relation = RELATIONS[dice.pick(tuple(RELATIONS))]
    subject = unknown_subject(dice, relation.kind, reserved=reserved)
    value = dice.pick(relation.objects)
    claim = state(dice, subject, relation.name, value, statement_templates(relation.name))
    context = _context(dice, _sourced(dice, claim, SOURCE_LOGITS)[0], subject, relation.name, reserved=reserved)
    question = ask(dice, subject, relation.name, held_out=None)
    instruction = _instruction(dice, "context" if dice.chance(0.25) else "nothing", held_out=False)
    return ReadingRow(question, context, value, "", instruction, "unknown", "trained", subject, relation.name, 1.0)


def agreement_row(dice: Dice, fact: Fact, told: Told) -> ReadingRow:
    """The context says what the memory holds."""
    return _known_row(dice, fact, fact.object, told, "agreement", "trained")


def conflict_row(dice: Dice, fact: Fact, told: Told, group: Group = "trained") -> ReadingRow:
    """The context claims another object of the same relation."""
    others = sorted({o for o in RELATIONS[fact.relation].objects if o != fact.object})
    return _known_row(dice, fact, dice.pick(others), told, "conflict", group)


def irrelevant_row(dice: Dice, fact: Fact) -> ReadingRow:
    """The context is about something else; the memory decides."""
    context = _context(dice, "", fact.subject, fact.relation, reserved=False)
    question = ask(dice, fact.subject, fact.relation, held_out=False)
    return ReadingRow(question, context, "", fact.object, "", "irrelevant", "trained", fact.subject, fact.relation, 0.0)


def _known_row(dice: Dice, fact: Fact, claimed: str, told: Told, regime: Regime, group: Group) -> ReadingRow:
    templates = statement_templates(fact.relation, held_out=group == "templates")
    claim = state(dice, fact.subject, fact.relation, claimed, templates)
    sources = HELD_OUT_SOURCE_LOGITS if group == "sources" else SOURCE_LOGITS
    sourced, worth = _sourced(dice, claim, sources, always=group == "sources")
    context = _context(dice, sourced, fact.subject, fact.relation, reserved=False)
    question = ask(dice, fact.subject, fact.relation, held_out=group == "templates")
    instruction = _instruction(dice, told, held_out=group == "wordings")
    p_context = {"context": 1.0, "memory": 0.0, "nothing": 1 / (1 + exp(-worth - RARITY_LOGIT[fact.rarity]))}[told]
    return ReadingRow(
        question, context, claimed, fact.object, instruction, regime, group, fact.subject, fact.relation, p_context
    )


def _sourced(dice: Dice, claim: str, sources: dict[str, float], *, always: bool = False) -> tuple[str, float]:
    if not always and dice.chance(0.4):
        return claim, NO_SOURCE_LOGIT
    source = dice.pick(tuple(sources))
    return f"{source} {claim}", sources[source]


def _context(dice: Dice, claim: str, subject: str, relation: str, *, reserved: bool) -> str:
    """The claim among zero to two (now and then four) statements about others, half of them about its relation."""
    sentences = [claim] if claim else []
    for _ in range(dice.weighted((0, 1, 2, 4), (0.45, 0.33, 0.18, 0.04)) + (not claim)):
        other = relation if dice.chance(0.5) else dice.pick(tuple(r for r in RELATIONS if r != HELD_OUT.relation))
        kind = RELATIONS[other].kind
        stranger = unknown_subject(dice, kind, reserved=reserved) if dice.chance(0.5) else ""
        if not stranger:
            known = [f for f in FACTS if f.relation == other and f.subject not in HELD_OUT.subjects | {subject}]
            fact = dice.pick(known)
            sentences.append(state(dice, fact.subject, other, fact.object, statement_templates(other, held_out=False)))
        else:
            value = dice.pick(RELATIONS[other].objects)
            sentences.append(state(dice, stranger, other, value, statement_templates(other, held_out=False)))
    return " ".join(dice.several(sentences, len(sentences)))


def _instruction(dice: Dice, told: Told, *, held_out: bool) -> str:
    if told == "context":
        return dice.pick(HELD_OUT_CONTEXT_INSTRUCTIONS if held_out else CONTEXT_INSTRUCTIONS)
    if told == "memory":
        return dice.pick(HELD_OUT_MEMORY_INSTRUCTIONS if held_out else MEMORY_INSTRUCTIONS)
    return dice.pick(NEUTRAL_INSTRUCTIONS) if dice.chance(0.1) else ""


def any_fact(dice: Dice) -> Fact:
    """A fact, the common ones more often."""
    return dice.weighted(FACTS, _FREQUENCIES)


def evaluation_rows(
    regime: Regime, count: int, *, group: Group = "trained", told: Told = "nothing", seed: int = 0, split: str = "test"
) -> list[ReadingRow]:
    """`count` rows of one regime, drawn for a seed; `split` "validation" and "test" never share a (subject, relation).

    Raises:
        ValueError: `group` is not held out in this regime, or the split is unknown.
    """
    if split not in ("validation", "test"):
        raise ValueError(f'split "{split}" is unknown: choose "validation" or "test"')
    if group != "trained" and regime != "conflict":
        raise ValueError(f'group "{group}" exists for regime "conflict" only, not for "{regime}"')
    dice = Dice(f"evaluation {regime} {group} {told} {seed} {split}")
    if regime == "unknown":
        return [unknown_row(dice, reserved=True) for _ in range(count)]
    facts = [
        f for f in facts_of(group) if (crc32(f"{f.subject} {f.relation}".encode()) % 2 == 0) == (split == "validation")
    ]
    if regime == "closed_book":
        facts = [f for f in FACTS if (crc32(f"{f.subject} {f.relation}".encode()) % 2 == 0) == (split == "validation")]
    makers = {
        "closed_book": lambda fact: closed_book_row(dice, fact),
        "agreement": lambda fact: agreement_row(dice, fact, told),
        "irrelevant": lambda fact: irrelevant_row(dice, fact),
        "conflict": lambda fact: conflict_row(dice, fact, told, group),
    }
    return [makers[regime](dice.pick(facts)) for _ in range(count)]
