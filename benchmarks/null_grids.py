"""How often a grid has a cell that "works", without steering and with it: `python -m benchmarks.null_grids`.

Draws whole grids (8 layers, 10 coefficients) with the random vectors beside them and judges their cells as a summary
does: differs from unsteered and from random vectors, each corrected over the grid. Costs are left out; they only make
it rarer. Prints a table and, with `--write`, puts it into docs/measures.md.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: two threads on shared cores wait for each other

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import tyro
from scipy.stats import t
from tqdm import tqdm

from benchmarks.calibration import PAGE, write_between
from benchmarks.recorded import reference_run
from steering_lab.evaluation.inferring.controls import draw_effects
from steering_lab.evaluation.inferring.random_test import CAUTION, random_grid
from steering_lab.evaluation.inferring.swap_test import bootstrap_test, exchange_test
from steering_lab.numerics.kinds import OPEN, Kind
from steering_lab.numerics.significance import LEVEL
from steering_lab.tables import described, is_unsteered

MARKS = ("<!-- made by make calibration, grids: from here -->", "<!-- grids: to here -->")
LAYERS, SIZES = 8, np.array([1, 2, 4, 8, 16]) / 16
COEFFS = np.concatenate([-SIZES[::-1], SIZES])
CELLS = LAYERS * len(COEFFS)
NORMS, AT = np.tile(np.abs(COEFFS), LAYERS), np.repeat(np.arange(float(LAYERS)), len(COEFFS))
STEERED = (AT >= 3) & (AT <= 5)
EFFECTS = (2, 4, 6, 8)  # at the largest coefficient, in standard deviations of random vectors there in a usual layer
PROMPT_NOISE = 1.0  # of one prompt's difference, beside the vectors' own 1 at the largest coefficient; half is shared

Draw = Callable[[int, np.random.Generator], np.ndarray]
Shape = Callable[[tuple[int, ...], np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Grids:
    """What random vectors do in a grid: `draw(n, rng)` gives the true effects of n of them, `n x CELLS`.

    Args:
        name: What the table calls it.
        draw: One grid's random vectors; the layers' sizes are drawn anew with each call.
        kind: How prompts differ.
    """

    name: str
    draw: Draw
    kind: Kind = Kind.SYMMETRIC


def normal(size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Normal, of variance 1."""
    return rng.normal(size=size)


def heavy(size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """t with 4 degrees of freedom."""
    return rng.standard_t(4, size=size)


def skewed(size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Exponential less its mean: most random vectors do a little one way, some do much the other way."""
    return rng.exponential(size=size) - 1


def some_far(size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Normal; one random vector in ten does five times as much, at all layers, as the others."""
    return rng.normal(size=size) * np.where(rng.random(size=(size[0], *[1] * (len(size) - 1))) < 0.1, 5.0, 1.0)


def along_layers(scatter: float, of: Shape = normal, *, cells: float = 0.0, still: int = 0) -> Draw:
    """One direction per layer, its effect in proportion to the coefficient.

    Args:
        scatter: How far layers' sizes scatter, in logarithms.
        of: How directions are distributed.
        cells: How far single cells' sizes scatter beside, in logarithms.
        still: At how many layers, drawn anew with each grid, next to nothing happens.
    """

    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        size = np.exp(scatter * rng.normal(size=(1, LAYERS, 1)) + cells * rng.normal(size=(1, LAYERS, len(COEFFS))))
        size[:, rng.permutation(LAYERS)[:still]] *= 0.03
        odd, even = (of((n, LAYERS, 1), rng) for _ in range(2))
        return (size * (0.9 * odd * COEFFS + 0.45 * even * COEFFS**2)).reshape(n, CELLS)

    return draw


def as_in_run(run: str, metric: str, place: str) -> Grids:
    """Grids put together from what the run's random vectors did, a layer's curve over coefficients at a time.

    A curve is one draw's at one layer, less the draws' mean there, over the product of what layers and coefficients
    spread on average; the typical spread at the largest coefficient is made 1.
    """
    table = pd.read_parquet(reference_run(run) / "table.parquet")
    table = table[(table["metric"] == metric) & ((table["place"] == place) | is_unsteered(table))]
    drawn = draw_effects(table.assign(**described(metric, "difference", Kind.SYMMETRIC, OPEN)))
    wide = drawn.pivot_table("effect", ["layer", "coeff"], "draw")
    values = wide.to_numpy().reshape(LAYERS, len(COEFFS), -1)
    draws = values.shape[-1]
    rest = (values - values.mean(axis=-1, keepdims=True)) * np.sqrt(draws / (draws - 1))
    log = np.log(np.sqrt((rest**2).mean(axis=-1)))
    spread = np.exp(log.mean(axis=1, keepdims=True) + log.mean(axis=0, keepdims=True) - log.mean())
    curves = (rest / spread[..., None]).transpose(0, 2, 1).reshape(-1, len(COEFFS))
    spread /= np.median(spread[:, [0, -1]])

    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        return (spread * curves[rng.integers(len(curves), size=(n, LAYERS))]).reshape(n, CELLS)

    return Grids(f"as {run}'s, {metric.replace('_', ' ')}, {place}", draw)


def grids() -> list[Grids]:
    """Every kind of grid in the table."""
    return [
        Grids("layers alike", along_layers(0.0)),
        Grids("layers differ (σ of logs 0.7)", along_layers(0.7)),
        Grids("layers differ, skewed measure", along_layers(0.7), Kind.SKEWED),
        Grids("layers differ, heavy tails (t, 4 df)", along_layers(0.7, heavy)),
        as_in_run("organism", "valence_balance", "everywhere"),
        as_in_run("organism", "valence_balance", "front"),
    ]


def hard_grids() -> list[Grids]:
    """Those whose random vectors are nothing like what the test takes them to be."""
    return [
        Grids("skewed random vectors", along_layers(0.7, skewed)),
        Grids("one random vector in ten does five times as much", along_layers(0.7, some_far)),
        Grids("cells differ (σ of logs 1)", along_layers(0.7, cells=1.0)),
        Grids("six of eight layers still", along_layers(0.7, still=6)),
        Grids("skewed random vectors, skewed measure", along_layers(0.7, skewed), Kind.SKEWED),
    ]


class Found(NamedTuple):
    """What a grid has: a cell that `works`, one that would without `CAUTION` (`before`), one that is told from `random`
    vectors, one that merely `differs`."""

    works: bool
    before: bool
    random: bool
    differs: bool


def simulate(kind: Grids, draws: int, prompts: int, rng: np.random.Generator, n_boot: int = 500) -> dict[str, Found]:
    """One grid with `draws` random vectors, for each vector that may stand in it: idle, random, of each effect."""
    vectors = kind.draw(draws + 1, rng)
    noise = _prompts(kind.kind, prompts, 1, rng) / np.sqrt(2)
    others = [v + (noise + _prompts(kind.kind, prompts, CELLS, rng) / np.sqrt(2)).mean(axis=0) for v in vectors[1:]]
    grid = random_grid(np.array(others), NORMS, AT)
    own = noise + _prompts(kind.kind, prompts, CELLS, rng) / np.sqrt(2)
    along = STEERED * np.tile(COEFFS, LAYERS)
    push = {f"effect {size}": vectors[0] + size * along for size in EFFECTS}
    true = {"idle": np.zeros(CELLS), "random": vectors[0], **push}
    return {name: _judged(own + effect, grid.p_family, kind.kind, n_boot, rng) for name, effect in true.items()}


def _prompts(kind: Kind, prompts: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    if kind == Kind.SKEWED:
        return PROMPT_NOISE * (rng.exponential(size=(prompts, cells)) - 1)
    return PROMPT_NOISE * rng.normal(size=(prompts, cells))


def _judged(
    scores: np.ndarray,
    p_random: Callable[[np.ndarray], np.ndarray],
    kind: Kind,
    n_boot: int,
    rng: np.random.Generator,
) -> Found:
    n, mean = len(scores), scores.mean(axis=0)
    apart = p_random(mean)
    alone = bool((2 * t.sf(np.abs(mean) / (scores.std(axis=0, ddof=1) / np.sqrt(n)), n - 1) <= LEVEL).any())
    if not (apart <= CAUTION * LEVEL).any():  # then none works
        return Found(False, False, False, alone)
    tests = (exchange_test, bootstrap_test) if kind == Kind.SKEWED else (exchange_test,)
    p_family = np.max([test(scores, [np.arange(CELLS)], n_boot, rng)[1] for test in tests], axis=0)
    works, before = (bool(((apart <= level) & (p_family <= LEVEL)).any()) for level in (LEVEL, CAUTION * LEVEL))
    return Found(works, before, bool((apart <= LEVEL).any()), alone)


def counted(kind: Grids, draws: int, prompts: int, sets: int, seed: int) -> dict[str, object]:
    """A row of the table: the share of `sets` grids with a cell that works, for each vector."""
    rng = np.random.default_rng([seed, draws, prompts])
    found = [simulate(kind, draws, prompts, rng) for _ in range(sets)]
    share = {name: float(np.mean([grid[name].works for grid in found])) for name in found[0]}
    share |= {f"{name} before": float(np.mean([grid[name].before for grid in found])) for name in found[0]}
    differs = {f"{name} differs": float(np.mean([grid[name].differs for grid in found])) for name in ("idle", "random")}
    apart = float(np.mean([grid["random"].random for grid in found]))
    return {"grid": kind.name, "draws": draws, "prompts": prompts, "sets": sets, "apart": apart, **differs, **share}


COLUMNS = {
    "idle differs": "idle: a cell's own interval excludes 0",
    "random differs": "random: the same",
    "apart": "random: a cell is told from random vectors",
    "idle": "idle: a cell works",
    "random": "random: a cell works",
    **{f"effect {size}": f"effect of {size}: a cell works" for size in EFFECTS},
}


def table(rows: list[dict[str, object]]) -> str:
    """Markdown, a row for each kind of grid, number of draws and of prompts."""
    head = ["random vectors", "draws", "prompts", "grids", *COLUMNS.values()]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        shares = " | ".join(_share(row, name) for name in COLUMNS)
        lines.append(f"| {row['grid']} | {row['draws']} | {row['prompts']} | {row['sets']} | {shares} |")
    return "\n".join(lines)


def _share(row: dict[str, object], name: str) -> str:
    """A share, and in brackets what it was before `CAUTION` where that differs."""
    now, before = (f"{row.get(key, row[name]):.3f}".removeprefix("0") for key in (name, f"{name} before"))
    return now if now == before else f"{now} ({before})"


def largest_error(rows: list[dict[str, object]]) -> float:
    """The largest share of grids with a cell that works although the vector is idle or a random one."""
    return max(float(str(row[name])) for row in rows for name in ("idle", "random"))


def worst(rows: list[dict[str, object]], draws: int) -> str:
    """The line that says which grids have such a cell most often, of those with so many random vectors."""
    among = [row for row in rows if row["draws"] == draws]
    named = max(among, key=lambda row: largest_error([row]))["grid"]
    return f"Most null grids in a row with a cell that works, {draws} draws: {largest_error(among):.1%} ({named}).\n"


def main(sets: int = 400, hard_sets: int = 1000, seed: int = 0, write: bool = False) -> None:
    """Simulate every kind of grid with five random vectors to a cell, some with other numbers of draws and prompts.

    Args:
        sets: Grids of each kind.
        hard_sets: Grids of each harder kind.
        seed: Of everything drawn.
        write: Also put the table into docs/measures.md.
    """
    every, hard = grids(), hard_grids()
    asked = [(one, 5, 16, sets) for one in every]
    asked += [(one, *size, sets) for one in (every[1], every[4]) for size in ((3, 16), (10, 16), (5, 37))]
    asked += [(one, 5, 16, hard_sets) for one in (every[3], *hard)]
    asked += [(one, *size, hard_sets) for one in (hard[0], hard[1]) for size in ((3, 16), (10, 16), (5, 8))]
    rows = [counted(*one, seed) for one in tqdm(asked, desc="grids", disable=not sys.stderr.isatty())]
    told = f"Seed {seed}. The share of grids that have such a cell (in brackets: before p_random was doubled):"
    page = "\n\n".join([told, table(rows), "\n".join(worst(rows, draws) for draws in (3, 5, 10))])
    print(page)
    if write:
        write_between(PAGE, page, MARKS)


if __name__ == "__main__":
    tyro.cli(main)
