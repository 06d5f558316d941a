"""Files that are whole or absent, lines that are whole or cut off, and errors that say which file it was."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

NEW = ".new"  # how the file ends that is going to take another's place


class Damaged(ValueError):
    """A file that is not as it was written; says which, where, and what to do."""


def json_in(path: Path, kind: type = object, *, mend: str) -> Any:
    """What the JSON file `path` holds; None where there is no such file.

    Args:
        path: The file.
        kind: What it holds, `dict` for an object.
        mend: What to do about a file that holds something else, for the error.

    Raises:
        Damaged: it is no JSON, or of another kind; names the file and the line.
    """
    return _parsed(path.read_bytes(), path, 1, kind, mend) if path.is_file() else None


def json_lines_in(path: Path, *, mend: str, torn: bool = False) -> list[dict[str, Any]]:
    """The objects that the lines of `path` hold, empty lines left out; none where there is no such file.

    Args:
        path: The file.
        mend: What to do about a line that holds something else, for the error.
        torn: Whether a last line that a kill tore is passed over (`whole_lines`).

    Raises:
        Damaged: a line is no JSON object; names the file and the line.
    """
    lines = whole_lines(path) if torn or not path.is_file() else path.read_bytes().split(b"\n")
    return [_parsed(line, path, number, dict, mend) for number, line in enumerate(lines, start=1) if line.strip()]


def _parsed(text: bytes, path: Path, line: int, kind: type, mend: str) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise Damaged(f"{path}:{line + error.lineno - 1}: not JSON ({error.msg}): {mend}") from None
    except UnicodeDecodeError:
        raise Damaged(f"{path}:{line}: no UTF-8 text: {mend}") from None
    if not isinstance(value, kind):
        wanted = "an object" if kind is dict else f"a {kind.__name__}"
        raise Damaged(f"{path}:{line}: {json.dumps(value)[:40]} where {wanted} is wanted: {mend}")
    return value


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError inside names `path` where it names no file: a full disk does not say at which file it was full."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def replace_file(path: Path, content: str | bytes) -> Path:
    """`path` holds `content`, on the disk; killed or out of space before that, it holds what it held.

    Raises:
        OSError: it cannot be written, or is a folder; names `path`.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, where a file is written")
    new = path.with_name(f".{path.name}.{os.getpid()}{NEW}")  # two processes may write the same file
    with naming(path):
        try:
            with new.open("wb") as file:
                _write(file, content.encode() if isinstance(content, str) else content)
            os.replace(new, path)
        except BaseException:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise
    return path


def make_folder(path: str | Path) -> Path:
    """`path`, which is a folder afterwards, with those above it.

    Raises:
        NotADirectoryError: it, or something above it, is a file; says which.
    """
    check_folder(path)
    Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def check_folder(path: str | Path) -> None:
    """Nothing where `path` is a folder or can become one; as `make_folder`, without making it.

    Raises:
        NotADirectoryError: it, or something above it, is a file; says which.
    """
    for one in (Path(path), *Path(path).parents):
        if one.exists() and not one.is_dir():
            raise NotADirectoryError(f"{one} is a file, where a folder is wanted")


def append_line(path: Path, line: str) -> None:
    """`path` ends in `line`, on the disk; where it cannot, the part that was written is cut off again.

    Raises:
        OSError: it cannot be written; names `path`.
    """
    with naming(path), path.open("ab") as file:
        before = file.seek(0, os.SEEK_END)
        try:
            _write(file, f"{line}\n".encode())
        except BaseException:
            with suppress(OSError):
                os.truncate(path, before)
            raise


def whole_lines(path: Path) -> list[bytes]:
    """The lines of `path` but a last one that a kill tore; none where there is no such file."""
    if not path.is_file():
        return []
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def cut_torn_line(path: Path) -> None:
    """`path` ends with a whole line, so that the next one begins its own."""
    whole = sum(map(len, whole_lines(path)))
    if path.is_file() and path.stat().st_size > whole:
        os.truncate(path, whole)


def _write(file: BinaryIO, data: bytes) -> None:
    """`data` on the disk itself: only then may anything build on it."""
    file.write(data)
    file.flush()
    os.fsync(file.fileno())
