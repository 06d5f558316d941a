"""GGUF files: what opens is the model that plain transformers reads from the file; the rest is refused in a line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from steering_lab.models.generation import generate
from steering_lab.models.loading import load_model
from steering_lab.models.loading.gguf_file import is_gguf, kind_of
from tests.gguf_files import tiny_llama, write_gguf
from tests.tiny_models import PROMPTS, gap, real

STORAGES = ("F32", "F16", "Q8_0", "Q4_1")


def plain(file: Path) -> tuple[Any, Any]:
    """Model and tokenizer as transformers alone reads them from the file."""
    hf_model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, attn_implementation="eager"
    )
    return hf_model.eval(), AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


@pytest.mark.parametrize("storage", STORAGES)
@torch.no_grad()
def test_a_gguf_file_is_the_model_that_transformers_reads_from_it(storage: str, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", storage)
    model, (hf_model, tokenizer) = load_model(str(file)), plain(file)
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        assert model.token_ids(prompt) == ids[0].tolist()
        tokens = model.to_tokens([prompt])
        assert gap(real(model.logits(tokens), tokens), hf_model(ids).logits[0]) <= 1e-5
        continued = hf_model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
        assert generate(model, prompt, max_new_tokens=12).tokens == [continued.tolist()]


@torch.no_grad()
def test_stored_whole_it_is_the_model_that_was_written(tmp_path: Path) -> None:
    model = load_model(write_gguf(tmp_path / "tiny.gguf", "F32"))
    tokens = model.to_tokens(PROMPTS[:1])
    assert gap(model.logits(tokens), tiny_llama()(tokens.ids).logits) <= 1e-5


@pytest.mark.parametrize(
    ("storage", "said"), [("F32", None), ("Q8_0", "dequantised from Q8_0"), ("Q4_1", "dequantised from Q4_1")]
)
@pytest.mark.parametrize("file_type", [True, False])
def test_what_it_was_stored_as_is_said(storage: str, said: str | None, file_type: bool, tmp_path: Path) -> None:
    """Also where the header does not name the type: then the matrices do."""
    model = load_model(write_gguf(tmp_path / "Tiny-1.5.gguf", storage, file_type=file_type))
    assert model.name == "Tiny-1.5"
    assert model.quantisation == said
    assert model.description == ", ".join(["Tiny-1.5, 134k parameters", *([said] if said else [])])
    assert kind_of(tmp_path / "Tiny-1.5.gguf").n_parameters == model.n_parameters


# -- refused ----------------------------------------------------------------------------------------------------------
def refusal(file: Path, kind: type[Exception] = ValueError, **options: Any) -> str:
    """What loading the file is answered with: one line, whoever raised what inside."""
    with pytest.raises(kind) as caught:
        load_model(str(file), **options)
    assert type(caught.value) is kind
    said = str(caught.value)
    assert "\n" not in said
    assert file.name in said
    if "damaged" in said:
        assert caught.value.__cause__ is not None
    return said


def test_an_architecture_that_transformers_cannot_read_is_named(tmp_path: Path) -> None:
    said = refusal(write_gguf(tmp_path / "tiny.gguf", "F32", architecture="rwkv6"))
    assert "'rwkv6', which transformers cannot dequantise (it can: " in said
    assert "llama" in said


@pytest.mark.parametrize("kept", [4, 5, 8, 20, 30, 60, 200, 2000, 6000, 0.5, 0.9, 0.9999])
def test_a_truncated_file_is_one_sentence(kept: float, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", "Q8_0")
    whole = file.read_bytes()
    size = kept if isinstance(kept, int) else int(kept * len(whole))
    file.write_bytes(whole[:size])
    said = f"tiny.gguf ({size:,} bytes) is damaged: it ends before what its header announces; fetch or make the file"
    assert refusal(file).startswith(said)


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_behind_the_magic_are_one_sentence(seed: int, tmp_path: Path) -> None:
    """With a version that can be read and without."""
    version = b"\x03\0\0\0" if seed % 2 else b""
    (tmp_path / "noise.gguf").write_bytes(b"GGUF" + version + np.random.default_rng(seed).bytes(4096))
    said = refusal(tmp_path / "noise.gguf")
    reason = "it ends before what its header announces" if version else "its header means nothing"
    assert said.startswith(f"noise.gguf ({4100 + len(version):,} bytes) is damaged: {reason}; fetch or make the file")


def test_a_list_without_end_is_no_endless_reading(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", "Q8_0")
    data = bytearray(file.read_bytes())
    at = data.index(b"tokenizer.ggml.token_type") + len(b"tokenizer.ggml.token_type") + 8
    data[at : at + 8] = (2**50).to_bytes(8, "little")
    file.write_bytes(data)
    assert "damaged" in refusal(file)


def test_a_missing_weight_is_not_made_up(tmp_path: Path) -> None:
    """transformers would draw it at random and go on."""
    name = "model.layers.1.mlp.up_proj.weight"
    assert f"lacks 1 of the model's weights, {name}" in refusal(
        write_gguf(tmp_path / "tiny.gguf", "Q8_0", without=name)
    )


def test_scaled_positions_that_transformers_leaves_out_are_refused(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", "Q8_0", fields={"llama.rope.scaling.type": "yarn"})
    assert "the scaling of its rotary positions (yarn)" in refusal(file)
    assert plain(file)[0].config.rope_parameters["rope_type"] == "default"


def test_unscaled_positions_said_to_be_so_are_not(tmp_path: Path) -> None:
    assert load_model(write_gguf(tmp_path / "tiny.gguf", "F32", fields={"llama.rope.scaling.type": "none"}))


@pytest.mark.parametrize("content", [b"", b"GGU", b"{}", b"\x80\x02}q\0."])
def test_a_file_that_is_no_gguf_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(content)
    assert not is_gguf(tmp_path / "model.gguf")
    assert "cannot load" in refusal(tmp_path / "model.gguf", OSError)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"revision": "main"}, "one of the hub's"), ({"quantization": "8bit"}, "dequantised as it is read")],
)
def test_options_of_other_kinds_are_refused(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert said in refusal(write_gguf(tmp_path / "tiny.gguf", "Q8_0"), **options)
