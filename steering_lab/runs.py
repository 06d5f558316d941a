"""A run on disk: whole or absent.

Work goes into `<folder>.partial`; `finish` renames it, so a folder without that ending is complete. Each finished group
of cells is a line of `cells.jsonl`, every cell under a hash of everything that determines it, flushed to the disk, so a
killed run resumes where it stopped and never mixes cells of different settings. Beside it lie, for resuming and for
`state_of` alone, which cells were asked for and which failed. Every other file is written whole or not at all.
"""

import io
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from traceback import extract_tb
from typing import IO, Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd

from steering_lab.models import display
from steering_lab.models.provenance import git_commit, software
from steering_lab.run_lock import LOCK, alone_in, holder, take
from steering_lab.safe_files import (
    NEW,
    Damaged,
    append_line,
    cut_torn_line,
    json_in,
    json_lines_in,
    make_folder,
    replace_file,
)
from steering_lab.tables import Table, WrongTable, checked, within_reach

PARTIAL = ".partial"
CELLS, ASKED, FAILED = "cells.jsonl", "asked.jsonl", "failed.jsonl"
UNDRAWN = ".undrawn"  # in a run whose tables are whole and whose page is not
WORKING = (CELLS, ASKED, FAILED, LOCK)  # what only resuming needs
DELETE_LINE = "delete the line; what it kept is computed again"
RESTORE = "restore it from a copy, or run the experiment again"

Report = Callable[[Path], Path]


@dataclass(eq=False)
class RunFolder:
    """One run of an experiment: `results/<experiment>/<date>_<model>_<commit>/`. Make one with `RunFolder.open`.

    Args:
        path: The folder while it is written.
        config: The settings of the run.
        kept: Rows of finished cells, by key.
        elsewhere: Does cells in other processes; None is this one.
    """

    path: Path
    config: Mapping[str, Any]
    kept: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    elsewhere: Callable[..., Any] | None = None
    _lock: IO[str] | None = field(default=None, repr=False)

    @classmethod
    def open(
        cls,
        results: str | Path,
        experiment: str,
        model: str,
        config: Mapping[str, Any],
        question: str = "",
        elsewhere: Callable[..., Any] | None = None,
        *,
        module: str = "",
    ) -> "RunFolder":
        """A new run, or the unfinished one of the same experiment and config, with the cells that it had finished.

        What a resumed run found is said on stderr.

        Args:
            results: The folder that holds the experiments' folders.
            experiment: The folder below it.
            model: The model's name, for the run's own folder.
            config: The settings; equal ones are the same run.
            question: What the run asks, in a sentence, kept with its provenance.
            elsewhere: What does its cells in other processes (`steering_lab.executors`).
            module: The experiment's module by which the run is reported, where it is not called as the folder is.

        Raises:
            Busy: another process is working on that run now; says which.
            NotADirectoryError: `results` is a file.
        """
        home = make_folder(Path(results) / experiment)
        config = json.loads(json.dumps(config))
        with alone_in(home):
            begun = unfinished(results, experiment, config)
            run = cls(begun or _fresh(home, model), config, elsewhere=elsewhere)
            run.path.mkdir(exist_ok=True)
            run._lock = take(run.path)
            try:
                if begun is not None:
                    run._go_on()
                else:
                    asked = {"experiment": experiment, "module": module, "question": question}
                    asked = {key: value for key, value in asked.items() if value}
                    run.write_json("provenance.json", {**asked, "started": _now(), **provenance()})
                    run.write_json("config.json", config)  # last: a folder without it was never begun
            except BaseException:
                run.close()
                raise
        return run

    @property
    def resumed(self) -> bool:
        """Whether cells of an interrupted run are here."""
        return bool(self.kept)

    @property
    def keeping(self) -> dict[str, Any]:
        """The options of `run_conditions` by which cells are kept and found here, and failed ones written down."""
        keeping = {"kept": self.kept, "keep": self.keep, "ask": self.ask, "fail": self.fail}
        return {**keeping, "elsewhere": self.elsewhere}

    def keep(self, cells: Mapping[str, list[dict[str, Any]]]) -> None:
        """Puts a group of finished cells on the disk before anything else happens: all of them or none.

        Raises:
            OSError: they cannot be written, as on a full disk; what was kept before stays, the error names the file.
        """
        append_line(self.path / CELLS, json.dumps(cells, ensure_ascii=False))
        self.kept |= cells

    def ask(self, cells: Mapping[str, str]) -> None:
        """Writes down which cells are about to be computed, by key the name, for `state_of`."""
        append_line(self.path / ASKED, json.dumps(cells, ensure_ascii=False))

    def fail(self, cells: Mapping[str, str], error: str) -> None:
        """Writes down that these cells, by key the name, failed with `error`; the next call tries them again."""
        failed = {"cells": cells, "error": error, "when": _now()}
        append_line(self.path / FAILED, json.dumps(failed, ensure_ascii=False))

    def write_json(self, name: str, value: Any) -> Path:
        """`value` as indented JSON, in the file `name`."""
        return replace_file(self.path / name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def write_table(self, name: str, table: pd.DataFrame) -> Path:
        """`table` as `<name>.parquet`, or as JSON lines where `name` ends so; these keep every digit, NaN as null."""
        path = self.path / (name if name.endswith(".jsonl") else f"{name}.parquet")
        if path.suffix == ".jsonl":
            known = table.replace([np.inf, -np.inf], np.nan).astype(object)
            rows = known.where(known.notna(), None).to_dict("records")
            return replace_file(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        whole = io.BytesIO()
        table.to_parquet(whole, index=False)
        return replace_file(path, whole.getvalue())

    def finish(self, report: Report | None = None, *, working: str = "") -> Path:
        """Makes the run whole: the folder takes its final name, and what only resuming needed is removed.

        `report` draws the page of the folder, which by then lacks nothing else: whatever becomes of it, the tables stay
        and the same command draws again (`undrawn`) instead of computing again. `working` is a folder in it that only
        resuming needed.

        Raises:
            RuntimeError: `report` failed; says where the tables are.
        """
        begun = provenance_in(self.path) or {}
        self.write_json("provenance.json", {**begun, "finished": _now()})
        if report is not None:
            replace_file(self.path / UNDRAWN, "")
        # Renamed first: a run without its cells, and still under its old name, would be computed again.
        self.path = self.path.rename(self.path.with_name(self.path.name.removesuffix(PARTIAL)))
        for left in (*(self.path / name for name in WORKING), *self.path.glob(f".*{NEW}")):
            left.unlink(missing_ok=True)
        if working:
            shutil.rmtree(self.path / working, ignore_errors=True)
        self.close()
        if report is not None:
            draw(self.path, report)
        return self.path

    def _go_on(self) -> None:
        print(f"going on with {self.path}: {state_of(self.path).cells}", file=sys.stderr)
        for name in (CELLS, ASKED, FAILED):
            cut_torn_line(self.path / name)
        self.kept = _read_cells(self.path / CELLS)

    def close(self) -> None:
        """Lets another process take up the run; what is on the disk stays."""
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repr_html_(self) -> str:
        return _card(self.path)


class State(NamedTuple):
    """How far an unfinished run is. `asked`, `done`: cells by key, `failed`: their errors by name.

    Args:
        asked: Names of the cells by key.
        done: How many of them are finished.
        failed: Errors by the cell's name.
        started: When the run began.
        holder: Who works on it now; None is nobody.
    """

    asked: dict[str, str]
    done: int
    failed: dict[str, str]
    started: str
    holder: str | None

    @property
    def cells(self) -> str:
        """In a few words. Parts of an experiment that follow from a choice are asked for only when that is made."""
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"{self.done} of the {len(self.asked)} cells that it has asked for are done{failed}"


def state_of(path: str | Path) -> State:
    """How far the unfinished run in `path` is, read from its files while another process may be writing them.

    Raises:
        FileNotFoundError: there is no such run, or it has not begun.
        Damaged: one of its files is not as it was written; says which, and what to do.
    """
    path = Path(path)
    if _config(path, "delete the folder, and the same command begins anew") is None:
        raise FileNotFoundError(f"no unfinished run at {path}: it has no config.json")
    asked = {
        key: name for cells in json_lines_in(path / ASKED, mend=DELETE_LINE, torn=True) for key, name in cells.items()
    }
    done = _read_cells(path / CELLS)
    tried = json_lines_in(path / FAILED, mend=DELETE_LINE, torn=True)
    failed = {name: try_["error"] for try_ in tried for key, name in try_["cells"].items() if key not in done}
    started = (provenance_in(path) or {}).get("started", "at an unknown time")
    return State(asked, len(done.keys() & asked.keys()) if asked else len(done), failed, started, holder(path))


def unfinished(results: str | Path, experiment: str, config: Mapping[str, Any]) -> Path | None:
    """The folder of the run of this experiment and config that was begun and not finished, or None.

    Args:
        results: The folder that holds the experiments' folders.
        experiment: The name of its folder there.
        config: What the run's config.json must say.
    """
    return _of_config(sorted((Path(results) / experiment).glob(f"*{PARTIAL}")), config)


def undrawn(results: str | Path, experiment: str, config: Mapping[str, Any]) -> Path | None:
    """The folder of the run of this experiment and config whose tables are whole and whose page is not, or None.

    Args:
        results: The folder that holds the experiments' folders.
        experiment: The name of its folder there.
        config: What the run's config.json must say.
    """
    marked = [marker.parent for marker in sorted((Path(results) / experiment).glob(f"*/{UNDRAWN}"))]
    return _of_config([folder for folder in marked if not folder.name.endswith(PARTIAL)], config)


def draw(path: Path, report: Report) -> Path:
    """The page that `report` makes of the files of the finished run `path`; from then on the run counts as drawn.

    Raises:
        WrongTable: its tables are of an older version, or lack a column that the page needs.
        Damaged: a table or a JSON file is missing or cannot be read.
        RuntimeError: it could not be drawn; the tables are as they were.
    """
    try:
        page = report(path)
    except (WrongTable, Damaged):
        raise  # no second try helps
    except NoPart as error:
        raise Damaged(
            f"{path} holds no table and no JSON file {error.args[0]!r}{_at(error)}: {RESTORE}; there are"
            f" {', '.join(data_files(path))}"
        ) from error
    except Exception as error:
        if isinstance(error, KeyError) and "pandas" in Path(extract_tb(error.__traceback__)[-1].filename).parts:
            raise WrongTable(
                f"{path}: a table has no column {error.args[0]!r}{_at(error)}: if an older version of steering_lab"
                " wrote it, run the experiment again"
            ) from error
        raise RuntimeError(
            f"the tables in {path} are whole, but its page could not be drawn"
            f" ({type(error).__name__}: {error}{_at(error)}); the same command, or steering-lab report, draws it again"
        ) from error
    with suppress(FileNotFoundError):
        (path / UNDRAWN).unlink()
    return page


def _at(error: Exception) -> str:
    """Where in the file of a `report` that was called it failed, the only one that its author can change."""
    own = extract_tb(error.__traceback__)[1:]  # the first frame is the caller's
    within = [frame for frame in own if frame.filename == own[0].filename]
    return f", {Path(within[-1].filename).name} line {within[-1].lineno}" if within else ""


def _of_config(folders: list[Path], config: Mapping[str, Any]) -> Path | None:
    wanted = json.loads(json.dumps(config))
    for folder in folders:
        try:
            if _config(folder, "restore it or delete the folder") == wanted:
                return folder
        except (Damaged, OSError) as error:
            _say_once(f"passed over {folder.name}: {error}")
    return None


def _config(path: Path, mend: str) -> Any:
    return json_in(path / "config.json", dict, mend=mend)


@cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr)


def provenance() -> dict[str, Any]:
    """Where and with what this process runs: software, commit, Python and machine; no names of people or places."""
    return {**software(), "python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}


class NoPart(KeyError):
    """A run has no part of this name."""


class Run(dict[str, Any]):
    """The `parts` of a finished run by name, and the `path` of the folder they were read from."""

    def __init__(self, path: Path, parts: Mapping[str, Any]) -> None:
        super().__init__(parts)
        self.path = path

    def __missing__(self, name: str) -> Any:
        raise NoPart(name)

    def _repr_html_(self) -> str:
        return _card(self.path)


def read_run(path: str | Path, kinds: Mapping[str, Table] | None = None) -> Run:
    """The parts of a finished run by name: config, provenance, model, and every other JSON file and table in it.

    Tables that older versions wrote are cut where a measure ends (`tables.within_reach`), as they are written today.
    `kinds` says which tables are tidy tables of a kind (`tables.TIDY` for the usual names): those are checked.

    Raises:
        FileNotFoundError: there is no finished run at `path`.
        WrongTable: a table is not of its kind, as one that an older version wrote.
        Damaged: a file cannot be read; says which.
    """
    path = finished(path)
    parts = {file.stem: json_in(file, mend=RESTORE) for file in sorted(path.glob("*.json"))}
    parts |= {"config": _config(path, RESTORE), "provenance": provenance_in(path)}
    tables = {table.stem: within_reach(_read_parquet(table)) for table in sorted(path.glob("*.parquet"))}
    lines = {file.stem: _read_lines(file) for file in sorted(path.glob("*.jsonl")) if file.name not in WORKING}
    for found in (tables, lines):
        for name in found.keys() & (kinds or {}).keys():
            try:
                found[name] = checked(found[name], (kinds or {})[name])
            except WrongTable as error:
                raise WrongTable(f"{path}, {name}: {error}") from error
    return Run(path, {**parts, **tables, **lines})


def finished(path: str | Path) -> Path:
    """`path`, which holds a finished run.

    Raises:
        FileNotFoundError: nothing is there, it is no run, or one that was never finished.
    """
    path = Path(path)
    if path.name.endswith(PARTIAL):
        raise FileNotFoundError(f"no finished run at {path}: the command that began it goes on where it stopped")
    if not path.is_dir():
        raise FileNotFoundError(f"no finished run at {path}: there is no such folder")
    if lacking := [name for name in ("config.json", "provenance.json") if not (path / name).is_file()]:
        raise FileNotFoundError(f"no finished run at {path}: it has no {lacking[0]}")
    return path


def data_files(path: str | Path) -> list[str]:
    """The names of the files of data in `path`, in the order of a directory listing; its figures and page are none."""
    kinds = (".json", ".jsonl", ".parquet", ".safetensors")
    return sorted(f.name for f in Path(path).iterdir() if f.suffix in kinds and f.name not in WORKING)


def _card(path: Path) -> str:
    """What a notebook shows of a run; links are relative to where the notebook's process works."""
    made = provenance_in(path) or {}
    model = (json_in(path / "model.json", dict, mend=RESTORE) or {}).get("name")
    model = model or (_config(path, RESTORE) or {}).get("model")
    shown = {"question": made.get("question"), "model": model, "started": made.get("started")}
    shown |= {"finished": made.get("finished", "no"), "commit": made.get("commit"), "folder": path.name}
    files = {"page": [path / "index.html"], "figures": sorted((path / "figures").glob("*.png")), "data": _data(path)}
    for kind, found in files.items():
        there = {file.stem if kind == "figures" else file.name: _href(file) for file in found if file.is_file()}
        shown[kind] = display.links(there) if there else None
    return display.card(f"Run of {made.get('experiment', path.parent.name)}", display.facts(shown))


def _data(path: Path) -> list[Path]:
    return [path / name for name in data_files(path)] if path.is_dir() else []


def _href(file: Path) -> str:
    return quote(Path(os.path.relpath(file)).as_posix())


def _fresh(home: Path, model: str) -> Path:
    safe = re.sub(r"[^A-Za-z0-9.-]+", "-", model).strip("-")
    commit = (git_commit() or "nocommit").replace("+", "-")
    name = f"{datetime.now(UTC):%Y-%m-%d}_{safe}_{commit}"
    names = (name, *(f"{name}-{i}" for i in range(2, 1000)))
    free = next(n for n in names if not (home / n).exists() and not _begun(home / (n + PARTIAL)))
    return home / (free + PARTIAL)


def _begun(partial: Path) -> bool:
    """Whether a run is there; a folder without a config is what a kill or a full disk left of one that never began."""
    return (partial / "config.json").is_file() or (partial.exists() and holder(partial) is not None)


def _read_cells(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The cells of whole groups, one a line."""
    return {key: rows for group in json_lines_in(path, mend=DELETE_LINE, torn=True) for key, rows in group.items()}


def provenance_in(path: Path) -> Any:
    """What the provenance.json of the run `path` says; None where there is none.

    Raises:
        Damaged: it is no JSON object.
    """
    mend = "delete it, and the run goes on" if path.name.endswith(PARTIAL) else RESTORE
    return json_in(path / "provenance.json", dict, mend=mend)


def _read_lines(path: Path) -> pd.DataFrame:
    """The table that JSON lines hold, nothing guessed: text that looks like a number or a date stays text."""
    return pd.DataFrame(json_lines_in(path, mend=RESTORE))


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (ValueError, OSError) as error:  # pyarrow's errors are either
        raise Damaged(f"{path} cannot be read ({' '.join(str(error).split())[:200]}): {RESTORE}") from error


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
