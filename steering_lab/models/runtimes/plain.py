"""Hugging Face's own modules around the model's weights: what writes text, and reads it where only the stream counts.

Nothing wraps these modules; an edit is a forward hook of torch at the entrance or the exit of its block, and lives as
long as its `with` block. Attention may run in an implementation that TransformerLens cannot show.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from steering_lab.models.hook_points import HookSite
from steering_lab.models.plain_stream import entering, leaving
from steering_lab.models.runtimes import Hook, RuntimeName
from steering_lab.models.runtimes.cache import growing_cache


class PlainRuntime:
    """A Hugging Face causal language model `hf_model` and where its `blocks` are (`Runtime`)."""

    name: ClassVar[RuntimeName] = "plain"
    selects: ClassVar[bool] = True

    def __init__(self, hf_model: Any, blocks: str) -> None:
        self.hf_model = hf_model
        self.blocks = [*hf_model.get_submodule(blocks)]
        known = inspect.signature(hf_model.forward).parameters
        self._takes_positions, self._can_keep_last = "position_ids" in known, "logits_to_keep" in known
        self._n_placed = 0
        self.slots: Any = None  # memory and graphs of the last call that decoded in places (`models.slots`)
        self.stays: bool | None = None  # whether steps can be taken there, once that was tried

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"slots": None}  # a copy has none: graphs are bound to where the weights are

    @property
    def attention(self) -> str:
        return str(self.hf_model.config.get_text_config()._attn_implementation)

    def forward(
        self,
        ids: Int[Tensor, "batch new"],
        mask: Bool[Tensor, "batch pos"],
        positions: Int[Tensor, "batch new"],
        cache: Any = None,
        *,
        last: int | None = None,
        depth: int | None = None,
    ) -> Float[Tensor, "batch _ d_vocab"] | None:
        options: dict[str, Any] = {"attention_mask": mask.long(), "past_key_values": cache}
        if self._takes_positions:
            options["position_ids"] = positions.clamp(min=0)
        if self._can_keep_last and (last is not None or depth is not None):
            kept = min(last or 1, ids.shape[1])  # by index: a slice is strided, and read once a row by the unembedding
            options["logits_to_keep"] = torch.arange(ids.shape[1] - kept, ids.shape[1], device=ids.device)
        try:
            with self._stopping(depth):
                logits = self.hf_model(input_ids=ids, use_cache=cache is not None, return_dict=True, **options).logits
        except _DeepEnough:
            return None
        if depth is not None:
            return None
        return logits if last is None else logits[:, -last:]

    def step(
        self,
        ids: Int[Tensor, "batch 1"],
        mask: Float[Tensor, "batch 1 1 room"],
        positions: Int[Tensor, "batch 1"],
        cache: Any,
    ) -> Float[Tensor, "batch d_vocab"]:
        """Logits behind one token a row, whose column the cache knows; `mask` is added to the scores of attention.

        Args:
            ids: One token for each row.
            mask: What is added to the scores of attention.
            positions: Where each token stands; negative is padding.
            cache: Keys and values in places that stay.
        """
        options = {"position_ids": positions} if self._takes_positions else {}
        said = self.hf_model(
            input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, return_dict=True, **options
        )
        return said.logits[:, -1]

    @property
    def n_foreign(self) -> int:
        """How many hooks of torch hang on the modules besides those of `placed` and those of `as_transformers`."""
        hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in self.hf_model.modules())
        return hooks - self._n_placed - (2 if "generate" in vars(self.hf_model) else 0)

    def new_cache(self, batch: int, room: int | None = None) -> Any:
        return growing_cache(self.hf_model.config, room)

    @contextmanager
    def placed(self, hooks: Mapping[HookSite, Hook]) -> Iterator[None]:
        with ExitStack() as stack:
            for site, run in hooks.items():
                block = self.blocks[site.layer]
                if site.stream == "resid_pre":
                    handle = block.register_forward_pre_hook(entering(run), with_kwargs=True)
                else:
                    handle = block.register_forward_hook(leaving(run))
                stack.callback(handle.remove)
            self._n_placed += len(hooks)
            try:
                yield
            finally:
                self._n_placed -= len(hooks)

    @contextmanager
    def _stopping(self, depth: int | None) -> Iterator[None]:
        if depth is None or depth >= len(self.blocks):
            yield
            return
        handle = self.blocks[depth].register_forward_pre_hook(_stop, prepend=True)
        try:
            yield
        finally:
            handle.remove()


class _DeepEnough(Exception):
    """Leaves a pass in front of the first block that nobody asked for."""


def _stop(module: Any, args: Any) -> None:
    raise _DeepEnough
