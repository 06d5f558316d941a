"""Helped and hurt are counted on questions fixed beforehand, and McNemar's test is exact."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.evaluation.inferring.paired_answers import known_questions, paired_counts
from tests.evaluation.tables import observed, stacked

NAN = math.nan


def tidy(**conditions: list[float]) -> pd.DataFrame:
    """One value of "context" per condition and prompt q0, q1, ...; the method is the condition."""
    blocks = [
        observed(name, {f"q{i}": [value] for i, value in enumerate(values)}, layer=3, coeff=1, metric="context").assign(
            condition=name
        )
        for name, values in conditions.items()
    ]
    return stacked(*blocks)


def test_counts_by_hand() -> None:
    table = tidy(unsteered=[0, 0, 0, 1, 1, 0], steered=[1, 1, 0, 1, 0, 1])
    (row,) = paired_counts(table, "context").to_dict("records")
    assert (row["n"], row["helped"], row["hurt"], row["kept"], row["without"]) == (6, 3, 1, 1, 1)
    assert (row["effect"], row["p"]) == (2 / 6, 2 * 5 / 2**4)


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=20))
def test_every_question_is_in_one_count_and_swapping_the_arms_swaps_helped_and_hurt(
    pairs: list[tuple[float, float]],
) -> None:
    before, after = [list(side) for side in zip(*pairs, strict=True)]
    (row,) = paired_counts(tidy(unsteered=before, steered=after), "context").to_dict("records")
    assert row["helped"] + row["hurt"] + row["kept"] + row["without"] == row["n"] == len(pairs)
    (back,) = paired_counts(tidy(unsteered=after, steered=before), "context").to_dict("records")
    assert (back["helped"], back["hurt"], back["p"]) == (row["hurt"], row["helped"], row["p"])
    assert back["effect"] == pytest.approx(-row["effect"])


def test_only_known_questions_are_counted_and_they_are_the_denominator_of_every_condition() -> None:
    closed_book = tidy(unsteered=[1, 0, 1, NAN, 1])
    known = known_questions(closed_book, "context")
    assert known == {"q0", "q2", "q4"}
    table = tidy(unsteered=[0, 0, 0, 0, 1], one=[1, 1, 1, 1, 1], two=[0, 1, 0, 1, 0])
    counts = paired_counts(table, "context", known=known)
    assert counts["n"].tolist() == [3, 3]
    assert counts[["helped", "hurt"]].to_numpy().tolist() == [[2, 0], [0, 1]]


def test_missing_values_are_counted_and_leave_no_effect() -> None:
    (row,) = paired_counts(tidy(unsteered=[0, NAN, 1], steered=[1, 1, NAN]), "context").to_dict("records")
    assert (row["n"], row["n_missing"], row["helped"], row["hurt"]) == (3, 2, 1, 0)
    assert math.isnan(row["effect"])


def test_conditions_of_one_name_at_other_layers_are_told_apart() -> None:
    table = tidy(unsteered=[0, 0], steered=[1, 0])
    deeper = table[table["condition"] == "steered"].assign(condition="steered deeper", layer=4.0, value=1)
    counts = paired_counts(pd.concat([table, deeper]), "context")
    assert counts[["layer", "helped"]].to_numpy().tolist() == [[3, 1], [4, 2]]


@pytest.mark.parametrize(
    ("table", "known", "message"),
    [
        (tidy(steered=[1]), None, 'no rows of "context" of the unsteered model'),
        (tidy(unsteered=[0.5], steered=[1]), None, '"context" is 0.5 somewhere'),
        (tidy(unsteered=[0, 1], steered=[1]), None, "condition \"steered\" lacks 1 questions, the first is 'q1'"),
        (tidy(unsteered=[0], steered=[1]), ["q7"], "1 known questions were not put to the unsteered model, .* 'q7'"),
        (tidy(unsteered=[0], steered=[1]), [], "no question is known"),
        (pd.concat([tidy(unsteered=[0])] * 2), None, "condition \"unsteered\" has several to 'q0'"),
        (tidy(unsteered=[0]).assign(metric="other"), None, 'no metric "context"; it has other'),
    ],
)
def test_what_cannot_be_paired_is_refused(table: pd.DataFrame, known: list[str] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_counts(table, "context", known=known)


def test_a_known_set_needs_one_answer_per_question_of_the_method() -> None:
    with pytest.raises(ValueError, match="one answer per prompt is needed, 'q0' has several"):
        known_questions(pd.concat([tidy(unsteered=[1])] * 2), "context")
    with pytest.raises(ValueError, match='no rows of "context" of the unsteered model'):
        known_questions(tidy(steered=[1]), "context")
