"""Each number stands beside its null: what the pairs share is seen, and exchanged sides are not mistaken for it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from steering_lab.analysis.split_half import random_halves, split_half
from steering_lab.analysis.steerability import (
    _statistics,
    d_primes,
    mean_cosines,
    products,
    split_halves,
    steerability,
)
from steering_lab.data.contrast_lists import ContrastLists
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.reading import read_stream
from tests.tiny_models import hooked

N, WIDTH = 9, 12
ONES = np.ones((1, N))
PAIRS = [ContrastPair(f"I {w} the sea", f"I hate the {w}") for w in ("love", "joy", "night", "be", "to", "not")]


@pytest.fixture(scope="module")
def model() -> HookedModel:
    return hooked("llama")


def sides(shared: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pairs about middles of their own, whose differences share `shared` along one axis."""
    rng = np.random.default_rng(seed)
    middle, noise = 3 * rng.normal(size=(N, WIDTH)), rng.normal(size=(2, N, WIDTH))
    noise[0, :, 0] += shared
    return torch.from_numpy(middle + noise[0]), torch.from_numpy(middle + noise[1])


def by_hand(positive: np.ndarray, negative: np.ndarray) -> tuple[float, float]:
    """Mean cosine and d', pair by pair, from the vectors themselves."""
    difference, centre = positive - negative, (positive + negative).mean(axis=0) / 2
    cosines, above, below = [], [], []
    for i in range(len(difference)):
        others = np.delete(difference, i, axis=0).mean(axis=0)
        along = others / np.linalg.norm(others)
        cosines.append(difference[i] @ along / np.linalg.norm(difference[i]))
        above.append((positive[i] - centre) @ along)
        below.append((negative[i] - centre) @ along)
    spread = np.sqrt((np.var(above, ddof=1) + np.var(below, ddof=1)) / 2)
    return float(np.mean(cosines)), float((np.mean(above) - np.mean(below)) / spread)


def test_inner_products_give_what_the_vectors_give_sides_exchanged_or_not() -> None:
    positive, negative = (side.numpy() for side in sides(1.5))
    signs = np.random.default_rng(1).choice([-1.0, 1.0], size=(4, N))
    of = products(torch.from_numpy(positive), torch.from_numpy(negative))
    for sign, cosine, d_prime in zip(signs, mean_cosines(of, signs), d_primes(of, signs), strict=True):
        kept = (sign > 0)[:, None]
        expected = by_hand(np.where(kept, positive, negative), np.where(kept, negative, positive))
        assert (cosine, d_prime) == pytest.approx(expected)


def test_the_halves_agree_as_in_split_half(model: HookedModel) -> None:
    site = resid_post(1)
    positive, negative = (
        read_stream(model, [getattr(p, s) for p in PAIRS], [site])[site] for s in ("positive", "negative")
    )
    halves = random_halves(len(PAIRS), 30, np.random.default_rng(5))
    value = split_halves(products(positive, negative), np.ones((1, len(PAIRS))), halves)[0]
    assert value == pytest.approx(split_half(model, PAIRS, [site], n_splits=30, seed=5)["cosine"].iloc[0], abs=1e-4)


def test_what_pairs_share_is_outside_the_null_and_grows() -> None:
    for name in ("mean_cosine", "d_prime", "split_half"):
        rows = [next(r for r in _statistics(products(*sides(s)), 300, 20, 0) if r["statistic"] == name) for s in (2, 6)]
        assert rows[0]["value"] < rows[1]["value"]
        assert rows[1]["value"] > rows[1]["null_high"]
        assert rows[1]["p"] < 0.02


def test_pairs_that_share_nothing_leave_the_null_in_five_of_a_hundred() -> None:
    p = {name: [] for name in ("mean_cosine", "d_prime", "split_half")}
    for seed in range(200):
        for row in _statistics(products(*sides(0.0, seed)), 59, 10, seed):
            p[row["statistic"]].append(row["p"])
    for values in p.values():
        assert 0.01 < np.mean(np.array(values) <= 0.05) < 0.10
        assert np.mean(values) == pytest.approx(0.5, abs=0.07)


def test_a_measured_pair_never_went_into_its_direction() -> None:
    """Were it there, pairs without anything in common would still point along their own mean."""
    values = [mean_cosines(products(*sides(0.0, seed)), ONES)[0] for seed in range(300)]
    assert abs(np.mean(values)) < 0.02


def test_a_row_for_each_site_and_statistic(model: HookedModel) -> None:
    sites = [resid_pre(1), resid_post(2)]
    table = steerability(model, PAIRS, sites, n_null=99)
    assert len(table) == 6
    assert set(table["n_pairs"]) == {6}
    assert list(table.groupby("statistic").size()) == [2, 2, 2]
    assert (table["null_low"] < table["null_high"]).all()
    assert table.equals(steerability(model, PAIRS, sites, n_null=99))


def test_sides_that_do_not_differ_have_no_value(model: HookedModel) -> None:
    pairs = [ContrastPair(f"I {w} the sea", f"to {w} the sea") for w in ("love", "hate", "be")]
    table = steerability(model, pairs, [resid_pre(0)], n_null=20)
    # the last token's embedding is all that layer 0 holds
    assert table["value"].isna().all()
    assert table["p"].isna().all()


def test_two_pairs_are_too_few(model: HookedModel) -> None:
    with pytest.raises(ValueError, match="2 pairs say nothing of one another"):
        steerability(model, PAIRS[:2], [resid_pre(1)])


def test_two_lists_have_no_differences_to_agree(model: HookedModel) -> None:
    with pytest.raises(ValueError, match="steerability asks how the differences of pairs agree, and two lists"):
        steerability(model, ContrastLists(("a", "b"), ("c",)), [resid_pre(1)])
