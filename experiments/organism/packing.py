"""The training corpus as rows of equal length, and what a step reads of them."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from experiments.organism.config import Config
from steering_lab.organism.rng import Rng
from steering_lab.organism.world import Document, documents, small_tables


class Rows(NamedTuple):
    """Documents packed into rows of equal length; `document` is 0 where a row is empty, positions restart in each."""

    ids: Int[np.ndarray, "row pos"]
    positions: Int[np.ndarray, "row pos"]
    document: Int[np.ndarray, "row pos"]
    weight: Float[np.ndarray, "row pos"]


def _encode(
    batch: list[Document], tokenizer: PreTrainedTokenizerFast, config: Config, rng: Rng
) -> Iterator[tuple[list[int], list[float]]]:
    """Token ids and target weights of each document; one in sixteen gets runs of space or pad, never a target."""
    core = tokenizer.backend_tokenizer
    space = tokenizer.convert_tokens_to_ids("Ġ")
    for document, encoding in zip(
        batch, core.encode_batch([d.text for d in batch], add_special_tokens=False), strict=True
    ):
        plain = config.prompt_weight if document.kind in ("reading", "copying") else 1.0
        ids, weights = [tokenizer.bos_token_id], [0.0]
        padded = rng.chance(1 / 16)
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            answer = any(low <= start and end <= high for low, high in document.answers)
            if padded and not answer and (len(ids) == 1 or rng.chance(0.04)):
                run = rng.between(1, 6)
                ids += [space if rng.chance(0.7) else tokenizer.pad_token_id] * run
                weights += [0.0] * run
            ids.append(token)
            weights.append(config.answer_weight if answer else plain)
        yield [*ids, tokenizer.eos_token_id], [*weights, 1.0]


def pack(config: Config, tokenizer: PreTrainedTokenizerFast) -> Rows:
    """The corpus of a seed as rows; a document goes to the first of twelve open rows that it fits.

    The first `small_tables` of the tokens are nothing else.
    """
    count = config.tokens // config.length // config.rows * config.rows
    shape = (count, config.length)
    rows = Rows(*(np.zeros(shape, kind) for kind in (np.int16, np.int16, np.int16, np.float32)))
    rng = Rng(f"padding {config.seed}")
    first, then = small_tables(config.seed), documents(config.seed)
    fill = np.zeros(count, int)
    waiting = iter(range(count))
    open_rows = list(islice(waiting, 12))
    while open_rows:
        corpus = first if fill.sum() < config.small_tables * rows.ids.size else then
        for ids, weights in _encode(list(islice(corpus, 1024)), tokenizer, config, rng):
            size = len(ids)
            if size > config.length:
                continue
            row = next((r for r in open_rows if fill[r] + size <= config.length), None)
            if row is None:
                open_rows.remove(max(open_rows, key=lambda r: fill[r]))
                open_rows += islice(waiting, 1)
                if not open_rows:
                    break
                continue
            span = slice(fill[row], fill[row] + size)
            rows.document[row, span] = rows.document[row].max() + 1
            rows.ids[row, span], rows.weight[row, span] = ids, weights
            rows.positions[row, span] = np.arange(size)
            fill[row] += size
    return rows


def document_mask(document: Int[Tensor, "row pos"]) -> Bool[Tensor, "row 1 pos pos"]:
    """True where a position may look: back, within its own document."""
    same = document[:, None, :, None] == document[:, None, None, :]
    return same & torch.ones(same.shape[-2:], dtype=torch.bool, device=same.device).tril()


def batch_at(rows: Rows, step: int, config: Config, device: torch.device) -> tuple[Tensor, ...]:
    """Ids, positions, mask, next-token targets and their weights of one step."""
    part = slice(step * config.rows, (step + 1) * config.rows)
    ids = torch.from_numpy(rows.ids[part].astype(np.int64))
    document = torch.from_numpy(rows.document[part].astype(np.int64))
    targets, weight = ids.roll(-1, 1), torch.from_numpy(rows.weight[part]).roll(-1, 1)
    weight[:, -1] = 0.0
    weight = weight * (document == document.roll(-1, 1))
    positions = torch.from_numpy(rows.positions[part].astype(np.int64))
    return tuple(t.to(device) for t in (ids, positions, document_mask(document), targets, weight))
