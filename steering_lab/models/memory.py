"""How much memory there is, and how many rows of a batch it holds."""

import gc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import torch

from steering_lab.models.hooked_model import HookedModel

T = TypeVar("T")
USED = 0.5  # of what is free: the rest is for what is not counted here


def bytes_of_token(model: HookedModel) -> int:
    """What a token of `model` takes while its prompt is read: keys and values, and the widest activations."""
    cfg, size = model.backend.cfg, torch.finfo(model.dtype).bits // 8
    heads = int(getattr(cfg, "n_key_value_heads", None) or cfg.n_heads)
    cached = 2 * model.n_layers * heads * int(cfg.d_head) * size
    widest = 4 * max(int(getattr(cfg, "d_mlp", None) or 0), model.d_model, int(cfg.n_heads) * int(cfg.d_head)) * size
    return cached + widest


def rows_that_fit(model: HookedModel, length: int, held: int = 0) -> int:
    """How many rows of `length` tokens the free memory holds while they are decoded: a power of two, at least one.

    Counted are `bytes_of_token` and a few rows of logits; `held` bytes are taken already, for these rows.

    Args:
        model: Whose device has so much memory free.
        length: Tokens of a row, with those that are decoded.
        held: Bytes that such rows hold already.
    """
    a_row = length * bytes_of_token(model) + 16 * model.d_vocab
    fit = int(USED * (free_bytes(model.device) + held)) // a_row
    return max(1, 1 << fit.bit_length() >> 1)


def fitting(
    work: Callable[[list[int]], T], batches: Iterable[list[int]], release: Callable[[], None] = lambda: None
) -> Iterator[tuple[list[int], T]]:
    """What `work` gives for the rows of each batch; for one that does not fit into memory, for its halves.

    `release` lets go of what is only held to be used again.

    Args:
        work: Gives a result for rows, by number.
        batches: The rows of each batch.
        release: Called before a batch that did not fit is tried in halves.
    """
    for batch in batches:
        waiting = [batch]
        while waiting:
            rows = waiting.pop(0)
            done: list[T] = []
            try:
                done.append(work(rows))
            except (RuntimeError, MemoryError) as error:
                if len(rows) == 1 or not is_out_of_memory(error):
                    raise
            if done:
                yield rows, done[0]
            else:  # behind the handler, which holds on to the tensors of the pass that failed
                release()
                free_unused()
                waiting[:0] = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]


def free_bytes(device: torch.device) -> int:
    """Memory of the device that nothing uses; of the machine or its container, for a device that does not say."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + unused)
    free = int(psutil.virtual_memory().available)
    limit, used = (_read(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    return free if limit is None or used is None else min(free, max(0, limit - used))


def _read(path: str) -> int | None:
    """The number in a file of the kernel's; None where there is none, as without a limit."""
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a pass failed with `error` because it did not fit."""
    said = ("can't allocate memory", "out of memory", "ALLOC_FAILED")  # of the CPU, of a driver or MPS, of cuBLAS
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and any(words in str(error) for words in said))


def free_unused() -> None:
    """What nobody holds any more goes back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
