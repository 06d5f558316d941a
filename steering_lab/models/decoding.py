"""The loop that draws tokens, for rows that share their passes: what a prompt is read for, what ends, what goes on.

A prompt's keys and values up to the first token that an edit can change are computed once for all rows that begin
alike. Rows that have ended leave the batch. Neither changes what a row says.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.progress import done_meanwhile
from steering_lab.models.sampling import Sampling, draw, or_no_token, token_counts
from steering_lab.models.tokens import ForwardPass, Tokens, real_tokens

LEAVING = 0.25  # rows leave once so large a share of the batch has ended: to leave, the cache of the others is copied
LOOK = 8  # steps between looks at what has ended, where looking waits for the device


@runtime_checkable
class LogitsRule(Protocol):
    """Next-token scores from two streams that read the same continuation, one with the context and one without.

    Stateless; the softmax of what it returns is the distribution that is decoded.
    """

    def __call__(
        self, with_context: Float[Tensor, "batch d_vocab"], without_context: Float[Tensor, "batch d_vocab"]
    ) -> Float[Tensor, "batch d_vocab"]: ...


class Stream:
    """One sequence per row being decoded, and the KV cache of the `held` columns that it stands for.

    Args:
        model: The model that decodes.
        tokens: The prompts, padded, with what is written already.
        rows: The prompts' places in the caller's whole batch.
        n_batch: Rows of that batch.
        new_tokens: How many tokens there is room for.
        use_cache: Whether keys and values are kept from step to step.
    """

    def __init__(
        self,
        model: HookedModel,
        tokens: Tokens,
        rows: Int[Tensor, " batch"],
        n_batch: int,
        *,
        new_tokens: int,
        use_cache: bool,
    ) -> None:
        self.model, self.rows, self.n_batch = model, rows, n_batch
        self.ids, self.mask, self.positions, self.lengths = (
            tokens.ids, tokens.mask, tokens.positions, tokens.prompt_lengths
        )  # fmt: skip
        self.width = self.ids.shape[1]
        self.use_cache = use_cache
        self.runtime = model.runtime
        self.room = self.width + new_tokens
        self.cache: Any = None
        self.held = 0
        self.longest = int(tokens.mask.sum(dim=1).max())

    @property
    def drops_rows(self) -> bool:
        """Whether rows can leave: what is held of the others goes on without them."""
        return not self.use_cache or (self.runtime.selects and self.model.batching.interleaves)

    def logits(self) -> Float[Tensor, "batch d_vocab"]:
        """Float32 logits of the token that comes next, by one pass over what the cache does not hold."""
        columns = self.ids.shape[1]
        if self.cache is not None and not self.model.batching.same(self.longest - columns + self.held, self.longest):
            self.cache, self.held = None, 0
        # where the state is the modules' own, a first pass of one token would go on from whatever was read before
        caching = self.use_cache and (columns > 1 or self.model.batching.interleaves)
        if caching and self.cache is None:
            self.cache = self.model.new_cache(len(self.ids), self.runtime, self.room)
            self._read_shared()
        new = slice(self.held, None)
        forward_pass = ForwardPass(
            self.positions[:, new], self.lengths, self.rows, self.n_batch, self.held >= self.width
        )
        logits = self.model.forward(self.ids[:, new], self.mask, forward_pass, self.cache, last=1, runtime=self.runtime)
        self.held = columns if caching else 0
        return logits[:, -1].float()

    def append(self, chosen: Int[Tensor, " batch"]) -> None:
        """Continues every row by its chosen token."""
        self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], dim=1)
        self.ids = torch.cat([self.ids, chosen[:, None]], dim=1)
        self.positions = torch.cat([self.positions, self.positions[:, -1:] + 1], dim=1)
        self.longest += 1

    def keep(self, kept: Int[Tensor, " kept"]) -> None:
        """Only the rows `kept`, by number, go on."""
        for name in ("ids", "mask", "positions", "lengths", "rows"):
            setattr(self, name, getattr(self, name)[kept])
        if self.cache is not None:
            self.cache.reorder_cache(kept)

    def _read_shared(self) -> None:
        """The cache holds what rows with equal beginnings share, each beginning read once, unedited."""
        whole = self.mask.sum(dim=1)
        begins = torch.minimum(self.model.edits_begin(self.lengths, self.rows), whole - 1)
        tail = int((whole - begins).max())
        if tail >= int(whole.min()) or not self._may_share(tail):
            return
        shared = self.ids.shape[1] - tail
        seen: dict[tuple[int, ...], int] = {}
        starts = map(tuple, real_tokens(self.ids[:, :shared], self.mask[:, :shared]))
        parents = [seen.setdefault(start, len(seen)) for start in starts]
        if len(seen) == len(parents):
            return
        firsts = torch.tensor([parents.index(i) for i in range(len(seen))], device=self.ids.device)
        ids, mask, positions = (x[firsts, :shared] for x in (self.ids, self.mask, self.positions))
        forward_pass = ForwardPass(positions, self.lengths[firsts], self.rows[firsts], self.n_batch)
        with self.model.unedited():
            self.model.forward(ids, mask, forward_pass, self.cache, last=1, runtime=self.runtime)
        self.cache.reorder_cache(torch.tensor(parents, device=self.ids.device))
        self.held = shared

    def _may_share(self, tail: int) -> bool:
        """Whether a cache of all but the last `tail` tokens can be multiplied and read on from.

        Some recurrences begin anew with every pass of several tokens: where a layer is none of keys and values, one.
        """
        batching = self.model.batching
        return (
            len(self.ids) > 1
            and self.drops_rows
            and batching.same(self.longest - tail, self.longest)
            and (tail == 1 or all(isinstance(layer, DynamicLayer) for layer in self.cache.layers))
        )


@torch.no_grad()
def next_logits(
    model: HookedModel,
    prompts: Sequence[Sequence[int]],
    *,
    rows: Sequence[int] | None = None,
    n_batch: int | None = None,
) -> Float[Tensor, "prompt d_vocab"]:
    """Float32 logits of the token that follows each prompt under the edits in force, read as `generate` reads them.

    What prompts share is read once. `rows` are the prompts' places in a whole batch of `n_batch` rows, for edits of
    their own.

    Args:
        model: The model.
        prompts: Ids of each prompt.
        rows: The prompts' places in a whole batch, for edits of their own; None is in order.
        n_batch: Rows of the caller's whole batch.
    """
    found = torch.empty(len(prompts), model.d_vocab, dtype=torch.float32)
    places = range(len(prompts)) if rows is None else rows
    kinds = [0 if model.batching.free else model.batching.kind(len(prompt)) for prompt in prompts]
    for group in model.batching.groups(kinds):
        own = torch.tensor([places[i] for i in group], device=model.device)
        tokens = model.pad([prompts[i] for i in group])
        whole = n_batch or len(prompts)
        stream = Stream(model, tokens, own, whole, new_tokens=0, use_cache=model.batching.caches)
        found[group] = stream.logits().cpu()
    return found


@dataclass
class Batch:
    """Rows being decoded together: the stream, and the one without context where a rule needs it.

    Args:
        stream: The rows under the edits in force.
        uniforms: A number in [0, 1) for every row and step.
        rule: What combines the logits of two streams.
        without_context: The second stream of a `rule`.
    """

    stream: Stream
    uniforms: Float[Tensor, "batch steps"]
    rule: LogitsRule | None = None
    without_context: Stream | None = None

    @property
    def streams(self) -> list[Stream]:
        return [stream for stream in (self.stream, self.without_context) if stream is not None]

    def logits(self) -> Float[Tensor, "batch d_vocab"]:
        """Scores of the next token. The stream without context is what the unedited model would say from memory."""
        logits = self.stream.logits()
        if self.rule is None or self.without_context is None:
            return logits
        with self.stream.model.unedited():
            return self.rule(logits, self.without_context.logits())


class Drawn(NamedTuple):
    """The `tokens` drawn for each row, up to where it ended; `log_probs` in nats of each, where asked for."""

    tokens: list[list[int]]
    log_probs: list[list[float]] | None


# How many of a row's drawn tokens belong to it, seen from a step on; None while it goes on. It raises at `NO_TOKEN`.
Ending = Callable[[int, list[int], int], int | None]


def decode(batch: Batch, sampling: Sampling, ending: Ending, *, log_probs: bool) -> Drawn:
    """Tokens for every row, until each has ended or there are no more steps.

    Args:
        batch: The rows.
        sampling: How tokens are drawn.
        ending: When a row ends.
        log_probs: Whether the log-probability of each token is kept.
    """
    stream = batch.stream
    n, steps = batch.uniforms.shape
    device = stream.ids.device
    drawn = torch.zeros(n, steps, dtype=torch.long, device=device)
    said: list[list[int]] = [[] for _ in range(n)]  # `drawn`, as far as it was looked at
    nats = torch.zeros(n, steps, device=device, dtype=torch.float32) if log_probs else None
    counts = token_counts(stream.ids, stream.mask, stream.model.d_vocab) if sampling.counts_tokens else None
    live, uniforms, ends, looked = torch.arange(n, device=device), batch.uniforms, [0] * n, 0
    for step in range(steps):
        logits = batch.logits()
        chosen = draw(logits, sampling, uniforms[:, step], counts)
        drawn[live, step] = or_no_token(chosen, logits)
        if nats is not None:
            nats[live, step] = logits.gather(-1, chosen[:, None]).squeeze(-1) - logits.logsumexp(dim=-1)
        if counts is not None:
            counts.scatter_add_(1, chosen[:, None], torch.ones_like(counts[:, :1]))
        if device.type == "cpu" or step - looked >= LOOK - 1 or step == steps - 1:
            rows = live.tolist()
            for row, tokens in zip(rows, drawn[live, looked : step + 1].tolist(), strict=True):
                said[row] += tokens
                ends[row] = ends[row] or ending(row, said[row], looked) or 0
            done_meanwhile(len(rows) * (step + 1 - looked))
            looked = step + 1
            kept = [i for i, row in enumerate(rows) if not ends[row]]
            if not kept:
                break
            if len(rows) - len(kept) >= LEAVING * len(rows) and all(one.drops_rows for one in batch.streams):
                index = torch.tensor(kept, device=device)
                live, uniforms, chosen = live[index], uniforms[index], chosen[index]
                counts = None if counts is None else counts[index]
                for one in batch.streams:
                    one.keep(index)
        for one in batch.streams:
            one.append(chosen)
    ends = [end or steps for end in ends]
    tokens = [row[:end] for row, end in zip(said, ends, strict=True)]
    return Drawn(tokens, None if nats is None else [r[:end] for r, end in zip(nats.tolist(), ends, strict=True)])
