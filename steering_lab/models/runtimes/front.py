"""The plain modules as users of transformers hold them: their own passes too say where their tokens stand.

In `generate` the prompt is what it was called with, left-padded; everything after is generated. In a call of the model
itself without a cache, all that is read is prompt. So position rules mean what they mean everywhere else.
"""

from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from steering_lab.models.tokens import ForwardPass, left_padded

if TYPE_CHECKING:
    from steering_lab.models.hooked_model import HookedModel


def announcing(model: "HookedModel", hf_model: Any) -> Any:
    """`hf_model`, whose passes give the edits in force on `model` the positions of their tokens; done once.

    A deep copy carries all this along and is no part of `model`: there it does nothing.
    """
    if getattr(vars(hf_model).get("generate"), "announces", None) is hf_model:
        return hf_model
    prompts: list[Bool[Tensor, "batch pos"]] = []  # of the calls of generate that are under way
    entered: list[ForwardPass | None] = []  # the forward passes around those that are under way

    def enter(module: Any, args: tuple, kwargs: dict) -> None:
        if module is not hf_model:
            return
        entered.append(model.forward_pass)
        given = (x for x in (*args, kwargs.get("input_ids"), kwargs.get("inputs_embeds")) if x is not None)
        if model.forward_pass is None and model.edited and (read := next(given, None)) is not None:
            model.forward_pass = _pass_of(read, kwargs, prompts[-1] if prompts else None)

    def leave(module: Any, args: tuple, output: Any) -> None:
        if module is hf_model and entered:
            model.forward_pass = entered.pop()

    def generate(self: Any, inputs: Tensor | None = None, *args: Any, **options: Any) -> Any:
        if self is not hf_model or not model.edited:
            return type(self).generate(self, inputs, *args, **options)
        prompt = _prompt_mask(self, inputs, options)
        if not getattr(options.get("generation_config"), "is_assistant", False):  # whose cache is of this very call
            _check_cache(model, prompt, options.get("past_key_values"))
        outer, depth = model.forward_pass, len(entered)
        prompts.append(prompt)
        model.forward_pass = None  # inside an edit, that of the pass around
        try:
            return type(self).generate(self, inputs, *args, **options)
        finally:  # an interrupt, unlike an error, leaves a pass without `leave`
            prompts.pop()
            del entered[depth:]
            model.forward_pass = outer

    hf_model.register_forward_pre_hook(enter, with_kwargs=True)
    hf_model.register_forward_hook(leave, always_call=True)
    vars(generate)["announces"] = hf_model  # a copy's is bound to the copy
    hf_model.generate = MethodType(generate, hf_model)
    return hf_model


def _prompt_mask(hf_model: Any, inputs: Tensor | None, options: dict[str, Any]) -> Bool[Tensor, "batch pos"]:
    """True at the real tokens of what `generate` was called with.

    Raises:
        ValueError: no prompt, padding that no attention mask marks, or padding on the right.
    """
    given = next((x for x in (inputs, options.get("input_ids"), options.get("inputs_embeds")) if x is not None), None)
    if given is None:
        raise ValueError("inside a steering block generate() needs a prompt: pass input_ids")
    mask = options.get("attention_mask")
    if mask is None:
        configs = (options.get("generation_config"), hf_model.generation_config)
        pads = [options.get("pad_token_id"), *(getattr(config, "pad_token_id", None) for config in configs)]
        if given.ndim == 2 and any(bool((given == pad).any()) for pad in pads if pad is not None):
            raise ValueError("the prompts hold pad tokens: pass the tokenizer's attention_mask to generate()")
        mask = torch.ones(given.shape[:2], device=given.device)
    mask = mask.bool()
    if not left_padded(mask):
        raise ValueError("prompts are padded on the left to be continued: set tokenizer.padding_side = 'left'")
    return mask


def _check_cache(model: "HookedModel", prompt: Bool[Tensor, "batch pos"], cache: Any) -> None:
    """Nothing when the cache that `generate` goes on from holds no token that an edit changes.

    Raises:
        ValueError: it does, and nobody knows under which edits it was made.
    """
    held = 0 if cache is None else int(cache.get_seq_length())
    lengths = prompt.sum(dim=1)
    begins = model.edits_begin(lengths, torch.arange(len(prompt), device=prompt.device))
    if held and bool((begins < held - (prompt.shape[1] - lengths)).any()):
        raise ValueError("past_key_values holds tokens that are steered here: leave it out, so that they are read anew")


def _pass_of(ids: Tensor, kwargs: dict[str, Any], prompt: Bool[Tensor, "batch pos"] | None) -> ForwardPass:
    """Where the tokens of a pass stand, by its own arguments and the prompt of the `generate` that it belongs to."""
    rows, new = torch.arange(len(ids) if prompt is None else len(prompt), device=ids.device), ids.shape[1]
    cache, mask = kwargs.get("past_key_values"), kwargs.get("attention_mask")
    past = 0 if cache is None else int(cache.get_seq_length())
    if prompt is not None:
        several = len(ids) // len(prompt)  # beams or sequences, which a prompt's edits are the same for
        prompt, each = prompt.to(ids.device).repeat_interleave(several, dim=0), rows.repeat_interleave(several)
        lengths: Int[Tensor, " batch"] = prompt.sum(dim=1)
        columns = torch.arange(past, past + new, device=ids.device)
        positions = columns - (prompt.shape[1] - lengths)[:, None]
        return ForwardPass(positions, lengths, each, len(rows), decoding=past >= prompt.shape[1])
    if past:
        raise ValueError("a steered pass over a cache belongs to generate(): where its prompt ended is not known here")
    if mask is None:
        mask = torch.ones(ids.shape[:2], device=ids.device)
    if mask.ndim != 2:
        raise ValueError("inside a steering block pass an attention_mask of [batch, pos], True at real tokens")
    positions = torch.where(mask.bool(), mask.long().cumsum(dim=1) - 1, -1)
    return ForwardPass(positions, mask.long().sum(dim=1), rows, len(rows))
