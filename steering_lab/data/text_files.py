"""The text of a file that a user names, or an answer that names the file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def text_in(path: str | Path, of: str) -> str:
    """The text of the UTF-8 file `path`, line ends as they are, without the byte-order mark that spreadsheets write.

    `of` is what the file should hold, as an answer names it: "prompts".

    Raises:
        FileNotFoundError: there is no such file, or it is a folder.
        ValueError: it is not UTF-8.
    """
    path = Path(path)
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a folder, where a file of {of} is wanted")
    if not path.is_file():
        raise FileNotFoundError(f"no file of {of} at {path}")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text (byte {error.start + 1}): save it as UTF-8") from None


def json_lines(text: str, path: str | Path) -> Iterator[tuple[str, Any]]:
    """Where each line stands ("FILE:3") and what it holds; blank lines are skipped.

    Args:
        text: The text of the file.
        path: The file, for the answer.

    Raises:
        ValueError: a line is no JSON, or beyond what is read of it.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield f"{path}:{number}", json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}:{number}: not JSON: {error.msg}") from None
            except (ValueError, RecursionError) as error:  # a number, or a nesting, beyond what Python reads
                raise ValueError(f"{path}:{number}: not read: {error}") from None
