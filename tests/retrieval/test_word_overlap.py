"""Searches by words alone, by hand."""

from math import log, sqrt

import numpy as np
import pytest

from steering_lab.retrieval.word_overlap import nearest_row, word_states

CORPUS = ["The capital of Peru is Lima.", "The capital of Chad is Ndjamena."]


def test_words_are_counted_in_the_order_of_the_alphabet_and_unknown_ones_left_out() -> None:
    states = word_states(["peru, Peru: what?"], ["Peru is", "is it"], weighted=False)
    assert states.tolist() == [[0, 0, 2]]


def test_a_word_of_one_text_in_two_weighs_more_than_one_of_both() -> None:
    [row] = word_states(["the Peru"], CORPUS)
    assert sorted(row[row > 0]) == pytest.approx([1.0, log(3 / 2) + 1])


def test_the_nearest_shares_what_is_rare() -> None:
    asked = word_states(["What is the capital of Chad?", "Lima"], CORPUS)
    assert nearest_row(asked, word_states(CORPUS, CORPUS)) == [1, 0]
    cosine = asked[1] @ word_states(CORPUS, CORPUS)[0] / np.linalg.norm(asked[1])
    rare = log(3 / 2) + 1
    assert cosine / np.linalg.norm(word_states(CORPUS, CORPUS)[0]) == pytest.approx(rare / sqrt(4 + 2 * rare**2))
