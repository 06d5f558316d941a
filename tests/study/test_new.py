"""An experiment of one's own begins with two files that run as they stand."""

from pathlib import Path

import pytest

from steering_lab.cli.new import new
from steering_lab.cli.run import run as run_command
from steering_lab.runs import read_run
from steering_lab.study.finding import load_experiment
from steering_lab.study.new import new_experiment


def test_what_new_writes_runs_as_it_stands_and_draws_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new("mine", folder=tmp_path)
    toml, module = tmp_path / "mine.toml", tmp_path / "mine.py"
    assert capsys.readouterr().out.splitlines() == [str(toml), str(module), f"run it: steering-lab run {toml}"]
    assert len(module.read_text().splitlines()) <= 60
    run_command(toml, set=("n_prompts=2", "n_samples=1", "max_new_tokens=4"), results=tmp_path / "results")
    [path] = (tmp_path / "results" / "mine").iterdir()
    parts = read_run(path)
    assert set(parts["summary"]["metric"]) == {"valence_balance", "perplexity"}
    assert set(parts["summary"]["method"]) == {"unsteered", "mean_difference", "random"}
    assert parts["provenance"]["question"].startswith("mine: what do you want to know?")
    (path / "index.html").unlink()
    load_experiment(toml).report(path)
    assert "mine: what do you want to know?" in (path / "index.html").read_text()
    assert "conditions on 2 prompts." in (path / "index.html").read_text()


def test_new_overwrites_nothing_and_takes_names_that_a_module_can_have(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("# hours of work")
    with pytest.raises(FileExistsError, match=r"mine\.py is there already: choose another name"):
        new_experiment(tmp_path, "mine")
    assert not (tmp_path / "mine.toml").exists()
    with pytest.raises(ValueError, match="'my-question' is no name for a module: use letters"):
        new_experiment(tmp_path, "my-question")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("class", "'class' is a word of Python's own"),
        ("json", "'json' is the name of a module that is installed here, which a json.py would hide"),
        ("torch", "'torch' is the name of a module that is installed here"),
        ("sweep", "'sweep' is the name of an experiment that comes along"),
    ],
)
def test_new_takes_no_name_by_which_python_or_report_finds_something_else(
    tmp_path: Path, name: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        new_experiment(tmp_path, name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        ("['vadr']", "unknown measure 'vadr'"),
        ("[]", r"measures is \[\]: name one or more"),
        ("['vader']", '"vader" reads English, which the organism\'s language is not'),
    ],
)
def test_measures_that_cannot_be_taken_are_refused_before_anything_is_asked(
    tmp_path: Path, measures: str, message: str
) -> None:
    toml, _ = new_experiment(tmp_path, "mine")
    with pytest.raises(ValueError, match=message):
        run_command(toml, set=(f"measures={measures}",), results=tmp_path / "results")
    assert not (tmp_path / "results").exists()
