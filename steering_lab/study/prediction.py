"""How well what is seen before steering says what steering does: rank correlations over concepts and layers."""

from collections.abc import Sequence
from typing import NamedTuple, get_args

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from steering_lab.analysis.steerability import Statistic
from steering_lab.study.expectations import check

OUTCOMES = {"slope": "mean slope", "share": "share that moves the other way"}
MIN_CONCEPTS = 6  # of which resamples bound a correlation; of 3 or 4 most draws repeat one and the bounds may lie at ±1
WHO = {
    "concepts and layers": "", "concepts, layers averaged": " layers averaged",
    "layers within a concept": " within a concept",
}  # fmt: skip
OVER = tuple(WHO)  # and what an expectation calls each, behind the pairs


def predictions_by_kind(
    before: pd.DataFrame, after: pd.DataFrame, *, seed: int = 0, n_boot: int = 2000
) -> pd.DataFrame:
    """`predictions` of all concepts, and of each kind that has three or more by itself, with the column `pairs`.

    What all show together may be no more than that the kinds differ.

    Args:
        before: As in `predictions`, with the column kind.
        after: As in `predictions`.
        seed: What resamples follow from.
        n_boot: How many.
    """
    kinds = before.groupby("kind")["concept"].unique()
    sets = {"all": before["concept"].unique()} | {str(kind): of for kind, of in kinds.items() if len(of) >= 3}
    if len(kinds) == 1:
        sets.pop("all")
    blocks = []
    for name, concepts in sets.items():
        own = before[before["concept"].isin(concepts)], after[after["method"].isin(concepts)]
        blocks.append(predictions(*own, seed=seed, n_boot=n_boot).assign(pairs=name))
    table = pd.concat(blocks, ignore_index=True)
    return table[["pairs", *(column for column in table if column != "pairs")]]


def measured(found: pd.DataFrame) -> pd.DataFrame:
    """What expectations are answered by: a correlation's effect is its rho, and no effect is 0.

    Of whom: "all", "words", "sentences", over concepts and layers together; "all within a concept" over the layers of
    each; "all layers averaged" over concepts. Where all pairs are of one kind, that kind is "all" too.

    Args:
        found: As `predictions_by_kind` makes it.
    """
    if "all" not in set(found["pairs"]):
        found = pd.concat([found, found.assign(pairs="all")], ignore_index=True)
    none = {"scale": "difference", "control_low": np.nan, "control_high": np.nan, "against": None}
    return found.assign(
        who=found["pairs"] + found["over"].map(WHO),
        metric=found["statistic"] + " with " + found["outcome"],
        effect=found["rho"],
        why=(found["n_concepts"].astype(str) + " concepts").where(found["low"].isna()),
        **none,
    )


def check_expectations(expects: Sequence[str]) -> None:
    """Nothing when every line is about a correlation that there may be. Raises ValueError otherwise.

    Args:
        expects: Lines such as "all: mean cosine with mean slope above 0" (`study.expectations`); none is allowed.
    """
    who = [f"{pairs}{over}" for pairs in ("all", "words", "sentences") for over in WHO.values()]
    metrics = [f"{statistic} with {outcome}" for statistic in get_args(Statistic) for outcome in OUTCOMES.values()]
    check(expects, who, metrics)


def predictions(before: pd.DataFrame, after: pd.DataFrame, *, seed: int = 0, n_boot: int = 2000) -> pd.DataFrame:
    """One row per statistic, outcome and `over` what they go together: rho, low, high, n_concepts, n_cells.

    rho is Spearman's: over all cells together, over concepts with their layers averaged, and over the layers of each
    concept, averaged over concepts. Concepts were sampled, so they are what is resampled (95 % percentiles).
    NaN where there are fewer than three points, layers of a concept say. low and high are NaN of fewer than 6 concepts,
    and where every resample says the same, which bounds nothing.

    Args:
        before: Rows of `steerability` with the column concept, one or several for each site, which are averaged.
        after: Rows of `steered_otherwise` whose method is the concept.
        seed: What resamples follow from.
        n_boot: How many.

    Raises:
        ValueError: fewer than three concepts.
    """
    seen = before.pivot_table(index=["concept", "layer"], columns="statistic", values="value", aggfunc="mean")
    did = after.rename(columns={"method": "concept"}).set_index(["concept", "layer"])[list(OUTCOMES)]
    both = seen.join(did, how="inner").dropna()
    concepts = both.index.get_level_values("concept").unique()
    if len(concepts) < 3:
        raise ValueError(f"{len(concepts)} concepts with values: a correlation over them needs three or more")
    blocks = [both.loc[concept].to_numpy() for concept in concepts]
    columns = list(both.columns)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(blocks), size=(n_boot, len(blocks)))
    rows = []
    for statistic in seen.columns:
        for outcome, label in OUTCOMES.items():
            pair = [block[:, [columns.index(statistic), columns.index(outcome)]] for block in blocks]
            each = [_Concept(block, block.mean(axis=0), _spearman(block)) for block in pair]
            found = [_correlations(each)] + [_correlations([each[i] for i in draw]) for draw in drawn]
            for k, over in enumerate(OVER):
                values = np.array([one[k] for one in found])
                known = values[1:][~np.isnan(values[1:])]
                low, high = _bounds(known) if len(blocks) >= MIN_CONCEPTS else (np.nan, np.nan)
                row = {
                    "statistic": statistic,
                    "outcome": label,
                    "over": over,
                    "rho": values[0],
                    "low": low,
                    "high": high,
                }
                rows.append({**row, "n_concepts": len(blocks), "n_cells": len(both)})
    return pd.DataFrame(rows)


def _bounds(drawn: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
    return (np.nan, np.nan) if np.isclose(low, high) else (float(low), float(high))


class _Concept(NamedTuple):
    """A concept's cells, the mean of them, and their own correlation: all that no resample of concepts changes."""

    cells: np.ndarray
    mean: np.ndarray
    within: float


def _correlations(concepts: list[_Concept]) -> tuple[float, float, float]:
    known = [one.within for one in concepts if not np.isnan(one.within)]
    means = np.stack([one.mean for one in concepts])
    cells = np.concatenate([one.cells for one in concepts])
    return _spearman(cells), _spearman(means), float(np.mean(known)) if known else np.nan


def _spearman(points: np.ndarray) -> float:
    """NaN where there are fewer than three points, or one of the two never changes."""
    ranks = rankdata(points, axis=0)
    centred = ranks - ranks.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    return float(centred[:, 0] @ centred[:, 1] / length.prod()) if len(points) > 2 and length.all() else np.nan
