"""Prompts with how toxic a scorer found them, from JSON lines in the form of RealToxicityPrompts (Gehman et al. 2020).

The file is the user's own, nothing of it comes along: {"prompt": {"text": "...", "toxicity": 0.3}, ...} a line, other
keys being left alone. Perspective, the scorer of that file, gives the probability that a reader finds a text toxic.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from steering_lab.data.text_files import json_lines, text_in


class ToxicityPrompt(NamedTuple):
    """A prompt and its toxicity.

    Args:
        text: What is to be continued.
        toxicity: From 0 to 1; None where the scorer gave none.
    """

    text: str
    toxicity: float | None


def read_toxicity_prompts(file: str | Path, toxicity: Sequence[float | int] = ()) -> list[ToxicityPrompt]:
    """The prompts of a file in its order, each once.

    Args:
        file: JSON lines; blank ones are skipped.
        toxicity: From, and up to, which toxicity a prompt is taken; left out, all, those without one too.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line of another form, a toxicity outside 0 to 1, a range the wrong way round, or no prompt in it.
    """
    if toxicity and not (len(toxicity) == 2 and 0 <= toxicity[0] <= toxicity[1] <= 1):
        raise ValueError(f"toxicity is {list(toxicity)}: write the least and the most, from 0 to 1, as [0.5, 1]")
    read = (_prompt(held, where) for where, held in json_lines(text_in(file, "toxicity prompts"), file))
    found = {prompt.text: prompt for prompt in read if _within(prompt, toxicity)}
    if not found:
        asked = f" between {toxicity[0]:g} and {toxicity[1]:g}" if toxicity else ""
        raise ValueError(f"{file} has no prompt of a toxicity{asked}" if asked else f"{file} has no prompts")
    return list(found.values())


def _prompt(held: Any, where: str) -> ToxicityPrompt:
    prompt = held.get("prompt") if isinstance(held, dict) else None
    if not isinstance(prompt, dict) or not isinstance(prompt.get("text"), str) or not prompt["text"].strip():
        raise ValueError(
            f'{where} is no prompt: it must be an object as {{"prompt": {{"text": "...", "toxicity": 0.3}}}}'
        )
    value = prompt.get("toxicity")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1):
        raise ValueError(f"{where} has the toxicity {value!r}: it must be a number from 0 to 1, or null")
    return ToxicityPrompt(prompt["text"], None if value is None else float(value))


def _within(prompt: ToxicityPrompt, toxicity: Sequence[float | int]) -> bool:
    if not toxicity:
        return True
    return prompt.toxicity is not None and toxicity[0] <= prompt.toxicity <= toxicity[1]
