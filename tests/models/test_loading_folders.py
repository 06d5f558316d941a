"""Folders: what is no text decoder, or not whole, is said in a sentence before any weights are read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    BartConfig,
    BertConfig,
    CTRLConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Mistral3Config,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen3VLConfig,
    T5Config,
    VoxtralConfig,
)

from steering_lab.interventions.steering import steer
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.loading import load_model, placement
from steering_lab.models.loading.checkpoint import model_class
from tests.tiny_models import (
    IDS,
    PROMPTS,
    ROTARY,
    gap,
    hooked,
    random_vector,
    real,
    save_tiny_model,
    tiny_hf_model,
    tokenizer_of,
)

_VISION = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
_SMALL = {**_VISION, "image_size": 16, "patch_size": 4}
_TEXT = {**ROTARY, **IDS}
_ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
_QWEN_IDS = {"image_token_id": 10, "video_token_id": 11, "vision_start_token_id": 12, "vision_end_token_id": 13}
SEEING: dict[str, Callable[[], Any]] = {
    "llava": lambda: LlavaConfig(
        text_config={"model_type": "llama", **_TEXT}, image_token_index=10,
        vision_config={"model_type": "clip_vision_model", **_SMALL},
    ),
    "mistral3": lambda: Mistral3Config(
        text_config={"model_type": "mistral", "head_dim": 8, **_TEXT}, image_token_index=10,
        vision_config={"model_type": "pixtral", **_SMALL},
    ),
    "qwen2_5_vl": lambda: Qwen2_5_VLConfig(
        text_config={**_TEXT, "rope_parameters": _ROPE}, **_QWEN_IDS,
        vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32,
                       "fullatt_block_indexes": [0]},
    ),
    "qwen3_vl": lambda: Qwen3VLConfig(
        text_config={**_TEXT, "head_dim": 8, "rope_parameters": {**_ROPE, "mrope_interleaved": True}}, **_QWEN_IDS,
        vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32,
                       "deepstack_visual_indexes": [0], "num_position_embeddings": 16},
    ),
}  # fmt: skip


def seeing_folder(kind: str, folder: Path) -> Path:
    """A tiny random model that also sees images, saved with a tokenizer and without an image processor."""
    torch.manual_seed(0)
    AutoModelForImageTextToText.from_config(SEEING[kind]()).save_pretrained(folder)
    tokenizer_of("llama").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", SEEING)
@torch.no_grad()
def test_a_multimodal_folder_is_its_text_model(kind: str, tmp_path: Path) -> None:
    folder = seeing_folder(kind, tmp_path / kind)
    model = load_model(folder)
    plain = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager")
    ids = [0, 5, 77, 123, 300, 14]
    assert gap(model.logits(model.pad([ids])), plain(torch.tensor([ids])).logits) <= 1e-5
    vector = random_vector(model, resid_pre(1))
    rows = model.pad([ids])
    with steer(model, vector.everywhere()):
        steered = model.logits(rows)
    block = plain.model.language_model.layers[1]
    block.register_forward_pre_hook(lambda module, args: (args[0] + vector.rows, *args[1:]))
    assert gap(steered, plain(torch.tensor([ids])).logits) <= 1e-5


def test_the_size_of_a_multimodal_folder_is_that_of_the_whole_model(tmp_path: Path) -> None:
    whole = LlavaForConditionalGeneration(SEEING["llava"]())
    expected = sum(p.numel() for p in whole.parameters())
    assert placement.weights_size(AutoModelForImageTextToText, SEEING["llava"](), torch.float32) == 4 * expected


# -- other kinds of models ---------------------------------------------------------------------------------------------
_BERT = {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
_BERT |= {"intermediate_size": 48}
OTHER: dict[str, tuple[Callable[[], Any], str]] = {
    "BertForMaskedLM": (lambda: BertConfig(**_BERT), "an encoder, which reads both ways"),
    "T5ForConditionalGeneration": (lambda: T5Config(), "an encoder-decoder"),
    "BartForConditionalGeneration": (lambda: BartConfig(), "an encoder-decoder"),
    "LlamaForSequenceClassification": (
        lambda: tiny_hf_model("llama").config, "no head that predicts the next token",
    ),
    "VoxtralForConditionalGeneration": (lambda: VoxtralConfig(), "no model of text"),
    "CTRLLMHeadModel": (lambda: CTRLConfig(), "transformer_lens .* does not know this architecture"),
}  # fmt: skip


@pytest.fixture
def _no_weights_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("weights were read")

    monkeypatch.setattr(PreTrainedModel, "from_pretrained", read)


@pytest.mark.usefixtures("_no_weights_are_read")
@pytest.mark.parametrize("architecture", OTHER)
def test_another_kind_of_model_is_refused_before_its_weights_are_read(architecture: str, tmp_path: Path) -> None:
    config, reason = OTHER[architecture]
    save_tiny_model("gpt2", tmp_path / "other")
    saved = config().to_dict() | {"architectures": [architecture]}
    (tmp_path / "other" / "config.json").write_text(json.dumps(saved))
    with pytest.raises(ValueError, match=rf"^other \({architecture}\) cannot be opened: .*{reason}.*decoders do work"):
        load_model(tmp_path / "other")


def test_an_encoder_kind_saved_as_a_decoder_is_a_decoder() -> None:
    config = BertConfig(**_BERT, is_decoder=True, architectures=["BertLMHeadModel"])
    assert model_class("bert", config) is AutoModelForCausalLM
    config.is_decoder = False
    with pytest.raises(ValueError, match="an encoder, which reads both ways"):
        model_class("bert", config)


def test_a_checkpoint_that_lacks_weights_is_refused_instead_of_filled_with_random_ones(tmp_path: Path) -> None:
    hf_model = tiny_hf_model("llama")
    state = {k: v for k, v in hf_model.state_dict().items() if not k.startswith(("lm_head", "model.layers.1.mlp"))}
    hf_model.save_pretrained(tmp_path / "part", state_dict=state)
    tokenizer_of("llama").save_pretrained(tmp_path / "part")
    with pytest.raises(ValueError, match=r"LlamaForCausalLM.*lacks 4 of its weights \(lm_head\.weight, model\.layers"):
        load_model(tmp_path / "part")


# -- folders that are not whole ----------------------------------------------------------------------------------------
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def without_tokenizer(architecture: str, folder: Path) -> Path:
    save_tiny_model(architecture, folder)
    for file in _TOKENIZER_FILES:
        (folder / file).unlink(missing_ok=True)
    return folder


@pytest.mark.usefixtures("_no_weights_are_read")
@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "qwen2", "gemma", "opt", "llama", "mistral"])
def test_a_folder_without_a_tokenizer_is_refused(architecture: str, tmp_path: Path) -> None:
    """transformers would make some of these a tokenizer of their special tokens alone."""
    folder = without_tokenizer(architecture, tmp_path / "bare")
    with pytest.raises(OSError, match=r"bare' holds no tokenizer .*save_pretrained.*or pass load_model\(.*tokenizer="):
        load_model(folder)


@pytest.mark.usefixtures("_no_weights_are_read")
def test_a_tokenizers_settings_without_its_vocabulary_are_no_tokenizer(tmp_path: Path) -> None:
    folder = save_tiny_model("gpt2", tmp_path / "bare")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(OSError, match="holds no tokenizer"):
        load_model(folder)


@torch.no_grad()
def test_a_tokenizer_that_is_passed_stands_in_for_a_missing_one(tmp_path: Path) -> None:
    folder = without_tokenizer("llama", tmp_path / "bare")
    model, memory = load_model(folder, tokenizer=tokenizer_of("llama")), hooked("llama")
    tokens = memory.to_tokens(PROMPTS)
    assert torch.equal(model.to_tokens(PROMPTS).ids, tokens.ids)
    assert gap(real(model.logits(tokens), tokens), real(memory.logits(tokens), tokens)) <= 1e-6


@pytest.mark.usefixtures("_no_weights_are_read")
@pytest.mark.parametrize(
    ("lost", "said"),
    [("model.safetensors", r"holds no weights \(model\.safetensors or pytorch"), ("config.json", "holds no config")],
)
def test_a_folder_that_is_not_whole_says_what_it_lacks(lost: str, said: str, tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path / "part")
    (folder / lost).unlink()
    with pytest.raises(OSError, match=rf"cannot load '.*part': the folder {said}.*save_pretrained"):
        load_model(folder)
    shutil.copy(folder / "tokenizer.json", folder / "small.gguf")
    with pytest.raises(OSError, match=r"pass its GGUF file: load_model\('.*small\.gguf'\)"):
        load_model(folder)


def test_a_file_that_is_no_gguf_file_is_refused(tmp_path: Path) -> None:
    file = save_tiny_model("llama", tmp_path) / "model.safetensors"
    with pytest.raises(OSError, match=r"model\.safetensors': it is a file but no GGUF file: .*the folder of a model"):
        load_model(file)


@pytest.mark.parametrize("path", ["/no/such/folder", "./nothing", "~/nothing"])
def test_a_path_that_is_not_there_is_no_hub_name(path: str) -> None:
    with pytest.raises(OSError, match=rf"cannot load '{path}': there is no such folder"):
        load_model(path)


def test_a_model_with_code_of_its_own_says_the_way_to_open_it(tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path / "own")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "not_in_transformers", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(OSError, match="code of its own, which is not run here: open it yourself and pass the model in"):
        load_model(folder)


# -- where the weights go ----------------------------------------------------------------------------------------------
def test_a_large_model_says_what_it_takes_and_a_small_one_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = save_tiny_model("llama", tmp_path / "big")
    load_model(folder, device="cpu")
    assert "of weights to" not in capfd.readouterr().err
    size = sum(p.numel() * p.element_size() for p in tiny_hf_model("llama").parameters())
    monkeypatch.setattr(placement, "REPORTED_FROM", size)
    load_model(folder, device="cpu")
    assert capfd.readouterr().err.count(" GiB of weights to cpu, ") == 1
    monkeypatch.setattr(placement, "REPORTED_FROM", size + 1)
    load_model(folder, device="cpu")
    assert "of weights to" not in capfd.readouterr().err


def test_a_device_beside_a_device_map_is_refused() -> None:
    with pytest.raises(ValueError, match="device_map places the layers by itself: leave device out"):
        load_model("no-such/model", device="cpu", device_map="auto")


@pytest.mark.usefixtures("_no_weights_are_read")
@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_a_quantization_without_its_package_says_what_to_install(
    bits: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_tiny_model("llama", tmp_path / "whole")
    monkeypatch.setattr("steering_lab.models.loading.pretrained.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=rf"quantization='{bits}' needs one more package: pip install bitsandbytes"):
        load_model(folder, quantization=bits)


@pytest.mark.usefixtures("_no_weights_are_read")
def test_a_quantization_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path / "whole")
    with pytest.raises(ValueError, match="quantization is '3bit': choose '8bit', '4bit' or a configuration"):
        load_model(folder, quantization="3bit")


def test_a_revision_is_refused_where_there_is_no_hub_to_have_it(tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path / "tiny")
    for name in (str(folder), "organism"):
        with pytest.raises(ValueError, match="revision 'v1' is one of the hub's"):
            load_model(name, revision="v1")
