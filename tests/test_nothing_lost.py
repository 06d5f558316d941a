"""Whatever stops a sweep, the same command goes on, and its tables are those of a run that nothing stopped."""

import errno
import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from steering_lab import safe_files
from steering_lab.cli.report import report as report_command
from steering_lab.cli.run import run as run_command
from steering_lab.evaluation.running import evaluate as evaluating
from steering_lab.evaluation.running.groups import CellsFailed
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.run_lock import Busy, holder, take
from steering_lab.runs import CELLS, PARTIAL, UNDRAWN, RunFolder, state_of, undrawn, unfinished
from steering_lab.safe_files import append_line, replace_file
from tests import toy_experiment as toy
from tests.tiny_models import save_tiny_model

ROOT = Path(__file__).parents[1]
TOML = Path(toy.__file__).with_suffix(".toml")
CONFIG = toy.Config()
Tables = dict[str, str]
together = evaluating._run_together


def tables(run: Path) -> Tables:
    """The hash of every table of a run, by its name."""
    files = [*run.glob("*.parquet"), *run.glob("*.jsonl"), run / "config.json", run / "model.json"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> HookedModel:
    return load_model(str(save_tiny_model("llama", tmp_path_factory.mktemp("model") / "tiny")))


@pytest.fixture(scope="module")
def undisturbed(model: HookedModel, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return tables(toy.run_on(model, CONFIG, tmp_path_factory.mktemp("undisturbed")))


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, BaseException], None]:
    """Lets the n-th write from now on, and all after it, reach the disk by half and then raise."""
    write = safe_files._write

    def stop(at: int, error: BaseException) -> None:
        writes = 0

        def torn(file: BinaryIO, data: bytes) -> None:
            nonlocal writes
            writes += 1
            if writes < at:
                return write(file, data)
            file.write(data[: len(data) // 2])
            file.flush()
            raise error

        monkeypatch.setattr(safe_files, "_write", torn)

    return stop


def _stopped_by(call: Callable[[], object]) -> BaseException | None:
    try:
        call()
    except (Exception, KeyboardInterrupt) as stop:
        return stop
    return None


def is_whole(results: Path, undisturbed: Tables) -> None:
    """One folder, complete, with nothing left over, and the tables of a run that nothing stopped."""
    (run,) = (results / "toy_experiment").iterdir()
    assert tables(run) == undisturbed
    assert {p.name for p in run.iterdir()} == {*undisturbed, "provenance.json", "index.html"}


# --- stopped in the middle of a write ---------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()], ids=repr)
def test_whichever_write_is_stopped_the_next_call_goes_on(
    model: HookedModel, tmp_path: Path, undisturbed: Tables, monkeypatch: pytest.MonkeyPatch,
    stopped: Callable[[int, BaseException], None], error: BaseException,
) -> None:  # fmt: skip
    """Every call gets one write further than the one before it; none computes a group again that was kept."""
    computed: list[str] = []

    def noting(lm: HookedModel, conditions: Any, *rest: Any) -> Any:
        computed.extend(condition.name for condition in conditions)
        return together(lm, conditions, *rest)

    monkeypatch.setattr(evaluating, "_run_together", noting)
    for allowed in range(1, 100):
        stopped(allowed, error)
        if (stop := _stopped_by(lambda: toy.run_on(model, CONFIG, tmp_path))) is None:
            break
        assert type(stop) is type(error)
        assert not isinstance(stop, OSError) or str(tmp_path) in str(stop)  # the error names the file
        for begun in tmp_path.glob(f"*/*{PARTIAL}/{CELLS}"):
            assert not begun.read_bytes() or begun.read_bytes().endswith(b"\n")
    assert 5 < allowed < 99
    is_whole(tmp_path, undisturbed)
    again = len(computed) - toy.N_CELLS
    assert again <= toy.IN_A_GROUP * (allowed - 1)


def test_a_group_that_cannot_be_kept_leaves_no_half_line_behind(
    tmp_path: Path, stopped: Callable[[int, BaseException], None]
) -> None:
    path = tmp_path / "lines"
    append_line(path, "first")
    stopped(1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        append_line(path, "second, which is long")
    with pytest.raises(KeyboardInterrupt):
        replace_file(path, "another")
    assert path.read_text() == "first\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_disk_that_is_full_is_told_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "cells.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "cells.jsonl"))) as full:
        append_line(tmp_path / "cells.jsonl", "{}")
    assert full.value.errno == errno.ENOSPC


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_nothing_is_lost_when_a_sweep_is_killed_again_and_again() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/kills.py", "--kills", "3"], cwd=ROOT, capture_output=True, text=True, timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "groups of cells lost: 0; runs whose tables differ from the undisturbed run's: 0" in done.stdout


# --- cells that fail --------------------------------------------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Exception], None]:
    def fail(name: str, error: Exception) -> None:
        def or_fail(lm: HookedModel, conditions: Any, *rest: Any) -> Any:
            if any(condition.name == name for condition in conditions):
                raise error
            return together(lm, conditions, *rest)

        monkeypatch.setattr(evaluating, "_run_together", or_fail)

    return fail


def test_a_failing_cell_is_recorded_and_the_others_go_on(
    model: HookedModel, tmp_path: Path, undisturbed: Tables, failing: Callable[[str, Exception], None]
) -> None:
    failing("prompting I", RuntimeError("the logits are not numbers"))
    with pytest.raises(CellsFailed, match=f"2 of {toy.N_CELLS} cells failed") as failed:
        toy.run_on(model, CONFIG, tmp_path)
    assert failed.value.errors["prompting I"] == "RuntimeError: the logits are not numbers"
    (begun,) = (tmp_path / "toy_experiment").iterdir()
    state = state_of(begun)
    assert (len(state.asked), state.done, state.failed) == (toy.N_CELLS, toy.N_CELLS - 2, failed.value.errors)

    failing("nobody", RuntimeError())
    toy.run_on(model, CONFIG, tmp_path)
    is_whole(tmp_path, undisturbed)


@pytest.mark.parametrize(
    ("name", "error"),
    [("unsteered", ValueError("layer 99 is outside 0..2")), ("prompting I", MemoryError()),
     ("prompting I", KeyboardInterrupt())],
)  # fmt: skip
def test_what_every_cell_would_meet_stops_at_once(
    model: HookedModel, tmp_path: Path, failing: Callable[[str, Any], None], name: str, error: BaseException
) -> None:
    failing(name, error)
    with pytest.raises(type(error)):
        toy.run_on(model, CONFIG, tmp_path)
    (begun,) = (tmp_path / "toy_experiment").iterdir()
    assert state_of(begun).failed == {}


def test_the_command_says_which_cells_failed_and_ends_in_1(
    model: HookedModel, tmp_path: Path, undisturbed: Tables, capsys: pytest.CaptureFixture[str],
    failing: Callable[[str, Exception], None],
) -> None:  # fmt: skip
    folder = save_tiny_model("llama", tmp_path / "tiny")
    failing("prompting I", RuntimeError("the logits are not numbers"))
    with pytest.raises(SystemExit) as stop:
        run_command(TOML, set=(f"model={folder}",), results=tmp_path / "results")
    assert stop.value.code == 1
    printed = capsys.readouterr().err
    assert "2 of 9 cells failed; the same command tries them again" in printed
    assert "prompting I: RuntimeError: the logits are not numbers" in printed

    (begun,) = (tmp_path / "results" / "toy_experiment").iterdir()
    report_command((begun,))
    printed = capsys.readouterr().out
    assert "7 of the 9 cells that it has asked for are done, 2 failed" in printed
    assert "nobody works on it" in printed
    assert "failed: prompting I: RuntimeError" in printed

    failing("nobody", RuntimeError())
    run_command(TOML, set=(f"model={folder}",), results=tmp_path / "results")
    said = capsys.readouterr()
    assert f"going on with {begun}: 7 of the 9 cells" in said.err
    assert "index.html" in said.out


# --- two processes ----------------------------------------------------------------------------------------------------


def _hold(results: Path, ready: Any, go_on: Any) -> None:
    with RunFolder.open(results, "toy_experiment", "tiny", {"model": ""}) as run:
        ready.set()
        go_on.wait(300)
        run.finish()


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """Another process that works on the run; an event lets it finish."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    ready, go_on = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, ready, go_on))
    other.start()
    assert ready.wait(120)
    yield other, go_on
    go_on.set()
    other.join()


@pytest.mark.skipif(sys.platform == "win32", reason="no lock there")
def test_the_second_process_says_who_holds_the_run_or_waits_for_it(
    tmp_path: Path, held: tuple[Any, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other, go_on = held
    with pytest.raises(Busy, match=rf"process {other.pid} on .+, since 20\d\d-.*Z"):
        run_command(TOML, results=tmp_path)
    with pytest.raises(Busy, match=f"process {other.pid} on "):
        RunFolder.open(tmp_path, "toy_experiment", "tiny", {"model": ""})
    begun = unfinished(tmp_path, "toy_experiment", {"model": ""})
    assert begun is not None
    report_command((begun,))
    assert f"process {other.pid} on " in capsys.readouterr().out

    threading.Timer(0.5, go_on.set).start()
    run_command(TOML, results=tmp_path, wait=True)  # no model is loaded: the config names none
    said = capsys.readouterr()
    assert f"waiting for process {other.pid} on " in said.err
    assert str(begun).removesuffix(PARTIAL) in said.out
    assert [run.name + PARTIAL for run in begun.parent.iterdir()] == [begun.name]


@pytest.mark.skipif(sys.platform == "win32", reason="no lock there")
def test_who_looks_whether_a_run_is_held_keeps_nobody_from_taking_it(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    lock = take(tmp_path)
    assert f"process {os.getpid()} on " in str(holder(tmp_path))
    lock.close()
    assert holder(tmp_path) is None


# --- the end ----------------------------------------------------------------------------------------------------------


def test_a_figure_that_cannot_be_drawn_loses_no_table(
    model: HookedModel, tmp_path: Path, undisturbed: Tables, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fails(folder: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "figures" / "curves.html"))

    with pytest.raises(RuntimeError, match=r"are whole, but its page could not be drawn .*curves\.html"):
        toy.run_on(model, CONFIG, tmp_path, report=fails)
    (run,) = (tmp_path / "toy_experiment").iterdir()
    assert tables(run) == undisturbed
    assert undrawn(tmp_path, "toy_experiment", {"model": ""}) == run

    run_command(TOML, results=tmp_path)  # no model is loaded: the config names none
    assert "only its page is drawn" in capsys.readouterr().err
    is_whole(tmp_path, undisturbed)


def test_a_kill_between_the_name_and_the_tidying_costs_nothing(model: HookedModel, tmp_path: Path) -> None:
    """What only resuming needed may be left over in a whole run: it is none of its parts."""
    run = toy.run_on(model, CONFIG, tmp_path)
    parts = RunFolder(run, {}).path
    (parts / CELLS).write_text('{"k": []}\n')
    (parts / UNDRAWN).write_text("")
    run_command(TOML, results=tmp_path)
    from steering_lab.runs import data_files, read_run

    assert "cells" not in read_run(run)
    assert CELLS not in data_files(run)


def test_a_folder_that_a_kill_left_before_it_began_is_used(tmp_path: Path) -> None:
    first = RunFolder.open(tmp_path, "toy", "tiny", {})
    first.close()
    (first.path / "config.json").unlink()
    again = RunFolder.open(tmp_path, "toy", "tiny", {})
    assert again.path == first.path
    again.close()
