"""Answers in a table are judged row by row; which rows count is a matter of the question, and missing stays missing."""

import math
from dataclasses import asdict

import pandas as pd
import pytest

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.evaluation.answer_measures import (
    CONFLICT_MEASURES,
    AnswerMeasure,
    RightAnswer,
    judgements,
    score_table,
    with_answers,
)
from steering_lab.evaluation.measures import Measure, measure_table
from tests.evaluation.tables import factors

CONFLICT = ConflictQA("Where?", "In Rome.", ("Rome",), ("Paris",), "where", original_context="In Paris.")
MONEY = ConflictQA("What?", "Euros.", ("euro",), ("dollar",), "what", blank_memory_aliases=("$",))
ROWS = {
    "conflict": CONFLICT,
    "money": MONEY,
    "agreement": CONFLICT.agreeing(),
    "closed": CONFLICT.closed_book(),
    "unknown": ConflictQA("Who?", "Bo.", ("Bo",), (), "who", "unknown"),
}


def generations(*rows: tuple[str, str, str | None]) -> pd.DataFrame:
    """Rows of (condition, prompt, text) on an odd index."""
    table = pd.DataFrame(rows, columns=["condition", "prompt", "text"])
    blocks = [table.iloc[[i]].assign(**asdict(factors(m, layer=1, coeff=1))) for i, m in enumerate(table["condition"])]
    table = pd.concat(blocks).assign(sample=0, n_tokens=1, log_prob_unsteered=math.nan, log_prob_steered=math.nan)
    return with_answers(table.set_index(pd.Index(range(5, 5 + len(table)))), ROWS)


TABLE = generations(
    ("unsteered", "conflict", "Paris"),
    ("unsteered", "money", "a banana"),
    ("unsteered", "agreement", "Paris"),
    ("unsteered", "closed", "Rome"),
    ("unsteered", "unknown", "Bo"),
    ("steered", "conflict", "Rome"),
    ("steered", "money", None),
    ("steered", "agreement", "Rome"),
    ("steered", "closed", "Paris"),
    ("steered", "unknown", "not Bo"),
)


def values(measure: Measure) -> list[float | None]:
    return [None if math.isnan(value) else value for value in measure(TABLE)]


def test_the_four_classes_are_defined_where_context_and_memory_can_be_told_apart() -> None:
    assert values(AnswerMeasure("context")) == [0, 0, None, None, None, 1, None, None, None, None]
    assert values(AnswerMeasure("memory")) == [1, 0, None, None, None, 0, None, None, None, None]
    total = sum(AnswerMeasure(reading)(TABLE) for reading in ("context", "memory", "both", "neither"))
    assert total.dropna().tolist() == [1, 1, 1]


def test_each_answer_alone_is_looked_for_wherever_the_question_has_it() -> None:
    assert values(AnswerMeasure("memory_or_both")) == [1, 0, 1, 0, None, 0, None, 0, 1, None]
    assert values(AnswerMeasure("context_or_both")) == [0, 0, 1, None, 1, 1, None, 0, None, 0]
    assert values(AnswerMeasure("exact")) == [0, 0, 1, None, 1, 1, None, 0, None, 0]


def test_the_right_answer_is_the_contexts_or_the_memorys_where_the_context_says_nothing() -> None:
    assert values(RightAnswer()) == [0, 0, 1, 0, 1, 1, None, 0, 1, 0]


def test_only_the_official_scorer_hears_blank_aliases() -> None:
    assert [j and j.verdict for j in judgements(TABLE, "strict")][1] == "neither"
    assert [j and j.verdict for j in judgements(TABLE, "official")][1] == "memory"
    assert AnswerMeasure("memory_or_both", "official").name == "official_memory_or_both"
    assert values(AnswerMeasure("memory_or_both", "official"))[:2] == [1, 1]


def test_the_measures_fill_the_tidy_table_with_one_denominator_for_every_condition() -> None:
    tidy = measure_table(TABLE, [*CONFLICT_MEASURES, RightAnswer()])
    assert all(isinstance(measure, Measure) for measure in (*CONFLICT_MEASURES, RightAnswer()))
    assert len(tidy) == len(TABLE) * 12
    assert tidy["weight"].eq(1).all()
    applies = tidy[tidy["prompt"] != "money"]  # whose text is missing in one of the two
    counted = applies.groupby(["metric", "condition"])["value"].count().unstack()
    assert (counted["steered"] == counted["unsteered"]).all()


def test_scores_are_one_line_per_condition_and_scorer_with_missing_texts_counted() -> None:
    table = score_table(TABLE).set_index(["condition", "scorer"])
    assert table.loc[("unsteered", "strict"), ["n", "n_missing", "p_memory", "neither"]].tolist() == [2, 0, 50, 50]
    assert table.loc[("unsteered", "official"), ["p_memory", "memorisation_ratio"]].tolist() == [100, 100]
    assert table.loc[("steered", "strict"), ["n", "n_missing", "p_context", "exact_match"]].tolist() == [1, 1, 100, 100]


def test_a_table_without_answers_or_questions_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the table has no row_id, group, .*: put the answers beside the texts"):
        judgements(TABLE[["text", "prompt"]])
    with pytest.raises(ValueError, match="1 prompts have no question to be judged by, the first is 'money'"):
        with_answers(TABLE.iloc[:3], {"conflict": CONFLICT, "agreement": CONFLICT})
    with pytest.raises(ValueError, match="no row of the table has a context answer and a memory answer that differ"):
        score_table(TABLE[TABLE["prompt"] == "agreement"])
