"""Passages that are right, outdated and wrong: each question meets each kind once, in the same words."""

import pytest

from steering_lab.data.capitals import capital_rows
from steering_lab.data.passages import DATED, KINDS, passage_of, passages_about

ROWS = capital_rows("conflict", min_population=100_000_000)


def test_over_three_databases_every_question_meets_every_kind_once() -> None:
    databases = [passages_about(ROWS, turn) for turn in range(3)]
    for rows in databases:
        assert [row.group for row in rows] == list(dict.fromkeys(row.group for row in ROWS))
        counts = [sum(row.meta["passage"] == kind for row in rows) for kind in KINDS]
        assert max(counts) - min(counts) <= 1
    for passages in zip(*databases, strict=True):
        by_kind = {row.meta["passage"]: row for row in passages}
        assert set(by_kind) == set(KINDS)
        right, outdated, wrong = (by_kind[kind] for kind in KINDS)
        assert outdated.context == DATED.format(statement=wrong.context)
        assert wrong.context.replace(wrong.context_answers[0], wrong.memory_answers[0]) == right.context
        assert outdated.context_answers == wrong.context_answers
        assert right.context_answers == right.memory_answers == wrong.memory_answers


def test_a_right_passage_needs_the_original_context() -> None:
    row = passage_of(ROWS[0], "right")
    with pytest.raises(ValueError, match=r"the original context of .* is not known"):
        passage_of(type(row)(row.question, "Lyon is.", ("Lyon",), ("Paris",), "FR"), "right")
