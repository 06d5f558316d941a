"""What the residual stream holds where a prompt ends, or at each of its tokens, at every site from one batched pass.

Padding is never read, and the pass stops at the deepest site asked for. Edits in force are seen, as everywhere.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.models.hook_points import HookSite, Sites, site_list
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.progress import progress_bar
from steering_lab.models.tokens import Tokens

Read = Literal["last", "mean"] | int


@runtime_checkable
class TwoSided(Protocol):
    """A pair of texts, one on each side."""

    @property
    def positive(self) -> str:
        """The text that a vector points to."""

    @property
    def negative(self) -> str:
        """The text that it points away from."""


@torch.no_grad()
def read_stream(
    model: HookedModel, prompts: str | Sequence[str], sites: Sites, *, read: Read = "last", batch_size: int = 32
) -> dict[HookSite, Float[Tensor, "prompt d_model"]]:
    """What the stream at each site holds at the prompts' last token, or on average over their tokens; float32, CPU.

    `read="mean"` averages without what stands in front of the prompt, or without its first token where nothing does
    (`HookedModel.n_sink`); -2 reads the last token but one, and so on.

    Args:
        model: The model.
        prompts: What the model reads: one text or several.
        sites: Where the stream is read.
        read: "last", "mean" or a negative index.
        batch_size: Prompts read in one pass.

    Raises:
        ValueError: an unknown `read`, a prompt too short for it, or a site outside the model.
    """
    if not (read in ("last", "mean") or (isinstance(read, int) and read < 0)):
        raise ValueError(f"read is {read!r}: choose 'last', 'mean', or a number from the prompt's end such as -2")
    found: dict[HookSite, list[Tensor]] = {site: [] for site in site_list(sites)}
    prompts = [prompts] if isinstance(prompts, str) else prompts
    rows = [model.token_ids(prompt) or model.front_ids for prompt in prompts]  # an empty side of a pair says nothing
    if isinstance(read, int) and (short := min(map(len, rows))) < -read:
        raise ValueError(f"read is {read}, but the shortest prompt is {short} tokens long")

    def pooled(stream: Tensor, tokens: Tokens) -> Tensor:
        return _pooled(stream, tokens, read, model.n_sink).cpu()

    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # rows of one length need no padding
    for start in progress_bar(range(0, len(rows), batch_size), what="read prompts", delay=2.0):
        tokens = model.pad([rows[i] for i in order[start : start + batch_size]])
        for site, part in model.residuals(tokens, list(found), pooled).items():
            found[site].append(part)
    back = torch.tensor(order).argsort()
    return {site: torch.cat(parts)[back] for site, parts in found.items()}


def read_pairs(
    model: HookedModel, pairs: Sequence[TwoSided], sites: Sites, *, read: Read = "last", batch_size: int = 32
) -> tuple[dict[HookSite, Float[Tensor, "pair d_model"]], dict[HookSite, Float[Tensor, "pair d_model"]]]:
    """`read_stream` of the pairs' positive sides, and of their negative ones.

    Args:
        model: The model.
        pairs: Two texts each.
        sites: Where the stream is read.
        read: As in `read_stream`.
        batch_size: Prompts read in one pass.

    Raises:
        ValueError: what `read_stream` refuses.
    """
    positive = read_stream(model, [pair.positive for pair in pairs], sites, read=read, batch_size=batch_size)
    negative = read_stream(model, [pair.negative for pair in pairs], sites, read=read, batch_size=batch_size)
    return positive, negative


@torch.no_grad()
def read_tokens(
    model: HookedModel, prompts: str | Sequence[str], sites: Sites, *, batch_size: int = 32
) -> dict[HookSite, Float[Tensor, "token d_model"]]:
    """What the stream at each site holds at every token of the prompts, one row a token, prompt after prompt.

    What stands in front of the prompts is left out, or their first token where nothing does (`HookedModel.n_sink`):
    the attention sink is of another order of length. float32, CPU.

    Args:
        model: The model.
        prompts: What the model reads: one text or several.
        sites: Where the stream is read.
        batch_size: Prompts read in one pass.

    Raises:
        ValueError: no prompts, or none with a token behind the first, or a site outside the model.
    """
    found: dict[HookSite, list[Tensor]] = {site: [] for site in site_list(sites)}
    prompts = [prompts] if isinstance(prompts, str) else prompts
    if not prompts:
        raise ValueError("there are no prompts to read: give one or more")

    def counted(stream: Tensor, tokens: Tokens) -> Tensor:
        return stream[tokens.mask & (tokens.positions >= model.n_sink)].float().cpu()

    for start in range(0, len(prompts), batch_size):
        tokens = model.to_tokens(list(prompts[start : start + batch_size]))
        for site, part in model.residuals(tokens, list(found)).items():
            found[site].append(counted(part, tokens))
    if not sum(map(len, next(iter(found.values())))):
        raise ValueError("the prompts hold no token behind the first, so there is no stream to read: make one longer")
    return {site: torch.cat(parts) for site, parts in found.items()}


def _pooled(
    stream: Float[Tensor, "batch pos d_model"], tokens: Tokens, read: Read, n_sink: int
) -> Float[Tensor, "batch d_model"]:
    if read != "mean":  # left padding: the last column is every row's last token
        return stream[:, -1 if read == "last" else read].float()
    first = (tokens.prompt_lengths - 1).clamp(max=n_sink)  # a prompt of one token is all there is
    counted = tokens.mask & (tokens.positions >= first[:, None])
    total = torch.where(counted[..., None], stream.float(), 0.0).sum(dim=1)
    return total / counted.sum(dim=1, keepdim=True)
