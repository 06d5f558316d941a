"""What a sweep measures, by the names of `evaluation.named_measures`, and the words that its page uses for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.evaluation.measuring.agreement import Agreement
from steering_lab.evaluation.measuring.classifier import Classifier
from steering_lab.evaluation.measuring.judge import Judge
from steering_lab.evaluation.measuring.measures import Measure
from steering_lab.evaluation.measuring.named_measures import called, named_measures, topic_of
from steering_lab.runs import RunFolder
from steering_lab.study.language import ENGLISH, Language
from steering_lab.study.settings import ModelSettings

FLUENCY = ("perplexity", "repetition", "degenerate")  # what steering may cost: measured in every sweep
OF_TEXTS = (*FLUENCY, "distinct_2", "length")  # costs that continuations show
SENTIMENT = ("vader", "sentiment", "valence_balance")


def sweep_measures(
    names: Sequence[str],
    language: Language = ENGLISH,
    pairs: Sequence[ContrastPair] = (),
    costs: Sequence[str] = (),
) -> list[Measure]:
    """The named measures, the first of them the one that a cell is chosen by; then those of fluency not among them.

        Last come those of `costs` that continuations show; the others are not measured of these.

    With no names it is what the pairs are about: a topic that they add (`topic_of`), or else sentiment, by VADER where
        the language is English and by the balance of valenced words otherwise.

    Args:
        names: Measures by name.
        language: The model's language.
        pairs: What is steered with.
        costs: Names of costs.

    Raises:
        ValueError: a measure named twice, one that there is not, or VADER for another language than English.
    """
    chosen = list(names) or [_default(language, pairs)]
    beside = dict.fromkeys((*FLUENCY, *(name for name in costs if name in OF_TEXTS)))
    return measures_for([*chosen, *(name for name in beside if name not in chosen)], language)


def measures_for(names: Sequence[str], language: Language) -> list[Measure]:
    """The measures of these `names`, for texts in `language`, whose own words of sentiment are counted.

    Raises:
        ValueError: a text instead of a list, a measure named twice, one that there is not, or VADER for another
            language than English.
    """
    measures = named_measures(names, lexicon=language.lexicon)
    if "vader" in names and language != ENGLISH:
        raise ValueError(f'"vader" reads English, which {language.name} is not: use "valence_balance"')
    return measures


def keep_judges(folder: RunFolder, measures: Sequence[Measure]) -> None:
    """Writes judges.json: where the scores of judges and classifiers among the measures come from; none, no file.

    Args:
        folder: The run's.
        measures: What is measured.
    """
    if judges := [measure.described() for measure in measures if isinstance(measure, Judge | Classifier)]:
        folder.write_json("judges.json", judges)


def judges_said(judges: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each judge or classifier is, a sentence each: by which words it was asked, and how far people agree with it.

    Args:
        judges: What judges.json of a run holds.
    """
    said = []
    for one in judges:
        if "rubric" not in one:
            said.append(
                f"{one['name']} is the probability that the classifier {one['folder']} gives to the label"
                f" {one['label']}, of at most {one['max_tokens']} tokens; its agreement with people is not known."
            )
            continue
        agreed = Agreement(**one["agreement"]) if one["agreement"] else "its agreement with people is not known"
        said.append(
            f"{one['name']} is what {one['model']} at {one['base_url']} answers, from {one['low']:g} to"
            f" {one['high']:g}; {agreed}; asked: “{' '.join(one['rubric'].split())}”"
        )
    return said


@dataclass(frozen=True)
class MeasureSettings(ModelSettings):
    """The `measures` of every text, by name; the first is the one that a page shows.

    Raises:
        ValueError: none, or what `measures_for` refuses.
    """

    measures: tuple[str, ...] = ("valence_balance", "perplexity")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.measures:
            raise ValueError('measures is []: name one or more, say ["valence_balance", "perplexity"]')
        measures_for(self.measures, self.language)

    @property
    def measuring(self) -> list[Measure]:
        """The measures."""
        return measures_for(self.measures, self.language)


def _default(language: Language, pairs: Sequence[ContrastPair]) -> str:
    topic = topic_of(pairs)
    if topic is not None:
        return f"topic:{topic}"
    return "vader" if language == ENGLISH else "valence_balance"


def subject_of(metric: str) -> str:
    """What a metric is of, in a word or two: "sentiment", "weddings"."""
    if metric in SENTIMENT:
        return "sentiment"
    topic = metric.partition(":")[2]
    return called(topic) if topic else metric.replace("_", " ")
