"""A bare tensor steers as the vector that it was saved from, once its site is said; what does not fit is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from steering_lab.interventions.formats import read_tensor
from steering_lab.interventions.formats.bare import is_bare
from steering_lab.interventions.steering import steer
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from tests.tiny_models import PROMPTS, hooked, random_vector

SITE = resid_pre(1)
SAVED: dict[str, Callable[[Tensor, Path], object]] = {
    ".pt": torch.save,
    ".pth": torch.save,
    ".npy": lambda tensor, path: np.save(path, tensor.numpy()),
    ".safetensors": lambda tensor, path: save_file({"direction": tensor.contiguous()}, path),
}


@pytest.fixture(scope="module")
def model() -> HookedModel:
    return hooked("gpt2")


def saved(folder: Path, tensor: Tensor, suffix: str = ".pt") -> Path:
    path = folder / f"love{suffix}"
    SAVED[suffix](tensor, path)
    return path


@pytest.mark.parametrize("suffix", SAVED)
@pytest.mark.parametrize("shape", ["[d_model]", "[1, d_model]"])
def test_a_tensor_of_any_kind_of_file_steers_as_the_vector_that_it_was(
    model: HookedModel, tmp_path: Path, suffix: str, shape: str
) -> None:
    vector = random_vector(model, SITE)
    path = saved(tmp_path, vector.rows[0] if shape == "[d_model]" else vector.rows, suffix)
    read, tokens = read_tensor(path, SITE, model=model), model.to_tokens(PROMPTS)
    assert is_bare(path)
    assert read.site == SITE
    with torch.no_grad(), steer(model, 2.0 * vector.everywhere()):
        wanted = model.logits(tokens)
    with torch.no_grad(), steer(model, 2.0 * read.everywhere()):
        assert torch.equal(model.logits(tokens), wanted)


def test_half_precision_is_read_as_float32_and_rows_only_when_said_which(model: HookedModel, tmp_path: Path) -> None:
    rows = torch.randn(3, model.d_model).half()
    path = saved(tmp_path, rows, ".npy")
    with pytest.raises(ValueError, match=r"has 3 rows .* nothing says what they are: name one, row=0 to 2"):
        read_tensor(path, SITE)
    assert torch.equal(read_tensor(path, SITE, row=2).rows, rows[2:].float())
    assert torch.equal(read_tensor(path, SITE, row="all").rows, rows.float())
    with pytest.raises(ValueError, match=r"row 3 of .* is outside -3\.\.2"):
        read_tensor(path, SITE, row=3)


def test_without_a_model_the_weights_are_unknown_and_steering_asks(model: HookedModel, tmp_path: Path) -> None:
    vector = read_tensor(saved(tmp_path, random_vector(model, SITE).rows[0]), SITE)
    with pytest.raises(ValueError, match="does not say which weights"):
        steer(model, vector.everywhere())
    with steer(model, vector.everywhere(), allow_other_model=True):
        pass


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.ones(5), r"is 5 wide \(shape \(5,\)\), the stream of"),
        (torch.ones(2, 3, 4), r"has shape \(2, 3, 4\): a vector is \[d_model\]"),
        (torch.ones(0), r"has shape \(0,\)"),
        (torch.tensor(1.0), r"has shape \(\)"),
        (torch.ones(32, dtype=torch.bool), "is not a list of numbers"),
        (torch.full((32,), float("nan")), "not finite"),
        ({1: torch.ones(32)}, "holds a dict, where one tensor is wanted: read {layer: tensor} with read_steering_vec"),
        ([torch.ones(32)], "holds a list, where one tensor is wanted"),
    ],
)
def test_what_is_no_vector_of_the_model_is_refused(
    model: HookedModel, tmp_path: Path, tensor: object, message: str
) -> None:
    torch.save(tensor, tmp_path / "mine.pt")
    with pytest.raises(ValueError, match=message):
        read_tensor(tmp_path / "mine.pt", SITE, model=model)


class Harmful:
    """Pickled, it would run code where it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit",)


def test_nothing_is_unpickled_beyond_tensors(tmp_path: Path) -> None:
    torch.save(Harmful(), tmp_path / "mine.pt")
    np.save(tmp_path / "mine.npy", np.array([Harmful()], dtype=object), allow_pickle=True)
    for suffix in (".pt", ".npy"):
        with pytest.raises(ValueError, match="nothing else is ever unpickled"):
            read_tensor(tmp_path / f"mine{suffix}", SITE)


def test_other_files_are_refused_by_what_they_are(model: HookedModel, tmp_path: Path) -> None:
    ours = random_vector(model, SITE).save(tmp_path / "ours.safetensors")
    save_file({"a": torch.ones(32), "b": torch.ones(32)}, tmp_path / "two.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    assert not is_bare(ours)
    for path, message in (
        (ours, r"says its own site and model: read it with SteeringVector\.load"),
        (tmp_path / "two.safetensors", r"holds 2 tensors \(a, b\), where one is wanted"),
        (tmp_path / "junk.safetensors", "is no safetensors file"),
    ):
        with pytest.raises(ValueError, match=message):
            read_tensor(path, SITE)
    (tmp_path / "love.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"read from \.pt, \.pth, \.npy, \.safetensors, not from '\.bin'"):
        read_tensor(tmp_path / "love.bin", SITE)
    with pytest.raises(FileNotFoundError, match="no tensor at"):
        read_tensor(tmp_path / "nowhere.pt", SITE)
    with pytest.raises(ValueError, match="layer 99 is outside"):
        read_tensor(saved(tmp_path, torch.ones(model.d_model)), resid_post(99), model=model)


def test_our_own_reader_names_the_one_for_bare_tensors(model: HookedModel, tmp_path: Path) -> None:
    for suffix in SAVED:
        if suffix != ".pth":
            with pytest.raises(ValueError, match=r"read_tensor\(path, site\)"):
                SteeringVector.load(saved(tmp_path, torch.ones(model.d_model), suffix))
