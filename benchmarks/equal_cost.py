"""How often the interval of an effect at equal cost covers the truth: `python -m benchmarks.equal_cost`.

Curves of five cells whose true shares and costs are known. A prompt's cost is lognormal, more where it is readily
steered; its answers in different cells go together.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: two threads on shared cores wait for each other

from typing import NamedTuple

import numpy as np
import pandas as pd
import tyro
from scipy.stats import norm

from steering_lab.evaluation.inferring.equal_cost import Curve, interval_at
from steering_lab.numerics.bootstrap import resamples
from steering_lab.numerics.kinds import Kind

COSTS = (0.1, 0.3, 1.0, 2.5)
SHARE = (0.0, 1.0)
KLS = (0.0, 0.2, 0.5, 1.5, 4.0)


class Setting(NamedTuple):
    """True shares of the unsteered model and of four cells, and how far prompts' costs spread, in logarithms."""

    shares: tuple[float, float, float, float, float]
    spread: float


SETTINGS = {
    f"{name}, costs spread {spread}": Setting(shares, spread)
    for name, shares in {
        "0.20 to 0.90": (0.20, 0.35, 0.55, 0.75, 0.90),
        "0.90 to 0.99": (0.90, 0.93, 0.96, 0.98, 0.99),
        "0.01 to 0.10": (0.01, 0.02, 0.03, 0.06, 0.10),
        "a step from 0.06 to 0.94": (0.05, 0.06, 0.50, 0.94, 0.95),
    }.items()
    for spread in (0.5, 1.0)
}


def coverage(setting: Setting, n: int, *, sets: int, n_boot: int, seed: int) -> pd.DataFrame:
    """cost -> covered (of the intervals shown), shown (share of sets with one), width (mean)."""
    found = [_one(setting, n, np.random.default_rng([seed, i]), n_boot) for i in range(sets)]
    rows = pd.concat(found).assign(truth=lambda t: np.interp(t["cost"], KLS, setting.shares))
    inside = (rows["low"] <= rows["truth"] + 1e-9) & (rows["high"] >= rows["truth"] - 1e-9)
    shown = rows["low"].notna()
    rows = rows.assign(covered=inside.where(shown).astype(float), shown=shown, width=rows["high"] - rows["low"])
    return rows.groupby("cost")[["covered", "shown", "width"]].mean()


def _one(setting: Setting, n: int, rng: np.random.Generator, n_boot: int) -> pd.DataFrame:
    own, cells, at = rng.normal(size=(n, 1)), len(KLS), np.array(COSTS)
    right = 0.8 * own + 0.6 * rng.normal(size=(n, cells)) < norm.ppf(setting.shares)
    readily = (rng.normal(size=(n, 1)) - own) / np.sqrt(2)
    spread = setting.spread * readily + 0.2 * rng.normal(size=(n, cells))
    kl = np.array(KLS) * np.exp(spread - (setting.spread**2 + 0.2**2) / 2)
    curve = Curve(kl, right.astype(float))
    drawn = curve.resampled(at, resamples(n, n_boot, rng))
    low, high, _ = interval_at(curve.at(at), drawn, Kind.BOUNDED, SHARE)
    return pd.DataFrame({"cost": at, "low": low, "high": high})


def main(sets: int = 400, n_boot: int = 300, seed: int = 0) -> None:
    """Print coverage and width for every setting, with 16, 40 and 100 prompts.

    Args:
        sets: Data sets per setting and number of prompts.
        n_boot: Resamples of the prompts.
        seed: Of everything drawn.
    """
    print("shares | prompts | " + " | ".join(f"{cost:g} nats: covered (width), shown" for cost in COSTS))
    for name, setting in SETTINGS.items():
        for n in (16, 40, 100):
            rows = coverage(setting, n, sets=sets, n_boot=n_boot, seed=seed).itertuples()
            cells = [f"{r.covered:.2f} ({r.width:.2f}), {r.shown:.0%}" for r in rows]
            print(f"{name} | {n} | " + " | ".join(cells), flush=True)


if __name__ == "__main__":
    tyro.cli(main)
