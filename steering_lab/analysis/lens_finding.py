"""What a lens of one prompt shows, in a sentence: what the model says next, and from which layer on it would say it."""

from typing import NamedTuple

import pandas as pd


class Settled(NamedTuple):
    """The likeliest next token at a prompt's end, its probability, and the first layer from which on it is likeliest.

    `layer` is None where that is the embedding.
    """

    token: str
    probability: float
    layer: int | None


def settled(lens: pd.DataFrame) -> Settled:
    """What a `logit_lens` table of one prompt says of its last token.

    Args:
        lens: The table of one prompt, of the unsteered model or of a steered one; only its last position is read.
    """
    last = lens[lens["position"] == lens["position"].max()]
    final = last.iloc[-1]
    other = (last["top"] != final["top"]).to_numpy().nonzero()[0]
    first = last.iloc[other[-1] + 1 if len(other) else 0]
    layer = None if first["stream"] == "resid_pre" else int(first["layer"])
    return Settled(str(final["top"]), float(final["top_probability"]), layer)


def lens_sentence(clean: pd.DataFrame, steered: pd.DataFrame | None = None) -> str:
    """What the model says after the prompt, from which layer on, and, steered too, what it says then.

    Args:
        clean: Its `logit_lens` table.
        steered: The same under steering; none if it was not steered.
    """
    own = settled(clean)
    said = f"The likeliest next token is {own.token!r} ({own.probability:.0%}), from {_from(own)} on"
    if steered is None:
        return f"{said}."
    then = settled(steered)
    if then.token == own.token:
        return f"{said}; steered it stays {then.token!r} ({then.probability:.0%}), from {_from(then)} on."
    return f"{said}; steered it becomes {then.token!r} ({then.probability:.0%}), from {_from(then)} on."


def _from(found: Settled) -> str:
    return "the embedding" if found.layer is None else f"layer {found.layer}"
