"""The command line says what it does, and turns a mistake into one line and exit status 2."""

import sys
from pathlib import Path

import pytest

from steering_lab.cli import main
from steering_lab.runs import RunFolder
from tests.tiny_models import save_tiny_model


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["steering-lab", *arguments])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize("command", [[], ["demo"], ["run"], ["report"], ["steer"]])
def test_help_teaches_each_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert call(monkeypatch, *command, "--help") == 0
    assert len(capsys.readouterr().out.split()) > 30


def test_steer_prints_unsteered_beside_steered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = str(save_tiny_model("gpt2", tmp_path / "tiny"))
    options = ["--model", folder, "--layer", "1", "--max-new-tokens", "5"]
    assert call(monkeypatch, "steer", "--prompt", "I hate you because", *options, "--coeff", "4") == 0
    out = capsys.readouterr().out
    assert "Love − Hate, front, layer 1, coefficient 4" in out
    assert out.index("unsteered (perplexity") < out.index("steered (perplexity", out.index("unsteered") + 9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layer", "99"], "layer 99 is outside 0..2 of tiny"),
        (["--coeff", "0"], "coefficients"),
        (["--prompt", ""], "prompt 0 is empty"),
        (["--dtype", "float13"], "unknown dtype 'float13'"),
        (["--max-new-tokens", "500"], "context of tiny"),
        (["--positive", "", "--negative", ""], "both are empty"),
    ],
)
def test_a_mistake_is_one_line_in_the_users_terms(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    folder = str(save_tiny_model("gpt2", tmp_path / "tiny"))
    prompt = [] if "--prompt" in arguments else ["--prompt", "I hate you because"]
    assert call(monkeypatch, "steer", "--model", folder, "--layer", "1", *prompt, *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("steering-lab: ")
    assert message in error


def run_of(results: Path, experiment: str) -> Path:
    with RunFolder.open(results, experiment, "tiny", {}) as run:
        return run.finish()


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("nowhere", "there is no such folder"),
        (".", "it has no config.json"),
        ("begun.partial", "the command that began it goes on where it stopped"),
        ("strange", "is a run of '../../strange', which is none of the experiments here: actadd_sweep"),
    ],
)
def test_what_cannot_be_reported_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: str, message: str
) -> None:
    run_of(tmp_path / "a/b/c", "../../strange").rename(tmp_path / "strange")
    assert call(monkeypatch, "report", str(tmp_path / folder)) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert error[0].startswith("steering-lab: ")
    assert message in error[0]


def test_report_without_a_folder_says_what_it_wants(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "report") == 2
    assert "name the folder of a run" in capsys.readouterr().err


def test_an_unreachable_model_is_named_with_the_ways_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "steer", "--model", "nobody/nothing", "--prompt", "x") == 2
    assert "cannot load 'nobody/nothing'" in capsys.readouterr().err
