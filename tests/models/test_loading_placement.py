"""What a model takes is said, or refused, before it is taken: from folders, GGUF files, quantised, over devices."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel

from steering_lab.models.loading import at_hand, load_model, placement
from tests.gguf_files import tiny_llama, write_gguf
from tests.tiny_models import PROMPTS, gap, hooked, real, save_tiny_model, tiny_hf_model

GIB = 2**30


def folder(path: Path) -> Path:
    return save_tiny_model("llama", path / "big")


def gguf(path: Path) -> Path:
    return write_gguf(path / "big.gguf", "Q4_1")


def packing(bits: int) -> Any:
    """A quantization that packs to so many bits, as transformers has them of several packages."""
    return SimpleNamespace(bits=bits, quant_method="packing")


def whole(model: Any) -> int:
    """Bytes of the model's weights in float32."""
    return 4 * sum(p.numel() for p in model.parameters())


def linear(model: Any) -> int:
    """How many weights its linear layers have, the unembedding's left out."""
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not model.lm_head]
    return sum(m.weight.numel() for m in layers)


def packed(bits: int) -> int:
    """Bytes of the tiny Llama with its linear layers packed: codes, and in 4 bits a scale for every 64 of them."""
    model = tiny_hf_model("llama")
    scales = 4 / 64 if bits == 4 else 0
    return int(whole(model) - linear(model) * (4 - bits / 8 - scales))


class Read(Exception):
    """The weights began to be read."""


@pytest.fixture
def _reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*args: Any, **kwargs: Any) -> Any:
        raise Read

    monkeypatch.setattr(PreTrainedModel, "from_pretrained", read)


WAYS: dict[str, tuple[Callable[[Path], Path], Callable[[], dict[str, Any]], Callable[[], int], str]] = {
    "a folder": (folder, dict, lambda: whole(tiny_hf_model("llama")), "quantization='8bit' or '4bit', "),
    "a folder over devices": (
        folder, lambda: {"device_map": "auto"}, lambda: whole(tiny_hf_model("llama")), "quantization=",
    ),
    "a folder in half precision": (
        folder, lambda: {"dtype": "bfloat16"}, lambda: whole(tiny_hf_model("llama")) // 2, "quantization=",
    ),
    "a folder in 4 bits": (folder, lambda: {"quantization": packing(4)}, lambda: packed(4), ""),
    "a folder in 8 bits": (folder, lambda: {"quantization": packing(8)}, lambda: packed(8), ""),
    "a GGUF file": (gguf, dict, lambda: whole(tiny_llama()), ""),
    "a GGUF file in half precision": (gguf, lambda: {"dtype": "bfloat16"}, lambda: whole(tiny_llama()) // 2, ""),
    "a GGUF file over devices": (gguf, lambda: {"device_map": "auto"}, lambda: whole(tiny_llama()), ""),
}  # fmt: skip


@pytest.mark.usefixtures("_reading")
@pytest.mark.skipif(torch.cuda.is_available(), reason="the devices are those of a machine without a GPU")
@pytest.mark.parametrize("way", WAYS)
def test_what_a_model_takes_is_said_or_refused_before_it_is_read(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    make, options, size, less = WAYS[way]
    file, needed = make(tmp_path), size()
    monkeypatch.setattr(placement, "REPORTED_FROM", needed)
    monkeypatch.setattr(placement, "free_memory", lambda device: needed)
    with pytest.raises((Read, ValueError)) as reading:  # of a GGUF file any error becomes a sentence
        load_model(file, **options())
    assert isinstance(reading.value, Read) or isinstance(reading.value.__cause__, Read)
    assert capfd.readouterr().err.count("GiB of weights to cpu, ") == 1
    monkeypatch.setattr(placement, "free_memory", lambda device: needed - 1)
    expected = rf"big(\.gguf)? takes .* and cpu has .* free: choose a smaller dtype \('bfloat16'\), {less}"
    with pytest.raises(ValueError, match=expected) as refused:
        load_model(file, **options())
    assert ("quantization" in str(refused.value)) == bool(less)


@pytest.mark.usefixtures("_reading")
def test_where_the_bits_are_not_known_the_most_that_it_can_take_is_said_and_nothing_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(placement, "REPORTED_FROM", 0)
    monkeypatch.setattr(placement, "free_memory", lambda device: 1)
    with pytest.raises(Read):
        load_model(folder(tmp_path), quantization=SimpleNamespace(quant_method="secret"), device="cpu")
    assert "big: at most 0.0 GiB of weights to cpu" in capfd.readouterr().err


def test_the_memory_of_several_devices_is_their_sum(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(placement, "free_memory", lambda device: {"cuda": 24, "cpu": 16}[device.type] * GIB)
    spread = placement.places(torch.device("cpu"), "auto")
    assert [str(place) for place in spread] == ["cuda:0", "cuda:1", "cpu"]
    placement.say_size("big", 64 * GIB, spread)
    assert capfd.readouterr().err == "big: 64.0 GiB of weights to cuda:0 and cuda:1 and cpu, 64.0 GiB free\n"
    with pytest.raises(ValueError, match=r"big takes 64\.0 GiB and cuda:0 and cuda:1 and cpu has 64\.0 GiB free"):
        placement.say_size("big", 64 * GIB + 1, spread)


def test_the_places_of_a_device_map_are_those_that_it_names() -> None:
    cpu = torch.device("cpu")
    for device_map in (None, "cpu", cpu, {"": "cpu"}, {"model": cpu, "lm_head": "cpu"}):
        assert placement.places(cpu, device_map) == [cpu]
    assert placement.places(cpu, {"model.layers.0": "cpu", "model.layers.1": "disk"}) == []


@pytest.mark.usefixtures("_reading")
@pytest.mark.parametrize("device_map", ["everywhere", {"": "nowhere"}, 7.5])
@pytest.mark.parametrize("make", [folder, gguf])
def test_a_device_map_of_no_kind_is_refused(device_map: Any, make: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"device_map is .*: choose 'auto', 'balanced', 'balanced_low_0', "):
        load_model(make(tmp_path), device_map=device_map)


@torch.no_grad()
def test_a_device_map_places_the_same_model(tmp_path: Path) -> None:
    model, memory = load_model(folder(tmp_path), device_map={"": "cpu"}), hooked("llama")
    tokens = memory.to_tokens(PROMPTS)
    assert model.fingerprint == memory.fingerprint
    assert gap(real(model.logits(tokens), tokens), real(memory.logits(tokens), tokens)) <= 1e-6


@pytest.mark.parametrize("kept", [True, False])
def test_a_gguf_file_and_the_copy_of_one_take_a_device_map(
    kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy in the user's cache is a folder like any other; where none can be kept, the file itself is read."""
    file = gguf(tmp_path)
    if not kept:
        (tmp_path / "cache").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(at_hand, "smollm2_file", lambda: file)
    copy, read, plain = (
        load_model(n, device_map=m) for n, m in (("smollm2", "cpu"), (file, {"": "cpu"}), (file, None))
    )
    assert copy.fingerprint == read.fingerprint == plain.fingerprint
    assert copy.description == "SmolLM2-135M-Instruct, 134k parameters, dequantised from Q4_1"


@pytest.mark.usefixtures("_reading")
def test_the_copy_of_smollm2_can_be_quantised_and_its_file_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = gguf(tmp_path)
    monkeypatch.setattr(at_hand, "smollm2_file", lambda: file)
    monkeypatch.setattr(at_hand, "converted", lambda *_: folder(tmp_path))
    with pytest.raises(Read):
        load_model("smollm2", quantization=packing(4))

    def full(*_: Any) -> Path:
        raise OSError("the disk is full")

    monkeypatch.setattr(at_hand, "converted", full)
    with pytest.raises(ValueError, match=r"quantised from a copy of it, and none can be kept \(the disk is full\)"):
        load_model("smollm2", quantization=packing(4))
    with pytest.raises(ValueError, match="which is dequantised as it is read: leave quantization out"):
        load_model(file, quantization=packing(4))


def test_a_gguf_file_is_never_left_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the package `kernels` transformers would keep some architectures so, in layers of its own."""
    if not hasattr(transformers, "GgufConfig"):
        pytest.skip("this transformers dequantises always")
    asked: dict[str, Any] = {}
    read = AutoModelForCausalLM.from_pretrained

    def noted(*args: Any, **options: Any) -> Any:
        asked.update(options)
        return read(*args, **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", noted)
    load_model(gguf(tmp_path))
    assert asked["quantization_config"].dequantize
