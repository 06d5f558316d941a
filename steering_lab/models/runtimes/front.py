"""The plain modules as users of transformers hold them: their own passes too say where their tokens stand.

In `generate` the prompt is what it was called with, left-padded; everything after is generated. In a call of the model
itself without a cache, all that is read is prompt. So position rules mean what they mean everywhere else.
"""

from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from steering_lab.models.tokens import ForwardPass

if TYPE_CHECKING:
    from steering_lab.models.hooked_model import HookedModel


def announcing(model: "HookedModel", hf_model: Any) -> Any:
    """`hf_model`, whose passes tell the edits in force on `model` where their tokens stand; done once."""
    if "generate" in vars(hf_model):
        return hf_model
    prompts: list[Bool[Tensor, "batch pos"]] = []  # of the calls of generate that are under way
    entered: list[bool] = []

    def enter(module: Any, args: tuple, kwargs: dict) -> None:
        speaks = model.told is None and model.edited
        if speaks:
            read = next(x for x in (*args, kwargs.get("input_ids"), kwargs.get("inputs_embeds")) if x is not None)
            model.told = _told(read, kwargs, prompts[-1] if prompts else None)
        entered.append(speaks)

    def leave(module: Any, args: tuple, output: Any) -> None:
        if entered and entered.pop():
            model.told = None

    def generate(self: Any, inputs: Tensor | None = None, *args: Any, **options: Any) -> Any:
        if not model.edited:
            return type(self).generate(self, inputs, *args, **options)
        prompts.append(_prompt_mask(self, inputs, options))
        try:
            return type(self).generate(self, inputs, *args, **options)
        finally:
            prompts.pop()

    hf_model.register_forward_pre_hook(enter, with_kwargs=True)
    hf_model.register_forward_hook(leave, always_call=True)
    hf_model.generate = MethodType(generate, hf_model)
    return hf_model


def _prompt_mask(hf_model: Any, inputs: Tensor | None, options: dict[str, Any]) -> Bool[Tensor, "batch pos"]:
    """True at the real tokens of what `generate` was called with.

    Raises:
        ValueError: no prompt, padding that no attention mask tells from text, or padding on the right.
    """
    given = next((x for x in (inputs, options.get("input_ids"), options.get("inputs_embeds")) if x is not None), None)
    if given is None:
        raise ValueError("inside a steering block generate() needs a prompt: pass input_ids")
    mask = options.get("attention_mask")
    if mask is None:
        pad = hf_model.generation_config.pad_token_id
        if given.ndim == 2 and pad is not None and bool((given == pad).any()):
            raise ValueError("the prompts hold pad tokens: pass the tokenizer's attention_mask to generate()")
        mask = torch.ones(given.shape[:2], device=given.device)
    mask = mask.bool()
    if not bool((mask[:, -1] & (mask[:, 1:] >= mask[:, :-1]).all(dim=1)).all()):
        raise ValueError("prompts are padded on the left to be continued: set tokenizer.padding_side = 'left'")
    return mask


def _told(ids: Tensor, kwargs: dict[str, Any], prompt: Bool[Tensor, "batch pos"] | None) -> ForwardPass:
    """Where the tokens of a pass stand, by its own arguments and the prompt of the `generate` that it belongs to."""
    rows, new = torch.arange(ids.shape[0], device=ids.device), ids.shape[1]
    cache, mask = kwargs.get("past_key_values"), kwargs.get("attention_mask")
    past = 0 if cache is None else int(cache.get_seq_length())
    if prompt is not None:
        prompt = prompt.to(ids.device).repeat_interleave(len(ids) // len(prompt), dim=0)  # beams, several sequences
        lengths: Int[Tensor, " batch"] = prompt.sum(dim=1)
        columns = torch.arange(past, past + new, device=ids.device)
        positions = columns - (prompt.shape[1] - lengths)[:, None]
        return ForwardPass(positions, lengths, rows, len(rows), decoding=past >= prompt.shape[1])
    if past:
        raise ValueError("a steered pass over a cache belongs to generate(): where its prompt ended is not known here")
    if mask is None:
        mask = torch.ones(ids.shape[:2], device=ids.device)
    if mask.ndim != 2:
        raise ValueError("inside a steering block pass an attention_mask of [batch, pos], True at real tokens")
    positions = torch.where(mask.bool(), mask.long().cumsum(dim=1) - 1, -1)
    return ForwardPass(positions, mask.long().sum(dim=1), rows, len(rows))
