"""The published scorer is kept to the letter with its defects; the strict one reads what was said."""

import math
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steering_lab.evaluation.measuring.answers import (
    JUDGES,
    VERDICTS,
    Judgement,
    answer_scores,
    judge_official,
    judge_strict,
    official_scores,
)

PIECES = st.sampled_from(["Rome", "Romeo", "Paris", "not", "Not", "no,", "the", "in", "it", "$", "...", "is", "isn't"])
TEXT = st.lists(PIECES, max_size=7).map(" ".join)
ANSWERS = st.lists(st.lists(PIECES, min_size=1, max_size=2).map(" ".join), min_size=1, max_size=3)


def published(text: str, context: list[str], memory: list[str]) -> tuple[bool, bool, bool]:
    """The published rules written out again: substring, negation anywhere, exact match on the raw words."""

    def plain(answer: str) -> str:
        kept = "".join(letter for letter in answer.lower() if letter not in string.punctuation)
        return " ".join(word for word in kept.split() if word not in ("a", "an", "the"))

    listed = ["no", "not", "never", "none", "cannot", "nobody", "nothing", "nowhere", "neither", "nor", "without"]
    listed.append("hardly")
    hit = any(plain(text).find(plain(answer)) >= 0 for answer in context)
    denied = any(word in listed for word in plain(text).split())
    remembered = any(plain(text).find(plain(answer)) >= 0 for answer in memory)
    same = any(plain(text) == plain(answer) for answer in context)
    return hit and not denied, remembered, same and not any(word in listed for word in text.split())


@settings(max_examples=300)
@given(TEXT, ANSWERS, ANSWERS)
def test_the_official_judge_is_the_published_rules(text: str, context: list[str], memory: list[str]) -> None:
    assert tuple(judge_official(text, context, memory)) == published(text, context, memory)


@given(TEXT, ANSWERS, ANSWERS, st.sampled_from(list(JUDGES)))
def test_an_answer_falls_into_exactly_one_of_four_classes(
    text: str, context: list[str], memory: list[str], judge: str
) -> None:
    judged = JUDGES[judge](text, context, memory)
    assert judged.verdict in VERDICTS
    scores = answer_scores([judged])
    only_memory = scores.p_memory - scores.both
    assert scores.p_context + only_memory + scores.both + scores.neither == 100
    assert scores.p_context_or_both == scores.p_context + scores.both


@given(TEXT, ANSWERS, ANSWERS)
def test_the_strict_judge_treats_both_answers_alike(text: str, context: list[str], memory: list[str]) -> None:
    one, other = judge_strict(text, context, memory), judge_strict(text, memory, context)
    assert (one.context, one.memory) == (other.memory, other.context)


@given(TEXT, ANSWERS, ANSWERS)
def test_neither_judge_depends_on_the_order_of_the_wordings(text: str, context: list[str], memory: list[str]) -> None:
    for judge in JUDGES.values():
        assert judge(text, context, memory) == judge(text, context[::-1], memory[::-1])


# text, context answers, memory answers, official verdict, strict verdict
CASES = [
    ("Petri Alanko.", ["Petri Alanko"], ["Lorne Balfe"], "context", "context"),
    ("It was composed by Lorne Balfe", ["Petri Alanko"], ["Lorne Balfe"], "memory", "memory"),
    ("I do not know.", ["Petri Alanko"], ["Lorne Balfe"], "neither", "neither"),
    ("", ["Petri Alanko"], ["Lorne Balfe"], "neither", "neither"),
    ("Petri Alanko or Lorne Balfe", ["Petri Alanko"], ["Lorne Balfe"], "both", "both"),
    # a correct contrastive answer counts as memory
    ("by John Williams, not James Horner", ["John Williams"], ["James Horner"], "memory", "context"),
    # a negation word anywhere, outside the answer too, voids the context answer but not the memory's
    ("John Williams, who has no rival", ["John Williams"], ["James Horner"], "neither", "context"),
    ("James Horner, who has no rival", ["John Williams"], ["James Horner"], "memory", "memory"),
    ("John Williams, NOT.", ["John Williams"], ["James Horner"], "neither", "context"),
    ("It is not James Horner", ["John Williams"], ["James Horner"], "memory", "neither"),
    ("It isn't John Williams", ["John Williams"], ["James Horner"], "context", "neither"),
    # an alias that normalises to nothing is found everywhere
    ("banana", ["US dollar", "$"], ["pound"], "context", "neither"),
    ("banana", ["pound"], ["US dollar", "$"], "memory", "neither"),
    # a substring of a word
    ("a compound", ["pound"], ["dollar"], "context", "neither"),
    ("Petri Alanko's", ["Petri Alanko"], ["Lorne Balfe"], "context", "context"),
    # an answer inside the other
    ("New York City", ["New York City"], ["New York"], "both", "context"),
    ("in the U.S.", ["US"], ["UK"], "context", "context"),
]


@pytest.mark.parametrize(("text", "context", "memory", "official", "strict"), CASES)
def test_verdicts_by_hand(text: str, context: list[str], memory: list[str], official: str, strict: str) -> None:
    assert judge_official(text, context, memory).verdict == official
    assert judge_strict(text, context, memory).verdict == strict


@pytest.mark.parametrize(
    ("text", "answer", "official", "strict"),
    [
        ("The Rome.", "rome", True, True),
        ("Rome, Italy", "Rome", False, False),
        ("Dr. No", "Dr No", True, True),  # the raw word is "No", which is not in the list
        ("dr. no", "Dr No", False, True),  # now it is
        ("No.", "no", True, True),
        ("...", "$", True, False),
        ("u.s", "US", True, True),
    ],
)
def test_exact_matches_by_hand(text: str, answer: str, official: bool, strict: bool) -> None:
    assert judge_official(text, [answer], ["x"]).exact == official
    assert judge_strict(text, [answer], ["x"]).exact == strict


def test_official_figures_of_four_answers_by_hand() -> None:
    texts = ["Rome", "Paris", "Rome, once Paris", "Oslo"]
    scores = official_scores(texts, [["Rome"]] * 4, [["Paris"]] * 4)
    n = 4 + 1e-5
    assert (scores.n, scores.p_context, scores.p_memory) == (4, 100 / n, 200 / n)
    assert scores.memorisation_ratio == (200 / n) / (100 / n + 200 / n + 1e-10) * 100
    assert scores.exact_match == 100 / n
    assert (scores.p_context_or_both, scores.both, scores.neither) == (200 / n, 100 / n, 100 / n)


def test_plain_shares_of_the_same_answers_by_hand() -> None:
    judged = [judge_strict(text, ["Rome"], ["Paris"]) for text in ("Rome", "Paris", "Rome, once Paris", "Oslo")]
    scores = answer_scores(judged)
    assert (scores.p_context, scores.p_context_or_both, scores.p_memory) == (25, 50, 50)
    assert scores.memorisation_ratio == pytest.approx(200 / 3)
    assert (scores.exact_match, scores.both, scores.neither) == (25, 25, 25)


def test_shares_of_nothing_are_not_a_number() -> None:
    assert math.isnan(answer_scores([Judgement(False, False, False)]).memorisation_ratio)
    assert math.isnan(official_scores(["Oslo"], [["Rome"]], [["Paris"]]).memorisation_ratio)
    empty = answer_scores([])
    assert empty.n == 0
    assert all(math.isnan(v) for v in (empty.p_context, empty.p_memory, empty.exact_match, empty.neither))


def test_rows_without_an_answer_and_lists_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="row 1 has 1 context and 0 memory answers: both are needed"):
        official_scores(["Rome", "Rome"], [["Rome"], ["Rome"]], [["Paris"], []])
    with pytest.raises(ValueError, match="2 texts, 1 context and 2 memory answers"):
        official_scores(["Rome", "Rome"], [["Rome"]], [["Paris"], ["Paris"]])
