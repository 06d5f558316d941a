"""How far contrast pairs agree: mean differences from two disjoint halves of them, compared at every layer.

The chance to beat is not a random direction, for the stream favours few directions whatever is asked, but the same
pairs with their sides exchanged at random: equal in all but the contrast.
"""

import math

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.analysis.geometry import random_cosine
from steering_lab.data.contrast_lists import only_pairs
from steering_lab.data.contrast_pairs import Pairs
from steering_lab.models.hook_points import Sites, site_list
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.reading import Read, read_pairs


def split_half(
    model: HookedModel,
    pairs: Pairs,
    sites: Sites,
    *,
    n_splits: int = 200,
    seed: int = 0,
    read: Read = "last",
    batch_size: int = 32,
) -> pd.DataFrame:
    """One row per site: how far mean differences from two disjoint halves of the pairs agree (see `agreement`).

    Columns: layer, stream, those of `agreement`, random (the size of cosine that a random direction exceeds in 5 % of
    cases), n_pairs, n_splits. All sites are split alike.

    Args:
        model: The model that is read.
        pairs: Contrast pairs, two or more.
        sites: The sites that are read; by default the whole stream.
        n_splits: How many times the pairs are split.
        seed: What random draws follow from.
        read: Which token of a prompt is read: "last", "mean" or a negative index.
        batch_size: Prompts read in one pass.

    Raises:
        ValueError: fewer than two pairs, or two lists, which have no pairs.
    """
    pairs, sites = only_pairs(pairs, "split_half compares the differences of pairs"), site_list(sites)
    if len(pairs) < 2:
        raise ValueError(f"{len(pairs)} pairs cannot be split into halves: give two or more")
    positive, negative = read_pairs(model, pairs, sites, read=read, batch_size=batch_size)
    rows = [
        {"layer": site.layer, "stream": site.stream} | agreement(positive[site] - negative[site], n_splits, seed)
        for site in sites
    ]
    return pd.DataFrame(rows).assign(random=random_cosine(model.d_model), n_pairs=len(pairs), n_splits=n_splits)


def agreement(differences: Float[Tensor, "pair d_model"], n_splits: int, seed: int) -> dict[str, float]:
    """Cosine of the two halves' mean differences over random splits: cosine (mean), low and high (95 % of the splits).

    `flipped_low` and `flipped_high` hold 95 % of the splits when the sides of every pair are exchanged at random: the
    pairs then share at most a line, no direction along it, and few lines mean a wide band. `full_length` estimates the
    cosine of two vectors from as many pairs as there are, each from pairs of its own, as Spearman and Brown do:
    k r / (1 + (k - 1) r), k being how often a half goes into all pairs. In a wide stream, differences mu + noise have
    r close to |mu|^2 / (|mu|^2 + k tr / n), tr the noise's total variance, for which the formula is exact; its square
    root is the cosine with the direction of endless pairs. NaN where the halves do not agree at all (r <= 0).

    Args:
        differences: One row per pair.
        n_splits: How many random halvings are averaged.
        seed: What they follow from.
    """
    n, half = len(differences), len(differences) // 2
    rng = np.random.default_rng(seed)
    left, right = map(torch.from_numpy, random_halves(n, n_splits, rng))
    signs = torch.from_numpy(rng.choice([-1.0, 1.0], size=(n_splits, n)))
    kept, flipped = (_cosines_of_halves(left * s, right * s, differences.double()) for s in (signs.abs(), signs))
    r, k = float(kept.mean()), n / half
    return {
        "cosine": r,
        "low": float(kept.quantile(0.025)),
        "high": float(kept.quantile(0.975)),
        "full_length": k * r / (1 + (k - 1) * r) if r > 0 else math.nan,
        "flipped_low": float(flipped.quantile(0.025)),
        "flipped_high": float(flipped.quantile(0.975)),
    }


def random_halves(
    n: int, n_splits: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "split pair"], Float[np.ndarray, "split pair"]]:
    """For each split of `n` pairs by `rng`, 1 where a pair is in the one half and 1 where it is in the other.

    Of an odd number one pair is in neither.

    Args:
        n: Pairs; with fewer than two both halves are empty.
        n_splits: Splits, drawn independently: the same may come twice.
        rng: Where the splits are drawn from.
    """
    order = rng.permuted(np.tile(np.arange(n), (n_splits, 1)), axis=1)
    halves = np.zeros((2, n_splits, n))
    for half, part in zip(halves, (order[:, : n // 2], order[:, n // 2 : n // 2 * 2]), strict=True):
        np.put_along_axis(half, part, 1.0, axis=1)
    return halves[0], halves[1]


def _cosines_of_halves(
    left: Float[Tensor, "split pair"], right: Float[Tensor, "split pair"], differences: Float[Tensor, "pair d_model"]
) -> pd.Series:
    """NaN, and left out of what follows, where a half's differences cancel."""
    a, b = left @ differences, right @ differences
    return pd.Series(((a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))).numpy())
