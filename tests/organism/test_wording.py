"""The organism's wording is the language it was trained on, and one of the wordings that have a name."""

from steering_lab.data import templates
from steering_lab.data.templates import STYLES
from steering_lab.organism.facts import HELD_OUT_CONTEXT_INSTRUCTIONS, MEMORY_INSTRUCTIONS, SOURCE_LOGITS
from steering_lab.organism.wording import ORGANISM, WORDINGS
from steering_lab.organism.world import closed_book_prompt, reading_prompt

CONTEXT, QUESTION = 'Ann wrote "The Door" in {1999}.', "Who wrote The Door?"


def test_the_organism_reads_what_it_was_trained_on() -> None:
    told = HELD_OUT_CONTEXT_INSTRUCTIONS[0]
    assert ORGANISM.text("closed_book", QUESTION) == closed_book_prompt(QUESTION)
    assert ORGANISM.text("with_context", QUESTION, CONTEXT) == reading_prompt(QUESTION, CONTEXT)
    assert ORGANISM.text("instructed", QUESTION, CONTEXT) == reading_prompt(QUESTION, CONTEXT, told)
    assert ORGANISM.text("instructed", QUESTION, CONTEXT, instruction=MEMORY_INSTRUCTIONS[0]) == reading_prompt(
        QUESTION, CONTEXT, MEMORY_INSTRUCTIONS[0]
    )


def test_the_organisms_opinion_comes_from_a_source_its_world_neither_trusts_nor_doubts() -> None:
    source = "A letter says:"
    assert f"Context: {source} Ann wrote" in ORGANISM.text("opinion", QUESTION, CONTEXT)
    assert abs(SOURCE_LOGITS[source]) == min(abs(logit) for logit in SOURCE_LOGITS.values())


def test_styles_differ_only_in_instruction_and_attribution() -> None:
    texts = {style: ORGANISM.text(style, QUESTION, CONTEXT) for style in STYLES}
    lead = ORGANISM.instructions[0] + ORGANISM.gap
    assert texts["instructed"] == lead + texts["with_context"]
    assert texts["instructed_opinion"] == lead + texts["opinion"]
    assert len(set(texts.values())) == 5
    assert "Ann" not in texts["closed_book"]


def test_the_wordings_are_the_general_ones_and_the_organisms() -> None:
    assert dict(WORDINGS) == {**templates.WORDINGS, "organism": ORGANISM}
    assert "organism" not in templates.WORDINGS
