"""Mean differences: one direction from many contrast pairs, at every layer from one batched pass.

    v = 1/N sum_i ( h(positive_i) - h(negative_i) )      of pairs
    v = 1/N sum_i h(positive_i) - 1/M sum_j h(negative_j)      of two lists, which may be of different lengths

read at each prompt's last token, or averaged over its tokens. Contrastive activation addition (Rimsky et al. 2023,
arXiv:2312.06681) is this with `read="last"`; the first principal component of the differences is the reading of
representation engineering (Zou et al. 2023, arXiv:2310.01405).
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.data.contrast_lists import ContrastLists, Contrasts, contrasts_of
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.interventions.source import Source
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import HookSite, Sites, site_list
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.reading import Read, read_stream


@torch.no_grad()
def mean_difference_vectors(
    model: HookedModel,
    pairs: Contrasts,
    sites: Sites,
    *,
    read: Read = "last",
    unit_norm: bool = False,
    pca: bool = False,
    batch_size: int = 32,
) -> dict[HookSite, SteeringVector]:
    """One-row vectors at every site; the pass stops at the deepest layer asked for, padding is never read.

    `read="mean"` averages over a prompt's tokens without the beginning-of-text token; -2 reads the last token but one,
    and so on. `unit_norm` scales to length 1.
    `pca` takes the direction of the differences' first principal component about zero, with the sign and the length of
    the mean difference along it. Diagnostics travel in `source.details`: mean cosine of the pairs' differences with
    the vector (of two lists there is none), cosine between the vectors of the even and the odd pairs or texts, median
    length of the residuals read.

    Args:
        model: The model that is read.
        pairs: Contrast pairs, or two lists of texts (`ContrastLists`).
        sites: Where the stream is read.
        read: Which token of a prompt is read: "last", "mean" or a negative index.
        unit_norm: Whether the vectors have length 1.
        pca: Whether the direction is that of the differences' first principal component.
        batch_size: Prompts read in one pass.

    Raises:
        ValueError: no pairs, `pca` of two lists, an unknown `read`, a site outside the model, or differences that are
            all zero with `unit_norm` or `pca`.
    """
    given, sites = contrasts_of(pairs), site_list(sites)
    if not given:
        raise ValueError("no contrast pairs were given")
    if pca and isinstance(given, ContrastLists):
        raise ValueError(f"pca takes the differences of pairs, and two lists ({given}) have none: leave pca out")
    positive, negative = (
        read_stream(model, texts, sites, read=read, batch_size=batch_size) for texts in sides_of(given)
    )
    what = f"mean difference of {given if isinstance(given, ContrastLists) else f'{len(given)} pairs'}"
    vectors = {}
    for site in sites:
        row = _principal(positive[site] - negative[site]) if pca else _apart(positive[site], negative[site])
        if unit_norm or pca:
            _refuse_zero(row, site)
        details = _details(given, read, pca, unit_norm) | _diagnostics(given, positive[site], negative[site], row)
        row = torch.nn.functional.normalize(row, dim=0) if unit_norm else row
        vectors[site] = SteeringVector(row[None], site, Source.of(model, what, **details))
    return vectors


def sides_of(given: Sequence[ContrastPair] | ContrastLists) -> tuple[list[str], list[str]]:
    """The texts that are steered toward, and those that are steered away from."""
    if isinstance(given, ContrastLists):
        return list(given.positive), list(given.negative)
    return [pair.positive for pair in given], [pair.negative for pair in given]


def _apart(
    positive: Float[Tensor, "positive d_model"], negative: Float[Tensor, "negative d_model"]
) -> Float[Tensor, " d_model"]:
    """The means' difference; of as many texts on both sides it is the mean of differences, to the last bit."""
    if len(positive) == len(negative):
        return (positive - negative).double().mean(dim=0).float()
    return (positive.double().mean(dim=0) - negative.double().mean(dim=0)).float()


def _principal(differences: Float[Tensor, "pair d_model"]) -> Float[Tensor, " d_model"]:
    direction = torch.linalg.svd(differences.double(), full_matrices=False).Vh[0]
    return ((differences.double().mean(dim=0) @ direction) * direction).float()


def _refuse_zero(row: Float[Tensor, " d_model"], site: HookSite) -> None:
    if not row.norm() > 0:
        raise ValueError(f"the differences at {site} are zero, so they have no direction: the prompts end alike there")


def _details(given: Sequence[ContrastPair] | ContrastLists, read: Read, pca: bool, unit_norm: bool) -> dict[str, Any]:
    positive, negative = sides_of(given)
    of_data: dict[str, Any] = {"n_pairs": len(positive), "first_pair": [positive[0], negative[0]]}
    data: list[Any] = list(zip(positive, negative, strict=False))
    if isinstance(given, ContrastLists):
        of_data = {"n_texts": [len(positive), len(negative)], "first_texts": [positive[0], negative[0]]}
        data = [positive, negative]
    digest = hashlib.sha256(json.dumps(data, ensure_ascii=False).encode()).hexdigest()
    return {
        "method": "first principal component of differences" if pca else "mean difference",
        "read": "mean over tokens without the beginning-of-text token" if read == "mean" else f"{read} token",
        "unit_norm": unit_norm,
        **of_data,
        "data_sha256": digest[:16],
        "padding": "left, masked, never read",
    }


def _diagnostics(
    given: Sequence[ContrastPair] | ContrastLists,
    positive: Float[Tensor, "positive d_model"],
    negative: Float[Tensor, "negative d_model"],
    row: Float[Tensor, " d_model"],
) -> dict[str, float | None]:
    cosine = torch.nn.functional.cosine_similarity
    found: dict[str, float | None] = {}
    if not isinstance(given, ContrastLists):
        found["mean_cosine_with_vector"] = round(float(cosine(positive - negative, row[None]).mean()), 4)
    found["split_half_cosine"] = None
    if min(len(positive), len(negative)) > 1:
        halves = [_apart(positive[start::2], negative[start::2]) for start in (0, 1)]
        found["split_half_cosine"] = round(float(cosine(halves[0], halves[1], dim=0)), 4)
    found["median_resid_norm"] = round(float(torch.cat([positive, negative]).norm(dim=-1).median()), 4)
    return found
