"""A lens in a sentence: what comes next, and from which layer on it is the likeliest."""

import pandas as pd

from steering_lab.analysis.lens_finding import Settled, lens_sentence, settled


def lens(*tops: str, probability: float = 0.5) -> pd.DataFrame:
    """The embedding, then the output of each layer, at two tokens; the first token says something else."""
    streams = ["resid_pre", *["resid_post"] * (len(tops) - 1)]
    layers = [0, *range(len(tops) - 1)]
    last = pd.DataFrame(
        {"position": 1, "layer": layers, "stream": streams, "top": tops, "top_probability": probability}
    )
    return pd.concat([last.assign(position=0, top="other"), last], ignore_index=True)


def test_a_token_is_settled_from_the_first_layer_after_which_no_other_leads() -> None:
    assert settled(lens("a", "b", "a", "b", "b")) == Settled("b", 0.5, 2)
    assert settled(lens("b", "b", "b")) == Settled("b", 0.5, None)
    assert settled(lens("a", "a", "b")) == Settled("b", 0.5, 1)


def test_the_sentence_says_what_steering_made_of_it() -> None:
    clean, steered = lens("a", "b", "b"), lens("a", "a", "c", probability=0.25)
    assert lens_sentence(clean) == "The likeliest next token is 'b' (50%), from layer 0 on."
    assert "; steered it becomes 'c' (25%), from layer 1 on." in lens_sentence(clean, steered)
    assert "; steered it stays 'b' (50%), from layer 0 on." in lens_sentence(clean, clean)
