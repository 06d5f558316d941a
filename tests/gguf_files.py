"""Tiny GGUF files, written as llama.cpp writes them from a Hugging Face model."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.tiny_models import IDS, tiny_tokenizer

NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
ENDS = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


@lru_cache
def tiny_llama() -> Any:
    """A random Llama of which every matrix has rows of whole quantisation blocks, 32 weights each."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=320, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=96, max_position_embeddings=96, tie_word_embeddings=False, attn_implementation="eager", **IDS,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0) if parameter.ndim >= 2 else parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def write_gguf(
    file: Path,
    storage: str,
    *,
    architecture: str = "llama",
    file_type: bool = True,
    without: str = "",
    fields: dict[str, str] | None = None,
) -> Path:
    """The tiny Llama with its matrices stored as `storage`, one tensor left out, or more text fields than it needs."""
    writer = gguf.GGUFWriter(file, architecture)
    config = tiny_llama().config
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    if file_type:
        kind = "ALL_F32" if storage == "F32" else f"MOSTLY_{storage}"
        writer.add_file_type(int(gguf.LlamaFileType[kind]))
    for key, value in (fields or {}).items():
        writer.add_string(key, value)
    _add_tokenizer(writer)
    for name, tensor in tiny_llama().state_dict().items():
        if name != without:
            _add_tensor(writer, name, tensor.numpy(), gguf.GGMLQuantizationType[storage])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    bpe = json.loads(tiny_tokenizer().backend_tokenizer.to_str())["model"]
    tokens = sorted(bpe["vocab"], key=bpe["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    special = [gguf.TokenType.CONTROL if t in ("<s>", "</s>", "<pad>") else gguf.TokenType.NORMAL for t in tokens]
    writer.add_token_types(special)
    writer.add_token_merges([" ".join(pair) for pair in bpe["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)


def _add_tensor(writer: gguf.GGUFWriter, name: str, weights: np.ndarray, storage: gguf.GGMLQuantizationType) -> None:
    stem = name.removesuffix(".weight")
    if stem in ENDS:
        stem = ENDS[stem]
    else:
        _, _, layer, part = stem.split(".", 3)
        stem = f"blk.{layer}.{NAMES[part]}"
    n_heads = {"attn_q": 4, "attn_k": 2}.get(stem.split(".")[-1])
    if n_heads:  # llama.cpp turns neighbouring pairs where Hugging Face turns halves
        half = weights.shape[0] // n_heads // 2
        weights = weights.reshape(n_heads, 2, half, -1).swapaxes(1, 2).reshape(weights.shape)
    if weights.ndim == 1:
        storage = gguf.GGMLQuantizationType.F32
    writer.add_tensor(f"{stem}.weight", gguf.quants.quantize(weights, storage), raw_dtype=storage)
