"""Continuations of prompts: rows into batches, each decoded (`decoding`), texts and log-probabilities out of them.

Promises: a row's text depends on its own prompt, seed and edits, never on the rows beside it; with and without the KV
cache the same text; padding is never attended to. Whatever edits are in force on the model act in every pass. What a
row says is what it says alone, read whole without a cache; rows of a model where company, padding or a cache would
change that (`Batching`) go in passes of their own.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import nan
from typing import SupportsIndex

import torch

from steering_lab.models import display
from steering_lab.models.decoding import Batch, Drawn, LogitsRule, Stream, decode
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.integers import Whole, whole_number
from steering_lab.models.memory import fitting, rows_that_fit
from steering_lab.models.progress import progress_bar
from steering_lab.models.runtimes.fixed import fixes
from steering_lab.models.sampling import GREEDY, NO_TOKEN, Sampling, draw, uniforms_of
from steering_lab.models.scoring import continuation_log_probs
from steering_lab.models.slots import (
    ROOM,
    STAYS,
    Shape,
    Slots,
    bytes_held,
    can_stay,
    decode_in_slots,
    rounded,
    slots_of,
)
from steering_lab.models.tokens import Tokens

__all__ = ["GREEDY", "Generations", "LogitsRule", "Sampling", "continuation_log_probs", "draw", "generate"]

SHOWN = 30  # continuations that a notebook shows


class NoNumbers(ValueError):
    """The logits behind the prompt `row` are NaN or infinite, so that there is no token to draw."""

    def __init__(self, model: HookedModel, row: int) -> None:
        self.row = row
        super().__init__(
            f"behind prompt {row} the logits of {model.name} are NaN or infinite: an edit is too large for"
            f" {model.dtype}; choose a smaller coefficient or vector, or load the model in a wider dtype"
        )


@dataclass(frozen=True)
class Generations:
    """What a batch of prompts was continued with, one entry per row.

    Args:
        prompts: The prompts as text.
        texts: Continuations without special tokens, cut before a stop string.
        tokens: All ids that were drawn.
        log_probs: Nats per token under the model with its edits and rule.
        unsteered_log_probs: Nats per token without either.
    """

    prompts: list[str]
    texts: list[str]
    tokens: list[list[int]]
    log_probs: list[list[float]] | None = None
    unsteered_log_probs: list[list[float]] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def _repr_html_(self) -> str:
        """What a notebook shows: the first rows, with mean log-probabilities (nats per token) where asked for."""
        scored = {"log-prob / token": self.log_probs, "unsteered": self.unsteered_log_probs}
        kept = {name: [_mean(row) for row in values] for name, values in scored.items() if values is not None}
        every = list(zip(self.prompts, self.texts, *kept.values(), strict=True))
        parts = [display.rows(("prompt", "continuation", *kept), every[:SHOWN])]
        if len(every) > SHOWN:
            parts.append(display.note(f"and {len(every) - SHOWN:,} more in .texts"))
        return display.card(f"{len(every):,} continuation{'s' * (len(every) != 1)}", *parts)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else nan


@torch.no_grad()
def generate(
    model: HookedModel,
    prompts: str | Sequence[str] | Tokens,
    *,
    max_new_tokens: Whole = 40,
    sampling: Sampling = GREEDY,
    seed: SupportsIndex | Sequence[SupportsIndex] = 0,
    stop: Sequence[str] = (),
    batch_size: Whole = 256,
    log_probs: bool = False,
    use_cache: bool = True,
    rule: LogitsRule | None = None,
    without_context: Sequence[str] | None = None,
    ignore_eos: bool = False,
    progress: bool | None = False,
) -> Generations:
    """Continuations of `prompts` (text, or `Tokens` that are ready) under whatever edits are in force.

    `Tokens` that hold the beginning of a continuation are continued where they end. Every row draws from a stream of
    its own: row i from `seed[i]`, or from (`seed`, i) when one number is given. Decoding ends at an end-of-text token,
    before any of the `stop` strings, or after `max_new_tokens`.

    A contrastive `rule` (`CAD`, `COIECD`) decodes two streams in step, each with its own KV cache: the prompts, under
    the edits in force, and `without_context`, one prompt per row, which the unedited model reads.

    Args:
        model: The model that writes.
        prompts: Text, or `Tokens` that are ready.
        max_new_tokens: How many tokens a continuation has at most.
        sampling: How tokens are drawn.
        seed: One number for each row, or one for all.
        stop: Texts before which a continuation ends.
        batch_size: Rows decoded together at most.
        log_probs: Whether the log-probability of each token is kept, with the edits and without.
        use_cache: Whether keys and values are kept from step to step.
        rule: What combines the logits of two streams (`CAD`, `COIECD`).
        without_context: The second stream's prompts, one per row; for a `rule`.
        ignore_eos: Whether an end-of-text token is a token like any other, so that every row has as many.
        progress: Whether a bar is shown; None is one on a terminal and lines in a log.

    Raises:
        ValueError: an empty prompt, a seed or a number of tokens or rows that is no integer, a rule without its second
            stream or the reverse, or prompt and continuation longer than the model's context; nothing has run then.
        NoNumbers: the logits of a row are NaN or infinite, as under an edit that overflows; a ValueError.
    """
    whole = prompts if isinstance(prompts, Tokens) else model.to_tokens(prompts)
    prompt_ids = whole.rows
    lengths = whole.prompt_lengths.tolist()
    if isinstance(prompts, Tokens):
        texts = [model.tokenizer.decode(ids, skip_special_tokens=True) for ids in prompt_ids]
    else:
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
    max_new_tokens, batch_size = whole_number(max_new_tokens, "max_new_tokens"), whole_number(batch_size, "batch_size")
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {max_new_tokens}: it must be 1 or more")
    if isinstance(stop, str):
        raise ValueError(f"stop is the string {stop!r}: pass a list of strings")
    if "" in stop:
        raise ValueError("an empty stop string would end every text at its start: remove it")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: it must be 1 or more")
    _check_room(model, whole, max_new_tokens)
    if isinstance(seed, Iterable) and getattr(seed, "ndim", 1) != 0:  # a tensor of no dimension is one number
        seeds = [(whole_number(s, "a seed"), 0) for s in seed]
    else:
        seeds = [(whole_number(seed, "a seed"), i) for i in range(len(whole))]
    if len(seeds) != len(whole):
        raise ValueError(f"{len(seeds)} seeds for {len(whole)} prompts: pass one number or one per prompt")

    if (rule is None) != (without_context is None):
        raise ValueError("a rule and the prompts without_context go together: pass both or neither")
    second = None if without_context is None else model.to_tokens(without_context)
    if second is not None and len(second) != len(whole):
        raise ValueError(f"{len(second)} prompts without context for {len(whole)} prompts: pass one for each")
    begun = [ids[length:] for ids, length in zip(prompt_ids, lengths, strict=True)]
    bare: list[list[int]] = []
    if second is not None:
        bare = second.rows
        second = model.pad(bare, begun)
        _check_room(model, second, max_new_tokens)

    n = len(whole)
    use_cache = use_cache and model.batching.caches and (second is None or model.batching.interleaves)
    eos = frozenset() if ignore_eos else model.eos_token_ids
    out = Generations(texts, [""] * n, [[]] * n, [[]] * n if log_probs else None, [[]] * n if log_probs else None)

    streams = [whole] if second is None else [whole, second]
    reads = [tokens.mask.sum(dim=1).tolist() for tokens in streams]
    stays = use_cache and model.device.type in STAYS and can_stay(model)

    def batch_of(rows: list[int], new_tokens: int) -> Batch:
        places = torch.tensor(rows, device=model.device)
        uniforms = torch.stack([uniforms_of(seeds[i], max_new_tokens) for i in rows]).float().to(model.device)

        def stream(prompts: list[list[int]]) -> Stream:
            tokens = model.pad(prompts, [begun[i] for i in rows])
            return Stream(model, tokens, places, n, new_tokens=new_tokens, use_cache=use_cache)

        batch = Batch(stream([prompt_ids[i][: lengths[i]] for i in rows]), uniforms, rule)
        if second is not None:
            batch.without_context = stream([bare[i] for i in rows])
        return batch

    def decoded(rows: list[int]) -> Drawn:
        def ending(row: int, drawn: list[int], since: int) -> int | None:
            return end_of(model, prompt_ids[rows[row]], drawn, since, eos, stop, rows[row])

        lengths = [tuple(read[i] for read in reads) for i in rows]
        slots = None
        if stays:
            slots = _slots(model, lengths, max_new_tokens, batch_size, sampling.counts_tokens, log_probs)
        if slots is None:
            return decode(batch_of(rows, max_new_tokens), sampling, ending, log_probs=log_probs)
        slots.begin(max_new_tokens, sampling, rule, n)
        return decode_in_slots(slots, [*map(max, lengths)], lambda some: batch_of([rows[i] for i in some], 0), ending)

    with progress_bar(what="generate", shown=progress, total=n) as bar, torch.inference_mode(False), torch.no_grad():
        batches = _sharing(model, reads, prompt_ids, max_new_tokens, batch_size, stays=stays)
        for rows, drawn in fitting(decoded, batches, model.release):
            for i, row in zip(rows, drawn.tokens, strict=True):
                out.tokens[i] = row
                out.texts[i] = cut_at(text_behind(model, prompt_ids[i], row, skip_special_tokens=True), stop)
            if out.log_probs is not None and out.unsteered_log_probs is not None and drawn.log_probs is not None:
                with model.unedited():
                    plain = continuation_log_probs(model, [prompt_ids[i] for i in rows], drawn.tokens)
                for i, steered, unsteered in zip(rows, drawn.log_probs, plain, strict=True):
                    out.log_probs[i], out.unsteered_log_probs[i] = steered, unsteered
            bar.update(len(rows))
    return out


def _sharing(
    model: HookedModel,
    lengths: Sequence[Sequence[int]],
    ids: Sequence[list[int]],
    new_tokens: int,
    batch_size: int,
    *,
    stays: bool,
) -> Iterator[list[int]]:
    """Rows to decode together, at most `batch_size` and what fits into memory: such as may share their passes.

    `lengths` are how many tokens each stream reads of each row, `ids` those of the first. Rows of like length go
    together, and of one prompt. Where rows stay in their places, more of them wait for one; with a `batch_size` of 1
    none does, so that nothing about a row hangs on the others.
    """
    n, held = len(ids), bytes_held(model) if stays else 0
    groups = [list(range(n))]
    if not model.batching.free:
        kinds = [tuple(model.batching.kind(length[i], new_tokens) for length in lengths) for i in range(n)]
        groups = model.batching.groups(kinds)
    for group in groups:
        rows = group
        if len(group) > batch_size or stays:  # places with room for the longest serve the others too
            rows = sorted(group, key=lambda i: (len(ids[i]), ids[i]), reverse=stays)
        while rows:
            longest = max(sum(length[i] for length in lengths) for i in rows)
            size = min(batch_size, rows_that_fit(model, longest + len(lengths) * new_tokens, held))
            size *= WAITING if stays and size > 1 else 1
            yield rows[:size]
            rows = rows[size:]


WAITING = 8  # batches


def _slots(
    model: HookedModel, lengths: Sequence[Sequence[int]], new_tokens: int, batch_size: int, counts: bool, nats: bool
) -> Slots | None:
    """Places for rows whose streams read so many tokens each; None where the cache is none that can stay there."""
    room, steps = (-(-length // ROOM) * ROOM for length in (max(map(max, lengths)) + new_tokens, new_tokens))
    if not fixes(model.new_cache(1), room):
        return None
    n = min(batch_size, rounded(len(lengths)), rows_that_fit(model, room * len(lengths[0]), bytes_held(model)))
    return slots_of(model, Shape(n, room, steps, len(lengths[0]), counts, nats))


def end_of(
    model: HookedModel,
    before: list[int],
    drawn: list[int],
    since: int,
    eos: frozenset[int],
    stop: Sequence[str],
    row: int = 0,
) -> int | None:
    """How many of the drawn tokens belong to a row, ended by an end-of-text token or a stop string from `since` on.

    Args:
        model: The model that draws.
        before: Ids of the prompt.
        drawn: Ids behind it.
        since: How many of them were looked at before.
        eos: End-of-text tokens.
        stop: Texts before which a row ends.
        row: Its place in the caller's whole batch, for the error.

    Raises:
        NoNumbers: it goes on where there was nothing to draw from.
    """
    for length in range(since + 1, len(drawn) + 1):
        if drawn[length - 1] == NO_TOKEN:
            raise NoNumbers(model, row)
        if drawn[length - 1] in eos:
            return length
        if stop and any(s in text_behind(model, before, drawn[:length]) for s in stop):
            return length
    return None


def _check_room(model: HookedModel, tokens: Tokens, max_new_tokens: int) -> None:
    longest = int(tokens.mask.sum(dim=1).max())
    if longest + max_new_tokens > model.n_ctx:
        raise ValueError(
            f"the longest prompt is {longest} tokens and {max_new_tokens} new ones would not fit the context of"
            f" {model.name} ({model.n_ctx}): shorten the prompt or ask for at most {max(0, model.n_ctx - longest)}"
        )


def text_behind(model: HookedModel, before: Sequence[int], drawn: Sequence[int], **options: bool) -> str:
    """What `drawn` reads as behind the last token of `before`; alone, some tokenizers would drop its leading space.

    Args:
        model: The model whose tokenizer reads.
        before: Ids of the prompt.
        drawn: Ids behind it.
        **options: Those of the tokenizer's `decode`.
    """
    anchor = model.tokenizer.decode(before[-1:], **options)
    whole = model.tokenizer.decode([*before[-1:], *drawn], **options)
    return whole[len(anchor) :] if whole.startswith(anchor) else model.tokenizer.decode(drawn, **options)


def cut_at(text: str, stop: Sequence[str]) -> str:
    """`text` up to the first of the `stop` strings."""
    return text[: min((found for s in stop if (found := text.find(s)) >= 0), default=len(text))]
