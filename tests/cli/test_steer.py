"""`steering-lab steer` takes a vector from a file, prompts from a file, and any measure; a control stands beside it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from steering_lab.data.contrast_pairs import PAIRS, ContrastPair
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.actadd import actadd_vector
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.loading import load_model
from steering_lab.study.language import ENGLISH, ORGANISM
from steering_lab.study.measures import measures_for
from tests.cli.calling import call
from tests.tiny_models import save_tiny_model

PROMPT = ["--prompt", "I hate you because you love the sea"]


def averaged(folder: Path) -> SteeringVector:
    return mean_difference_vectors(load_model(str(folder)), PAIRS["love_hate_sentences"], [resid_pre(1)])[resid_pre(1)]


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, *options: str) -> list[str]:
    assert call(monkeypatch, "steer", "--model", str(folder), "--max-new-tokens", "5", *options) == 0
    return capsys.readouterr().out.splitlines()


def test_a_vector_from_a_file_writes_what_the_pairs_it_was_made_of_write(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    path = averaged(tiny).save(tmp_path / "love.safetensors")
    from_file = said(monkeypatch, capsys, tiny, *PROMPT, "--vector", str(path), "--coeff", "8")
    from_pairs = said(monkeypatch, capsys, tiny, *PROMPT, "--layer", "1", "--coeff", "8")
    assert f"{path}, everywhere, layer 1, coefficient 8" in from_file[0]
    assert from_file[1:] == from_pairs[1:]


def test_a_vector_from_a_file_may_be_scaled_to_length_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    vector = averaged(tiny)
    paths = [v.save(tmp_path / name) for v, name in ((vector, "long.safetensors"), (vector.unit(), "unit.safetensors"))]
    options = [*PROMPT, "--coeff", "30"]
    normalised = said(monkeypatch, capsys, tiny, *options, "--vector", str(paths[0]), "--normalise")
    unit = said(monkeypatch, capsys, tiny, *options, "--vector", str(paths[1]))
    assert normalised[1:] == unit[1:]


def test_a_bare_tensor_writes_what_its_vector_writes_once_its_layer_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    vector = averaged(tiny)
    np.save(tmp_path / "love.npy", vector.rows[0].numpy())
    bare = ["--vector", str(tmp_path / "love.npy"), "--coeff", "8"]
    at_layer = said(monkeypatch, capsys, tiny, *PROMPT, *bare, "--layer", "1")
    from_pairs = said(monkeypatch, capsys, tiny, *PROMPT, "--layer", "1", "--coeff", "8")
    assert at_layer[1:] == from_pairs[1:]
    assert call(monkeypatch, "steer", "--model", "nobody/nothing", *PROMPT, *bare) == 2
    assert "does not say where it belongs: add --layer N" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--vector", "{}/rows.safetensors"], "has 3 rows, one per token: choose --place front"),
        (["--vector", "{}/love.safetensors", "--layer", "2"], "is a vector for resid_pre(1): leave --layer out"),
        (
            ["--vector", "{}/love.safetensors", "--positive", "Love"],
            "is a vector already: leave out pairs",
        ),
        (["--vector", "{}/nowhere.safetensors"], "no steering vector at"),
        (["--vector", "{}/other.safetensors"], "other weights or another precision"),
        (["--measure", "topic:cars"], "unknown topic 'cars': choose one of weddings"),
        (["--prompts-file", "{}/nofile"], "no file of prompts at"),
        (["--vector", "{}/love.gguf"], "read another tool's file in Python with"),
        (["--method", "actadd", "--layer", "1"], "actadd takes one pair, not 12"),
    ],
)
def test_a_mistake_about_a_file_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tiny: Path,
    tmp_path: Path,
    options: list[str],
    message: str,
) -> None:
    model = load_model(str(tiny))
    averaged(tiny).save(tmp_path / "love.safetensors")
    actadd_vector(model, ContrastPair("Love", "Hate"), resid_pre(1)).save(tmp_path / "rows.safetensors")
    averaged(save_tiny_model("gpt2", tmp_path / "other", seed=1)).save(tmp_path / "other.safetensors")
    (tmp_path / "love.gguf").write_bytes(b"GGUF")
    filled = [option.format(tmp_path) for option in options]
    assert call(monkeypatch, "steer", "--model", str(tiny), *PROMPT, *filled) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("steering-lab: ")
    assert message in error


def test_prompts_come_from_a_file_after_those_on_the_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("the sea\nthe sky\n")
    lines = said(monkeypatch, capsys, tiny, "--prompt", "I love you", "--prompts-file", str(tmp_path / "prompts.txt"))
    assert [line for line in lines if line in ("I love you", "the sea", "the sky")] == [
        "I love you",
        "the sea",
        "the sky",
    ]
    assert sum("(perplexity" in line for line in lines) == 9


def test_nothing_to_continue_is_said_before_a_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "steer", "--model", "nobody/nothing") == 2
    assert "nothing to continue: give --prompt TEXT or --prompts-file FILE" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "n_texts"), [([], 3), (["--random"], 3), (["--no-random"], 2)])
def test_a_random_vector_of_the_same_norm_stands_beside_every_text_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Path, options: list[str], n_texts: int
) -> None:
    lines = said(monkeypatch, capsys, tiny, "--prompt", "I love you", "the sea", "--layer", "1", *options)
    labels = [line.split(" (perplexity")[0].strip() for line in lines if "(perplexity" in line]
    assert labels == 2 * ["unsteered", "steered", "random, same norm"][:n_texts]


def test_a_measure_stands_beside_every_text_and_its_mean_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Path
) -> None:
    measures = ["--measure", "topic:weddings", "length"]
    lines = said(monkeypatch, capsys, tiny, "--prompt", "I love you", "the sea", "--layer", "1", *measures)
    labelled = [line for line in lines if "(perplexity" in line]
    assert all("topic:weddings 0, length " in line for line in labelled)
    start = lines.index("mean of 2 texts")
    assert lines[start + 1] == "  topic:weddings: unsteered 0; steered 0; random, same norm 0"
    lengths = [float(line.split("length ")[1].rstrip(")")) for line in labelled]
    means = [(lengths[i] + lengths[i + 3]) / 2 for i in range(3)]
    assert lines[start + 2] == "  length: " + "; ".join(
        f"{name} {mean:.3g}" for name, mean in zip(("unsteered", "steered", "random, same norm"), means, strict=True)
    )


@pytest.mark.parametrize(
    ("measure", "message"),
    [("vader", '"vader" reads English, which the organism\'s language is not: use "valence_balance"')],
)
def test_a_measure_that_does_not_know_the_models_language_is_refused_before_it_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], measure: str, message: str
) -> None:
    monkeypatch.setattr("steering_lab.models.loading.load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    assert call(monkeypatch, "steer", "--model", "organism", *PROMPT, "--measure", measure) == 2
    assert capsys.readouterr().err == f"steering-lab: {message}\n"


def test_sentiment_is_counted_by_the_words_of_the_models_own_language() -> None:
    kind = sorted(ORGANISM.lexicon.positive)[0]
    table = pd.DataFrame({"text": [f"{kind} {kind}"]})
    for name in ("sentiment", "valence_balance"):
        [own], [english] = measures_for([name], ORGANISM), measures_for([name], ENGLISH)
        assert own(table).tolist() == [1.0]
        assert english(table).tolist() != [1.0]


def test_a_vector_at_a_blocks_output_is_made_and_named_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Path
) -> None:
    first = said(monkeypatch, capsys, tiny, *PROMPT, "--layer", "1", "--stream", "resid_post")
    assert f"everywhere, layer {resid_post(1).layer}, resid_post, coefficient 2" in first[0]
    same = said(monkeypatch, capsys, tiny, *PROMPT, "--layer", "2")
    assert first[1:4] == same[1:4]
