"""What the guide "Write your own experiment" says is done here, in a folder of one's own."""

import re
import tomllib
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from steering_lab.cli.new import new
from steering_lab.cli.report import report as report_command
from steering_lab.cli.run import run as run_command
from steering_lab.runs import read_run
from steering_lab.study import measures, settings, vectors
from steering_lab.study.finding import experiments_folder
from steering_lab.study.settings import ModelSettings, Settings
from tests.tiny_models import save_tiny_model

GUIDE = Path(__file__).parents[2] / "docs/guides/own_experiment.md"
FENCED = dict(re.findall(r"^```(\w+)\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))
SMALL = (
    "layers=[1]", "coeffs=[-1, 1]", "n_prompts=2", "n_samples=1", "max_new_tokens=4", "n_random=3",
    "n_random_confirm=3", "perplexity_budget=1e9",
)  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_toml_file_of_the_guide_is_the_founding_grid_and_runs(folder: Path) -> None:
    kept = tomllib.loads((experiments_folder() / "founding_grid.toml").read_text())
    assert tomllib.loads(FENCED["toml"]) == kept
    (folder / "mine.toml").write_text(FENCED["toml"])
    run_command(Path("mine.toml"), set=(f"model={save_tiny_model('llama', folder / 'tiny')}", *SMALL))
    [run] = (folder / "results/mine").iterdir()
    assert (run / "index.html").is_file()


def test_the_module_of_the_guide_sweeps_vectors_of_its_own(folder: Path) -> None:
    (folder / "mine.py").write_text(FENCED["py"])
    (folder / "mine.toml").write_text("")
    run_command(Path("mine.toml"), set=(f"model={save_tiny_model('llama', folder / 'tiny')}", *SMALL))
    [run] = (folder / "results/mine").iterdir()
    parts = read_run(run)
    assert "mean_tokens" in set(parts["summary"]["method"])
    assert parts["provenance"]["question"].startswith("Does the difference of two prompts' mean streams")
    (run / "index.html").unlink()
    report_command((run,))
    assert "Mean of tokens, everywhere" in (run / "index.html").read_text()


def test_an_experiment_of_ones_own_begins_with_new_and_is_changed_by_hand(folder: Path) -> None:
    new("my_question")
    module = folder / "my_question.py"
    changed = module.read_text().replace("import UNSTEERED,", "import UNSTEERED, prompting,")
    changed = changed.replace("conditions = [UNSTEERED,", 'conditions = [UNSTEERED, prompting("Love "),')
    module.write_text(changed)
    run_command(Path("my_question.toml"), set=("n_prompts=2", "n_samples=1", "max_new_tokens=4", "seed=3"))
    [run] = (folder / "results/my_question").iterdir()
    assert "prompting Love" in set(read_run(run)["summary"]["method"])
    assert len(changed.splitlines()) < 120
    (run / "index.html").unlink()
    with pytest.raises(SystemExit):
        report_command((run,))
    report_command((run,), experiment=Path("my_question.toml"))
    assert (run / "index.html").is_file()


def test_a_page_that_its_module_cannot_draw_says_at_which_line(folder: Path) -> None:
    new("my_question")
    module = folder / "my_question.py"
    module.write_text(module.read_text().replace('parts["summary"]', 'parts["sumary"]'))
    line = 1 + next(i for i, text in enumerate(module.read_text().splitlines()) if 'parts["sumary"]' in text)
    with pytest.raises(ValueError, match=rf"holds no table and no JSON file 'sumary', my_question\.py line {line}: "):
        run_command(Path("my_question.toml"), set=("n_prompts=2", "n_samples=1", "max_new_tokens=4"))


ROW = r"^\| `(\w+Settings)`( \*)? \| `([\w.]+)` \| (.*?) \| (.*?) ?\|$"
PIECES = re.findall(ROW, GUIDE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("name", "of_model", "module", "settings", "gives"), PIECES)
def test_every_piece_of_the_guide_has_the_settings_and_gives_what_its_row_says(
    name: str, of_model: str, module: str, settings: str, gives: str
) -> None:
    piece = getattr(import_module(f"steering_lab.{module}"), name)
    assert set(re.findall(r"`(\w+)`", settings)) <= {field.name for field in fields(piece)}
    assert all(hasattr(piece, given) for given in re.findall(r"config\.(\w+)", gives))
    assert issubclass(piece, ModelSettings) == bool(of_model or name == "ModelSettings")
    assert issubclass(piece, Settings)


def test_the_guide_has_a_row_for_every_piece_that_studies_share() -> None:
    shared = {one.__name__ for module in (settings, measures, vectors) for one in vars(module).values()
              if isinstance(one, type) and issubclass(one, Settings)}  # fmt: skip
    assert shared - {"Settings"} <= {name for name, *_ in PIECES}
