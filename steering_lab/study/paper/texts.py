"""Texts that a paper's figure scores, in groups: by how many words of a topic they have, by rating, by their file."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np

from steering_lab.data.rated_sentences import Corpus, Rated, rated_sentences
from steering_lab.data.text_files import text_in
from steering_lab.evaluation.measuring.metrics import words
from steering_lab.organism.rng import Rng
from steering_lab.organism.stories import story

STORIES = "organism"  # stories of the synthetic world, in the language of the synthetic model
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[\"'(]?[A-Z0-9])")


@dataclass(frozen=True)
class TextGroup:
    """Which texts, and how many of them.

    Args:
        sources: "movies", "products", "editorials", "tweets" (`data.rated_sentences`), "organism", or text files, which
            are read sentence by sentence.
        n: How many at most, drawn at random.
        density: From, and up to, which share of their words is of the topic, in percent.
        rated: From, and up to, which human rating, -4 to 4.
        words: From how many words on a text is taken.

    Raises:
        ValueError: no source, a rating of texts that have none, or a range the wrong way round.
    """

    sources: tuple[str, ...]
    n: int = 100
    density: tuple[float, ...] = ()
    rated: tuple[float, ...] = ()
    words: int = 8

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError(f"sources is []: name {', '.join(get_args(Corpus))}, {STORIES!r} or text files")
        for name in ("density", "rated"):
            if (ends := getattr(self, name)) and not (len(ends) == 2 and ends[0] <= ends[1]):
                raise ValueError(f"{name} is {list(ends)}: write the least and the most, as [0, 2.5]")
        if self.rated and (unrated := [source for source in self.sources if source not in get_args(Corpus)]):
            raise ValueError(f"rated is {list(self.rated)}, but the texts of {unrated[0]!r} have no ratings")
        if self.n < 1:
            raise ValueError(f"n is {self.n}: it must be 1 or more")

    def texts(self, topic: frozenset[str], seed: int, folder: str | Path = "") -> list[str]:
        """The group's texts, in an order that follows from the seed; equal ones stand there once.

        Args:
            topic: The words that `density` counts.
            seed: What is drawn follows from it.
            folder: Where files lie that are named without one.

        Raises:
            ValueError: there is none.
            FileNotFoundError: a file is not there.
        """
        every = (text for source in self.sources for text in self._of(source, Path(folder)))
        found = list(dict.fromkeys(text for text in every if self._fits(text, topic)))
        if not found:
            raise ValueError(f"no text of {', '.join(self.sources)} is of this group: {self}")
        order = np.random.default_rng(seed).permutation(len(found))
        return [found[i] for i in order[: self.n]]

    def _of(self, source: str, folder: Path) -> Sequence[str]:
        if source == STORIES:
            return _stories()
        if source in get_args(Corpus):
            rated: list[Rated] = rated_sentences(source)  # type: ignore[arg-type]
            low, high = self.rated or (-4, 4)
            return [one.text for one in rated if low <= one.rating <= high]
        return [line for block in text_in(folder / source, "texts").split("\n\n") for line in _sentences(block)]

    def _fits(self, text: str, topic: frozenset[str]) -> bool:
        if len(text.split()) < self.words:
            return False
        low, high = self.density or (0, 100)
        return low <= density(text, topic) <= high


def density(text: str, topic: frozenset[str]) -> float:
    """The share of a text's words (`metrics.words`) that are of a topic, in percent.

    Args:
        text: The text.
        topic: Lower-case words.
    """
    said = words(text)
    return 100 * sum(word in topic for word in said) / len(said) if said else 0.0


@cache
def _stories() -> Sequence[str]:
    rng = Rng("texts of a paper's figure")
    return [story(rng).text.strip() for _ in range(4000)]


def _sentences(block: str) -> list[str]:
    return _SENTENCE.split(" ".join(block.split())) if block.strip() else []
