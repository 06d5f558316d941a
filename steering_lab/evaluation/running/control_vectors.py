"""Vectors that stand beside a steering vector with its norms: what any push, or another direction, does there.

Two are random: "random" is as likely to point anywhere, "covariance" points where the stream itself varies, which is
the harder control, since a model reacts to few of its directions. Their draws make the band that an effect has to
leave. The others ask what the effect is due to: "shuffled_labels" to the labels of the pairs, "other_concept" to this
concept, "shuffled_layer" to this layer. Row by row they are as long as the vector's own; rows of zeros stay zeros.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb
from typing import Literal, SupportsIndex, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.evaluation.running.seeds import seed_of
from steering_lab.interventions.steering_vector import SteeringVector, random_like
from steering_lab.models.hook_points import HookSite
from steering_lab.models.integers import whole_number

ControlName = Literal["random", "covariance", "shuffled_labels", "other_concept", "shuffled_layer"]
CONTROLS: tuple[ControlName, ...] = get_args(ControlName)
RANDOM: ControlName = "random"
RANDOM_DELTA = "random_delta"  # of gradient forms: random deltas at equal KL (methods.delta.random_delta)
RANDOM_CONTROLS = ("random", "covariance", RANDOM_DELTA)  # those that make a band

Vectors = Mapping[HookSite, SteeringVector]


@dataclass(frozen=True, eq=False)
class Control:
    """A control's vector at each site, or one draw of it.

    Args:
        name: Which control: its method in tables.
        vectors: Its vector at each site.
        draw: Which of several, where there are several.
    """

    name: str
    vectors: Vectors
    draw: int | None = None


def check_controls(names: Sequence[str]) -> None:
    """Nothing when `names` are controls, each once, a random one among them.

    Raises:
        ValueError: an unknown name, one twice, or none that makes a band.
    """
    for name in names:
        if name not in CONTROLS:
            raise ValueError(f"unknown control {name!r}: choose among {', '.join(CONTROLS)}")
        if names.count(name) > 1:
            raise ValueError(f"the control {name!r} is named twice")
    if not set(names) & set(RANDOM_CONTROLS):
        raise ValueError(
            f"controls {list(names)} hold no random vector, so that no effect has a band to leave: add"
            f" {' or '.join(name for name in CONTROLS if name in RANDOM_CONTROLS)}"
        )


def random_controls(vectors: Vectors, n_draws: int, seed: int) -> list[Control]:
    """`n_draws` of `random_like` each site's vector, all directions being equally likely.

    Args:
        vectors: The vector of each site.
        n_draws: How many; 0 is none.
        seed: What they follow from: the same seed, site and draw give the same direction.
    """
    return [
        Control(RANDOM, {site: random_like(v, seed_of(seed, site, draw)) for site, v in vectors.items()}, draw)
        for draw in range(n_draws)
    ]


def covariance_controls(
    vectors: Vectors, streams: Mapping[HookSite, Float[Tensor, "token d_model"]], n_draws: int, seed: int
) -> list[Control]:
    """`n_draws` of `covariance_like` each site's vector.

    Args:
        vectors: The vector of each site.
        streams: What the unsteered stream holds at each site, a row for each token (`read_tokens`).
        n_draws: How many.
        seed: What they follow from.

    Raises:
        ValueError: fewer than two tokens, or tokens that are all alike.
    """
    return [
        Control(
            "covariance",
            {s: covariance_like(v, streams[s], seed_of(seed, "covariance", s, draw)) for s, v in vectors.items()},
            draw,
        )
        for draw in range(n_draws)
    ]


def covariance_like(
    vector: SteeringVector, stream: Float[Tensor, "token d_model"], seed: SupportsIndex
) -> SteeringVector:
    """Rows drawn from N(0, covariance of `stream`), scaled to the lengths of `vector`'s rows. Zero rows stay zero.

        x = (stream - mean)^T g / sqrt(n - 1),   g ~ N(0, I_n)

    has that covariance exactly, whatever the number of tokens: it lies in the span of the centred rows.

    Raises:
        ValueError: fewer than two tokens, tokens that are all alike, or a seed that is not an integer.
    """
    seed = whole_number(seed, "a seed")
    if len(stream) < 2 or not bool((centred := stream.double() - stream.double().mean(dim=0)).any()):
        raise ValueError(
            f"{len(stream)} tokens at {vector.site} have no covariance: a control drawn from it needs two that differ"
        )
    rng = torch.Generator().manual_seed(seed)
    weights = torch.randn(len(vector.rows), len(stream), generator=rng, dtype=torch.float64)
    drawn = (weights @ centred.cpu() / (len(stream) - 1) ** 0.5).float()
    source = replace(
        vector.source,
        recipe=f"drawn from the stream's covariance, like ({vector.source.recipe})",
        details={"seed": seed, "n_tokens": len(stream)},
    )
    return _at_norms(drawn, vector, SteeringVector(drawn, vector.site, source))


def at_norms_of(vector: SteeringVector, other: SteeringVector, recipe: str) -> SteeringVector:
    """`other`'s direction at `vector`'s site with the lengths of `vector`'s rows, described as `recipe`.

    Where numbers of rows differ, the rows of `vector` that are not zero take those of `other` that are not, in turn.

    Raises:
        ValueError: `other` is zero, or is of another width.
    """
    if other.rows.shape[1] != vector.rows.shape[1]:
        raise ValueError(f"{other!r} is {other.rows.shape[1]} wide, {vector!r} {vector.rows.shape[1]}")
    directions = other.rows[other.norms > 0]
    if not len(directions):
        raise ValueError(f"{other!r} is zero and has no direction: there is no control to make of it")
    rows = torch.zeros_like(vector.rows)
    places = (vector.norms > 0).nonzero()[:, 0]
    rows[places] = directions[torch.arange(len(places)) % len(directions)]
    return _at_norms(rows, vector, SteeringVector(rows, vector.site, replace(other.source, recipe=recipe)))


def shuffled_layer(vectors: Vectors) -> Control:
    """At each site the vector of another one: of that which is half of the sites further on, at equal norm.

    Neighbouring layers hold nearly the same stream, so that the control takes the farthest.

    Args:
        vectors: The vector of each site, two sites or more; each one's stands at another site in the control.

    Raises:
        ValueError: fewer than two sites.
    """
    sites = sorted(vectors, key=lambda site: (site.layer, site.stream))
    if len(sites) < 2:
        raise ValueError('the control "shuffled_layer" needs two layers or more: name them, or leave layers empty')
    other = dict(zip(sites, [*sites[len(sites) // 2 :], *sites[: len(sites) // 2]], strict=True))
    at = {site: at_norms_of(vectors[site], vectors[other[site]], f"the vector of {other[site]}") for site in sites}
    return Control("shuffled_layer", at)


def check_exchanges(n_pairs: int, n_draws: int) -> None:
    """Nothing when the sides of half of `n_pairs` pairs can be exchanged in `n_draws` ways; draws nothing.

    Args:
        n_pairs: Contrast pairs.
        n_draws: Ways asked for.

    Raises:
        ValueError: there are fewer.
    """
    half = n_pairs // 2
    possible = comb(n_pairs, half) // (1 if n_pairs % 2 else 2) if n_pairs > 1 else 0
    if possible < n_draws:
        why = "one pair has no labels to shuffle, its exchange is the vector reversed" if n_pairs == 1 else (
            f"{n_pairs} pairs have {possible} ways to exchange half of them, and {n_draws} are asked for"
        )  # fmt: skip
        raise ValueError(f'the control "shuffled_labels" cannot be made: {why}')


def exchanges(n_pairs: int, n_draws: int, seed: int) -> list[tuple[bool, ...]]:
    """For each draw, whether each pair's sides are exchanged: those of half the pairs, drawn at random, no draw twice.

    Half of them (with an odd number, one fewer than the rest), so that what the pairs share cancels: left to coins, a
    part of about 1/sqrt(n) of it stays, and being scaled to the vector's norm makes that part large again. Two draws
    never differ in all signs alone, which would be one line.

    Args:
        n_pairs: Contrast pairs, two or more.
        n_draws: How many; 0 is none.
        seed: What they follow from.

    Raises:
        ValueError: fewer such draws than asked for.
    """
    check_exchanges(n_pairs, n_draws)
    half = n_pairs // 2
    rng, drawn = np.random.default_rng(seed), dict[tuple[bool, ...], None]()
    while len(drawn) < n_draws:
        flips = np.zeros(n_pairs, dtype=bool)
        flips[rng.choice(n_pairs, half, replace=False)] = True
        if n_pairs % 2 == 0 and flips[0]:  # the same line as its opposite
            flips = ~flips
        drawn[tuple(flips.tolist())] = None
    return list(drawn)


def relabellings(n_positive: int, n_negative: int, n_draws: int, seed: int) -> list[tuple[bool, ...]]:
    """For each draw, whether each text of two lists changes sides, the positive ones first; no draw twice.

    From either side as many texts change, k of n and of m: the expected vector is 1 - k/n - k/m of the one that the
    lists make, so that k is n m / (n + m), rounded, which is where what the lists share cancels as nearly as it can.

    Args:
        n_positive: Texts in the positive list, two or more.
        n_negative: Texts in the negative list, two or more.
        n_draws: How many; 0 is none.
        seed: What they follow from.

    Raises:
        ValueError: fewer such draws than asked for.
    """
    n_each = round(n_positive * n_negative / (n_positive + n_negative)) if min(n_positive, n_negative) > 1 else 0
    mirrored = n_positive == n_negative == 2 * n_each  # then a draw and its opposite are one line
    possible = comb(n_positive, n_each) * comb(n_negative, n_each) // (2 if mirrored else 1) if n_each else 0
    if possible < n_draws:
        raise ValueError(
            f'the control "shuffled_labels" cannot be made: lists of {n_positive} and {n_negative} texts have'
            f" {possible} ways to exchange {n_each} of each, and {n_draws} are asked for"
            + ("; it needs two texts or more on both sides" if not n_each else "")
        )
    rng, drawn = np.random.default_rng(seed), dict[tuple[bool, ...], None]()
    while len(drawn) < n_draws:
        flips = np.zeros(n_positive + n_negative, dtype=bool)
        flips[rng.choice(n_positive, n_each, replace=False)] = True
        flips[n_positive + rng.choice(n_negative, n_each, replace=False)] = True
        drawn[tuple((~flips if mirrored and flips[0] else flips).tolist())] = None
    return list(drawn)


def _at_norms(rows: Tensor, vector: SteeringVector, like: SteeringVector) -> SteeringVector:
    scaled = torch.nn.functional.normalize(rows, dim=-1) * vector.norms[:, None]
    return replace(like, rows=scaled)
