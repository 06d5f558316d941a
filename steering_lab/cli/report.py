"""`steering-lab report`: figures and pages of runs, drawn again from their tables."""

from pathlib import Path

import tyro


def report(runs: tyro.conf.Positional[tuple[Path, ...]]) -> None:
    """Draw a run's figures and page again from the tables in its folder; no model is loaded.

    Of a run that is not finished (.partial), print how far it is: cells done and failed, and who works on it.

    Example: steering-lab report results/actadd_sweep/*

    Args:
        runs: One or more folders of runs.
    """
    from steering_lab.runs import PARTIAL, draw
    from steering_lab.study.finding import experiment_of

    if not runs:
        raise ValueError("name the folder of a run, e.g. steering-lab report results/actadd_sweep/*")
    whole = [run for run in runs if not run.name.endswith(PARTIAL)]
    for begun in (run for run in runs if run.name.endswith(PARTIAL)):
        _print_state(begun)
    for module, run in [(experiment_of(run), run) for run in whole]:
        print(f"\n{draw(run, module.report).resolve().as_uri()}")


def _print_state(begun: Path) -> None:
    """How far an unfinished run is, a few lines."""
    from steering_lab.runs import state_of

    state = state_of(begun)
    working = f"{state.holder} works on it" if state.holder else "nobody works on it: the same command goes on"
    print(f"{begun}\n  {state.cells}\n  started {state.started}; {working}")
    for name, error in state.failed.items():
        print(f"  failed: {name}: {error}")
