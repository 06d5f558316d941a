"""Loading: every way to name a model leads to the same model; what is not there is said at the door."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

from steering_lab.interventions.steering import steer
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.loading import load_model
from steering_lab.models.refusal import ModelRefused
from tests.families import ZOO
from tests.tiny_models import (
    ARCHITECTURES,
    HAS_HOOKED_TRANSFORMER,
    HOOKED_TRANSFORMERS,
    PROMPTS,
    gap,
    hooked,
    placed,
    random_vector,
    real,
    save_tiny_model,
    tiny_hf_model,
    tiny_tokenizer,
    tokenizer_of,
)


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_a_folder_and_a_model_in_memory_are_the_same_model(name: str, tmp_path: Path) -> None:
    memory = hooked(name)
    loaded = load_model(save_tiny_model(name, tmp_path / "tiny").as_posix(), prefix=memory.prefix)
    assert loaded.fingerprint == memory.fingerprint
    assert loaded.name == "tiny"
    tokens = loaded.to_tokens(PROMPTS)
    assert torch.equal(tokens.ids[tokens.mask], memory.to_tokens(PROMPTS).ids[tokens.mask])
    assert gap(real(loaded.logits(tokens), tokens), real(memory.logits(tokens), tokens)) <= 1e-6


def test_the_tokenizer_in_memory_is_taken_as_it_is() -> None:
    """TransformerLens would read a tokenizer anew from the name it came from, losing what was added to it."""
    tokenizer = tokenizer_of("llama")
    model = load_model(tiny_hf_model("llama"), tokenizer=tokenizer)
    assert len(model.backend.tokenizer) == len(tokenizer)
    assert model.tokenizer is not tokenizer
    assert model.token_ids("I hate")[1:] == tokenizer("I hate", add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("dtype", ["bfloat16", torch.float64])
def test_a_dtype_that_was_asked_for_is_the_models(dtype: Any, tmp_path: Path) -> None:
    model = load_model(save_tiny_model("llama", tmp_path / "tiny").as_posix(), dtype=dtype)
    assert str(model.dtype).endswith(str(dtype).removeprefix("torch."))
    assert generate(model, "I hate", max_new_tokens=2).tokens[0]


# -- TransformerLens objects ------------------------------------------------------------------------------------------
def bridge_of(name: str, *, compatible: bool) -> Any:
    """A bridge of the user's own making."""
    backend = load_model(tiny_hf_model(name), tokenizer=tokenizer_of(name)).backend
    if compatible:
        backend.enable_compatibility_mode()
    return backend


@torch.no_grad()
def test_a_bridge_that_exists_is_taken_as_it_is() -> None:
    backend = bridge_of("llama", compatible=False)
    model = load_model(backend, tokenizer=tokenizer_of("llama"))
    assert model.backend is backend
    assert model.basis == "raw"
    tokens = model.to_tokens(PROMPTS)
    with hooked("llama").running("hooked") as reference:
        assert torch.equal(model.logits(tokens), reference.logits(tokens))


JOINT = ("gpt2", "gpt_neox", "phi3", "falcon_40b", "bloom", "gpt_bigcode", "codegen", "mpt", "granite_hybrid_rope")
APART = ("llama", "opt", "phi")


@pytest.mark.skipif(HAS_HOOKED_TRANSFORMER, reason="a bridge of TransformerLens 3 adds a bias to the unembedding")
@pytest.mark.parametrize("name", JOINT + APART)
def test_a_bridge_has_the_fingerprint_of_the_model_it_wraps(name: str) -> None:
    """A bridge holds copies that it split off joint queries, keys and values beside the weights they come from."""
    member = ZOO[name]
    loaded = load_model(member.model(), tokenizer=member.tokenizer())
    bridged = load_model(loaded.backend, tokenizer=member.tokenizer(), prefix=loaded.prefix)
    assert bridged.fingerprint == loaded.fingerprint
    assert bridged.n_parameters == loaded.n_parameters
    with steer(bridged, random_vector(loaded, resid_pre(1)).everywhere()):
        pass


@pytest.mark.parametrize("part", ["attn.q", "attn.qkv", "mlp.gate", "mlp.in"])
@torch.no_grad()
def test_a_bridge_whose_split_or_joint_weights_were_changed_is_another_model(part: str) -> None:
    member = ZOO["phi3"]
    loaded = load_model(member.model(), tokenizer=member.tokenizer())
    loaded.backend.blocks[1].get_submodule(part).original_component.weight[0, 0] += 1.0
    bridged = load_model(loaded.backend, tokenizer=member.tokenizer())
    assert bridged.fingerprint != load_model(member.model(), tokenizer=member.tokenizer()).fingerprint


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("name", "basis"), [("gpt2", "centred"), ("llama", "raw"), ("gemma", "raw")])
@torch.no_grad()
def test_the_basis_of_a_bridge_in_compatibility_mode_is_measured(name: str, basis: str) -> None:
    model = load_model(bridge_of(name, compatible=True), tokenizer=tokenizer_of(name))
    assert model.basis == basis
    raw = hooked(name)
    tokens = raw.to_tokens(PROMPTS)
    one, other = (torch.log_softmax(m.logits(tokens), dim=-1) for m in (model, raw))
    assert gap(real(one, tokens), real(other, tokens)) <= 1e-4
    vector = random_vector(raw, resid_pre(1))
    if basis == "raw":  # its weights are processed copies, which only the caller knows to be the same model's
        with steer(model, vector.everywhere(), allow_other_model=True), steer(raw, vector.everywhere()):
            one, other = (torch.log_softmax(m.logits(tokens), dim=-1) for m in (model, raw))
        assert gap(real(one, tokens), real(other, tokens)) <= 1e-4
        return
    stream = [m.residuals(tokens, [resid_post(1)])[resid_post(1)] for m in (model, raw)]
    assert gap(real(stream[0], tokens), real(stream[1] - stream[1].mean(-1, keepdim=True), tokens)) <= 1e-5
    for left, right, wrong in ((model, vector, "raw"), (raw, random_vector(model, resid_pre(1)), "centred")):
        with pytest.raises(ValueError, match=f"made in the {wrong} basis"), steer(left, right.everywhere()):
            pytest.fail("the block must not be entered")


@pytest.mark.parametrize("name", HOOKED_TRANSFORMERS)
def test_a_hooked_transformer_is_taken_and_its_basis_measured(name: str) -> None:
    model = hooked(name)
    assert type(model.backend).__name__ == "HookedTransformer"
    assert model.basis == ("raw" if name == "hooked_transformer" else "centred")
    assert not any(p.requires_grad for p in model.backend.parameters())


@pytest.mark.parametrize("name", HOOKED_TRANSFORMERS)
@torch.no_grad()
def test_a_hooked_transformer_says_what_the_bridge_says(name: str) -> None:
    model, bridge = hooked(name), hooked("gpt2")
    tokens = bridge.to_tokens(PROMPTS)
    one, other = (torch.log_softmax(m.logits(tokens), dim=-1) for m in (model, bridge))
    assert gap(real(one, tokens), real(other, tokens)) <= 1e-4
    assert generate(model, PROMPTS, max_new_tokens=5).tokens == generate(bridge, PROMPTS, max_new_tokens=5).tokens
    if model.basis == "raw":
        with steer(model, placed(bridge, resid_pre(1), "a sum of all"), allow_other_model=True):
            ours = generate(model, PROMPTS, max_new_tokens=5).tokens
        with steer(bridge, placed(bridge, resid_pre(1), "a sum of all")):
            assert generate(bridge, PROMPTS, max_new_tokens=5).tokens == ours


# -- hook points that lie ---------------------------------------------------------------------------------------------
def doubled_skip(block: torch.nn.Module) -> None:
    """The block returns more than its hooks ever saw."""

    def more(module: torch.nn.Module, args: tuple, output: Any) -> Any:
        return output + 0.1 if torch.is_tensor(output) else (output[0] + 0.1, *output[1:])

    block.register_forward_hook(more)


def test_a_model_whose_hook_points_lie_is_refused() -> None:
    backend = bridge_of("llama", compatible=False)
    doubled_skip(backend.blocks[1])
    with pytest.raises(ValueError, match="hook points do not show the residual stream"):
        load_model(backend, tokenizer=tokenizer_of("llama"))


def test_an_edit_that_misses_the_skip_path_is_refused() -> None:
    """A resid_pre that attention and MLP read but the skip path does not, as resid_mid of a bridge is."""
    backend = bridge_of("llama", compatible=False)
    block = backend.blocks[1]
    came_in, was_read = [], []
    block.register_forward_pre_hook(lambda module, args: came_in.append(args[0]))
    block.ln1.register_forward_pre_hook(lambda module, args: was_read.append(args[0]))
    block.hook_out.register_forward_pre_hook(lambda module, args: (args[0] - (was_read[-1] - came_in[-1]),))
    with pytest.raises(ValueError, match=r"a delta added at resid_pre\(1\)"):
        load_model(backend, tokenizer=tokenizer_of("llama"))


def test_a_site_that_fires_twice_is_refused() -> None:
    backend = bridge_of("llama", compatible=False)
    block = backend.blocks[2]
    block.hook_out.register_forward_hook(lambda module, args, output: block.hook_in(output) if len(args) == 1 else None)
    with pytest.raises(ValueError, match=r"blocks\.2\.hook_resid_pre fired 2 times"):
        load_model(backend, tokenizer=tokenizer_of("llama"))


# -- errors at the door -----------------------------------------------------------------------------------------------
def test_a_name_that_the_hub_does_not_give_is_said_with_the_ways_out() -> None:
    with pytest.raises(
        OSError,
        match=r"cannot load 'no-such/model'.*local folder, a GGUF file, a model in memory, 'smollm2' or 'organism'",
    ):
        load_model("no-such/model")


@pytest.mark.parametrize("dtype", ["float31", "int64", "floats", torch.int8])
def test_a_dtype_that_is_none_is_refused_before_anything_loads(dtype: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown dtype .*'float32', 'bfloat16'"):
        load_model("no-such/model", dtype=dtype)


def test_a_dtype_that_the_device_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cpu cannot compute in torch\.float8_e4m3fn: choose 'float32'"):
        load_model("no-such/model", dtype=torch.float8_e4m3fn, device="cpu")


@pytest.mark.parametrize("device", ["cuda:77", "nonsense"])
def test_a_device_that_is_not_here_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match=f"device '{device}' is not here: available are cpu"):
        load_model("no-such/model", device=device)


def test_a_model_in_memory_needs_its_tokenizer() -> None:
    with pytest.raises(ValueError, match="pass load_model"):
        load_model(tiny_hf_model("gpt2"))


@pytest.mark.parametrize("options", [{"dtype": "float16"}, {"device": "cpu"}, {"revision": "v1"}, {"adapter": "lora"}])
def test_options_of_a_name_are_refused_for_a_model_in_memory(options: dict) -> None:
    with pytest.raises(ValueError, match="move the model in memory yourself"):
        load_model(tiny_hf_model("gpt2"), tokenizer=tiny_tokenizer(), **options)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, r"None \(NoneType\) is no model: pass 'organism', 'smollm2', a name on"),
        (5, r"5 \(int\) is no model"),
        (LlamaConfig(), r"LlamaConfig \{.*\.\.\. \(LlamaConfig\) is no model"),
        (LlamaForCausalLM, "LlamaForCausalLM is a class, not a model made of it"),
        (torch.nn.Linear(2, 2), "Linear is a torch module without a `config`, and so no model known here"),
        ("", r"the name of a model is empty \(''\): pass 'organism', 'smollm2', a name on"),
        (" ", "the name of a model is empty"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"tokenizer": tiny_tokenizer()}, {"device": "cpu"}])
def test_what_is_no_model_is_refused_for_what_it_is(given: Any, said: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{said}") as caught:
        load_model(given, **options)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_loaded_already_is_used_as_it_is() -> None:
    with pytest.raises(ValueError, match=r"^LlamaForCausalLM is loaded already .*: use it as it is"):
        load_model(hooked("llama"))


_SMALL = {"vocab_size": 320, "num_hidden_layers": 1, "intermediate_size": 48, "num_attention_heads": 4}
_BART = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "d_model": 32}
NO_DECODERS: dict[str, tuple[Any, str]] = {
    "T5ForConditionalGeneration": (
        lambda: transformers.T5Config(vocab_size=320, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4),
        "it is an encoder-decoder",
    ),
    "BartForConditionalGeneration": (lambda: transformers.BartConfig(vocab_size=320, **_BART), "an encoder-decoder"),
    "BertModel": (lambda: transformers.BertConfig(hidden_size=32, **_SMALL), "it is an encoder, which reads both ways"),
    "BertForMaskedLM": (lambda: transformers.BertConfig(hidden_size=32, **_SMALL), "it is an encoder, which"),
    "LlamaModel": (lambda: LlamaConfig(hidden_size=32, **_SMALL), "it has no head that predicts the next token"),
    "LlamaForSequenceClassification": (lambda: LlamaConfig(hidden_size=32, **_SMALL), "it has no head that predicts"),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_DECODERS)
def test_what_decodes_no_text_is_refused_in_memory_as_in_a_folder(name: str, tmp_path: Path) -> None:
    config, said = NO_DECODERS[name]
    model = getattr(transformers, name)(config())
    with pytest.raises(ModelRefused, match=f"^{name} cannot be opened: .*{said}") as in_memory:
        load_model(model, tokenizer=tiny_tokenizer())
    model.save_pretrained(tmp_path / "tiny")
    with pytest.raises(ModelRefused, match=said) as in_a_folder:
        load_model(tmp_path / "tiny")
    assert str(in_memory.value) == str(in_a_folder.value).replace(f"tiny ({name})", name)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("smolm2", "smollm2"), ("SmolLM2", "smollm2"), ("organisme", "organism"), ("SmolLM2-135M-Instruct", "smollm2")],
)
def test_a_misspelt_name_of_our_own_is_said_with_the_one_that_was_meant(written: str, meant: str) -> None:
    with pytest.raises(OSError, match=f"cannot load '{written}'.* Did you mean '{meant}'\\?"):
        load_model(written)


@pytest.mark.parametrize("name", ["gpt2-small", "llama", "no-such/model"])
def test_a_name_that_is_like_none_of_ours_is_said_without_one(name: str) -> None:
    with pytest.raises(OSError, match=f"cannot load '{name}'") as caught:
        load_model(name)
    assert "Did you mean" not in str(caught.value)
