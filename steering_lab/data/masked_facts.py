"""Facts as sentences with their last word masked, from JSON lines in the form of LAMA (Petroni et al. 2019).

The file is the user's own, nothing of it comes along: {"masked_sentences": ["The capital of Peru is [MASK]."],
"obj_label": "Lima"} a line, other keys being left alone.
"""

from pathlib import Path
from typing import Any, NamedTuple

from steering_lab.data.text_files import json_lines, text_in

MASK = "[MASK]"


class MaskedFact(NamedTuple):
    """A sentence up to its last word, and the word.

    Args:
        text: What stands in front of the mask, without a space at its end.
        answer: What is masked.
    """

    text: str
    answer: str


def read_masked_facts(file: str | Path) -> list[MaskedFact]:
    """The facts of a file in its order, each once: of each line the first sentence, if nothing but a stop is behind.

    A model that reads from the left can only be asked for the last word, so the ActAdd paper's experiment leaves the
    other sentences out too.

    Args:
        file: JSON lines; blank ones are skipped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line of another form, or no sentence that ends in its mask.
    """
    read = [_fact(held, where) for where, held in json_lines(text_in(file, "masked facts"), file)]
    if not (found := list(dict.fromkeys(fact for fact in read if fact is not None))):
        raise ValueError(f"{file} has no sentence that ends in {MASK}")
    return found


def _fact(held: Any, where: str) -> MaskedFact | None:
    sentences, answer = (
        (held.get("masked_sentences"), held.get("obj_label")) if isinstance(held, dict) else (None, None)
    )
    first = sentences[0] if isinstance(sentences, list) and sentences else None
    if not (isinstance(first, str) and isinstance(answer, str) and answer.strip()):
        raise ValueError(
            f'{where} is no masked fact: it must be an object as {{"masked_sentences": ["Rome is in {MASK}."],'
            ' "obj_label": "Italy"}'
        )
    text, mask, behind = first.partition(MASK)
    return MaskedFact(text.rstrip(), answer.strip()) if mask and text.strip() and not behind.strip(" .") else None
