"""`steering-lab run`: an experiment from its TOML file, begun or gone on with."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from steering_lab.safe_files import check_folder

if TYPE_CHECKING:
    from steering_lab.runs import Report

Where = Literal["local", "processes", "ray", "slurm"]  # executors.ExecutorName, without importing it
Several = Annotated[
    tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]],
    tyro.conf.arg(name="set", metavar="KEY=VALUE", aliases=["-s"]),
]


def _in_a_row(set: Several = ()) -> tuple[str, ...]:
    """The settings of every `--set`: given twice, the second one does not drop those of the first.

    Args:
        set: Settings that replace those of the file; values are TOML, plain words may go without quotes.
    """
    return tuple(one for given in set for one in given)


Setting = Annotated[tuple[str, ...], tyro.conf.arg(name="", constructor=_in_a_row, prefix_name=False)]


def run(
    experiment: tyro.conf.Positional[Path],
    set: Setting = (),
    results: Path = Path("results"),
    wait: bool = False,
    executor: Where | None = None,
    workers: int | None = None,
    gpus_per_worker: int | None = None,
) -> None:
    """Run an experiment from its TOML file, or go on with one that was interrupted.

    Exit status 1 says that some cells failed: all others are kept, and the same command tries the failed ones again.

    Example: steering-lab run experiments/actadd_sweep.toml --set model=gpt2 "layers=[4, 6, 8]" "positive=' weddings'"

    Args:
        experiment: A TOML file; its key `experiment` names the module, or that is beside it under the same name.
        set: Settings that replace those of the file; values are TOML, plain words may go without quotes.
        results: The folder in which results/<experiment>/<date>_<model>_<commit>/ is made.
        wait: If another process works on this run, wait until it ends instead of saying so and stopping.
        executor: Where groups of cells run: in this process (local), in processes of this machine, on Ray (RAY_ADDRESS,
            or this machine), or as SLURM jobs (SBATCH_PARTITION and the like say which). Tables are the same. Left out,
            where the file says, or in this process.
        workers: How many groups run at a time elsewhere than in this process; 2 if not said.
        gpus_per_worker: GPUs of each of them; none if not said.
    """
    from dataclasses import asdict

    from steering_lab.study.finding import read_study

    check_folder(results)
    study = read_study(experiment, set, executor=executor, workers=workers, gpus_per_worker=gpus_per_worker)
    folder = _already(study.name, asdict(study.config), results, wait, study.experiment.report)
    if folder is None:
        where = study.placement
        folder = _run(study.experiment, study.config, results, where.executor, where.options)
    _say_where(folder)


def _already(
    experiment: str, config: dict[str, Any], results: Path, wait: bool, report: "Report | None"
) -> Path | None:
    """The folder of a run that needs no model any more: another process has just finished it, or only the page lacks.

    Raises:
        Busy: another process works on it and nobody wants to wait.
    """
    from steering_lab.run_lock import Busy, holder, wait_until_free
    from steering_lab.runs import PARTIAL, UNDRAWN, draw, undrawn, unfinished

    begun = unfinished(results, experiment, config)
    if begun is not None:
        if (held := holder(begun)) is not None:
            if not wait:
                raise Busy(f"{begun} is being worked on by {held}: wait for it with --wait, or change a setting")
            print(f"waiting for {held}, which works on {begun}", file=sys.stderr)
            wait_until_free(begun)
        done = begun.with_name(begun.name.removesuffix(PARTIAL))
        if done.is_dir() and not (done / UNDRAWN).exists():
            return done
    lacking = undrawn(results, experiment, config)
    if lacking is not None and report is not None:
        print(f"the tables in {lacking} are whole, only its page is drawn", file=sys.stderr)
        draw(lacking, report)
        return lacking
    return None


def _run(module: Any, config: Any, results: Path, where: Where, options: dict[str, int]) -> Path:
    """The finished run; where cells failed, what failed on stderr and exit status 1.

    Raises:
        ValueError: another executor than "local" for an experiment that takes none.
    """
    from contextlib import ExitStack
    from inspect import signature

    from steering_lab.evaluation.running.groups import CellsFailed

    with ExitStack() as stack:
        elsewhere = {}
        if where != "local":
            from steering_lab.executors import executor

            if "elsewhere" not in signature(module.run).parameters:
                raise ValueError(
                    f"--executor {where}: run() of this experiment takes no `elsewhere`, so it is local only"
                )
            elsewhere = {"elsewhere": stack.enter_context(executor(where, **options, jobs=results / ".jobs"))}
        try:
            return module.run(config, results, **elsewhere)
        except CellsFailed as failed:
            print(f"steering-lab: {failed}", file=sys.stderr)
            raise SystemExit(1) from failed


def _say_where(folder: Path) -> None:
    print(f"\n{folder}")
    if (folder / "index.html").is_file():
        print(f"open {(folder / 'index.html').resolve().as_uri()}")
