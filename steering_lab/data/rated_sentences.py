"""Real sentences that people have rated: of film and product reviews, editorials and tweets (Hutto and Gilbert 2014).

They come with the source distribution of vaderSentiment 3.3.2 (MIT), not with its wheel, and are read from the user's
cache: `make texts` puts that file there, 2.5 MB, checked by its hash. No sentence of them is part of this package.
"""

import hashlib
import io
import tarfile
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import platformdirs

from steering_lab.data.labelled_texts import rated_lines

Corpus = Literal["movies", "products", "editorials", "tweets"]
FILES: dict[Corpus, str] = {
    "movies": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "editorials": "nytEditorialSnippets",
    "tweets": "tweets",
}
ARCHIVE = "vaderSentiment-3.3.2.tar.gz"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"


class Rated(NamedTuple):
    """A sentence and the mean of what people said of its sentiment.

    Args:
        text: The sentence.
        rating: From -4 to 4.
    """

    text: str
    rating: float


def rated_sentences(corpus: Corpus, *, folder: str | Path | None = None) -> list[Rated]:
    """The sentences of a corpus in its order, each once.

    Args:
        corpus: Which texts.
        folder: Where the archive lies; by default the user's cache, where `make texts` puts it.

    Raises:
        FileNotFoundError: the archive is not there; says how to get it.
        ValueError: it is another file than the one that was published.
    """
    return list(_read(texts_folder() if folder is None else Path(folder), corpus))


def texts_folder() -> Path:
    """Where the archive lies in the user's cache."""
    return platformdirs.user_cache_path("steering_lab") / "texts"


@cache
def _read(folder: Path, corpus: Corpus) -> tuple[Rated, ...]:
    path = folder / ARCHIVE
    if not path.is_file():
        raise FileNotFoundError(
            f"no {ARCHIVE} in {folder}: `make texts` puts it there (pip download --no-deps --no-binary :all:"
            f" vaderSentiment==3.3.2 --dest {folder})"
        )
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ValueError(f"{path} is not the file that was published: remove it, and run `make texts`")
    with tarfile.open(fileobj=io.BytesIO(data)) as outer, tarfile.open(fileobj=outer.extractfile(_INNER)) as inner:
        held = inner.extractfile(f"hutto_ICWSM_2014/{FILES[corpus]}_GroundTruth.txt")
        assert held is not None
        lines = held.read().decode("utf-8", errors="replace").splitlines()
    return tuple(Rated(text, rating) for text, rating in rated_lines(lines, corpus).items())
