"""Agreement of halves, against pairs whose common direction and noise are known."""

import math

import numpy as np
import pytest
import torch

from steering_lab.analysis.geometry import random_cosine
from steering_lab.analysis.split_half import agreement, split_half
from steering_lab.data.contrast_lists import ContrastLists
from steering_lab.data.contrast_pairs import PAIRS, ContrastPair
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.hook_points import resid_post, resid_pre
from tests.tiny_models import hooked


def differences(n: int, d_model: int, signal: float, seed: int) -> torch.Tensor:
    """`signal` along the first axis plus noise of total variance 1."""
    noise = torch.randn(n, d_model, generator=torch.Generator().manual_seed(seed)) / math.sqrt(d_model)
    noise[:, 0] += signal
    return noise


def test_two_pairs_agree_by_their_cosine() -> None:
    found = agreement(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), 5, seed=0)
    assert found["cosine"] == pytest.approx(math.sqrt(0.5))
    assert found["low"] == found["high"] == pytest.approx(found["cosine"])
    assert found["full_length"] == pytest.approx(2 * math.sqrt(0.5) / (1 + math.sqrt(0.5)))


def test_equal_pairs_agree_wholly() -> None:
    found = agreement(torch.ones(6, 4), 20, seed=0)
    assert found["cosine"] == pytest.approx(1)
    assert found["full_length"] == pytest.approx(1)


@pytest.mark.parametrize("n", [12, 13])
def test_the_full_length_estimate_is_the_cosine_of_vectors_from_as_many_other_pairs(n: int) -> None:
    estimates, truth = [], []
    for seed in range(60):
        here, there = differences(n, 400, 0.3, seed), differences(n, 400, 0.3, 1000 + seed)
        estimates.append(agreement(here, 40, seed)["full_length"])
        truth.append(float(torch.cosine_similarity(here.mean(0), there.mean(0), dim=0)))
    expected = 0.09 / (0.09 + 1 / n)
    assert np.mean(truth) == pytest.approx(expected, abs=0.02)
    assert np.mean(estimates) == pytest.approx(expected, abs=0.03)


def test_without_a_common_direction_halves_agree_as_flipped_ones_do() -> None:
    inside = 0
    for seed in range(40):
        found = agreement(differences(20, 64, 0.0, seed), 200, seed)
        inside += found["flipped_low"] <= found["cosine"] <= found["flipped_high"]
    assert inside >= 36
    found = agreement(differences(20, 64, 1.0, 0), 200, 0)
    assert found["low"] > found["flipped_high"] > 0 > found["flipped_low"]


def test_halves_that_do_not_agree_have_no_full_length() -> None:
    opposed = torch.tensor([[1.0, 0.0], [-1.0, 0.1]])
    assert math.isnan(agreement(opposed, 5, seed=0)["full_length"])


def test_a_table_row_per_site_made_of_the_differences_of_that_site() -> None:
    model, sites = hooked("gpt2"), [resid_pre(0), resid_post(0), resid_post(2)]
    pairs = PAIRS["love_hate_sentences"]
    table = split_half(model, pairs, sites, n_splits=30, seed=3)
    assert table[["layer", "stream"]].to_numpy().tolist() == [[s.layer, s.stream] for s in sites]
    assert ((table["low"] <= table["cosine"]) & (table["cosine"] <= table["high"])).all()
    assert (table["random"] == random_cosine(32)).all()
    assert (table["n_pairs"] == 12).all()
    again = split_half(model, pairs, sites[::-1], n_splits=30, seed=3)
    assert table.equals(again.iloc[::-1].reset_index(drop=True))


def test_two_pairs_have_the_split_half_cosine_that_their_vector_carries() -> None:
    model, site, pairs = hooked("gpt2"), resid_pre(1), PAIRS["love_hate_sentences"][:2]
    carried = mean_difference_vectors(model, pairs, [site])[site].source.details["split_half_cosine"]
    assert split_half(model, pairs, [site], n_splits=4)["cosine"][0] == pytest.approx(carried, abs=1e-4)


def test_one_pair_is_refused_and_pairs_that_do_not_differ_are_missing() -> None:
    model = hooked("gpt2")
    with pytest.raises(ValueError, match="1 pairs cannot be split"):
        split_half(model, [ContrastPair("a", "b")], [resid_pre(1)])
    still = [ContrastPair("a you", "e you"), ContrastPair("i you", "o you")]
    assert split_half(model, still, [resid_pre(0)], n_splits=4)["cosine"].isna().all()


def test_two_lists_have_no_pairs_to_halve() -> None:
    with pytest.raises(ValueError, match="split_half compares the differences of pairs, and two lists"):
        split_half(hooked("gpt2"), ContrastLists(("a", "b"), ("c",)), [resid_pre(1)])
