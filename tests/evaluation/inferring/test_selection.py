"""Selection keeps to its budget, prefers sure effects, refuses loudly, and is re-examined on held-out rows."""

import math
from dataclasses import asdict
from itertools import product

import numpy as np
import pandas as pd
import pytest

from steering_lab.data.lexicons import Lexicon
from steering_lab.evaluation.inferring.budgets import over_budget
from steering_lab.evaluation.inferring.selection import select
from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.evaluation.measuring.measures import Degenerate, Perplexity, measure_table, sentiment
from tests.evaluation.summaries import CHOICE, COSTLY, GRID, MILD, NOISY, STRONG, UNSTEERED, cell
from tests.evaluation.tables import factors


def test_the_surest_effect_within_the_budget_is_chosen() -> None:
    chosen = select(GRID, **CHOICE)
    assert (chosen.method, chosen.layer, chosen.coeff) == ("actadd", 2, 2)
    assert (chosen.effect["effect"], chosen.costs["perplexity"]["high"]) == (0.5, 1.19)
    assert chosen.excludes_no_effect
    assert str(chosen) == "actadd, front, layer 2, coefficient 2"


def test_the_upper_end_of_the_cost_decides_not_its_estimate() -> None:
    assert select(GRID, **{**CHOICE, "budgets": {"perplexity": 1.4}}).coeff == 4
    assert select(GRID, **{**CHOICE, "budgets": {"perplexity": 1.1}}).coeff == 1


def test_every_budget_counts_and_the_nearest_miss_breaks_the_fewest() -> None:
    lost = [(MILD, 0.01), (STRONG, 0.05), (NOISY, 0.09), (COSTLY, 0.0)]
    agreement = [c.iloc[[0]].assign(metric="agreement_lost", effect=up / 2, low=0.0, high=up) for c, up in lost]
    grid = pd.concat([GRID, *agreement], ignore_index=True)
    budgets = {"perplexity": 1.2, "agreement_lost": 0.03}
    chosen = select(grid, effect="sentiment", budgets=budgets)
    assert (chosen.coeff, chosen.costs["agreement_lost"]["high"]) == (1, 0.01)
    broken = grid[over_budget(grid, budgets) & (grid["metric"] == "sentiment")]
    assert list(zip(broken["layer"], broken["coeff"], strict=True))[1:] == [(2, 2), (3, 1), (2, 4)]
    refusal = (
        r"agreement_lost within -1 \(upper ends judge\); the nearest are actadd, front, layer 2, coefficient 1:"
        r" agreement lost reaches \+0\.01 \(budget −1\); actadd, front, layer 3, coefficient 1: .* coefficient 2:"
    )
    with pytest.raises(ValueError, match=refusal):
        select(grid, effect="sentiment", budgets=budgets | {"agreement_lost": -1})
    with pytest.raises(ValueError, match="at least one cost"):
        select(grid, effect="sentiment", budgets={})


def test_estimates_alone_choose_the_largest_effect_at_the_nominal_cost() -> None:
    """NOISY and COSTLY have the same effect, and COSTLY's cost is above the budget only at its interval's upper end."""
    chosen = select(GRID, **CHOICE, judged_by="estimate")
    assert (chosen.layer, chosen.coeff) == (3, 1)
    without = GRID[GRID["layer"] != 3]
    assert select(without, **CHOICE, judged_by="estimate").coeff == 4
    assert not over_budget(GRID, CHOICE["budgets"], "estimate").any()


def test_lowering_is_ranked_by_the_upper_end() -> None:
    down = pd.concat([cell(0, 1, (-0.5, -1.2, 0.1), (1, 1, 1)), cell(1, 1, (-0.3, -0.4, -0.2), (1, 1, 1))])
    assert select(down, **CHOICE, direction=-1).layer == 1


def test_unsteered_prompted_random_and_degenerate_cells_are_never_chosen() -> None:
    others = [
        cell(float("nan"), float("nan"), (2, 2, 2), (1, 1, 1), method="prompting Love", role="baseline"),
        cell(2, 3, (2, 2, 2), (1, 1, 1), method="random", role="control"),
        cell(2, 3, (2, 2, 2), (1, 1, 1), degenerate=True),
        cell(2, 0, (2, 2, 2), (1, 1, 1)),
    ]
    assert select(pd.concat([GRID, *others]), **CHOICE).coeff == 2
    with pytest.raises(ValueError, match="no cell to choose from"):
        select(pd.concat([UNSTEERED, *others]), **CHOICE)


def test_a_cell_of_unknown_cost_is_not_affordable() -> None:
    unknown = cell(2, 2, (0.5, 0.4, 0.6), (1.0, np.nan, np.nan))
    with pytest.raises(ValueError, match="no cell to choose from"):
        select(unknown, **CHOICE)
    assert select(pd.concat([unknown, MILD]), **CHOICE).coeff == 1


def test_a_refusal_names_the_three_nearest_cells_with_the_budget_that_each_breaks_and_by_how_much() -> None:
    with pytest.raises(ValueError, match=r"perplexity within 1\.01") as refused:
        select(GRID, **{**CHOICE, "budgets": {"perplexity": 1.01}})
    named = [
        f"actadd, front, layer {layer}, coefficient {coeff}: perplexity reaches ×{high} (budget ×1.01)"
        for layer, coeff, high in ((2, 1, 1.1), (3, 1, 1.15), (2, 2, 1.19))
    ]
    assert f"the nearest are {'; '.join(named)}. Raise the budget" in str(refused.value)
    assert "coefficient 4" not in str(refused.value)


def test_only_an_effect_whose_interval_leaves_out_nothing_is_sure() -> None:
    unsure = pd.concat([UNSTEERED, cell(1, 1, (0.2, -0.1, 0.5), (1, 1, 1)), cell(2, 1, (0.1, 0.0, 0.2), (1, 1, 1))])
    assert select(unsure, **CHOICE).layer == 2
    with pytest.raises(
        ValueError, match=r"surely raises sentiment; the nearest are .*layer 2.*: 0 to \+0\.2; .*layer 1"
    ):
        select(unsure, **CHOICE, sure=True)
    assert select(GRID, **CHOICE, sure=True).coeff == 2
    down = pd.concat([cell(0, 1, (-0.3, -0.4, -0.2), (1, 1, 1)), cell(1, 1, (0.3, 0.2, 0.4), (1, 1, 1))])
    assert select(down, **CHOICE, direction=-1, sure=True).layer == 0


def test_why_the_chosen_cell_beats_a_larger_one_is_said() -> None:
    without = GRID[GRID["layer"] != 3]
    said = "layer 2, coefficient 4 raises it more (+0.9), but its perplexity reaches ×1.4 (budget ×1.2)"
    assert select(without, **CHOICE).instead_of == said
    noisy = pd.concat([MILD, NOISY])
    said = (
        "layer 3, coefficient 1 raises it more (+0.9), but it is less sure: its lower end is +0.1, that of the chosen"
        " one +0.2"
    )
    assert select(noisy, **CHOICE).instead_of == said
    broken = pd.concat([MILD, cell(2, 8, (0.9, 0.8, 1.0), (1, 1, 1), degenerate=True)])
    assert select(broken, **CHOICE).instead_of.endswith("but its text has broken down")
    assert select(pd.concat([MILD, cell(2, 8, (0.2, 0.1, 0.3), (1, 1, 1))]), **CHOICE).instead_of == ""


@pytest.mark.parametrize("seed", range(5))
def test_ties_go_to_the_smaller_cost_then_the_smaller_coefficient_then_the_earlier_layer(seed: int) -> None:
    same = (0.3, 0.2, 0.4)
    cells = [cell(0, 1, same, (1, 1, 1.1))]
    cells += [cell(layer, c, same, (1, 1, 1.05)) for layer, c in ((4, 2), (3, -2), (3, 2), (2, 3))]
    chosen = select(pd.concat(cells).sample(frac=1, random_state=seed), **CHOICE)
    assert (chosen.layer, chosen.coeff) == (3, -2)


def test_methods_and_places_narrow_the_choice() -> None:
    grid = pd.concat(
        [
            GRID,
            cell(5, 1, (0.1, 0.05, 0.2), (1, 1, 1), method="mean_difference"),
            cell(6, 1, (0.1, 0.05, 0.2), (1, 1, 1), place="everywhere"),
        ]
    )
    assert select(grid, **CHOICE, methods=["mean_difference"]).layer == 5
    chosen = select(grid, **CHOICE, places=["everywhere"])
    assert (chosen.method, chosen.place, chosen.layer) == ("actadd", "everywhere", 6)
    with pytest.raises(ValueError, match="no method caa"):
        select(grid, **CHOICE, methods=["caa"])
    with pytest.raises(ValueError, match="no place generated"):
        select(grid, **CHOICE, places=["generated"])


def test_unknown_metrics_and_directions_are_refused() -> None:
    with pytest.raises(ValueError, match="no metric 'kl'; the summary has perplexity, sentiment"):
        select(GRID, effect="sentiment", budgets={"kl": 1.2})
    with pytest.raises(ValueError, match="direction is 1"):
        select(GRID, **CHOICE, direction=2)


def test_generations_become_a_chosen_cell_with_its_control() -> None:
    moods = {"unsteered": "good bad", "random": "bad good", "actadd": "good good"}
    blocks = []
    for method, text in moods.items():
        layers, coeffs = ((float("nan"),), (0.0,)) if method == "unsteered" else ((0.0, 1.0), (1.0, 2.0))
        draws = (0.0, 1.0, 2.0) if method == "random" else (float("nan"),)
        for layer, coeff, draw, i, sample in product(layers, coeffs, draws, range(8), [0, 1]):
            loss = 4.0 if method == "actadd" and coeff == 2 else 2.0
            prompt, own = f"p{i}", f"{text} bad" if method == "unsteered" and i % 2 else text
            loss += 0.01 * i if method == "actadd" else 0
            cell_name = f"{method} {layer} {coeff} {draw}"
            facts = asdict(factors(method, layer=layer, coeff=coeff, draw=draw)) | {"condition": cell_name}
            blocks.append(facts | {"prompt": prompt, "sample": sample, "text": own, "n_tokens": 2,
                                   "log_prob_unsteered": -loss})  # fmt: skip
    generations = pd.DataFrame(blocks)
    measures = [sentiment(Lexicon(frozenset({"good"}), frozenset({"bad"}))), Perplexity(), Degenerate()]
    chosen = select(summarise(measure_table(generations, measures)), **CHOICE)
    assert (chosen.method, chosen.layer, chosen.coeff) == ("actadd", 0, 1)  # coefficient 2 costs a ratio of e
    assert chosen.effect[["value", "effect"]].tolist() == pytest.approx([1, 7 / 6])  # 1 or 4 / 3, prompt by prompt
    assert 1 < chosen.effect["low"] < 7 / 6 < chosen.effect["high"] < 4 / 3
    assert chosen.effect[["control_low", "control_high", "n_draws"]].tolist() == pytest.approx([1 / 6, 1 / 6, 3])
    assert (chosen.effect["n_prompts"], chosen.effect["n"]) == (8, 16)
    assert chosen.costs["perplexity"]["effect"] == pytest.approx(math.exp(0.035 / 2))
