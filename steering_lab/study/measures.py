"""Measures by the names that a TOML file gives them, with the words in which figures and pages speak of them."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.data.lexicons import WEDDING_WORDS
from steering_lab.evaluation.measures import (
    Degenerate,
    Measure,
    Perplexity,
    TextMeasure,
    balance,
    sentiment,
    topic_rate,
    vader,
)
from steering_lab.evaluation.metrics import length, repetition, words
from steering_lab.study.language import ENGLISH, Language

TOPIC = "topic:"
TOPICS = {"weddings": WEDDING_WORDS}
FLUENCY = ("perplexity", "repetition", "degenerate")  # what steering may cost: measured in every sweep


@dataclass(frozen=True)
class Named:
    """A measure, what it is of in a word ("sentiment"), and how an axis calls it."""

    measure: Measure
    of: str
    label: str


_MEASURES: dict[str, Callable[[Language], Named]] = {
    "vader": lambda _: Named(vader(), "sentiment", "VADER compound, −1 to 1"),
    "sentiment": lambda its: Named(sentiment(its.lexicon), "sentiment", "(positive − negative) / valenced words"),
    "valence_balance": lambda its: Named(balance(its.lexicon), "sentiment", "(positive − negative) / all words"),
    "perplexity": lambda _: Named(Perplexity(), "perplexity", "perplexity under the unsteered model"),
    "perplexity_steered": lambda _: Named(
        Perplexity("perplexity_steered", under="steered"), "perplexity", "perplexity under the steered model"
    ),
    "repetition": lambda _: Named(TextMeasure("repetition", repetition), "repetition", "repeated 3-grams, share"),
    "degenerate": lambda _: Named(Degenerate(), "degeneracy", "broken texts, share"),
    "length": lambda _: Named(TextMeasure("length", length), "length", "words"),
}


def find_measure(name: str, language: Language = ENGLISH) -> Named:
    """The measure of that name: one of those here, or "topic:weddings" (the share of a topic's words in a text).

    A topic is a built-in list, words with commas between them ("topic:sea,ship"), or a text file of words.

    Raises:
        ValueError: an unknown measure or topic, a word that no text can match, or VADER for another language.
    """
    if name.startswith(TOPIC):
        topic = name.removeprefix(TOPIC)
        measure = topic_rate(_words_of(topic), name)
        of = Path(topic).stem if topic in TOPICS or Path(topic).suffix else topic.replace(",", " and ")
        return Named(measure, of, f"words about {of}, share of all")
    if name not in _MEASURES:
        known = [*_MEASURES, *(TOPIC + topic for topic in TOPICS)]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"no measure {name!r}: {hint}known are {', '.join(known)}")
    if name == "vader" and language != ENGLISH:
        raise ValueError('"vader" reads English, which the organism does not speak: use "valence_balance"')
    return _MEASURES[name](language)


def _words_of(topic: str) -> frozenset[str]:
    if topic in TOPICS:
        return TOPICS[topic]
    if Path(topic).suffix:
        if not Path(topic).is_file():
            raise ValueError(f"the topic {topic!r} is no file: name a text file of words, or words with commas between")
        return frozenset(Path(topic).read_text(encoding="utf-8").split())
    found = frozenset(filter(None, topic.split(",")))
    if len(found) < 2:
        raise ValueError(
            f"no topic {topic!r}: known are {', '.join(TOPICS)}; of your own, a text file of words, or two words and"
            " more with commas between them"
        )
    return found


def find_measures(
    names: Sequence[str], language: Language = ENGLISH, pairs: Sequence[ContrastPair] = ()
) -> tuple[Named, ...]:
    """The named measures, the first of them the one that a cell is chosen by; then those of fluency not among them.

    With no names it is what the pairs speak of: a built-in topic, or else sentiment, by VADER where the language is
    English and by the balance of valenced words otherwise.

    Raises:
        ValueError: what `find_measure` refuses, or a measure named twice.
    """
    chosen = list(names) or [_default(language, pairs)]
    if twice := [name for name in chosen if chosen.count(name) > 1]:
        raise ValueError(f"measures name {twice[0]!r} twice")
    return tuple(find_measure(name, language) for name in [*chosen, *(name for name in FLUENCY if name not in chosen)])


def _default(language: Language, pairs: Sequence[ContrastPair]) -> str:
    said = frozenset(word for pair in pairs for word in words(pair.positive))
    for topic, its in TOPICS.items():
        if said & its:
            return TOPIC + topic
    return "vader" if language == ENGLISH else "valence_balance"
