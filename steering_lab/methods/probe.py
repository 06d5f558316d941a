"""A linear probe of the residual stream, fitted in closed form: which of two kinds of prompt is this?"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.interventions.source import Source
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import Site, check_is_site
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.integers import whole_number
from steering_lab.models.reading import Read, read_stream


@dataclass(frozen=True, eq=False)
class Probe:
    """Pulled where stream . direction > threshold, both from `fit_probe`; `accuracy` is on prompts held out there.

    Args:
        direction: The probe's weights, as a one-row vector.
        threshold: Where it is pulled: stream . direction above this.
        accuracy: On the prompts that were held out, the mean over both classes.
        n_held_out: How many these were.
        read: The token of a prompt that is read.

    Raises:
        ValueError: a direction of several rows or of no length.
    """

    direction: SteeringVector
    threshold: float
    accuracy: float
    n_held_out: int
    read: Read = "last"

    def __post_init__(self) -> None:
        check_direction(self.direction)

    def scores(self, model: HookedModel, prompts: Sequence[str]) -> Float[Tensor, " prompt"]:
        """How far `model` puts each of `prompts` on the positive side, in stream units times the direction's."""
        return read_for(model, prompts, self.direction, self.read) @ self.direction.rows[0] - self.threshold

    def __call__(self, model: HookedModel, prompts: Sequence[str]) -> list[bool]:
        return (self.scores(model, prompts) > 0).tolist()


def fit_probe(
    model: HookedModel,
    positive: Sequence[str],
    negative: Sequence[str],
    site: Site,
    *,
    read: Read = "last",
    ridge: float = 0.1,
    held_out: float = 0.25,
    seed: SupportsIndex = 0,
) -> Probe:
    """The probe that separates the stream of `positive` prompts from that of `negative` ones.

        w = (S + ridge mean(diag S) I)^-1 (m+ - m-),   threshold = w . (m+ + m-)/2

    with class means m and the pooled covariance within classes S: Fisher's discriminant with a shrunken covariance, in
    closed form. A share `held_out` of each class, drawn for `seed`, is only scored: its accuracy, the mean over the two
    classes, is the probe's.

    Args:
        model: The model that is read.
        positive: Prompts of the class that pulls it.
        negative: Prompts of the other.
        site: Where the stream is read.
        read: Which token of a prompt is read: "last", "mean" or a negative index.
        ridge: How much of the mean variance is added to every variance; above 0.
        held_out: The share of each class that is only scored.
        seed: What random draws follow from.

    Raises:
        ValueError: fewer than four prompts of a class, a prompt given twice, `ridge` not above 0, or a held-out
            share that leaves a class with none to fit or to score.
    """
    seed = whole_number(seed, "seed")
    check_is_site(site)
    if min(len(positive), len(negative)) < 4:
        raise ValueError(f"{len(positive)} positive and {len(negative)} negative prompts: a probe needs 4 of each")
    if twice := [prompt for prompt, n in Counter([*positive, *negative]).items() if n > 1]:
        raise ValueError(f"{twice[0]!r} is given twice: it could be fitted and scored, or count for both classes")
    if not ridge > 0:
        raise ValueError(f"ridge is {ridge}: it must be above 0")
    for prompts in (positive, negative):
        if not 1 <= round(held_out * len(prompts)) <= len(prompts) - 2:
            raise ValueError(
                f"held_out is {held_out}: of {len(prompts)} prompts it must leave two to fit and one to score"
            )
    rng = torch.Generator().manual_seed(seed)
    fit, score = [], []
    for prompts in (positive, negative):
        with model.unedited():
            stream = read_stream(model, prompts, [site], read=read)[site].double()
        stream = stream[torch.randperm(len(prompts), generator=rng)]
        n_held = round(held_out * len(prompts))
        score.append(stream[:n_held])
        fit.append(stream[n_held:])
    means = [rows.mean(dim=0) for rows in fit]
    within = torch.cat([rows - mean for rows, mean in zip(fit, means, strict=True)])
    covariance = within.T @ within / len(within)
    shrink = ridge * covariance.diagonal().mean().clamp(min=1e-12)
    weights = torch.linalg.solve(covariance + shrink * torch.eye(len(covariance)).double(), means[0] - means[1])
    weights = torch.nn.functional.normalize(weights, dim=0)
    threshold = float(weights @ (means[0] + means[1]) / 2)
    right = [score[0] @ weights > threshold, score[1] @ weights <= threshold]
    accuracy = sum(float(hits.double().mean()) for hits in right) / 2
    n_held_out = sum(map(len, right))
    details = {"read": str(read), "ridge": ridge, "seed": seed, "n": [len(positive), len(negative)]}
    details |= {"held_out_accuracy": accuracy, "n_held_out": n_held_out, "threshold": threshold}
    source = Source.of(model, f"probe of {len(positive)} against {len(negative)} prompts", **details)
    direction = SteeringVector(weights.float()[None], site, source)
    return Probe(direction, threshold, accuracy, n_held_out, read)


def read_for(
    model: HookedModel, prompts: Sequence[str], direction: SteeringVector, read: Read
) -> Float[Tensor, "prompt d_model"]:
    """The unedited model's stream of every prompt at the direction's site.

    Args:
        model: The model that is read.
        prompts: The prompts.
        direction: The vector whose site is read.
        read: Which token of a prompt is read: "last", "mean" or a negative index.

    Raises:
        ValueError: the direction belongs to another basis, other weights or another prefix.
    """
    direction.source.check(model)
    with model.unedited():
        return read_stream(model, prompts, [direction.site], read=read)[direction.site]


def check_direction(direction: SteeringVector) -> None:
    """Nothing when `direction` is one row with a length. Raises ValueError otherwise."""
    if direction.rows.shape[0] != 1 or not direction.norm > 0:
        raise ValueError(f"{direction!r} is not one direction: take a non-zero row with .row(i) first")
