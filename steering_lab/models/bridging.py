"""A TransformerBridge around a Hugging Face model, with what TransformerLens gets wrong of an architecture put right.

Whatever it raises for an architecture that it does not run becomes one sentence (`ModelRefused`).
"""

from typing import Any

import torch
from torch import Tensor

from steering_lab.models.refusal import refusal, refusing, transformer_lens_version
from steering_lab.models.text_alone import text_alone

_SPELLED = {"PhimoeForCausalLM": "PhiMoEForCausalLM"}  # transformers' name, and TransformerLens's


def boot_transformers(name: str, *, hf_model: Any, tokenizer: Any, device: str | None, dtype: torch.dtype) -> Any:
    """The bridge, in the weights of `hf_model`, whose modules it rewires.

    Args:
        name: The model's name.
        hf_model: The plain Hugging Face model.
        tokenizer: Its tokenizer.
        device: Where the model is.
        dtype: The precision of the weights.

    Raises:
        ModelRefused: TransformerLens does not run this architecture.
    """
    from transformer_lens.model_bridge import TransformerBridge

    from steering_lab.models.mended_adapters import mended_adapters

    architecture = type(hf_model).__name__
    hf_model.config.architectures = known_architectures(name, hf_model.config, architecture)
    cannot = f"{transformer_lens_version()} cannot wrap it"
    with refusing(name, architecture, cannot), mended_adapters(), text_alone():
        bridge = TransformerBridge.boot_transformers(
            name, hf_model=hf_model, tokenizer=tokenizer, device=device, dtype=dtype
        )
    _round_rotated(bridge, dtype)
    return bridge


def known_architectures(name: str, config: Any, architecture: str) -> list[str]:
    """The configuration's architectures as TransformerLens spells them; a model made from a configuration names none.

    Args:
        name: The model, as an error names it.
        config: Its Hugging Face configuration.
        architecture: What it is where the configuration names none.

    Raises:
        ModelRefused: it runs none of them.
    """
    from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES

    named = [_SPELLED.get(one, one) for one in config.architectures or [architecture]]
    if not {*named} & {*SUPPORTED_ARCHITECTURES}:
        raise refusal(name, architecture, f"{transformer_lens_version()} does not know this architecture")
    return named


def _round_rotated(bridge: Any, dtype: torch.dtype) -> None:
    """Queries and keys leave the rotation in the model's precision, as in Hugging Face.

    Where the rotary module gives float32 (OLMo), a bridge in half precision would multiply float32 attention patterns
    with half-precision values, which torch refuses.
    """
    from transformer_lens.model_bridge.generalized_components import PositionEmbeddingsAttentionBridge

    def rounded(point: torch.nn.Module, args: tuple, rotated: Tensor) -> Tensor:
        return rotated.to(dtype)

    if dtype not in (torch.bfloat16, torch.float16):
        return
    for block in bridge.blocks:
        attention = getattr(block, "attn", None)
        if isinstance(attention, PositionEmbeddingsAttentionBridge):
            for point in ("hook_rot_q", "hook_rot_k"):
                if hasattr(attention, point):
                    getattr(attention, point).register_forward_hook(rounded)
