"""A vector file tells whether it changed: numbers, norms, shape, site and provenance are checked on reading."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from steering_lab.interventions.source import Source
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import resid_pre

ROWS = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0], [1e-3, -2.5, 7.0]])
SOURCE = Source("love - hate", "tiny", "0123456789abcdef", details={"seed": 3, "pairs": {1: ("a", "b")}}, prefix="none")


def saved(folder: Path) -> Path:
    return SteeringVector(ROWS, resid_pre(1), SOURCE).save(folder / "v.safetensors")


def header_of(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["steering_lab"])


def rewritten(path: Path, change: dict[str, Any], tensors: dict[str, torch.Tensor] | None = None) -> Path:
    """The file as an earlier version would have written it, without a SHA-256, and with `change` in its header."""
    header = {key: value for key, value in (header_of(path) | change).items() if value is not None}
    header.pop("sha256", None)
    save_file(tensors or {"direction.blocks.1.hook_resid_pre": ROWS}, path, {"steering_lab": json.dumps(header)})
    return path


def read_or_refused(path: Path) -> SteeringVector | str:
    try:
        return SteeringVector.load(path)
    except ValueError as error:
        return str(error)


@given(st.data())
def test_a_flipped_bit_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = saved(tmp_path_factory.mktemp("vectors"))
    whole = bytearray(path.read_bytes())
    where = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[where // 8] ^= 1 << where % 8
    path.write_bytes(whole)
    found = read_or_refused(path)
    if isinstance(found, str):
        assert str(path) in found
    else:  # a bit that means nothing, say of the blanks between header and numbers
        assert torch.equal(found.rows, ROWS)
        assert (found.site, found.source) == (resid_pre(1), SteeringVector.load(saved(path.parent)).source)


@pytest.mark.parametrize("bit", range(32))
def test_a_flipped_bit_of_the_numbers_is_refused_by_the_name_of_the_file(bit: int, tmp_path: Path) -> None:
    path = saved(tmp_path)
    whole = bytearray(path.read_bytes())
    whole[len(whole) - 4 + bit // 8] ^= 1 << bit % 8
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"v\.safetensors changed after it was written"):
        SteeringVector.load(path)


@pytest.mark.parametrize(
    "norms", [[5.0, 0.0], [5.0, 0.0, 7.5], [5.0, 1e-30, 7.4330344], [5.0, float("nan"), 7.4330344]]
)
def test_norms_that_are_not_those_of_the_rows_are_refused_and_said(norms: list[float], tmp_path: Path) -> None:
    path = rewritten(saved(tmp_path), {"norms": norms})
    with pytest.raises(ValueError, match=r"v\.safetensors changed .* says norms \[5\.0.* rows have \[5\.0, 0\.0"):
        SteeringVector.load(path)


def test_a_file_of_an_earlier_version_is_read_as_made_behind_bos(tmp_path: Path) -> None:
    old = header_of(saved(tmp_path))["source"]
    del old["prefix"]
    norms = ROWS.norm(dim=-1).tolist()  # in float32, as they were written then
    read = SteeringVector.load(rewritten(tmp_path / "v.safetensors", {"source": old, "norms": norms}))
    assert torch.equal(read.rows, ROWS)
    assert read.source.prefix == "bos"


def test_a_bfloat16_vector_of_an_earlier_version_is_read_as_float32(tmp_path: Path) -> None:
    half = ROWS.to(torch.bfloat16)
    old = {"norms": half.float().norm(dim=-1).tolist()}
    path = rewritten(saved(tmp_path), old, {"direction.blocks.1.hook_resid_pre": half})
    assert torch.equal(SteeringVector.load(path).rows, half.float())


HOOK = "direction.blocks.1.hook_resid_pre"


@pytest.mark.parametrize(
    ("change", "tensors"),
    [
        ({"site": "blocks.2.hook_resid_pre"}, None),
        ({"site": "blocks.1.hook_resid_mid"}, None),
        ({"site": None}, None),
        ({"norms": None}, None),
        ({"norms": "5"}, None),
        ({"source": None}, None),
        ({"source": []}, None),
        ({"source": {"recipe": "r", "model": "m", "fingerprint": 7}}, None),
        ({"source": {"recipe": "r", "model": "m", "fingerprint": "f", "basis": "row"}}, None),
        ({"source": {"recipe": "r", "model": "m", "fingerprint": "f", "prefix": None}}, None),
        ({"source": {"recipe": "r", "model": "m", "fingerprint": "f", "details": [1]}}, None),
        ({}, {HOOK: ROWS, "more": ROWS + 1}),
        ({}, {HOOK: ROWS[0]}),
        ({}, {HOOK: ROWS.long()}),
    ],
)
def test_a_header_that_does_not_fit_its_numbers_is_refused(
    change: dict[str, Any], tensors: dict[str, torch.Tensor] | None, tmp_path: Path
) -> None:
    path = rewritten(saved(tmp_path), change, tensors)
    with pytest.raises(ValueError, match=r"v\.safetensors is not a steering vector saved by steering_lab: "):
        SteeringVector.load(path)


def test_numbers_that_are_not_finite_are_refused_by_the_name_of_the_file(tmp_path: Path) -> None:
    wrong = ROWS.clone()
    wrong[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"v\.safetensors"):
        SteeringVector.load(rewritten(saved(tmp_path), {}, {HOOK: wrong}))


def test_a_folder_where_a_file_is_written_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (".", tmp_path):
        with pytest.raises(IsADirectoryError, match=r" is a folder, where a file is written$"):
            SteeringVector(ROWS, resid_pre(1), SOURCE).save(folder)
