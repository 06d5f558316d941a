"""Will these pairs steer? What can be said before anything is generated, each number beside what chance gives.

Three things are asked of the pairs' differences at a site: whether each points where the others do, whether the sides
stand apart along the others' direction, and whether halves of the pairs agree. Each has a null of its own: the same
pairs with their sides exchanged at random, which keeps all but the contrast. No pair is measured by a direction that
it went into. Tan et al. 2024, arXiv:2407.12404, who ask what steerability depends on, look at the first two.
"""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from steering_lab.analysis.split_half import random_halves
from steering_lab.data.contrast_lists import only_pairs
from steering_lab.data.contrast_pairs import Pairs
from steering_lab.models.hook_points import Sites, site_list
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.reading import Read, read_pairs

Statistic = Literal["mean_cosine", "d_prime", "split_half"]


class Products(NamedTuple):
    """Inner products of the pairs' sides and differences, which is all that the statistics need.

    Args:
        differences: Of each difference with each.
        middles: Of each pair's middle, less the mean of all, with each difference.
    """

    differences: Float[np.ndarray, "pair pair"]
    middles: Float[np.ndarray, "pair pair"]


def steerability(
    model: HookedModel,
    pairs: Pairs,
    sites: Sites,
    *,
    n_null: int = 500,
    n_splits: int = 50,
    seed: int = 0,
    read: Read = "last",
    batch_size: int = 32,
) -> pd.DataFrame:
    """One row per site and statistic: layer, stream, statistic, value, null_low, null_high, p, n_pairs.

    mean_cosine: of each pair's difference with the mean of the others', in [-1, 1]. d_prime: how many standard
    deviations the sides lie apart, each pair projected on the others' mean difference, the variance being the mean of
    both sides'. split_half: the mean cosine of two halves' mean differences over random splits. `null_low` and
    `null_high` hold 95 % of the values of `n_null` random exchanges of sides, p is the share of these, and of the pairs
    as they are, that reach the value. NaN where the sides do not differ.

    Args:
        model: The model that is read.
        pairs: Contrast pairs, three or more.
        sites: The sites that are read.
        n_null: How many times sides are exchanged.
        n_splits: How many times the pairs are split.
        seed: What random draws follow from.
        read: Which token of a prompt is read: "last", "mean" or a negative index.
        batch_size: Prompts read in one pass.

    Raises:
        ValueError: fewer than three pairs, or two lists, which have no pairs.
    """
    pairs, sites = only_pairs(pairs, "steerability asks how the differences of pairs agree"), site_list(sites)
    if len(pairs) < 3:
        raise ValueError(f"{len(pairs)} pairs say nothing of one another: give three or more")
    positive, negative = read_pairs(model, pairs, sites, read=read, batch_size=batch_size)
    rows = [
        {"layer": site.layer, "stream": site.stream, **row}
        for site in sites
        for row in _statistics(products(positive[site], negative[site]), n_null, n_splits, seed)
    ]
    return pd.DataFrame(rows).assign(n_pairs=len(pairs))


def products(positive: Float[Tensor, "pair d_model"], negative: Float[Tensor, "pair d_model"]) -> Products:
    """The inner products of pairs whose sides are given.

    Args:
        positive: What the stream holds at each pair's positive side.
        negative: At the negative side of the same pair.
    """
    differences, middles = (positive - negative).double(), (positive + negative).double() / 2
    middles = middles - middles.mean(dim=0)
    return Products((differences @ differences.T).numpy(), (middles @ differences.T).numpy())


def _statistics(of: Products, n_null: int, n_splits: int, seed: int) -> list[dict[str, object]]:
    n, rng = len(of.differences), np.random.default_rng(seed)
    signs = np.concatenate([np.ones((1, n)), rng.choice([-1.0, 1.0], size=(n_null, n))])  # the first are the pairs
    halves = random_halves(n, n_splits, np.random.default_rng(seed))
    rows = []
    for name, values in (
        ("mean_cosine", mean_cosines(of, signs)),
        ("d_prime", d_primes(of, signs)),
        ("split_half", split_halves(of, signs, halves)),
    ):
        value, null = float(values[0]), values[1:][~np.isnan(values[1:])]
        low, high = np.quantile(null, [0.025, 0.975]) if len(null) else (np.nan, np.nan)
        p = (1 + int((null >= value).sum())) / (1 + len(null)) if not np.isnan(value) else np.nan
        rows.append({"statistic": name, "value": value, "null_low": low, "null_high": high, "p": p})
    return rows


def mean_cosines(of: Products, signs: Float[np.ndarray, "draw pair"]) -> Float[np.ndarray, " draw"]:
    """Mean cosine of each difference with the sum of the others', the sides exchanged where a sign is -1.

    Args:
        of: The products of the pairs, three or more.
        signs: A row for each draw: 1 where a pair stands as it is, -1 where its sides are exchanged.
    """
    along, length = _others(of, signs)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (along / length / np.sqrt(np.diag(of.differences))).mean(axis=1)


def d_primes(of: Products, signs: Float[np.ndarray, "draw pair"]) -> Float[np.ndarray, " draw"]:
    """d' of the two sides, each pair projected on the sum of the others' differences.

    Args:
        of: The products of the pairs, three or more.
        signs: A row for each draw: 1 where a pair stands as it is, -1 where its sides are exchanged.
    """
    along, length = _others(of, signs)
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = (signs @ of.middles.T - signs * np.diag(of.middles)) / length
        apart = along / length
        spread = sum((middle + side * apart / 2).var(axis=1, ddof=1) for side in (1, -1)) / 2
        return apart.mean(axis=1) / np.sqrt(spread)


def split_halves(
    of: Products, signs: Float[np.ndarray, "draw pair"], halves: tuple[np.ndarray, np.ndarray]
) -> Float[np.ndarray, " draw"]:
    """Mean over the splits of the cosine of the halves' sums.

    Args:
        of: The products of the pairs.
        signs: A row for each draw: 1 where a pair stands as it is, -1 where its sides are exchanged.
        halves: For each split 1 where a pair is in the one half, and the same of the other (`random_halves`).
    """
    left, right = (signs[:, None] * half[None] for half in halves)
    turned = right @ of.differences
    products = (left * turned).sum(axis=-1)
    squares = (left @ of.differences * left).sum(axis=-1) * (turned * right).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (products / np.sqrt(squares)).mean(axis=1)


def _others(of: Products, signs: Float[np.ndarray, "draw pair"]) -> tuple[np.ndarray, np.ndarray]:
    """Each difference's product with the sum of the others', and that sum's length."""
    own, total = np.diag(of.differences), signs @ of.differences
    along = signs * total - own  # signs square to 1
    squares = (signs * total).sum(axis=1, keepdims=True) - 2 * signs * total + own
    return along, np.sqrt(np.maximum(squares, 0))
