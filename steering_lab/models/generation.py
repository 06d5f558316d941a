"""The one decode loop: KV cache, left-padded batches, per-row edits, per-row randomness.

Promises: a row's text depends on its own prompt, seed and edits, never on the rows beside it; with and without the KV
cache the same text; padding is never attended to. Whatever edits are in force on the model act in every pass. What a
row says is what it says alone, read whole without a cache; rows of a model where company, padding or a cache would
change that (`Batching`) go in passes of their own.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Any, Protocol, SupportsIndex, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from steering_lab.models import display
from steering_lab.models.hooked_model import ForwardPass, HookedModel, Tokens
from steering_lab.models.integers import Whole, whole_number
from steering_lab.models.progress import progress_bar


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn; `temperature=0` is greedy.

    In TransformerLens's order and meaning: logits / temperature, minus `freq_penalty` x how often the token already
    stands in prompt and continuation (beginning-of-text token included), then the `top_k` best, then the smallest set
    with probability >= `top_p`. Turner et al. 2023 (arXiv:2308.10248, appendix C) used temperature 1, top_p 0.3,
    freq_penalty 1. `repetition_penalty` is Hugging Face's (Keskar et al. 2019, arXiv:1909.05858) and comes before the
    temperature: the logit of a token that stands in prompt or continuation is divided by it where positive, multiplied
    where negative; 1 changes nothing. Padding counts for neither penalty.

    Raises:
        ValueError: a value outside its range.
    """

    temperature: float = 1.0
    top_k: Whole | None = None
    top_p: float = 1.0
    freq_penalty: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ValueError(f"temperature is {self.temperature}: it must be 0 (greedy) or more")
        if self.top_k is not None:
            object.__setattr__(self, "top_k", whole_number(self.top_k, "top_k"))
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k is {self.top_k}: it must be 1 or more, or None")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}: it must lie in (0, 1]")
        if not isfinite(self.freq_penalty):
            raise ValueError(f"freq_penalty is {self.freq_penalty}: it must be finite")
        if not (isfinite(self.repetition_penalty) and self.repetition_penalty > 0):
            raise ValueError(f"repetition_penalty is {self.repetition_penalty}: it must be finite and above 0")

    @property
    def counts_tokens(self) -> bool:
        """Whether the next token depends on which tokens have been there."""
        return bool(self.freq_penalty) or self.repetition_penalty != 1


GREEDY = Sampling(temperature=0.0)


@runtime_checkable
class LogitsRule(Protocol):
    """Next-token scores from two streams that read the same continuation, one with the context and one without.

    Stateless; the softmax of what it returns is the distribution that is decoded.
    """

    def __call__(
        self, with_context: Float[Tensor, "batch d_vocab"], without_context: Float[Tensor, "batch d_vocab"]
    ) -> Float[Tensor, "batch d_vocab"]: ...


SHOWN = 30  # continuations that a notebook shows
SCORED_LOGITS = 2**27  # float32 logits of one scoring slice: half a gigabyte


@dataclass(frozen=True)
class Generations:
    """What a batch of prompts was continued with, one entry per row.

    `texts` are continuations without special tokens and cut before a stop string; `tokens` are all ids that were drawn.
    `log_probs` are nats per token under the model with its edits and rule, `unsteered_log_probs` without either.
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


class _Stream:
    """One sequence per row being decoded, and the KV cache of the `held` columns that it stands for."""

    def __init__(self, model: HookedModel, tokens: Tokens, rows: Int[Tensor, " batch"], n_batch: int, use_cache: bool):
        self.model, self.tokens, self.rows, self.n_batch = model, tokens, rows, n_batch
        self.ids, self.mask, self.positions = tokens.ids, tokens.mask, tokens.positions
        self.use_cache = use_cache
        self.cache: Any = None
        self.held = 0
        self.longest = int(tokens.mask.sum(dim=1).max())

    def logits(self) -> Float[Tensor, "batch d_vocab"]:
        """Float32 logits of the token that comes next, by one pass over what the cache does not hold."""
        width = self.ids.shape[1]
        if self.cache is not None and not self.model.batching.same(self.longest - width + self.held, self.longest):
            self.cache, self.held = None, 0
        if self.use_cache and self.cache is None:
            self.cache = self.model.new_cache(len(self.tokens))
        new, lengths = slice(self.held, None), self.tokens.prompt_lengths
        told = ForwardPass(self.positions[:, new], lengths, self.rows, self.n_batch, decoding=self.held > 0)
        logits = self.model.forward(self.ids[:, new], self.mask, told, self.cache)[:, -1].float()
        self.held = width if self.use_cache else 0
        return logits

    def append(self, chosen: Int[Tensor, " batch"]) -> None:
        """Continues every row by its chosen token."""
        self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], dim=1)
        self.ids = torch.cat([self.ids, chosen[:, None]], dim=1)
        self.positions = torch.cat([self.positions, self.positions[:, -1:] + 1], dim=1)
        self.longest += 1


@dataclass
class _Batch:
    """Rows being decoded together: the stream, the one without context where a rule wants it, and what was drawn."""

    stream: _Stream
    uniforms: Float[Tensor, "batch steps"]
    rule: LogitsRule | None = None
    without_context: _Stream | None = None
    drawn: list[Int[Tensor, " batch"]] = field(default_factory=list)
    log_probs: list[Float[Tensor, " batch"]] = field(default_factory=list)

    def logits(self) -> Float[Tensor, "batch d_vocab"]:
        """Scores of the next token. The stream without context is what the unedited model would say from memory."""
        logits = self.stream.logits()
        if self.rule is None or self.without_context is None:
            return logits
        with self.stream.model.unedited():
            return self.rule(logits, self.without_context.logits())

    def append(self, chosen: Int[Tensor, " batch"]) -> None:
        """Continues both streams by the same token."""
        self.stream.append(chosen)
        if self.without_context is not None:
            self.without_context.append(chosen)


@torch.no_grad()
def generate(
    model: HookedModel,
    prompts: str | Sequence[str] | Tokens,
    *,
    max_new_tokens: int = 40,
    sampling: Sampling = GREEDY,
    seed: SupportsIndex | Sequence[SupportsIndex] = 0,
    stop: Sequence[str] = (),
    batch_size: int = 256,
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
    before any of the `stop` strings, or after `max_new_tokens`; with `ignore_eos` an end-of-text token is a token like
    any other, so that every row has as many (for timing). `progress=None` shows a bar on a terminal and lines in a log.

    A contrastive `rule` (`CAD`, `COIECD`) decodes two streams in step, each with its own KV cache: the prompts, under
    the edits in force, and `without_context`, one prompt per row, which the unedited model reads.

    Raises:
        ValueError: an empty prompt, a seed that is no integer, a rule without its second stream or the reverse, or
            prompt and continuation longer than the model's context; nothing has run then.
    """
    whole = prompts if isinstance(prompts, Tokens) else model.to_tokens(prompts)
    prompt_ids = [row[kept].tolist() for row, kept in zip(whole.ids, whole.mask, strict=True)]
    lengths = whole.prompt_lengths.tolist()
    if isinstance(prompts, Tokens):
        texts = [model.tokenizer.decode(ids, skip_special_tokens=True) for ids in prompt_ids]
    else:
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
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
    if second is not None:
        _check_room(model, second, max_new_tokens)

    n = len(whole)
    use_cache = use_cache and model.batching.caches and (second is None or model.batching.interleaves)
    out = Generations(texts, [""] * n, [[]] * n, [[]] * n if log_probs else None, [[]] * n if log_probs else None)
    with progress_bar(what="generate", shown=progress, total=n) as bar:
        for rows in _sharing(model, [whole] if second is None else [whole, second], max_new_tokens, batch_size):
            told = torch.tensor(rows, device=model.device)
            uniforms = torch.stack([_uniforms(seeds[i], max_new_tokens) for i in rows]).to(model.device)
            prompt = [prompt_ids[i][: lengths[i]] for i in rows]
            begun = [prompt_ids[i][lengths[i] :] for i in rows]
            batch = _Batch(_Stream(model, model.pad(prompt, begun), told, n, use_cache), uniforms, rule)
            if second is not None:
                bare = model.pad([second.ids[i][second.mask[i]].tolist() for i in rows], begun)
                batch.without_context = _Stream(model, bare, told, n, use_cache)
            ends = _decode(batch, sampling, stop, frozenset() if ignore_eos else model.eos_token_ids)
            drawn = torch.stack(batch.drawn, dim=1).tolist()
            for i, row, end in zip(rows, drawn, ends, strict=True):
                out.tokens[i] = row[:end]
                out.texts[i] = _cut(_text(model, prompt_ids[i], row[:end], skip_special_tokens=True), stop)
            if out.log_probs is not None and out.unsteered_log_probs is not None:
                steered = torch.stack(batch.log_probs, dim=1).tolist()
                with model.unedited():
                    plain = continuation_log_probs(model, [prompt_ids[i] for i in rows], [out.tokens[i] for i in rows])
                for i, row, unsteered in zip(rows, steered, plain, strict=True):
                    out.log_probs[i], out.unsteered_log_probs[i] = row[: len(unsteered)], unsteered
            bar.update(len(rows))
    return out


def _sharing(model: HookedModel, streams: Sequence[Tokens], new_tokens: int, batch_size: int) -> Iterator[list[int]]:
    """Rows to decode together, at most `batch_size`: such as may share the passes of every stream."""
    n = len(streams[0])
    groups = [list(range(n))]
    if not model.batching.free:
        lengths = [tokens.mask.sum(dim=1).tolist() for tokens in streams]
        kinds = [tuple(model.batching.kind(length[i], new_tokens) for length in lengths) for i in range(n)]
        groups = model.batching.groups(kinds)
    for rows in groups:
        for start in range(0, len(rows), batch_size):
            yield rows[start : start + batch_size]


@torch.no_grad()
def continuation_log_probs(
    model: HookedModel, prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]]
) -> list[list[float]]:
    """Log-probability in nats of each continuation token given all before it, by uncached passes over ready ids.

    Each token's is that of the row up to it, alone. Rows are scored in slices small enough for their float32 logits to
    stay under half a gigabyte. Edits in force apply; a per-row intervention does not, because rows lose their number.
    """
    size = max(1, SCORED_LOGITS // (max(map(len, prompts)) + max(map(len, continuations))) // model.d_vocab)
    found: list[list[float]] = []
    for start in range(0, len(prompts), size):
        part = slice(start, start + size)
        for scores, ids in zip(
            forced_logits(model, prompts[part], continuations[part]), continuations[part], strict=True
        ):
            log_probs = torch.log_softmax(scores.float(), dim=-1)
            found.append(log_probs.gather(-1, torch.tensor(ids, device=scores.device)[:, None]).squeeze(-1).tolist())
    return found


def forced_logits(
    model: HookedModel, prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]]
) -> list[Float[Tensor, "step d_vocab"]]:
    """The logits from which each continuation token would be drawn, by uncached passes over ready ids.

    One pass; on a model that changes with length, one more for each change within a continuation.
    """
    spans = [model.batching.spans(len(p), len(c)) for p, c in zip(prompts, continuations, strict=True)]
    read = [(i, first, last) for i, own in enumerate(spans) for first, last in own]
    tokens = model.pad([prompts[i] for i, _, _ in read], [continuations[i][: max(0, last - 1)] for i, _, last in read])
    found: list[list[Tensor]] = [[] for _ in spans]
    for (i, first, last), row in zip(read, model.logits(tokens), strict=True):
        found[i].append(row[row.shape[0] - (last - first) :])
    return [torch.cat(parts) for parts in found]


def _decode(batch: _Batch, sampling: Sampling, stop: Sequence[str], eos: frozenset[int]) -> list[int]:
    """Fills `batch.drawn` step by step; returns how many drawn tokens belong to each row."""
    model, tokens = batch.stream.model, batch.stream.tokens
    counts = _token_counts(tokens, model.d_vocab) if sampling.counts_tokens else None
    ends = [0] * len(tokens)
    for uniforms in batch.uniforms.T:
        logits = batch.logits()
        chosen = draw(logits, sampling, uniforms, counts)
        batch.drawn.append(chosen)
        batch.log_probs.append(torch.log_softmax(logits, dim=-1).gather(-1, chosen[:, None]).squeeze(-1))
        if counts is not None:
            counts.scatter_add_(1, chosen[:, None], torch.ones_like(counts[:, :1]))
        _mark_ends(batch, stop, eos, ends)
        if all(ends):
            break
        batch.append(chosen)
    return [end or len(batch.drawn) for end in ends]


def draw(
    logits: Float[Tensor, "batch d_vocab"],
    sampling: Sampling,
    uniforms: Float[Tensor, " batch"],
    counts: Float[Tensor, "batch d_vocab"] | None = None,
) -> Int[Tensor, " batch"]:
    """One token per row: the best where sampling is greedy, else the cumulative distribution inverted at `uniforms`.

    Unlike TransformerLens, a frequency penalty counts under greedy decoding too, since no option may be ignored.
    `counts` says how often each token stands in prompt and continuation; without it there is no penalty.
    """
    if counts is not None and sampling.repetition_penalty != 1:
        penalty = sampling.repetition_penalty
        logits = torch.where(counts > 0, torch.where(logits > 0, logits / penalty, logits * penalty), logits)
    if sampling.temperature > 0:
        logits = logits / sampling.temperature
    if counts is not None:
        logits = logits - sampling.freq_penalty * counts
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    if sampling.top_k is None and sampling.top_p == 1:
        return _invert(torch.softmax(logits.double(), dim=-1), uniforms).squeeze(-1)
    ordered, tokens = logits.sort(dim=-1, descending=True, stable=True)
    if sampling.top_k is not None:
        ordered[:, sampling.top_k :] = -torch.inf
    probabilities = torch.softmax(ordered.double(), dim=-1)
    kept = probabilities.cumsum(dim=-1) - probabilities < sampling.top_p  # the token that crosses top_p is kept
    return tokens.gather(-1, _invert(probabilities * kept, uniforms)).squeeze(-1)


def _invert(weights: Float[Tensor, "batch d_vocab"], uniforms: Float[Tensor, " batch"]) -> Int[Tensor, "batch 1"]:
    """The first index whose cumulative weight exceeds `uniforms` x the total."""
    cumulative = weights.cumsum(dim=-1)
    index = torch.searchsorted(cumulative, (uniforms * cumulative[:, -1])[:, None], right=True)
    return index.clamp(max=weights.shape[1] - 1)


def _mark_ends(batch: _Batch, stop: Sequence[str], eos: frozenset[int], ends: list[int]) -> None:
    model, prompt = batch.stream.model, batch.stream.tokens.ids[:, -1:].tolist()
    latest, length = batch.drawn[-1].tolist(), len(batch.drawn)
    drawn = torch.stack(batch.drawn, dim=1) if stop else None
    for i, token in enumerate(latest):
        if not ends[i] and (
            token in eos or (drawn is not None and any(s in _text(model, prompt[i], drawn[i].tolist()) for s in stop))
        ):
            ends[i] = length


def _check_room(model: HookedModel, tokens: Tokens, max_new_tokens: int) -> None:
    longest = int(tokens.mask.sum(dim=1).max())
    if longest + max_new_tokens > model.n_ctx:
        raise ValueError(
            f"the longest prompt is {longest} tokens and {max_new_tokens} new ones would not fit the context of"
            f" {model.name} ({model.n_ctx}): shorten the prompt or ask for at most {max(0, model.n_ctx - longest)}"
        )


def _token_counts(tokens: Tokens, d_vocab: int) -> Float[Tensor, "batch d_vocab"]:
    counts = torch.zeros(len(tokens), d_vocab, device=tokens.ids.device)
    return counts.scatter_add_(1, tokens.ids, tokens.mask.float())


def _uniforms(seed: tuple[int, int], steps: int) -> Float[Tensor, " steps"]:
    mixed = (seed[0] * 0x9E3779B97F4A7C15 + seed[1] * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**63
    return torch.rand(steps, generator=torch.Generator().manual_seed(mixed), dtype=torch.float64)


def _text(model: HookedModel, before: Sequence[int], drawn: Sequence[int], **options: bool) -> str:
    """What `drawn` reads as behind the last token of `before`; alone, some tokenizers would drop its leading space."""
    anchor = model.tokenizer.decode(before[-1:], **options)
    whole = model.tokenizer.decode([*before[-1:], *drawn], **options)
    return whole[len(anchor) :] if whole.startswith(anchor) else model.tokenizer.decode(drawn, **options)


def _cut(text: str, stop: Sequence[str]) -> str:
    return text[: min((found for s in stop if (found := text.find(s)) >= 0), default=len(text))]
