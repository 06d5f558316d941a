"""Tables over the stream: one row per prompt, site and token, whatever is measured there.

Key columns, the same in every view: `prompt` (its index), `layer` and `stream` (the site), `position` (0 is the first
token), `from_end` (-1 is the last token, where prompts of different lengths meet), `token` (text) and `generated`
(whether it stands behind the prompt: pass `model.to_tokens(prompts, continuations)` to see such tokens). Padding never
appears. The first token is a row like any other, but its norm is often of another order than the rest, so a mean over
tokens usually wants `table.query("position > 0")`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.models.hook_points import HookSite, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.tokens import Tokens

KEYS = ("prompt", "layer", "stream", "position", "from_end", "token", "generated")
Prompts = str | Sequence[str] | Tokens
Measured = Iterable[tuple[HookSite, Mapping[str, Float[Tensor, "batch pos"]]]]


def stream_sites(model: HookedModel) -> list[HookSite]:
    """The whole stream of `model` in order: the embedding, then what each block leaves."""
    return [resid_pre(0), *model.sites("resid_post")]


@torch.no_grad()
def stream_table(
    model: HookedModel,
    prompts: Prompts,
    measure: Callable[[Tokens], Measured],
    batch_size: int = 16,
) -> pd.DataFrame:
    """The key columns beside what `measure` finds at each site of each batch, in the order of prompts and sites.

    Args:
        model: The model that is read.
        prompts: What it reads.
        measure: What is taken from a batch: columns by site.
        batch_size: Prompts read in one pass.
    """
    blocks = []
    for first, tokens in token_batches(model, prompts, batch_size):
        keys, mask = token_keys(model, tokens, first), tokens.mask.cpu()
        for site, columns in measure(tokens):
            values = {name: values.float().cpu()[mask].numpy() for name, values in columns.items()}
            blocks.append(keys.assign(layer=site.layer, stream=site.stream, **values))
    table = pd.concat(blocks, ignore_index=True)
    return table[[*KEYS, *(column for column in table if column not in KEYS)]]


def token_batches(model: HookedModel, prompts: Prompts, batch_size: int = 16) -> Iterator[tuple[int, Tokens]]:
    """The prompts in padded batches, each with the index of its first prompt; ready tokens are one batch.

    Args:
        model: Whose tokenizer and batching.
        prompts: Texts, or tokens that are ready.
        batch_size: Prompts in a batch at most.
    """
    if isinstance(prompts, Tokens):
        yield 0, prompts
        return
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    model.to_tokens(prompts)  # every prompt is checked before the first is run, and named by its own index
    for first in range(0, len(prompts), batch_size):
        yield first, model.to_tokens(prompts[first : first + batch_size])


def token_keys(model: HookedModel, tokens: Tokens, first: int = 0) -> pd.DataFrame:
    """One row per real token of a batch: prompt, position, from_end, token, generated.

    Args:
        model: Whose vocabulary.
        tokens: The batch.
        first: The index of its first prompt among all.
    """
    mask = tokens.mask.cpu()
    generated = tokens.positions >= tokens.prompt_lengths[:, None]
    rows, columns = mask.nonzero(as_tuple=True)
    return pd.DataFrame(
        {
            "prompt": (rows + first).numpy(),
            "position": tokens.positions.cpu()[mask].numpy(),
            "from_end": (columns - mask.shape[1]).numpy(),
            "token": model.token_strings(tokens.ids.cpu()[mask].tolist()),
            "generated": generated.cpu()[mask].numpy(),
        }
    )
