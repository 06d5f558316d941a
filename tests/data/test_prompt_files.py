"""Prompts from files are kept to the letter; what is none is refused with the file's name."""

from pathlib import Path

import pytest

from steering_lab.data.prompt_files import read_prompts

PROMPTS = ("I went up, and", " a space in front", "Ärger, “quoted”")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "I went up, and\n\n a space in front\r\nÄrger, “quoted”\n"),
        ("a.json", '["I went up, and", " a space in front", "Ärger, “quoted”"]'),
        ("a.jsonl", '"I went up, and"\n{"prompt": " a space in front"}\n"Ärger, “quoted”"\n'),
        ("a.csv", '\ufeffprompt,who\n"I went up, and",me\n" a space in front",you\n"Ärger, “quoted”",her\n'),
    ],
)
def test_every_kind_of_file_gives_the_same_prompts_to_the_letter(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert read_prompts(tmp_path / name) == PROMPTS


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.doc", "x", "prompts are read from .txt, .json, .jsonl, .csv, not from '.doc'"),
        ("a.txt", "\n", "no prompts in this file"),
        ("a.txt", "x\nx\n", "the prompt 'x' is there twice"),
        ("a.json", "{}", "a list of texts, not dict"),
        ("a.json", "[1]", "prompt 1 is 1: it must be text"),
        ("a.json", '["x", ""]', "prompt 2 is '': it must be text"),
        ("a.jsonl", "{", "a.jsonl: "),
        ("a.jsonl", '{"text": "x"}', "it must be text"),
        ("a.csv", "text\nx\n", "has a column 'prompt'; found text"),
        ("a.csv", "", "has a column 'prompt'; found none"),
    ],
)
def test_what_holds_no_prompts_is_refused_with_the_files_name(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=name) as refused:
        read_prompts(tmp_path / name)
    assert message in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file of prompts at .*nowhere\.txt"):
        read_prompts(tmp_path / "nowhere.txt")
