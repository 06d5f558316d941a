"""`steering-lab vector` makes, shows, verifies and exports; what it saves is what Python makes of the same pairs."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.conflict_readers import write_conflict_qa
from steering_lab.data.contrast_pairs import PAIRS, ContrastPair
from steering_lab.data.templates import WORDINGS
from steering_lab.interventions.formats import read_caa, read_gguf, read_neuronpedia, read_steering_vectors, read_svec
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.actadd import actadd_vector
from steering_lab.methods.by_name import pair_vectors
from steering_lab.methods.contextfocus import contextfocus_vectors
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.loading import load_model
from tests.cli.calling import call
from tests.tiny_models import save_tiny_model

PAIR = ["--positive", "Love", "--negative", "Hate"]


@pytest.mark.parametrize(
    ("options", "method", "pairs", "normalise"),
    [
        (PAIR, "mean_difference", (ContrastPair("Love", "Hate"),), False),
        ([*PAIR, "--method", "actadd"], "actadd", (ContrastPair("Love", "Hate"),), False),
        (["--pairs", "love_hate_sentences"], "mean_difference", PAIRS["love_hate_sentences"], False),
        (["--pairs", "love_hate_sentences", "--method", "pca"], "pca", PAIRS["love_hate_sentences"], False),
        (["--pairs", "love_hate_sentences", "--method", "probe"], "probe", PAIRS["love_hate_sentences"], False),
        (["--pairs", "{}/pairs.json", "--normalise"], "mean_difference", (ContrastPair("I love", "I hate"),), True),
    ],
)
@pytest.mark.parametrize("stream", ["resid_pre", "resid_post"])
def test_what_is_saved_is_what_the_method_makes_of_the_pairs(
    monkeypatch: pytest.MonkeyPatch,
    tiny: Path,
    tmp_path: Path,
    options: list[str],
    method: str,
    pairs: tuple[ContrastPair, ...],
    normalise: bool,
    stream: str,
) -> None:
    (tmp_path / "pairs.json").write_text('[{"positive": "I love", "negative": "I hate"}]')
    file, site = tmp_path / "made.safetensors", (resid_pre if stream == "resid_pre" else resid_post)(1)
    filled = [option.format(tmp_path) for option in options]
    more = ["--layer", "1", "--stream", stream, "--model", str(tiny)]
    assert call(monkeypatch, "vector", "make", str(file), *filled, *more) == 0
    wanted = pair_vectors(method, load_model(str(tiny)), pairs, [site], normalise=normalise)[site]
    saved = SteeringVector.load(file)
    assert saved.site == site
    assert saved.source.recipe == wanted.source.recipe
    torch.testing.assert_close(saved.rows, wanted.rows, rtol=0, atol=0)


def test_contextfocus_is_made_of_questions(monkeypatch: pytest.MonkeyPatch, tiny: Path, tmp_path: Path) -> None:
    rows = [
        ConflictQA("Who sings?", "Ann sings.", context_answers=("Ann",), memory_answers=("Bob",), group="sings"),
        ConflictQA("Who swims?", "Cid swims.", context_answers=("Cid",), memory_answers=("Dan",), group="swims"),
    ]
    write_conflict_qa(tmp_path / "rows.jsonl", rows)
    file, questions = tmp_path / "made.safetensors", str(tmp_path / "rows.jsonl")
    more = ["--method", "contextfocus", "--questions", questions, "--layer", "1", "--model", str(tiny)]
    assert call(monkeypatch, "vector", "make", str(file), *more, "--recipe", "context_only", "--seed", "1") == 0
    saved = SteeringVector.load(file)
    assert set(saved.source.details["rows"]) == {row.id for row in rows}
    kept = [next(row for row in rows if row.id == name) for name in saved.source.details["rows"]]
    made = contextfocus_vectors(
        load_model(str(tiny)), kept, [resid_pre(1)], wording=WORDINGS["plain"], recipe="context_only", seed=1
    )
    torch.testing.assert_close(saved.rows, made[resid_pre(1)].rows, rtol=0, atol=0)


def test_show_prints_what_the_file_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    file = str(tmp_path / "made.safetensors")
    options = [*PAIR, "--method", "actadd", "--layer", "1", "--model", str(tiny)]
    assert call(monkeypatch, "vector", "make", file, *options) == 0
    made = capsys.readouterr().out
    assert call(monkeypatch, "vector", "show", file) == 0
    assert capsys.readouterr().out == made
    model, vector = load_model(str(tiny)), SteeringVector.load(file)
    said = {line.split()[0]: line for line in made.splitlines()[1:]}
    assert said["vector"].split(maxsplit=1)[1] == "actadd(Love − Hate)"
    assert "resid_pre(1), blocks.1.hook_resid_pre" in said["site"]
    assert f"{len(vector.norms)} x 32" in said["rows"]
    assert all(f"{norm:.4g}" in said["rows"] for norm in vector.norms.tolist())
    assert model.fingerprint in said["weights"]
    assert said["prefix"].split()[1] == "tokenizer"
    assert "torch 2" in said["software"]


def test_verify_holds_for_the_model_that_made_it_and_for_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    file, other = str(tmp_path / "made.safetensors"), save_tiny_model("gpt2", tmp_path / "other", seed=1)
    assert call(monkeypatch, "vector", "make", file, *PAIR, "--layer", "1", "--model", str(tiny)) == 0
    capsys.readouterr()
    assert call(monkeypatch, "vector", "verify", file) == 0
    assert "as it was written (SHA-256 " in capsys.readouterr().out
    assert call(monkeypatch, "vector", "verify", file, "--model", str(tiny)) == 0
    assert "belongs to tiny" in capsys.readouterr().out
    assert call(monkeypatch, "vector", "verify", file, "--model", str(other)) == 1
    assert "WRONG: " in capsys.readouterr().out


def test_verify_finds_a_number_that_was_changed_and_tells_of_every_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    assert call(monkeypatch, "vector", "make", str(good), *PAIR, "--layer", "1", "--model", str(tiny)) == 0
    with safe_open(good, framework="pt") as held:
        name, header = next(iter(held.keys())), held.metadata()
        rows = held.get_tensor(name)
    rows[0, [0, 1]] = rows[0, [1, 0]]  # of the same norm
    save_file({name: rows}, bad, header)
    capsys.readouterr()
    assert call(monkeypatch, "vector", "verify", str(bad), str(good)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "WRONG: " in lines[0]
    assert "its SHA-256 is not that of its header and numbers" in lines[0]
    assert lines[1].startswith(f"{good}: as it was written")


def test_a_file_of_an_earlier_version_holds_by_its_norms(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    file = tmp_path / "made.safetensors"
    assert call(monkeypatch, "vector", "make", str(file), *PAIR, "--layer", "1", "--model", str(tiny)) == 0
    with safe_open(file, framework="pt") as held:
        header, tensors = json.loads(held.metadata()["steering_lab"]), {n: held.get_tensor(n) for n in held.keys()}  # noqa: SIM118
    del header["sha256"]
    save_file(tensors, file, {"steering_lab": json.dumps(header)})
    capsys.readouterr()
    assert call(monkeypatch, "vector", "verify", str(file)) == 0
    assert "as it was written (no SHA-256, its norms agree)" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["make", "export"])
def test_what_is_exported_reads_back_as_coeff_times_the_vector(
    monkeypatch: pytest.MonkeyPatch, tiny: Path, tmp_path: Path, verb: str
) -> None:
    names = {"gguf": "a.gguf", "svec:cast": "a.svec", "steering_vectors": "a.pt", "caa": "caa", "neuronpedia": "a.json"}
    to = [f"{form}={tmp_path / name}" for form, name in {**names, "easysteer": "easy", "baked": "baked"}.items()]
    file = str(tmp_path / "made.safetensors")
    make, more = [*PAIR, "--layer", "2"], ["--model", str(tiny), "--coeff", "3"]
    if verb == "make":
        assert call(monkeypatch, "vector", "make", file, *make, *more, "--export", *to) == 0
    else:
        assert call(monkeypatch, "vector", "make", file, *make, "--model", str(tiny)) == 0
        assert call(monkeypatch, "vector", "export", file, "--to", *to, *more) == 0
    wanted = 3 * SteeringVector.load(file).rows
    back = {
        "gguf": read_gguf(tmp_path / "a.gguf"),
        "svec:cast": read_svec(tmp_path / "a.svec", reading="cast"),
        "steering_vectors": read_steering_vectors(tmp_path / "a.pt"),
        "caa": read_caa(tmp_path / "caa"),
        "neuronpedia": read_neuronpedia(tmp_path / "a.json"),
    }
    for form, vectors in back.items():
        [vector] = vectors.values()
        torch.testing.assert_close(vector.rows, wanted, msg=form)
    bias = [
        AutoModelForCausalLM.from_pretrained(folder).transformer.h[1].mlp.c_proj.bias
        for folder in (tmp_path / "baked", tiny)
    ]
    torch.testing.assert_close((bias[0] - bias[1]).detach(), wanted[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["make", "a.pt", *PAIR], "name 'a.pt' something.safetensors"),
        (["make", "a.safetensors"], "give --pairs, a built-in set or a file, or one pair"),
        (["make", "a.safetensors", *PAIR, "--export", "gguf"], "'gguf' is no FORMAT=PATH: the formats are gguf, svec"),
        (["make", "a.safetensors", *PAIR, "--export", "onnx=a"], "'onnx=a' is no FORMAT=PATH"),
        (["make", "a.safetensors", *PAIR, "--row", "mean"], "--row and --coeff are of what --export writes"),
        (["make", "a.safetensors", *PAIR, "--coeff", "4"], "--row and --coeff are of what --export writes"),
        (["make", "a.safetensors", "--method", "contextfocus"], "contextfocus and --questions go together"),
        (["make", "a.safetensors", *PAIR, "--questions", "capitals"], "contextfocus and --questions go together"),
        (["show"], "name the file of a vector, e.g. steering-lab vector show love.safetensors"),
        (["show", "nowhere.safetensors"], "no steering vector at nowhere.safetensors"),
        (["verify"], "name the file of a vector, e.g. steering-lab vector verify"),
        (["mke"], "'mke' is no command: choose make, show, verify, export, or --help"),
        ([], "no command was given: choose make, show, verify, export, or --help"),
    ],
)
def test_a_mistake_is_one_line_before_a_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert call(monkeypatch, "vector", *arguments) == 2
    [error] = capsys.readouterr().err.strip().splitlines()
    assert error.startswith("steering-lab: ")
    assert message in error


def test_nothing_is_written_over_unless_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    file, gguf, folder = tmp_path / "a.safetensors", tmp_path / "a.gguf", tmp_path / "baked"
    make = ["make", str(file), *PAIR, "--layer", "2", "--model", str(tiny)]
    export = ["export", str(file), "--to", f"gguf={gguf}", f"baked={folder}", "--model", str(tiny)]
    assert call(monkeypatch, "vector", *make) == call(monkeypatch, "vector", *export) == 0
    made, exported = file.read_bytes(), gguf.read_bytes()
    capsys.readouterr()
    for command in ([*make, "--normalise"], [*export, "--coeff", "2"], [*make, "--export", f"baked={folder}"]):
        assert call(monkeypatch, "vector", *command) == 2
        assert "is there already: choose another name, or --force to write over it" in capsys.readouterr().err
    assert (file.read_bytes(), gguf.read_bytes()) == (made, exported)
    assert call(monkeypatch, "vector", *make, "--normalise", "--force") == 0
    assert call(monkeypatch, "vector", *export, "--coeff", "2", "--force") == 0
    assert SteeringVector.load(file).norm == pytest.approx(1.0)
    assert gguf.read_bytes() != exported


@pytest.mark.parametrize(
    ("to", "message"),
    [
        (["gguf={}/a", "svec:cast={}/a"], "a is named twice: one file would replace the other"),
        (["gguf={}"], "is a folder, and gguf is written to a file"),
    ],
)
def test_exports_that_cannot_stand_beside_each_other_are_refused_before_a_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    to: list[str],
    message: str,
) -> None:
    named = [one.format(tmp_path) for one in to]
    more = [*PAIR, "--model", "nobody/nothing", "--export", *named]
    assert call(monkeypatch, "vector", "make", str(tmp_path / "a.safetensors"), *more) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["make", "export"])
def test_of_a_row_per_token_a_format_of_one_row_gets_the_last_or_the_mean_and_never_one_unasked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, verb: str
) -> None:
    vector = actadd_vector(load_model(str(tiny)), ContrastPair("Love", "Hate"), resid_pre(2))
    file, gguf, svec = tmp_path / "rows.safetensors", tmp_path / "a.gguf", tmp_path / "a.svec"
    make = ["make", str(file), *PAIR, "--method", "actadd", "--layer", "2", "--export"]
    command = make if verb == "make" else ["export", str(vector.save(file)), "--to"]
    more = ["--model", str(tiny), "--force"]
    assert call(monkeypatch, "vector", *command, f"svec:act_add={svec}", f"gguf={gguf}", *more) == 2
    n = len(vector.norms)
    said = f"gguf adds one row to every token, and the vector has {n}, one per token: choose --row last or --row mean"
    assert said in capsys.readouterr().err
    assert not gguf.exists()
    assert not svec.exists()
    assert call(monkeypatch, "vector", *command, f"svec:act_add={svec}", *more) == 0
    torch.testing.assert_close(read_svec(svec, reading="act_add")[resid_pre(2)].rows, vector.rows)
    for row, wanted in (("last", vector.rows[-1:]), ("mean", vector.rows.mean(dim=0, keepdim=True))):
        assert call(monkeypatch, "vector", *command, f"gguf={gguf}", "--row", row, *more) == 0
        [held] = read_gguf(gguf).values()
        torch.testing.assert_close(held.rows, wanted)


def test_verify_tells_of_the_other_files_where_one_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    files = [str(tmp_path / name) for name in ("nowhere.safetensors", "a.gguf")]
    Path(files[1]).write_bytes(b"GGUF")
    assert call(monkeypatch, "vector", "verify", *files) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{files[0]}: WRONG: no steering vector at {files[0]}"
    assert "read another tool's file in Python with" in lines[1]


def test_a_difference_that_is_nothing_at_a_layer_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    alike = ["--positive", "a you", "--negative", "e you", "--layer", "0", "--model", str(tiny)]
    assert call(monkeypatch, "vector", "make", str(tmp_path / "a.safetensors"), *alike) == 2
    assert "has norm 0 at resid_pre(0): the two sides are read alike there" in capsys.readouterr().err
    assert not (tmp_path / "a.safetensors").exists()
