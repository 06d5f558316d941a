"""Steering vectors as values: algebra, random controls, and files that round trip bit for bit."""

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from steering_lab.interventions.source import Source
from steering_lab.interventions.steering_vector import (
    SteeringVector,
    ablate,
    clamp,
    preserving_norm,
    random_like,
)
from steering_lab.models.hook_points import HookSite, resid_post, resid_pre
from tests.tiny_models import hooked

SOURCE = Source("hand", "tiny", "0123456789abcdef", details={"tokens": [["<s>", " é🙂"]], "seed": 3, "read": None})


def vector(*rows: list[float], site: HookSite | None = None, source: Source = SOURCE) -> SteeringVector:
    return SteeringVector(torch.tensor(rows), site or resid_pre(1), source)


# -- algebra ----------------------------------------------------------------------------------------------------------
def test_arithmetic_is_that_of_the_rows() -> None:
    a, b = vector([1.0, 2.0], [3.0, 4.0]), vector([10.0, 20.0])
    assert (a + b).rows.tolist() == [[11.0, 22.0], [3.0, 4.0]]
    assert (a - b).rows.tolist() == [[-9.0, -18.0], [3.0, 4.0]]
    assert (
        (2 * a).rows.tolist()
        == (a * 2.0).rows.tolist()
        == (np.float32(2) * a).rows.tolist()
        == [[2.0, 4.0], [6.0, 8.0]]
    )
    assert (-a).rows.tolist() == [[-1.0, -2.0], [-3.0, -4.0]]
    assert (a / 2).rows.tolist() == [[0.5, 1.0], [1.5, 2.0]]
    assert a.row(-1).rows.tolist() == [[3.0, 4.0]]
    assert a.mean_row().rows.tolist() == [[2.0, 3.0]]


def test_arithmetic_returns_new_values() -> None:
    a = vector([1.0, 2.0], [3.0, 4.0])
    for other in (2.0 * a, -a, a + a, a.unit(), a.row(0), a.mean_row()):
        other.rows.add_(100.0)
    assert a.rows.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_norms_are_euclidean_per_row() -> None:
    a = vector([3.0, 4.0], [0.0, 1.0])
    assert a.norms.tolist() == [5.0, 1.0]
    assert a.norm == 5.0


def test_a_unit_vector_has_length_one_and_zero_rows_stay_zero() -> None:
    unit = vector([3.0, 4.0], [0.0, 0.0]).unit()
    assert unit.rows.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]


def test_a_result_remembers_what_it_was_made_of() -> None:
    a, b = vector([1.0, 2.0]), vector([0.0, 1.0], source=replace(SOURCE, recipe="other"))
    assert (2.0 * a).source.recipe == "2 x (hand)"
    both = a - b
    assert both.source.recipe == "hand + -(other)"
    assert [part["recipe"] for part in both.source.details["parts"]] == ["hand", "-(other)"]


def test_vectors_of_another_site_or_model_are_not_added() -> None:
    a = vector([1.0, 2.0])
    with pytest.raises(ValueError, match=r"resid_post\(1\) .*resid_pre\(1\)"):
        a + vector([1.0, 2.0], site=resid_post(1))
    for change in ({"basis": "centred"}, {"fingerprint": "0" * 16}, {"prefix": "tokenizer"}):
        with pytest.raises(ValueError, match=f"cannot add .*{next(iter(change.values()))}"):
            a + vector([1.0, 2.0], source=replace(SOURCE, **change))


@pytest.mark.parametrize("rows", [[[float("nan"), 0.0]], [[float("inf"), 0.0]]])
def test_values_that_are_not_finite_are_refused(rows: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="not finite"):
        vector(*rows)
    with pytest.raises(ValueError, match="not finite"):
        float("inf") * vector([1.0, 2.0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("grad", [False, True])
def test_whatever_rows_are_given_a_vector_holds_a_float32_copy_without_gradients(
    dtype: torch.dtype, grad: bool, tmp_path: Path
) -> None:
    rows = torch.tensor([[3.0, 4.0], [0.5, 1.0]], dtype=dtype, requires_grad=grad)
    made = SteeringVector(rows, resid_pre(0), SOURCE)
    rows.data.zero_()
    for held in (made, 2.0 * made / 2.0, SteeringVector.load(made.save(tmp_path / "v.safetensors"))):
        assert held.rows.tolist() == [[3.0, 4.0], [0.5, 1.0]]
        assert (held.rows.dtype, held.rows.requires_grad, held.rows.device.type) == (torch.float32, False, "cpu")
        assert held.norms.tolist()[0] == held.norm == 5.0
        assert "norm 5" in repr(held)
        assert "<table" in held._repr_html_()


def test_one_dimension_means_one_row() -> None:
    one, same = SteeringVector(torch.tensor([3.0, 4.0]), resid_pre(0), SOURCE), vector([3.0, 4.0])
    assert one.rows.tolist() == same.rows.tolist()
    assert one.everywhere().sites == (resid_pre(0),)


@pytest.mark.parametrize("rows", [torch.zeros(0, 2), torch.zeros(1, 0), torch.zeros(0), torch.zeros(1, 1, 2)])
def test_a_shape_that_is_no_rows_is_refused(rows: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"rows have shape \[.*at least one row, \[d_model\] or \[row, d_model\]"):
        SteeringVector(rows, resid_pre(0), SOURCE)


def test_a_float64_beyond_float32_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite in float32"):
        SteeringVector(torch.tensor([[1e300, 0.0]], dtype=torch.float64), resid_pre(0), SOURCE)


# -- directions -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("edit", [ablate, lambda v: clamp(v, 1.0)])
def test_only_one_row_that_is_not_zero_is_a_direction(edit: Any) -> None:
    for wrong in (vector([0.0, 0.0]), vector([1.0, 0.0], [0.0, 1.0])):
        with pytest.raises(ValueError, match="is not one direction"):
            edit(wrong)


def test_edits_are_placed_by_the_same_words_as_vectors() -> None:
    a = vector([3.0, 4.0])
    for placed in (ablate(a), clamp(a, 2.0), preserving_norm(a), a):
        for word in ("at_front", "everywhere", "from_last_prompt_token", "generated"):
            assert getattr(placed, word)().sites == (resid_pre(1),)
        assert placed.at(3).terms[0].place.start == 3
        assert placed.at_front(too_long="clip").terms[0].place.clip


# -- random controls --------------------------------------------------------------------------------------------------
@given(st.integers(0, 2**31), st.integers(1, 4))
def test_a_random_control_has_the_length_of_every_row_and_zero_rows_stay_zero(seed: int, n_rows: int) -> None:
    rows = torch.randn(n_rows + 1, 16, generator=torch.Generator().manual_seed(seed + 99_991))
    rows[0] = 0.0
    original = SteeringVector(rows, resid_pre(1), SOURCE)
    control = random_like(original, seed)
    assert torch.equal(control.rows[0], torch.zeros(16))
    assert torch.allclose(control.norms, original.norms, rtol=1e-5)
    cosine = torch.nn.functional.cosine_similarity(control.rows[1:], rows[1:])
    assert float(cosine.abs().max()) < 0.99
    assert torch.equal(random_like(original, seed).rows, control.rows)
    assert not torch.equal(random_like(original, seed + 1).rows, control.rows)
    assert (control.site, control.source.basis) == (original.site, original.source.basis)


@pytest.mark.parametrize("two", [np.int64(2), np.uint8(2), torch.tensor(2)])
def test_seeds_and_positions_off_an_axis_are_those_written(two: Any, tmp_path: Path) -> None:
    a = vector([3.0, 4.0])
    control = random_like(a, two)
    assert torch.equal(control.rows, random_like(a, 2).rows)
    assert control.source == random_like(a, 2).source
    control.save(tmp_path / "v.safetensors")  # as JSON
    assert a.at(two).terms[0].place == a.at(2).terms[0].place
    assert (a + 0 * a).row(two - two).source == (a + 0 * a).row(0).source


@pytest.mark.parametrize("wrong", [True, np.array(True)])
def test_a_bool_is_no_seed_and_no_position(wrong: Any) -> None:
    for use in (lambda: random_like(vector([1.0]), wrong), lambda: vector([1.0]).at(wrong)):
        with pytest.raises(ValueError, match="is an integer, not"):
            use()


@pytest.mark.parametrize("index", [-3, 2])
def test_a_row_that_is_not_there_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match=rf"row {index} is outside -2\.\.1"):
        vector([1.0, 0.0], [0.0, 1.0]).row(index)


# -- files ------------------------------------------------------------------------------------------------------------
numbers = st.floats(-(2.0**60), 2.0**60, width=32)


@given(
    rows=st.lists(
        st.lists(numbers, min_size=3, max_size=3),
        min_size=1,
        max_size=4,
    ),
    layer=st.integers(0, 99),
    stream=st.sampled_from(["resid_pre", "resid_post"]),
    recipe=st.text(max_size=20),
)
def test_a_saved_vector_round_trips_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[float]], layer: int, stream: Any, recipe: str
) -> None:
    path = tmp_path_factory.mktemp("vectors") / "deep" / "v.safetensors"
    source = Source(recipe, "tiny", "f" * 16, "centred", "main", "torch.bfloat16", SOURCE.details, prefix="none")
    original = SteeringVector(torch.tensor(rows), HookSite(layer, stream), source)
    assert original.save(path) == path
    loaded = SteeringVector.load(path)
    assert loaded.rows.numpy().tobytes() == original.rows.numpy().tobytes()
    assert (loaded.site, loaded.source) == (original.site, original.source)
    assert loaded.save(path.with_name("again.safetensors")).read_bytes() == path.read_bytes()


def test_the_header_shows_the_provenance_without_running_code(tmp_path: Path) -> None:
    model = hooked("gpt2")
    source = Source.of(model, "hand", seed=4, tokens=["<s>", "Love"])
    path = SteeringVector(torch.tensor([[3.0, 4.0]]), resid_post(2), source).save(tmp_path / "v.safetensors")
    with safe_open(path, framework="pt") as file:
        assert list(file.keys()) == ["direction.blocks.2.hook_resid_post"]
        header = json.loads(file.metadata()["steering_lab"])
    assert header["norms"] == [5.0]
    assert header["source"]["fingerprint"] == model.fingerprint
    assert header["source"]["basis"] == "raw"
    assert header["source"]["dtype"] == "torch.float32"
    assert header["source"]["details"] == {"seed": 4, "tokens": ["<s>", "Love"]}
    assert {"transformer-lens", "torch", "transformers"} <= set(header["source"]["software"])


def header_only(path: Path, metadata: dict[str, str]) -> None:
    save_file({"direction.blocks.1.hook_resid_pre": torch.ones(1, 2)}, path, metadata)


GOOD = {
    "format": 1,
    "site": "blocks.1.hook_resid_pre",
    "norms": [2**0.5],
    "source": {"recipe": "r", "model": "m", "fingerprint": "f"},
}


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("not safetensors"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(struct.pack("<Q", 2**40) + b"{}"),
        lambda path: header_only(path, {}),
        lambda path: header_only(path, {"steering_lab": "{not json"}),
        lambda path: header_only(path, {"steering_lab": "[1, 2]"}),
        lambda path: header_only(path, {"steering_lab": json.dumps(GOOD | {"site": "blocks.9.hook_resid_pre"})}),
        lambda path: header_only(path, {"steering_lab": json.dumps(GOOD | {"source": {"flavour": 1}})}),
    ],
)
def test_a_file_that_is_not_ours_is_refused_by_name(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "v.safetensors"
    write(path)
    with pytest.raises(ValueError, match=r"v\.safetensors is not a steering vector saved by steering_lab"):
        SteeringVector.load(path)


def test_an_unknown_format_and_a_missing_file_are_said(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    header_only(path, {"steering_lab": json.dumps(GOOD | {"format": 99})})
    with pytest.raises(ValueError, match="has format 99, this version reads 1"):
        SteeringVector.load(path)
    with pytest.raises(FileNotFoundError, match="no steering vector at"):
        SteeringVector.load(tmp_path / "none.safetensors")
