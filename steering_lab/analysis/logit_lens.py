"""The logit lens: what the model would say next if the stream went from a site straight to final norm and unembedding.

    lens(site) = softmax(unembed(ln_final(resid(site))))

nostalgebraist 2020 ("interpreting GPT: the logit lens"); with trained `translate` maps in between it is the tuned lens
of Belrose et al. 2023, arXiv:2303.08112. Reading a site happens after editing it, so inside a `with steer(...)` block
the steered site already shows the edit; nothing here knows about steering. Generated tokens are seen by passing
`model.to_tokens(found.prompts, found.tokens)` of what `generate` found.

A lens reads early sites in the last site's language. What it does not show may still be there, and a direction may
steer well without being readable: never take the lens for the effect.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from steering_lab.analysis.difference import difference
from steering_lab.analysis.stream_table import stream_sites, token_keys
from steering_lab.models.hook_points import HookSite, Sites, resid_post, resid_pre, site_list
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.tokens import Tokens
from steering_lab.numerics.divergence import kl_terms
from steering_lab.numerics.log_probs import to_log_probs

Translate = Mapping[HookSite, Callable[[Tensor], Tensor]]
Measure = Callable[[Tensor, Tensor], Iterator[dict[str, Any]]]
SLICE = 2**25  # float32 logits in one slice of tokens: 128 MiB, of which a handful live at once


def logit_lens(
    model: HookedModel,
    prompts: str | Sequence[str] | Tokens,
    *,
    top_k: int = 5,
    sites: Sites | None = None,
    translate: Translate | None = None,
) -> pd.DataFrame:
    """One row per prompt, site and token read, in the order of the stream; by default from the embedding to the end.

    prompt (its number), layer, stream, position (absolute, 0 is the first), token (as text), generated; `top` and
    `top_probability` of the likeliest next token, `top_k` and `top_k_probability` of the first so many as tuples, best
    first; `entropy` of the lens, in nats from 0 to log d_vocab; `kl_to_final`, KL(model's own output || lens), in nats
    from 0. All in float32. `translate` maps the stream at a site before it is read; no map is the plain logit lens.

    Args:
        model: The model that is read.
        prompts: What it reads.
        top_k: How many of the likeliest tokens each row names.
        sites: The sites that are read; by default the whole stream.
        translate: Maps the stream at a site before it is read; none is the plain logit lens.

    Raises:
        ValueError: `top_k` outside 1..d_vocab, an empty prompt, or a site outside the model.
    """
    check_top_k(model, top_k)

    def measure(lens: Tensor, final: Tensor) -> Iterator[dict[str, Any]]:
        values, ids = lens.topk(top_k, dim=-1)
        names, probabilities = strings(model, ids), values.exp().tolist()
        yield {
            "top": [row[0] for row in names],
            "top_probability": [row[0] for row in probabilities],
            "entropy": torch.special.entr(lens.exp()).sum(dim=-1).tolist(),
            "kl_to_final": kl_terms(final, lens).sum(-1).clamp_min(0).tolist(),
            "top_k": [tuple(row) for row in names],
            "top_k_probability": [tuple(row) for row in probabilities],
        }

    return _table(model, prompts, sites, translate, measure)


def token_lens(
    model: HookedModel,
    prompts: str | Sequence[str] | Tokens,
    tokens: Sequence[str | int],
    *,
    sites: Sites | None = None,
    translate: Translate | None = None,
) -> pd.DataFrame:
    """One row per prompt, site, token read and `target`, one of `tokens`: how likely the lens finds it to come next.

    Columns as in `logit_lens` up to `top`, then target (as text), probability, log_probability (nats) and rank: 1 + how
    many tokens are likelier, NaN where that is not known.

    Args:
        model: The model that is read.
        prompts: What it reads.
        tokens: Each as text that is one token of the model, or as an id.
        sites: The sites that are read; by default the whole stream.
        translate: Maps the stream at a site before it is read; none is the plain logit lens.

    Raises:
        ValueError: no tokens, the same twice, or one that is not a single token of the model.
    """
    ids = [token_id(model, token) for token in ([tokens] if isinstance(tokens, str) else tokens)]
    if not ids or len(set(ids)) < len(ids):
        raise ValueError(f"tokens are {list(tokens)}: name at least one, and each once")

    def measure(lens: Tensor, final: Tensor) -> Iterator[dict[str, Any]]:
        top = [row[0] for row in strings(model, lens.argmax(dim=-1, keepdim=True))]
        for target, name in zip(ids, model.token_strings(ids), strict=True):
            chosen = lens[:, target]
            yield {
                "top": top,
                "target": name,
                "probability": chosen.exp().tolist(),
                "log_probability": chosen.tolist(),
                "rank": _ranks(chosen, lens),
            }

    return _table(model, prompts, sites, translate, measure)


def _ranks(chosen: Float[Tensor, " token"], lens: Float[Tensor, "token d_vocab"]) -> list[float | int]:
    likelier = (lens > chosen[:, None]).sum(dim=-1).tolist()
    return [math.nan if own.isnan() else 1 + above for own, above in zip(chosen, likelier, strict=True)]


def lens_difference(steered: pd.DataFrame, clean: pd.DataFrame) -> pd.DataFrame:
    """Two tables of `logit_lens` or of `token_lens`, numbers subtracted: steered minus clean, `top` steered.

    Added: `clean_top`, the likeliest token without steering. Raises as `difference`.
    """
    by = [c for c in ("prompt", "layer", "stream", "position", "token", "target") if c in steered]
    of = ("top_probability", "entropy", "kl_to_final", "probability", "log_probability", "rank")
    table = difference(steered, clean, by=by, of=[c for c in of if c in steered])
    return table.join(clean.set_index(by)["top"].rename("clean_top"), on=by)


def tuned_lens_translators(lens: Any) -> dict[HookSite, Callable[[Tensor], Tensor]]:
    """`translate` for `logit_lens` from a loaded `tuned_lens.nn.lenses.TunedLens`, for a model in the raw basis.

    Its translator i maps the stream that block i reads. Load one with the `tuned-lens` package, in an environment of
    its own if need be: here only `len(lens)` and `lens.transform_hidden(resid, idx=i)` are used.
    """
    reads = [partial(lens.transform_hidden, idx=i) for i in range(len(lens))]
    return {resid_pre(i): read for i, read in enumerate(reads)} | {
        resid_post(i): read for i, read in enumerate(reads[1:])
    }


def token_id(model: HookedModel, token: str | int) -> int:
    """The id of a token given as id or as its text, spaces included.

    Args:
        model: Whose vocabulary is meant.
        token: An id, or a text that is exactly one token.

    Raises:
        ValueError: the text is not exactly one token, or there is no such id.
    """
    if isinstance(token, int):
        if not 0 <= token < model.d_vocab:
            raise ValueError(f"token id {token} is outside 0..{model.d_vocab - 1} of {model.name}")
        return token
    ids = list(model.tokenizer(token, add_special_tokens=False)["input_ids"])
    if len(ids) != 1:
        pieces = f" ({', '.join(map(repr, model.token_strings(ids)))})" if ids else ""
        raise ValueError(f"{token!r} is {len(ids)} tokens of {model.name}{pieces}: name one, spaces in front count")
    return int(ids[0])


def check_top_k(model: HookedModel, top_k: int) -> None:
    """Nothing when `model` has `top_k` tokens. Raises ValueError for a number below 1 or beyond its vocabulary."""
    if not 1 <= top_k <= model.d_vocab:
        raise ValueError(f"top_k is {top_k}: it lies in 1..{model.d_vocab}, the vocabulary of {model.name}")


@torch.no_grad()
def _table(
    model: HookedModel,
    prompts: str | Sequence[str] | Tokens,
    sites: Sites | None,
    translate: Translate | None,
    measure: Measure,
) -> pd.DataFrame:
    """What `measure` makes of (lens, final) log-probabilities, beside where they were read. One pass of the model.

    Only d_model numbers are kept of every site and token; logits live for one site and one slice of tokens at a time.
    """
    tokens = prompts if isinstance(prompts, Tokens) else model.to_tokens(prompts)
    last = resid_post(model.n_layers - 1)
    sites = stream_sites(model) if sites is None else site_list(sites)
    stream = {site: resid[tokens.mask] for site, resid in model.residuals(tokens, [*sites, last]).items()}
    places, read = token_keys(model, tokens).drop(columns="from_end"), translate or {}
    step, parts = max(1, SLICE // model.d_vocab), []
    for start in range(0, len(places), step):
        part = slice(start, start + step)
        final = to_log_probs(model.unembed(stream[last][part]))
        for order, site in enumerate(sites):
            resid = stream[site][part]
            lens = to_log_probs(model.unembed(read[site](resid) if site in read else resid))
            for columns in measure(lens, final):
                at = {"order": order, "layer": site.layer, "stream": site.stream}
                parts.append(places.iloc[part].assign(**at, **columns))
    table = pd.concat(parts, ignore_index=True).sort_values(["prompt", "order", "position"], kind="stable")
    first = ["prompt", "layer", "stream", "position", "token", "generated"]
    return table[[*first, *(c for c in table if c not in (*first, "order"))]].reset_index(drop=True)


def strings(model: HookedModel, ids: Int[Tensor, "*batch"]) -> list[Any]:
    """The tokens' texts in the vocabulary of `model`, nested as `ids` are; each distinct one is decoded once."""
    distinct, places = ids.unique(return_inverse=True)
    return np.array(model.token_strings(distinct.tolist()), dtype=object)[places.cpu().numpy()].tolist()
