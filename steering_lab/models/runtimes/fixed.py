"""A key-value cache that never moves: its rows stand in places of their own, so that one CUDA graph serves every step.

A row's tokens fill its columns from the left, and every row may stand at another column. What it has not filled yet is
masked, so that what lies there is never seen.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from steering_lab.models.runtimes.cache import GrowingLayer
from steering_lab.models.tokens import ForwardPass


class FixedLayer(DynamicLayer):
    """Keys and values of one layer, `room` columns a row: each row writes at its own column, [place 1] of `column`."""

    keys: Tensor
    values: Tensor
    is_initialized: bool

    def __init__(self, column: Int[Tensor, "place 1"], room: int) -> None:
        super().__init__()
        self.column, self.room = column, room

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """All columns of the first rows, one token a row written among them.

        Args:
            key_states: Keys of the new tokens.
            value_states: Values of the new tokens.
            *args: Passed by Hugging Face, and not used.
            **kwargs: Passed by Hugging Face, and not used.
        """
        n = len(key_states)
        for store, new in ((self.keys, key_states), (self.values, value_states)):
            store[:n].scatter_(2, self.column[:n, :, None, None].expand(-1, *new.shape[1:]), new)
        return self.keys[:n], self.values[:n]

    def take(self, places: Int[Tensor, " taken"], read: DynamicLayer) -> None:
        """What another layer holds of as many rows comes to stand in these places, from the first column on.

        Behind it stands nothing: what overflowed there before, times a weight of 0, would be no number.

        Args:
            places: Where the rows come to stand.
            read: Another layer, which has read their prompts.
        """
        if not self.is_initialized:
            self.keys, self.values = (
                x.new_zeros(len(self.column), x.shape[1], self.room, x.shape[3]) for x in (read.keys, read.values)
            )
            self.is_initialized = True
        for store, held in ((self.keys, read.keys), (self.values, read.values)):
            store[:, :, : held.shape[2]].index_copy_(0, places, held)
            store[:, :, held.shape[2] :].index_fill_(0, places, 0)

    def gather(self, places: Int[Tensor, " kept"]) -> None:
        """The rows in these places move to the front."""
        for store in (self.keys, self.values) if self.is_initialized else ():
            store[: len(places)] = store[places]

    def get_seq_length(self) -> int:
        """Every column is in view; the mask says which of them are there."""
        return self.room - 1


class Lane:
    """One stream of several rows in fixed places, `room` tokens each: its cache and where every row stands.

    Args:
        n: Rows.
        room: Tokens of a row.
        n_layers: Layers that keep keys and values.
        dtype: Their precision.
        device: Where they are held.
    """

    def __init__(self, n: int, room: int, n_layers: int, dtype: torch.dtype, device: torch.device) -> None:
        self.low, self.room = torch.finfo(dtype).min, room
        self.mask = torch.full((n, 1, 1, room), self.low, dtype=dtype, device=device)
        self.position, self.column = (torch.zeros(n, 1, dtype=torch.long, device=device) for _ in range(2))
        self.lengths, self.rows = (torch.zeros(n, dtype=torch.long, device=device) for _ in range(2))
        self.cache = DynamicCache()
        self.cache.layers = [FixedLayer(self.column, room) for _ in range(n_layers)]

    def clear(self) -> None:
        """Nobody is in any place."""
        self.mask.fill_(self.low)
        for held in (self.position, self.column, self.lengths, self.rows):
            held.zero_()

    def forward_pass(self, n: int, n_batch: int) -> ForwardPass:
        """The forward pass of the next token of the first `n` rows, `n_batch` being all rows of the call, for edits."""
        return ForwardPass(self.position[:n], self.lengths[:n], self.rows[:n], n_batch, decoding=True)

    def see(self, n: int) -> Float[Tensor, "n 1 1 room"]:
        """The mask of the first `n` rows, in which the token that is read now is seen."""
        self.mask[:n].scatter_(-1, self.column[:n, :, None, None], 0.0)
        return self.mask[:n]

    def advance(self, n: int, n_ctx: int) -> None:
        """Each of the first `n` rows stands one token further, where there is room: at `n_ctx` - 1 at most."""
        self.position[:n].add_(1).clamp_(max=n_ctx - 1)
        self.column[:n].add_(1).clamp_(max=self.room - 1)

    def take(self, places: Int[Tensor, " taken"], stream: Any) -> None:
        """The rows of `stream`, a `Stream` all of whose tokens its cache holds, come to stand in these `places`."""
        width = stream.mask.shape[1]
        seen = torch.full((len(places), 1, 1, self.room), self.low, dtype=self.mask.dtype, device=self.mask.device)
        seen[:, 0, 0, :width].masked_fill_(stream.mask, 0.0)
        self.mask[places] = seen
        self.position[places] = stream.positions[:, -1:] + 1
        self.column[places] = width
        self.lengths[places], self.rows[places] = stream.lengths, stream.rows
        for mine, read in zip(self.cache.layers, stream.cache.layers, strict=True):
            mine.take(places, read)

    def gather(self, places: Int[Tensor, " kept"]) -> None:
        """The rows in these places move to the front."""
        for held in (self.mask, self.position, self.column, self.lengths, self.rows):
            held[: len(places)] = held[places]
        for layer in self.cache.layers:
            layer.gather(places)


def fixes(cache: DynamicCache, room: int) -> bool:
    """Whether `Lane` can stand for what a cache holds: keys and values of all that is in view, up to `room` tokens."""
    return all(
        type(layer) in (DynamicLayer, GrowingLayer)
        or (type(layer) is DynamicSlidingWindowLayer and room <= layer.sliding_window)
        for layer in cache.layers
    )
