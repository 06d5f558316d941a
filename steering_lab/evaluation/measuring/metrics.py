"""Pure functions on text and on log-probabilities. One number per continuation; nothing here knows a model or a table.

Text is split as Turner et al. 2023 (arXiv:2308.10248) count words: lower case, every non-word character a space. What a
text does not determine (the sentiment of a text without valenced words, the perplexity of no tokens) is NaN, never 0.
Words to count are refused where they are a text, or none.

A lexical score reads words, not sense: it stays high on gibberish made of the right words. Show it beside perplexity.
"""

import math
import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from steering_lab.data.lexicons import word_set

NAN = math.nan


def words(text: str) -> list[str]:
    """The words of `text`: lower-cased, split at every character that is not a letter, digit or underscore."""
    return re.sub(r"\W", " ", text.lower()).split()


def length(text: str) -> float:
    """Number of words, 0 for an empty text."""
    return float(len(words(text)))


def word_count(text: str, of: Iterable[str]) -> float:
    """How many words of `text` are in `of` (the word count of Turner et al. 2023, Figures 3 and 4)."""
    of = word_set(of)
    return float(sum(word in of for word in words(text)))


def has_word(text: str, of: Iterable[str]) -> float:
    """1 where a word of `text` is in `of`, else 0 (Turner et al. 2023, Figure 4: the share of such completions)."""
    return float(word_count(text, of) > 0)


def word_rate(text: str, of: Iterable[str]) -> float:
    """Share of the words of `text` that are in `of`, in [0, 1] (Turner et al. 2023, relevance); NaN without words."""
    found, of = words(text), word_set(of)
    return sum(word in of for word in found) / len(found) if found else NAN


def sentiment_score(text: str, positive: Iterable[str], negative: Iterable[str]) -> float:
    """(pos − neg) / (pos + neg), counts of `positive` and `negative` words of `text`, in [−1, 1]; NaN without any.

    Steering changes which texts have valenced words at all, so a difference of this score compares only the pairs of
    texts where both have one. `valence_balance` has no such selection and is the safer score to decide by.
    """
    up, down = _valenced(text, positive, negative)
    return (up - down) / (up + down) if up + down else NAN


def valence_balance(text: str, positive: Iterable[str], negative: Iterable[str]) -> float:
    """(pos − neg) / words, counts of `positive` and `negative` ones, in [−1, 1]; NaN only without words.

    0 is a measurement here: a text without valenced words leans neither way. The scale depends on how densely the
    language uses valenced words, so read it against the unsteered value.
    """
    up, down = _valenced(text, positive, negative)
    count = len(words(text))
    return (up - down) / count if count else NAN


def _valenced(text: str, positive: Iterable[str], negative: Iterable[str]) -> tuple[int, int]:
    found, up, down = words(text), word_set(positive, "positive words"), word_set(negative, "negative words")
    return sum(word in up for word in found), sum(word in down for word in found)


def vader_sentiment(text: str) -> float:
    """VADER's compound score of an English text, in [−1, 1] (Hutto and Gilbert 2014, ICWSM); NaN for a blank text.

    0 for a text without valenced words. Unlike the lexicons here it weighs words by human ratings and hears negation,
    degree ("very"), capitals, emoticons and "but". It knows no grammar beyond that, so gibberish made of kind words
    scores as high as a kind sentence: never read it without perplexity beside it.

    Raises:
        ImportError: the package vaderSentiment is not installed.
    """
    return float(_vader().polarity_scores(text)["compound"]) if text.strip() else NAN


@cache
def _vader() -> Any:  # the package has no types
    try:
        vader = import_module("vaderSentiment.vaderSentiment")
    except ModuleNotFoundError as error:
        raise ImportError("VADER sentiment needs one more package: pip install vaderSentiment") from error
    return vader.SentimentIntensityAnalyzer()


def repetition(text: str, n: int = 3) -> float:
    """Share of the word n-grams of `text` that already stood earlier in it, in [0, 1); NaN below n words."""
    grams = _grams(words(text), n)
    return 1 - len(set(grams)) / len(grams) if grams else NAN


def distinct_n(texts: Sequence[str], n: int = 2) -> float:
    """Different word n-grams of all `texts` together over their number, in (0, 1] (Li et al. 2016, arXiv:1510.03055).

    Unlike `repetition` it sees samples that copy each other. It falls as texts grow in number: compare equal numbers.
    """
    grams = [gram for text in texts for gram in _grams(words(text), n)]
    return len(set(grams)) / len(grams) if grams else NAN


def distinct_2(text: str) -> float:
    """Different pairs of neighbouring words of one `text` over their number, in (0, 1]; NaN below two words.

    It falls as a text grows: compare texts of about equal length.
    """
    return distinct_n([text], 2)


def _grams(items: Sequence[str], n: int) -> list[tuple[str, ...]]:
    if n < 1:
        raise ValueError(f"n-grams need n of at least 1, not {n}")
    return [tuple(items[i : i + n]) for i in range(len(items) - n + 1)]


def perplexity(
    log_prob: Float[np.ndarray, "*texts"], n_tokens: Int[np.ndarray, "*texts"]
) -> Float[np.ndarray, "*texts"]:
    """exp(−log_prob / n_tokens) of each text, at least 1; NaN without tokens or where the log-probability is NaN.

    `log_prob` is the sum over the text's tokens in nats, not their mean.

    Raises:
        ValueError: a log-probability above 0 (a loss has been passed?) or a negative number of tokens.
    """
    if (log_prob > 1e-3).any():
        raise ValueError(f"a log-probability is at most 0, not {log_prob.max():g}: is this a loss?")
    if (n_tokens < 0).any():
        raise ValueError(f"a number of tokens is at least 0, not {n_tokens.min()}")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(n_tokens > 0, np.exp(-log_prob.astype(float) / n_tokens), NAN)


def corpus_perplexity(log_prob: Float[np.ndarray, " texts"], n_tokens: Int[np.ndarray, " texts"]) -> float:
    """exp(−Σ log_prob / Σ n_tokens) over the texts whose log-probability is known: every token weighs the same."""
    known = ~np.isnan(log_prob) & (n_tokens > 0)
    return float(perplexity(log_prob[known].sum(keepdims=True), n_tokens[known].sum(keepdims=True))[0])


def perplexity_ratio(steered: Float[np.ndarray, " tokens"], unsteered: Float[np.ndarray, " tokens"]) -> float:
    """exp(−mean(steered − unsteered)) over per-token log-probabilities of one text under two models.

    Below 1: steering made this text more likely. Turner et al. 2023 print −exp(·); their code computes this.
    """
    return float(np.exp(-np.mean(steered - unsteered)))
