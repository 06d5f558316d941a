"""What a decode step costs when nothing but the step is written: plain modules, a static cache, one CUDA graph.

The measure of a decode loop on a GPU. Rows are of one length and end together, tokens are the likeliest ones; the mask,
the positions and the chosen tokens live in tensors that the step itself advances, so that a graph can replay it.
Without CUDA the same step runs ungraphed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import StaticCache

from benchmarks.peers import blocks_of


class HandWritten:
    """Greedy decoding of `ids` by a Hugging Face model; `added` goes to what enters block `layer`, a row for each."""

    def __init__(
        self,
        hf_model: Any,
        ids: Int[Tensor, "batch pos"],
        new_tokens: int,
        layer: int = 0,
        added: Float[Tensor, "batch d_model"] | None = None,
    ) -> None:
        self.hf_model, self.ids, self.layer, self.new_tokens = hf_model, ids, layer, new_tokens
        batch, self.width = ids.shape
        device, total = ids.device, self.width + new_tokens
        self.added = None if added is None else added[:, None].to(next(hf_model.parameters()))
        self.cache = StaticCache(config=hf_model.config, max_cache_len=total)
        self.columns = torch.arange(total, device=device)
        self.mask = torch.zeros(batch, 1, 1, total, dtype=torch.bool, device=device)
        self.position = torch.zeros(batch, 1, dtype=torch.long, device=device)
        self.token = torch.zeros(batch, 1, dtype=torch.long, device=device)
        self.graph: Any = None

    @torch.no_grad()
    def write(self) -> Int[Tensor, "batch steps"]:
        """All new tokens, from the prompt on."""
        with self._edited():
            self._read()
            drawn = [self.token.clone()]
            if self.graph is None and self.ids.is_cuda:
                self._capture()
                self._rewind(drawn[0])
            for _ in range(self.new_tokens - 1):
                if self.graph is None:
                    self._step()
                else:
                    self.graph.replay()
                drawn.append(self.token.clone())
        return torch.cat(drawn, dim=1)

    def _read(self) -> None:
        """The prompt into the cache, and the first token."""
        for layer in self.cache.layers:
            layer.cumulative_length.zero_()
        seen = self.columns[None, :] <= torch.arange(self.width, device=self.ids.device)[:, None]
        mask = seen[None, None].expand(len(self.ids), 1, -1, -1)
        positions = torch.arange(self.width, device=self.ids.device).expand(len(self.ids), -1)
        self.token.copy_(self._pass(self.ids, mask, positions))
        self.position.fill_(self.width)

    def _step(self) -> None:
        self.mask.copy_((self.columns <= self.position)[:, None, None])
        self.token.copy_(self._pass(self.token, self.mask, self.position))
        self.position.add_(1)

    def _pass(self, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        said = self.hf_model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=self.cache, use_cache=True,
            logits_to_keep=1,
        )  # fmt: skip
        return said.logits[:, -1].argmax(dim=-1, keepdim=True)

    def _capture(self) -> None:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            self._step()
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self._step()

    def _rewind(self, first: Tensor) -> None:
        """As behind the prompt: the step that warmed up is undone."""
        for layer in self.cache.layers:
            layer.cumulative_length.fill_(self.width)
        self.position.fill_(self.width)
        self.token.copy_(first)

    @contextmanager
    def _edited(self) -> Iterator[None]:
        if self.added is None:
            yield
            return
        handle = blocks_of(self.hf_model)[self.layer].register_forward_pre_hook(
            lambda module, args: (args[0] + self.added, *args[1:])
        )
        try:
            yield
        finally:
            handle.remove()
