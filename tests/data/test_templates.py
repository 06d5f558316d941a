"""Every prompt style asks the same question over the same context, in the published strings where there are any."""

from collections import Counter

import pytest

from steering_lab.data.templates import (
    CONTEXT_DPO,
    CONTEXTFOCUS,
    INSTRUCTIONS,
    PLAIN,
    STYLES,
    WORDINGS,
    PromptStyle,
    Wording,
    draw_instructions,
)

CONTEXT, QUESTION = 'Ann wrote "The Door" in {1999}.', "Who wrote The Door?"


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("with_context", 'Ann wrote "The Door" in {1999}.\nQ:Who wrote The Door?\nA:'),
        (
            "instructed",
            "Instruction: read the given information and answer the corresponding question.\n\n"
            'Ann wrote "The Door" in {1999}.\nQ:Who wrote The Door?\nA:',
        ),
        ("opinion", 'Bob said "Ann wrote The Door in {1999}."\nQ: Who wrote The Door in Bob\'s opinion?\nA:'),
        (
            "instructed_opinion",
            "Instruction: read the given information and answer the corresponding question.\n\n"
            'Bob said "Ann wrote The Door in {1999}."\nQ: Who wrote The Door in Bob\'s opinion?\nA:',
        ),
        ("closed_book", "Q:Who wrote The Door?\nA:"),
    ],
)
def test_the_context_dpo_wording_is_the_published_one_to_the_letter(style: PromptStyle, text: str) -> None:
    assert CONTEXT_DPO.text(style, QUESTION, CONTEXT) == text


def test_a_question_without_its_mark_loses_no_letter() -> None:
    assert "Q: who wrote it in Bob's opinion?" in CONTEXT_DPO.text("opinion", "who wrote it", CONTEXT)


def test_the_contextfocus_vector_prompts_are_an_instructed_chat_and_a_bare_question() -> None:
    positive = CONTEXTFOCUS.chat("instructed", QUESTION, CONTEXT, instruction="Go by the text.")
    assert positive == [
        {"role": "system", "content": "Go by the text."},
        {"role": "user", "content": f"Context: {CONTEXT}\nQuestion: {QUESTION}"},
    ]
    assert CONTEXTFOCUS.chat("closed_book", QUESTION) == [{"role": "user", "content": f"Question: {QUESTION}"}]


def test_a_chat_without_a_system_turn_opens_with_the_instruction() -> None:
    (only,) = CONTEXTFOCUS.chat("instructed", QUESTION, CONTEXT, system_turn=False)
    assert only == {"role": "user", "content": CONTEXTFOCUS.text("instructed", QUESTION, CONTEXT)}


@pytest.mark.parametrize("wording", WORDINGS.values(), ids=list(WORDINGS))
def test_styles_differ_only_in_instruction_and_attribution(wording: Wording) -> None:
    texts = {style: wording.text(style, QUESTION, "Ann wrote it.") for style in STYLES}
    lead = wording.instructions[0] + wording.gap
    assert texts["instructed"] == lead + texts["with_context"]
    assert texts["instructed_opinion"] == lead + texts["opinion"]
    assert len(set(texts.values())) == 5
    assert "Ann" not in texts["closed_book"]
    assert all("Ann wrote it." in texts[style] for style in STYLES if style != "closed_book")
    assert all("Who wrote The Door" in text for text in texts.values())


def test_a_prompt_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(ValueError, match='style "with_context" needs a context; the one of \'Who wrote The Door'):
        PLAIN.text("with_context", QUESTION)
    with pytest.raises(ValueError, match=r"the instruction 'Be brief\.' has no place in style \"opinion\""):
        PLAIN.text("opinion", QUESTION, CONTEXT, instruction="Be brief.")
    with pytest.raises(ValueError, match="the instruction ' ' is empty"):
        PLAIN.chat("instructed", QUESTION, CONTEXT, instruction=" ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"closed_book": "Question:"}, r"closed_book of wording 'mine' has to hold \{question\} or \{asked\}"),
        ({"with_context": "{context} {answer}"}, r"with_context .* holds \['answer', 'context'\]"),
        ({"opinion": "{context} {}"}, "opinion of wording 'mine'"),
        ({"instructions": ()}, "wording 'mine' needs instructions"),
        ({"instructions": ("Read.", " ")}, "none of them empty"),
    ],
)
def test_a_wording_that_asks_nothing_is_refused(changes: dict[str, object], message: str) -> None:
    whole = {"closed_book": "{question}", "with_context": "{context} {question}", "opinion": "{context} {asked}"}
    given: dict[str, object] = {"name": "mine", "instructions": ("Read.",), **whole, **changes}
    with pytest.raises(ValueError, match=message):
        Wording(**given)  # type: ignore[arg-type]


def test_the_twenty_paraphrases_differ_and_all_speak_of_what_was_given() -> None:
    assert len({text.casefold() for text in INSTRUCTIONS}) == len(INSTRUCTIONS) == 20
    given = ("context", "passage", "text", "document")
    assert all(any(word in text.lower() for word in given) for text in INSTRUCTIONS)


def test_drawn_instructions_are_balanced_and_repeat_for_a_seed() -> None:
    drawn = draw_instructions(50, seed=3)
    counts = Counter(drawn)
    assert set(counts) == set(INSTRUCTIONS)
    assert set(counts.values()) == {2, 3}
    assert drawn == draw_instructions(50, seed=3)
    assert drawn != draw_instructions(50, seed=4)
    assert drawn[:30] == draw_instructions(30, seed=3)
    assert draw_instructions(0, seed=3) == ()
    with pytest.raises(ValueError, match="cannot draw 3 from 0 instructions"):
        draw_instructions(3, 0, ())


@pytest.mark.parametrize("wording", WORDINGS.values(), ids=list(WORDINGS))
def test_a_begun_answer_is_the_last_thing_written(wording: Wording) -> None:
    plain, begun = (wording.text("instructed", QUESTION, CONTEXT, begun=b) for b in ("", "It was"))
    assert begun == plain + wording.answer_gap + "It was"
    turns = wording.chat("instructed", QUESTION, CONTEXT, begun="It was")
    assert turns[:-1] == wording.chat("instructed", QUESTION, CONTEXT)
    assert turns[-1] == {"role": "assistant", "content": "It was"}


def test_the_plain_wording_is_what_one_would_type() -> None:
    assert PLAIN.text("closed_book", QUESTION) == QUESTION
    assert PLAIN.text("with_context", QUESTION, "Ann wrote it.") == f"Ann wrote it. {QUESTION}"
    assert PLAIN.text("opinion", QUESTION, "Ann wrote it.") == (
        'Bob said, "Ann wrote it." Who wrote The Door in Bob\'s opinion?'
    )
