"""The simulation of null grids: what it counts, and that its table is the page's."""

import numpy as np
import pytest

from benchmarks.calibration import PAGE
from benchmarks.null_grids import (
    CELLS,
    COEFFS,
    EFFECTS,
    MARKS,
    Grids,
    Shape,
    along_layers,
    counted,
    heavy,
    largest_error,
    normal,
    skewed,
    table,
)


def test_grids_are_as_large_as_the_default_sweep_and_unlike_each_other() -> None:
    vectors = along_layers(0.7)(3, np.random.default_rng(0))
    assert vectors.shape == (3, CELLS) == (3, 80)
    assert len({tuple(v) for v in vectors}) == 3


def test_a_vector_that_moves_three_layers_far_is_found_and_an_idle_one_is_not() -> None:
    row = counted(Grids("alike", along_layers(0.0)), draws=5, prompts=16, sets=10, seed=0)
    assert row["effect 8"] >= 0.9
    assert row["idle"] <= 0.1
    assert row["random"] <= 0.2


def test_the_largest_error_is_that_of_either_null() -> None:
    assert largest_error([{"idle": 0.02, "random": 0.01}, {"idle": 0.0, "random": 0.03}]) == 0.03


def test_the_pages_table_is_of_this_form() -> None:
    row = {"grid": "any", "draws": 5, "prompts": 16, "sets": 400, "apart": 0.01, "idle": 0.0, "random": 0.04}
    row |= {
        "idle differs": 0.9,
        "random differs": 1.0,
        **{f"effect {size}": 0.5 for size in EFFECTS},
        "effect 8 before": 0.6,
    }
    head = table([row]).splitlines()[0]
    page = PAGE.read_text(encoding="utf-8")
    assert head in page.split(MARKS[0])[1].split(MARKS[1])[0]
    assert (
        table([row]).splitlines()[2]
        == "| any | 5 | 16 | 400 | .900 | 1.000 | .010 | .000 | .040 | .500 | .500 | .500 | .500 (.600) |"
    )


@pytest.mark.parametrize(("shape", "spread"), [(normal, 1.0), (heavy, 2**0.5), (skewed, 1.0)])
def test_a_random_vectors_effect_spreads_as_its_directions_do_at_the_largest_coefficient(
    shape: Shape, spread: float
) -> None:
    drawn = along_layers(0.0, shape)(4000, np.random.default_rng(0)).reshape(4000, -1, len(COEFFS))[..., -1]
    assert drawn.std() == pytest.approx(spread, rel=0.05)  # t with 4 degrees of freedom has the variance 2
