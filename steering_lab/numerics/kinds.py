"""How a measure's paired differences are distributed, as its author declares it, and between which ends it lies."""

import math
from enum import StrEnum

Bounds = tuple[float | int, float | int]
OPEN: Bounds = (-math.inf, math.inf)


class Kind(StrEnum):
    """How a measure's paired differences are distributed: a property of the measure, never read off its data."""

    BOUNDED = "bounded"  # shares of 0 and 1, and scores between two ends that are mostly at one of them (repetition)
    SYMMETRIC = "symmetric"  # scores that move both ways: sentiment, log-odds, logarithms of perplexity
    SKEWED = "skewed"  # counts, divergences of whole texts, and anything of which nothing is known
    HEAVY = "heavy"  # mostly next to nothing, in a few prompts very much: a divergence at one token
