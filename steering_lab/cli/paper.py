"""`steering-lab paper`: figures and tables of papers, made again, and the table of what came of them."""

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGTERM, signal
from subprocess import PIPE, STDOUT, Popen
from typing import TYPE_CHECKING, Annotated

import tyro

from steering_lab.safe_files import check_folder

if TYPE_CHECKING:
    from steering_lab.study.paper.register import PaperFigure

TABLE = ("<!-- verdicts: written by `make paper` -->\n", "<!-- end of verdicts -->\n")


def paper(
    figures: tyro.conf.Positional[tuple[str, ...]] = (),
    variant: str = "",
    model: str = "",
    results: Path = Path("results"),
    table: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    list: bool = False,
    at_once: int = 1,
) -> None:
    """Make the figures of the ActAdd and ContextFocus papers again, one run each, and say what became of each claim.

    A figure that this very code has made already, with the same settings, is not made again, and a run that was
    interrupted goes on, so the same command goes on where it stopped. One that fails is said, and the others are made.

    Example: steering-lab paper actadd

    Args:
        figures: Names of files in experiments/actadd and experiments/contextfocus without .toml, or the name of a
            paper; none is all.
        variant: Which setting of each: smollm2, organism, paper, or another that its file has; if not said, the file's.
        model: Another model than that of the variant, such as organism:FOLDER, another seed of the synthetic model.
        results: The folder in which results/<figure>/<date>_<model>_<commit>/ is made.
        table: A Markdown file in which the table of verdicts is written anew, between its two marks.
        list: Print the figures and what was made of them, and make none.
        at_once: How many are made at a time, each in a process of its own with its share of the cores: writing gains
            less by a second thread than by a second process. Those that measure seconds come last and alone.
    """
    from steering_lab.safe_files import replace_file
    from steering_lab.study.paper.register import PaperFigure, paper_figures, verdict_table

    check_folder(results)
    if at_once < 1:
        raise ValueError(f"--at-once is {at_once}: one figure or more are made at a time")
    if table is not None:
        _around(table)
    asked, failed = paper_figures(figures, variant, model), 0

    def inside(figure: PaperFigure) -> bool:
        """Whether it is made in this process, behind all others."""
        return at_once == 1 or figure.study.config.alone

    if not list:
        ordered = enumerate(sorted(asked, key=inside), 1)
        missing = [figure for i, figure in ordered if not _there(figure, f"{i} of {len(asked)}", results)]
        failed += _side_by_side([figure for figure in missing if not inside(figure)], results, at_once)
        failed += sum(_fails(figure, results) for figure in missing if inside(figure))
    told = verdict_table(results, figures)
    if table is not None:
        before, after = _around(table)
        replace_file(table, f"{before}\n{verdict_table(results) if figures else told}\n{after}")
    print(told)
    if failed:
        raise SystemExit(1)


def _there(figure: "PaperFigure", which: str, results: Path) -> bool:
    """Whether the figure is there, made by this very code; says which it is of how many, and so."""
    there = figure.made_here(results)
    what = figure.study.config.source if there is None else f"{there} is there"
    print(f"{which}: {figure.toml.parent.name}/{figure.toml.stem}: {what}", file=sys.stderr)
    return there is not None


def _fails(figure: "PaperFigure", results: Path) -> bool:
    """Whether making the figure fails, which is then said."""
    from steering_lab.cli.run import run

    print(f"\n{figure.toml.stem}", file=sys.stderr)
    try:
        run(figure.toml, figure.settings, results)
    except SystemExit:  # some of its cells failed, which is said already
        return True
    except (ValueError, OSError, RuntimeError) as error:
        print(f"steering-lab: {figure.toml.stem}: {error}", file=sys.stderr)
        return True
    return False


def _side_by_side(figures: Sequence["PaperFigure"], results: Path, at_once: int) -> int:
    """How many of the figures fail, `at_once` at a time; whatever one says stands behind its name."""
    if not figures:
        return 0
    from steering_lab.models.threads import cores_to_use

    threads = str(max(1, cores_to_use() // min(at_once, len(figures))))
    shares, running = {"OMP_NUM_THREADS": threads, **os.environ}, dict[str, Popen[str]]()

    def fails(figure: "PaperFigure") -> bool:
        name, changed = figure.toml.stem, ["--set", *figure.settings] if figure.settings else []
        asked = [sys.executable, "-m", "steering_lab.cli", "run", figure.toml, *changed, "--results", results]
        running[name] = Popen([*map(str, asked)], env=shares, stdout=PIPE, stderr=STDOUT, text=True, errors="replace")
        with running[name] as process:
            for line in process.stdout or ():
                print(f"{name}: {line}", end="", file=sys.stderr)
        if process.returncode:
            print(f"steering-lab: {name} ended with exit status {process.returncode}", file=sys.stderr)
        return process.returncode != 0

    pool = ThreadPoolExecutor(at_once)
    ended = signal(SIGTERM, lambda number, frame: sys.exit(128 + number))  # as by hand: those it began end with it
    try:
        return sum(pool.map(fails, figures))
    finally:
        signal(SIGTERM, ended)
        pool.shutdown(wait=False, cancel_futures=True)
        for process in running.values():
            process.terminate()  # whoever is left where this one is interrupted


def _around(file: Path) -> tuple[str, str]:
    """What stands before and after the table in a Markdown file, its two marks included.

    Raises:
        ValueError: there is no such file, or it has no place for the table.
    """
    if not file.is_file():
        raise ValueError(f"there is no file {file} to write the table into")
    before, begin, rest = file.read_text(encoding="utf-8").partition(TABLE[0])
    _, end, after = rest.partition(TABLE[1])
    if not begin or not end:
        raise ValueError(f"{file} has no place for the table: put {TABLE[0].strip()} and {TABLE[1].strip()} into it")
    return before + begin, end + after
