"""Every experiment file is sound, and the sweep runs end to end on a model it has never seen."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from steering_lab.cli import report as report_command
from steering_lab.cli import run as run_command
from steering_lab.experiments import experiment_of, experiments_folder, load_experiment, read_config
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import resid_post
from steering_lab.runs import RunFolder, read_run
from tests.tiny_models import save_tiny_model

SWEEP = experiments_folder() / "actadd_sweep.toml"
SMALL = ("front_coeffs=[-1, 1]", "everywhere_coeffs=[1]", "n_prompts=2", "n_samples=2", "max_new_tokens=6",
         "n_random=3", "n_random_confirm=3", "perplexity_budget=1e9")  # fmt: skip


@dataclass(frozen=True)
class Toy:
    model: str = "organism"
    layers: tuple[int, ...] = ()
    budget: float = 1.5

    def __post_init__(self) -> None:
        if self.budget <= 0:
            raise ValueError("budget must be above 0")


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text("layers = [1, 2]\n")
    return path


@pytest.mark.parametrize("toml", sorted(experiments_folder().glob("*.toml")), ids=lambda p: p.stem)
def test_every_experiment_file_is_a_config_of_its_module(toml: Path) -> None:
    assert read_config(load_experiment(toml).Config, toml) is not None


def test_settings_replace_what_the_file_says(toml: Path) -> None:
    assert read_config(Toy, toml, ["layers=[3]", "model=gpt2-xl"]) == Toy("gpt2-xl", (3,))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("layer=[3]", "unknown setting 'layer': did you mean 'layers'"),
        ("zzz=1", "unknown setting 'zzz': known are model, layers, budget"),
        ("layers=3", "setting layers = 3: .*tuple"),
        ("layers=['a']", r"setting layers.0 = 'a': .*integer"),
        ("budget", "--set takes key=value, not 'budget'"),
        ("budget=-1", "budget must be above 0"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(toml: Path, setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_config(Toy, toml, [setting])


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("layers = [1,")
    with pytest.raises(ValueError, match="is not TOML"):
        read_config(Toy, path)


def test_a_missing_experiment_is_named_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"actadd_sweep\.toml"):
        load_experiment(tmp_path / "nothing.toml")


def test_the_sweep_runs_end_to_end_and_leaves_a_whole_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_tiny_model("llama", tmp_path / "tiny-llama")
    opinion = "prompts=['I love the', 'the sea and']", "test_prompts=['I hate the', 'love in the']"
    run_command(SWEEP, set=(f"model={folder}", *SMALL, *opinion), results=tmp_path / "results")
    path = next((tmp_path / "results" / "actadd_sweep").iterdir())
    parts = read_run(path)
    assert parts["config"]["front_coeffs"] == [-1, 1]
    table: pd.DataFrame = parts["table"]
    columns = ["condition", "method", "layer", "coeff", "relative_norm", "prompt", "sample", "metric", "value"]
    assert set(columns) <= set(table.columns)
    # 3 layers x (2 front + 1 everywhere) cells, each with 3 random vectors, unsteered and prompting; 4 texts each
    assert len(parts["generations"]) == (3 * 3 * (1 + 3) + 2) * 4
    assert set(parts["confirmed"]["method"]) >= {"unsteered", "prompting Love", "prompting Hate"}
    assert not set(parts["generations"]["prompt"]) & set(parts["generations_test"]["prompt"])
    page = (path / "index.html").read_text()
    assert "tiny-llama" in page
    assert {p.stem for p in (path / "figures").glob("*.html")} >= {"actadd_front_sentiment", "actadd_front_perplexity"}
    assert "perplexity" in capsys.readouterr().out

    # The page and the figures are made again from the folder alone, and are the same.
    (path / "index.html").unlink()
    shutil.rmtree(path / "figures")
    report_command((path,))
    assert (path / "index.html").read_text() == page
    assert (path / "figures" / "actadd_front_sentiment.html").is_file()
    assert (path / "index.html").resolve().as_uri() in capsys.readouterr().out

    # What an older or thinned folder lacks is said, and the rest stands.
    for name in ("model.json", "generations.jsonl"):
        (path / name).unlink()
    report_command((path,))
    thinner = (path / "index.html").read_text()
    assert "model.json is not in this folder" in thinner
    assert "generations.jsonl is not in this folder" in thinner
    assert "generations_test.jsonl is not" not in thinner
    assert len(thinner) < len(page)


def test_an_experiment_without_a_report_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "actadd_sweep.toml").write_text("")
    (tmp_path / "actadd_sweep.py").write_text("")
    monkeypatch.setattr("steering_lab.experiments.experiments_folder", lambda: tmp_path)
    with RunFolder.open(tmp_path / "results", "actadd_sweep", "tiny", {}) as run:
        path = run.finish()
    with pytest.raises(ValueError, match=r"actadd_sweep has no report\(folder\)"):
        experiment_of(path)


def test_overlapping_prompts_are_refused_before_a_model_is_loaded() -> None:
    with pytest.raises(ValueError, match="overlap"):
        read_config(load_experiment(SWEEP).Config, SWEEP, ["prompts=['a', 'b']", "test_prompts=['b']"])


def test_context_against_memory_runs_end_to_end_on_the_organism(tmp_path: Path) -> None:
    small = ("layers=[4]", "coeffs=[0, 1]", "n_vector=40", "n_validation=24", "n_test=12", "n_random=3")
    run_command(experiments_folder() / "contextfocus_conflict.toml", set=small, results=tmp_path / "results")
    path = next((tmp_path / "results" / "contextfocus_conflict").iterdir())
    parts = read_run(path)
    ids = json.loads((path / "splits.json").read_text())
    assert not set(ids["vector"]) & {i for name, rows in ids.items() if name != "vector" for i in rows}
    assert SteeringVector.load(path / "contextfocus.safetensors").site == resid_post(4)
    summary: pd.DataFrame = parts["summary"]
    subjects = summary[(summary["regime"] == "test conflict, subjects") & (summary["metric"] == "context")]
    shares = subjects.groupby("method")["value"].mean()
    assert shares["contextfocus_from_last_prompt_token"] > shares["random_from_last_prompt_token"]
    assert {
        "unsteered",
        "instructed",
        "opinion",
        "CAD alpha 1",
        "COIECD",
        "part context_only_from_last_prompt_token",
    } <= set(shares.index)


def test_a_sweep_without_a_cell_within_budget_refuses_and_keeps_what_it_had_measured(tmp_path: Path) -> None:
    small = ("layers=[0]", "coeffs=[0, 0.1]", "n_vector=8", "n_validation=8", "n_test=8", "perplexity_budget=0.5")
    with pytest.raises(ValueError, match="no cell raises context answers above"):
        run_command(experiments_folder() / "contextfocus_conflict.toml", set=small, results=tmp_path)
    left = next((tmp_path / "contextfocus_conflict").iterdir())
    assert left.name.endswith(".partial")
    assert (left / "validation.parquet").is_file()


def test_coefficients_without_the_unsteered_model_are_refused() -> None:
    toml = experiments_folder() / "contextfocus_conflict.toml"
    with pytest.raises(ValueError, match="must hold 0"):
        read_config(load_experiment(toml).Config, toml, ["coeffs=[1, 2]"])
