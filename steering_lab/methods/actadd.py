"""ActAdd: add the activation difference of one prompt pair to the front of another prompt's stream.

Turner et al. 2023, "Activation Addition: Steering Language Models Without Optimization", arXiv:2308.10248, Algorithm 1.

    rows = h(positive) - h(negative)    one row per token, both right-padded with spaces to the same number of tokens

Placed with `coeff * vector.at_front()`, the rows meet the prompt's first tokens in the prefill and only there; the KV
cache carries the effect on. Departures from the authors' code, each to make the algorithm exact: the two activations
are subtracted once in float32 instead of added by two hooks; rows at which both prompts agree so far (the
beginning-of-text token always) are set to exactly zero, as causality makes them; and a prompt that is too short is an
error unless the caller chooses `too_long="clip"` or lengthens it with `pad_prompts`.

Where nothing stands in front of a text (`HookedModel.prefix_ids` is empty), its first token is the attention sink,
whatever it is, and what the stream holds there says little of the text. A pair that differs in its first token is then
read behind the tokenizer's beginning- or end-of-text token: row 0 is exactly zero, so that the sink of the steered
prompt is left alone, as the beginning-of-text token is in the paper. (Not behind a space: equal tokens at the front of
a text hold the same stream, so that the spaces of the padding would be sinks too.) docs/guides/contrast_pair.md says
what happens otherwise.
"""

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from steering_lab.data.contrast_pairs import ContrastPair, Pair, check_is_pair
from steering_lab.interventions.source import Source
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import HookSite, Site, Sites, check_is_site
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.tokens import Tokens

SINK = 4.0
"""A token is called an attention sink where the stream is this many times as long as at the other prompt's token."""


def actadd_vector(model: HookedModel, pair: Pair, site: Site, *, pad: str = " ") -> SteeringVector:
    """The pair's activation difference at `site`, one row per token (see `actadd_vectors`).

    Args:
        model: The model that is read.
        pair: The two prompts.
        site: Where the stream is read.
        pad: What continues the shorter prompt; one token.
    """
    check_is_site(site)
    return actadd_vectors(model, pair, [site], pad=pad)[site]


@torch.no_grad()
def actadd_vectors(model: HookedModel, pair: Pair, sites: Sites, *, pad: str = " ") -> dict[HookSite, SteeringVector]:
    """The pair's activation differences at every site, from one pass over both prompts.

    `pad` continues the shorter prompt, as ordinary attended tokens; a space works best in the paper, on GPT-2 XL. Some
    models make attention sinks of spaces and of function words wherever they stand: a row of the vector is then that
    sink, many times as long as a word, and says nothing of the prompts. Such a row brings a warning; choose another
    `pad`, or prompts of equal length.

    Args:
        model: The model that is read.
        pair: The two prompts.
        sites: Where the stream is read.
        pad: What continues the shorter prompt; one token.

    Raises:
        ValueError: no pair, a site outside the model, `pad` that is not one token, or a prompt without tokens.
    """
    check_is_pair(pair)
    positive, negative = _equal_length(model, pair, pad)
    streams = model.residuals(model.pad([positive, negative]), sites)
    shared = next((i for i, (a, b) in enumerate(zip(positive, negative, strict=True)) if a != b), len(positive))
    source = Source.of(
        model,
        f"actadd({pair})",
        method="ActAdd",
        pair=[pair.positive, pair.negative],
        tokens=[model.token_strings(positive), model.token_strings(negative)],
        prefix_tokens=model.token_strings(model.prefix_ids),
        padding=f"right, with {pad!r}, attended",
    )
    _warn_of_sinks(model, streams, (positive, negative), shared)
    vectors = {}
    for site, stream in streams.items():
        rows = (stream[0].float() - stream[1].float()).cpu()
        rows[:shared] = 0.0
        vectors[site] = SteeringVector(rows, site, source)
    return vectors


def _warn_of_sinks(
    model: HookedModel, streams: Mapping[HookSite, Tensor], ids: Sequence[list[int]], shared: int
) -> None:
    """A warning that names the longest token beside the other prompt's at its place, where that is a sink."""
    found = []
    for site, stream in streams.items():
        lengths = stream.float().norm(dim=-1)[:, shared:]
        ratio = lengths.amax(dim=0) / lengths.amin(dim=0).clamp(min=torch.finfo(lengths.dtype).tiny)
        if ratio.numel() and ratio.max() > SINK:
            row = int(ratio.argmax())
            found.append((float(ratio.max()), site, row + shared, lengths[:, row].tolist()))
    if found:
        _, site, row, lengths = max(found, key=lambda sink: sink[0])
        token = model.token_strings(ids[int(lengths[1] > lengths[0])])[row]
        warnings.warn(
            f"row {row} at {site} is mostly an attention sink, as at {len(found)} of {len(streams)} sites: the stream"
            f" at {token!r} is {max(lengths):.3g} long, at the other prompt's token {min(lengths):.3g}; choose another"
            " pad, another prefix, or prompts of as many tokens",
            stacklevel=4,  # the caller, above no_grad's own frame
        )


def pad_prompts(model: HookedModel, prompts: str | Sequence[str], n_rows: int, *, pad: str = " ") -> Tokens:
    """Prompts with `pad` tokens between their prefix and their words, so that none of `n_rows` rows meets a word.

    Where the tokenizer puts nothing in front, its beginning- or end-of-text token goes before the padding.

    The additions of an ActAdd vector of `n_rows` rows then meet padding instead of the prompt's own words. At layer 0
    with coefficient 1 this is the same as writing the positive prompt there (Turner et al. 2023).

    Args:
        model: The model that is read.
        prompts: What is padded.
        n_rows: The rows of the vector that shall meet no word.
        pad: The padding; one token.

    Raises:
        ValueError: `pad` is not one token.
    """
    front, n_prefix = model.front_ids, len(model.prefix_ids)
    filler = [_single_token(model, pad)] * (n_rows - len(front))
    rows = [model.token_ids(prompt) for prompt in ([prompts] if isinstance(prompts, str) else prompts)]
    return model.pad([[*front, *filler, *row[n_prefix:]] for row in rows])


def _equal_length(model: HookedModel, pair: ContrastPair, pad: str) -> tuple[list[int], list[int]]:
    positive, negative = model.token_ids(pair.positive), model.token_ids(pair.negative)
    if not model.prefix_ids and positive[:1] != negative[:1]:
        positive, negative = [*model.front_ids, *positive], [*model.front_ids, *negative]
    length = max(len(positive), len(negative))
    if len(positive) == len(negative):
        return positive, negative
    filler = _single_token(model, pad)
    return tuple(ids + [filler] * (length - len(ids)) for ids in (positive, negative))  # type: ignore[return-value]


def _single_token(model: HookedModel, pad: str) -> int:
    ids = model.tokenizer(pad, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise ValueError(f"pad {pad!r} is {len(ids)} tokens for {model.name}: choose text that is exactly one token")
    return int(ids[0])
