"""Texts that people have rated, to compare a scorer with."""

from collections.abc import Iterable
from pathlib import Path


def read_vader_ground_truth(file: str | Path) -> dict[str, float]:
    """Text to mean human rating, −4 to 4, from a `*_GroundTruth.txt` of Hutto and Gilbert 2014 (ICWSM).

    Each line is an id, the rating and the text, with tabs between. The files come with the source distribution of
    vaderSentiment, not with its wheel: `pip download --no-deps --no-binary :all: vaderSentiment`, then
    additional_resources/hutto_ICWSM_2014.tar.gz in it. A text that stands there twice keeps its first rating.

    Args:
        file: The text file; bytes that are not UTF-8 become replacement characters.

    Raises:
        ValueError: a line of another form.
    """
    lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    return rated_lines(lines, str(file))


def rated_lines(lines: Iterable[str], name: str) -> dict[str, float]:
    """Text to rating, of lines that each hold an id, the rating and the text with tabs between.

    Args:
        lines: The lines; a text that stands there twice keeps its first rating.
        name: What an error calls them.

    Raises:
        ValueError: a line of another form.
    """
    rated: dict[str, float] = {}
    for number, line in enumerate(lines, 1):
        parts = line.split("\t", 2)
        try:
            rated.setdefault(parts[2].strip(), float(parts[1]))
        except (IndexError, ValueError):
            raise ValueError(f"line {number} of {name} is no id, rating and text with tabs between: {line!r}") from None
    return rated
