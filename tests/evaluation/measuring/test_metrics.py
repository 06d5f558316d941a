"""Metrics of text and log-probabilities: hand-computed numbers, ranges, and what missing means."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.data.lexicons import WEDDING_WORDS
from steering_lab.evaluation.measuring import metrics
from steering_lab.evaluation.measuring.metrics import (
    corpus_perplexity,
    distinct_2,
    distinct_n,
    length,
    perplexity,
    perplexity_ratio,
    repetition,
    sentiment_score,
    vader_sentiment,
    valence_balance,
    word_count,
    word_rate,
    words,
)

GOOD, BAD = frozenset({"good", "joy"}), frozenset({"bad"})
TEXTS = st.lists(st.sampled_from(["good", "Joy", "bad", "the", "sea", ",", "\n"]), max_size=12).map(" ".join)


def test_words_are_split_at_every_non_word_character_and_lower_cased() -> None:
    assert words("It's a WEDDING—the bride_1 said: “Don't!”") == [
        *("it", "s", "a", "wedding", "the", "bride_1", "said", "don", "t"),
    ]
    assert words(" \n… ") == []


def test_wedding_words_are_counted_as_in_the_paper() -> None:
    text = "Married! The bride, the groom and the bride's cat; no wedlock."
    # married the bride the groom and the bride s cat no wedlock
    assert word_count(text, WEDDING_WORDS) == 4
    assert word_rate(text, WEDDING_WORDS) == pytest.approx(4 / 12)
    assert length(text) == 12


def test_sentiment_is_the_balance_among_valenced_words() -> None:
    assert sentiment_score("Good joy, bad sea", GOOD, BAD) == pytest.approx(1 / 3)
    assert valence_balance("Good joy, bad sea", GOOD, BAD) == pytest.approx(1 / 4)


def test_a_text_without_valenced_words_has_no_sentiment_but_a_balance_of_zero() -> None:
    assert math.isnan(sentiment_score("the sea", GOOD, BAD))
    assert valence_balance("the sea", GOOD, BAD) == 0


def test_an_empty_text_has_neither_and_no_word_rate_or_repetition() -> None:
    assert math.isnan(sentiment_score("", GOOD, BAD))
    assert math.isnan(valence_balance(" , ", GOOD, BAD))
    assert math.isnan(word_rate("", GOOD))
    assert math.isnan(repetition("two words", n=3))
    assert length("") == 0


@given(TEXTS)
def test_swapping_the_lexicon_negates_both_scores(text: str) -> None:
    for score in (sentiment_score, valence_balance):
        there, back = score(text, GOOD, BAD), score(text, BAD, GOOD)
        assert there == -back or (math.isnan(there) and math.isnan(back))


@given(TEXTS)
def test_balance_is_sentiment_times_the_share_of_valenced_words(text: str) -> None:
    if not math.isnan(score := sentiment_score(text, GOOD, BAD)):
        assert valence_balance(text, GOOD, BAD) == pytest.approx(score * word_rate(text, GOOD | BAD))


def test_distinct_2_is_the_share_of_different_neighbours_in_one_text() -> None:
    assert distinct_2("a b a b a") == pytest.approx(2 / 4)
    assert distinct_2("one two three") == 1
    assert math.isnan(distinct_2("one"))


def test_repetition_is_the_share_of_grams_already_seen() -> None:
    assert repetition("a b c d") == 0
    assert repetition("a a a a a a a a a a a a") == pytest.approx(9 / 10)
    assert repetition("a b a b", n=2) == pytest.approx(1 / 3)  # ab ba ab


def test_distinct_n_sees_samples_that_copy_each_other() -> None:
    assert distinct_n(["a b c", "a b c"], n=2) == pytest.approx(2 / 4)
    assert distinct_n(["a b c", "d e f"], n=2) == 1
    assert math.isnan(distinct_n(["a"], n=2))
    with pytest.raises(ValueError, match="at least 1, not 0"):
        distinct_n(["a b"], n=0)


def test_perplexity_is_the_inverse_geometric_mean_probability() -> None:
    log_prob = np.log(np.array([0.5 * 0.125, 1.0]))
    assert perplexity(log_prob, np.array([2, 3])) == pytest.approx([4.0, 1.0])


def test_perplexity_of_nothing_is_missing() -> None:
    assert np.isnan(perplexity(np.array([0.0, np.nan]), np.array([0, 4]))).all()


def test_a_loss_passed_for_a_log_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at most 0, not 2\.5: is this a loss"):
        perplexity(np.array([2.5]), np.array([4]))
    with pytest.raises(ValueError, match="at least 0, not -1"):
        perplexity(np.array([-2.5]), np.array([-1]))


def test_corpus_perplexity_weighs_tokens_not_texts() -> None:
    log_prob, n_tokens = np.log(np.array([0.5, 0.25**3, 1.0])), np.array([1, 3, 0])
    assert corpus_perplexity(log_prob, n_tokens) == pytest.approx(2 ** (7 / 4))


def test_corpus_perplexity_leaves_out_unknown_texts() -> None:
    assert corpus_perplexity(np.array([math.log(0.5), np.nan]), np.array([1, 5])) == pytest.approx(2)
    assert math.isnan(corpus_perplexity(np.array([np.nan]), np.array([5])))


def test_perplexity_ratio_is_below_one_where_steering_made_the_text_likelier() -> None:
    unsteered = np.log(np.array([0.1, 0.2]))
    assert perplexity_ratio(np.log(np.array([0.2, 0.4])), unsteered) == pytest.approx(0.5)
    assert perplexity_ratio(unsteered, unsteered) == 1


def test_vader_hears_what_a_lexicon_does_not() -> None:
    assert vader_sentiment("I love this") > 0.5 > -0.5 > vader_sentiment("I hate this")
    assert vader_sentiment("This is not good") < 0 < vader_sentiment("This is good")
    assert vader_sentiment("This is VERY good!!!") > vader_sentiment("This is good")
    assert vader_sentiment("The train leaves at nine") == 0
    assert math.isnan(vader_sentiment(" \n"))


def test_vader_is_high_on_gibberish_of_kind_words() -> None:
    """What its docstring warns of: the same words in no order at all score as the sentence does."""
    sentence = "She was happy, because the kind people loved her wonderful song"
    gibberish = "wonderful loved people song kind happy she the her because was"
    assert vader_sentiment(gibberish) == pytest.approx(vader_sentiment(sentence), abs=0.01)
    assert vader_sentiment(gibberish) > 0.8


def test_without_vader_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics._vader.cache_clear()
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", None)
    with pytest.raises(ImportError, match="pip install vaderSentiment"):
        vader_sentiment("I love this")


def test_the_analyser_is_made_once_and_only_when_asked_for() -> None:
    code = "import sys, steering_lab.evaluation.measuring.measures; print('vaderSentiment' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
    assert metrics._vader() is metrics._vader()
