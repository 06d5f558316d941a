"""Prompts from a file: what is to be continued, text kept to the letter."""

import csv
import json
from pathlib import Path

from steering_lab.data.text_files import text_in

KEY = "prompt"


def read_prompts(path: str | Path) -> tuple[str, ...]:
    """The prompts of `path` (.txt, .json, .jsonl, .csv), in the file's order.

    .txt: one prompt a line, blank lines skipped; .json: a list of texts; .jsonl: one text, or one object with the key
    `prompt`, a line; .csv: the column `prompt` under a header. In JSON a prompt may hold line breaks.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no UTF-8, another file type, broken syntax, something that is not text, a prompt twice, or none.
    """
    path = Path(path)
    text = text_in(path, "prompts")
    readers = {".txt": _lines, ".json": _list, ".jsonl": _json_lines, ".csv": _column}
    if path.suffix not in readers:
        raise ValueError(f"{path}: prompts are read from {', '.join(readers)}, not from {path.suffix!r}")
    try:
        found = readers[path.suffix](text)
    except (ValueError, csv.Error) as error:  # JSON errors are ValueErrors
        raise ValueError(f"{path}: {error}") from None
    prompts = tuple(_text(entry, f"{path}: prompt {number}") for number, entry in enumerate(found, start=1))
    if twice := [prompt for prompt in prompts if prompts.count(prompt) > 1]:
        raise ValueError(f"{path}: the prompt {twice[0]!r} is there twice, which would count it twice")
    if not prompts:
        raise ValueError(f"{path}: no prompts in this file")
    return prompts


def _text(entry: object, where: str) -> str:
    if isinstance(entry, dict) and set(entry) == {KEY}:
        entry = entry[KEY]
    if not isinstance(entry, str) or not entry:
        raise ValueError(f"{where} is {entry!r}: it must be text")
    return entry


def _lines(text: str) -> list[object]:
    return [line.removesuffix("\r") for line in text.split("\n") if line.strip()]


def _list(text: str) -> list[object]:
    entries = json.loads(text)
    if not isinstance(entries, list):
        raise ValueError(f"a .json file of prompts is a list of texts, not {type(entries).__name__}")
    return entries


def _json_lines(text: str) -> list[object]:
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _column(text: str) -> list[object]:
    rows = csv.DictReader(text.splitlines(keepends=True), strict=True)
    if KEY not in (rows.fieldnames or ()):
        raise ValueError(
            f"a .csv file of prompts has a column {KEY!r}; found {', '.join(rows.fieldnames or ()) or 'none'}"
        )
    return [row[KEY] for row in rows]
