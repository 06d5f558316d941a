"""A key-value cache that is written in place: room for a whole continuation is taken once.

transformers' own grows by copying all that it holds for every token. Layers that keep less than the whole past (sliding
windows, recurrences) stay its own.
"""

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer: views of memory with room for `room` tokens."""

    keys: Tensor
    values: Tensor

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self._stores: tuple[Tensor, ...] = ()

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """All keys and values, the new ones written behind those that are held.

        Args:
            key_states: Keys of the new tokens.
            value_states: Values of the new tokens.
            *args: Passed by Hugging Face, and not used.
            **kwargs: Passed by Hugging Face, and not used.
        """
        held = self.get_seq_length()
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        whole = held + key_states.shape[-2]
        if not self._stores or whole > self._stores[0].shape[-2]:
            self._move(whole, (self.keys, self.values) if held else None, (key_states, value_states))
        for store, new in zip(self._stores, (key_states, value_states), strict=True):
            store[:, :, held:whole] = new
        self.keys, self.values = (store[:, :, :whole] for store in self._stores)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Row i becomes what row `beam_idx[i]` was; there may be fewer rows than before, or more."""
        if held := self.get_seq_length():
            chosen = tuple(x.index_select(0, beam_idx.to(x.device)) for x in (self.keys, self.values))
            self._move(held, chosen, chosen)
            self.keys, self.values = (store[:, :, :held] for store in self._stores)

    def _move(self, whole: int, held: tuple[Tensor, ...] | None, like: tuple[Tensor, ...]) -> None:
        """Room for `whole` tokens or more, in which `held` comes first."""
        room = max(whole, self.room)
        self._stores = tuple(x.new_empty(*x.shape[:2], room, x.shape[-1]) for x in like)
        for store, old in zip(self._stores, held or (), strict=held is not None):
            store[:, :, : old.shape[-2]] = old


def growing_cache(config: Any, room: int | None) -> DynamicCache:
    """An empty cache for the layers that `config` describes; with `room`, in place where the whole past is kept."""
    cache = DynamicCache(config=config.get_text_config())
    if room is not None:
        cache.layers = [GrowingLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
