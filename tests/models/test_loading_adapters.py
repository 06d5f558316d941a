"""Adapters: the merged model is PEFT's own forward pass, whatever the adapter changes, or it is refused."""

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from steering_lab.models.loading import load_model
from steering_lab.models.loading.adapter import is_adapter
from tests.tiny_models import CONFIGS, ROTARY, SIZE, gap, hooked, save_tiny_model, tiny_hf_model, tokenizer_of

peft = pytest.importorskip("peft")
pytestmark = [  # PEFT's warnings of what it leaves to its caller, and of transformers 5
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*LoRA tensor.*invalid shape"),  # the bias of lora_bias is one-dimensional
    pytest.mark.filterwarnings("ignore:.*(tie|lora_bias|aLoRA|save_embedding_layers|config file).*:UserWarning"),
]

IDS = [0, 5, 77, 123, 300, 12, 3, 4]
ADAPTERS: dict[str, dict[str, Any]] = {
    "attention": {"target_modules": ["q_proj", "v_proj"]},
    "embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "unembedding": {"target_modules": ["q_proj", "lm_head"]},
    "both": {"target_modules": ["q_proj", "lm_head", "embed_tokens"]},
    "embedding, kept tied": {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True},
    "whole embedding": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    "whole unembedding": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "whole embedding, kept tied": {
        "target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True,
    },
    "single tokens": {"target_modules": ["q_proj"], "trainable_token_indices": [3, 4]},
    "bias in the adapter": {"target_modules": ["q_proj", "down_proj"], "lora_bias": True},
    "trained biases": {"target_modules": ["q_proj"], "bias": "all"},
    "dora": {"target_modules": ["q_proj", "v_proj"], "use_dora": True},
}  # fmt: skip


def base_model(tied: bool, n_added: int = 0) -> Any:
    """The tiny Llama, its embeddings tied or not, with rows of their own for added tokens."""
    torch.manual_seed(0)
    config = CONFIGS["llama"]()
    config.tie_word_embeddings = tied
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0 if parameter.ndim > 1 else 1.0)
        if n_added:
            model.resize_token_embeddings(SIZE["vocab_size"] + n_added, mean_resizing=False)
            for embedding in (model.get_input_embeddings(), model.get_output_embeddings()):
                embedding.weight[SIZE["vocab_size"] :].normal_()
    return model


def adapt(base: Any, **what: Any) -> Any:
    """PEFT's wrapper around the model, everything that it trains moved away from where it starts."""
    config = peft.LoraConfig(r=2, lora_alpha=4, init_lora_weights=False, **what)
    torch.manual_seed(1)
    adapted = peft.get_peft_model(base, config).eval()
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return adapted


def save(tied: bool, adapted: Any, folder: Path, tokenizer: Any = None, **how: Any) -> tuple[Path, Path]:
    """The folders of the base model, as it was before it was adapted, and of the adapter."""
    base_model(tied).save_pretrained(folder / "base")
    tokenizer_of("llama").save_pretrained(folder / "base")
    adapted.save_pretrained(folder / "lora", **how)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder / "lora")
    return folder / "base", folder / "lora"


@torch.no_grad()
def log_probs(model: Any, ids: list[int] = IDS) -> torch.Tensor:
    """Of plain Hugging Face, of PEFT, or of ours."""
    if hasattr(model, "pad"):
        return model.logits(model.pad([ids])).log_softmax(-1)
    return model(input_ids=torch.tensor([ids])).logits.log_softmax(-1)


def close_to(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    return gap(found, wanted) <= 1e-5 * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_merged_adapter_is_pefts_own_forward_pass(kind: str, tied: bool, tmp_path: Path) -> None:
    adapted = adapt(base_model(tied), **ADAPTERS[kind])
    base, lora = save(tied, adapted, tmp_path)
    wanted = log_probs(adapted)
    assert gap(wanted, log_probs(base_model(tied))) > 0.5
    model = load_model(base, adapter=lora)
    assert close_to(log_probs(model), wanted)
    assert model.name == "base+lora"


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_peft_model_in_memory_is_merged_and_left_as_it_was(kind: str, tied: bool) -> None:
    adapted = adapt(base_model(tied), **ADAPTERS[kind])
    wanted, before = log_probs(adapted), {k: v.clone() for k, v in adapted.state_dict().items()}
    assert close_to(log_probs(load_model(adapted, tokenizer=tokenizer_of("llama"))), wanted)
    assert torch.equal(log_probs(adapted), wanted)
    after = adapted.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_a_peft_model_in_memory_shares_the_weights_that_merging_leaves_alone() -> None:
    adapted = adapt(base_model(tied=False), **ADAPTERS["attention"])
    model = load_model(adapted, tokenizer=tokenizer_of("llama"))
    theirs = {p.data_ptr() for p in adapted.parameters()}
    shared = [p for p in model.weights if p.data_ptr() in theirs]
    assert len(model.weights) - len(shared) == 2 * SIZE["num_hidden_layers"]  # queries and values of each layer
    assert model.name == "LlamaForCausalLM+default"


def test_an_untied_embedding_counts_as_the_weights_that_it_now_is(tmp_path: Path) -> None:
    base, lora = save(True, adapt(base_model(True), **ADAPTERS["embedding"]), tmp_path)
    plain = load_model(base)
    added = SIZE["vocab_size"] * ROTARY["hidden_size"]
    assert load_model(base, adapter=lora).n_parameters == plain.n_parameters + added
    assert load_model(base, adapter=lora).fingerprint != plain.fingerprint


# -- added tokens ------------------------------------------------------------------------------------------------------
NEW = [f"<tool_{i}>" for i in range(8)]
RESIZED: dict[str, tuple[bool, dict[str, Any], dict[str, Any]]] = {
    "tied, embedding": (True, ADAPTERS["embedding"], {}),
    "tied, unembedding": (True, ADAPTERS["unembedding"], {}),
    "tied, both whole": (True, {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]}, {}),
    "tied, new tokens alone": (
        True, {"target_modules": ["q_proj"], "trainable_token_indices": list(range(320, 328))}, {},
    ),
    "tied, attention": (True, ADAPTERS["attention"], {"save_embedding_layers": True}),
    "untied, both whole": (False, {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]}, {}),
    "untied, attention": (False, ADAPTERS["attention"], {"save_embedding_layers": True}),
}  # fmt: skip


def longer_tokenizer() -> Any:
    tokenizer = copy.deepcopy(tokenizer_of("llama"))
    tokenizer.add_tokens(NEW)
    return tokenizer


@pytest.mark.parametrize("kind", RESIZED)
def test_added_tokens_come_with_the_adapters_own_tokenizer(kind: str, tmp_path: Path) -> None:
    tied, what, how = RESIZED[kind]
    adapted = adapt(base_model(tied, len(NEW)), **what)
    base, lora = save(tied, adapted, tmp_path, longer_tokenizer(), **how)
    model = load_model(base, adapter=lora)
    assert model.d_vocab == SIZE["vocab_size"] + len(NEW)
    ids = model.token_ids("I hate <tool_7> and <tool_0>")
    assert {320, 327} <= set(ids)
    assert close_to(log_probs(model, ids), log_probs(adapted, ids))


@pytest.mark.parametrize(
    ("tied", "kind"),
    [(True, "attention"), (True, "whole embedding"), (True, "whole unembedding"), (False, "embedding")],
)
def test_added_tokens_whose_rows_the_folder_lacks_are_refused(tied: bool, kind: str, tmp_path: Path) -> None:
    adapted = adapt(base_model(tied, len(NEW)), **ADAPTERS[kind])
    base, lora = save(tied, adapted, tmp_path, longer_tokenizer())
    with pytest.raises(ValueError, match=r"trained with 328 tokens, this model embeds 320.*save_embedding_layers=True"):
        load_model(base, adapter=lora)


# -- refused -----------------------------------------------------------------------------------------------------------
def test_a_merge_that_is_not_pefts_forward_pass_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The family that no list of known faults can name: here the two embeddings stay tied, as PEFT leaves them."""
    monkeypatch.setattr("steering_lab.models.loading.adapter._untie", lambda adapted: None)
    adapted = adapt(base_model(tied=True), **ADAPTERS["embedding"])
    with pytest.raises(ValueError, match=r"this lora adapter cannot be merged.*differ from PEFT's own by \d"):
        load_model(adapted, tokenizer=tokenizer_of("llama"))


def test_an_adapter_that_is_switched_off_is_not_merged_in_silence() -> None:
    adapted = adapt(base_model(tied=False), **ADAPTERS["attention"])
    with adapted.disable_adapter(), pytest.raises(ValueError, match="differ from PEFT's own"):
        load_model(adapted, tokenizer=tokenizer_of("llama"))


def test_an_adapter_that_waits_for_its_words_is_refused(tmp_path: Path) -> None:
    what = {"target_modules": ["q_proj"], "alora_invocation_tokens": [3, 4]}
    base, lora = save(False, adapt(base_model(False), **what), tmp_path)
    with pytest.raises(ValueError, match="adapter lora cannot be merged into the weights: aLoRA does not support"):
        load_model(base, adapter=lora)


def test_an_adapter_that_writes_in_front_of_the_prompt_is_refused(tmp_path: Path) -> None:
    config = peft.PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(base_model(False), config)
    base, lora = save(False, adapted, tmp_path)
    with pytest.raises(ValueError, match="adapter lora adds to the prompt, not to the weights"):
        load_model(base, adapter=lora)
    with pytest.raises(ValueError, match="this prompt_tuning adapter adds to the prompt, not to the weights"):
        load_model(adapted, tokenizer=tokenizer_of("llama"))


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    _, lora = save(False, adapt(base_model(False), **ADAPTERS["attention"]), tmp_path)
    with pytest.raises(ValueError, match="adapter lora does not fit this model: Target modules"):
        load_model(save_tiny_model("gpt2", tmp_path / "gpt2"), adapter=lora)


def test_an_adapter_whose_weights_are_named_otherwise_is_refused(tmp_path: Path) -> None:
    """PEFT warns and goes on with weights that change nothing."""
    from safetensors.torch import load_file, save_file

    base, lora = save(False, adapt(base_model(False), **ADAPTERS["attention"]), tmp_path)
    file = lora / "adapter_model.safetensors"
    save_file({k.replace("layers", "blocks"): v for k, v in load_file(file).items()}, file)
    with pytest.raises(ValueError, match="does not fit this model: Found missing adapter keys"):
        load_model(base, adapter=lora)


@pytest.mark.parametrize("damage", ["config", "weights", "no weights"])
def test_a_damaged_adapter_is_refused(damage: str, tmp_path: Path) -> None:
    base, lora = save(False, adapt(base_model(False), **ADAPTERS["attention"]), tmp_path)
    if damage == "config":
        (lora / "adapter_config.json").write_text("{")
    else:
        file = lora / "adapter_model.safetensors"
        file.write_bytes(file.read_bytes()[:100]) if damage == "weights" else file.unlink()
    with pytest.raises(ValueError, match="the adapter lora does not fit this model"):
        load_model(base, adapter=lora)


def test_an_adapter_alone_says_which_model_it_wants(tmp_path: Path) -> None:
    adapted = adapt(base_model(False), **ADAPTERS["attention"])
    adapted.peft_config["default"].base_model_name_or_path = "some/base"
    _, lora = save(False, adapted, tmp_path)
    with pytest.raises(OSError, match=r"'.*lora'.*a PEFT adapter of some/base.*load_model\('some/base', adapter="):
        load_model(lora)


def test_adapters_that_transformers_attached_are_refused() -> None:
    model = tiny_hf_model("llama")
    model.add_adapter(peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    with pytest.raises(ValueError, match=r"LlamaForCausalLM carries adapters.*pass a PeftModel"):
        load_model(model, tokenizer=tokenizer_of("llama"))


def test_a_folder_without_an_adapter_is_refused(tmp_path: Path) -> None:
    base = save_tiny_model("llama", tmp_path / "base")
    assert not is_adapter(base)
    with pytest.raises(OSError, match=r"base holds no adapter_config\.json"):
        load_model(base, adapter=base)


def test_an_adapter_without_peft_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match="pip install peft"):
        load_model(save_tiny_model("llama", tmp_path / "base"), adapter=tmp_path)


def test_without_an_adapter_the_model_is_another(tmp_path: Path) -> None:
    base, lora = save(False, adapt(base_model(False), **ADAPTERS["attention"]), tmp_path)
    model = load_model(base, adapter=lora)
    assert model.n_parameters == load_model(base).n_parameters == hooked("llama").n_parameters
    assert model.fingerprint != load_model(base).fingerprint
