"""How often an interval of 95 % covers the truth, today's and each candidate: `python -m benchmarks.calibration`.

Draws data sets from populations of known effect and counts. Prints every method and, with `--write`, puts the table of
the chosen ones beside the percentile bootstrap into docs/measures.md.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: two threads on shared cores wait for each other

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from tqdm import tqdm

from benchmarks.interval_methods import ENDED, OPEN, TAILED, Data, Method
from benchmarks.populations import Population, populations
from steering_lab.numerics.bootstrap import resamples
from steering_lab.numerics.kinds import Kind

PAGE = Path(__file__).parents[1] / "docs/measures.md"
START, END = "<!-- made by make calibration: from here -->", "<!-- to here -->"
BEFORE = "percentile"
SUITED = {Kind.BOUNDED: ENDED, Kind.SYMMETRIC: OPEN, Kind.SKEWED: OPEN, Kind.HEAVY: TAILED}
CHOSEN = {
    Kind.BOUNDED: "two added",
    Kind.SYMMETRIC: "t",
    Kind.SKEWED: "t and bootstrap-t",
    Kind.HEAVY: list(TAILED)[-1],
}
PROMPTS = (8, 16, 37, 100)


def simulate(
    population: Population, n: int, samples: int, *, sets: int, n_boot: int, seed: int, methods: Sequence[str] = ()
) -> pd.DataFrame:
    """One row per method: covered (of the intervals shown), shown (share of sets with one), width (mean), n, samples.

    An interval without width counts as shown and covers only its point: that is how it is read. Methods: all that suit
    the population's kind, unless some are named.
    """
    rng = np.random.default_rng([seed, n, samples])
    weighting = resamples(n, n_boot, rng)
    data = Data(population.draw(n, samples, sets, rng), samples, weighting, seed, population.bounds)
    suited = SUITED[population.kind]
    chosen = {name: suited[name] for name in methods} if methods else suited
    rows = [_count(name, method, data, population.truth) for name, method in chosen.items()]
    facts = {"population": population.name, "kind": str(population.kind), "samples": samples, "n": n}
    return pd.DataFrame(rows).assign(**facts)


def _count(name: str, method: Method, data: Data, truth: float) -> dict[str, object]:
    low, high = method(data)
    shown = ~np.isnan(low)
    inside = (low <= truth + 1e-9) & (high >= truth - 1e-9)
    covered = inside[shown].mean() if shown.any() else np.nan
    width = (high - low)[shown].mean() if shown.any() else np.nan
    return {"method": name, "covered": covered, "shown": shown.mean(), "width": width}


def table(found: pd.DataFrame) -> str:
    """Markdown: a row per population and samples, a column per n: coverage before → after (width before → after)."""
    sizes = sorted(found["n"].unique())
    lines = ["| measure | samples | " + " | ".join(f"n = {n}" for n in sizes) + " |"]
    lines.append("|---|---|" + "---|" * len(sizes))
    for (name, samples), rows in found.groupby(["population", "samples"], sort=False):
        cells = [_cell(rows[rows["n"] == n]) for n in sizes]
        lines.append(f"| {name} | {samples} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(rows: pd.DataFrame) -> str:
    kind = Kind(rows["kind"].iloc[0])
    before, after = (rows[rows["method"] == name].iloc[0] for name in (BEFORE, CHOSEN[kind]))
    if not after["shown"]:
        return f"{before['covered']:.2f} ({before['width']:.2g}) → none shown".replace("0.", ".", 1)
    partly = f", shown {after['shown']:.0%}" if after["shown"] < 0.995 else ""
    coverage = f"{before['covered']:.2f} → {after['covered']:.2f}".replace("0.", ".")
    return f"{coverage} ({before['width']:.2g} → {after['width']:.2g}{partly})"


def worst(found: pd.DataFrame) -> str:
    """Markdown: each method's lowest and highest coverage over a kind's populations, and its width over `BEFORE`'s."""
    base = found.loc[found["method"] == BEFORE, ["population", "samples", "n", "width"]]
    found = found.merge(base, on=["population", "samples", "n"], suffixes=("", "_before"))
    found = found.assign(wider=found["width"] / found["width_before"])
    sizes = sorted(found["n"].unique())
    lines = ["| kind | method | " + " | ".join(f"n = {n}" for n in sizes) + " |", "|---|---|" + "---|" * len(sizes)]
    for (kind, method), rows in found.groupby(["kind", "method"], sort=False):
        by_n = rows.groupby("n")
        cells = ["none shown" if r["covered"].isna().all() else _span(r) for _, r in by_n]
        name = f"**{method}**" if CHOSEN[Kind(kind)] == method else method
        lines.append(f"| {kind} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _span(rows: pd.DataFrame) -> str:
    return f"{rows['covered'].min():.2f} to {rows['covered'].max():.2f} (x{rows['wider'].median():.2f})"


def main(sets: int = 1000, n_boot: int = 1000, seed: int = 0, write: bool = False) -> None:
    """Simulate every population, at every number of prompts and samples, with every method.

    Args:
        sets: Data sets per population, number of prompts and of samples.
        n_boot: Resamples of the methods that take some.
        seed: Of everything drawn.
        write: Also put the tables into docs/measures.md.
    """
    asked = [(one, n, samples) for one in populations() for samples in one.samples for n in PROMPTS]
    bar = tqdm(asked, desc="calibration", disable=not sys.stderr.isatty())
    blocks = [simulate(one, n, m, sets=sets, n_boot=n_boot, seed=seed) for one, n, m in bar]
    found = pd.concat(blocks, ignore_index=True)
    told = f"{sets} data sets a cell, {n_boot} resamples, seed {seed}."
    told += " Coverage before → after (mean width before → after):"
    page = "\n\n".join([told, table(found), TRIED, worst(found)])
    print(page)
    if write:
        write_between(PAGE, page)


TRIED = "All that was tried: lowest to highest coverage over a kind's measures (median width against the percentile's):"


def write_between(page: Path, text: str, marks: tuple[str, str] = (START, END)) -> None:
    """The page with `text` between its two marks. Raises ValueError where it has none."""
    before = page.read_text(encoding="utf-8")
    start, end = marks
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(before):
        raise ValueError(f"{page.name} has no lines {start} and {end}")
    page.write_text(pattern.sub(lambda _: f"{start}\n\n{text}\n\n{end}", before), encoding="utf-8")


if __name__ == "__main__":
    tyro.cli(main)
