"""Small tidy tables for the tests of pairing, statistics, controls and selection."""

import math
from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
import pandas as pd

from steering_lab.numerics.kinds import OPEN, Bounds, Kind
from steering_lab.tables import Factors, Scale, measurements


class Described(TypedDict):
    """What is said of a metric where it is measured."""

    metric: str
    scale: Scale
    kind: Kind
    bounds: Bounds


NONE = float("nan")
SCALES: dict[str, Scale] = {"perplexity": "ratio"}  # all others are compared as differences
KINDS: dict[str, Kind] = {"degenerate": Kind.BOUNDED, "right": Kind.BOUNDED, "topic": Kind.SKEWED}  # others: symmetric


def described(metric: str) -> Described:
    """How a metric is compared and what it can be: shares are bounded, topic counts skewed, all others symmetric."""
    kind = KINDS.get(metric, Kind.SYMMETRIC)
    bounds = (0.0, 1.0) if kind == Kind.BOUNDED else OPEN
    return {"metric": metric, "scale": SCALES.get(metric, "difference"), "kind": kind, "bounds": bounds}


def factors(
    method: str, *, layer: float = NONE, coeff: float = 0.0, draw: float = NONE, norm: float | None = None,
    place: str = "front", control_of: str = "actadd",
) -> Factors:  # fmt: skip
    """The factors of an edit; of a control where the method is "random", of the unsteered model where it is that."""
    norm = abs(coeff) / 10 if norm is None else norm
    layers, draws = (None if math.isnan(number) else int(number) for number in (layer, draw))
    where = {"layer": layers, "coeff": float(coeff), "relative_norm": norm, "draw": draws}
    if method == "unsteered":
        return Factors(method, "unsteered", **where)
    if method == "random":
        return Factors(method, "control", place=place, control_of=control_of, unit="coeff", **where)
    return Factors(method, "steered", place=place, unit="coeff", **where)


def observed(
    method: str,
    values: Mapping[str, Sequence[float]],
    *,
    layer: float = NONE,
    coeff: float = 0.0,
    draw: float = NONE,
    metric: str = "sentiment",
    weight: float | Sequence[float] = 1.0,
    norm: float | None = None,
    **others: str,
) -> pd.DataFrame:
    """Measurements of one condition: prompt -> the values of its samples 0, 1, ..."""
    rows = [(prompt, sample, value) for prompt, samples in values.items() for sample, value in enumerate(samples)]
    table = pd.DataFrame(rows, columns=["prompt", "sample", "value"]).astype({"value": float})
    facts = factors(method, layer=layer, coeff=coeff, draw=draw, norm=norm, **others)
    name = f"{method} {layer} {coeff} {draw}"
    return measurements(name, facts, table.assign(weight=weight), **described(metric))


def noise(rng: np.random.Generator, prompts: int, samples: int, spread: float = 1.0) -> dict[str, list[float]]:
    """Independent normal values for each prompt and sample."""
    return {f"prompt {i}": rng.normal(0, spread, samples).tolist() for i in range(prompts)}


def by_layer(method: str, values: np.ndarray, *, metric: str = "sentiment") -> pd.DataFrame:
    """Measurements of conditions that differ in layer only, from an array of layers, prompts and samples."""
    index = pd.MultiIndex.from_product([range(n) for n in values.shape], names=["layer", "number", "sample"])
    rows = pd.DataFrame({"value": values.ravel()}, index=index).reset_index()
    rows["prompt"] = "prompt " + rows.pop("number").astype(str)
    layers, facts = rows.pop("layer"), factors(method, layer=0, coeff=1.0)
    table = measurements(method, facts, rows, **described(metric))
    return table.assign(layer=layers.astype(float))


def shifted(values: Mapping[str, Sequence[float]], by: float) -> dict[str, list[float]]:
    """Every value moved by `by`."""
    return {prompt: [value + by for value in samples] for prompt, samples in values.items()}


def stacked(*tables: pd.DataFrame) -> pd.DataFrame:
    """One table of several conditions."""
    return pd.concat(tables, ignore_index=True)
