"""What models really did: each steered value beside the unsteered one, as tables of pairs.

From the reference runs under results/; neutral text, of which these have 16, is read by the organism again.

A pair has the columns method, layer, coeff, prompt; value and weight; unsteered and unsteered_weight. Ratio metrics are
logarithms. Rows without a value on either side are left out.
"""

from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from steering_lab.data.contrast_pairs import PAIRS
from steering_lab.evaluation.measuring.measures import Measure, measure_table
from steering_lab.evaluation.measuring.neutral import neutral_table
from steering_lab.evaluation.running.condition import UNSTEERED
from steering_lab.evaluation.running.grid import layer_coeff_grid, median_resid_norms
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.loading import load_model
from steering_lab.organism.rng import Rng
from steering_lab.organism.world import story
from steering_lab.study.costs import LEAST_WORDS, MOST_WORDS
from steering_lab.study.vectors import vectors_at
from steering_lab.tables import is_unsteered

RESULTS = Path(__file__).parents[1] / "results"
SMALL, ORGANISM = "SmolLM2-135M-Instruct", "organism"


def reference_run(run: str, experiment: str = "actadd_sweep") -> Path:
    """The folder of the last reference run of `experiment` on the model `run`. Raises ValueError if there is none."""
    folders = sorted((RESULTS / experiment).glob(f"*_{run}_*"))
    if not folders:
        raise ValueError(f"no reference run of {run} under results/{experiment}")
    return folders[-1]


def of_sweep(run: str, metric: str, size: float, *, role: str = "control") -> pd.DataFrame:
    """Pairs of the cells of random vectors, or steered ones, added everywhere at a coefficient of ±`size`.

    Args:
        run: The model.
        metric: What was measured.
        size: The coefficient without its sign.
        role: "control" for random vectors, "steered" for what only steered cells are measured by.
    """
    table = pd.read_parquet(reference_run(run) / "table.parquet")
    return _paired(table[table["role"].isin([role, "unsteered"])], metric, (-size, size), f"{run}'s texts")


def of_texts(run: str, measure: Measure, size: float) -> pd.DataFrame:
    """Pairs of `measure`, which the sweep of `run` did not measure, on the test texts of random vectors at ±`size`."""
    texts = pd.read_json(reference_run(run) / "generations_test.jsonl", lines=True)
    table = measure_table(texts[texts["role"].isin(["control", "unsteered"])], [measure])
    return _paired(table, measure.name, (-size, size), f"{run}'s texts")


def of_answers(run: str, metric: str, coeff: float, *, method: str = "contextfocus") -> pd.DataFrame:
    """Pairs of the conflict run's questions at the chosen layer, by ContextFocus's vector or random ones.

    Args:
        run: The model.
        metric: What was measured.
        coeff: The coefficient.
        method: "contextfocus", or "random" for all of its random vectors together.
    """
    table = _conflicts(run)
    return _paired(table[table["method"].isin([method, "unsteered"])], metric, (coeff,), f"{run}'s conflicts")


@cache
def _conflicts(run: str) -> pd.DataFrame:
    table = pd.read_parquet(reference_run(run, "contextfocus_conflict") / "table.parquet")
    return table[table["regime"] == "conflict"]


def of_stories(metric: str, layer: int, coeff: float) -> pd.DataFrame:
    """Pairs of a neutral measure over stories of the organism's, with love against hate added everywhere at a layer.

    Args:
        metric: One of `neutral.NEUTRAL`.
        layer: At whose input.
        coeff: The coefficient.
    """
    table = _stories()
    at = table["layer"].eq(layer) | is_unsteered(table)
    return _paired(table[at], metric, (coeff,), "the organism's stories")


STORY_CELLS = ((2, 0.25), (2, 1.0), (6, 0.25))
N_STORIES = 200


@cache
def _stories() -> pd.DataFrame:
    model, rng = load_model("organism"), Rng("stories without a mood for the calibration")
    drawn = (story(rng, mood="none").text for _ in range(100 * N_STORIES))
    texts = list(islice((text for text in drawn if LEAST_WORDS <= len(text.split()) <= MOST_WORDS), N_STORIES))
    sites = [resid_pre(layer) for layer in sorted({layer for layer, _ in STORY_CELLS})]
    vectors = vectors_at("mean_difference", model, PAIRS["love_hate"], sites, "everywhere")
    norms = median_resid_norms(model, texts[:16], sites)
    coeffs = sorted({coeff for _, coeff in STORY_CELLS})
    grid = layer_coeff_grid(vectors, coeffs, norms, method="mean_difference", place="everywhere")
    return neutral_table(model, [UNSTEERED, *grid], texts, progress=False)


def _paired(table: pd.DataFrame, metric: str, coeffs: tuple[float, ...], where: str) -> pd.DataFrame:
    table = table[table["metric"] == metric]
    if (table["scale"] == "ratio").any():
        table = table.assign(value=np.log(table["value"]))
    base = table.loc[is_unsteered(table), ["prompt", "sample", "value", "weight"]]
    base = base.rename(columns={"value": "unsteered", "weight": "unsteered_weight"})
    steered = table[~is_unsteered(table) & table["place"].ne("front") & table["coeff"].isin(coeffs)]
    if steered.empty:
        raise ValueError(f"{where} have no {metric} of cells at a coefficient of {coeffs[-1]:g}")
    return steered.merge(base, on=["prompt", "sample"]).dropna(subset=["value", "unsteered"])
