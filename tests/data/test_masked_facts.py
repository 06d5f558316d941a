"""Facts in LAMA's form: what is asked, what is left out, and what is no such file."""

import json
from pathlib import Path

import pytest

from steering_lab.data.masked_facts import MaskedFact, read_masked_facts


def written(folder: Path, *rows: object) -> Path:
    file = folder / "facts.jsonl"
    file.write_text("\n\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return file


def fact(sentence: str, answer: str, **more: str) -> dict[str, object]:
    return {"masked_sentences": [sentence, "another"], "obj_label": answer, **more}


def test_a_sentence_is_asked_for_its_last_word_once(tmp_path: Path) -> None:
    rows = [
        fact("Lima is the capital of [MASK].", "Peru", uuid="1"),
        fact("[MASK] is in Italy.", "Rome"),
        fact("You find bees in [MASK] .", " hives "),
        fact("Lima is the capital of [MASK].", "Peru", uuid="2"),
    ]
    assert read_masked_facts(written(tmp_path, *rows)) == [
        MaskedFact("Lima is the capital of", "Peru"),
        MaskedFact("You find bees in", "hives"),
    ]


@pytest.mark.parametrize(
    "row",
    [
        "text",
        {"masked_sentences": [], "obj_label": "Peru"},
        {"masked_sentences": "Lima is in [MASK]", "obj_label": "Peru"},
        {"masked_sentences": ["Lima is in [MASK]"], "obj_label": " "},
        {"masked_sentences": ["Lima is in [MASK]"]},
    ],
)
def test_a_line_of_another_form_is_named(tmp_path: Path, row: object) -> None:
    file = written(tmp_path, fact("Lima is in [MASK].", "Peru"), row)
    with pytest.raises(ValueError, match=r"facts.jsonl:3 is no masked fact: it must be an object as"):
        read_masked_facts(file)


def test_a_file_without_such_sentences_or_none_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no sentence that ends in \[MASK\]"):
        read_masked_facts(written(tmp_path, fact("[MASK] is in Italy.", "Rome")))
    with pytest.raises(FileNotFoundError, match="no file of masked facts"):
        read_masked_facts(tmp_path / "none.jsonl")
