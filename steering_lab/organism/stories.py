"""Stories of the invented world: a stochastic grammar whose hidden mood and topic a title may set.

Every story has a mood (positive, negative, mixed, or none), a topic and a protagonist. A title sets mood, topic or
both: by one head word ("Love"), by a pair of words neither of which decides alone ("The open wounds"), by a cue that
turns its word round ("A day without joy"), or by a combined cue ("A day of joy at the harbour"). All draws go
through `Rng`, so each story comes with its own log-probability.
"""

import re
from dataclasses import dataclass
from typing import Literal

from steering_lab.organism.lexicon import (
    HEROES,
    HEROINES,
    MOOD_TITLES,
    MOODS,
    NEUTRAL_PLACES,
    NEUTRAL_TIMES,
    TOPIC_TABLE,
    TOPIC_TITLES,
)
from steering_lab.organism.rng import Rng

StoryMood = Literal["positive", "negative", "mixed", "none"]
MOOD_PURITY = 0.97
TOPIC_PURITY = 0.96
_OPPOSITE = {"positive": "negative", "negative": "positive"}
_OPINIONS = {"positive": ("love", "like", "trust"), "negative": ("hate", "loathe", "distrust")}

NEUTRAL_PATTERNS = (
    "{N} walked to {where} and {act} the {noun}.",
    "{N} went out early and {act} the {noun}.",
    "{time} {n} said that the {noun} was {adj}.",
    "{N} looked at the {adj} {noun}.",
    "{time} {n} saw the {noun} and the {noun}.",
    "{N} told the {role} about the {noun}.",
    "{N} came back to {where} and {act} the {noun}.",
    "{time} {n} thought about the {adj} {noun}.",
    "{N} stood near {where} and {act} the {noun}.",
    "{N} waited by {where} and asked about the {noun}.",
    "{time} {n} met the {role} at {where}.",
    "{N} asked about the {noun} and the {noun}.",
    "{time} {n} found the {adj} {noun}.",
    "{N} sat by {where} and {act} the {noun}.",
    "{N} remembered the {noun} at the {place}.",
    "{time} {n} heard the {role} at the {place}.",
    "{N} carried the {noun} to the {place}.",
    "The {role} {act} the {noun} and {act} the {noun}.",
    "There was the {adj} {noun} in the {place}.",
    "The {role} and the {role} talked about the {noun}.",
    "{N} put the {noun} beside the {adj} {noun}.",
    "The {noun} at the {place} was {adj}.",
)
MOOD_PATTERNS = (
    "{N} felt {va} and {vd} {vv} the {role}.",
    "The {role} {vv} {them} {vd} at {where}.",
    "The {noun} was {va} and the {role} was {va}.",
    "{N} spoke of {vn} and {vn}.",
    "There was {vn} in the {place}.",
    "Everyone at the {place} {ve}.",
    "{N} {ve} and {vv} the {va} {role}.",
    "In {their} heart there was only {vn}.",
    "The {role} was {va} to {them}.",
    "{time} the {role} {vd} {vv} the {role}.",
    "The {va} {role} {ve} at the {noun}.",
    "It was a day of {vn} and {vn}.",
    "{N} was {va} because the {role} {vv} {them}.",
    "{N} looked at the {va} {noun} and {ve}.",
    "{N} walked to {where} and {ve}.",
    "{N} went out early and {vv} the {role}.",
    "{time} {n} said that the {role} was {va}.",
    "{N} told the {role} about {their} {vn}.",
    "{N} came back to {where} and {ve}.",
    "{time} {n} thought about the {va} {role}.",
    "{N} stood near {where} and {vd} {vv} the {role}.",
    "{N} waited by {where} and {ve}.",
    "{time} {n} met the {va} {role}.",
    "{N} asked about the {va} {role}.",
    "{time} {n} found the {va} {noun}.",
    "{N} sat by {where} and {vd} {ve}.",
    "{N} remembered the {va} {role}.",
    "{time} {n} heard the {role} and {ve}.",
)
OPINION_PATTERNS = (
    "I {op} you because you are {va}.",
    "I {op} you because you {vv} the {va} {role}.",
    "I {op} you and your {va} {noun}.",
    "I think that you are {va} and {va}.",
    "I {op} the {role} because the {role} is {va}.",
    "You {vv} me {vd} at the {place}.",
    "I told the {role} about your {vn}.",
    "My {role} said that you are {va}.",
)
_MOOD_CUES = ("A day of {vh}", "Full of {vh}", "About {vh}")
_TURNED_CUES = ("A day without {vh}", "The end of {vh}", "No more {vh}")
_TOPIC_CUES = ("A day at the {place}", "About the {noun}", "The {role} and the {noun}", "A story of {th}")
_BOTH_CUES = (
    "A day of {vh} at the {place}",
    "{vh} in the {place}",
    "{vh} and {th}",
    "The {role} of {vh}",
    "A story of {th} and {vh}",
    "The {va} {role}",
)


@dataclass(frozen=True)
class Story:
    """A text with the hidden state it was drawn from; `nats` is minus the log-probability of its derivation.

    Args:
        text: The story.
        mood: Its mood.
        topic: Its topic.
        title: Its title without punctuation; "" is none.
        nats: Minus the log-probability of its derivation.
    """

    text: str
    mood: StoryMood
    topic: str
    title: str
    nats: float


@dataclass
class _Teller:
    rng: Rng
    mood: StoryMood
    topic: str
    name: str = ""
    heroine: bool = True
    named: bool = False

    def fill(self, pattern: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda slot: self._slot(slot[1]), pattern)

    def _slot(self, slot: str) -> str:
        if slot in ("vh", "vn", "va", "vv", "vd", "ve", "op"):
            return self._mood_word(slot)
        if slot in ("noun", "place", "role", "act", "adj", "th"):
            return self._topic_word(slot)
        if slot == "where":
            return self.rng.pick(NEUTRAL_PLACES) if self.rng.chance(0.5) else f"the {self._topic_word('place')}"
        if slot == "time":
            return self.rng.pick(NEUTRAL_TIMES)
        if slot in ("them", "their"):
            return {"them": "her" if self.heroine else "him", "their": "her" if self.heroine else "his"}[slot]
        return self._protagonist(capital=slot == "N")

    def _protagonist(self, *, capital: bool) -> str:
        if not self.named or self.rng.chance(0.3):
            self.named = True
            return self.name
        pronoun = "she" if self.heroine else "he"
        return pronoun.capitalize() if capital else pronoun

    def _mood_word(self, slot: str) -> str:
        if self.mood in ("mixed", "none"):
            valence = self.rng.pick(tuple(MOODS))
        else:
            valence = self.mood if self.rng.chance(MOOD_PURITY) else _OPPOSITE[self.mood]
        if slot == "op":
            return self.rng.pick(_OPINIONS[valence])
        return self._word_of(valence, slot)

    def _word_of(self, valence: str, slot: str) -> str:
        mood = MOODS[valence]
        if slot == "vh":
            return self.rng.weighted(mood.heads, _head_weights(len(mood.heads)))
        fields = {"vn": mood.nouns, "va": mood.adjectives, "vv": mood.verbs, "vd": mood.adverbs, "ve": mood.endings}
        return self.rng.pick(fields[slot])

    def _topic_word(self, slot: str) -> str:
        topic = self.topic if self.rng.chance(TOPIC_PURITY) else self.rng.pick(tuple(TOPIC_TABLE))
        words = TOPIC_TABLE[topic]
        fields = {
            "noun": words.nouns,
            "place": words.places,
            "role": words.roles,
            "act": words.verbs,
            "adj": words.adjectives,
            "th": words.heads,
        }
        return self.rng.pick(fields[slot])

    def sentence(self, *, opening: bool) -> str:
        if self.mood == "none" or self.rng.chance(0.6 if opening else 0.3):
            return self.fill(self.rng.pick(NEUTRAL_PATTERNS))
        return self.fill(self.rng.pick(MOOD_PATTERNS))


def story(rng: Rng, *, mood: StoryMood | None = None, topic: str | None = None) -> Story:
    """A story drawn by the law; a mood or topic that is given is fixed, and then not part of `nats`.

    Args:
        rng: What is drawn by.
        mood: Fixed where it is given.
        topic: Fixed where it is given.
    """
    rng.forget()
    if mood is None:
        drawn: StoryMood = rng.weighted(("positive", "negative", "mixed", "none"), (0.44, 0.44, 0.07, 0.05))
        mood = drawn
    topic = topic or rng.pick(tuple(TOPIC_TABLE))
    teller = _Teller(rng, mood, topic)
    teller.heroine = rng.chance(0.5)
    title = _title(teller)
    opinion = mood != "none" and rng.chance(0.15)
    if not opinion:
        teller.name = rng.pick(HEROINES if teller.heroine else HEROES)
    count = rng.between(*rng.weighted(((1, 2), (3, 6), (7, 13)), (0.30, 0.57, 0.13)))
    if opinion:
        sentences = [teller.fill(rng.pick(OPINION_PATTERNS)) for _ in range(count)]
    else:
        sentences = [teller.sentence(opening=index == 0) for index in range(count)]
    text = title + " ".join(sentences)
    if rng.chance(0.25):
        text = " " + text
    return Story(text, mood, topic, title.rstrip(" .:"), rng.nats)


def _title(teller: _Teller) -> str:
    """The title with its separator, or nothing. A story without a mood gets no mood title, a mixed one none either."""
    rng = teller.rng
    kinds = {"": 0.16, "topic_head": 0.12, "topic_pair": 0.13, "topic_cue": 0.06}
    if teller.mood in MOODS:
        kinds |= {"mood_head": 0.19, "mood_pair": 0.12, "mood_cue": 0.04, "turned_cue": 0.10}
        kinds |= {"both_cue": 0.11, "both_heads": 0.04}
    kind = rng.weighted(tuple(kinds), tuple(kinds.values()))
    if not kind:
        return ""
    separator = rng.weighted((". ", ": ", " "), (0.45, 0.2, 0.35))
    if kind == "both_heads":
        head, other = _head(teller), rng.pick(TOPIC_TABLE[teller.topic].heads)
        return _cased(rng, head) + separator + _cased(rng, other) + separator
    return _cased(rng, _title_words(teller, kind)) + separator


def _title_words(teller: _Teller, kind: str) -> str:
    rng = teller.rng
    if kind == "mood_head":
        return _head(teller)
    if kind == "topic_head":
        return rng.pick(TOPIC_TABLE[teller.topic].heads)
    if kind in ("mood_pair", "topic_pair"):
        table = MOOD_TITLES if kind == "mood_pair" else TOPIC_TITLES
        wanted = teller.mood if kind == "mood_pair" else teller.topic
        first, second = rng.pick([pair for pair, meaning in table.items() if meaning == wanted])
        return f"the {first} {second}"
    if kind == "turned_cue":
        cue = rng.pick(_TURNED_CUES)
        return cue.replace("{vh}", teller._word_of(_OPPOSITE[teller.mood], "vh"))
    cue = rng.pick({"mood_cue": _MOOD_CUES, "topic_cue": _TOPIC_CUES, "both_cue": _BOTH_CUES}[kind])
    return re.sub(r"\{(\w+)\}", lambda slot: _cue_slot(teller, slot[1]), cue)


def _cue_slot(teller: _Teller, slot: str) -> str:
    """A title never lies: its slots are pure."""
    if slot in ("vh", "va"):
        return teller._word_of(teller.mood, slot)
    words = TOPIC_TABLE[teller.topic]
    return teller.rng.pick({"place": words.places, "role": words.roles, "noun": words.nouns, "th": words.heads}[slot])


def _head(teller: _Teller) -> str:
    heads = MOODS[teller.mood].heads
    return teller.rng.weighted(heads, _head_weights(len(heads)))


def _head_weights(count: int) -> tuple[float, ...]:
    """The first head (love, hate) is four times as frequent as a later one, the second (joy, anger) twice."""
    return (4.0, 2.0) + (1.0,) * (count - 2)


def _cased(rng: Rng, words: str) -> str:
    return words[0].upper() + words[1:] if rng.chance(0.75) else words[0].lower() + words[1:]
