"""Where a text states an answer: the normalisation the published scorers share, and a stricter reading by words.

The published reading (`normalise_answer`, then a substring test) finds "pound" in "compound" and every answer in the
alias "$". The strict one compares whole words, takes the longest answer where one lies inside another ("New York" in
"New York City"), and hears a negation only shortly before the answer.
"""

import re
import string
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

NEGATION_WORDS = frozenset(
    {"no", "not", "never", "none", "cannot", "nobody", "nothing", "nowhere", "neither", "nor", "without", "hardly"}
)
NEGATION_WINDOW = 3  # words before an answer, articles not counted

_ARTICLES = frozenset({"a", "an", "the"})
_ARTICLE = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_CLAUSE_END = re.compile(r"""[,;:!?()\[\]{}<>"“”«»—–\n]+|\.(?=\s|$)""")
_ABBREVIATION = re.compile(r"\b(?:[^\W\d_]\.)+(?:[^\W\d_]\b)?")  # u.s.
_WORD = re.compile(r"\d+(?:\.\d+)+|[^\W_]+")


class Words(NamedTuple):
    """The `words` of a text without articles, and in `clauses` the number of the clause that each stands in."""

    words: tuple[str, ...]
    clauses: tuple[int, ...]


class Mention(NamedTuple):
    """Words [start, end) of a text are an answer; `negated`: a negation stands just before them."""

    start: int
    end: int
    negated: bool


class Stated(NamedTuple):
    """Which answers a text states: the `context`'s, the `memory`'s, both or none."""

    context: bool
    memory: bool


def normalise_answer(text: str) -> str:
    """`text` in lower case, without ASCII punctuation, then without the words a, an and the, single-spaced.

    The normalisation of SQuAD (Rajpurkar et al. 2016), which the ConFiQA scorer uses (Bi et al. 2024,
    arXiv:2412.15280, evaluation.py).
    """
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


@lru_cache(maxsize=100_000)
def answer_words(text: str) -> Words:
    """`text` as the strict reading compares it.

    Lower case; "isn't" is "is not"; a possessive 's, apostrophes, the dots of abbreviations and the commas of
    thousands are gone (U.S. = US, 1,000 = 1000); other punctuation separates words, most of it clauses too.
    """
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    text = re.sub(r"\s*'s\b", "", re.sub(r"n't\b", " not", text))
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    words: list[str] = []
    clauses: list[int] = []
    for number, clause in enumerate(_CLAUSE_END.split(text)):
        found = _WORD.findall(_ABBREVIATION.sub(lambda match: match[0].replace(".", ""), clause.replace("'", "")))
        kept = [word for word in found if word not in _ARTICLES]
        words += kept
        clauses += [number] * len(kept)
    return Words(tuple(words), tuple(clauses))


def is_blank_answer(answer: str) -> bool:
    """Whether nothing is left of `answer` to look for ("$", "...", "The"): the published substring test would find
    it in every text, the strict reading in none."""
    return not normalise_answer(answer) or not answer_words(answer).words


def mentions(text: str, answers: Sequence[str]) -> list[Mention]:
    """Every place where one of `answers` stands in `text` as whole words; blank answers stand nowhere."""
    words, clauses = answer_words(text)
    return [
        Mention(start, end, _negated(words, clauses, start))
        for answer in dict.fromkeys(answer_words(answer).words for answer in answers)
        for start, end in _places(words, answer)
    ]


def stated(text: str, context_answers: Sequence[str], memory_answers: Sequence[str], *, hear_negation: bool) -> Stated:
    """Which of two answers `text` states, by the strict reading.

    A mention inside a longer one, of either answer, is part of that one and does not count by itself; with
    `hear_negation`, neither does one that a negation word precedes within `NEGATION_WINDOW` words of its clause.

    Args:
        text: What the model wrote.
        context_answers: Every wording of the context's answer.
        memory_answers: Every wording of memory's answer.
        hear_negation: Whether a mention behind a negation word does not count.
    """
    sides = [mentions(text, context_answers), mentions(text, memory_answers)]
    everywhere = [mention for side in sides for mention in side]
    in_context, in_memory = (
        any(not (hear_negation and m.negated) and not _inside_a_longer(m, everywhere) for m in side) for side in sides
    )
    return Stated(in_context, in_memory)


def _places(words: tuple[str, ...], answer: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    length = len(answer)
    for start in range(len(words) - length + 1 if answer else 0):
        if words[start] == answer[0] and words[start : start + length] == answer:
            yield start, start + length


def _negated(words: tuple[str, ...], clauses: tuple[int, ...], start: int) -> bool:
    window = range(max(0, start - NEGATION_WINDOW), start)
    return any(words[i] in NEGATION_WORDS and clauses[i] == clauses[start] for i in window)


def _inside_a_longer(mention: Mention, others: Sequence[Mention]) -> bool:
    length = mention.end - mention.start
    return any(o.start <= mention.start and mention.end <= o.end and o.end - o.start > length for o in others)
