"""Confirmation: what was chosen, beside what is left of it on prompts that played no part."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from steering_lab.evaluation.inferring.confirmation import confirm, verdict
from steering_lab.evaluation.inferring.selection import select
from steering_lab.evaluation.inferring.statistics import summarise
from tests.evaluation.summaries import CHOICE, GRID, MILD, UNSTEERED, cell
from tests.evaluation.tables import by_layer, stacked


def test_confirmation_shows_the_gap_and_whether_effect_and_budget_hold() -> None:
    held_out = pd.concat([UNSTEERED, cell(2, 2, (0.3, 0.1, 0.5), (1.38, 1.2, 1.5))])
    effect, cost = (row for _, row in confirm(select(GRID, **CHOICE), held_out).iterrows())
    assert (effect["role"], effect["chosen"], effect["held_out"], effect["holds"]) == ("effect", 0.5, 0.3, True)
    assert effect["gap"] == pytest.approx(-0.2)
    assert (cost["role"], cost["held_out_high"], cost["holds"]) == ("cost", 1.5, False)
    assert cost["gap"] == pytest.approx(1.38 / 1.15)


def test_an_effect_that_turned_round_or_may_be_nothing_does_not_hold() -> None:
    chosen = select(GRID, **CHOICE)
    for interval in ((-0.3, -0.4, -0.2), (0.1, -0.1, 0.3)):
        assert not confirm(chosen, cell(2, 2, interval, (1, 1, 1)))["holds"].iloc[0]


@pytest.mark.parametrize(
    ("effect", "cost", "band", "said"),
    [
        ((0.3, 0.1, 0.5), (1.0, 0.9, 1.1), (-0.1, 0.1), "held"),
        ((0.3, 0.1, 0.5), (1.0, 0.9, 1.1), (np.nan, np.nan), "held"),
        ((0.3, 0.1, 0.5), (1.38, 1.19, 1.5), (-0.1, 0.1),
         "not surely within its budget: perplexity ×1.38, up to ×1.5 (budget ×1.2)"),
        ((0.3, 0.1, 0.5), (1.1, 1.0, 1.3), (-0.1, 0.1),
         "not surely within its budget: perplexity ×1.1, up to ×1.3 (budget ×1.2)"),
        ((0.3, 0.1, 0.5), (1.38, 1.25, 1.5), (-0.1, 0.1),
         "broke its budget: perplexity ×1.38, lower end ×1.25 (budget ×1.2)"),
        ((0.3, 0.1, 0.5), (1.38, np.nan, np.nan), (-0.1, 0.1),
         "broke its budget: perplexity ×1.38, no interval (budget ×1.2)"),
        ((0.3, 0.1, 0.5), (1.0, 0.9, 1.1), (0.4, 0.6), "random vectors do more"),
        ((0.3, 0.1, 0.5), (1.0, 0.9, 1.1), (-0.4, 0.4), "shrank into the band of random vectors"),
        ((0.3, -0.1, 0.5), (1.0, 0.9, 1.1), (-0.1, 0.1), "effect not confirmed"),
        ((-0.3, -0.4, -0.2), (1.0, 0.9, 1.1), (-0.1, 0.1), "effect not confirmed"),
        (
            (0.1, -0.1, 0.3), (1.0, np.nan, np.nan), (-0.2, 0.2),
            "effect not confirmed; shrank into the band of random vectors; not surely within its budget: perplexity ×1,"
            " no interval (budget ×1.2)",
        ),
    ],
)  # fmt: skip
def test_a_verdict_says_in_plain_words_what_held_and_what_did_not(
    effect: tuple[float, float, float], cost: tuple[float, float, float], band: tuple[float, float], said: str
) -> None:
    held_out = cell(2, 2, effect, cost).assign(control_low=band[0], control_high=band[1])
    assert verdict(confirm(select(GRID, **CHOICE), held_out)) == (said == "held", said)


def test_an_effect_that_was_chosen_downward_is_judged_on_its_own_side_of_the_band() -> None:
    down = cell(2, 2, (-0.5, -0.6, -0.4), (1.0, 0.9, 1.1))
    chosen = select(pd.concat([UNSTEERED, down]), direction=-1, **CHOICE)
    for band, held in (((-0.1, 0.1), True), ((-0.9, -0.7), False)):
        assert verdict(confirm(chosen, down.assign(control_low=band[0], control_high=band[1]))).held == held


def test_text_that_has_broken_down_does_not_hold_whatever_it_costs() -> None:
    held_out = cell(2, 2, (0.3, 0.1, 0.5), (1.0, 0.9, 1.1), degenerate=True)
    assert verdict(confirm(select(GRID, **CHOICE), held_out)) == (False, "its text has broken down")


def test_a_held_out_summary_without_the_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="no sentiment of actadd, front, layer 2, coefficient 2"):
        confirm(select(GRID, **CHOICE), MILD)


def test_the_winners_curse_is_seen_in_the_gap() -> None:
    rng = np.random.default_rng(0)
    gaps = []
    for _ in range(20):
        summaries = []
        for _part in ("validation", "held out"):
            tables = (
                by_layer("unsteered", rng.normal(size=(1, 8, 1))),
                by_layer("a", rng.normal(0.2, 1, size=(15, 8, 1))),
            )
            costs = [
                table.assign(metric="perplexity", scale="ratio", value=np.exp(rng.normal(0, 0.01, len(table))))
                for table in tables
            ]
            summaries.append(summarise(stacked(*tables, *costs), n_boot=100))
        gaps.append(confirm(select(summaries[0], **CHOICE), summaries[1])["gap"].iloc[0])
    assert np.mean(gaps) < -0.2  # every cell's true effect is the same: the choice alone made it look larger


def test_an_effect_is_asked_for_on_the_side_that_was_wanted_though_it_was_chosen_on_the_other() -> None:
    fell = cell(2, 2, (-0.1, -0.5, 0.3), (1.0, 0.9, 1.1))
    chosen = select(pd.concat([UNSTEERED, fell]), **CHOICE)
    rose = cell(2, 2, (0.3, 0.1, 0.5), (1.0, 0.9, 1.1)).assign(control_low=-0.1, control_high=0.1)
    assert verdict(confirm(chosen, rose)).held
    unsaid = replace(chosen, direction=None)  # chosen by somebody else: the side that it was on
    assert verdict(confirm(unsaid, rose)).said == "effect not confirmed"
    assert verdict(confirm(unsaid, fell.assign(effect=-0.3, low=-0.4, high=-0.2))).held


@pytest.mark.parametrize(
    ("then", "words"), [(0.05, "is in"), (0.3, "shrank into"), (-0.05, "is in"), (-0.3, "shrank into")]
)
def test_an_effect_shrank_only_where_it_was_larger_when_it_was_chosen(then: float, words: str) -> None:
    chosen = select(pd.concat([UNSTEERED, cell(2, 2, (then, then, then), (1.0, 0.9, 1.1))]), **CHOICE)
    now = cell(2, 2, (0.2, 0.1, 0.3), (1.0, 0.9, 1.1)).assign(control_low=-0.4, control_high=0.4)
    assert verdict(confirm(chosen, now)).said == f"{words} the band of random vectors"
