"""A row is complete for its regime or refused, and its twins change one thing each."""

from typing import Any

import pytest

from steering_lab.data.conflict_qa import ConflictQA, check_regime, count_rows, irrelevant_twins, question_group

ROME = "The tower stands in Rome."
PARIS = "The tower stands in Paris."


def row(**changes: Any) -> ConflictQA:
    given: dict[str, Any] = {
        "question": "Where is the tower?",
        "context": ROME,
        "context_answers": ("Rome", "Roma"),
        "memory_answers": ("Paris",),
        "group": "tower",
        "original_context": PARIS,
    }
    return ConflictQA(**{**given, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"question": "  "}, "the question of a row is empty"),
        ({"group": ""}, "the group of a row is empty"),
        ({"context": "\n"}, 'regime "conflict" needs a context; \'Where is the tower'),
        ({"context_answers": ()}, 'regime "conflict" needs a context answer'),
        ({"memory_answers": ()}, 'regime "conflict" needs a memory answer'),
        ({"context_answers": ("Rome", "$")}, r"the answer '\$' to 'Where is the tower\?' normalises to nothing"),
        ({"memory_answers": ("The",)}, "the answer 'The' .* blank_memory_aliases"),
        ({"regime": "closed_book", "context_answers": ()}, 'regime "closed_book" has no context; .* has \'The tower'),
        ({"regime": "irrelevant"}, r'regime "irrelevant" has no context answer; .* has \(\'Rome'),
        ({"regime": "unknown"}, 'regime "unknown" has no memory answer'),
        ({"regime": "agreement"}, "context and memory agree on no answer"),
    ],
)
def test_a_row_that_its_regime_does_not_allow_is_refused_in_its_terms(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        row(**changes)


def test_an_unknown_regime_is_refused_with_those_there_are() -> None:
    assert check_regime("agreement") == "agreement"
    with pytest.raises(ValueError, match='regime "quarrel" is unknown: choose one of conflict, agreement, irrelevant'):
        check_regime("quarrel")


def test_multi_hop_rows_may_or_may_not_have_a_memory_answer() -> None:
    assert row(regime="multi_hop").memory_answers == ("Paris",)
    assert row(regime="multi_hop", memory_answers=()).right_answers == ("Rome", "Roma")


def test_a_context_that_states_both_answers_is_marked_and_decides_nothing() -> None:
    both = row(context="The tower stood in Paris; it stands in Rome.")
    assert both.contains_both
    assert not both.decides
    assert row().decides
    assert not row().contains_both


def test_part_of_the_other_answer_is_not_the_answer() -> None:
    inside = row(context="It lies on Lake Michigan.", context_answers=("Lake Michigan",), memory_answers=("Michigan",))
    assert not inside.contains_both
    assert not row(context="The Parisians' Rome").contains_both


def test_a_denied_answer_still_stands_in_the_context() -> None:
    assert row(context="The tower is not in Paris, it is in Rome.").contains_both


def test_a_shared_wording_is_marked_however_it_is_written() -> None:
    shared = row(memory_answers=("Paris", "the roma."))
    assert shared.answers_overlap
    assert not shared.decides


def test_the_id_stands_for_what_is_asked_and_not_for_where_it_came_from() -> None:
    assert row().id == row(meta={"source": "elsewhere"}, group="other", original_context=None).id
    for changes in ({"question": "Where?"}, {"context": PARIS + ROME}, {"memory_answers": ("Lyon",)}):
        assert row(**changes).id != row().id


def test_the_agreeing_twin_reads_the_original_and_both_sides_are_the_memory() -> None:
    twin = row(blank_context_aliases=("$",), blank_memory_aliases=("...",)).agreeing()
    assert (twin.context, twin.regime, twin.group) == (PARIS, "agreement", "tower")
    assert twin.context_answers == twin.memory_answers == ("Paris",)
    assert twin.blank_context_aliases == twin.blank_memory_aliases == ("...",)
    with pytest.raises(ValueError, match="the original context of 'Where is the tower\\?' is not known"):
        row(original_context=None).agreeing()


def test_the_closed_book_twin_has_no_context_and_asks_the_memory() -> None:
    twin = row().closed_book()
    assert (twin.context, twin.context_answers, twin.regime) == ("", (), "closed_book")
    assert twin.right_answers == ("Paris",)


def test_irrelevant_twins_borrow_a_context_that_states_none_of_the_answers() -> None:
    rows = [
        row(),
        row(context="Rome again.", group="tower", question="Where is it?"),
        row(
            context="The bridge spans the Seine in Paris. Rome is far.", group="bridge", question="Where is the bridge?"
        ),
        row(context="Salt comes from Hallein.", context_answers=("Hallein",), group="salt", question="Where is salt?"),
    ]
    twins = irrelevant_twins(rows, seed=3)
    assert [twin.context for twin in twins[:3]] == ["Salt comes from Hallein."] * 3
    assert {twin.regime for twin in twins} == {"irrelevant"}
    assert irrelevant_twins(rows, seed=3) == twins
    with pytest.raises(ValueError, match="none of the 2 rows has a context that is irrelevant to 'Where is the tower"):
        irrelevant_twins([row(), row(context="Salt comes from Hallein.", question="Where is it?")])  # one group


def test_a_context_that_states_an_answer_is_not_irrelevant() -> None:
    with pytest.raises(ValueError, match="it states one of its answers"):
        row().over("Roma is elsewhere.")


def test_questions_are_the_same_up_to_case_spaces_and_the_final_mark() -> None:
    assert question_group(" Who  wrote it ?") == question_group("who wrote it") == "who wrote it"
    assert question_group("who wrote it") != question_group("who wrote that")


def test_counting_says_what_a_set_of_rows_holds() -> None:
    rows = [row(), row(context=ROME + PARIS), row(memory_answers=("Rome",), group="b", blank_memory_aliases=("$",))]
    assert count_rows([*rows, row().closed_book()]) == {
        "rows": 4, "groups": 2, "contains_both": 2, "answers_overlap": 1, "decides": 1, "blank_aliases": 1,
    }  # fmt: skip


def test_an_answer_begins_as_the_prefix_says_with_what_the_row_knows() -> None:
    known = row(meta={"subject": "Peru", "begun": "Peru's capital is"})
    assert known.begun("The capital of {subject} is") == "The capital of Peru is"
    assert known.begun("{begun}") == "Peru's capital is"
    assert known.begun("It is") == "It is"
    assert known.begun("") == ""
    for prefix in ("The {river} of", "{", "{0}"):
        with pytest.raises(ValueError, match=r"cannot be filled for .* its row knows begun, subject"):
            known.begun(prefix)
