"""How far and how long the residual stream points along a direction, layer by layer and token by token.

Called inside a `with steer(...)` block these show the steered stream: a hook point is read after it is edited, so the
steered site itself already shows the edit. Nothing here knows about steering.
"""

from collections.abc import Mapping

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.analysis.stream_table import Measured, Prompts, stream_sites, stream_table
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import HookSite, Sites, site_list
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.tokens import Tokens


def project(resid: Float[Tensor, "*pos d_model"], direction: Float[Tensor, " d_model"]) -> Float[Tensor, "*pos"]:
    """Signed length of `resid` along `direction`, in residual-stream units, in float32.

    The length of `direction` does not matter, so a raw and a normalised steering vector agree.

    Raises:
        ValueError: `direction` is zero or not finite.
    """
    direction = direction.float().to(resid.device)
    length = direction.norm()
    if not (length > 0 and torch.isfinite(length)):
        raise ValueError(f"cannot project onto a vector of length {float(length):g}: a direction is finite and not 0")
    return resid.float() @ (direction / length)


def projection_profile(
    model: HookedModel,
    prompts: Prompts,
    direction: Float[Tensor, " d_model"],
    sites: Sites | None = None,
) -> pd.DataFrame:
    """One row per prompt, site and token: the columns of `stream_table`, projection, cosine, resid_norm.

    `projection` and `resid_norm` are in residual-stream units, `cosine` is their ratio (NaN where the stream is zero).
    `sites` are by default the whole stream, from the embedding to the last block.

    Args:
        model: The model that is read.
        prompts: What it reads.
        direction: Any length but 0.
        sites: The sites that are read; by default the whole stream.

    Raises:
        ValueError: a zero direction or one of another width than the stream, an empty prompt, a site outside the model.
    """
    if len(direction) != model.d_model:
        raise ValueError(f"the direction is {len(direction)} wide, the stream of {model.name} is {model.d_model}")
    sites = stream_sites(model) if sites is None else site_list(sites)

    def measure(tokens: Tokens) -> Measured:
        for site, resid in model.residuals(tokens, sites).items():
            along, norm = project(resid, direction), resid.float().norm(dim=-1)
            yield site, {"projection": along, "cosine": along / norm, "resid_norm": norm}

    return stream_table(model, prompts, measure)


def norm_profile(model: HookedModel, prompts: Prompts, vectors: Mapping[HookSite, SteeringVector]) -> pd.DataFrame:
    """How long each vector is beside `model`'s stream of `prompts` at its site: vector_norm, resid_norm, relative_norm.

    Row k of a vector stands beside token k, as `at_front` would place it, and a vector of one row beside every token;
    tokens behind the last row are left out. Scale the vectors to see a coefficient: `5.0 * vector`. The first token's
    stream is often many times longer than the others' and an ActAdd vector is zero there: read it apart.

    Source: Turner et al. 2023, arXiv:2308.10248, figure "norms", which takes the vector of one pair at every layer.

    Raises:
        ValueError: no vector, or one filed under another site than its own.
    """
    if not vectors:
        raise ValueError("no vectors were given: pass those of some sites, e.g. actadd_vectors(model, pair, sites)")
    for site, vector in vectors.items():
        if vector.site != site:
            raise ValueError(f"the vector filed under {site} belongs to {vector.site}")

    def measure(tokens: Tokens) -> Measured:
        for site, resid in model.residuals(tokens, list(vectors)).items():
            norms, norm = vectors[site].norms.to(resid.device), resid.float().norm(dim=-1)
            row = tokens.positions.clamp(min=0) if len(norms) > 1 else torch.zeros_like(tokens.positions)
            length = torch.where(row < len(norms), norms[row.clamp(max=len(norms) - 1)], torch.nan)
            yield site, {"vector_norm": length, "resid_norm": norm, "relative_norm": length / norm}

    table = stream_table(model, prompts, measure)
    return table[table["vector_norm"].notna()].reset_index(drop=True)


def stream_change(model: HookedModel, prompts: Prompts, sites: Sites | None = None) -> pd.DataFrame:
    """How the edits in force change the length of `model`'s stream at `sites` and, apart from it, its direction.

    Columns: those of `stream_table`, clean_norm and steered_norm in residual-stream units, norm_ratio (steered over
    clean, 1 = as long as before) and angle between the two in degrees, in [0, 180]. Call it inside a `with steer(...)`
    block: the clean stream is read from the same prompts with every edit paused.
    """
    sites = stream_sites(model) if sites is None else list(sites)

    def measure(tokens: Tokens) -> Measured:
        with model.unedited():
            clean = model.residuals(tokens, sites)
        for site, resid in model.residuals(tokens, sites).items():
            before, after = clean[site].float().norm(dim=-1), resid.float().norm(dim=-1)
            norms = {"clean_norm": before, "steered_norm": after, "norm_ratio": after / before}
            yield site, {**norms, "angle": angle(clean[site], resid)}

    return stream_table(model, prompts, measure)


def angle(left: Float[Tensor, "*pos d_model"], right: Float[Tensor, "*pos d_model"]) -> Float[Tensor, "*pos"]:
    """The angle between the vectors `left` and `right` in degrees, in [0, 180]; NaN beside a zero vector.

    2 atan2(|u - v|, |u + v|) of the unit vectors, because an arc cosine has no digits left for small angles (Kahan).
    """
    left, right = (x.float() / x.float().norm(dim=-1, keepdim=True) for x in (left, right))
    return 2 * torch.atan2((left - right).norm(dim=-1), (left + right).norm(dim=-1)).rad2deg()
