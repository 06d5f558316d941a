"""`steering-lab paper`: figures and tables of papers, made again, and the table of what came of them."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from steering_lab.safe_files import check_folder

TABLE = ("<!-- verdicts: written by `make paper` -->\n", "<!-- end of verdicts -->\n")


def paper(
    figures: tyro.conf.Positional[tuple[str, ...]] = (),
    variant: str = "",
    results: Path = Path("results"),
    table: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    list: bool = False,
) -> None:
    """Make the figures of the ActAdd and ContextFocus papers again, one run each, and say what became of each claim.

    A figure that this very code has made already, with the same settings, is not made again, and a run that was
    interrupted goes on, so the same command goes on where it stopped. One that fails is said, and the others are made.

    Example: steering-lab paper actadd

    Args:
        figures: Names of files in experiments/actadd and experiments/contextfocus without .toml, or the name of a
            paper; none is all.
        variant: Which setting of each: smollm2, organism, paper, or another that its file has; if not said, the file's.
        results: The folder in which results/<figure>/<date>_<model>_<commit>/ is made.
        table: A Markdown file in which the table of verdicts is written anew, between its two marks.
        list: Print the figures and what was made of them, and make none.
    """
    from steering_lab.cli.run import run
    from steering_lab.safe_files import replace_file
    from steering_lab.study.paper.register import paper_figures, verdict_table

    check_folder(results)
    if table is not None:
        _around(table)
    asked, failed = paper_figures(figures, variant), 0
    for number, figure in enumerate(() if list else asked, 1):
        say = f"{number} of {len(asked)}: {figure.toml.parent.name}/{figure.toml.stem}"
        if (there := figure.made_here(results)) is not None:
            print(f"{say}: {there} is there", file=sys.stderr)
            continue
        print(f"{say}: {figure.study.config.source}", file=sys.stderr)
        try:
            run(figure.toml, figure.settings, results)
        except SystemExit:  # some of its cells failed, which is said already
            failed += 1
        except (ValueError, OSError, RuntimeError) as error:
            failed += 1
            print(f"steering-lab: {figure.toml.stem}: {error}", file=sys.stderr)
    written = verdict_table(results)
    if table is not None:
        before, after = _around(table)
        replace_file(table, f"{before}\n{written}\n{after}")
    print(written)
    if failed:
        raise SystemExit(1)


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
