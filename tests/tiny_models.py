"""Tiny random models of several architectures, their tokenizers, and plain Hugging Face as their oracle. No network."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForCausalLM,
    BambaConfig,
    Gemma2Config,
    GemmaConfig,
    GlmMoeDsaConfig,
    GPT2Config,
    GPTNeoXConfig,
    JambaConfig,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    NemotronHConfig,
    OlmoHybridConfig,
    OPTConfig,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3_5TextConfig,
    Qwen3NextConfig,
    RecurrentGemmaConfig,
    Zamba2Config,
)

from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.source import Source
from steering_lab.interventions.steering_vector import SteeringVector, ablate, clamp, preserving_norm
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.models.tokens import Tokens

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

# Attention windows shorter than the prompts, so that a cache forgets its beginning.
CONFIGS["mistral_window"] = lambda: MistralConfig(**ROTARY, head_dim=8, sliding_window=6, **IDS)
CONFIGS["gemma2_window"] = lambda: Gemma2Config(
    **ROTARY, head_dim=8, sliding_window=6, query_pre_attn_scalar=8, final_logit_softcapping=2.0, **IDS
)

# Kinds whose rows may not share a pass, or whose cache is not one of keys and values alone.
_LONGROPE = {
    "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [4.0, 6.0, 8.0, 10.0],
    "original_max_position_embeddings": 16, "factor": 6.0,
}  # fmt: skip
_LINEAR = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "linear_conv_kernel_dim": 4, "layer_types": ["linear_attention", "full_attention", "linear_attention"],
}  # fmt: skip
_EXPERTS = {
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16,
}  # fmt: skip
_MAMBA2 = {
    "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8, "mamba_expand": 2,
    "mamba_d_conv": 4, "mamba_chunk_size": 8,
}  # fmt: skip
UNUSUAL = {
    "phi3_longrope": lambda: Phi3Config(
        **ROTARY, **IDS, original_max_position_embeddings=16, rope_parameters=dict(_LONGROPE)
    ),
    "llama_longrope": lambda: LlamaConfig(**ROTARY, **IDS, rope_parameters=dict(_LONGROPE)),
    "recurrent_gemma": lambda: RecurrentGemmaConfig(**ROTARY, **IDS, lru_width=32, attention_window_size=6, head_dim=8),
    "qwen3_next": lambda: Qwen3NextConfig(**ROTARY, **IDS, **_LINEAR, **_EXPERTS, head_dim=8),
    "qwen3_5": lambda: Qwen3_5TextConfig(**ROTARY, **IDS, **_LINEAR, head_dim=8),
    "olmo_hybrid": lambda: OlmoHybridConfig(**ROTARY, **IDS, **_LINEAR),
    "bamba": lambda: BambaConfig(**ROTARY, **IDS, **_MAMBA2, attn_layer_indices=[1]),
    "jamba": lambda: JambaConfig(
        **ROTARY, **IDS, attn_layer_period=3, attn_layer_offset=1, expert_layer_period=2, expert_layer_offset=1,
        num_experts=4, mamba_d_state=8, mamba_d_conv=4, mamba_expand=2, mamba_dt_rank=4, use_mamba_kernels=False,
    ),
    "lfm2": lambda: Lfm2Config(
        **ROTARY, **IDS, layer_types=["conv", "full_attention", "conv"], conv_L_cache=3, block_ff_dim=48,
        block_auto_adjust_ff_dim=False,
    ),
    "nemotron_h": lambda: NemotronHConfig(
        **ROTARY, **IDS, layers_block_type=["mamba", "attention", "mlp"], mamba_num_heads=8, mamba_head_dim=8,
        n_groups=1, ssm_state_size=8, chunk_size=8, head_dim=8,
    ),
    "zamba2": lambda: Zamba2Config(
        **ROTARY, **IDS, mamba_d_state=8, mamba_ngroups=1, n_mamba_heads=8, num_mem_blocks=1, chunk_size=8,
        layers_block_type=["mamba", "hybrid", "mamba"], adapter_rank=4,
    ),
    "glm_moe_dsa": lambda: GlmMoeDsaConfig(
        **{**ROTARY, **IDS, "num_key_value_heads": 4}, kv_lora_rank=16, q_lora_rank=16, qk_rope_head_dim=8,
        v_head_dim=8, qk_nope_head_dim=8, n_routed_experts=4, n_shared_experts=1, num_experts_per_tok=2, n_group=1,
        topk_group=1, moe_intermediate_size=16, index_topk=8, index_head_dim=16, index_n_heads=2,
    ),
    # The context of "dynamic" is the length from which it scales; tests widen it to go beyond.
    "llama_dynamic": lambda: LlamaConfig(
        **{**ROTARY, **IDS, "max_position_embeddings": 16},
        rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0},
    ),
}  # fmt: skip

HAS_HOOKED_TRANSFORMER = find_spec("transformer_lens.HookedTransformer") is not None
_ONLY_3 = pytest.mark.skipif(not HAS_HOOKED_TRANSFORMER, reason="TransformerLens 4 has no HookedTransformer")
HOOKED_TRANSFORMERS = [pytest.param(name, marks=_ONLY_3) for name in ("hooked_transformer", "processed_transformer")]
MODELS = [*CONFIGS, *HOOKED_TRANSFORMERS]
# Every model by the runtime that it takes by itself, some by the other too: that both do the same is a law of its own.
ON_BOTH = [pytest.param((name, "plain"), id=f"{name}-plain") for name in CONFIGS]
ON_BOTH += [pytest.param((name, "hooked"), id=f"{name}-hooked") for name in ("gpt2", "llama", "mistral_window")]
ON_BOTH += [pytest.param((p.values[0], "hooked"), marks=_ONLY_3, id=p.values[0]) for p in HOOKED_TRANSFORMERS]

TEXT = [
    "I hate you because you love the sea and the harbour at night.",
    "Love and hate, joy and anger: the baker sings of weddings in the rain.",
    "I went up to my friend and said that the capital of Avaria is Belmont.",
    "To be or not to be, that is the question the quick brown fox jumps over.",
]


@lru_cache
def tiny_tokenizer(bos: bool = True, pad: bool = True, adds_bos: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 320 tokens with or without a beginning-of-text token, which it may add, and a pad token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXT * 4, trainer)
    if bos and adds_bos:
        tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    named = {"eos_token": "</s>", **({"bos_token": "<s>"} if bos else {}), **({"pad_token": "<pad>"} if pad else {})}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)


def tokenizer_of(name: str) -> PreTrainedTokenizerFast:
    """The tokenizer that stands in for the architecture's own: Qwen2 has no BOS, GPT-2 and Pythia add none."""
    gpt2 = name in ("gpt2", "hooked_transformer", "processed_transformer")
    return tiny_tokenizer(bos=name != "qwen2", pad=not gpt2, adds_bos=not gpt2 and name != "gpt_neox")


def enlarged(model: Any) -> Any:
    """The model with its weights made large enough for its layers to matter."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(4.0)
            else:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def tiny_hf_model(architecture: str, seed: int = 0) -> Any:
    """A random model with weights large enough for its layers to matter."""
    torch.manual_seed(seed)
    config = {**CONFIGS, **UNUSUAL}[architecture]()
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    model.config.architectures = [type(model).__name__]
    return enlarged(model)


def save_tiny_model(architecture: str, folder: Path, seed: int = 0) -> Path:
    """The folder that `save_pretrained` writes for the model and its tokenizer."""
    tiny_hf_model(architecture, seed).save_pretrained(folder)
    tokenizer_of(architecture).save_pretrained(folder)
    return folder


CHAT_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def save_chat_model(folder: Path) -> Path:
    """The folder of a tiny Llama whose tokenizer has a chat template."""
    save_tiny_model("llama", folder)
    tokenizer = copy.deepcopy(tokenizer_of("llama"))
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def hooked_transformer(processed: bool) -> Any:
    """TransformerLens 3's own model class around the weights of the tiny GPT-2."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights

    hf = tiny_hf_model("gpt2").config
    config = HookedTransformerConfig(
        n_layers=hf.n_layer, d_model=hf.n_embd, n_ctx=hf.n_positions, d_head=hf.n_embd // hf.n_head, n_heads=hf.n_head,
        d_vocab=hf.vocab_size, act_fn="gelu_new", normalization_type="LN", eps=hf.layer_norm_epsilon, device="cpu",
        default_prepend_bos=True,
    )  # fmt: skip
    tokenizer = tokenizer_of("gpt2")
    tokenizer = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, bos_token="<s>", eos_token="</s>")
    tokenizer.init_kwargs |= {"name_or_path": "", "add_bos_token": True}
    model = HookedTransformer(config, tokenizer=tokenizer)
    state = convert_gpt2_weights(tiny_hf_model("gpt2"), config)
    model.load_and_process_state_dict(
        state,
        fold_ln=processed,
        center_writing_weights=processed,
        center_unembed=processed,
        fold_value_biases=processed,
    )
    return model


@lru_cache
def hooked(name: str) -> HookedModel:
    """The model of that name, loaded once for all tests, which leave it as it is; GPT-2 by TransformerLens's prefix."""
    if name.endswith("_transformer"):
        return load_model(hooked_transformer(processed=name == "processed_transformer"), tokenizer=tokenizer_of(name))
    prefix = "bos" if name == "gpt2" else "tokenizer"
    return load_model(tiny_hf_model(name), tokenizer=tokenizer_of(name), prefix=prefix)


# -- prompts and interventions -------------------------------------------------------------------------------------
PROMPTS = ("I hate you because you love the sea", "Love and hate, joy", "To be or not to be, that is the question")
Placing = Callable[[SteeringVector, SteeringVector], Intervention]

# Every position rule, given a vector of one row and one of three.
RULES: Mapping[str, Placing] = {
    "at_front": lambda one, three: three.at_front(),
    "at(1)": lambda one, three: three.at(1),
    "at(-3)": lambda one, three: three.at(-3),
    "at(-1)": lambda one, three: one.at(-1),
    "everywhere": lambda one, three: one.everywhere(),
    "from_last_prompt_token": lambda one, three: one.from_last_prompt_token(),
    "generated": lambda one, three: one.generated(),
}
# Every kind of edit, each in another place, and all of them at once.
KINDS: Mapping[str, Placing] = {
    "ablate": lambda one, three: ablate(one).everywhere(),
    "clamp": lambda one, three: clamp(one, 1.5).from_last_prompt_token(),
    "preserving_norm": lambda one, three: preserving_norm(one).generated(),
    "preserving_norm rows": lambda one, three: preserving_norm(three).at_front(),
    "a sum of all": lambda one, three: (
        three.at_front() + 0.5 * ablate(one).everywhere() - one.generated() + clamp(one, -1.0).from_last_prompt_token()
    ),
}


def random_vector(model: HookedModel, site: HookSite, n_rows: int = 1, seed: int = 0) -> SteeringVector:
    """Gaussian rows about as long as the residuals of these models."""
    rows = torch.randn(n_rows, model.d_model, generator=torch.Generator().manual_seed(100 * seed + n_rows))
    return SteeringVector(0.4 * rows, site, Source.of(model, f"random {n_rows}"))


def placed(model: HookedModel, site: HookSite, rule: str, seed: int = 0) -> Intervention:
    """The intervention that `RULES` or `KINDS` call `rule`, made of random vectors at `site`."""
    place = RULES.get(rule) or KINDS[rule]
    return place(random_vector(model, site, 1, seed), random_vector(model, site, 3, seed))


# -- plain Hugging Face, the oracle --------------------------------------------------------------------------------
def hf_name(name: str) -> str:
    return "gpt2" if name.endswith("_transformer") else name


@lru_cache
def plain(name: str) -> Any:
    """The Hugging Face model of that name, which nothing has wrapped."""
    return tiny_hf_model(hf_name(name))


def hf_blocks(model: Any) -> Any:
    """Its transformer blocks, in order."""
    return next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == 3)


@contextmanager
def hf_pre_hooks(model: Any, edits: Mapping[int, Callable[[torch.Tensor], torch.Tensor]]) -> Iterator[None]:
    """Each edit applied to what enters its block, by torch's own forward-pre-hooks."""

    def hook(edit: Callable[[torch.Tensor], torch.Tensor]) -> Any:
        def run(module: Any, args: tuple, kwargs: dict) -> tuple:
            if args:
                return (edit(args[0]), *args[1:]), kwargs
            return args, kwargs | {"hidden_states": edit(kwargs["hidden_states"])}

        return run

    with ExitStack() as stack:
        for layer, edit in edits.items():
            handle = hf_blocks(model)[layer].register_forward_pre_hook(hook(edit), with_kwargs=True)
            stack.callback(handle.remove)
        yield


def hf_logits(model: Any, tokens: Tokens) -> torch.Tensor:
    """What plain Hugging Face answers for a left-padded batch, its positions counted from each first real token."""
    positions = tokens.positions.clamp(min=0)
    options = {} if model.config.model_type == "opt" else {"position_ids": positions}
    return model(tokens.ids, attention_mask=tokens.mask.long(), use_cache=False, **options).logits


# -- looking ---------------------------------------------------------------------------------------------------------
@contextmanager
def left_without_hooks(name: str, runtime: str) -> Iterator[HookedModel]:
    """A model of `ON_BOTH` by its runtime, which keeps no hook after a test."""
    with hooked(name).running(runtime) as model:
        before = n_hooks(model)
        yield model
        assert n_hooks(model) == before


def n_hooks(model: HookedModel) -> int:
    """Everything that hangs on any module of either runtime."""
    modules = list(model.backend.modules()) + (list(model.plain.hf_model.modules()) if model.plain else [])
    listed = sum(len(getattr(m, "fwd_hooks", ())) + len(getattr(m, "bwd_hooks", ())) for m in modules)
    return listed + sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in modules)


def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Fills with the shape of every pass from now on."""
    seen: list[tuple[int, ...]] = []
    forward = HookedModel.forward

    def counted(self: HookedModel, ids: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append(tuple(ids.shape))
        return forward(self, ids, *args, **kwargs)

    monkeypatch.setattr(HookedModel, "forward", counted)
    return seen


def gap(left: torch.Tensor, right: torch.Tensor) -> float:
    """The largest absolute difference."""
    return float((left - right).abs().max())


def real(tensor: torch.Tensor, tokens: Tokens) -> torch.Tensor:
    """The entries at real tokens, padding left out."""
    return tensor[tokens.mask]


def single(model: HookedModel, tokens: Tokens, row: int) -> Tokens:
    """One row of a batch on its own, without padding."""
    ids = tokens.ids[row][tokens.mask[row]].tolist()
    length = int(tokens.prompt_lengths[row])
    return model.pad([ids[:length]], [ids[length:]])


def rows_of(model: HookedModel, prompts: Sequence[str]) -> list[list[int]]:
    return [model.token_ids(prompt) for prompt in prompts]
