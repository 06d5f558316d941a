"""Tiny random models of several architectures, saved in Hugging Face format, and their tokenizer. No network."""

from functools import lru_cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

SIZE = {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
ROTARY = {**SIZE, "intermediate_size": 48, "max_position_embeddings": 96, "num_key_value_heads": 2}
IDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}

CONFIGS = {
    "gpt2": lambda: GPT2Config(vocab_size=320, n_embd=32, n_layer=3, n_head=4, n_positions=96, **IDS),
    "gpt_neox": lambda: GPTNeoXConfig(**SIZE, intermediate_size=48, max_position_embeddings=96, **IDS),
    "llama": lambda: LlamaConfig(**ROTARY, tie_word_embeddings=False, **IDS),
    "mistral": lambda: MistralConfig(**ROTARY, head_dim=8, sliding_window=64, **IDS),
    "qwen2": lambda: Qwen2Config(**ROTARY, eos_token_id=1, pad_token_id=2, bos_token_id=None),
    "gemma": lambda: GemmaConfig(**ROTARY, head_dim=8, **IDS),
    "gemma2": lambda: Gemma2Config(**ROTARY, head_dim=8, sliding_window=64, query_pre_attn_scalar=8, **IDS),
    "opt": lambda: OPTConfig(
        vocab_size=320, hidden_size=32, word_embed_proj_dim=32, num_hidden_layers=3, num_attention_heads=4,
        ffn_dim=48, max_position_embeddings=96, **IDS,
    ),
}  # fmt: skip
ARCHITECTURES = tuple(CONFIGS)

TEXT = [
    "I hate you because you love the sea and the harbour at night.",
    "Love and hate, joy and anger: the baker sings of weddings in the rain.",
    "I went up to my friend and said that the capital of Avaria is Belmont.",
    "To be or not to be, that is the question the quick brown fox jumps over.",
]


@lru_cache
def tiny_tokenizer(bos: bool = True, pad: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 320 tokens with or without a beginning-of-text and a pad token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXT * 4, trainer)
    named = {"eos_token": "</s>", **({"bos_token": "<s>"} if bos else {}), **({"pad_token": "<pad>"} if pad else {})}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)


def tokenizer_of(architecture: str) -> PreTrainedTokenizerFast:
    """The tokenizer that stands in for the architecture's own: Qwen2 has no BOS, GPT-2 no pad token."""
    return tiny_tokenizer(bos=architecture != "qwen2", pad=architecture != "gpt2")


def tiny_hf_model(architecture: str, seed: int = 0) -> torch.nn.Module:
    """A random model with weights large enough for its layers to matter."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(CONFIGS[architecture](), attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(4.0)
    return model


def save_tiny_model(architecture: str, folder: Path, seed: int = 0) -> Path:
    """The folder that `save_pretrained` writes for the model and its tokenizer."""
    tiny_hf_model(architecture, seed).save_pretrained(folder)
    tokenizer_of(architecture).save_pretrained(folder)
    return folder
