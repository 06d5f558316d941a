"""What `make calibration` samples from: populations of prompts whose true effect is known.

A population gives `prompts x cells` differences for so many samples per prompt. Some are formulas; those of texts are
the prompts of the reference runs under results/, drawn with replacement, so that their mean is the truth.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from steering_lab.numerics.intervals import Kind, prompt_effects

RESULTS = Path(__file__).parents[1] / "results"
Draw = Callable[[int, int, int, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Population:
    """A measure as it might be distributed: its name, its kind, how to draw prompts, the true effect."""

    name: str
    kind: Kind
    draw: Draw
    truth: float
    bounds: tuple[float, float] = (-1.0, 1.0)


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


def texts(
    name: str, kind: Kind, run: str, metric: str, size: float, bounds: tuple[float, float] = (-1.0, 1.0)
) -> Population:
    """The differences of `metric` in the run's cells of random vectors at |coefficient| `size`; ratio metrics as logs.

    A prompt in a cell is one unit; its samples are drawn with replacement. Prompts without a value are left out.
    """
    pairs = _pairs(run, metric, size)
    values = ["value", "weight", "unsteered", "unsteered_weight"]
    units = [unit[values].to_numpy() for _, unit in pairs.groupby(["method", "layer", "coeff", "prompt"])]
    most = min(map(len, units))
    pool = np.array([np.random.default_rng(0).permutation(unit)[:most] for unit in units])

    def sums(chosen: np.ndarray) -> tuple[np.ndarray, ...]:
        value, weight, base, base_weight = np.moveaxis(chosen, -1, 0)
        both = (value * weight, weight, base * base_weight, base_weight)
        return tuple(part.sum(axis=-1) for part in both)

    def draw(n: int, samples: int, cells: int, rng: np.random.Generator) -> np.ndarray:
        unit = rng.integers(len(pool), size=(n, cells, 1))
        return prompt_effects(*sums(pool[unit, rng.integers(most, size=(n, cells, samples))]))

    truth = float(prompt_effects(*(part[:, None] for part in sums(pool))).mean())
    return Population(name, kind, draw, truth, bounds)


def _pairs(run: str, metric: str, size: float) -> pd.DataFrame:
    folders = sorted((RESULTS / "actadd_sweep").glob(f"*_{run}_*"))
    if not folders:
        raise ValueError(f"no reference run of {run} under results/actadd_sweep")
    table = pd.read_parquet(folders[-1] / "table.parquet")
    table = table[table["metric"] == metric]
    if metric == "perplexity":
        table = table.assign(value=np.log(table["value"]))
    base = table.loc[table["role"] == "unsteered", ["prompt", "sample", "value", "weight"]]
    base = base.rename(columns={"value": "unsteered", "weight": "unsteered_weight"})
    random = table["role"].eq("control") & table["place"].eq("everywhere")
    steered = table[random & table["coeff"].abs().eq(size)]
    if steered.empty:
        raise ValueError(f"{folders[-1].name} has no {metric} of random vectors at a coefficient of ±{size}")
    return steered.merge(base, on=["prompt", "sample"]).dropna(subset=["value", "unsteered"])


def populations() -> list[Population]:
    """Every population of the table, by kind."""
    small, organism = "SmolLM2-135M-Instruct", "organism"
    return [
        Population("normal", Kind.SYMMETRIC, normal, 0.0),
        texts("VADER (SmolLM2's texts)", Kind.SYMMETRIC, small, "vader", 1.5, (-2.0, 2.0)),
        texts("valence balance (organism's texts)", Kind.SYMMETRIC, organism, "valence_balance", 1.0, (-2.0, 2.0)),
        texts("log perplexity ratio (SmolLM2's texts)", Kind.SYMMETRIC, small, "perplexity", 1.5),
        texts("log perplexity ratio (organism's texts)", Kind.SYMMETRIC, organism, "perplexity", 0.5),
        Population("exponential", Kind.SKEWED, exponential, 1.0),
        Population("lognormal", Kind.SKEWED, lognormal, float(np.exp(0.5))),
        counts(0.1, 0.5),
        counts(0.2, 2.0),
        rates(0.002, 0.02),
        shares(1.00, 0.97),
        shares(0.97, 0.92),
        shares(0.36, 0.46),
        shares(0.90, 0.50),
        texts("degenerate share (organism's texts)", Kind.BOUNDED, organism, "degenerate", 1.0),
        texts("repetition (SmolLM2's texts)", Kind.BOUNDED, small, "repetition", 1.5),
        texts("repetition (organism's texts)", Kind.BOUNDED, organism, "repetition", 1.0),
    ]
