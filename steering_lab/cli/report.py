"""`steering-lab report`: figures and pages of runs, drawn again from their tables."""

import os
import sys
from pathlib import Path

import tyro

OF_A_RUN = ("config.json", "provenance.json")  # what every run's folder holds, from its beginning


def report(runs: tyro.conf.Positional[tuple[Path, ...]], experiment: Path | None = None) -> None:
    """Draw the figures and pages of runs again from the tables in their folders; no model is loaded.

    Of a run that is not finished (.partial), print how far it is: cells done and failed, and who works on it. Exit
    status 1 says that some could not be reported, 2 that none could; an unfinished run is no failure.

    Example: steering-lab report results/*

    Example: steering-lab report results/my_question --experiment my_question.toml

    Args:
        runs: Folders of runs, or folders that hold some, however deep.
        experiment: The TOML file of an experiment of your own, whose module draws the pages of its runs.
    """

    if not runs:
        raise ValueError("name the folder of a run, e.g. steering-lab report results/*")
    folders = [path for path in runs if not path.is_file()]
    if not folders:
        raise ValueError(f"{', '.join(map(str, runs))}: no folder of a run, e.g. steering-lab report results/*")
    done = [said for path in folders for said in _reported(path, experiment)]
    if not any(done):
        raise SystemExit(2)
    if not all(done):
        raise SystemExit(1)


def _reported(path: Path, experiment: Path | None) -> list[bool]:
    """Reports every run at `path` or below it; one value each: whether that could be done."""
    from steering_lab.runs import PARTIAL

    if not path.is_dir():
        print(f"steering-lab: no run at {path}: there is no such folder", file=sys.stderr)
        return [False]
    runs = [path] if path.name.endswith(PARTIAL) else runs_in(path)
    if not runs:
        wanted = " and ".join(OF_A_RUN)
        print(f"steering-lab: no run in {path}, nor in a folder below: a run's folder holds {wanted}", file=sys.stderr)
        return [False]
    return [_state(run) if run.name.endswith(PARTIAL) else _drawn(run, experiment) for run in runs]


def runs_in(path: Path) -> list[Path]:
    """The folders of runs at `path`: itself, or those below it at any depth, finished or not; hidden ones are none."""
    found, seen = [], set()
    for folder, below, files in os.walk(path, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:  # by a link
            below.clear()
            continue
        seen.add(real)
        if set(OF_A_RUN) <= set(files):
            found.append(Path(folder))
            below.clear()  # a run holds no others
        below[:] = sorted(name for name in below if not name.startswith("."))
    return found


def _drawn(run: Path, experiment: Path | None) -> bool:
    """Draws the page of a finished run and prints where it is; says so where that cannot be done."""
    from steering_lab.runs import draw
    from steering_lab.study.finding import experiment_of

    try:
        print(f"\n{draw(run, experiment_of(run, experiment).report).resolve().as_uri()}")
    except (ValueError, OSError, RuntimeError) as error:
        print(f"steering-lab: {error}", file=sys.stderr)
        return False
    return True


def _state(begun: Path) -> bool:
    """Prints how far an unfinished run is, a few lines; says so where there is none."""
    from steering_lab.runs import state_of

    try:
        state = state_of(begun)
    except (ValueError, OSError) as error:
        print(f"steering-lab: {error}", file=sys.stderr)
        return False
    working = f"{state.holder} works on it" if state.holder else "nobody works on it: the same command goes on"
    print(f"{begun}: not finished\n  {state.cells}\n  started {state.started}; {working}")
    for name, reason in state.failed.items():
        print(f"  failed: {name}: {reason}")
    return True
