"""Files of conflicts are read to the letter, and a broken row is refused at its line."""

import json
from pathlib import Path
from typing import Any

import pytest

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.conflict_readers import read_confiqa, read_conflict_qa, read_nqswap, write_conflict_qa

CONFIQA: dict[str, Any] = {
    "orig_path": "[('Q1', 'P86', 'Q2')]",
    "cf_path": "[('Q1', 'P86', 'Q3')]",
    "orig_path_labeled": "[('The Blue Door', 'composer', 'Ada Lind')]",
    "cf_path_labeled": "[('The Blue Door', 'composer', 'Bo Frost')]",
    "orig_triple": "('Q1', 'P86', 'Q2')",
    "cf_triple": "('Q1', 'P86', 'Q3')",
    "orig_answer": "Ada Lind",
    "cf_answer": "Bo Frost",
    "orig_alias": ["Ada M. Lind"],
    "cf_alias": ["Bo Frost", "B. Frost"],
    "question": "Who is the composer of The Blue Door?",
    "orig_context_piece": "The Blue Door was composed by Ada Lind.",
    "cf_context_piece": "The Blue Door was composed by Bo Frost.",
    "orig_context": "The Blue Door is a film. It was composed by Ada Lind.",
    "cf_context": "The Blue Door is a film. It was composed by Bo Frost.",
}
NQSWAP: dict[str, Any] = {
    "question": "who wrote the song",
    "org_context": "<P> Ann wrote the song . </P>",
    "org_answer": ["Ann"],
    "sub_context": "<P> Bob wrote the song . </P>",
    "sub_answer": ["Bob"],
}


def stored(folder: Path, rows: list[Any], name: str = "rows.json") -> Path:
    path = folder / name
    lines = "\n".join(json.dumps(row) for row in rows)
    path.write_text(json.dumps(rows) if name.endswith(".json") else lines, encoding="utf-8")
    return path


def without(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}


def test_a_confiqa_row_is_a_conflict_whose_aliases_follow_the_answer(tmp_path: Path) -> None:
    (row,) = read_confiqa(stored(tmp_path, [CONFIQA], "ConFiQA-QA.json"))
    assert row == ConflictQA(
        "Who is the composer of The Blue Door?",
        "The Blue Door is a film. It was composed by Bo Frost.",
        ("Bo Frost", "B. Frost"),
        ("Ada Lind", "Ada M. Lind"),
        group="who is the composer of the blue door",
        original_context="The Blue Door is a film. It was composed by Ada Lind.",
        meta={"source": "ConFiQA-QA.json"},
    )
    assert row.decides
    assert row.agreeing().context == CONFIQA["orig_context"]


def test_keys_of_confiqa_that_a_row_does_not_need_may_be_there_or_not(tmp_path: Path) -> None:
    lean = without(CONFIQA, "orig_triple") | {"orig": "[('Q9', 'P86', 'Q2')]"}  # as in its multi-conflict file
    assert read_confiqa(stored(tmp_path, [lean])) == read_confiqa(stored(tmp_path, [CONFIQA]))


def test_an_alias_that_normalises_to_nothing_is_refused_or_set_aside_as_asked(tmp_path: Path) -> None:
    money = CONFIQA | {"cf_alias": ["$", "US$"], "orig_alias": ["£"]}
    path = stored(tmp_path, [CONFIQA, money])
    with pytest.raises(ValueError, match=r"rows.json: row 2: the alias '\$' normalises to nothing.*\"set_aside\""):
        read_confiqa(path)
    row = read_confiqa(path, blank_aliases="set_aside")[1]
    assert (row.context_answers, row.blank_context_aliases) == (("Bo Frost", "US$"), ("$",))
    assert (row.memory_answers, row.blank_memory_aliases) == (("Ada Lind",), ("£",))


def test_a_row_with_nothing_but_blank_answers_is_refused_even_when_they_may_be_set_aside(tmp_path: Path) -> None:
    path = stored(tmp_path, [CONFIQA | {"cf_answer": "The The", "cf_alias": ["..."]}])
    with pytest.raises(ValueError, match=r"row 1: no answer is left to look for among \['The The', '\.\.\.'\]"):
        read_confiqa(path, blank_aliases="set_aside")


def test_an_nqswap_row_keeps_its_context_to_the_letter(tmp_path: Path) -> None:
    path = stored(tmp_path, [NQSWAP, NQSWAP | {"question": "Who wrote the song?"}], "swap.jsonl")
    first, second = read_nqswap(path)
    assert (first.context, first.original_context) == (NQSWAP["sub_context"], NQSWAP["org_context"])
    assert (first.context_answers, first.memory_answers) == (("Bob",), ("Ann",))
    assert first.group == second.group
    assert first.id != second.id


def test_nqswap_rows_that_state_or_share_both_answers_are_kept_and_marked(tmp_path: Path) -> None:
    both = NQSWAP | {"sub_context": "<P> Bob , once Ann 's pupil , wrote the song . </P>"}
    same = NQSWAP | {"sub_answer": ["Bob", "ann"]}
    first, second = read_nqswap(stored(tmp_path, [both, same], "swap.jsonl"))
    assert (first.contains_both, first.answers_overlap) == (True, False)
    assert second.answers_overlap


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (without(NQSWAP, "sub_context"), "swap.jsonl:2: the key 'sub_context' is missing"),
        (NQSWAP | {"prompt": "<P> Bob </P> \nwho"}, "swap.jsonl:2: unknown key 'prompt'"),
        (NQSWAP | {"sub_answer": "Bob"}, "swap.jsonl:2: sub_answer must be a list of texts, not 'Bob'"),
        (NQSWAP | {"org_answer": [1999]}, r"swap.jsonl:2: org_answer must be a list of texts, not \[1999\]"),
        (NQSWAP | {"question": " "}, "swap.jsonl:2: question must be text that is not empty, not ' '"),
        (NQSWAP | {"sub_answer": []}, r"swap.jsonl:2: no answer is left to look for among \[\]"),
        (["Bob"], r"swap.jsonl:2: a row is an object, not \['Bob'\]"),
    ],
)
def test_a_broken_row_is_refused_at_its_line(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_nqswap(stored(tmp_path, [NQSWAP, row], "swap.jsonl"))


def test_a_confiqa_row_without_a_needed_key_is_refused_at_its_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"rows\.json: row 2: the key 'cf_alias' is missing"):
        read_confiqa(stored(tmp_path, [CONFIQA, without(CONFIQA, "cf_alias")]))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rows.json", '[{"question":\n "x",}]', "rows.json:2: not JSON"),
        ("rows.jsonl", '{"question": "x"}\n{"question', "rows.jsonl:1: the key 'context' is missing"),
        ("rows.jsonl", "\n{'question'}", "rows.jsonl:2: not JSON"),
        ("rows.json", '{"question": "x"}', "rows.json: a .json file of rows is a list of objects, not dict"),
        ("rows.json", "[]", "rows.json: no rows in this file"),
        ("rows.tsv", "question\tcontext", "read from .json and .jsonl, not from '.tsv'"),
    ],
)
def test_a_file_that_holds_no_rows_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_conflict_qa(tmp_path / name)


def test_rows_of_every_regime_come_back_as_they_were_written(tmp_path: Path) -> None:
    (row,) = read_confiqa(stored(tmp_path, [CONFIQA | {"cf_alias": ["$"]}]), blank_aliases="set_aside")
    rows = (row, row.agreeing(), row.closed_book(), row.over("Über nichts.\nGar nichts."))
    write_conflict_qa(tmp_path / "own.jsonl", rows)
    assert read_conflict_qa(tmp_path / "own.jsonl") == rows


def test_a_plain_row_needs_only_question_context_and_answers(tmp_path: Path) -> None:
    plain = {"question": "Where?", "context": "In Rome.", "context_answers": ["Rome"], "memory_answers": ["Paris"]}
    (row,) = read_conflict_qa(stored(tmp_path, [plain], "own.jsonl"))
    assert row == ConflictQA("Where?", "In Rome.", ("Rome",), ("Paris",), group="where")
    for change, message in (
        ({"memory_answers": []}, 'own.jsonl:1: a row of regime "conflict" needs a memory answer'),
        ({"regime": "quarrel"}, 'own.jsonl:1: regime "quarrel" is unknown'),
        ({"meta": {"page": 3}}, "own.jsonl:1: meta must be an object whose values are texts"),
        ({"answers": []}, "own.jsonl:1: unknown key 'answers'"),
    ):
        with pytest.raises(ValueError, match=message):
            read_conflict_qa(stored(tmp_path, [plain | change], "own.jsonl"))
