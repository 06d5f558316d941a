"""What a sweep's sentences and tables say of costs that no budget held."""

from dataclasses import replace
from pathlib import Path

import pytest

from steering_lab.evaluation.inferring.selection import Selected
from steering_lab.runs import read_run
from steering_lab.study.sweep_findings import Result
from steering_lab.study.sweep_report import Told


@pytest.fixture(scope="module")
def told() -> Told:
    runs = (Path(__file__).parents[2] / "results" / "actadd_sweep").glob("*_SmolLM2*")
    run = min(runs)  # the kept one; a demo leaves younger ones beside it
    return Told(read_run(run))


@pytest.fixture(scope="module")
def chosen(told: Told) -> Result:
    return next(one for one in told.results if isinstance(one.cell, Selected))


def test_what_it_does_to_neutral_text_is_said_where_no_budget_held_it(chosen: Result) -> None:
    assert chosen.neutral is not None
    assert isinstance(chosen.cell, Selected)
    assert "on neutral text the vector changes the likeliest next token in " in chosen.unbudgeted()
    divergence = chosen.neutral[chosen.neutral["metric"] == "neutral_kl"]
    assert "on neutral text the vector moves the model by " in replace(chosen, neutral=divergence).unbudgeted()
    held = replace(chosen.cell, budgets={**chosen.cell.budgets, "neutral_kl": 1.0})
    assert replace(chosen, cell=held, neutral=divergence).unbudgeted() == ""


def test_every_cost_of_the_new_prompts_stands_in_a_table(told: Told) -> None:
    shown = " ".join(told.costs().columns)
    measured = set(told.confirmed["metric"]) - {told.metric}
    assert measured >= {"distinct_2", "repetition", "degenerate", "neutral_kl", "top1_agreement"}
    assert all(metric.replace("_", " ") in shown for metric in measured)
