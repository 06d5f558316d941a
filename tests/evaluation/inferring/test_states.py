"""What a cell says: each state by its conditions, none for what is not steered, and agreement with the verdict."""

from typing import get_args

import numpy as np
import pandas as pd
import pytest

from steering_lab.evaluation.inferring.confirmation import confirm, verdict
from steering_lab.evaluation.inferring.selection import Selected
from steering_lab.evaluation.inferring.states import states
from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.tables import MEANING, State
from tests.evaluation.summaries import cell
from tests.evaluation.tables import noise, observed, stacked

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


@pytest.mark.parametrize(("draws", "state", "word"), [
    (2, "moves", "held"),
    (10, "moves, not told from random vectors", "not told from random vectors"),
    (20, "works", "held"),
])  # fmt: skip
def test_where_random_vectors_all_do_the_same_state_and_verdict_agree(draws: int, state: str, word: str) -> None:
    rng = np.random.default_rng(0)
    base = noise(rng, 12, 1)
    own = {p: [v[0] + 1 + rng.normal(0, 0.1)] for p, v in base.items()}
    still = [observed("random", base, layer=2, coeff=1, draw=draw) for draw in range(draws)]
    summary = summarise(
        stacked(observed("unsteered", base), observed("actadd", own, layer=2, coeff=1), *still), searched=False
    )
    steered = summary[summary["role"] == "steered"]
    assert states(summary, "sentiment", {})[steered.index].item() == state
    chosen = Selected(steered.iloc[0], {}, {})
    assert verdict(confirm(chosen, summary)).said == word
    assert MEANING[state].count("fewer than three") == (draws < 3)


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
