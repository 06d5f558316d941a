"""Geometry of the stream: which steering vectors point the same way, and where classes of prompts lie.

Beside every number stands what a random direction of d_model dimensions would show. That is the weakest chance there
is: the stream itself favours few directions, so vectors read from unrelated prompts already agree more than that.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import beta

from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.reading import Read, read_stream


def random_cosine(d_model: int, share: float = 0.05) -> float:
    """The size of cosine that a random direction exceeds with probability `share`, whatever it is compared with.

    Exact and two-sided, in [0, 1]: the squared cosine of a uniformly random direction is Beta(1/2, (d_model - 1)/2).
    """
    return math.sqrt(beta.isf(share, 0.5, (d_model - 1) / 2))


def cosines(vectors: Mapping[str, SteeringVector]) -> pd.DataFrame:
    """One row per ordered pair of named vectors, itself included: left, right, cosine, random.

    `random` is the size that a random direction exceeds in 5 % of cases. A zero vector has no direction: NaN. Vectors
    may stand at different sites, for all of them write to one stream; whether two models share theirs is not checked.

    Raises:
        ValueError: no vectors, one with several rows, or vectors of different widths or bases.
    """
    if not vectors:
        raise ValueError("no vectors were given")
    first_name, first = next(iter(vectors.items()))
    for name, vector in vectors.items():
        if vector.rows.shape[0] != 1:
            raise ValueError(
                f"{name} has {vector.rows.shape[0]} rows, a cosine is between two: take .row(i) or .mean_row() first"
            )
        kinds = [(v.rows.shape[1], v.source.basis) for v in (first, vector)]
        if kinds[0] != kinds[1]:
            words = [f"{width} wide in the {basis} basis" for width, basis in kinds]
            raise ValueError(f"{first_name} is {words[0]}, {name} is {words[1]}: they share no coordinates")
    rows = torch.cat([vector.rows for vector in vectors.values()]).double()
    unit = rows / rows.norm(dim=-1, keepdim=True)  # 0/0 is NaN: no direction
    cosine = (unit @ unit.T).clamp(-1, 1).numpy()
    pairs = pd.MultiIndex.from_product([vectors, vectors], names=["left", "right"]).to_frame(index=False)
    return pairs.assign(cosine=cosine.ravel(), random=random_cosine(rows.shape[1]))


def cosine_by_layer(vectors: Mapping[HookSite, SteeringVector]) -> pd.DataFrame:
    """`cosines` of one method's vectors at several sites, in the order of the stream, and how many layers `apart`.

    left and right are layers; the embedding, where it stands beside blocks' outputs, is "embed". Neighbouring layers
    are the rows with `apart == 1`.
    """
    sites = sorted(vectors, key=_depth)
    names = [_layer_name(site, mixed=len({s.stream for s in sites}) > 1) for site in sites]
    depth = dict(zip(names, map(_depth, sites), strict=True))
    table = cosines({name: vectors[site] for name, site in zip(names, sites, strict=True)})
    return table.assign(apart=(table["left"].map(depth) - table["right"].map(depth)).abs())


def _depth(site: HookSite) -> int:
    return site.layer + (site.stream == "resid_post")


def _layer_name(site: HookSite, *, mixed: bool) -> str:
    if not mixed or site.stream == "resid_post":
        return str(site.layer)
    return "embed" if site.layer == 0 else str(site)


class ClassPlane(NamedTuple):
    """Prompts on their first two principal components, and the components themselves.

    `points`: class, prompt, pc1, pc2, in residual-stream units from the mean of all prompts. `axes`, a row per
    component: explained (share of the prompts' variance) and explained_random (a random direction's, on average);
    between (share of the component's variance that lies between the classes) and between_shuffled (on average, were the
    classes dealt out at random); and of the vector, if one was given, its length along the component, the cosine with
    it, and random, the size of cosine that a random direction exceeds in 5 % of cases.
    """

    points: pd.DataFrame
    axes: pd.DataFrame


def pca_of_classes(
    model: HookedModel,
    classes: Mapping[str, Sequence[str]],
    site: HookSite,
    *,
    vector: SteeringVector | None = None,
    read: Read = "last",
    batch_size: int = 32,
) -> ClassPlane:
    """Where the prompts of each class end in the stream at `site`, as seen from the front: its two widest directions.

    A component's sign is free; here the first class has the larger mean on both, so that layers can be compared.

    Args:
        model: The model that is read.
        classes: The prompts of each class, by its name.
        site: Where the stream is read.
        vector: A one-row vector to show in the same plane.
        read: Which token of a prompt is read: "last", "mean" or a negative index.
        batch_size: Prompts read in one pass.

    Raises:
        ValueError: fewer than two classes, a class without prompts, three prompts that do not differ in two directions,
            or a vector of several rows, another width or another basis.
    """
    if len(classes) < 2 or not all(classes.values()):
        raise ValueError(f"{len(classes)} classes, some perhaps empty: give two or more, each with prompts")
    if vector is not None and (tuple(vector.rows.shape), vector.source.basis) != ((1, model.d_model), model.basis):
        raise ValueError(f"{vector!r} is not one row of {model.d_model} in the {model.basis} basis of {model.name}")
    prompts = [prompt for members in classes.values() for prompt in members]
    labels = np.repeat(list(classes), [len(members) for members in classes.values()])
    stream = read_stream(model, prompts, [site], read=read, batch_size=batch_size)[site].double()
    centred = stream - stream.mean(dim=0)
    _, lengths, directions = torch.linalg.svd(centred, full_matrices=False)
    if len(prompts) < 3 or not lengths[1] > 1e-6 * stream.norm(dim=-1).max():
        raise ValueError(f"{len(prompts)} prompts do not differ in two directions at {site}: give more, and other ones")
    places = centred @ directions[:2].T
    first = torch.from_numpy(labels == labels[0])
    signs = torch.where(places[first].mean(dim=0) >= places[~first].mean(dim=0), 1.0, -1.0)
    places, plane = places * signs, directions[:2] * signs[:, None]
    points = pd.DataFrame({"class": labels, "prompt": prompts, "pc1": places[:, 0], "pc2": places[:, 1]})
    along = torch.full((2,), torch.nan).double() if vector is None else plane @ vector.rows[0].double()
    axes = pd.DataFrame(
        {
            "component": ["pc1", "pc2"],
            "explained": (lengths.square() / lengths.square().sum())[:2],
            "explained_random": 1 / model.d_model,
            "between": _between(points),
            "between_shuffled": (len(classes) - 1) / (len(prompts) - 1),
            "vector": along,
            "cosine": along / (torch.nan if vector is None else vector.rows.double().norm()),
            "random": random_cosine(model.d_model),
        }
    )
    return ClassPlane(points, axes)


def _between(points: pd.DataFrame) -> list[float]:
    """Variance of the class means (each as heavy as its class) over the variance of all, per component."""
    means = points.groupby("class")[["pc1", "pc2"]].transform("mean")
    return (means.var(ddof=0) / points[["pc1", "pc2"]].var(ddof=0)).tolist()
