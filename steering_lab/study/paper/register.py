"""The figures of papers that come along: where their files are, which runs there are, and the table of verdicts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from steering_lab.models.provenance import git_commit
from steering_lab.study.finding import Study, experiments_folder, read_study
from steering_lab.study.paper.claim import Verdict
from steering_lab.study.reading import as_config

PAPERS = ("actadd", "contextfocus")
HEAD = "| figure | command | minutes | run | verdict | ours | published | on the organism |\n" + 8 * "|---" + "|\n"
KNOWN_TRUTH = "organism"
"""The variant whose verdict stands beside: the synthetic model, of which the truth is known."""

IN_WORDS = ("question", "source", "claim", "published", "not_reproduced", "differs", "curves")
"""Settings that only say something: a run is the same whatever they say, published curves being drawn beside it."""
TOLD = ("model", "prefix", "layers", "coeffs", "coeff", "groups", "seed")
"""Settings by which a reader tells a run from another."""


class PaperFigure(NamedTuple):
    """A figure or table of a paper: its TOML file, as it is asked for by default.

    Args:
        toml: The file.
        study: What it says.
        variant: The variant that is asked for; "" is the file's own choice.
    """

    toml: Path
    study: Study
    variant: str = ""

    @property
    def settings(self) -> tuple[str, ...]:
        """What replaces the file's settings."""
        return (f"variant={self.variant}",) if self.variant else ()

    @property
    def command(self) -> str:
        """What runs it."""
        chosen = "".join(f" --set {setting}" for setting in self.settings)
        return f"steering-lab run experiments/{self.toml.relative_to(experiments_folder()).as_posix()}{chosen}"

    def runs(self, results: Path) -> Iterator[Path]:
        """Finished runs of these settings, the newest first.

        What the file says in words may be put otherwise since, and it may expect fewer lines than the run was judged
        by: with more of them a verdict is never a better one.

        Args:
            results: The folder above all runs.
        """
        return (run for run in self.every_run(results) if not self.differs(_held(run, "config")))

    def every_run(self, results: Path) -> Iterator[Path]:
        """Finished runs of the figure with any settings, the newest first.

        Args:
            results: The folder above all runs.
        """
        for verdict in sorted((results / self.study.name).glob("*/verdict.json"), reverse=True):
            if not verdict.parent.name.endswith(".partial"):
                yield verdict.parent

    def differs(self, config: Mapping[str, Any]) -> list[str]:
        """The settings in which a run's config differs from the file's, by name; one unknown to the run is its default.

        Args:
            config: What config.json of the run holds.
        """
        wanted = _plain(self.study.config)
        with suppress(ValueError):
            config = _plain(as_config(type(self.study.config), config))
        changed = [key for key in {**wanted, **config} if key not in IN_WORDS and config.get(key) != wanted.get(key)]
        if "expects" in changed and set(wanted["expects"]) <= set(config["expects"]):
            changed.remove("expects")
        return changed

    def made_here(self, results: Path) -> Path | None:
        """The run of these settings that this very code made; None where there is none, or the code has no commit.

        Args:
            results: The folder above all runs.
        """
        now = git_commit()
        made = ((_held(run, "provenance"), run) for run in self.runs(results))
        return next((run for held, run in made if now and held.get("commit") == now), None)


def paper_figures(names: tuple[str, ...] = (), variant: str = "") -> list[PaperFigure]:
    """The figures by the names of their files, or of their papers; all where none is named.

    Args:
        names: "topic_density", "actadd".
        variant: The variant of each that is asked for; "" is each file's own choice.

    Raises:
        ValueError: one that there is not.
    """
    files = [path for paper in PAPERS for path in sorted((experiments_folder() / paper).glob("*.toml"))]
    known = {path.stem for path in files} | set(PAPERS)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{unknown[0]!r} is no figure of a paper: there are {', '.join(sorted(known))}")
    asked = [path for path in files if not names or {path.stem, path.parent.name} & set(names)]
    settings = [f"variant={variant}"] if variant else []
    return [PaperFigure(path, read_study(path, settings), variant) for path in asked]


def _plain(config: Any) -> dict[str, Any]:
    """A Config as config.json holds it."""
    held: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return held


def verdict_table(results: Path) -> str:
    """The table of all figures in Markdown: what runs it, how long it took, what came of it, and on the organism.

    Args:
        results: The folder above all runs.
    """
    both = [
        (figure, _first(figure, results), _first(known, results))
        for figure, known in zip(paper_figures(), paper_figures(variant=KNOWN_TRUTH), strict=True)
    ]
    others = [line for figure, *shown in both if (line := _others(figure, results, shown))]
    below = f"\nRuns of the same figures that are not in the table: {'; '.join(others)}.\n" if others else ""
    return HEAD + "".join(_row(*one) for one in both) + below


def _others(figure: PaperFigure, results: Path, shown: Sequence[Path | None]) -> str:
    """The other runs of a figure, each with its verdict and the settings in which it differs; empty where none is."""
    rest = [run for run in figure.every_run(results) if run not in shown]
    each = []
    for run in rest:
        config = _held(run, "config")
        told = ", ".join(f"{key} {json.dumps(config.get(key))}" for key in figure.differs(config) if key in TOLD)
        each.append(f"{_held(run, 'verdict')['verdict']} ({f'{told}, ' if told else ''}`{run.parent.name}/{run.name}`)")
    return f"{figure.toml.stem} {', '.join(each)}" if each else ""


def _first(figure: PaperFigure, results: Path) -> Path | None:
    return next(figure.runs(results), None)


def _row(figure: PaperFigure, run: Path | None, beside: Path | None) -> str:
    source, published = figure.study.config.source, figure.study.config.published
    minutes, named, verdict, ours = ("", "", "not run here", "") if run is None else _found(run)
    known = "not run here" if beside is None else "{2}: {3} ({1})".format(*_found(beside))
    cells = (source, f"`{figure.command}`", minutes, named, verdict, ours, published, known)
    return f"| {' | '.join(cells)} |\n"


def _found(run: Path) -> tuple[str, str, str, str]:
    """A run's minutes, its folder, its verdict and its numbers."""
    verdict, made = Verdict.read(_held(run, "verdict")), _held(run, "provenance")
    took = datetime.fromisoformat(made["finished"]) - datetime.fromisoformat(made["started"])
    return f"{took.total_seconds() / 60:.0f}", f"`{run.parent.name}/{run.name}`", verdict.word, verdict.said


def _held(run: Path, name: str) -> dict[str, Any]:
    held: dict[str, Any] = json.loads((run / f"{name}.json").read_text(encoding="utf-8"))
    return held
