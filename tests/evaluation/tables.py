"""Small tidy tables for the tests of pairing, statistics, controls and selection."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

NONE = float("nan")


def arm(
    method: str,
    values: Mapping[str, Sequence[float]],
    *,
    layer: float = NONE,
    coeff: float = 0.0,
    draw: float = NONE,
    metric: str = "sentiment",
    weight: float | Sequence[float] = 1.0,
    norm: float | None = None,
) -> pd.DataFrame:
    """Tidy rows of one arm: prompt -> the values of its samples 0, 1, ..."""
    rows = [(prompt, sample, value) for prompt, samples in values.items() for sample, value in enumerate(samples)]
    table = pd.DataFrame(rows, columns=["prompt", "sample", "value"]).astype({"value": float})
    name = f"{method} {layer} {coeff} {draw}"
    factors = {"condition": name, "method": method, "layer": layer, "coeff": coeff, "draw": draw, "metric": metric}
    return table.assign(**factors, relative_norm=abs(coeff) / 10 if norm is None else norm, weight=weight)


def noise(rng: np.random.Generator, prompts: int, samples: int, spread: float = 1.0) -> dict[str, list[float]]:
    """Independent normal values for each prompt and sample."""
    return {f"prompt {i}": rng.normal(0, spread, samples).tolist() for i in range(prompts)}


def by_layer(method: str, values: np.ndarray, *, metric: str = "sentiment") -> pd.DataFrame:
    """Tidy rows of arms that differ in layer only, from an array of layers, prompts and samples."""
    index = pd.MultiIndex.from_product([range(n) for n in values.shape], names=["layer", "number", "sample"])
    rows = pd.DataFrame({"value": values.ravel()}, index=index).reset_index()
    prompt = "prompt " + rows.pop("number").astype(str)
    factors = {"condition": method, "method": method, "coeff": 1.0, "draw": NONE, "relative_norm": 0.1, "weight": 1.0}
    return rows.assign(prompt=prompt, metric=metric, **factors).astype({"layer": float})


def shifted(values: Mapping[str, Sequence[float]], by: float) -> dict[str, list[float]]:
    """Every value moved by `by`."""
    return {prompt: [value + by for value in samples] for prompt, samples in values.items()}


def stacked(*tables: pd.DataFrame) -> pd.DataFrame:
    """One tidy table of several arms."""
    return pd.concat(tables, ignore_index=True)
