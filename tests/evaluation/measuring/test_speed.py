"""Costs are taken in turn, in ratios within a round; what nobody counts is NaN."""

import numpy as np
import pytest

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.evaluation.measuring.speed import decoding_costs, interleaved, median_interval
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.writing import Asked
from steering_lab.methods.cad import CAD
from steering_lab.organism.wording import ORGANISM
from tests.tiny_models import hooked, n_hooks

ROWS = [ConflictQA("Who sings?", f"The baker of {n} sings.", ("baker",), ("you",), group=n) for n in ("Rome", "Ulm")]


def test_calls_take_turns_and_the_first_round_only_warms_up() -> None:
    order: list[str] = []
    seconds = interleaved({name: lambda name=name: order.append(name) for name in "abc"}, rounds=2)
    assert "".join(order) == "cbaabccba"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2, "c": 2}
    assert all(time >= 0 for times in seconds.values() for time in times)
    with pytest.raises(ValueError, match="nothing to time"):
        interleaved({}, rounds=2)


def test_seconds_are_those_of_the_clock_that_is_given() -> None:
    ticks = iter(range(100))
    assert interleaved({"a": lambda: next(ticks)}, rounds=3, clock=lambda: float(next(ticks))) == {"a": [2.0] * 3}


def test_a_ratio_has_an_interval_from_six_rounds_on_whose_ends_are_two_of_the_rounds() -> None:
    assert np.isnan(median_interval([1.0, 2.0, 3.0, 4.0, 5.0])).all()
    assert median_interval([3.0, 1.0, 2.0, 6.0, 5.0, 4.0]) == (1, 6)
    assert median_interval([*map(float, range(8)), 1000.0]) == (1, 7)  # a round that took ever so long is one round
    drawn = np.random.default_rng(0).lognormal(size=(2000, 9))
    covered = [low <= 1 <= high for low, high in map(median_interval, drawn.tolist())]
    assert np.mean(covered) == pytest.approx(0.961, abs=0.015)


def test_a_rule_takes_two_passes_a_token_and_more_time_and_a_cpu_counts_no_memory() -> None:
    model = hooked("llama")
    plain = Condition("unsteered", write=Asked(ORGANISM))
    cad = Condition("CAD", write=Asked(ORGANISM), rule=CAD(), without_context=Asked(ORGANISM, "closed_book"))
    before = n_hooks(model)
    table = decoding_costs([(model, plain), (model, cad)], ROWS, max_new_tokens=3, rounds=6).set_index("condition")
    assert table["forwards_per_token"].tolist() == [1, 2]
    assert table.loc["unsteered", "tokens_per_second_ratio"] == 1
    assert 0 < table.loc["CAD", "tokens_per_second_ratio"] < 1
    ends = table[["tokens_per_second_ratio_low", "tokens_per_second_ratio", "tokens_per_second_ratio_high"]]
    assert ends.loc["unsteered"].tolist() == [1, 1, 1]
    assert ends.loc["CAD"].is_monotonic_increasing
    assert np.isnan(table["peak_memory"]).all()
    assert n_hooks(model) == before
