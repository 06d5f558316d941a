"""How far an edit takes the stream from where neutral text keeps it: in length, and in any direction.

A steered stream may be as long as others and yet lie where no text puts it. Both are told here as percentiles among
tokens of neutral text at the same site, the second by Mahalanobis distance. Nothing is generated: the edit is added to
the stream that was read.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from steering_lab.interventions.intervention import Add, Intervention, Term
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.numerics.covariance import Whitening, fit_whitening

COLUMNS = ("norm_percentile", "distance_percentile", "norm_ratio", "distance_ratio", "n_tokens")


class _Stream(NamedTuple):
    """The tokens of one half of the prompts at a site: the stream, each token's position, and its prompt's length."""

    rows: Float[Tensor, "token d_model"]
    position: Int[Tensor, " token"]
    length: Int[Tensor, " token"]


def off_manifold(
    model: HookedModel,
    prompts: Sequence[str],
    interventions: Mapping[str, Intervention],
    *,
    batch_size: int = 32,
) -> pd.DataFrame:
    """One row per intervention: its name (`condition`), layer, stream, and where it takes the median token.

    norm_percentile, distance_percentile: in [0, 100], of the steered stream's length and of its Mahalanobis distance
    from the mean, among the same prompts' unsteered tokens; 50 is usual. norm_ratio, distance_ratio: the steered
    median over the unsteered one, which goes on where percentiles end. n_tokens: tokens that were edited.

    Mean and covariance (`fit_whitening`) come from the first half of the prompts and distances from the second, then
    the other way round: no token is measured by a covariance that it helped to fit. An edit of consecutive tokens is
    added to those tokens; any other to every token, since what is generated looks like them. What stands in front of a
    prompt is left out (`HookedModel.n_sink`).

    Args:
        model: The model that is read, without edits in force.
        prompts: Neutral text, two or more; several hundred tokens at least.
        interventions: Edits of one term, by name.
        batch_size: Prompts read in one pass.

    Raises:
        ValueError: an intervention of no term or several, fewer than two prompts, or halves without tokens.
    """
    for name, intervention in interventions.items():
        if len(intervention.terms) != 1:
            raise ValueError(f"{name!r} is a sum of {len(intervention.terms)} edits: its place in the stream is of one")
    if len(prompts) < 2:
        raise ValueError("one prompt cannot be measured by another: give two or more")
    terms = {name: intervention.terms[0] for name, intervention in interventions.items()}
    sites = list(dict.fromkeys(term.edit.site for term in terms.values()))
    middle = len(prompts) // 2
    halves = [_read(model, half, sites, batch_size) for half in (prompts[:middle], prompts[middle:])]
    found: dict[str, dict[str, object]] = {}
    for site in sites:
        gauge = _Gauge([half[site] for half in halves])
        for name, term in terms.items():
            if term.edit.site == site:
                found[name] = {"condition": name, "layer": site.layer, "stream": site.stream, **gauge(term)}
    return pd.DataFrame([found[name] for name in terms], columns=["condition", "layer", "stream", *COLUMNS])


class _Gauge:
    """The two halves at one site, each with the whitening of the other."""

    def __init__(self, halves: Sequence[_Stream]) -> None:
        self.halves = halves
        self.maps = [fit_whitening(other.rows) for other in halves[::-1]]
        self.white = [own.whitened(half.rows) for own, half in zip(self.maps, halves, strict=True)]
        self.neutral = [
            (half.rows.double().norm(dim=-1), white.norm(dim=-1))
            for half, white in zip(halves, self.white, strict=True)
        ]

    def __call__(self, term: Term) -> dict[str, float]:
        measured = [
            self._measured(*one, term) for one in zip(self.halves, self.maps, self.white, self.neutral, strict=True)
        ]
        columns = {name: np.concatenate([half[name] for half in measured]) for name in COLUMNS[:-1]}
        n_tokens = len(columns["norm_ratio"])
        return {name: float(np.median(of)) if n_tokens else np.nan for name, of in columns.items()} | {
            "n_tokens": n_tokens
        }

    @staticmethod
    def _measured(
        half: _Stream, own: Whitening, white: Tensor, neutral: tuple[Tensor, Tensor], term: Term
    ) -> dict[str, np.ndarray]:
        edit, place = term.edit, term.place
        at, rows = torch.arange(len(half.rows)), edit.rows.detach().float().cpu()
        if place.rule == "at":
            row = half.position - place.begins(half.length)
            at = ((row >= 0) & (row < len(rows))).nonzero()[:, 0]
            rows = rows[row[at]]
        stream = half.rows[at]
        # What is added is one row where it is the same for all: then a layer's many cells cost next to nothing.
        added = rows if type(edit) is Add else edit.delta(stream, rows.expand_as(stream))
        delta = (term.coeff * added).double()
        norms = (stream.double() + delta).norm(dim=-1)
        distances = (white[at] + own.turned(delta)).norm(dim=-1)
        return {
            "norm_percentile": percentile_among(norms, neutral[0]),
            "distance_percentile": percentile_among(distances, neutral[1]),
            "norm_ratio": (norms / neutral[0].median()).numpy(),
            "distance_ratio": (distances / neutral[1].median()).numpy(),
        }


def percentile_among(values: Float[Tensor, " value"], others: Float[Tensor, " other"]) -> Float[np.ndarray, " value"]:
    """In per cent, how many of `others` lie below each of `values`, equal ones counting half."""
    ordered = others.sort().values
    below, upto = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return ((below + upto).double() * 50 / len(others)).numpy()


@torch.no_grad()
def _read(
    model: HookedModel, prompts: Sequence[str], sites: Sequence[HookSite], batch_size: int
) -> dict[HookSite, _Stream]:
    rows: dict[HookSite, list[Tensor]] = {site: [] for site in sites}
    positions, lengths = [], []
    for start in range(0, len(prompts), batch_size):
        tokens = model.to_tokens(list(prompts[start : start + batch_size]))
        counted = tokens.mask & (tokens.positions >= model.n_sink)
        positions.append(tokens.positions[counted].cpu())
        lengths.append(tokens.prompt_lengths[:, None].expand_as(counted)[counted].cpu())
        for site, stream in model.residuals(tokens, sites).items():
            rows[site].append(stream[counted].float().cpu())
    position, length = torch.cat(positions), torch.cat(lengths)
    return {site: _Stream(torch.cat(parts), position, length) for site, parts in rows.items()}
