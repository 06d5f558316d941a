"""What a cell says: each state by its conditions, none for what is not steered, and a run judged on itself."""

from typing import get_args

import numpy as np
import pandas as pd
import pytest

from steering_lab.evaluation.inferring.states import judge_draws, states
from steering_lab.tables import MEANING, State
from tests.evaluation.summaries import cell
from tests.evaluation.tables import noise, observed, shifted, stacked

BUDGETS = {"perplexity": 1.2}
SOUND = {"p_family": 0.04, "p_random": 0.04}


def said(cost: float = 1.1, *, degenerate: bool = False, role: str = "steered", **p: float) -> object:
    """The state of one cell whose cost has this upper end."""
    summary = cell(2, 1, (0.3, 0.2, 0.4), (1.0, 0.9, cost), degenerate=degenerate, role=role).assign(**{**SOUND, **p})
    return states(summary, "sentiment", BUDGETS).item()


def test_a_cell_works_if_both_p_hold_and_every_cost_is_within_its_budget() -> None:
    assert said() == "works"
    assert said(p_family=0.05, p_random=0.05, cost=1.2) == "works"


def test_a_cost_whose_interval_reaches_beyond_its_budget_or_is_unknown_and_broken_text_are_over_budget() -> None:
    assert said(cost=1.21) == said(cost=np.nan) == said(degenerate=True) == "works, over budget"


def test_a_cell_that_random_vectors_reach_moves_as_they_do() -> None:
    assert said(p_random=0.051) == said(p_random=0.5, cost=9) == "moves, not told from random vectors"


def test_of_a_cell_without_random_vectors_no_more_is_said_than_that_it_moves() -> None:
    assert said(p_random=np.nan) == "moves"


def test_what_does_not_differ_from_unsteered_shows_nothing_whatever_random_vectors_do() -> None:
    assert said(p_family=0.06) == said(p_family=np.nan, p_random=0.0) == "nothing shown"


def test_the_unsteered_model_and_baselines_have_no_state() -> None:
    assert pd.isna(said(role="unsteered"))
    assert pd.isna(said(role="baseline"))


def test_without_budgets_nothing_is_over_budget_and_states_are_those_of_the_metrics_rows_only() -> None:
    summary = cell(2, 1, (0.3, 0.2, 0.4), (9.0, 9.0, 9.0)).assign(**SOUND)
    found = states(summary, "sentiment", {})
    assert found.to_dict() == {0: "works"}


def test_a_metric_that_the_summary_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no metric 'humour'; the summary has perplexity, sentiment"):
        states(cell(2, 1, (0, 0, 0), (1, 1, 1)).assign(**SOUND), "humour", {})


def test_every_state_has_its_sentence() -> None:
    assert set(MEANING) == set(get_args(State))


def measured(moved: float) -> pd.DataFrame:
    """An unsteered model and five random vectors at ten layers; the first vector moves layer 3 by so much."""
    rng = np.random.default_rng(0)
    base = noise(rng, 12, 1)
    draws = [
        observed(
            "random",
            {p: [v[0] + by + rng.normal(0, 0.3)] for p, v in shifted(base, rng.normal(0, 0.2)).items()},
            layer=layer,
            coeff=1,
            draw=draw,
        )
        for draw in range(5)
        for layer in range(10)
        for by in [moved if (draw, layer) == (0, 3) else 0.0]
    ]
    return stacked(observed("unsteered", base), *draws)


def test_a_random_vector_that_does_what_no_other_does_is_counted() -> None:
    assert judge_draws(measured(9.0), "sentiment", {}, method="actadd", place="front") == (1, 5)
    assert judge_draws(measured(0.0), "sentiment", {}, method="actadd", place="front") == (0, 5)


def test_three_random_vectors_cannot_judge_each_other() -> None:
    few = measured(0.0).query("draw < 3 or role == 'unsteered'")
    with pytest.raises(ValueError, match="3 random vectors beside actadd: each is judged by at least 3 others"):
        judge_draws(few, "sentiment", {}, method="actadd", place="front")
