"""The text of a file that a user names, or an answer that names the file."""

from pathlib import Path


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
