"""`steering-lab check` prints and keeps a certificate; its exit status says right, wrong or not to be opened."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import steering_lab.models.certificate as certificates
from steering_lab.models.certificate import CheckLine
from tests.cli.calling import call
from tests.tiny_models import save_tiny_model


def test_a_model_that_holds_ends_in_0_and_is_kept_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, kept = save_tiny_model("llama", tmp_path / "tiny"), tmp_path / "tiny.json"
    assert call(monkeypatch, "check", str(folder), "--dtype", "float32", "--json", str(kept)) == 0
    out = capsys.readouterr().out
    assert "everything that was checked holds" in out
    assert out.count(" ok ") == len([x for x in json.loads(kept.read_text())["lines"] if x["verdict"] == "ok"]) > 7


def test_a_model_with_a_fault_ends_in_1_and_is_kept_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    whole = certificates.certificate

    def faulty(*given: object, **options: object) -> certificates.Certificate:
        found = whole(*given, **options)
        return replace(found, lines=(*found.lines, CheckLine("weather", "rain against sun", "wrong", 2.0, 1e-4)))

    monkeypatch.setattr(certificates, "certificate", faulty)
    folder, kept = save_tiny_model("llama", tmp_path / "tiny"), tmp_path / "tiny.json"
    assert call(monkeypatch, "check", str(folder), "--json", str(kept)) == 1
    assert capsys.readouterr().out.splitlines()[-2] == "wrong: weather"
    assert json.loads(kept.read_text())["holds"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere/at/all"], "nowhere/at/all"),
        (["organism", "--json", "nowhere/at/all.json"], "there is no folder 'nowhere/at'"),
    ],
)
def test_what_cannot_be_opened_ends_in_2_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert call(monkeypatch, "check", *arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert message in said[0]
