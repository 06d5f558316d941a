"""Mean differences: one direction from many contrast pairs, at every layer from one batched pass.

    v = 1/N sum_i ( h(positive_i) - h(negative_i) )

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

from steering_lab.data.contrast_pairs import ContrastPair, Pairs, pair_list
from steering_lab.interventions.source import Source
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import HookSite, Sites, site_list
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.reading import Read, read_pairs


@torch.no_grad()
def mean_difference_vectors(
    model: HookedModel,
    pairs: Pairs,
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
    the vector, cosine between the vectors of the even and the odd pairs, median length of the residuals read.

    Args:
        model: The model that is read.
        pairs: Contrast pairs.
        sites: Where the stream is read.
        read: Which token of a prompt is read: "last", "mean" or a negative index.
        unit_norm: Whether the vectors have length 1.
        pca: Whether the direction is that of the differences' first principal component.
        batch_size: Prompts read in one pass.

    Raises:
        ValueError: no pairs, an unknown `read`, a site outside the model, or differences that are all zero with
            `unit_norm` or `pca`.
    """
    pairs, sites = pair_list(pairs), site_list(sites)
    if not pairs:
        raise ValueError("no contrast pairs were given")
    positive, negative = read_pairs(model, pairs, sites, read=read, batch_size=batch_size)
    vectors = {}
    for site in sites:
        differences = positive[site] - negative[site]
        row = _principal(differences) if pca else differences.double().mean(dim=0).float()
        if unit_norm or pca:
            _refuse_zero(row, site)
        lengths = torch.cat([positive[site], negative[site]]).norm(dim=-1)
        details = _details(pairs, read, pca, unit_norm) | _diagnostics(differences, row, lengths)
        row = torch.nn.functional.normalize(row, dim=0) if unit_norm else row
        source = Source.of(model, f"mean difference of {len(pairs)} pairs", **details)
        vectors[site] = SteeringVector(row[None], site, source)
    return vectors


def _principal(differences: Float[Tensor, "pair d_model"]) -> Float[Tensor, " d_model"]:
    direction = torch.linalg.svd(differences.double(), full_matrices=False).Vh[0]
    return ((differences.double().mean(dim=0) @ direction) * direction).float()


def _refuse_zero(row: Float[Tensor, " d_model"], site: HookSite) -> None:
    if not row.norm() > 0:
        raise ValueError(f"the differences at {site} are zero, so they have no direction: the prompts end alike there")


def _details(pairs: Sequence[ContrastPair], read: Read, pca: bool, unit_norm: bool) -> dict[str, Any]:
    data = json.dumps([[p.positive, p.negative] for p in pairs], ensure_ascii=False).encode()
    return {
        "method": "first principal component of differences" if pca else "mean difference",
        "read": "mean over tokens without the beginning-of-text token" if read == "mean" else f"{read} token",
        "unit_norm": unit_norm,
        "n_pairs": len(pairs),
        "data_sha256": hashlib.sha256(data).hexdigest()[:16],
        "first_pair": [pairs[0].positive, pairs[0].negative],
        "padding": "left, masked, never read",
    }


def _diagnostics(
    differences: Float[Tensor, "pair d_model"], row: Float[Tensor, " d_model"], lengths: Float[Tensor, " read"]
) -> dict[str, float | None]:
    cosine = torch.nn.functional.cosine_similarity
    halves = differences[::2].mean(dim=0), differences[1::2].mean(dim=0)
    return {
        "mean_cosine_with_vector": round(float(cosine(differences, row[None]).mean()), 4),
        "split_half_cosine": round(float(cosine(halves[0], halves[1], dim=0)), 4) if len(differences) > 1 else None,
        "median_resid_norm": round(float(lengths.median()), 4),
    }
