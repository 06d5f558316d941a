"""Texts as counts of their words, plain or weighted: what a search that knows no model finds, to compare with."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def word_states(
    texts: Sequence[str], corpus: Sequence[str], *, weighted: bool = True
) -> Float[np.ndarray, "text words"]:
    """Counts of the corpus's words in each text, other words left out.

    Weighted, a word counts ln((1 + N) / (1 + n)) + 1 times, n being how many of the N texts of the corpus have it
    (TF-IDF, smoothed as scikit-learn does).

    Args:
        texts: What is described.
        corpus: The texts whose words count.
        weighted: Whether rare words count for more.
    """
    held = [set(_words(text)) for text in corpus]
    places = {word: i for i, word in enumerate(sorted(set().union(*held)))}
    states = np.zeros((len(texts), len(places)))
    for row, text in zip(states, texts, strict=True):
        for word, count in Counter(_words(text)).items():
            if word in places:
                row[places[word]] = count
    if not weighted:
        return states
    spread = Counter(word for words in held for word in words)
    return states * np.array([np.log((1 + len(held)) / (1 + spread[word])) + 1 for word in places])


def nearest_row(
    questions: Float[np.ndarray, "question size"], passages: Float[np.ndarray, "passage size"]
) -> list[int]:
    """The row of `passages` whose cosine with each of `questions` is highest; of equals the first."""
    sides = [side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-30) for side in (questions, passages)]
    return [int(row) for row in (sides[0] @ sides[1].T).argmax(axis=1)]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
