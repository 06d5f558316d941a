"""TransformerLens's adapters for layouts that they map wrongly, mapped from the model at hand instead of its name.

Falcon 40B and 11B (grouped queries, one or two norms in front), Phi with normed queries and keys, OPT without a final
norm or with both a norm and a projection, Granite hybrids without rotary positions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES, ArchitectureAdapterFactory
from transformer_lens.model_bridge.generalized_components import (
    LinearBridge,
    NormalizationBridge,
    PositionEmbeddingsAttentionBridge,
)
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent
from transformer_lens.model_bridge.supported_architectures.falcon import FalconArchitectureAdapter
from transformer_lens.model_bridge.supported_architectures.granite_moe_hybrid import GraniteMoeHybridArchitectureAdapter
from transformer_lens.model_bridge.supported_architectures.opt import OptArchitectureAdapter
from transformer_lens.model_bridge.supported_architectures.phi import PhiArchitectureAdapter


class MendedFalcon(FalconArchitectureAdapter):
    """The decoder of 40B and 11B: queries grouped with their key and value, and one norm or two in front."""

    def prepare_model(self, hf_model: Any) -> None:
        super().prepare_model(hf_model)
        if not self._is_new_arch:
            return
        block = hf_model.transformer.h[0]
        self.cfg.n_key_value_heads = block.self_attention.num_kv_heads
        parts = self.component_mapping["blocks"].submodules
        parts.pop("ln2", None)
        parts["ln1"].name = "ln_attn" if hasattr(block, "ln_attn") else "input_layernorm"
        if hasattr(block, "ln_mlp"):
            parts["ln2"] = NormalizationBridge(name="ln_mlp", config=self.cfg)

    def _split_falcon_qkv(self, original_attention_component: Any) -> tuple[Any, Any, Any]:
        if not self._is_new_arch:
            return super()._split_falcon_qkv(original_attention_component)
        attention, qkv = original_attention_component, original_attention_component.query_key_value
        grouped = (attention.num_kv_heads, attention.num_heads // attention.num_kv_heads + 2, attention.head_dim)
        weight = qkv.weight.detach().reshape(*grouped, -1)
        bias = None if qkv.bias is None else qkv.bias.detach().reshape(grouped)
        groups = (slice(None, -2), slice(-2, -1), slice(-1, None))
        q, k, v = (_linear(weight[:, group], None if bias is None else bias[:, group]) for group in groups)
        return q, k, v


class MendedPhi(PhiArchitectureAdapter):
    """Queries and keys are normed head by head where the model does so."""

    def prepare_model(self, hf_model: Any) -> None:
        super().prepare_model(hf_model)
        if not hasattr(hf_model.model.layers[0].self_attn, "q_layernorm"):
            return
        parts = self.component_mapping["blocks"].submodules
        norms = {f"{part}_norm": GeneralizedComponent(name=f"{part}_layernorm") for part in ("q", "k")}
        parts["attn"] = PositionEmbeddingsAttentionBridge(
            name="self_attn",
            config=self.cfg,
            submodules=parts["attn"].submodules | norms,
            requires_attention_mask=True,
            requires_position_embeddings=True,
        )


class MendedOpt(OptArchitectureAdapter):
    """Final norm and projections where the model has them, in any combination."""

    def prepare_model(self, hf_model: Any) -> None:
        super().prepare_model(hf_model)
        norm = NormalizationBridge(name=_OPT + "final_layer_norm", config=self.cfg, use_native_layernorm_autograd=True)
        parts = {"ln_final": (norm, "final_layer_norm")}
        parts |= {part: (LinearBridge(name=_OPT + part), part) for part in ("project_in", "project_out")}
        for part, (component, module) in parts.items():
            self.component_mapping.pop(part, None)
            if getattr(hf_model.model.decoder, module) is not None:
                self.component_mapping[part] = component


class MendedGraniteMoeHybrid(GraniteMoeHybridArchitectureAdapter):
    """No rotary positions where the model has none."""

    def prepare_model(self, hf_model: Any) -> None:
        super().prepare_model(hf_model)
        if hf_model.model.rotary_emb is None:
            self.cfg.positional_embedding_type = "none"
            self.component_mapping.pop("rotary_emb", None)


_OPT = "model.decoder."
MENDED = {
    "FalconForCausalLM": MendedFalcon,
    "PhiForCausalLM": MendedPhi,
    "OPTForCausalLM": MendedOpt,
    "GraniteMoeHybridForCausalLM": MendedGraniteMoeHybrid,
}


@contextmanager
def mended_adapters() -> Iterator[None]:
    """The adapters above stand in for their originals until the block ends; one that the user registered stays."""
    adapters = getattr(ArchitectureAdapterFactory, "_adapters", SUPPORTED_ARCHITECTURES)
    originals = {name: adapters[name] for name, mended in MENDED.items() if adapters.get(name) is mended.__base__}
    adapters.update({name: MENDED[name] for name in originals})
    try:
        yield
    finally:
        adapters.update(originals)


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> torch.nn.Linear:
    """A linear layer of its own, of the heads in `weight`, which is [group head d_head d_model]."""
    rows = weight.flatten(0, 2)
    linear = torch.nn.Linear(
        rows.shape[1], rows.shape[0], bias=bias is not None, device=rows.device, dtype=rows.dtype
    ).requires_grad_(False)
    linear.weight.copy_(rows)
    if bias is not None:
        linear.bias.copy_(bias.flatten())
    return linear
