"""Quantised weights: the model is the one that plain Hugging Face runs, and its facts are those of its numbers."""

import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.interventions.steering import steer
from steering_lab.methods.actadd import actadd_vector
from steering_lab.models.certificate import certificate
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.loading import load_model
from steering_lab.models.loading.boot import sharing_copy
from steering_lab.models.quantised_weights import compute_dtype, n_values, stored_parts
from tests.tiny_models import IDS, PROMPTS, gap, hf_logits, hf_pre_hooks, real, tokenizer_of

pytestmark = pytest.mark.filterwarnings("ignore")
PACKAGES = {"8bit": "bitsandbytes", "4bit": "bitsandbytes", "nested 4bit": "bitsandbytes", "torchao": "torchao"}
KINDS = list(PACKAGES)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


@lru_cache
def unquantised(seed: int = 0, dtype: torch.dtype = torch.float32) -> Any:
    """A Llama whose rows fit the blocks of 64 values in which 4-bit codes share a scale."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=320, hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=96, tie_word_embeddings=False, **IDS,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval().to(dtype)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved(unquantised(), tmp_path / "tiny")


def saved(hf_model: Any, folder: Path) -> Path:
    hf_model.save_pretrained(folder)
    tokenizer_of("llama").save_pretrained(folder)
    return folder


def scheme(kind: str) -> Any:
    """What `quantization` takes, where the package is there."""
    pytest.importorskip(PACKAGES[kind])
    if kind == "nested 4bit":
        return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    if kind != "torchao":
        return kind
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    return TorchAoConfig(Int8WeightOnlyConfig())


def plain(kind: str, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The same weights, quantised the same way, in plain Hugging Face."""
    asked = scheme(kind)
    if isinstance(asked, str):
        asked = BitsAndBytesConfig(**{f"load_in_{asked}": True})
    options = {"quantization_config": asked, "dtype": dtype, "attn_implementation": "eager"}
    return AutoModelForCausalLM.from_pretrained(folder, **options).eval()


def opened(kind: str, folder: Path, dtype: str = "float32") -> Any:
    return load_model(folder, quantization=scheme(kind), dtype=dtype)


# -- the stream -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_steering_is_a_pre_hook_on_the_block_in_plain_hugging_face(kind: str, dtype: str, folder: Path) -> None:
    model, oracle = opened(kind, folder, dtype), plain(kind, folder, getattr(torch, dtype))
    vector = actadd_vector(model, ContrastPair("I love you", "I hate you"), resid_pre(1)).row(-1).unit()
    tokens = model.to_tokens(PROMPTS)
    delta = 3 * torch.as_tensor(vector.rows[0]).to(model.dtype)
    with steer(model, 3 * vector.everywhere()):
        ours = real(model.logits(tokens), tokens)
    with hf_pre_hooks(oracle, {1: lambda resid: resid + delta}):
        theirs = real(hf_logits(oracle, tokens), tokens)
    allowed = 1e-4 if dtype == "float32" else 0.05
    assert gap(ours, theirs) <= allowed
    assert gap(ours, real(model.logits(tokens), tokens)) > 4 * allowed


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_text_is_that_of_plain_hugging_face(kind: str, folder: Path) -> None:
    model, oracle = opened(kind, folder), plain(kind, folder)
    ids = torch.tensor([model.token_ids("I hate the sea")])
    theirs = oracle.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False)
    ours = generate(model, "I hate the sea", max_new_tokens=6, ignore_eos=True).tokens[0]
    assert ours[: theirs.shape[1] - ids.shape[1]] == theirs[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_model_in_memory_is_the_one_of_its_folder_and_stays_the_callers(kind: str, folder: Path) -> None:
    """The 8-bit layer takes its scales off the weight in its first pass: ours may not take the caller's."""
    theirs = plain(kind, folder)
    from_memory, from_folder = load_model(theirs, tokenizer=tokenizer_of("llama")), opened(kind, folder)
    assert from_memory.fingerprint == from_folder.fingerprint
    assert from_memory.quantisation is not None
    assert from_memory.quantisation.startswith("quantised")
    tokens = from_folder.to_tokens(PROMPTS)
    for logits in (from_memory.logits(tokens), hf_logits(theirs, tokens)):
        assert gap(real(logits, tokens), real(from_folder.logits(tokens), tokens)) <= 1e-4


@torch.no_grad()
def test_a_model_quantised_in_place_by_torchao_is_taken_as_it_is(folder: Path) -> None:
    torchao = pytest.importorskip("torchao.quantization")
    hf_model = AutoModelForCausalLM.from_pretrained(folder)
    torchao.quantize_(hf_model, torchao.Int8WeightOnlyConfig())
    model = load_model(hf_model, tokenizer=tokenizer_of("llama"))
    tokens = model.to_tokens(PROMPTS)
    assert gap(real(model.logits(tokens), tokens), real(hf_logits(hf_model, tokens), tokens)) <= 1e-4
    assert model.quantisation == "quantised (torchao Int8Tensor)"


@pytest.mark.parametrize("passed", [False, True], ids=["fresh", "run before"])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_sharing_copy_holds_the_same_memory(kind: str, passed: bool, folder: Path) -> None:
    theirs = plain(kind, folder)
    if passed:
        theirs(torch.tensor([[0, 5, 6]]))
    ours = sharing_copy(theirs)
    for left, right in zip(theirs.parameters(), ours.parameters(), strict=True):
        assert left is not right
        assert type(left) is type(right)
        places = [[part.data_ptr() for part in stored_parts(weight)[:2]] for weight in (left, right)]
        assert places[0] == places[1]
    ids = torch.tensor([[0, 5, 6, 7]])
    assert torch.equal(ours(ids).logits, theirs(ids).logits)


# -- facts ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_size_and_precision_are_those_of_the_numbers_not_of_their_packing(kind: str, dtype: str, folder: Path) -> None:
    model = opened(kind, folder, dtype)
    assert model.n_parameters == sum(p.numel() for p in unquantised().parameters())
    assert model.dtype == getattr(torch, dtype)
    assert next(iter(model.residuals(model.to_tokens("I hate"), [resid_pre(2)]).values())).dtype == model.dtype


def doubled(hf_model: Any) -> None:
    """The codes stay the same, only their scales grow."""
    hf_model.model.layers[1].mlp.down_proj.weight.data.mul_(2)


def one_row_turned(hf_model: Any) -> None:
    hf_model.model.layers[1].mlp.down_proj.weight.data[3].neg_()


@pytest.mark.parametrize("change", [doubled, one_row_turned])
@pytest.mark.parametrize("kind", KINDS)
def test_the_fingerprint_is_of_the_weights(kind: str, change: Callable[[Any], None], folder: Path) -> None:
    first = opened(kind, folder).fingerprint
    assert opened(kind, folder).fingerprint == first
    changed = LlamaForCausalLM(unquantised().config).eval()
    changed.load_state_dict(unquantised().state_dict())
    change(changed)
    assert opened(kind, saved(changed, folder.parent / "changed")).fingerprint != first
    assert load_model(folder).fingerprint != first


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_of_quantised_weights_holds(kind: str, folder: Path) -> None:
    assert certificate(opened(kind, folder)).holds


# -- weights that need no package -------------------------------------------------------------------------------------
def test_a_plain_weight_is_its_own_part() -> None:
    weight = torch.nn.Parameter(torch.randn(3, 4))
    (part,) = stored_parts(weight)
    assert torch.equal(part, weight)
    assert n_values(weight) == 12


def test_the_precision_is_never_that_of_codes() -> None:
    codes = [torch.zeros(2, dtype=kind) for kind in (torch.uint8, torch.int8, torch.float8_e4m3fn)]
    assert compute_dtype([*codes, torch.zeros(2, dtype=torch.bfloat16)]) == torch.bfloat16
    with pytest.raises(ValueError, match=r"float8_e4m3fn, torch.int8, torch.uint8"):
        compute_dtype(codes)
