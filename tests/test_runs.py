"""A run on disk is whole or absent, and what a killed run had finished is there again."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest

from steering_lab.runs import ASKED, CELLS, FAILED, PARTIAL, UNDRAWN, RunFolder, data_files, read_run, state_of, undrawn
from steering_lab.safe_files import Damaged

CONFIG = {"model": "tiny", "layers": (1, 2), "coeff": 2.0}
ROWS = [{"prompt": "a", "text": "<b>é</b>\nb", "n_tokens": 3}]


Opener = Callable[..., RunFolder]


def open_run(results: Path, **changes: object) -> RunFolder:
    return RunFolder.open(results, "sweep", "org/tiny model", {**CONFIG, **changes})


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    """Runs in a folder of the test's own, closed when it ends."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(open_run(tmp_path, **changes))


def test_a_finished_run_is_whole_and_an_unfinished_one_says_so(opened: Opener) -> None:
    run = opened()
    assert run.path.name.endswith(PARTIAL)
    run.keep({"k": ROWS})
    run.write_table("table", pd.DataFrame(ROWS))
    path = run.finish()
    assert not path.name.endswith(PARTIAL)
    assert "tiny-model" in path.name
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert not (path / CELLS).exists()
    parts = read_run(path)
    assert parts["config"] == json.loads(json.dumps(CONFIG))
    assert parts["provenance"]["finished"] >= parts["provenance"]["started"]
    pd.testing.assert_frame_equal(parts["table"], pd.DataFrame(ROWS), check_dtype=False)


def test_the_unfinished_run_of_the_same_config_is_taken_up_again(opened: Opener) -> None:
    first = opened()
    first.keep({"k": ROWS})
    first.close()
    again = opened()
    assert again.path == first.path
    assert again.resumed
    assert again.kept == {"k": ROWS}


def test_another_config_starts_a_run_of_its_own(opened: Opener) -> None:
    first = opened()
    other = opened(coeff=3.0)
    assert other.path != first.path
    assert not other.resumed


def test_a_finished_run_is_never_written_into(opened: Opener) -> None:
    done = opened().finish()
    new = opened()
    assert new.finish() != done


def test_a_torn_last_line_costs_one_cell_only(opened: Opener) -> None:
    run = opened()
    run.keep({"k": ROWS})
    run.close()
    with (run.path / CELLS).open("a") as file:
        file.write('{"key": "torn", "rows": [{"prom')
    assert set(opened().kept) == {"k"}


def test_a_cell_kept_after_a_torn_line_is_not_lost(opened: Opener) -> None:
    run = opened()
    run.close()
    with (run.path / CELLS).open("a") as file:
        file.write('{"key": "torn", "rows"')
    again = opened()
    again.keep({"k": ROWS})
    again.close()
    assert opened().kept == {"k": ROWS}


def _keep_and_die(results: Path) -> None:
    run = open_run(results)
    run.keep({"k": ROWS})
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_kept_cell_survives_a_kill(opened: Opener, tmp_path: Path) -> None:
    victim = multiprocessing.get_context("spawn").Process(target=_keep_and_die, args=(tmp_path,))
    victim.start()
    victim.join()
    assert victim.exitcode == -signal.SIGKILL
    assert opened().kept == {"k": ROWS}


def test_two_processes_do_not_share_a_run(opened: Opener) -> None:
    open_run_of_mine = opened()
    with pytest.raises(RuntimeError, match="another process"):
        opened()
    open_run_of_mine.close()


def test_an_unfinished_run_is_not_read(opened: Opener) -> None:
    run = opened()
    with pytest.raises(FileNotFoundError, match="no finished run"):
        read_run(run.path)
    run.close()


@pytest.mark.parametrize("name", ["texts.jsonl", "texts"])
def test_a_table_is_read_as_it_was_written(opened: Opener, name: str) -> None:
    table = pd.DataFrame(
        {
            "text": ["12", "2024-01-01", "</script>\u2028\n"],
            "layer": [float("nan"), 0, 1],
            "coeff": [1 / 3, 1e-17, -0.1],
            "sample": [0, 1, 2],
        }
    )
    run = opened()
    run.write_table(name, table)
    pd.testing.assert_frame_equal(read_run(run.finish())["texts"], table, check_dtype=False, check_exact=True)


def test_what_is_not_a_number_is_null_in_json_lines(opened: Opener) -> None:
    run = opened()
    path = run.write_table("t.jsonl", pd.DataFrame({"x": [float("inf"), float("nan"), 1.0]}))
    assert path.read_text().splitlines() == ['{"x": null}', '{"x": null}', '{"x": 1.0}']


def test_every_json_file_of_a_run_is_read_and_named_among_its_data(opened: Opener) -> None:
    run = opened()
    run.write_json("model.json", {"name": "tiny"})
    run.write_table("table", pd.DataFrame(ROWS))
    (run.path / "index.html").write_text("made from the rest")
    path = run.finish()
    assert read_run(path)["model"] == {"name": "tiny"}
    assert data_files(path) == ["config.json", "model.json", "provenance.json", "table.parquet"]


def test_a_folder_that_is_no_run_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"it has no config\.json"):
        read_run(tmp_path)


def test_provenance_names_no_place_of_this_machine(opened: Opener, tmp_path: Path) -> None:
    run = opened()
    text = (run.path / "provenance.json").read_text()
    assert str(tmp_path) not in text
    assert str(Path.home()) not in text
    run.close()


NO_JSON = [b"", b'{"a', b"\xff\xfe\xff", b"[]", b"null"]


@pytest.mark.parametrize("config", NO_JSON)
@pytest.mark.parametrize("name", ["zz.partial", "yy"])
def test_a_damaged_folder_beside_is_said_and_passed_over(
    opened: Opener, capsys: pytest.CaptureFixture[str], config: bytes, name: str
) -> None:
    first = opened()
    first.close()
    beside = first.path.with_name(name)
    beside.mkdir()
    (beside / "config.json").write_bytes(config)
    (beside / UNDRAWN).touch()
    assert undrawn(first.path.parent.parent, "sweep", CONFIG) is None
    assert opened(coeff=3.0).path != first.path
    said = capsys.readouterr().err
    assert f"passed over {name}: {beside / 'config.json'}:1: " in said
    assert "restore it or delete the folder" in said


@pytest.mark.parametrize("line", [b'{"k": [{"te', b"[1]", b"3", b"\xff"])
@pytest.mark.parametrize("name", [CELLS, ASKED, FAILED])
def test_a_damaged_line_of_an_unfinished_run_is_named_with_what_to_do(opened: Opener, name: str, line: bytes) -> None:
    run = opened()
    run.keep({"k": ROWS})
    run.ask({"k": "a cell"})
    run.fail({"k": "a cell"}, "why")
    run.close()
    path = run.path / name
    path.write_bytes(path.read_bytes() + line + b"\n" + path.read_bytes())
    for reading in (opened, lambda: state_of(run.path)):
        with pytest.raises(Damaged, match=rf"{name}:2: .*: delete the line; what it kept is computed again$"):
            reading()
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert opened().path == run.path


@pytest.mark.parametrize("name", ["config", "provenance"])
@pytest.mark.parametrize("text", NO_JSON)
def test_a_damaged_file_of_a_run_is_named_with_what_to_do(opened: Opener, name: str, text: bytes) -> None:
    run = opened()
    run.close()
    (run.path / f"{name}.json").write_bytes(text)
    with pytest.raises(Damaged, match=rf"{name}\.json:1: .*: delete (it|the folder), and the"):
        state_of(run.path)
    done = opened(coeff=3.0).finish()
    (done / f"{name}.json").write_bytes(text)
    with pytest.raises(Damaged, match=rf"{name}\.json:1: .*: restore it from a copy, or run the experiment again$"):
        read_run(done)


def test_a_damaged_table_of_a_finished_run_is_named(opened: Opener) -> None:
    run = opened()
    run.write_table("table", pd.DataFrame(ROWS))
    run.write_table("generations.jsonl", pd.DataFrame(ROWS * 2))
    done = run.finish()
    for name, where in (
        ("table.parquet", "table.parquet cannot be read"),
        ("generations.jsonl", "generations.jsonl:1: "),
    ):
        whole = (done / name).read_bytes()
        (done / name).write_bytes(whole[:30])
        with pytest.raises(Damaged, match=rf"{where}.*: restore it from a copy, or run the experiment again"):
            read_run(done)
        (done / name).write_bytes(whole)
    assert len(read_run(done)["generations"]) == 2
