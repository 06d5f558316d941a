"""Costs are taken in turn, in ratios within a round; what nobody counts is NaN."""

import numpy as np
import pytest

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.evaluation.measuring.speed import decoding_costs, interleaved, median_ends
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


def test_a_rule_takes_two_passes_a_token_and_more_time_and_a_cpu_counts_no_memory() -> None:
    model = hooked("llama")
    plain = Condition("unsteered", write=Asked(ORGANISM))
    cad = Condition("CAD", write=Asked(ORGANISM), rule=CAD(), without_context=Asked(ORGANISM, "closed_book"))
    before = n_hooks(model)
    table = decoding_costs([(model, plain), (model, cad)], ROWS, max_new_tokens=3, rounds=3).set_index("condition")
    assert table["forwards_per_token"].tolist() == [1, 2]
    assert table.loc["unsteered", "tokens_per_second_ratio"] == 1
    assert 0 < table.loc["CAD", "tokens_per_second_ratio"] < 1
    assert np.isnan(table["peak_memory"]).all()
    assert n_hooks(model) == before


def test_the_interval_of_a_median_is_two_of_its_own_values() -> None:
    """Of nine values the second and the eighth hold the median in 1 − 2·10/512 of all cases, of five none do."""
    values = np.array([[5.0, 1, 9, 3, 7, 2, 8, 4, 6]]).T
    assert [float(end[0]) for end in median_ends(values)] == [2.0, 8.0]
    assert np.isnan(median_ends(values[:5])).all()
    assert [float(end[0]) for end in median_ends(values[:6])] == [1.0, 9.0]


def test_the_interval_of_a_median_covers_as_often_as_it_says() -> None:
    drawn = np.random.default_rng(0).exponential(size=(9, 4000))
    low, high = median_ends(drawn)
    assert 0.95 <= np.mean((low <= np.log(2)) & (np.log(2) <= high)) < 0.98
