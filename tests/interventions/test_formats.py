"""Vectors in other tools' files: added in the tool's own way to a plain Hugging Face model, they steer as ours do.

Each file is opened here by other means than our readers (the gguf package, torch, json) and applied by torch's hooks
where the tool's documentation says that it adds; only then is our own reading compared.
"""

import base64
import json
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, OPTConfig

from steering_lab.interventions.formats import (
    bake,
    export_caa,
    export_easysteer,
    export_gguf,
    export_neuronpedia,
    export_steering_vectors,
    export_svec,
    read_caa,
    read_easysteer,
    read_gguf,
    read_neuronpedia,
    read_steering_vectors,
    read_svec,
)
from steering_lab.interventions.formats.exchange import by_layer
from steering_lab.interventions.intervention import Add, Intervention
from steering_lab.interventions.source import Source
from steering_lab.interventions.steering import steer
from steering_lab.interventions.steering_vector import SteeringVector, ablate, clamp, preserving_norm
from steering_lab.models.hook_points import HookSite, resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from tests.tiny_models import (
    PROMPTS,
    gap,
    hf_blocks,
    hf_logits,
    hf_pre_hooks,
    hooked,
    plain,
    random_vector,
    real,
    tiny_hf_model,
    tokenizer_of,
)

Rows = Mapping[int, torch.Tensor]
Set = Mapping[HookSite, SteeringVector]
needs_gguf = pytest.mark.skipif(find_spec("gguf") is None, reason="the package gguf is not installed")


# -- each tool, as its documentation describes it ---------------------------------------------------------------------
def gguf_rows(path: Path) -> Rows:
    import gguf

    return {int(t.name.split(".")[1]): torch.tensor(np.array(t.data)) for t in gguf.GGUFReader(path).tensors}


def svec_rows(path: Path) -> Rows:
    return {int(k): torch.tensor(v) for k, v in json.loads(path.read_text())["directions"].items()}


def caa_rows(folder: Path) -> Rows:
    return {int(path.stem.split("_")[2]): torch.load(path, weights_only=True) for path in folder.iterdir()}


def neuronpedia_rows(path: Path) -> Rows:
    request = json.loads(path.read_text())
    assert (request["steer_method"], request["normalize_steering"]) == ("SIMPLE_ADDITIVE", False)
    entries = [(v["hook"].split("."), v["strength"] * torch.tensor(v["steering_vector"])) for v in request["vectors"]]
    return {int(hook[1]) - (hook[2] == "hook_resid_pre"): row for hook, row in entries}


def easysteer_rows(path: Path) -> Rows:
    (vector,) = json.loads(path.read_text())["vectors"]
    assert (vector["algorithm"], vector["apply"]) == ("direct", {"prompt": "all", "generation": "all"})
    tensors = vector["data"]["tensors"].items()
    return {
        int(name.split(".")[1]): vector["scale"] * torch.tensor(np.frombuffer(base64.b64decode(held["data"]), "<f4"))
        for name, held in tensors
    }


class Format(NamedTuple):
    """How a set is written and read here, what its files hold by layer, and whether the tool adds before the block."""

    write: Callable[[Set, Path, float], Path]
    read: Callable[..., Any]
    held: Callable[[Path], Rows]
    before: bool = False


def everywhere(vectors: Set, coeff: float = 1.0) -> Intervention:
    return sum((coeff * vector.everywhere() for vector in vectors.values()), Intervention())


def write_caa(vectors: Set, folder: Path, coeff: float) -> Path:
    return export_caa(vectors, folder / "caa", coeff=coeff)[0].parent


FORMATS = {
    "gguf": Format(
        lambda v, to, c: export_gguf(v, to / "v.gguf", coeff=c, model_type="gpt2"), read_gguf, gguf_rows
    ),
    "steering_vectors": Format(
        lambda v, to, c: export_steering_vectors(v, to / "v.pt", coeff=c),
        read_steering_vectors,
        lambda path: torch.load(path, weights_only=True),
    ),
    "caa": Format(write_caa, read_caa, caa_rows),
    "svec, caa": Format(
        lambda v, to, c: export_svec(v, to / "v.svec", reading="caa", coeff=c, model_type="gpt2"),
        partial(read_svec, reading="caa"),
        svec_rows,
    ),
    "svec, cast": Format(
        lambda v, to, c: export_svec(v, to / "v.svec", reading="cast", coeff=c, model_type="gpt2"),
        partial(read_svec, reading="cast"),
        svec_rows,
        before=True,
    ),
    "neuronpedia": Format(
        lambda v, to, c: export_neuronpedia(v, to / "v.json", coeff=c), read_neuronpedia, neuronpedia_rows
    ),
    "easysteer": Format(
        lambda v, to, c: export_easysteer(everywhere(v, c), to / "v.json"), read_easysteer, easysteer_rows
    ),
}  # fmt: skip
EVERY_FORMAT = [pytest.param(name, marks=needs_gguf if name == "gguf" else ()) for name in FORMATS]
MAPPINGS = [param for param in EVERY_FORMAT if param.values != ("easysteer",)]


def a_set(model: HookedModel, before: bool = False) -> dict[HookSite, SteeringVector]:
    """Two vectors: one that a block-output format must move, and one at the end of the stream (before: its twin)."""
    sites = [resid_pre(1), resid_post(1)] if before else [resid_pre(2), resid_post(2)]
    return {site: random_vector(model, site, seed=seed) for seed, site in enumerate(sites)}


@contextmanager
def added_after(model: Any, rows: Rows) -> Iterator[None]:
    """Each row added to what its block puts out."""

    def hook(row: torch.Tensor) -> Callable[..., Any]:
        def run(module: Any, args: Any, output: Any) -> Any:
            return (output[0] + row, *output[1:]) if isinstance(output, tuple) else output + row

        return run

    with ExitStack() as stack:
        for layer, row in rows.items():
            stack.callback(hf_blocks(model)[layer].register_forward_hook(hook(row)).remove)
        yield


def logits_by_hand(name: str, rows: Rows, before: bool) -> torch.Tensor:
    model, tokens = plain(name), hooked(name).to_tokens(PROMPTS)
    edits = {layer: (lambda resid, row=row: resid + row) for layer, row in rows.items()}
    with torch.no_grad(), hf_pre_hooks(model, edits) if before else added_after(model, rows):
        return real(hf_logits(model, tokens), tokens)


def logits_under(model: HookedModel, intervention: Intervention) -> torch.Tensor:
    tokens = model.to_tokens(PROMPTS)
    with torch.no_grad(), steer(model, intervention):
        return real(model.logits(tokens), tokens)


def as_intervention(read: Set | Intervention) -> Intervention:
    return read if isinstance(read, Intervention) else everywhere(read)


# -- the law ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("architecture", ["gpt2", "llama", "opt"])
@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_exported_vectors_steer_equally(name: str, architecture: str, tmp_path: Path) -> None:
    model, form = hooked(architecture), FORMATS[name]
    vectors = a_set(model, form.before)
    ours = logits_under(model, everywhere(vectors, -1.5))
    path = form.write(vectors, tmp_path, -1.5)
    assert gap(ours, logits_under(model, Intervention())) > 0.1
    assert gap(ours, logits_by_hand(architecture, form.held(path), form.before)) <= 1e-5
    assert gap(ours, logits_under(model, as_intervention(form.read(path, model=model)))) <= 1e-5


@pytest.mark.parametrize("name", MAPPINGS)
def test_a_written_set_is_read_back_bit_for_bit_where_its_tool_adds_it(
    name: str, gpt2: HookedModel, tmp_path: Path
) -> None:
    form = FORMATS[name]
    vectors = a_set(gpt2, form.before)
    read = form.read(form.write(vectors, tmp_path, 1.0))
    block_outputs, block_inputs = [resid_post(1), resid_post(2)], [resid_pre(1), resid_pre(2)]
    as_named = list(vectors) if name == "neuronpedia" else block_inputs if form.before else block_outputs
    assert list(read) == as_named
    for site, original in zip(read, vectors.values(), strict=True):
        assert read[site].site == site
        assert torch.equal(read[site].rows, original.rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_a_file_holds_float32_whatever_the_rows_were_made_in(
    name: str, dtype: torch.dtype, gpt2: HookedModel, tmp_path: Path
) -> None:
    form, site = FORMATS[name], resid_pre(2)
    drawn = random_vector(gpt2, site)
    made = SteeringVector(drawn.rows.to(dtype).requires_grad_(), site, drawn.source)
    path = form.write({site: made}, tmp_path, 2.0)
    (held,) = form.held(path).values()
    assert (held.dtype, held.requires_grad) == (torch.float32, False)
    assert torch.equal(held, 2.0 * drawn.rows[0].to(dtype).float())
    back = as_intervention(form.read(path, model=gpt2)).terms[0].edit.rows
    assert (back.dtype, back.tolist()) == (torch.float32, [held.tolist()])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_an_edit_made_by_hand_in_another_precision_is_exported_as_float32(
    dtype: torch.dtype, gpt2: HookedModel, tmp_path: Path
) -> None:
    rows = random_vector(gpt2, resid_post(1)).rows.to(dtype)
    path = export_easysteer(2.0 * Add(rows.requires_grad_(), resid_post(1)).everywhere(), tmp_path / "v.json")
    assert torch.equal(easysteer_rows(path)[1], 2.0 * rows[0].detach().float())
    assert json.loads(path.read_text())["vectors"][0]["name"] is None


def without_record(path: Path) -> Path:
    """The file as another tool would have written it: without our key."""
    if path.suffix in (".json", ".svec"):
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "steering_lab"}))
    return path


@pytest.mark.parametrize("name", [p for p in EVERY_FORMAT if p.values != ("gguf",)])
def test_a_file_that_does_not_say_its_weights_steers_only_the_model_its_reader_names(
    name: str, gpt2: HookedModel, tmp_path: Path
) -> None:
    form = FORMATS[name]
    path = without_record(form.write({resid_pre(2): random_vector(gpt2, resid_pre(2))}, tmp_path, 1.0))
    unnamed, named = as_intervention(form.read(path)), as_intervention(form.read(path, model=gpt2))
    with pytest.raises(ValueError, match="does not say which weights it was made with"):
        logits_under(gpt2, unnamed)
    with steer(gpt2, unnamed, allow_other_model=True):
        pass
    assert logits_under(gpt2, named).isfinite().all()
    with pytest.raises(ValueError, match="other weights or another precision"):
        logits_under(hooked("llama"), named)


@pytest.mark.parametrize("name", [p for p in MAPPINGS if p.values[0] not in ("steering_vectors", "caa")])
def test_a_file_that_says_its_weights_is_believed_over_its_reader(name: str, gpt2: HookedModel, tmp_path: Path) -> None:
    form = FORMATS[name]
    path = form.write({resid_pre(2): random_vector(gpt2, resid_pre(2))}, tmp_path, 1.0)
    (read,) = form.read(path, model=hooked("llama")).values()
    assert (read.source.fingerprint, read.source.prefix) == (gpt2.fingerprint, gpt2.prefix)


@pytest.mark.parametrize("name", MAPPINGS)
def test_vectors_at_one_place_under_two_names_are_summed(name: str, gpt2: HookedModel, tmp_path: Path) -> None:
    form, vectors = FORMATS[name], {s: random_vector(gpt2, s, seed=s.layer) for s in (resid_pre(2), resid_post(1))}
    read = form.read(form.write(vectors, tmp_path, 1.0))
    total = sum((vector.rows for vector in read.values()), torch.zeros(1, gpt2.d_model))
    assert gap(total, vectors[resid_pre(2)].rows + vectors[resid_post(1)].rows) <= 1e-6


@pytest.mark.parametrize("name", [p for p in MAPPINGS if p.values[0] not in ("steering_vectors", "caa")])
def test_provenance_travels_with_the_file_and_tells_the_coefficient(
    name: str, gpt2: HookedModel, tmp_path: Path
) -> None:
    form, site = FORMATS[name], resid_pre(2) if FORMATS[name].before or name == "neuronpedia" else resid_post(1)
    source = Source.of(gpt2, "love - hate", tokens=["<s>", " Love"], seed=3)
    vector = SteeringVector(torch.ones(1, gpt2.d_model), resid_pre(2), source)
    read = form.read(form.write({resid_pre(2): vector}, tmp_path, 2.5))[site]
    assert read.source == (2.5 * vector).source
    assert (read.source.recipe, read.source.fingerprint) == ("2.5 x (love - hate)", gpt2.fingerprint)


def test_a_single_vector_is_a_set_of_one(gpt2: HookedModel, tmp_path: Path) -> None:
    vector = random_vector(gpt2, resid_post(1))
    (row,) = torch.load(export_steering_vectors(vector, tmp_path / "v.pt", coeff=2.0), weights_only=True).values()
    assert torch.equal(row, 2.0 * vector.rows[0])


# -- what a format cannot say -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", MAPPINGS)
def test_rows_per_token_are_refused(name: str, gpt2: HookedModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"3 rows, one per token: take one with \.row\(-1\)"):
        FORMATS[name].write({resid_pre(2): random_vector(gpt2, resid_pre(2), 3)}, tmp_path, 1.0)


@pytest.mark.parametrize("name", [p for p in EVERY_FORMAT if p.values[0] not in ("neuronpedia", "svec, cast")])
def test_the_embedding_is_refused_where_only_block_outputs_are_known(
    name: str, gpt2: HookedModel, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"resid_pre\(0\) stands before the first: choose layer 1 up"):
        FORMATS[name].write({resid_pre(0): random_vector(gpt2, resid_pre(0))}, tmp_path, 1.0)


@needs_gguf
def test_block_0_is_refused_for_llama_cpp_which_would_refuse_the_file(gpt2: HookedModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"llama\.cpp cannot steer block 0 .*choose resid_pre\(2\)"):
        export_gguf(random_vector(gpt2, resid_pre(1)), tmp_path / "v.gguf", coeff=1.0, model_type="gpt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("edit", [ablate, lambda v: clamp(v, 1.0), preserving_norm], ids=["ablate", "clamp", "norm"])
def test_edits_other_than_adding_are_refused(edit: Callable[..., Any], gpt2: HookedModel, tmp_path: Path) -> None:
    edited = edit(random_vector(gpt2, resid_post(1)))
    with pytest.raises(ValueError, match="vectors to add and nothing else"):
        by_layer(edited, 1.0, "a file")
    with pytest.raises(ValueError, match="vectors to add and nothing else"):
        by_layer(edited.everywhere(), 1.0, "a file")
    with pytest.raises(ValueError, match="only adds vectors, not"):
        export_easysteer(edited.everywhere(), tmp_path / "v.json")


def test_sets_that_cannot_be_meant_are_refused(gpt2: HookedModel) -> None:
    vector = random_vector(gpt2, resid_post(1))
    centred = SteeringVector(vector.rows, vector.site, Source("v", "m", "f", basis="centred"))
    narrow = SteeringVector(vector.rows[:, :5], resid_post(2), vector.source)
    other = random_vector(hooked("llama"), resid_pre(1))
    for wrong, message in (
        ({}, "no vectors were given"),
        ({resid_post(2): vector}, r"given under resid_post\(2\) belongs to resid_post\(1\)"),
        (centred, "v was made in the centred basis"),
        ({resid_post(1): vector, resid_pre(1): other}, "of GPT2LM.* and of Llama"),
        ({resid_post(1): vector, resid_post(2): narrow}, r"widths \[5, 32\]"),
    ):
        with pytest.raises(ValueError, match=message):
            by_layer(wrong, 1.0, "a file")
    with pytest.raises(ValueError, match="coeff is nan: choose a finite number"):
        by_layer(vector, float("nan"), "a file")


# -- GGUF -------------------------------------------------------------------------------------------------------------
@needs_gguf
def test_a_control_vector_has_what_llama_cpp_and_repeng_demand(gpt2: HookedModel, tmp_path: Path) -> None:
    import gguf

    path = export_gguf(a_set(gpt2), tmp_path / "new" / "v.gguf", coeff=1.0, model_type="gpt2")
    reader = gguf.GGUFReader(path)
    assert reader.get_field("general.architecture").contents() == "controlvector"
    assert reader.get_field("controlvector.model_hint").contents() == "gpt2"
    assert reader.get_field("controlvector.layer_count").contents() == 2
    assert [(t.name, t.tensor_type.name, t.shape.tolist()) for t in reader.tensors] == [
        ("direction.1", "F32", [32]),
        ("direction.2", "F32", [32]),
    ]


def foreign_gguf(path: Path, architecture: str, tensors: Mapping[str, np.ndarray]) -> Path:
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string(f"{architecture}.model_hint", "mistral")
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@needs_gguf
@pytest.mark.parametrize("architecture", ["controlvector", "steeringvector"])
def test_a_control_vector_of_another_tool_is_read_and_says_what_is_known(architecture: str, tmp_path: Path) -> None:
    rows = {"direction.11": np.arange(4, dtype=np.float32), "direction.2": np.ones(4, dtype=np.float32)}
    read = read_gguf(foreign_gguf(tmp_path / "happy.gguf", architecture, rows))
    assert list(read) == [resid_post(2), resid_post(11)]
    assert read[resid_post(11)].rows.tolist() == [[0, 1, 2, 3]]
    source = read[resid_post(2)].source
    assert (source.recipe, source.model, source.fingerprint) == ("read from happy.gguf", "mistral", "unknown")
    source = read_gguf(tmp_path / "happy.gguf", model=hooked("gpt2"))[resid_post(2)].source
    assert (source.model, source.fingerprint) == ("GPT2LMHeadModel", hooked("gpt2").fingerprint)


@needs_gguf
def test_files_that_are_no_control_vectors_are_refused(tmp_path: Path) -> None:
    ones = np.ones(4, dtype=np.float32)
    (tmp_path / "text").write_text("not a model at all, just a text that is long enough")
    for path, message in (
        (tmp_path / "text", "is not a GGUF file"),
        (foreign_gguf(tmp_path / "a", "llama", {"direction.1": ones}), "architecture 'llama', not 'controlvector'"),
        (foreign_gguf(tmp_path / "b", "controlvector", {"output.weight": ones}), "no float32 'direction.k'"),
        (foreign_gguf(tmp_path / "c", "controlvector", {"direction.1": ones.astype(np.float16)}), r"\(F16\) is no"),
        (foreign_gguf(tmp_path / "d", "controlvector", {"direction.1": np.ones((2, 4), np.float32)}), "1-D is expect"),
        (foreign_gguf(tmp_path / "e", "controlvector", {}), "holds no direction"),
    ):
        with pytest.raises(ValueError, match=message):
            read_gguf(path)
    with pytest.raises(FileNotFoundError, match="no control vector at"):
        read_gguf(tmp_path / "absent")


def test_without_the_gguf_package_the_message_says_what_to_install(
    gpt2: HookedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ImportError, match="pip install gguf"):
        export_gguf(random_vector(gpt2, resid_post(1)), tmp_path / "v.gguf", coeff=1.0, model_type="gpt2")
    with pytest.raises(ImportError, match="pip install gguf"):
        read_gguf(tmp_path / "v.gguf")


# -- tensors in .pt files ---------------------------------------------------------------------------------------------
@dataclass
class Theirs:
    """The dataclass of the package steering-vectors, field by field, under its own name."""

    __module__ = "steering_vectors.steering_vector"
    __qualname__ = "SteeringVector"
    layer_activations: dict[int, torch.Tensor]
    layer_type: str = "decoder_block"


def pickled_theirs(path: Path, monkeypatch: pytest.MonkeyPatch, layer_type: str) -> Path:
    """What `torch.save(steering_vector, path)` writes where that package is installed; afterwards it is gone."""
    module = ModuleType(Theirs.__module__)
    with monkeypatch.context() as patch:
        module.SteeringVector = Theirs  # type: ignore[attr-defined]
        patch.setitem(sys.modules, "steering_vectors", ModuleType("steering_vectors"))
        patch.setitem(sys.modules, module.__name__, module)
        torch.save(Theirs({5: torch.arange(4.0)}, layer_type), path)
    return path


def test_a_pickled_steering_vector_is_read_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = read_steering_vectors(pickled_theirs(tmp_path / "v.pt", monkeypatch, "decoder_block"))
    assert list(read) == [resid_post(5)]
    assert read[resid_post(5)].rows.tolist() == [[0, 1, 2, 3]]
    with pytest.raises(ValueError, match="steers 'mlp', only 'decoder_block' is the residual stream"):
        read_steering_vectors(pickled_theirs(tmp_path / "v.pt", monkeypatch, "mlp"))
    assert not any("SteeringVector" in str(held) for held in torch.serialization.get_safe_globals())


class Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("save", [torch.save, lambda held, path: path.write_bytes(pickle.dumps(held, protocol=2))])
def test_no_file_runs_code(save: Callable[..., Any], tmp_path: Path) -> None:
    save(Trap(tmp_path / "sprung"), tmp_path / "vec_layer_3.pt")
    with pytest.raises(ValueError, match="does not hold tensors only, and nothing else is ever unpickled"):
        read_steering_vectors(tmp_path / "vec_layer_3.pt")
    with pytest.raises(ValueError, match="does not hold tensors only, and nothing else is ever unpickled"):
        read_caa(tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_a_torch_file_without_layers_is_refused(tmp_path: Path) -> None:
    for strange in (torch.ones(4, dtype=torch.complex64), torch.ones(4, dtype=torch.bool)):
        torch.save({3: strange}, tmp_path / "v.pt")
        with pytest.raises(ValueError, match=rf"v\.pt: .* not a list of numbers \(they are {strange.dtype}"):
            read_steering_vectors(tmp_path / "v.pt")
    for held in (torch.ones(4), {}, {"3": torch.ones(4)}, [torch.ones(4)]):
        torch.save(held, tmp_path / "v.pt")
        with pytest.raises(ValueError, match=r"does not hold \{layer: tensor\}"):
            read_steering_vectors(tmp_path / "v.pt")


def test_a_caa_folder_of_several_models_is_read_one_model_at_a_time(gpt2: HookedModel, tmp_path: Path) -> None:
    vectors = a_set(gpt2)
    export_caa(vectors, tmp_path, coeff=1.0, named="tiny")
    paths = export_caa(vectors, tmp_path, coeff=2.0, named="tiny-chat")
    assert [path.name for path in paths] == ["vec_layer_1_tiny-chat.pt", "vec_layer_2_tiny-chat.pt"]
    with pytest.raises(ValueError, match="vectors of 'tiny', 'tiny-chat': choose one with named="):
        read_caa(tmp_path)
    read = read_caa(tmp_path, named="tiny-chat")[resid_post(2)]
    assert torch.equal(read.rows, 2.0 * vectors[resid_post(2)].rows)
    assert read.source.model == "tiny-chat"
    with pytest.raises(ValueError, match=r"holds no vec_layer_<n>\.pt of 'base'"):
        read_caa(tmp_path, named="base")
    with pytest.raises(ValueError, match="already holds vectors of tiny: choose an empty folder"):
        export_caa(vectors, tmp_path, coeff=1.0, named="tiny")


# -- .svec ------------------------------------------------------------------------------------------------------------
def test_the_same_svec_file_means_what_its_reader_says(gpt2: HookedModel, tmp_path: Path) -> None:
    (tmp_path / "v.svec").write_text(json.dumps({"model_type": "phi", "directions": {"10": [1, 2], "9": [[3, 4]]}}))
    assert list(read_svec(tmp_path / "v.svec", reading="cast")) == [resid_pre(9), resid_pre(10)]
    assert list(read_svec(tmp_path / "v.svec", reading="act_add")) == [resid_pre(9), resid_pre(10)]
    read = read_svec(tmp_path / "v.svec", reading="caa")
    assert {site: vector.rows.tolist() for site, vector in read.items()} == {
        resid_post(9): [[3, 4]],
        resid_post(10): [[1, 2]],
    }
    assert read[resid_post(9)].source.model == "phi"


def test_only_act_add_takes_rows_per_token_and_they_steer_the_front(gpt2: HookedModel, tmp_path: Path) -> None:
    vector = random_vector(gpt2, resid_pre(1), 3)
    path = export_svec(vector, tmp_path / "v.svec", reading="act_add", coeff=2.0, model_type="gpt2")
    read = read_svec(path, reading="act_add")[resid_pre(1)]
    assert torch.equal(read.rows, 2.0 * vector.rows)
    assert gap(logits_under(gpt2, 2.0 * vector.at_front()), logits_under(gpt2, read.at_front())) <= 1e-5
    with pytest.raises(ValueError, match="was written to be read as 'act_add', not as 'caa'"):
        read_svec(path, reading="caa")
    path.write_text(json.dumps({"directions": {"1": vector.rows.tolist()}}))
    with pytest.raises(ValueError, match="3 rows, one per token"):
        read_svec(path, reading="caa")


def test_cast_finds_the_variances_that_it_cannot_load_without(gpt2: HookedModel, tmp_path: Path) -> None:
    path = export_svec(a_set(gpt2), tmp_path / "v.svec", reading="cast", coeff=1.0, model_type="gpt2")
    held = json.loads(path.read_text())
    assert held["explained_variances"].keys() == held["directions"].keys() == {"2", "3"}


def test_svec_files_that_cannot_be_meant_are_refused(gpt2: HookedModel, tmp_path: Path) -> None:
    path = tmp_path / "v.svec"
    for content, message in (
        ("no JSON", "is not JSON"),
        ("{}", "it has no 'directions'"),
        ('{"directions": {"1": [1, 2]}, "num_heads": 4}', "a direction per attention head"),
        ('{"directions": {"1": ["a"]}}', "not a list of numbers"),
        ('{"directions": {"1": [1, 2]}, "steering_lab": {"reading": "caa"}}', "its provenance does not say"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            read_svec(path, reading="caa")
    with pytest.raises(ValueError, match=r"does not end in \.svec"):
        export_svec(a_set(gpt2), tmp_path / "v.json", reading="caa", coeff=1.0, model_type="gpt2")


# -- Neuronpedia ------------------------------------------------------------------------------------------------------
def test_neuronpedia_strengths_multiply_and_equal_hooks_add_up(tmp_path: Path) -> None:
    entry = {"hook": "blocks.3.hook_resid_pre", "strength": 2.0, "steering_vector": [1.0, -1.0]}
    request = {"vectors": [entry, entry | {"strength": 1.0, "steering_vector": [0.0, 4.0]}], "strength_multiplier": 1.5}
    (tmp_path / "v.json").write_text(json.dumps(request))
    assert read_neuronpedia(tmp_path / "v.json")[resid_pre(3)].rows.tolist() == [[3.0, 3.0]]
    (tmp_path / "v.json").write_text(json.dumps(entry))
    assert read_neuronpedia(tmp_path / "v.json")[resid_pre(3)].rows.tolist() == [[2.0, -2.0]]


def test_neuronpedia_requests_that_do_more_than_add_are_refused(tmp_path: Path) -> None:
    entry = {"hook": "blocks.3.hook_resid_pre", "strength": 2.0, "steering_vector": [1.0, -1.0]}
    for request, message in (
        ({"vectors": [entry], "steer_method": "ORTHOGONAL_DECOMP"}, "steer_method = 'ORTHOGONAL_DECOMP'"),
        ({"vectors": [entry], "normalize_steering": True}, "normalize_steering = True"),
        ([entry | {"hook": "blocks.3.hook_mlp_out"}], "is not a residual-stream hook point"),
        ([{"hook": "blocks.3.hook_resid_pre"}], "lacks its hook, strength or numbers"),
        ({"vectors": []}, "holds no Neuronpedia vectors"),
    ):
        (tmp_path / "v.json").write_text(json.dumps(request))
        with pytest.raises(ValueError, match=message):
            read_neuronpedia(tmp_path / "v.json")


# -- EasySteer --------------------------------------------------------------------------------------------------------
PLACED: Mapping[str, Callable[[SteeringVector, SteeringVector], Intervention]] = {
    "from_last_prompt_token": lambda one, three: one.from_last_prompt_token(),
    "generated": lambda one, three: one.generated(),
    "front": lambda one, three: three.at_front(),
    "end": lambda one, three: three.at(-3),
    "sum": lambda one, three: 2.0 * three.at(1) - one.everywhere() + 0.5 * one.from_last_prompt_token(),
}


@pytest.mark.parametrize("place", PLACED)
def test_an_easysteer_spec_keeps_every_place(place: str, gpt2: HookedModel, tmp_path: Path) -> None:
    intervention = PLACED[place](random_vector(gpt2, resid_post(0)), random_vector(gpt2, resid_pre(2), 3))
    read = read_easysteer(export_easysteer(intervention, tmp_path / "spec.json"), model=gpt2)
    tokens = gpt2.to_tokens(PROMPTS, [[5, 6], [7, 8], [9, 10]])
    with torch.no_grad(), steer(gpt2, intervention):
        wanted = real(gpt2.logits(tokens), tokens)
    with torch.no_grad(), steer(gpt2, read):
        assert gap(wanted, real(gpt2.logits(tokens), tokens)) <= 1e-5
    with torch.no_grad():
        assert gap(wanted, real(gpt2.logits(tokens), tokens)) > 0.1


def test_an_easysteer_spec_says_what_its_server_expects(gpt2: HookedModel, tmp_path: Path) -> None:
    ones = SteeringVector(torch.ones(1, 2), resid_post(4), Source("happy", "m", "f"))
    spec = json.loads(export_easysteer(0.5 * ones.from_last_prompt_token(), tmp_path / "spec.json").read_text())
    assert spec == {
        "vectors": [
            {
                "data": {
                    "version": 1,
                    "kind": "direction",
                    "tensors": {"layer.4": {"shape": [2], "data": "AAAAPwAAAD8="}},
                    "extra": {},
                    # printf 'direction:1layer.4(2,)\0\0\0\x3f\0\0\0\x3f' | sha256sum
                    "sha256": "d03d5689cc822fc931196ba138f557451f6f19781790d94118e6143a6993db24",
                },
                "algorithm": "direct",
                "scale": 1.0,
                "normalize": False,
                "apply": {"prompt_positions": [-1], "generation": "all"},
                "name": "happy",
            }
        ],
        "conflict": "sequential",
    }


def test_scale_and_layers_of_a_foreign_spec_are_obeyed(gpt2: HookedModel, tmp_path: Path) -> None:
    vectors = {site: random_vector(gpt2, site, seed=site.layer) for site in (resid_post(0), resid_post(1))}
    path = export_easysteer(everywhere(vectors), tmp_path / "spec.json")
    spec = json.loads(path.read_text())
    spec["vectors"][0] |= {"scale": -2.0, "layers": [1]}
    path.write_text(json.dumps(spec))
    wanted = logits_under(gpt2, -2.0 * vectors[resid_post(1)].everywhere())
    assert gap(wanted, logits_under(gpt2, read_easysteer(path, model=gpt2))) <= 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"algorithm": "erase"}, "only vectors that are added as they are"),
        ({"normalize": True}, "only vectors that are added as they are"),
        ({"data": None, "source": "happy.gguf"}, r"points to 'happy\.gguf': read that file with read_gguf"),
        ({"apply": {"prompt": "all"}}, r"no place here says \{'prompt': 'all'\}"),
        ({"data": {"version": 1, "kind": "lowrank"}}, "kind 'lowrank'"),
        ({"data": {"version": 1, "kind": "direction"}}, "a payload is incomplete"),
    ],
)
def test_easysteer_specs_that_do_more_than_add_are_refused(
    change: dict[str, Any], message: str, gpt2: HookedModel, tmp_path: Path
) -> None:
    path = export_easysteer(random_vector(gpt2, resid_post(1)).everywhere(), tmp_path / "spec.json")
    spec = json.loads(path.read_text())
    spec["vectors"][0] |= change
    path.write_text(json.dumps(spec))
    with pytest.raises(ValueError, match=message):
        read_easysteer(path)


def test_changed_numbers_and_shadowed_vectors_are_refused(gpt2: HookedModel, tmp_path: Path) -> None:
    path = export_easysteer(random_vector(gpt2, resid_post(1)).everywhere(), tmp_path / "spec.json")
    spec = json.loads(path.read_text())
    path.write_text(json.dumps({"vectors": spec["vectors"] * 2}))
    with pytest.raises(ValueError, match="act together only with 'conflict': 'sequential'"):
        read_easysteer(path)
    spec["vectors"][0]["data"]["tensors"]["layer.1"]["data"] = base64.b64encode(bytes(128)).decode()
    path.write_text(json.dumps(spec))
    with pytest.raises(ValueError, match="do not match their SHA-256"):
        read_easysteer(path)


def test_interventions_that_easysteer_cannot_say_are_refused(gpt2: HookedModel, tmp_path: Path) -> None:
    three = random_vector(gpt2, resid_post(1), 3)
    centred = SteeringVector(three.rows, three.site, Source("v", "m", "f", basis="centred"))
    for intervention, message in (
        (Intervention(), "does nothing"),
        (three.at_front(too_long="clip"), "cannot drop rows beyond a short prompt's end"),
        (three.at(-2), "3 rows from token -2 of the prompt reach beyond its end"),
        (centred.at_front(), "was made in the centred basis"),
    ):
        with pytest.raises(ValueError, match=message):
            export_easysteer(intervention, tmp_path / "spec.json")


# -- baked weights ----------------------------------------------------------------------------------------------------
BAKED = ["gpt2", "gpt_neox", "llama", "opt"]


@pytest.mark.parametrize("architecture", BAKED)
def test_baked_weights_steer_as_everywhere_does(architecture: str, tmp_path: Path) -> None:
    model = hooked(architecture)
    vectors = {
        site: random_vector(model, site, seed=site.layer) for site in (resid_pre(1), resid_post(1), resid_post(2))
    }
    wanted = logits_under(model, everywhere(vectors, 1.5))
    tokens = model.to_tokens(PROMPTS)
    bake(tiny_hf_model(architecture), vectors, coeff=1.5).save_pretrained(tmp_path)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    with torch.no_grad():
        assert gap(wanted, real(hf_logits(opened, tokens), tokens)) <= 1e-5
    through_lens = load_model(opened, tokenizer=tokenizer_of(architecture), prefix=model.prefix)
    assert gap(wanted, logits_under(through_lens, Intervention())) <= 1e-5
    record = opened.config.steering_lab["sources"]["blocks.2.hook_resid_post"]
    assert (record["recipe"], record["fingerprint"]) == ("1.5 x (random 1)", model.fingerprint)


@pytest.mark.parametrize("architecture", BAKED)
def test_baking_leaves_the_given_model_alone_and_coeff_zero_changes_nothing(architecture: str) -> None:
    model, given = hooked(architecture), tiny_hf_model(architecture)
    tokens, vector = model.to_tokens(PROMPTS), random_vector(model, resid_post(1))
    before, config = {k: v.clone() for k, v in given.state_dict().items()}, given.config.to_dict()
    baked = bake(given, vector, coeff=0.0)
    bake(given, vector, coeff=3.0)
    assert given.config.to_dict() == config
    assert given.state_dict().keys() == before.keys()
    assert all(torch.equal(before[name], value) for name, value in given.state_dict().items())
    with torch.no_grad():
        assert torch.equal(hf_logits(baked, tokens), hf_logits(given, tokens))


@pytest.mark.parametrize("architecture", ["mistral", "qwen2", "gemma", "gemma2"])
def test_layouts_without_a_bias_to_carry_the_vector_are_refused(architecture: str) -> None:
    vector = random_vector(hooked(architecture), resid_post(1))
    with pytest.raises(ValueError, match=f"a block of {architecture} has no bias .* take a GGUF control vector"):
        bake(tiny_hf_model(architecture), vector, coeff=1.0)


def test_an_opt_whose_blocks_end_in_a_norm_is_refused(gpt2: HookedModel) -> None:
    config = OPTConfig(
        vocab_size=320, hidden_size=32, word_embed_proj_dim=32, num_hidden_layers=3, num_attention_heads=4, ffn_dim=48,
        do_layer_norm_before=False,
    )  # fmt: skip
    with pytest.raises(ValueError, match="ends in a norm, which would change the vector"):
        bake(AutoModelForCausalLM.from_config(config), random_vector(gpt2, resid_post(1)), coeff=1.0)


def test_a_vector_that_does_not_fit_the_model_is_not_baked(gpt2: HookedModel) -> None:
    vector = random_vector(gpt2, resid_post(1))
    with pytest.raises(ValueError, match=r"layer 3 is outside 0\.\.2 of this gpt2"):
        bake(plain("gpt2"), random_vector(gpt2, resid_post(3)), coeff=1.0)
    with pytest.raises(ValueError, match="the vector is 5 wide, the stream of this gpt2 is 32"):
        bake(plain("gpt2"), SteeringVector(vector.rows[:, :5], vector.site, vector.source), coeff=1.0)
