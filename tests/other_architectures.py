"""Tiny random models that scale their output, norm their sum, or arrange their blocks in other ways."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
import transformers

from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from tests.tiny_models import IDS, ROTARY, SIZE, enlarged, tiny_tokenizer

PLAIN = {**SIZE, "intermediate_size": 48, "max_position_embeddings": 96, **IDS}
GROUPED = {**ROTARY, **IDS}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
GRANITE = {"logits_scaling": 6.0, "embedding_multiplier": 12.0, "residual_multiplier": 0.22}
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 16, "mamba_n_groups": 1}
OPT = {**SIZE, "ffn_dim": 48, "max_position_embeddings": 96, **IDS}
FALCON = {**SIZE, "max_position_embeddings": 96, **IDS}

CONFIGS: Mapping[str, Callable[[], Any]] = {
    # the output is scaled behind the unembedding
    "granite": lambda: transformers.GraniteConfig(**GROUPED, **GRANITE),
    "granitemoe": lambda: transformers.GraniteMoeConfig(**GROUPED, **GRANITE, **EXPERTS),
    "granite_hybrid": lambda: transformers.GraniteMoeHybridConfig(
        **GROUPED, **EXPERTS, logits_scaling=6.0, shared_intermediate_size=32, mamba_n_heads=8,
        layer_types=["attention"] * 3, position_embedding_type=None,
    ),
    "cohere": lambda: transformers.CohereConfig(**GROUPED, logit_scale=0.0625),
    "cohere2": lambda: transformers.Cohere2Config(**GROUPED, logit_scale=0.25, sliding_window=64),
    "falcon_h1": lambda: transformers.FalconH1Config(
        **GROUPED, **MAMBA | {"mamba_n_heads": 4}, lm_head_multiplier=0.1, mamba_d_ssm=32, mamba_expand=1
    ),
    # the rotary module gives float32, or the norm has no weights
    "olmo": lambda: transformers.OlmoConfig(**GROUPED),
    "olmo2": lambda: transformers.Olmo2Config(**GROUPED),
    "olmo3": lambda: transformers.Olmo3Config(**GROUPED, sliding_window=64, layer_types=["full_attention"] * 3),
    "flex_olmo": lambda: transformers.FlexOlmoConfig(**GROUPED, num_experts=4, num_experts_per_tok=2),
    # a block norms or scales its sum
    "gemma4": lambda: transformers.Gemma4TextConfig(
        **GROUPED, head_dim=8, global_head_dim=8, hidden_size_per_layer_input=8, vocab_size_per_layer_input=320,
        num_kv_shared_layers=0, layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        sliding_window=64,
    ),
    "opt_350m": lambda: transformers.OPTConfig(**OPT, word_embed_proj_dim=16, do_layer_norm_before=False),
    "opt_post_norm": lambda: transformers.OPTConfig(**OPT, word_embed_proj_dim=32, do_layer_norm_before=False),
    "bloom_post_norm": lambda: transformers.BloomConfig(
        vocab_size=320, hidden_size=32, n_layer=3, n_head=4, apply_residual_connection_post_layernorm=True, **IDS
    ),
    # layouts that TransformerLens maps wrongly
    "opt_projected": lambda: transformers.OPTConfig(**OPT, word_embed_proj_dim=16),
    "opt_no_final_norm": lambda: transformers.OPTConfig(
        **OPT, word_embed_proj_dim=32, _remove_final_layer_norm=True
    ),
    "falcon_40b": lambda: transformers.FalconConfig(**FALCON, num_kv_heads=2, new_decoder_architecture=True),
    "falcon_180b": lambda: transformers.FalconConfig(
        **FALCON, num_kv_heads=2, new_decoder_architecture=True, multi_query=True, bias=True
    ),
    "falcon_11b": lambda: transformers.FalconConfig(
        **FALCON, num_kv_heads=2, new_decoder_architecture=True, num_ln_in_parallel_attn=1
    ),
    "phi_normed": lambda: transformers.PhiConfig(**PLAIN, qk_layernorm=True),
    "phimoe": lambda: transformers.PhimoeConfig(**GROUPED, num_local_experts=4, lm_head_bias=True),
    # what cannot be opened
    "mamba": lambda: transformers.MambaConfig(
        vocab_size=320, hidden_size=32, num_hidden_layers=3, state_size=8, **IDS
    ),
    "openai_gpt": lambda: transformers.OpenAIGPTConfig(
        vocab_size=320, n_embd=32, n_layer=3, n_head=4, n_positions=96
    ),
    "ctrl": lambda: transformers.CTRLConfig(
        vocab_size=320, n_embd=32, n_layer=3, n_head=4, dff=48, n_positions=96, **IDS
    ),
    "persimmon": lambda: transformers.PersimmonConfig(**PLAIN),
    "broken": lambda: transformers.MiniCPM3Config(  # its own heads do not fit together
        **GROUPED, q_lora_rank=16, kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8
    ),
}  # fmt: skip

REFUSED = ("mamba", "openai_gpt", "ctrl", "persimmon", "broken")
OPENED = tuple(name for name in CONFIGS if name not in REFUSED)
SCALES = {"granite": 1 / 6, "granitemoe": 1 / 6, "granite_hybrid": 1 / 6, "cohere": 1 / 16, "cohere2": 1 / 4}
SCALES |= {"falcon_h1": 0.1}
NOT_A_SUM = ("falcon_h1", "gemma4", "opt_350m", "opt_post_norm", "bloom_post_norm")
NOT_APART = ("granite_hybrid",)  # experts and shared MLP are added up inside the block
SUMMING = tuple(name for name in OPENED if name not in NOT_A_SUM + NOT_APART)


def other_hf_model(name: str, dtype: torch.dtype = torch.float32) -> Any:
    """A random model with weights large enough for its layers to matter."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[name](), attn_implementation="eager").eval()
    return enlarged(model).to(dtype)


@lru_cache
def other_plain(name: str) -> Any:
    """The Hugging Face model of that name, which nothing has wrapped."""
    return other_hf_model(name)


@lru_cache
def other_hooked(name: str) -> HookedModel:
    """The model of that name, loaded once for all tests, which leave it as it is."""
    return load_model(other_hf_model(name), tokenizer=tiny_tokenizer())
