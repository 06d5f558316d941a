"""How an example is put to the model: what stands before a prompt, and a question in a style of a wording."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.templates import PLAIN
from steering_lab.evaluation.running.writing import Asked, Prefixed, example_key

ROW = ConflictQA("What is the capital of Peru?", "The capital of Peru is Arequipa.", ("Arequipa",), ("Lima",), "peru")


def chat(messages: Sequence[Mapping[str, Any]]) -> str:
    return " | ".join(f"{message['role']}: {message['content']}" for message in messages)


def test_a_prefix_stands_before_the_prompt_and_the_empty_one_changes_nothing() -> None:
    assert Prefixed()("I hate you") == "I hate you"
    assert Prefixed("Love ")("I hate you") == "Love I hate you"


def test_in_a_chat_the_prompt_is_the_users_turn_behind_the_system_turn() -> None:
    assert Prefixed("Now: ", chat)("hello") == "user: Now: hello"
    assert Prefixed(chat=chat, system="")("hello") == "system:  | user: hello"
    with pytest.raises(ValueError, match="system is 'Be kind', but there is no chat"):
        Prefixed(system="Be kind")


def test_a_closed_book_question_shows_no_context_and_others_do() -> None:
    assert ROW.context not in Asked(PLAIN, "closed_book")(ROW)
    assert ROW.context in Asked(PLAIN, "with_context")(ROW)
    assert "Mind the text." in Asked(PLAIN, "instructed", "Mind the text.")(ROW)


def test_prompts_and_questions_are_not_taken_for_each_other() -> None:
    with pytest.raises(ValueError, match=r"is a question with a context: write it with Asked"):
        Prefixed()(ROW)
    with pytest.raises(ValueError, match=r"'hello' is a prompt, not a question: write it with Prefixed"):
        Asked(PLAIN)("hello")
    assert (example_key("hello"), example_key(ROW)) == ("hello", ROW.id)
