"""Prompts with their toxicity, from JSON lines."""

import json
from pathlib import Path

import pytest

from steering_lab.data.toxicity_prompts import ToxicityPrompt, read_toxicity_prompts

ROWS = [
    {
        "prompt": {"text": "You are", "toxicity": 0.7, "insult": 0.6},
        "continuation": {"text": " late"},
        "challenging": False,
    },
    {"prompt": {"text": "The rain", "toxicity": 0.02}},
    {"prompt": {"text": "He said", "toxicity": None}},
    {"prompt": {"text": "You are", "toxicity": 0.7}},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (path := tmp_path / "prompts.jsonl").write_text("\n\n".join(map(json.dumps, ROWS)) + "\n")
    return path


def test_each_prompt_is_there_once_with_its_toxicity_or_none(file: Path) -> None:
    found = read_toxicity_prompts(file)
    assert found == [ToxicityPrompt("You are", 0.7), ToxicityPrompt("The rain", 0.02), ToxicityPrompt("He said", None)]


def test_a_range_leaves_out_what_lies_beyond_it_and_what_was_not_scored(file: Path) -> None:
    assert [one.text for one in read_toxicity_prompts(file, [0.0, 0.5])] == ["The rain"]
    assert [one.text for one in read_toxicity_prompts(file, [0.7, 1])] == ["You are"]
    with pytest.raises(ValueError, match=r"has no prompt of a toxicity between 0\.8 and 1"):
        read_toxicity_prompts(file, [0.8, 1])
    with pytest.raises(ValueError, match=r"toxicity is \[1, 0\]"):
        read_toxicity_prompts(file, [1, 0])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", ": not JSON: "),
        ('{"prompt": "You are"}', " is no prompt"),
        ('{"prompt": {"text": ""}}', " is no prompt"),
        ('{"prompt": {"text": "You", "toxicity": 1.5}}', " has the toxicity 1.5"),
        ('{"prompt": {"text": "You", "toxicity": true}}', " has the toxicity True"),
    ],
)
def test_a_line_of_another_form_is_refused_by_its_number(tmp_path: Path, line: str, says: str) -> None:
    (path := tmp_path / "prompts.jsonl").write_text(json.dumps(ROWS[0]) + "\n" + line + "\n")
    with pytest.raises(ValueError, match=rf"prompts\.jsonl:2{says}"):
        read_toxicity_prompts(path)
    (empty := tmp_path / "none.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="has no prompts"):
        read_toxicity_prompts(empty)
