"""The one decode loop: KV cache, left-padded batches, per-row edits, per-row randomness.

Promises: a row's text depends on its own prompt, seed and edits, never on the rows beside it; with and without the KV
cache the same text; padding is never attended to. Whatever edits are in force on the model act in every pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from steering_lab.models.hooked_model import ForwardPass, HookedModel, Tokens


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn; `temperature=0` is greedy.

    In TransformerLens's order and meaning: logits / temperature, minus `freq_penalty` x how often the token already
    stands in prompt and continuation (beginning-of-text token included), then the `top_k` best, then the smallest set
    with probability >= `top_p`. Turner et al. 2023 (arXiv:2308.10248, appendix C) used temperature 1, top_p 0.3,
    freq_penalty 1.

    Raises:
        ValueError: a value outside its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    freq_penalty: float = 0.0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ValueError(f"temperature is {self.temperature}: it must be 0 (greedy) or more")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k is {self.top_k}: it must be 1 or more, or None")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}: it must lie in (0, 1]")
        if not isfinite(self.freq_penalty):
            raise ValueError(f"freq_penalty is {self.freq_penalty}: it must be finite")


GREEDY = Sampling(temperature=0.0)
SCORED_LOGITS = 2**27  # float32 logits of one scoring slice: half a gigabyte


@dataclass(frozen=True)
class Generations:
    """What a batch of prompts was continued with, one entry per row.

    `texts` are continuations without special tokens and cut before a stop string; `tokens` are all ids that were drawn.
    `log_probs` are nats per token under the model with its edits, `unsteered_log_probs` the same tokens without them.
    """

    prompts: list[str]
    texts: list[str]
    tokens: list[list[int]]
    log_probs: list[list[float]] | None = None
    unsteered_log_probs: list[list[float]] | None = None

    def __len__(self) -> int:
        return len(self.texts)


@dataclass
class _Batch:
    """Rows being decoded together; `told_rows` are their places in the caller's batch of `n_batch` rows."""

    tokens: Tokens
    told_rows: Int[Tensor, " batch"]
    n_batch: int
    uniforms: Float[Tensor, "batch steps"]
    drawn: list[Int[Tensor, " batch"]] = field(default_factory=list)
    log_probs: list[Float[Tensor, " batch"]] = field(default_factory=list)


@torch.no_grad()
def generate(
    model: HookedModel,
    prompts: str | Sequence[str] | Tokens,
    *,
    max_new_tokens: int = 40,
    sampling: Sampling = GREEDY,
    seed: int | Sequence[int] = 0,
    stop: Sequence[str] = (),
    batch_size: int = 256,
    log_probs: bool = False,
    use_cache: bool = True,
    progress: bool | None = False,
) -> Generations:
    """Continuations of `prompts` (text, or `Tokens` that are ready) under whatever edits are in force.

    `Tokens` that hold the beginning of a continuation are continued where they end. Every row draws from a stream of
    its own: row i from `seed[i]`, or from (`seed`, i) when one number is given. Decoding ends at an end-of-text token,
    before any of the `stop` strings, or after `max_new_tokens`. `progress=None` shows a bar on a terminal only.

    Raises:
        ValueError: an empty prompt, or prompt and continuation longer than the model's context; nothing has run then.
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
    seeds = [(seed, i) for i in range(len(whole))] if isinstance(seed, int) else [(int(s), 0) for s in seed]
    if len(seeds) != len(whole):
        raise ValueError(f"{len(seeds)} seeds for {len(whole)} prompts: pass one number or one per prompt")

    out = Generations(texts, [], [], [] if log_probs else None, [] if log_probs else None)
    order = range(0, len(whole), batch_size)
    for start in tqdm(order, desc="generate", disable=_hidden(progress), leave=False):
        rows = range(start, min(start + batch_size, len(whole)))
        told = torch.arange(rows.start, rows.stop, device=model.device)
        ids = prompt_ids[rows.start : rows.stop]
        uniforms = torch.stack([_uniforms(seeds[i], max_new_tokens) for i in rows]).to(model.device)
        prompt = [prompt_ids[i][: lengths[i]] for i in rows]
        begun = [prompt_ids[i][lengths[i] :] for i in rows]
        batch = _Batch(model.pad(prompt, begun), told, len(whole), uniforms)
        ends = _decode(model, batch, sampling, stop, use_cache)
        drawn = torch.stack(batch.drawn, dim=1).tolist()
        for before, row, end in zip(ids, drawn, ends, strict=True):
            out.tokens.append(row[:end])
            out.texts.append(_cut(_text(model, before, row[:end], skip_special_tokens=True), stop))
        if out.log_probs is not None and out.unsteered_log_probs is not None:
            steered = torch.stack(batch.log_probs, dim=1).tolist()
            out.log_probs.extend(row[:end] for row, end in zip(steered, ends, strict=True))
            with model.unedited():
                out.unsteered_log_probs.extend(continuation_log_probs(model, ids, out.tokens[rows.start :]))
    return out


@torch.no_grad()
def continuation_log_probs(
    model: HookedModel, prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]]
) -> list[list[float]]:
    """Log-probability in nats of each continuation token given all before it, by uncached passes over ready ids.

    Rows are scored in slices small enough for their float32 logits to stay under half a gigabyte. Edits in force apply;
    a per-row intervention does not, because rows lose their number.
    """
    longest = max(len(p) + len(c) for p, c in zip(prompts, continuations, strict=True))
    size = max(1, SCORED_LOGITS // (longest * model.d_vocab))
    found: list[list[float]] = []
    for start in range(0, len(prompts), size):
        part = slice(start, start + size)
        tokens = model.pad(prompts[part], continuations[part])
        log_probs = torch.log_softmax(model.logits(tokens)[:, :-1].float(), dim=-1)
        chosen = log_probs.gather(-1, tokens.ids[:, 1:, None]).squeeze(-1)
        found += [row[row.shape[0] - len(c) :].tolist() for row, c in zip(chosen, continuations[part], strict=True)]
    return found


def _decode(model: HookedModel, batch: _Batch, sampling: Sampling, stop: Sequence[str], use_cache: bool) -> list[int]:
    """Fills `batch.drawn` step by step; returns how many drawn tokens belong to each row."""
    tokens, steps = batch.tokens, batch.uniforms.shape[1]
    ids, mask, positions = tokens.ids, tokens.mask, tokens.positions
    counts = _token_counts(tokens, model.d_vocab) if sampling.freq_penalty else None
    cache = model.new_cache(len(tokens)) if use_cache else None
    ends = [0] * len(tokens)
    new_ids, new_positions = ids, positions
    for step in range(steps):
        decoding = use_cache and step > 0
        told = ForwardPass(new_positions, tokens.prompt_lengths, batch.told_rows, batch.n_batch, decoding)
        logits = model.forward(new_ids, mask, told, cache)[:, -1].float()
        chosen = draw(logits, sampling, batch.uniforms[:, step], counts)
        batch.drawn.append(chosen)
        batch.log_probs.append(torch.log_softmax(logits, dim=-1).gather(-1, chosen[:, None]).squeeze(-1))
        if counts is not None:
            counts.scatter_add_(1, chosen[:, None], torch.ones_like(counts[:, :1]))
        _mark_ends(model, batch, stop, ends)
        if all(ends):
            break
        positions = torch.cat([positions, positions[:, -1:] + 1], dim=1)
        ids = torch.cat([ids, chosen[:, None]], dim=1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        new_ids, new_positions = (ids[:, -1:], positions[:, -1:]) if use_cache else (ids, positions)
    return [end or len(batch.drawn) for end in ends]


def draw(
    logits: Float[Tensor, "batch d_vocab"],
    sampling: Sampling,
    uniforms: Float[Tensor, " batch"],
    counts: Float[Tensor, "batch d_vocab"] | None = None,
) -> Int[Tensor, " batch"]:
    """One token per row: the best where sampling is greedy, else the cumulative distribution inverted at `uniforms`.

    Unlike TransformerLens, a frequency penalty counts under greedy decoding too, since no option may be ignored.
    """
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


def _mark_ends(model: HookedModel, batch: _Batch, stop: Sequence[str], ends: list[int]) -> None:
    latest, length, prompt = batch.drawn[-1].tolist(), len(batch.drawn), batch.tokens.ids[:, -1:].tolist()
    drawn = torch.stack(batch.drawn, dim=1) if stop else None
    for i, token in enumerate(latest):
        if not ends[i] and (
            token in model.eos_token_ids
            or (drawn is not None and any(s in _text(model, prompt[i], drawn[i].tolist()) for s in stop))
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


def _hidden(progress: bool | None) -> bool | None:
    """tqdm's `disable`: None means only where there is no terminal."""
    return None if progress is None else not progress
