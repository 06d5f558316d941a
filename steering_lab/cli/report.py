"""`steering-lab report`: figures and pages of runs, drawn again from their tables."""

import sys
from pathlib import Path

import tyro


def report(runs: tyro.conf.Positional[tuple[Path, ...]], experiment: Path | None = None) -> None:
    """Draw the figures and pages of runs again from the tables in their folders; no model is loaded.

    Of a run that is not finished (.partial), print how far it is: cells done and failed, and who works on it. Exit
    status 1 says that some could not be reported, 2 that none could; an unfinished run is no failure.

    Example: steering-lab report results/*

    Example: steering-lab report results/my_question --experiment my_question.toml

    Args:
        runs: Folders of runs, or folders that hold some, one or two levels down.
        experiment: The TOML file of an experiment of your own, whose module draws the pages of its runs.
    """
    from steering_lab.runs import PARTIAL

    if not runs:
        raise ValueError("name the folder of a run, e.g. steering-lab report results/*")
    found = [run for path in runs for run in runs_in(path)]
    if not found:
        raise ValueError(f"{', '.join(map(str, runs))}: no folder of a run, e.g. steering-lab report results/*")
    done = [_state(run) if run.name.endswith(PARTIAL) else _drawn(run, experiment) for run in found]
    if not any(done):
        raise SystemExit(2)
    if not all(done):
        raise SystemExit(1)


def runs_in(path: Path, depth: int = 2) -> list[Path]:
    """The folders of runs at `path`: itself, or those below it, finished or not; files and hidden folders are none.

    A folder without any, or nothing at all at `path`, is returned as it is, to be refused by name.
    """
    from steering_lab.runs import PARTIAL

    if path.is_file():
        return []
    if path.name.endswith(PARTIAL) or (path / "config.json").is_file() or not path.is_dir():
        return [path]
    below = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    runs = [run for folder in below if depth for run in runs_in(folder, depth - 1)]
    return [run for run in runs if (run / "config.json").is_file()] or [path]


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
