"""A prompt that the model has read: keys and values of every layer, and the logits behind it, to be answered at once.

Read under the edits in force, and to be continued under the same ones: whoever keeps states keeps apart what was read
under others. A continuation is what `generate` writes behind the prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.models.decoding import Batch, Stream, decode
from steering_lab.models.generation import cut_at, end_of, text_behind
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.runtimes.cache import GrowingLayer
from steering_lab.models.sampling import GREEDY


@dataclass(frozen=True, eq=False)
class PromptStates:
    """What one prompt left behind in a model.

    Args:
        ids: The prompt.
        keys: Those of each layer.
        values: Likewise.
        logits: Of the token that comes next, float32.
    """

    ids: tuple[int, ...]
    keys: tuple[Float[Tensor, "1 head pos d_head"], ...]
    values: tuple[Float[Tensor, "1 head pos d_head"], ...]
    logits: Float[Tensor, "1 d_vocab"]


@torch.no_grad()
def read_prompt(model: HookedModel, prompt: str) -> PromptStates:
    """What `model` holds once it has read `prompt` under the edits in force.

    Raises:
        ValueError: an empty prompt, or a model that does not keep all keys and values of what it has read.
    """
    stream = Stream(
        model, model.to_tokens(prompt), torch.zeros(1, dtype=torch.long, device=model.device), 1,
        new_tokens=0, use_cache=model.batching.caches,
    )  # fmt: skip
    logits = stream.logits()
    layers = getattr(stream.cache, "layers", [])
    if not layers or not all(isinstance(layer, GrowingLayer) for layer in layers):
        raise ValueError(
            f"{model.name} does not keep keys and values of all that it has read, so no prompt is prepared"
        )
    keys, values = (tuple(getattr(layer, name).clone() for layer in layers) for name in ("keys", "values"))
    return PromptStates(tuple(model.token_ids(prompt)), keys, values, logits)


@torch.no_grad()
def continue_from(
    model: HookedModel, states: PromptStates, *, max_new_tokens: int = 40, stop: Sequence[str] = ()
) -> str:
    """The greedy continuation of the prompt of `states`, under the edits in force, cut before a stop string.

    Args:
        model: The model that read the prompt, under the edits that were in force then.
        states: What it holds.
        max_new_tokens: How many tokens a continuation has at most.
        stop: Texts before which it ends.

    Raises:
        ValueError: no token to write, or prompt and continuation longer than the model's context.
    """
    ids = list(states.ids)
    if not 1 <= max_new_tokens <= model.n_ctx - len(ids):
        raise ValueError(
            f"max_new_tokens is {max_new_tokens}: it must be 1 to {model.n_ctx - len(ids)}, what {model.name} has room"
            f" for behind a prompt of {len(ids)}"
        )

    def ending(row: int, drawn: list[int], since: int) -> int | None:
        return end_of(model, ids, drawn, since, model.eos_token_ids, stop)

    uniforms = torch.zeros(1, max_new_tokens, device=model.device)
    drawn = decode(Batch(_Resumed(model, states, max_new_tokens), uniforms), GREEDY, ending, log_probs=False)
    return cut_at(text_behind(model, ids, drawn.tokens[0], skip_special_tokens=True), stop)


class _Resumed(Stream):
    """A sequence whose prompt is read already: the first token needs no pass."""

    def __init__(self, model: HookedModel, states: PromptStates, new_tokens: int) -> None:
        tokens, row = model.pad([list(states.ids)]), torch.zeros(1, dtype=torch.long, device=model.device)
        super().__init__(model, tokens, row, 1, new_tokens=new_tokens, use_cache=True)
        self.cache = model.new_cache(1, self.runtime, self.room)
        for layer, held in enumerate(zip(states.keys, states.values, strict=True)):
            self.cache.update(*(x.to(model.device) for x in held), layer)
        self.held = self.width
        self._first: Tensor | None = states.logits.to(model.device)

    def logits(self) -> Float[Tensor, "batch d_vocab"]:
        """Those behind the prompt, which are known, and then what a pass says."""
        first, self._first = self._first, None
        return super().logits() if first is None else first
