"""What `make calibration` samples from: populations of prompts whose true effect is known.

A population gives `prompts x cells` differences for so many samples per prompt. Some are formulas; those of texts are
the prompts of the reference runs under results/, drawn with replacement, so that their mean is the truth.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

from benchmarks.recorded import ORGANISM, SMALL, STORY_CELLS, of_answers, of_stories, of_sweep, of_texts
from steering_lab.evaluation.measuring.first_step import FIRST_STEP
from steering_lab.evaluation.measuring.judge import Judge
from steering_lab.evaluation.measuring.measures import DISTINCT_2, LENGTH
from steering_lab.evaluation.measuring.neutral import DECLARED
from steering_lab.numerics.intervals import Kind, prompt_effects

Sizes = tuple[int, ...]
SAMPLES: Sizes = (1, 4)
NEUTRAL = {
    "neutral_kl": "neutral KL",
    "neutral_kl_median": "neutral KL, median",
    "neutral_kl_p95": "neutral KL, 95th percentile",
    "top1_agreement": "top-1 agreement",
}
FIRST_TOKEN = {
    "log_odds": "log-odds", "log_prob_context": "log p(context's answer)", "log_prob_memory": "log p(memory's answer)",
    "kl": "KL at the first token",
}  # fmt: skip
Draw = Callable[[int, int, int, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Population:
    """A measure as it might be distributed: its name, its kind, how to draw prompts, the true effect."""

    name: str
    kind: Kind
    draw: Draw
    truth: float
    bounds: tuple[float, float] = (-1.0, 1.0)
    samples: Sizes = SAMPLES


def _latent(n: int, samples: int, cells: int, rng: np.random.Generator, alike: float = 0.5) -> np.ndarray:
    """Standard normal values; those of one prompt are correlated by `alike`."""
    return rng.normal(size=(n, cells, 1)) * alike**0.5 + rng.normal(size=(n, cells, samples)) * (1 - alike) ** 0.5


def normal(n: int, samples: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Normal differences."""
    return _latent(n, samples, cells, rng).mean(axis=-1)


def lognormal(n: int, samples: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Lognormal differences, σ = 1: mean √e."""
    return np.exp(_latent(n, samples, cells, rng)).mean(axis=-1)


def exponential(n: int, samples: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Exponential differences, mean 1."""
    return -np.log(norm.sf(_latent(n, samples, cells, rng))).mean(axis=-1)


def shares(before: float, after: float, alike: float = 0.5) -> Population:
    """Two shares on the same prompts; half of `alike` is common to both arms, half is the arm's own."""

    def draw(n: int, samples: int, cells: int, rng: np.random.Generator) -> np.ndarray:
        shared = rng.normal(size=(n, cells, 1)) * (alike / 2) ** 0.5

        def arm(share: float) -> np.ndarray:
            own = rng.normal(size=(n, cells, 1)) * (alike / 2) ** 0.5
            noise = rng.normal(size=(n, cells, samples)) * (1 - alike) ** 0.5
            return (shared + own + noise < norm.ppf(share)).mean(axis=-1)

        return arm(after) - arm(before)

    return Population(f"share {before:.2f} → {after:.2f}", Kind.BOUNDED, draw, after - before)


def counts(before: float, after: float) -> Population:
    """Words of a topic: Poisson counts whose rate varies exponentially from prompt to prompt."""

    def draw(n: int, samples: int, cells: int, rng: np.random.Generator) -> np.ndarray:
        rate, size = rng.exponential(size=(n, cells, 1)), (n, cells, samples)
        return (rng.poisson(after * rate, size) - rng.poisson(before * rate, size)).mean(axis=-1)

    return Population(f"topic words {before} → {after}", Kind.SKEWED, draw, after - before)


def rates(before: float, after: float, words: int = 40) -> Population:
    """The share of a text's words that are of a topic; a prompt's own rate varies exponentially about the mean."""

    def draw(n: int, samples: int, cells: int, rng: np.random.Generator) -> np.ndarray:
        own, size = rng.exponential(size=(n, cells, 1)), (n, cells, samples)
        arms = (rng.poisson(words * mean * own, size) / words for mean in (after, before))
        return (next(arms) - next(arms)).mean(axis=-1)

    return Population(f"topic rate {before} → {after}", Kind.SKEWED, draw, after - before)


def scores(name: str, before: float, after: float, *, spread: float = 2.0, most: int = 10) -> Population:
    """Whole numbers from 0 to `most`, as a judge gives them: normal values about `before` and `after`, rounded and cut.

    Half of a value's variance is the prompt's, in equal parts common to both arms and the arm's own.
    """

    def arm(mean: float, prompt: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return np.clip(np.round(mean + spread * (prompt + noise)), 0, most)

    def draw(n: int, samples: int, cells: int, rng: np.random.Generator) -> np.ndarray:
        shared = rng.normal(size=(n, cells, 1)) / 2

        def one(mean: float) -> np.ndarray:
            own, noise = rng.normal(size=(n, cells, 1)) / 2, rng.normal(size=(n, cells, samples)) * 0.5**0.5
            return arm(mean, shared + own, noise).mean(axis=-1)

        return one(after) - one(before)

    z = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    truth = float(arm(after, z, 0 * z).mean() - arm(before, z, 0 * z).mean())
    kind = Judge.__dataclass_fields__["kind"].default
    return Population(f"judge's scores, {name}", kind, draw, truth, (-float(most), float(most)))


def recorded(
    name: str, kind: Kind, pairs: pd.DataFrame, bounds: tuple[float, float] = (-1.0, 1.0), samples: Sizes = SAMPLES
) -> Population:
    """The differences of `pairs`, as `benchmarks.recorded` reads them from a run, drawn with replacement.

    A prompt in a cell is one unit; its samples, random vectors' draws among them, are drawn with replacement.
    """
    values = ["value", "weight", "unsteered", "unsteered_weight"]
    units = [unit[values].to_numpy() for _, unit in pairs.groupby(["method", "layer", "coeff", "prompt"])]
    pool, start, size = np.concatenate(units), np.cumsum([0, *map(len, units)])[:-1], np.array([*map(len, units)])

    def sums(chosen: np.ndarray) -> tuple[np.ndarray, ...]:
        value, weight, base, base_weight = np.moveaxis(chosen, -1, 0)
        both = (value * weight, weight, base * base_weight, base_weight)
        return tuple(part.mean(axis=-1) for part in both)

    def draw(n: int, samples: int, cells: int, rng: np.random.Generator) -> np.ndarray:
        unit = rng.integers(len(units), size=(n, cells, 1))
        return prompt_effects(*sums(pool[start[unit] + rng.integers(size[unit], size=(n, cells, samples))]))

    all_of_them = np.array([[part.item() for part in sums(unit)] for unit in units])
    truth = float(prompt_effects(*all_of_them.T[..., None]).mean())
    return Population(name, kind, draw, truth, bounds, samples)


def populations() -> list[Population]:
    """Every population of the table, by what is measured."""
    return [*texts(), *neutral_texts(), *stories(), *answers(), *judged()]


def texts() -> list[Population]:
    """What is measured of continuations."""
    return [
        Population("normal", Kind.SYMMETRIC, normal, 0.0),
        recorded("VADER (SmolLM2's texts)", Kind.SYMMETRIC, of_sweep(SMALL, "vader", 1.5), (-2.0, 2.0)),
        recorded(
            "valence balance (organism's texts)",
            Kind.SYMMETRIC,
            of_sweep(ORGANISM, "valence_balance", 1.0),
            (-2.0, 2.0),
        ),
        recorded("log perplexity ratio (SmolLM2's texts)", Kind.SYMMETRIC, of_sweep(SMALL, "perplexity", 1.5)),
        recorded("log perplexity ratio (organism's texts)", Kind.SYMMETRIC, of_sweep(ORGANISM, "perplexity", 0.5)),
        Population("exponential", Kind.SKEWED, exponential, 1.0),
        Population("lognormal", Kind.SKEWED, lognormal, float(np.exp(0.5))),
        counts(0.1, 0.5),
        counts(0.2, 2.0),
        rates(0.002, 0.02),
        recorded("length (SmolLM2's texts)", LENGTH.kind, of_texts(SMALL, LENGTH, 1.5)),
        recorded("length (organism's texts)", LENGTH.kind, of_texts(ORGANISM, LENGTH, 0.5)),
        shares(1.00, 0.97),
        shares(0.97, 0.92),
        shares(0.36, 0.46),
        shares(0.90, 0.50),
        recorded("degenerate share (organism's texts)", Kind.BOUNDED, of_sweep(ORGANISM, "degenerate", 1.0)),
        recorded("repetition (SmolLM2's texts)", Kind.BOUNDED, of_sweep(SMALL, "repetition", 1.5)),
        recorded("repetition (organism's texts)", Kind.BOUNDED, of_sweep(ORGANISM, "repetition", 1.0)),
        recorded("distinct-2 (SmolLM2's texts)", DISTINCT_2.kind, of_texts(SMALL, DISTINCT_2, 1.5)),
        recorded("distinct-2 (organism's texts)", DISTINCT_2.kind, of_texts(ORGANISM, DISTINCT_2, 0.5)),
    ]


def neutral_texts() -> list[Population]:
    """What SmolLM2's steered cells do to its 16 texts that ask for nothing, read once; all cells together."""
    return [
        recorded(
            f"{NEUTRAL[name]} (SmolLM2)", DECLARED[name][0], of_sweep(SMALL, name, 1.5, role="steered"), samples=(1,)
        )
        for name in ("neutral_kl", "top1_agreement")
    ]


def stories() -> list[Population]:
    """What steered cells do to stories of the organism's, which it reads for this (half a minute)."""
    return [
        recorded(f"{said} (organism, layer {layer}, x{coeff:g})", kind, of_stories(name, layer, coeff), samples=(1,))
        for (name, (kind, _)), said in zip(DECLARED.items(), NEUTRAL.values(), strict=True)
        for layer, coeff in STORY_CELLS
    ]


def answers() -> list[Population]:
    """What is measured of answers' first step, by the chosen vector both ways and by random ones."""
    return [
        recorded(f"{said} ({cells})", FIRST_STEP[metric][0], of_answers(ORGANISM, metric, coeff, method=method))
        for metric, said in FIRST_TOKEN.items()
        for cells, method, coeff in (
            ("ContextFocus", "contextfocus", 0.5),
            ("reversed", "contextfocus", -0.5),
            ("random vectors", "random", 0.5),
        )
    ]


def judged() -> list[Population]:
    """What a judge gives: in the middle of its scale, and at its lower end."""
    return [scores("5 → 6 of 10", 5.0, 6.0), scores("near 0 of 10", -2.0, -1.0), scores("8 → 9 of 10", 8.0, 9.0)]
