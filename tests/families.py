"""A zoo: one tiny random model of every decoder-only family that TransformerLens's bridge names, and of layouts within.

Each is a config that transformers builds offline, a few thousand parameters, and the tests' own tokenizer. What the lab
makes of each is not said here: `steering_lab.models.certificate` measures it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tests.tiny_models import tiny_tokenizer

IDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
BASE = {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, **IDS}
PLAIN = {**BASE, "intermediate_size": 48, "max_position_embeddings": 96}
GROUPED = {**PLAIN, "num_key_value_heads": 2}
ROTARY = {**GROUPED, "tie_word_embeddings": False}
HEADS = {**GROUPED, "head_dim": 8}
GPT = {"vocab_size": 320, "n_positions": 96, "n_embd": 32, "n_layer": 3, "n_head": 4, **IDS}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
MAMBA2 = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_d_conv": 4, "mamba_expand": 2}
LATENT = {
    "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "v_head_dim": 8, "qk_nope_head_dim": 8,
    "num_key_value_heads": 4,
}  # fmt: skip
ROUTED = {
    "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
    "moe_intermediate_size": 16,
}  # fmt: skip
SPARSE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LINEAR = {
    "linear_conv_kernel_dim": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2,
    "linear_num_value_heads": 4, "layer_types": ["linear_attention", "full_attention", "linear_attention"],
}  # fmt: skip
SLIDING = {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
LONGROPE = {
    "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4, "long_factor": [1.5, 2.0, 4.0, 8.0],
    "original_max_position_embeddings": 16, "factor": 6.0,
}  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One layout of a family: what its config is called, how it is made, and what is particular about it.

    `bos` and `pad` say whether its tokenizer has such a token; `dtype` is that of its weights.
    """

    name: str
    family: str
    model_type: str
    options: dict[str, Any]
    layout: str = ""
    bos: bool = True
    pad: bool = True
    dtype: torch.dtype = torch.float32

    def config(self) -> Any:
        """The config, made anew."""
        return AutoConfig.for_model(self.model_type, **self.options)

    @property
    def architecture(self) -> str:
        """What transformers calls the class of the model."""
        return MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[self.model_type]

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tests' tokenizer, with or without the special tokens."""
        return tiny_tokenizer(bos=self.bos, pad=self.pad)

    def model(self, seed: int = 0) -> Any:
        """A random model whose layers all matter: weights four times their initial size, biases and norms disturbed."""
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(self.config(), attn_implementation="eager").eval()
        model.config.architectures = [type(model).__name__]  # as every checkpoint on disk says
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim >= 2 and "A_log" not in name:
                    parameter.mul_(4.0)
                else:
                    parameter.add_(0.05 * torch.randn_like(parameter))
        return model.to(self.dtype)


# fmt: off
def _zoo() -> Iterator[Member]:
    """Every member, in the order of the table."""
    one = Member
    yield one("gpt2", "GPT-2", "gpt2", GPT, "learned positions", pad=False)
    yield one("gpt2_scaled", "GPT-2", "gpt2", {**GPT, "scale_attn_by_inverse_layer_idx": True,
              "reorder_and_upcast_attn": True}, "attention scaled by layer (Mistral's GPT-2s)", pad=False)
    yield one("gpt1", "GPT-1", "openai-gpt", GPT, "norm after each addition")
    yield one("gpt_bigcode", "GPT-BigCode", "gpt_bigcode", GPT, "multi-query attention (StarCoder, SantaCoder)")
    yield one("gpt_neo", "GPT-Neo", "gpt_neo", {"vocab_size": 320, "hidden_size": 32, "num_layers": 3, "num_heads": 4,
              "attention_types": [[["global", "local", "global"], 1]], "window_size": 6, "intermediate_size": 48,
              "max_position_embeddings": 96, **IDS}, "local attention")
    yield one("gptj", "GPT-J", "gptj", {**GPT, "rotary_dim": 4}, "parallel block")
    yield one("codegen", "CodeGen", "codegen", {**GPT, "n_ctx": 96, "rotary_dim": 4}, "parallel block, fused QKV")
    yield one("gpt_neox", "GPT-NeoX, Pythia", "gpt_neox", PLAIN, "parallel block")
    yield one("gpt_neox_serial", "GPT-NeoX, Pythia", "gpt_neox", {**PLAIN, "use_parallel_residual": False},
              "serial block")
    yield one("opt", "OPT", "opt", {**BASE, "word_embed_proj_dim": 32, "ffn_dim": 48, "max_position_embeddings": 96},
              "norm before")
    yield one("opt_350m", "OPT", "opt", {**BASE, "word_embed_proj_dim": 16, "ffn_dim": 48,
              "max_position_embeddings": 96, "do_layer_norm_before": False}, "norm after, projected embedding (350m)")
    yield one("opt_post_norm", "OPT", "opt", {**BASE, "word_embed_proj_dim": 32, "ffn_dim": 48,
              "max_position_embeddings": 96, "do_layer_norm_before": False}, "norm after, no projection")
    yield one("bloom", "BLOOM", "bloom", {"vocab_size": 320, "hidden_size": 32, "n_layer": 3, "n_head": 4, **IDS},
              "ALiBi, normed embedding")
    yield one("bloom_post_ln", "BLOOM", "bloom", {"vocab_size": 320, "hidden_size": 32, "n_layer": 3, "n_head": 4,
              "apply_residual_connection_post_layernorm": True, **IDS}, "residual after the norm")
    falcon = {**BASE, "max_position_embeddings": 96, "bias": False}
    yield one("falcon_7b", "Falcon", "falcon", {**falcon, "multi_query": True, "parallel_attn": True,
              "alibi": False}, "multi-query, parallel (7B)")
    yield one("falcon_40b", "Falcon", "falcon", {**falcon, "new_decoder_architecture": True, "num_kv_heads": 2},
              "grouped, two norms (40B)")
    yield one("falcon_11b", "Falcon", "falcon", {**falcon, "new_decoder_architecture": True, "num_kv_heads": 2,
              "num_ln_in_parallel_attn": 1}, "grouped, one norm (11B)")
    yield one("falcon_rw", "Falcon", "falcon", {**falcon, "alibi": True, "bias": True, "multi_query": False,
              "parallel_attn": False}, "ALiBi, serial (RW-1B)")
    yield one("mpt", "MPT", "mpt", {"vocab_size": 320, "d_model": 32, "n_layers": 3, "n_heads": 4, "max_seq_len": 96,
              "expansion_ratio": 2, **IDS}, "ALiBi")
    yield one("xglm", "XGLM", "xglm", {"vocab_size": 320, "d_model": 32, "ffn_dim": 48, "num_layers": 3,
              "attention_heads": 4, "max_position_embeddings": 96, **IDS}, "sinusoidal positions")
    yield one("llama", "Llama", "llama", ROTARY, "untied")
    yield one("llama_tied", "Llama", "llama", GROUPED, "tied (3.2)")
    yield one("llama_3_rope", "Llama", "llama", {**ROTARY, "rope_parameters": {"rope_type": "llama3",
              "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 16}}, "scaled rotary (3.1)")
    yield one("llama_dynamic_rope", "Llama", "llama", {**ROTARY, "rope_parameters": {"rope_type": "dynamic",
              "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16},
              "max_position_embeddings": 16}, "rotary scaled by length (dynamic NTK)")
    yield one("llama4", "Llama 4", "llama4_text", {**HEADS, **EXPERTS, "intermediate_size_mlp": 48,
              "attention_chunk_size": 8, "interleave_moe_layer_step": 2, "num_experts_per_tok": 1},
              "experts, chunked attention")
    yield one("mistral", "Mistral", "mistral", {**HEADS, "sliding_window": 64}, "")
    yield one("mistral_window", "Mistral", "mistral", {**HEADS, "sliding_window": 6}, "window shorter than the text")
    yield one("mistral_bf16", "Mistral", "mistral", {**HEADS, "sliding_window": None}, "bfloat16",
              dtype=torch.bfloat16)
    yield one("ministral3", "Ministral 3", "ministral3", HEADS)
    yield one("mixtral", "Mixtral", "mixtral", {**HEADS, **EXPERTS}, "experts")
    yield one("qwen2", "Qwen2, Qwen2.5", "qwen2", GROUPED, "no beginning-of-text token", bos=False)
    yield one("qwen2_moe", "Qwen2-MoE", "qwen2_moe", {**GROUPED, **SPARSE, "shared_expert_intermediate_size": 16},
              "experts", bos=False)
    yield one("qwen3", "Qwen3", "qwen3", HEADS, "normed queries and keys", bos=False)
    yield one("qwen3_moe", "Qwen3-MoE", "qwen3_moe", {**HEADS, **SPARSE}, "experts", bos=False)
    yield one("qwen3_next", "Qwen3-Next", "qwen3_next", {**HEADS, **SPARSE, **LINEAR,
              "shared_expert_intermediate_size": 16}, "linear attention, experts", bos=False)
    yield one("qwen3_5", "Qwen3.5", "qwen3_5_text", {**HEADS, **LINEAR}, "linear attention", bos=False)
    yield one("qwen3_5_moe", "Qwen3.5-MoE", "qwen3_5_moe_text", {**HEADS, **SPARSE, **LINEAR,
              "shared_expert_intermediate_size": 16}, "linear attention, experts", bos=False)
    yield one("gemma", "Gemma", "gemma", HEADS, "embedding scaled")
    yield one("gemma2", "Gemma 2", "gemma2", {**HEADS, "sliding_window": 6, "query_pre_attn_scalar": 8,
              "final_logit_softcapping": 2.0}, "sandwich norms, soft caps, window")
    yield one("gemma3", "Gemma 3", "gemma3_text", {**HEADS, **SLIDING, "query_pre_attn_scalar": 8},
              "sandwich norms, window")
    yield one("gemma3n", "Gemma 3n", "gemma3n_text", {**HEADS, **SLIDING, "intermediate_size": 48,
              "vocab_size_per_layer_input": 320, "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0,
              "laurel_rank": 4, "activation_sparsity_pattern": [0.0] * 3}, "several streams (AltUp)")
    yield one("gemma4", "Gemma 4", "gemma4_text", {**HEADS, **SLIDING, "hidden_size_per_layer_input": 0,
              "global_head_dim": 8},
              "sandwich norms, layer scalar")
    yield one("gemma4_ple", "Gemma 4", "gemma4_text", {**HEADS, **SLIDING, "vocab_size_per_layer_input": 320,
              "hidden_size_per_layer_input": 8, "global_head_dim": 8}, "per-layer embeddings (E2B, E4B)")
    yield one("vaultgemma", "VaultGemma", "vaultgemma", {**HEADS, **SLIDING, "query_pre_attn_scalar": 8}, "soft caps")
    yield one("recurrent_gemma", "RecurrentGemma", "recurrent_gemma", {**BASE, "intermediate_size": 96,
              "num_key_value_heads": 1, "lru_width": 32, "attention_window_size": 32, "conv1d_width": 4,
              "block_types": ["recurrent", "attention", "recurrent"]}, "recurrent blocks")
    yield one("olmo", "OLMo", "olmo", ROTARY, "norms without weights")
    yield one("olmo_clip", "OLMo", "olmo", {**ROTARY, "clip_qkv": 0.5}, "clipped QKV (7B)")
    yield one("olmo2", "OLMo 2", "olmo2", ROTARY, "norm after each sublayer")
    yield one("olmo3", "OLMo 3", "olmo3", {**ROTARY, **SLIDING}, "norm after each sublayer, window")
    for name, kind, more in (("olmo", "OLMo", {}), ("olmo2", "OLMo 2", {}), ("olmo3", "OLMo 3", SLIDING)):
        for dtype, short in ((torch.bfloat16, "bf16"), (torch.float16, "fp16")):
            yield one(f"{name}_{short}", kind, name, {**ROTARY, **more}, str(dtype).removeprefix("torch."),
                      dtype=dtype)
    yield one("olmoe", "OLMoE", "olmoe", {**ROTARY, "num_experts": 4, "num_experts_per_tok": 2}, "experts")
    yield one("flex_olmo", "FlexOlmo", "flex_olmo", {**ROTARY, "num_experts": 4, "num_experts_per_tok": 2}, "experts")
    yield one("olmo_hybrid", "OLMo Hybrid", "olmo_hybrid", {**ROTARY, "linear_num_key_heads": 4,
              "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
              "layer_types": ["linear_attention", "full_attention", "linear_attention"]}, "linear attention")
    scaled = {"embedding_multiplier": 3.0, "logits_scaling": 4.0, "residual_multiplier": 0.4,
              "attention_multiplier": 0.2}
    yield one("granite", "Granite", "granite", {**GROUPED, **scaled}, "logits, residual and embedding scaled")
    yield one("granite_moe", "GraniteMoE", "granitemoe", {**GROUPED, **scaled, **EXPERTS}, "experts, scaled")
    hybrid = {**GROUPED, **scaled, **EXPERTS, "shared_intermediate_size": 16, "mamba_n_heads": 8, "mamba_d_state": 8,
              "mamba_d_head": 8}
    attention = {"layer_types": ["attention"] * 3}
    yield one("granite_hybrid_rope", "GraniteMoeHybrid", "granitemoehybrid", {**hybrid, **attention,
              "position_embedding_type": "rope"}, "all attention, rotary")
    yield one("granite_hybrid_nope", "GraniteMoeHybrid", "granitemoehybrid", {**hybrid, **attention,
              "position_embedding_type": None}, "all attention, no positions")
    yield one("granite_hybrid_dense", "GraniteMoeHybrid", "granitemoehybrid", {**hybrid, **attention,
              "num_local_experts": 0, "position_embedding_type": "rope"}, "all attention, dense")
    yield one("granite_hybrid_mamba", "GraniteMoeHybrid", "granitemoehybrid", {**hybrid,
              "layer_types": ["mamba", "attention", "mamba"]}, "Mamba-2 and attention (4.0 H)")
    yield one("cohere", "Cohere", "cohere", GROUPED, "parallel block, logits scaled")
    yield one("cohere_qk_norm", "Cohere", "cohere", {**GROUPED, "use_qk_norm": True}, "normed queries and keys (R+)")
    yield one("cohere2", "Cohere 2", "cohere2", {**HEADS, **SLIDING, "logit_scale": 0.25}, "window, logits scaled")
    yield one("phi", "Phi", "phi", PLAIN, "parallel block (1, 1.5, 2)")
    yield one("phi_qk_norm", "Phi", "phi", {**PLAIN, "qk_layernorm": True}, "normed queries and keys")
    yield one("phi3", "Phi-3, Phi-4", "phi3", {**ROTARY, "sliding_window": None}, "fused QKV")
    yield one("phi3_longrope", "Phi-3, Phi-4", "phi3", {**ROTARY, "original_max_position_embeddings": 16,
              "rope_parameters": LONGROPE}, "rotary scaled by length")
    yield one("phimoe", "PhiMoE", "phimoe", {**GROUPED, **EXPERTS}, "experts")
    yield one("stablelm", "StableLM", "stablelm", ROTARY, "")
    yield one("stablelm_parallel", "StableLM", "stablelm", {**ROTARY, "use_parallel_residual": True,
              "qk_layernorm": True}, "parallel block, normed queries and keys (2 12B)")
    yield one("starcoder2", "StarCoder2", "starcoder2", {**GROUPED, "sliding_window": None}, "")
    yield one("nemotron", "Nemotron", "nemotron", {**HEADS, "partial_rotary_factor": 0.5}, "squared ReLU")
    yield one("smollm3", "SmolLM3", "smollm3", {**GROUPED, "no_rope_layers": [1, 1, 0]}, "layers without positions")
    yield one("glm", "GLM", "glm", {**HEADS, "partial_rotary_factor": 0.5}, "")
    yield one("glm4", "GLM-4", "glm4", {**HEADS, "partial_rotary_factor": 0.5}, "sandwich norms")
    yield one("glm4_moe", "GLM-4-MoE", "glm4_moe", {**HEADS, **ROUTED, "first_k_dense_replace": 1}, "experts")
    yield one("glm4_moe_lite", "GLM-4-MoE Lite", "glm4_moe_lite", {**PLAIN, **LATENT, **ROUTED}, "latent attention")
    yield one("glm_moe_dsa", "GLM-5", "glm_moe_dsa", {**PLAIN, **LATENT, **ROUTED, "index_topk": 8,
              "index_head_dim": 16, "index_n_heads": 2}, "sparse attention")
    yield one("deepseek_v2", "DeepSeek-V2", "deepseek_v2", {**PLAIN, **LATENT, **ROUTED, "first_k_dense_replace": 1},
              "latent attention, experts")
    yield one("deepseek_v3", "DeepSeek-V3", "deepseek_v3", {**PLAIN, **LATENT, **ROUTED, "first_k_dense_replace": 1},
              "latent attention, experts")
    yield one("deepseek_v4", "DeepSeek-V4", "deepseek_v4", {**BASE, "num_key_value_heads": 1, "head_dim": 16,
              "q_lora_rank": 16, "moe_intermediate_size": 16, "n_routed_experts": 4, "num_experts_per_tok": 2,
              "max_position_embeddings": 96, "o_groups": 2, "o_lora_rank": 8, "index_n_heads": 2,
              "index_head_dim": 16, "index_topk": 8, "sliding_window": 6}, "several streams (hyper-connections)")
    yield one("afmoe", "AFMoE", "afmoe", {**HEADS, **SPARSE, **SLIDING, "num_shared_experts": 1}, "gated, experts")
    yield one("apertus", "Apertus", "apertus", GROUPED)
    yield one("arcee", "Arcee", "arcee", GROUPED)
    yield one("bitnet", "BitNet", "bitnet", GROUPED, "norms inside sublayers")
    yield one("ernie4_5", "ERNIE 4.5", "ernie4_5", HEADS)
    yield one("ernie4_5_moe", "ERNIE 4.5 MoE", "ernie4_5_moe", {**HEADS, "moe_intermediate_size": 16, "moe_k": 2,
              "moe_num_experts": 4, "moe_num_shared_experts": 1}, "experts")
    yield one("exaone4", "EXAONE 4", "exaone4", {**HEADS, **SLIDING}, "norm after each sublayer")
    yield one("gpt_oss", "GPT-OSS", "gpt_oss", {**HEADS, **EXPERTS, **SLIDING}, "attention sinks, experts")
    yield one("hunyuan_dense", "Hunyuan", "hunyuan_v1_dense", {**HEADS, "tie_word_embeddings": False})
    yield one("hrm_text", "HRM-Text", "hrm_text", {**PLAIN, "head_dim": 8, "num_hidden_layers": 2, "H_cycles": 2,
              "L_cycles": 2}, "blocks run several times")
    yield one("jais2", "Jais 2", "jais2", GROUPED)
    yield one("jetmoe", "JetMoE", "jetmoe", {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 3,
              "num_key_value_heads": 2, "kv_channels": 8, "intermediate_size": 48, "max_position_embeddings": 96,
              **EXPERTS, **IDS}, "experts in attention")
    yield one("laguna", "Laguna", "laguna", {**HEADS, **SPARSE, **SLIDING, "shared_expert_intermediate_size": 16})
    yield one("minimax_m2", "MiniMax-M2", "minimax_m2", {**HEADS, **EXPERTS}, "experts")
    yield one("modernbert_decoder", "ModernBERT decoder", "modernbert-decoder", {**PLAIN, "local_attention": 6},
              "bias and a head before the output")
    yield one("nanochat", "nanochat", "nanochat", {**GROUPED, "final_logit_softcapping": 2.0}, "norms without weights")
    yield one("seed_oss", "Seed-OSS", "seed_oss", HEADS)
    yield one("youtu", "Youtu", "youtu", {**PLAIN, **LATENT}, "latent attention")
    yield one("helium", "Helium", "helium", HEADS)
    yield one("lfm2", "LFM2", "lfm2", {**GROUPED, "layer_types": ["conv", "full_attention", "conv"]},
              "short convolutions")
    yield one("lfm2_moe", "LFM2-MoE", "lfm2_moe", {**GROUPED, "layer_types": ["conv", "full_attention", "conv"],
              "moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "num_dense_layers": 1},
              "short convolutions, experts")
    yield one("falcon_h1", "Falcon-H1", "falcon_h1", {**HEADS, **MAMBA2, "mamba_d_ssm": 64, "lm_head_multiplier": 0.25,
              "embedding_multiplier": 3.0}, "Mamba-2 beside attention, logits scaled")
    yield one("bamba", "Bamba", "bamba", {**GROUPED, **MAMBA2, "attn_layer_indices": [1]}, "Mamba-2 and attention")
    yield one("jamba", "Jamba", "jamba", {**GROUPED, "num_experts": 2, "num_experts_per_tok": 1,
              "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 8, "use_mamba_kernels": False},
              "Mamba and attention")
    yield one("nemotron_h", "Nemotron-H", "nemotron_h", {**{k: v for k, v in HEADS.items()
              if k != "num_hidden_layers"}, "layers_block_type": ["mamba", "attention", "mlp"], "mamba_num_heads": 8,
              "mamba_head_dim": 8, "ssm_state_size": 8, "n_groups": 1}, "Mamba-2, attention and MLP apart")
    yield one("zamba2", "Zamba2", "zamba2", {**PLAIN, "layers_block_type": ["mamba", "hybrid", "mamba"],
              "n_mamba_heads": 8, "mamba_d_state": 8, "use_mamba_kernels": False}, "Mamba-2, shared attention")
    state = {"vocab_size": 320, "hidden_size": 32, "state_size": 8, "num_hidden_layers": 3, **IDS}
    yield one("mamba", "Mamba", "mamba", state, "no attention")
    yield one("mamba2", "Mamba-2", "mamba2", {**state, "num_heads": 8, "head_dim": 8, "n_groups": 1}, "no attention")
    yield one("falcon_mamba", "Falcon-Mamba", "falcon_mamba", state, "no attention")
    yield one("rwkv", "RWKV", "rwkv", {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 3,
              "attention_hidden_size": 32, "intermediate_size": 48, "context_length": 96, **IDS}, "no attention")
    yield one("persimmon", "Persimmon", "persimmon", PLAIN, "not in TransformerLens")
    yield one("dbrx", "DBRX", "dbrx", {"vocab_size": 320, "d_model": 32, "n_layers": 3, "n_heads": 4,
              "max_seq_len": 96,
              "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0}, **IDS},
              "not in TransformerLens")
    yield one("xlstm", "xLSTM", "xlstm", {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 3, "num_heads": 4,
              **IDS}, "not in TransformerLens")
# fmt: on


ZOO = {member.name: member for member in _zoo()}
