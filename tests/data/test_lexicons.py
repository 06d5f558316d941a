"""A lexicon holds only words that a text can match, each on one side."""

import pytest

from steering_lab.data.lexicons import ENGLISH, WEDDING_WORDS, Lexicon, check_words


def test_the_built_in_lists_hold_countable_words() -> None:
    check_words(WEDDING_WORDS)
    assert len(WEDDING_WORDS) == 9
    assert len(ENGLISH.positive) >= 60
    assert len(ENGLISH.negative) >= 60


def test_a_word_on_both_sides_is_refused() -> None:
    with pytest.raises(ValueError, match="both sides of the lexicon: odd"):
        Lexicon(frozenset({"good", "odd"}), frozenset({"odd"}))


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one positive"):
        Lexicon(frozenset(), frozenset({"bad"}))


@pytest.mark.parametrize("word", ["Love", "well done", "9/11", ""])
def test_an_entry_that_no_text_can_match_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="never counted"):
        Lexicon(frozenset({"good", word}), frozenset({"bad"}))
