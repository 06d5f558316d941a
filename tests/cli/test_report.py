"""`steering-lab report` reports what can be, says what is unfinished, and its exit status tells what could not."""

import json
from pathlib import Path

import pandas as pd
import pytest

from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.runs import RunFolder, read_run
from tests.cli.calling import call
from tests.evaluation.tables import observed


@pytest.fixture(autouse=True)
def _pages_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of "toy" is drawn as a page that says so; a run of "torn" cannot be drawn."""

    class Experiment:
        @staticmethod
        def report(run: Path) -> Path:
            if run.parent.name == "torn":
                raise KeyError("summary")
            if run.parent.name == "gone":
                read_run(run)["summary"]
            if run.parent.name == "old":
                pd.DataFrame({"kind": [""]}).groupby("kind").first()["regime"]
            (run / "index.html").write_text("drawn")
            return run / "index.html"

    monkeypatch.setattr(EXPERIMENT_OF, lambda run, own: Experiment)


EXPERIMENT_OF = "steering_lab.study.finding.experiment_of"


def finished(results: Path, experiment: str = "toy") -> Path:
    with RunFolder.open(results, experiment, "tiny", {}) as run:
        return run.finish()


def unfinished(results: Path, experiment: str = "toy") -> Path:
    with RunFolder.open(results, experiment, "tiny", {"seed": 1}) as run:
        run.ask({"a": "first cell", "b": "second cell"})
        run.keep({"a": [{"text": "x"}]})
        run.fail({"b": "second cell"}, "out of memory")
        return run.path


def reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *paths: Path) -> tuple[int, str, str]:
    status = call(monkeypatch, "report", *map(str, paths))
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.mark.parametrize("level", ["the run", "its experiment", "all results", "far above"])
def test_runs_are_found_in_the_folder_named_or_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, level: str
) -> None:
    run = finished(tmp_path / "my" / "own" / "results")
    (tmp_path / "my" / "weights").mkdir()
    (tmp_path / "my" / "weights" / "config.json").write_text("{}")  # as a model's folder has one
    (tmp_path / "my" / "again").symlink_to(run.parent.parent)
    above = {"the run": run, "its experiment": run.parent, "all results": run.parent.parent, "far above": tmp_path}
    named = above[level]
    status, out, err = reported(monkeypatch, capsys, named)
    assert (status, err) == (0, "")
    assert out.split() == [(run / "index.html").as_uri()]
    assert (run / "index.html").read_text() == "drawn"


def test_what_can_be_is_reported_and_what_is_unfinished_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    results = tmp_path / "results"
    run, begun = finished(results), unfinished(results)
    (results / "README.md").write_text("what is here")  # as a shell's results/* names it too
    status, out, err = reported(monkeypatch, capsys, *sorted(results.iterdir()))
    assert (status, err) == (0, "")
    assert (run / "index.html").as_uri() in out
    assert f"{begun}: not finished\n  1 of the 2 cells that it has asked for are done, 1 failed\n" in out
    assert "nobody works on it: the same command goes on" in out
    assert "  failed: second cell: out of memory" in out


def test_one_that_cannot_be_drawn_keeps_no_other_from_it_and_shows_in_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    torn, run = finished(tmp_path, "torn"), finished(tmp_path)
    status, out, err = reported(monkeypatch, capsys, torn, run)
    assert status == 1
    assert (run / "index.html").as_uri() in out
    assert err.startswith(f"steering-lab: the tables in {torn} are whole, but its page could not be drawn (KeyError")
    assert len(err.splitlines()) == 1


def test_a_run_without_a_table_that_its_page_needs_is_not_said_to_be_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = finished(tmp_path, "gone")
    status, _, err = reported(monkeypatch, capsys, run)
    assert status == 2
    assert err.startswith(f"steering-lab: {run} holds no table and no JSON file 'summary', test_report.py line ")
    assert err.endswith(
        ": restore it from a copy, or run the experiment again; there are config.json, provenance.json\n"
    )


@pytest.mark.parametrize(("name", "text"), [("config.json", ""), ("provenance.json", "null"), ("cells.jsonl", "[1]\n")])
def test_an_unfinished_run_with_a_damaged_file_is_not_said_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, text: str
) -> None:
    run = unfinished(tmp_path)
    (run / name).write_text(text)
    status, out, err = reported(monkeypatch, capsys, run)
    assert (status, out) == (2, "")
    assert err.startswith(f"steering-lab: {run / name}:1: ")


def test_a_finished_run_whose_provenance_is_none_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.undo()
    run = finished(tmp_path)
    (run / "provenance.json").write_text("null")
    status, _, err = reported(monkeypatch, capsys, run)
    assert status == 2
    assert err.startswith(f"steering-lab: {run / 'provenance.json'}:1: null where an object is wanted: restore it")


def test_a_run_whose_own_tables_lack_a_column_is_said_to_be_older_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    old = finished(tmp_path, "old")
    status, _, err = reported(monkeypatch, capsys, old)
    assert status == 2
    assert err.startswith(f"steering-lab: {old}: a table has no column 'regime', test_report.py line ")
    assert err.endswith(": if an older version of steering_lab wrote it, run the experiment again\n")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(("name", "lacks"), [("table", "distribution"), ("summary", "distribution")])
def test_a_run_from_before_measures_had_kinds_is_said_to_be_older_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, lacks: str
) -> None:
    monkeypatch.undo()
    new = observed("unsteered", {"p": [1.0]})
    table = {"table": new, "summary": summarise(new)}[name].drop(columns=["distribution", "least", "most"])
    for experiment in ("actadd_sweep", "contextfocus_conflict", "contextfocus_gradient"):
        run = finished(tmp_path, experiment)
        table.to_parquet(run / f"{name}.parquet")
        status, _, err = reported(monkeypatch, capsys, run)
        assert status == 2
        assert f"{name}: the table of " in err
        assert f"has no column {lacks!r}" in err
        assert err.endswith("if an older version of steering_lab wrote it, run the experiment again\n")
        assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("nowhere", "there is no such folder"),
        ("empty", "nor in a folder below: a run's folder holds config.json and provenance.json"),
        ("x.partial", "no unfinished run at"),
    ],
)
def test_where_nothing_can_be_reported_the_exit_status_is_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: str, message: str
) -> None:
    monkeypatch.undo()
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.partial").mkdir()
    status, _, err = reported(monkeypatch, capsys, tmp_path / folder)
    assert status == 2
    assert err.startswith("steering-lab: ")
    assert message in err


def test_a_run_of_an_experiment_from_elsewhere_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.undo()
    run = finished(tmp_path)
    made = json.loads((run / "provenance.json").read_text()) | {"experiment": "../../strange"}
    (run / "provenance.json").write_text(json.dumps(made))
    status, _, err = reported(monkeypatch, capsys, run)
    assert status == 2
    assert "is a run of '../../strange', which is none of the experiments here: actadd_sweep" in err


def test_files_alone_are_no_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text("")
    status, _, err = reported(monkeypatch, capsys, tmp_path / "mine.toml")
    assert status == 2
    assert "mine.toml: no folder of a run" in err


def test_without_a_folder_it_says_what_it_wants(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "report") == 2
    assert "name the folder of a run, e.g. steering-lab report results/*" in capsys.readouterr().err
