"""A lexicon holds only words that a text can match, each on one side."""

from collections.abc import Callable
from typing import Any

import pytest

from steering_lab.data.lexicons import ENGLISH, WEDDING_WORDS, Lexicon, check_words
from steering_lab.evaluation.measuring.measures import topic_any, topic_count, topic_rate
from steering_lab.evaluation.measuring.metrics import has_word, sentiment_score, valence_balance, word_count, word_rate
from steering_lab.methods.conditional import Mentions


def test_the_built_in_lists_hold_countable_words() -> None:
    check_words(WEDDING_WORDS)
    assert len(WEDDING_WORDS) == 9
    assert len(ENGLISH.positive) >= 60
    assert len(ENGLISH.negative) >= 60


def test_a_word_on_both_sides_is_refused() -> None:
    with pytest.raises(ValueError, match="both sides of the lexicon: odd"):
        Lexicon(frozenset({"good", "odd"}), frozenset({"odd"}))


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(ValueError, match="positive words of a lexicon are empty"):
        Lexicon(frozenset(), frozenset({"bad"}))


@pytest.mark.parametrize("word", ["Love", "well done", "9/11", ""])
def test_an_entry_that_no_text_can_match_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="never counted"):
        Lexicon(frozenset({"good", word}), frozenset({"bad"}))


GOOD = frozenset({"good"})
TAKES_WORDS: dict[str, Callable[[Any], object]] = {
    "topic_count": topic_count,
    "topic_any": topic_any,
    "topic_rate": topic_rate,
    "Mentions": Mentions,
    "positive": lambda words: Lexicon(words, GOOD),
    "negative": lambda words: Lexicon(GOOD, words),
    "word_count": lambda words: word_count("a sea", words),
    "has_word": lambda words: has_word("a sea", words),
    "word_rate": lambda words: word_rate("a sea", words),
    "sentiment_score": lambda words: sentiment_score("a sea", words, GOOD),
    "valence_balance": lambda words: valence_balance("a sea", GOOD, words),
}


@pytest.mark.parametrize("taking", TAKES_WORDS.values(), ids=TAKES_WORDS)
def test_a_text_or_nothing_where_words_are_wanted_is_refused(taking: Callable[[Any], object]) -> None:
    with pytest.raises(ValueError, match=r"are the text 'sea', which would be read letter by letter: write \{'sea'\}$"):
        taking("sea")
    with pytest.raises(ValueError, match=r"or TOPICS\['weddings'\]$"):
        taking("weddings")
    for nothing in (frozenset(), [], iter([])):
        with pytest.raises(ValueError, match=r"are empty: give one or more$"):
            taking(nothing)
    taking(["sea"])


def test_words_that_can_be_read_only_once_are_all_counted() -> None:
    assert topic_count(iter(["sea", "ship"])).of("a ship at sea") == 2
