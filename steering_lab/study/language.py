"""What comes along for a model's language: beginnings of texts, and the words that its sentiment is counted by.

The organism's language is invented; every other model is taken to write English. Nothing else here knows that.
"""

from dataclasses import dataclass

from steering_lab.data.lexicons import ENGLISH as ENGLISH_WORDS
from steering_lab.data.lexicons import Lexicon
from steering_lab.data.prompts import OPENINGS_TEST, OPENINGS_VALIDATION
from steering_lab.models.loading.synthetic import organism_at
from steering_lab.organism.world import (
    NEGATIVE_WORDS,
    POSITIVE_WORDS,
    STORY_PROMPTS_TEST,
    STORY_PROMPTS_VALIDATION,
)


@dataclass(frozen=True)
class Language:
    """Beginnings to choose a cell on and others to report it on, and a lexicon of valenced words.

    Args:
        name: As an error names it.
        choosing: Beginnings of texts to choose a cell on.
        reporting: Others to report it on.
        lexicon: Words that its sentiment is counted by.
    """

    name: str
    choosing: tuple[str, ...]
    reporting: tuple[str, ...]
    lexicon: Lexicon


ENGLISH = Language("English", OPENINGS_VALIDATION, OPENINGS_TEST, ENGLISH_WORDS)
ORGANISM = Language(
    "the organism's language",
    tuple(STORY_PROMPTS_VALIDATION),
    tuple(STORY_PROMPTS_TEST),
    Lexicon(frozenset(POSITIVE_WORDS), frozenset(NEGATIVE_WORDS)),
)


def language_of(model: str) -> Language:
    """The language of the model by the setting `model`."""
    return ENGLISH if organism_at(model) is None else ORGANISM
