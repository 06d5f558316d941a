"""The calibration at its smallest: what it found stays true, and its table is written between its marks."""

from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from benchmarks.calibration import BEFORE, CHOSEN, END, PAGE, START, simulate, table, worst, write_between
from benchmarks.populations import (
    Population,
    answers,
    exponential,
    judged,
    neutral_texts,
    normal,
    shares,
    texts,
)
from steering_lab.evaluation.measuring.answer_measures import AnswerMeasure, Reading, RightAnswer
from steering_lab.evaluation.measuring.first_step import FIRST_STEP
from steering_lab.evaluation.measuring.named_measures import LABELS, TOPIC_MEASURES, named_measure
from steering_lab.evaluation.measuring.neutral import DECLARED
from steering_lab.numerics.kinds import Kind
from steering_lab.tables import described

QUICK = {"sets": 1000, "n_boot": 400, "seed": 1}
# Three standard errors of a share of .93 over 1,000 sets.
NOISE = 3 * (0.93 * 0.07 / 1000) ** 0.5


@pytest.fixture(scope="module")
def populations() -> list[Population]:
    """All but the stories, which the organism would read for minutes."""
    return [*texts(), *neutral_texts(), *answers(), *judged()]


def covered(population: Population, n: int, samples: int, method: str) -> float:
    return float(simulate(population, n, samples, methods=[method], **QUICK)["covered"].iloc[0])


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("n", [8, 37])
@pytest.mark.parametrize(
    "population",
    [
        shares(1.00, 0.97),
        shares(0.97, 0.92),
        shares(0.97, 0.92, alike=0.95),
        shares(0.36, 0.46),
        Population("normal", Kind.SYMMETRIC, normal, 0.0),
        Population("exponential", Kind.SKEWED, exponential, 1.0),
    ],
    ids=lambda population: population.name,
)
def test_the_chosen_interval_covers_at_least_93_times_in_a_hundred(
    population: Population, n: int, samples: int
) -> None:
    assert covered(population, n, samples, CHOSEN[population.kind]) >= 0.93 - NOISE


def test_the_percentile_bootstrap_misses_at_the_ceiling() -> None:
    assert covered(shares(1.00, 0.97), 8, 1, BEFORE) < 0.3


def test_every_measure_of_the_lab_declares_a_kind_that_the_calibration_covers_and_the_page_names(
    populations: list[Population],
) -> None:
    calibrated = {population.kind for population in populations}
    assert calibrated == set(Kind)
    page = PAGE.read_text(encoding="utf-8").split("### Do the intervals hold?")[1]
    row = {kind: next(line for line in page.splitlines() if line.startswith(f"| {kind} |")) for kind in Kind}
    named = {name: named_measure(name) for name in LABELS}
    named |= {name: named_measure(f"{name}:weddings") for name in TOPIC_MEASURES}
    kinds = {name: measure.kind for name, measure in named.items()} | {
        name: kind for name, (kind, _) in {**FIRST_STEP, **DECLARED}.items()
    }
    for name, kind in kinds.items():
        assert f"`{name}`" in row[kind], f"{name} is {kind}: the table of kinds in docs/measures.md does not say so"
    for measure in (*named.values(), RightAnswer(), *(AnswerMeasure(reading) for reading in get_args(Reading))):
        described(measure.name, measure.scale, measure.kind, measure.bounds)  # refuses what cannot be


def test_populations_of_texts_have_the_kind_of_their_measure(populations: list[Population]) -> None:
    kinds = {"VADER": "vader", "valence balance": "valence_balance", "log perplexity": "perplexity",
             "degenerate": "degenerate", "repetition": "repetition", "distinct-2": "distinct_2",
             "length": "length", "topic words": "topic:weddings",
             "topic rate": "topic_rate:weddings"}  # fmt: skip
    for start, name in kinds.items():
        own = [population for population in populations if population.name.startswith(start)]
        assert own, name
        assert {population.kind for population in own} == {named_measure(name).kind}


def test_every_population_draws_effects_around_its_truth(populations: list[Population]) -> None:
    for population in populations:
        effects = population.draw(200, population.samples[-1], 400, np.random.default_rng(0)).mean(axis=0)
        assert abs(effects.mean() - population.truth) < 4 * effects.std() / 400**0.5, population.name


def test_the_table_has_a_row_per_measure_and_samples_and_is_written_between_its_marks(tmp_path: Path) -> None:
    small = {"sets": 50, "n_boot": 50, "seed": 0}
    found = pd.concat([simulate(shares(0.36, 0.46), n, samples, **small) for n in (8, 16) for samples in (1, 4)])
    text = table(found)
    assert [line.split(" | ")[:2] for line in text.splitlines()[2:]] == [
        ["| share 0.36 → 0.46", "1"],
        ["| share 0.36 → 0.46", "4"],
    ]
    assert "**two added**" in worst(found)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{START}\nold\n{END}\nafter\n", encoding="utf-8")
    write_between(page, text)
    assert page.read_text(encoding="utf-8") == f"before\n{START}\n\n{text}\n\n{END}\nafter\n"


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md has no lines"):
        write_between(page, "text")
