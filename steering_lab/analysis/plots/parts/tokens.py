"""Tokens as labels: spaces and line breaks made visible, cut to a width, safe in any script."""

import unicodedata

from steering_lab.analysis.plots.parts.labels import escaped

_VISIBLE = str.maketrans({" ": "·", "\n": "↵", "\r": "↵", "\t": "⇥"})
_ISOLATE = "\N{LEFT-TO-RIGHT ISOLATE}{}\N{POP DIRECTIONAL ISOLATE}"


def token_label(token: str, most: int | None = None) -> str:
    """The token for a figure: escaped, a middle dot for each space, cut with an ellipsis to `most` letters' width.

    What is written from right to left is isolated, so that its dots and its neighbours stay where they are; a
    combining mark on its own gets a dotted circle to stand on.
    """
    text = token.translate(_VISIBLE) or "(empty)"
    if unicodedata.category(text[0]).startswith("M"):
        text = "\N{DOTTED CIRCLE}" + text
    if most is not None and label_width(text) > most:
        kept = ""
        for letter in text:
            if label_width(kept + letter) > most - 1:
                break
            kept += letter
        text = kept + "…"
    right_to_left = any(unicodedata.bidirectional(letter) in ("R", "AL", "AN") for letter in text)
    return _ISOLATE.format(escaped(text)) if right_to_left else escaped(text)


def label_width(text: str) -> int:
    """How many letters wide `text` is: full-width letters and emoji count two, combining marks none."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text
    )
