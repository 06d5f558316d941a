"""A run on disk: whole or absent.

Work goes into `<folder>.partial`; `finish` renames it, so a folder without that ending is complete. Each finished group
of cells is a line of `cells.jsonl`, every cell under a hash of everything that determines it, flushed to the disk, so a
killed run resumes where it stopped and never mixes cells of different settings.
"""

import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from steering_lab.models import display
from steering_lab.models.provenance import git_commit, software

PARTIAL = ".partial"
CELLS = "cells.jsonl"


@dataclass(eq=False)
class RunFolder:
    """One run of an experiment: `results/<experiment>/<date>_<model>_<commit>/`. Make one with `RunFolder.open`."""

    path: Path
    config: Mapping[str, Any]
    kept: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _lock: IO[str] | None = field(default=None, repr=False)

    @classmethod
    def open(
        cls, results: str | Path, experiment: str, model: str, config: Mapping[str, Any], question: str = ""
    ) -> "RunFolder":
        """A new run, or the unfinished one of the same experiment and config, with the cells that it had finished.

        `question` is what the run asks, in a sentence, kept with its provenance.

        Raises:
            RuntimeError: another process is working on that run now.
        """
        home = Path(results) / experiment
        config = json.loads(json.dumps(config))
        for partial in sorted(home.glob(f"*{PARTIAL}")):
            if _read_json(partial / "config.json") == config:
                run = cls(partial, config)
                run._take()
                run.kept = _read_cells(partial / CELLS)
                return run
        run = cls(_fresh(home, model), config)
        run.path.mkdir(parents=True)
        run._take()
        run.write_json("config.json", config)
        asked = {"experiment": experiment, **({"question": question} if question else {})}
        run.write_json("provenance.json", {**asked, "started": _now(), **provenance()})
        return run

    @property
    def resumed(self) -> bool:
        """Whether cells of an interrupted run are here."""
        return bool(self.kept)

    def keep(self, cells: Mapping[str, list[dict[str, Any]]]) -> None:
        """Puts a group of finished cells on the disk before anything else happens: all of them or none."""
        with (self.path / CELLS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(cells, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.kept |= cells

    def write_json(self, name: str, value: Any) -> Path:
        """`value` as indented JSON."""
        path = self.path / name
        path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    def write_table(self, name: str, table: pd.DataFrame) -> Path:
        """`table` as `<name>.parquet`, or as JSON lines where `name` ends so; these keep every digit, NaN as null."""
        path = self.path / (name if name.endswith(".jsonl") else f"{name}.parquet")
        if path.suffix == ".jsonl":
            known = table.replace([np.inf, -np.inf], np.nan).astype(object)
            rows = known.where(known.notna(), None).to_dict("records")
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        else:
            table.to_parquet(path, index=False)
        return path

    def finish(self) -> Path:
        """Makes the run whole: what only resuming needed is removed, and the folder takes its final name."""
        started = _read_json(self.path / "provenance.json") or {}
        self.write_json("provenance.json", {**started, "finished": _now()})
        (self.path / CELLS).unlink(missing_ok=True)
        (self.path / ".lock").unlink(missing_ok=True)
        self.close()
        self.path = self.path.rename(self.path.with_name(self.path.name.removesuffix(PARTIAL)))
        return self.path

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

    def _take(self) -> None:
        self._lock = (self.path / ".lock").open("w")
        if sys.platform == "win32":
            return
        import fcntl

        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise RuntimeError(f"another process is working on {self.path}: wait, or change the config") from error


def provenance() -> dict[str, Any]:
    """Where and with what this process runs: software, commit, Python and machine; no names of people or places."""
    return {**software(), "python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}


class Run(dict[str, Any]):
    """The parts of a finished run by name, and the folder they were read from."""

    def __init__(self, path: Path, parts: Mapping[str, Any]) -> None:
        super().__init__(parts)
        self.path = path

    def _repr_html_(self) -> str:
        return _card(self.path)


def read_run(path: str | Path) -> Run:
    """The parts of a finished run by name: config, provenance, model, and every other JSON file and table in it.

    Raises:
        FileNotFoundError: there is no finished run at `path`.
    """
    path = finished(path)
    parts = {file.stem: _read_json(file) for file in sorted(path.glob("*.json"))}
    tables = {table.stem: pd.read_parquet(table) for table in sorted(path.glob("*.parquet"))}
    lines = {file.stem: _read_lines(file) for file in sorted(path.glob("*.jsonl"))}
    return Run(path, {**parts, **tables, **lines})


def finished(path: str | Path) -> Path:
    """`path`, where a finished run lies.

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
    """The names of a run's files of data, in the order of a directory listing; its figures and page are none."""
    kinds = (".json", ".jsonl", ".parquet", ".safetensors")
    return sorted(file.name for file in Path(path).iterdir() if file.suffix in kinds)


def _card(path: Path) -> str:
    """What a notebook shows of a run; links are relative to where the notebook's process works."""
    made = _read_json(path / "provenance.json") or {}
    model = (_read_json(path / "model.json") or {}).get("name") or (_read_json(path / "config.json") or {}).get("model")
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
    free = next(n for n in names if not (home / n).exists() and not (home / (n + PARTIAL)).exists())
    return home / (free + PARTIAL)


def _read_cells(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The cells of whole groups, one a line; a last line torn by a kill is cut off, so that the next starts its own."""
    if not path.is_file():
        return {}
    lines = path.read_bytes().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]
    if len(whole) < len(lines):
        os.truncate(path, sum(map(len, whole)))
    return {key: rows for group in map(json.loads, whole) for key, rows in group.items()}


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _read_lines(path: Path) -> pd.DataFrame:
    """The table that JSON lines hold, nothing guessed: text that looks like a number or a date stays text."""
    return pd.DataFrame([json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line])


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
