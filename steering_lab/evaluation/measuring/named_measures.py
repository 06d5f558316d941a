"""Measures by name, as a command line or a file of settings says them: "vader", "topic:weddings", "perplexity".

A measure's metric in the tidy table is called as the name was written, so that two topics are two columns. What a name
means is said here and nowhere else; a measure of one's own needs no name here (`measures`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.data.lexicons import ENGLISH, TOPICS, Lexicon
from steering_lab.data.text_files import text_in
from steering_lab.evaluation.measuring.classifier import folder_and_label, read_classifier
from steering_lab.evaluation.measuring.judge import read_judge
from steering_lab.evaluation.measuring.measures import (
    DISTINCT_2,
    LENGTH,
    REPETITION,
    Degenerate,
    Measure,
    Perplexity,
    balance,
    sentiment,
    topic_any,
    topic_count,
    topic_rate,
    vader,
)
from steering_lab.evaluation.measuring.metrics import words

# By name: how an axis calls it.
LABELS: Mapping[str, str] = {
    "vader": "VADER compound, −1 to 1",
    "sentiment": "(positive − negative) / valenced words",
    "valence_balance": "(positive − negative) / all words",
    "perplexity": "perplexity",
    "repetition": "share of repeated 3-grams",
    "distinct_2": "different 2-grams, share of all",
    "degenerate": "share of broken texts",
    "length": "words",
}
# What is measured of a model beside its continuations (`neutral`, `facts`), which a name alone cannot.
LABELS_BESIDE: Mapping[str, str] = {
    "neutral_kl": "KL to unsteered on neutral text, nats a token",
    "neutral_kl_median": "KL to unsteered on neutral text, median token, nats",
    "neutral_kl_p95": "KL to unsteered on neutral text, 95th percentile, nats",
    "top1_agreement": "likeliest next token unchanged, share of tokens",
    "facts": "facts answered right",
}
TOPIC_MEASURES: Mapping[str, Callable[[Iterable[str], str], Measure]] = {
    "topic": topic_count,
    "topic_rate": topic_rate,
    "topic_any": topic_any,
}
JUDGE, CLASSIFIER = "judge", "classifier"
FORMS = (
    f"{', '.join(LABELS)}, topic:NAME, topic_rate:NAME, topic_any:NAME, {JUDGE}:FILE.toml or {CLASSIFIER}:FOLDER:LABEL"
)


def named_measures(
    names: Sequence[str], *, lexicon: Lexicon = ENGLISH, topics: Mapping[str, frozenset[str]] = TOPICS
) -> list[Measure]:
    """The measures of these names, in their order (`named_measure`, by `lexicon` and `topics`).

    Raises:
        ValueError: a text instead of a list, a name twice, or one that there is not.
    """
    if isinstance(names, str):
        raise ValueError(f"measures are a list of names: write [{names!r}]")
    if twice := [name for name in names if list(names).count(name) > 1]:
        raise ValueError(f"the measure {twice[0]!r} is named twice")
    return [named_measure(name, lexicon=lexicon, topics=topics) for name in names]


def named_measure(name: str, *, lexicon: Lexicon = ENGLISH, topics: Mapping[str, frozenset[str]] = TOPICS) -> Measure:
    """The measure of this name.

    "vader" reads English; "sentiment" and "valence_balance" count the words of `lexicon`. "topic:NAME" counts words of
    a topic in each text, "topic_rate:NAME" is their share, "topic_any:NAME" whether there is one; NAME is one of
    `topics`, a file of words, or words with commas between ("sea,ship,sail"). "perplexity", "repetition",
    "distinct_2", "degenerate" and "length" are of the text alone.

    "judge:FILE.toml" is the language model that the file describes (`judge.read_judge`), "classifier:FOLDER:LABEL" the
    probability that a text classifier gives to a label (`classifier.read_classifier`).

    Raises:
        ValueError: no such measure or topic; says which there are. A judge that may not measure (`Judge.check`), or a
            classifier that cannot be opened or has no such label.
    """
    kind, colon, topic = name.partition(":")
    if colon and kind == JUDGE:
        judge = read_judge(topic, name)
        judge.check()
        return judge
    if topic and kind == CLASSIFIER:
        return read_classifier(topic, name)
    if colon and kind in TOPIC_MEASURES:
        return TOPIC_MEASURES[kind](topic_words(topic, topics), name)
    match name:
        case "vader":
            return vader()
        case "sentiment":
            return sentiment(lexicon)
        case "valence_balance":
            return balance(lexicon)
        case "perplexity":
            return Perplexity()
        case "repetition":
            return REPETITION
        case "distinct_2":
            return DISTINCT_2
        case "degenerate":
            return Degenerate()
        case "length":
            return LENGTH
    hint = f": write {kind}:NAME, NAME one of {', '.join(topics)}" if kind in TOPIC_MEASURES else f": choose {FORMS}"
    raise ValueError(f"unknown measure {name!r}{hint}")


def topic_words(topic: str, topics: Mapping[str, frozenset[str]] = TOPICS) -> frozenset[str]:
    """The words of a topic: one of `topics`, those of a file (with spaces or lines between), or those given.

    Raises:
        ValueError: neither; no word at all; or a file that is not UTF-8.
    """
    if topic in topics:
        return topics[topic]
    file = _is_file(topic)
    if file or "," in topic:
        said = text_in(topic, "words").split() if file else map(str.strip, topic.split(","))
        if found := frozenset(filter(None, said)):
            return found
        raise ValueError(f"the topic {topic!r} has no words")
    raise ValueError(
        f"unknown topic {topic!r}: choose one of {', '.join(topics)}, a file of words, or words with commas between,"
        " say sea,ship,sail"
    )


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # many words are longer than a file's name may be
        return False


def called(topic: str) -> str:
    """A topic as a sentence has it: its name, its file's, or its words, of many the first two and how many more."""
    given = [word.strip() for word in topic.split(",") if word.strip()]
    if len(given) < 2:
        return Path(topic).stem
    few = given if len(given) <= 3 else [*given[:2], f"{len(given) - 2} more words"]
    return f"{', '.join(few[:-1])} and {few[-1]}"


def label_of(name: str) -> str:
    """How an axis calls the measure of this name, with its unit."""
    kind, colon, topic = name.partition(":")
    if colon and kind in TOPIC_MEASURES:
        about = f"words of {called(topic)}" if "," in topic else f"words about {called(topic)}"
        return f"{about} in a text" if kind == "topic" else f"{about}, share of all"
    if colon and kind == JUDGE:
        return f"{Path(topic).stem.replace('_', ' ')}, as the judge scores it"
    if colon and kind == CLASSIFIER:
        folder, label = folder_and_label(topic)
        of = f" of {label}" if label else ""
        return f"probability{of}, as {Path(folder).name} gives it"
    return LABELS.get(name) or LABELS_BESIDE.get(name, name)


def topic_of(pairs: Sequence[ContrastPair], topics: Mapping[str, frozenset[str]] = TOPICS) -> str | None:
    """The topic that the pairs add: the first whose words stand in most positive sides and in no negative one.

    None where there is none, so that sentiment may be what the pairs move. A sweep of " weddings" against nothing adds
    weddings, and is measured by "topic:weddings".

    Args:
        pairs: Contrast pairs; none adds no topic.
        topics: Words by topic, lower-case; the order decides where two would do.
    """
    for name, of in topics.items():
        with_topic = sum(bool(of & set(words(pair.positive))) for pair in pairs)
        without = not any(of & set(words(pair.negative)) for pair in pairs)
        if without and 2 * with_topic > len(pairs):
            return name
    return None
