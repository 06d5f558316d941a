"""Desired and undesired texts that are not paired: two lists, of whatever lengths, whose means are set apart.

Where sides can be written in pairs that differ in one thing, pairs are better (`data.contrast_pairs`): what a pair
shares cancels in its difference. Two lists are for texts that were found, not written. This module knows no model.
"""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steering_lab.data.contrast_pairs import KEYS, PAIRS, ContrastPair, file_of_pairs, pair_list, read_pairs
from steering_lab.data.text_files import text_in

if TYPE_CHECKING:
    Texts = tuple[str, ...]
else:
    Texts = object  # anything, so that what is no list of texts is answered in a sentence


@dataclass(frozen=True)
class ContrastLists:
    """The mean over `positive` less the mean over `negative`: the desired texts and the undesired ones.

    Args:
        positive: The desired texts, one or more.
        negative: The undesired texts, one or more; they may be more or fewer.

    Raises:
        ValueError: an empty list, something in one that is no text or an empty one, or a text on both sides.
    """

    positive: Texts
    negative: Texts

    def __post_init__(self) -> None:
        for name in KEYS:
            texts = getattr(self, name)
            if isinstance(texts, str) or not isinstance(texts, Sequence):
                raise ValueError(f"{name} is {texts!r}: two lists hold texts each; one pair is ContrastPair, in a list")
            if not texts:
                raise ValueError(f"the {name} list holds no text: give one or more")
            for text in texts:
                if not isinstance(text, str) or not text:
                    raise ValueError(f"the {name} list holds {text!r}: every entry is a text, none of them empty")
            object.__setattr__(self, name, tuple(texts))
        if both := [text for text in self.positive if text in set(self.negative)]:
            raise ValueError(f"{both[0]!r} is in both lists: a text is desired or undesired")

    def reversed(self) -> "ContrastLists":
        """The undesired less the desired: the steering vector of the reversed lists is the negated one."""
        return ContrastLists(self.negative, self.positive)

    def relabelled(self, flips: Sequence[bool]) -> "ContrastLists":
        """The lists with those texts on the other side for which there is True.

        Args:
            flips: One for each text, the positive ones first.

        Raises:
            ValueError: another number of them than texts, or a side left without a text.
        """
        texts = [*self.positive, *self.negative]
        if len(flips) != len(texts):
            raise ValueError(f"{len(flips)} labels to exchange or keep for {len(texts)} texts: one for each")
        sides = [(i < len(self.positive)) != bool(flip) for i, flip in enumerate(flips)]
        kept = [tuple(text for text, own in zip(texts, sides, strict=True) if own is side) for side in (True, False)]
        return ContrastLists(*kept)

    def side_by_side(self) -> tuple[ContrastPair, ...]:
        """The k-th text of one list beside the k-th of the other, the shorter list begun anew at its end.

        For what asks what the sides say (a topic, a prompt): nothing makes these texts pairs, and no vector is made of
        their differences.
        """
        n = max(len(self.positive), len(self.negative))
        sides = (
            (self.positive[i % len(self.positive)] for i in range(n)),
            (self.negative[i % len(self.negative)] for i in range(n)),
        )
        return tuple(ContrastPair(positive, negative) for positive, negative in zip(*sides, strict=True))

    def __str__(self) -> str:
        """`5 texts − 3 texts`."""
        return " − ".join(f"{len(side)} text{'s' * (len(side) > 1)}" for side in (self.positive, self.negative))


if TYPE_CHECKING:
    Contrasts = Sequence[ContrastPair] | ContrastLists
else:
    Contrasts = object
"""The type of parameters that take pairs or two lists; `contrasts_of` says what else was given."""


def contrasts_of(given: object) -> list[ContrastPair] | ContrastLists:
    """The contrast pairs of `given`, or the two lists that it is.

    Raises:
        ValueError: neither; says how it is written.
    """
    return given if isinstance(given, ContrastLists) else pair_list(given)


def read_contrasts(path: str | Path) -> tuple[ContrastPair, ...] | ContrastLists:
    """The pairs of a file (`read_pairs`), or two lists: the keys `positive` and `negative`, each a list of texts.

    Two lists are a .json object or a .toml file; .jsonl and .csv hold pairs alone.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: what `read_pairs` or `ContrastLists` refuses; the message names the file.
    """
    path = Path(path)
    if (held := _two_lists(path)) is None:
        return read_pairs(path)
    if unknown := [key for key in held if key not in KEYS]:
        raise ValueError(f"{path}: unknown key {unknown[0]!r}; two lists are the keys 'positive' and 'negative'")
    if missing := [key for key in KEYS if key not in held]:
        raise ValueError(f"{path}: the key {missing[0]!r} is missing; two lists are the keys 'positive' and 'negative'")
    try:
        return ContrastLists(held["positive"], held["negative"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def find_contrasts(name: str) -> tuple[ContrastPair, ...] | ContrastLists:
    """The pairs of the built-in set `name` (`PAIRS`), or what the file of that name holds (`read_contrasts`).

    Raises:
        ValueError: neither a built-in set nor a file, or what `read_contrasts` refuses.
    """
    return PAIRS[name] if name in PAIRS else read_contrasts(file_of_pairs(name))


def _two_lists(path: Path) -> dict[str, Any] | None:
    """What a file says that has one of the two keys at its top; None where `read_pairs` is to read it."""
    if path.suffix not in (".json", ".toml"):
        return None
    text = text_in(path, "contrast pairs")
    try:
        held = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError:
        return None
    return held if isinstance(held, dict) and any(key in held for key in KEYS) else None


def only_pairs(given: object, why: str) -> list[ContrastPair]:
    """The contrast pairs of `given`, for what asks about each pair's difference.

    Args:
        given: What the user gave.
        why: What needs pairs, and for what: "split_half compares differences".

    Raises:
        ValueError: two lists, which have no differences text by text, or no pairs at all.
    """
    if isinstance(given, ContrastLists):
        raise ValueError(f"{why}, and two lists ({given}) have none text by text: write pairs for this")
    return pair_list(given)
