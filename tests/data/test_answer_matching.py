"""Answers are found as whole words, the longest first, and a negation is heard only just before one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.data.answer_matching import answer_words, is_blank_answer, mentions, normalise_answer, stated

WORD = st.text("bcdfg", min_size=1, max_size=4)
PHRASE = st.lists(WORD, min_size=1, max_size=3).map(" ".join)


def said(text: str, context: str, memory: str) -> tuple[bool, bool]:
    return tuple(stated(text, (context,), (memory,), hear_negation=True))


@given(PHRASE, st.lists(WORD, max_size=5), st.lists(WORD, max_size=5))
def test_an_answer_is_found_wherever_it_stands_between_other_words(
    answer: str, left: list[str], right: list[str]
) -> None:
    found = mentions(" ".join([*left, answer, *right]), [answer])
    assert (len(left), len(left) + len(answer.split()), False) in found


@given(PHRASE, WORD)
def test_an_answer_glued_to_a_letter_is_another_word(answer: str, glue: str) -> None:
    assert mentions(f"x{answer} {answer}x x{glue}x", [answer]) == []


@given(st.text(max_size=30))
def test_normalising_twice_changes_nothing_where_no_article_was_joined(text: str) -> None:
    once = normalise_answer(text)
    assert once == " ".join(once.split())
    assert not {"a", "an", "the"} & set(once.split())


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  The United-States Dollar. ", "unitedstates dollar"),
        ("A.N. Other", "other"),  # an: the dots are gone before the articles are
        ("“the” end", "“ ” end"),  # only ASCII punctuation is removed
        ("$", ""),
        ("The The", ""),
    ],
)
def test_the_published_normalisation_by_hand(text: str, normal: str) -> None:
    assert normalise_answer(text) == normal


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Petri Alanko's score", ("petri", "alanko", "score")),
        ("Petri Alanko ’s score", ("petri", "alanko", "score")),
        ("the U.S. and the US", ("us", "and", "us")),
        ("It isn't 1,000 but 3.5.", ("it", "is", "not", "1000", "but", "3.5")),
        ("a live-in son – in 1999–2001", ("live", "in", "son", "in", "1999", "2001")),
        ("O’Brien, Ph.D., in Rome.The end", ("obrien", "ph", "d", "in", "rome", "end")),
    ],
)
def test_the_words_of_the_strict_reading_by_hand(text: str, words: tuple[str, ...]) -> None:
    assert answer_words(text).words == words


@pytest.mark.parametrize("blank", ["", " ", "$", "...", "The", "a.", "€", "'s"])
def test_an_answer_of_marks_and_articles_is_blank_and_found_nowhere(blank: str) -> None:
    assert is_blank_answer(blank)
    assert mentions("It costs $5 or € 6 ... the end's near", [blank]) == []


@pytest.mark.parametrize("kept", ["US$", "two", "The Who", "東京", "3.5"])
def test_an_answer_with_a_word_left_is_not_blank(kept: str) -> None:
    assert not is_blank_answer(kept)
    assert len(mentions(f"They said {kept}.", [kept])) == 1


def test_the_longest_answer_counts_and_what_lies_inside_it_does_not() -> None:
    assert said("It is New York City.", "New York City", "New York") == (True, False)
    assert said("It is New York.", "New York City", "New York") == (False, True)
    assert said("New York, or New York City", "New York City", "New York") == (True, True)
    assert said("The same word", "word", "Word") == (True, True)


@pytest.mark.parametrize(
    ("text", "context_is_stated"),
    [
        ("not John Williams", False),
        ("It was not by the famous John Williams", False),  # not, by, famous: within three words
        ("It was not by that very famous John Williams", True),  # four words before
        ("It isn't John Williams", False),
        ("No, John Williams", True),  # another clause
        ("John Williams, not that it matters", True),  # after the answer
        ("not John Williams at first, but later John Williams", True),
    ],
)
def test_a_negation_counts_within_three_words_before_the_answer_and_in_its_clause(
    text: str, context_is_stated: bool
) -> None:
    assert said(text, "John Williams", "Horner") == (context_is_stated, False)


def test_part_of_a_negated_longer_answer_is_not_stated_by_itself() -> None:
    assert stated("not by that fellow John Williams", ("John Williams", "Williams"), (), hear_negation=True)[0]
    assert not stated("by no John Williams", ("John Williams", "Williams"), (), hear_negation=True)[0]


def test_negation_can_be_left_unheard() -> None:
    assert stated("not Rome", ("Rome",), (), hear_negation=False) == (True, False)
