"""Where groups of cells run changes neither their keys nor the table, and a worker's death costs one group's time."""

import importlib.util
import os
import pickle
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from steering_lab.cli.run import run as run_command
from steering_lab.evaluation.running import evaluate as evaluating
from steering_lab.evaluation.running.groups import CellsFailed
from steering_lab.executors import Executor, WorkerDied, executor
from steering_lab.executors.executor import TRIES
from steering_lab.executors.on_slurm import OnSlurm
from steering_lab.executors.processes import seeing
from steering_lab.executors.worker import do
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.runs import state_of
from tests import toy_experiment as toy
from tests.tiny_models import save_tiny_model, tiny_hf_model, tiny_tokenizer

ROOT = Path(__file__).parents[1]
together = evaluating._run_together
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are killed with SIGKILL")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Workers compute on one thread each; sums on as many are equal bit by bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model("llama", tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def model(folder: Path) -> HookedModel:
    return load_model(str(folder))


@pytest.fixture(scope="module")
def here(model: HookedModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return tables(toy.run_on(model, toy.Config(), tmp_path_factory.mktemp("here")))


@pytest.fixture
def began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[tuple[str, str]]]:
    """The groups that workers began, as (process, cells); the first worker at `toy.FATAL` dies of it."""
    log = tmp_path / "log"
    monkeypatch.setenv("TOY_LOG", str(log))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(evaluating, "_run_together", toy.reported)
    return lambda: [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in log.read_text().splitlines()]


def tables(run: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (*run.glob("*.parquet"), *run.glob("*.jsonl"))}


ENGINES: dict[str, Any] = {
    "processes": lambda jobs: executor("processes", jobs=jobs),
    "ray": lambda jobs: executor("ray", jobs=jobs),
    "submitit, local": lambda jobs: Executor(OnSlurm(jobs, 0, cluster="local"), 2),
}
NEEDS = {"processes": "multiprocessing", "ray": "ray", "submitit, local": "submitit"}


@pytest.mark.filterwarnings("ignore")  # of Ray and submitit, about themselves
@pytest.mark.parametrize("name", ENGINES)
def test_a_worker_killed_in_the_middle_costs_no_cell_and_repeats_none(
    name: str, model: HookedModel, here: dict[str, bytes], tmp_path: Path, began: Callable[[], list[tuple[str, str]]]
) -> None:
    if importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    with ENGINES[name](tmp_path / "jobs") as elsewhere:
        run = toy.run_on(model, toy.Config(), tmp_path / "results", elsewhere=elsewhere)
    assert tables(run) == here
    times = Counter(cells for _, cells in began())
    (again,) = (cells for cells, count in times.items() if count > 1)
    assert toy.FATAL in again.split(" | ")
    assert times[again] == 2
    assert len(times) == -(-toy.N_CELLS // toy.IN_A_GROUP)
    assert str(os.getpid()) not in {process for process, _ in began()}


class Here:
    """An engine without processes: one job at a time, done when its answer is asked for; `kills` says which die."""

    def __init__(self, kills: str = "") -> None:
        self.kills, self.closed = kills, False

    def submit(self, job: bytes) -> bytes:
        return job

    def finished(self, handles: Collection[Any]) -> Collection[Any]:
        return list(handles)[:1]

    def answer(self, handle: bytes) -> bytes:
        if self.kills in pickle.loads(handle).work.names:
            raise WorkerDied("exit status -9")
        return do(handle)

    def close(self) -> None:
        self.closed = True


def _fails(model: HookedModel, conditions: Any, *rest: Any) -> Any:
    if conditions[0].name == "unsteered":
        raise FloatingPointError("the logits are not numbers")
    return together(model, conditions, *rest)


def test_a_group_that_no_worker_survives_or_that_fails_is_told_and_the_others_go_on(
    model: HookedModel, here: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, options = Here(kills="unsteered"), (model, toy.Config(), tmp_path)
    with pytest.raises(CellsFailed, match=f"{TRIES} workers died of it, the last one with exit status -9"):
        toy.run_on(*options, elsewhere=Executor(engine, 2))
    (begun,) = (tmp_path / "toy_experiment").iterdir()
    assert state_of(begun).done == toy.N_CELLS - toy.IN_A_GROUP
    monkeypatch.setattr(evaluating, "_run_together", _fails)
    with pytest.raises(CellsFailed, match="FloatingPointError: the logits are not numbers"):
        toy.run_on(*options, elsewhere=Executor(Here(), 2))
    assert not engine.closed  # nothing was left undone
    monkeypatch.setattr(evaluating, "_run_together", together)
    assert tables(toy.run_on(*options, elsewhere=Executor(Here(), 2))) == here


def test_a_worker_with_another_model_stops_the_run_and_the_other_workers(folder: Path, tmp_path: Path) -> None:
    model, engine = load_model(str(folder)), Here()
    save_tiny_model("llama", folder.parent / "other", seed=1)
    model.loaded_as = {**(model.loaded_as or {}), "name_or_path_or_model": str(folder.parent / "other")}
    with pytest.raises(RuntimeError, match=r"not that of the run: weights \w+ there, \w+ here$"):
        toy.run_on(model, toy.Config(), tmp_path, elsewhere=Executor(engine, 2))
    assert engine.closed


def test_a_model_from_memory_is_refused(tmp_path: Path) -> None:
    model = load_model(tiny_hf_model("llama"), tokenizer=tiny_tokenizer())
    with pytest.raises(ValueError, match="came from memory"):
        toy.run_on(model, toy.Config(), tmp_path, elsewhere=executor("processes", jobs=tmp_path))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"name": "processes", "workers": 0}, "workers is 0"),
        ({"name": "processes", "gpus_per_worker": 2}, "one GPU at most, not 2"),
        ({"name": "local"}, "for local, give none"),
    ],
)
def test_what_no_executor_can_do_is_refused(asked: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        executor(**asked, jobs=tmp_path)


@pytest.mark.parametrize(("ours", "gpu", "theirs"), [
    (None, None, None), (None, 1, "1"), ("4,7", 1, "7"), ("4,7", None, "4,7"), ("4,7", 2, ""),
])  # fmt: skip
def test_each_process_sees_one_of_our_gpus(
    ours: str | None, gpu: int | None, theirs: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if ours is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ours)
    with seeing(gpu):
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == theirs
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == ours


def test_the_command_runs_cells_in_processes(
    folder: Path, here: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = Path(toy.__file__).with_suffix(".toml")
    run_command(toml, set=(f"model={folder}",), results=tmp_path, executor="processes", workers=1)
    (run,) = (tmp_path / "toy_experiment").iterdir()
    assert tables(run) == here


def test_workers_of_this_process_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers: for --executor processes, ray or slurm, and this one is local"):
        run_command(Path(toy.__file__).with_suffix(".toml"), results=tmp_path, workers=4)


def test_an_experiment_that_takes_no_executor_says_so(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").touch()
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Config: pass\n"
        "def run(config, results): pass\ndef report(folder): pass\n"
    )
    with pytest.raises(ValueError, match="of this experiment takes no `elsewhere`, so it is local only"):
        run_command(tmp_path / "mine.toml", results=tmp_path, executor="processes")
