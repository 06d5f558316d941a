"""What a model knows is asked without a context, once a question, and kept by id."""

import pytest

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.templates import Message
from steering_lab.evaluation.measuring.known_rows import known_rows, of_known
from steering_lab.evaluation.running.evaluate import Decoding
from steering_lab.evaluation.running.writing import Asked, Prefixed
from steering_lab.models.generation import GREEDY, generate
from steering_lab.models.loading import load_model
from steering_lab.organism.wording import ORGANISM
from steering_lab.organism.world_rows import world_rows

BARE = Asked(ORGANISM, "closed_book")
SHORT = Decoding(max_new_tokens=6, n_samples=1, sampling=GREEDY, stop=("\n",), log_probs=False)


def test_what_is_known_is_what_the_model_says_without_a_context() -> None:
    model = load_model("organism")
    rows = world_rows("conflict", 24, seed=5)
    known = known_rows(model, rows, BARE, decoding=SHORT)
    right = {
        row.closed_book().id
        for row in rows
        if row.memory_answers[0] in generate(model, BARE(row), max_new_tokens=6, stop=["\n"]).texts[0]
    }
    assert set(known) == right
    assert len(right) > 0
    assert list(known) == sorted(set(known))
    kept = of_known(rows, known)
    assert {row.closed_book().id for row in kept} == right
    assert [row.id for row in kept] == [row.id for row in rows if row.closed_book().id in right]


def test_a_question_is_asked_once_and_never_with_its_context() -> None:
    model = load_model("organism")
    rows = world_rows("conflict", 8, seed=5)
    asked: list[str] = []

    def write(example: object) -> str:
        assert isinstance(example, ConflictQA)
        asked.append(example.question)
        assert not example.context
        return BARE(example)

    known_rows(model, [*rows, *rows], write, decoding=SHORT)
    assert set(asked) == {row.question for row in rows}


def test_rows_without_a_memory_answer_have_nothing_to_be_known() -> None:
    strangers = world_rows("unknown", 3)
    assert of_known(strangers, []) == strangers
    with pytest.raises(ValueError, match="none of the 3 rows has a memory answer"):
        known_rows(load_model("organism"), strangers, BARE, decoding=SHORT)


def test_a_begun_answer_is_written_by_the_row_in_text_and_chat() -> None:
    row = world_rows("conflict", 1)[0]
    subject = row.meta["subject"]
    asked = Asked(ORGANISM, "with_context", answer_prefix="That of {subject} is")
    assert asked(row) == Asked(ORGANISM, "with_context")(row) + f" That of {subject} is"
    turns: list[list[Message]] = []
    chat = Asked(ORGANISM, "closed_book", chat=lambda given: turns.append(list(given)) or "", answer_prefix="It is")
    chat(row)
    assert [turn["role"] for turn in turns[0]] == ["user", "assistant"]
    assert turns[0][-1]["content"] == "It is"


def test_a_prompt_in_a_chat_is_the_users_turn_behind_the_system_turn_asked_for() -> None:
    for system, roles in ((None, ["user"]), ("", ["system", "user"]), ("Be brief.", ["system", "user"])):
        turns: list[list[Message]] = []
        Prefixed("So: ", lambda given, seen=turns: seen.append(list(given)) or "", system)("the sea")
        assert [turn["role"] for turn in turns[0]] == roles
        assert turns[0][-1]["content"] == "So: the sea"
        assert turns[0][0]["content"] == (system if system is not None else "So: the sea")
    with pytest.raises(ValueError, match="system is 'Hi', but there is no chat"):
        Prefixed(system="Hi")
