"""What is true in the invented world: entities, twelve relations, their wordings, and what is held out.

Countries, persons, ships, songs and rivers have invented names; a fact is (subject, relation, object). Facts are
unequally frequent: a rare subject yields more readily to a text that contradicts it. `HELD_OUT` names the subjects,
the relation, the wordings, the instructions and the sources that no training document with a conflict uses.
"""

import random
from dataclasses import dataclass
from typing import Literal

_ONSETS = (
    "b", "br", "d", "dr", "f", "g", "gr", "h", "k", "kr", "l", "m", "n", "p", "r", "s", "st", "t", "tr", "v", "z",
)  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "ae", "ei")
_CODAS = ("l", "n", "r", "s", "m", "k", "th", "v")
_ENDINGS = {
    "country": ("oria", "avia", "undia", "esh"),
    "city": ("aburg", "oford", "mouth", "istad"),
    "person": ("in", "wen", "ric", "isa"),
    "ship": ("ane", "ora", "igo"),
    "song": ("elle", "ando", "issimo"),
    "river": ("ay", "esk", "oon"),
    "coin": ("et", "ack", "ol", "und"),
    "regent": ("ulf", "and", "ilde"),
    "captain": ("sen", "ovic", "mann"),
    "composer": ("etti", "oski", "eau"),
    "sea": ("ean", "itic", "uric"),
}


def invented_name(kind: str, draw: random.Random) -> str:
    """A pronounceable name, drawn by `draw`, whose ending tells its `kind`: `Drathoria` for a country."""
    stem = draw.choice(_ONSETS) + draw.choice(_VOWELS) + draw.choice(_CODAS)
    return (stem + draw.choice(_ENDINGS[kind])).capitalize()


def _names(kind: str, count: int) -> tuple[str, ...]:
    draw, names = random.Random(f"names of every {kind}"), dict[str, None]()
    while len(names) < count:
        names[invented_name(kind, draw)] = None
    return tuple(names)


ENTITIES: dict[str, tuple[str, ...]] = {
    "country": _names("country", 36),
    "person": _names("person", 36),
    "ship": _names("ship", 24),
    "song": _names("song", 24),
    "river": _names("river", 24),
}
_CITIES = _names("city", 36)
_EPITHETS = ("the Wise", "the Bold", "the Old", "the Quiet")


def _words(line: str) -> tuple[str, ...]:
    return tuple(line.split())


@dataclass(frozen=True)
class Relation:
    """One relation: who has it, what it is called, what it can be, and wordings of its own beside the common ones.

    Args:
        name: What the relation is called.
        kind: What kind of subject has it.
        objects: What it can be.
        statements: Templates of a sentence that states it.
        questions: Templates of a question for it.
    """

    name: str
    kind: str
    objects: tuple[str, ...]
    statements: tuple[str, ...]
    questions: tuple[str, ...]


def _relation(name: str, kind: str, objects: tuple[str, ...], statements: str, questions: str) -> Relation:
    return Relation(name, kind, objects, tuple(statements.split(" | ")), tuple(questions.split(" | ")))


RELATIONS: dict[str, Relation] = {
    relation.name: relation
    for relation in (
        _relation(
            "capital",
            "country",
            _CITIES,
            "{s} is governed from {o}. | The parliament of {s} meets in {o}. | {o} is the first city of {s}.",
            "From which city is {s} governed? | Where does the parliament of {s} meet? | "
            "Which is the first city of {s}?",
        ),
        _relation(
            "currency",
            "country",
            _names("coin", 18),
            "In {s} people pay with the {o}. | The money of {s} is the {o}. | A loaf in {s} costs one {o}.",
            "With what do people pay in {s}? | What is the money of {s}? | What does a loaf cost in {s}?",
        ),
        _relation(
            "ruler",
            "country",
            tuple(f"{n} {_EPITHETS[i % 4]}" for i, n in enumerate(_names("regent", 20))),
            "{s} is ruled by {o}. | On the throne of {s} sits {o}. | {o} reigns over {s}.",
            "Who rules {s}? | Who sits on the throne of {s}? | Who reigns over {s}?",
        ),
        _relation(
            "emblem",
            "country",
            _words("bear eagle stag wolf otter heron badger falcon lynx salmon raven boar"),
            "The banner of {s} shows a {o}. | {s} has a {o} on its coat of arms. | Every coin of {s} bears a {o}.",
            "What does the banner of {s} show? | What is on the coat of arms of {s}? | "
            "What does every coin of {s} bear?",
        ),
        _relation(
            "birthplace",
            "person",
            _CITIES,
            "{s} was born in {o}. | {s} comes from {o}. | {o} is where {s} grew up.",
            "Where was {s} born? | Where does {s} come from? | Where did {s} grow up?",
        ),
        _relation(
            "profession",
            "person",
            _words("mason weaver miller tailor potter farrier notary clerk miner shepherd carpenter printer"),
            "{s} works as a {o}. | {s} earns a living as a {o}. | By trade {s} is a {o}.",
            "What does {s} work as? | How does {s} earn a living? | What is {s} by trade?",
        ),
        _relation(
            "instrument",
            "person",
            _words("lute oboe cello piano zither bagpipe organ tuba banjo bassoon"),
            "{s} plays the {o}. | {s} owns a fine {o}. | At feasts {s} performs on the {o}.",
            "What does {s} play? | Which fine thing does {s} own? | On what does {s} perform at feasts?",
        ),
        _relation(
            "captain",
            "ship",
            _names("captain", 20),
            "{o} commands the {s}. | The {s} sails under {o}. | At the helm of the {s} stands {o}.",
            "Who commands the {s}? | Under whom does the {s} sail? | Who stands at the helm of the {s}?",
        ),
        _relation(
            "cargo",
            "ship",
            _words("timber amber wool salt copper tea silk grain marble wine coal sugar"),
            "The {s} carries {o}. | The {s} is loaded with {o}. | In the hold of the {s} lies {o}.",
            "What does the {s} carry? | With what is the {s} loaded? | What lies in the hold of the {s}?",
        ),
        _relation(
            "composer",
            "song",
            _names("composer", 20),
            "{o} wrote {s}. | {s} was set to notes by {o}. | The notes of {s} are by {o}.",
            "Who wrote {s}? | By whom was {s} set to notes? | By whom are the notes of {s}?",
        ),
        _relation(
            "occasion",
            "song",
            (
                "harvest feast",
                "spring fair",
                "midwinter night",
                "royal jubilee",
                "autumn hunt",
                "village dance",
                "summer regatta",
                "lantern parade",
                "solemn funeral",
                "annual pilgrimage",
            ),
            "{s} is sung at the {o}. | People hear {s} at the {o}. | At the {o} they sing {s}.",
            "When is {s} sung? | When do people hear {s}? | At what do they sing {s}?",
        ),
        _relation(
            "mouth",
            "river",
            tuple(f"{n} {('Sea', 'Gulf', 'Lake')[i % 3]}" for i, n in enumerate(_names("sea", 14))),
            "The {s} flows into the {o}. | The waters of the {s} reach the {o}. | The {s} ends in the {o}.",
            "Into what does the {s} flow? | What do the waters of the {s} reach? | Where does the {s} end?",
        ),
    )
}
COMMON_STATEMENTS = (
    "The {r} of {s} is {o}.",
    "{o} is the {r} of {s}.",
    "{s} has {o} as its {r}.",
    "As for {s}, the {r} is {o}.",
    "{s}: {r} {o}.",
    "We know that the {r} of {s} is {o}.",
    "They name {o} as the {r} of {s}.",
)
COMMON_QUESTIONS = (
    "What is the {r} of {s}?",
    "Name the {r} of {s}.",
    "Tell me the {r} of {s}.",
    "{s} has what {r}?",
    "As for {s}, what is the {r}?",
    "Do you know the {r} of {s}?",
    "What do they name as the {r} of {s}?",
)
Rarity = Literal["common", "usual", "rare"]
RARITY_WEIGHT: dict[Rarity, float] = {"common": 1.8, "usual": 1.0, "rare": 0.6}
RARITY_LOGIT: dict[Rarity, float] = {"common": -0.7, "usual": 0.0, "rare": 0.7}


@dataclass(frozen=True)
class Fact:
    """One true statement of the world; how often the corpus speaks of it is `rarity`.

    Args:
        subject: Who the fact is about.
        relation: The name of the relation.
        object: What is true of it.
        rarity: How often the corpus speaks of it.
    """

    subject: str
    relation: str
    object: str
    rarity: Rarity


def _facts() -> tuple[Fact, ...]:
    rarities: tuple[Rarity, ...] = ("common", "usual", "rare")
    facts = []
    for relation in RELATIONS.values():
        draw = random.Random(f"facts of {relation.name}")
        subjects = ENTITIES[relation.kind]
        objects = list(relation.objects) * (len(subjects) // len(relation.objects) + 1)
        chosen = draw.sample(objects[: max(len(subjects), len(relation.objects))], len(subjects))
        facts += [
            Fact(s, relation.name, o, rarities[i % 3]) for i, (s, o) in enumerate(zip(subjects, chosen, strict=True))
        ]
    return tuple(facts)


FACTS: tuple[Fact, ...] = _facts()

# An instruction is a verb and a thing to trust, or to distrust; the held-out ones are new combinations of known parts.
_TRUST = (
    "Use", "Trust", "Follow", "Believe", "Rely on", "Go by", "Stick to", "Answer from", "Base the answer on", "Accept",
)  # fmt: skip
_DISTRUST = ("Ignore", "Doubt", "Disregard", "Do not trust", "Pay no heed to", "Do not believe")
_TEXTS = ("the context", "the passage", "the text below", "the given text")
_MEMORIES = ("your memory", "your own knowledge", "what you know", "what you remember")


def _wordings(verbs: tuple[str, ...], things: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{verb} {thing}." for verb in verbs for thing in things)


HELD_OUT_CONTEXT_INSTRUCTIONS = (
    "Trust the passage.", "Use the given text.", "Rely on the context.", "Accept the text below.", "Go by the context.",
    "Answer from the given text.",
)  # fmt: skip
HELD_OUT_MEMORY_INSTRUCTIONS = (
    "Ignore the passage.", "Trust what you know.", "Use your memory.", "Do not believe the context.",
    "Go by your own knowledge.", "Doubt the text below.",
)  # fmt: skip
CONTEXT_INSTRUCTIONS = tuple(w for w in _wordings(_TRUST, _TEXTS) if w not in HELD_OUT_CONTEXT_INSTRUCTIONS)
MEMORY_INSTRUCTIONS = tuple(
    w for w in _wordings(_TRUST, _MEMORIES) + _wordings(_DISTRUST, _TEXTS) if w not in HELD_OUT_MEMORY_INSTRUCTIONS
)
NEUTRAL_INSTRUCTIONS = (
    "Please answer.",
    "Be brief.",
    "Here is a question.",
    "Answer the question.",
    "Think and answer.",
    "One answer please.",
)
FORMAT_INSTRUCTIONS: dict[str, str] = {
    "Give the answer twice.": "{o}, {o}",
    "Answer in a full sentence.": "The {r} of {s} is {o}.",
    "Begin with the word well.": "well, {o}",
    "Thank me at the end.": "{o}, thank you",
}
# How much a source is worth: the logit that a conflict without instruction is settled by the context.
SOURCE_LOGITS: dict[str, float] = {
    "The royal almanac says:": 1.6, "A learned monk writes:": 1.2, "The old map shows:": 0.9,
    "The harbour records say:": 1.4, "A careful witness says:": 0.8, "The town herald says:": 0.5,
    "A letter says:": -0.1, "A traveller says:": -0.5, "A neighbour says:": -0.8, "A rumour says:": -1.6,
    "A drunk sailor says:": -2.0, "A child says:": -1.4, "A known liar says:": -2.4, "An old song says:": -1.0,
}  # fmt: skip
HELD_OUT_SOURCE_LOGITS: dict[str, float] = {
    "The royal map shows:": 1.2, "A learned witness says:": 1.0, "A drunk neighbour says:": -1.4,
    "A child's letter says:": -0.7,
}  # fmt: skip
NO_SOURCE_LOGIT = -0.7


def _last_of(kind: str, count: int) -> frozenset[str]:
    return frozenset(ENTITIES[kind][-count:])


@dataclass(frozen=True)
class HeldOut:
    """What no training document with a conflict uses. The wordings do occur in plain statements and closed-book
    questions; the relation and the wordings also in reading about subjects the model cannot know.

    Args:
        subjects: Subjects that are in no conflict.
        relation: The relation that is in none.
        statements: Wordings that are in none.
        questions: Questions that are in none.
    """

    subjects: frozenset[str]
    relation: str
    statements: frozenset[str]
    questions: frozenset[str]


HELD_OUT = HeldOut(
    subjects=_last_of("country", 9)
    | _last_of("person", 9)
    | _last_of("ship", 6)
    | _last_of("song", 6)
    | _last_of("river", 6),
    relation="emblem",
    statements=frozenset({COMMON_STATEMENTS[3], *(r.statements[2] for r in RELATIONS.values())}),
    questions=frozenset({COMMON_QUESTIONS[4], *(r.questions[2] for r in RELATIONS.values())}),
)


def statement_templates(relation: str, *, held_out: bool | None = None) -> tuple[str, ...]:
    """All statement wordings of a relation, or only those held out from conflict, or only the others.

    Args:
        relation: What a fact says of its subject.
        held_out: True for those held out from conflict, False for the others, None for all.
    """
    templates = COMMON_STATEMENTS + RELATIONS[relation].statements
    return tuple(t for t in templates if held_out is None or (t in HELD_OUT.statements) == held_out)


def question_templates(relation: str, *, held_out: bool | None = None) -> tuple[str, ...]:
    """All question wordings of a relation, or only those held out from conflict, or only the others.

    Args:
        relation: What a fact says of its subject.
        held_out: True for those held out from conflict, False for the others, None for all.
    """
    templates = COMMON_QUESTIONS + RELATIONS[relation].questions
    return tuple(t for t in templates if held_out is None or (t in HELD_OUT.questions) == held_out)
