"""The figures of papers that come along: where their files are, which runs there are, and the table of verdicts."""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from steering_lab.models.loading.synthetic import organism_at
from steering_lab.models.provenance import git_commit
from steering_lab.study.expectations import AS_RANDOM
from steering_lab.study.finding import Study, experiments_folder, read_study
from steering_lab.study.paper.claim import WORDS, Verdict
from steering_lab.study.reading import as_config

PAPERS = ("actadd", "contextfocus")
HEAD = (
    "| figure | command | minutes | run | on SmolLM2 | number given → ours | on the organism | on other seeds of it |\n"
    + 8 * "|---"
    + "|\n"
)
USUAL = ("smollm2", "organism", "paper")
"""The settings that every figure has; further ones have rows of their own."""
KNOWN_TRUTH = "organism"
"""The variant whose verdict stands beside: the synthetic model, of which the truth is known."""
NOT_RUN = "not run here"
ALIKE = ("held on all", "failed on all", "held on every seed alone")

IN_WORDS = ("question", "source", "claim", "published", "not_reproduced", "differs", "curves", "folder")
"""Settings that only say something: a run is the same whatever they say, published curves being drawn beside it, and
wherever its texts lie."""
TOLD = ("model", "prefix", "pad", "layers", "coeffs", "coeff", "groups", "n_samples", "n_random", "seed")
"""Settings by which a reader tells a run from another."""


class PaperFigure(NamedTuple):
    """A figure or table of a paper: its TOML file, as it is asked for by default.

    Args:
        toml: The file.
        study: What it says.
        settings: What replaces the file's settings, KEY=VALUE.
    """

    toml: Path
    study: Study
    settings: tuple[str, ...] = ()

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


def paper_figures(names: tuple[str, ...] = (), variant: str = "", model: str = "") -> list[PaperFigure]:
    """The figures by the names of their files, or of their papers; all where none is named.

    Args:
        names: "topic_density", "actadd".
        variant: The variant of each that is asked for; "" is each file's own choice.
        model: The model that is asked instead of the variant's own.

    Raises:
        ValueError: one that there is not.
    """
    files = [path for paper in PAPERS for path in sorted((experiments_folder() / paper).glob("*.toml"))]
    known = {path.stem for path in files} | set(PAPERS)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{unknown[0]!r} is no figure of a paper: there are {', '.join(sorted(known))}")
    asked = [path for path in files if not names or {path.stem, path.parent.name} & set(names)]
    settings = tuple(f"{key}={value}" for key, value in {"variant": variant, "model": model}.items() if value)
    return [PaperFigure(path, read_study(path, settings), settings) for path in asked]


def _plain(config: Any) -> dict[str, Any]:
    """A Config as config.json holds it."""
    held: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return held


def verdict_table(results: Path, names: tuple[str, ...] = ()) -> str:
    """What became of the figures, in Markdown: a table of verdicts, the worst first, below it each with its numbers.

    Args:
        results: The folder above all runs.
        names: Of which, as `paper_figures` takes them; all where none is named.
    """
    both = [
        (figure, _first(figure, results), _first(known, results), _seeds(known, results))
        for figure, known in zip(paper_figures(names), paper_figures(names, KNOWN_TRUTH), strict=True)
    ]
    words = (*WORDS, NOT_RUN)
    worst_first = sorted(both, key=lambda one: words.index(_word(one[1])))
    rows = "".join(_row(*one) for one in worst_first) + "".join(_further(results, names))
    return HEAD + rows + _shared(both) + "".join(_section(*one, results) for one in both)


def _first(figure: PaperFigure, results: Path) -> Path | None:
    return next(figure.runs(results), None)


def _seeds(known: PaperFigure, results: Path) -> list[Path]:
    """The newest run of a figure on each other seed of the synthetic model, by the seed's name."""
    found = dict[str, Path]()
    for run in known.every_run(results):
        model = str((config := _held(run, "config")).get("model"))
        if model not in found and organism_at(model) is not None and known.differs(config) == ["model"]:
            found[model] = run
    return [found[model] for model in sorted(found)]


def _shared(both: Sequence[tuple[PaperFigure, Path | None, Path | None, Sequence[Path]]]) -> str:
    """Which lines hold on the real model and on every seed of the synthetic one, of those that all of them answer."""
    told = [
        (f'{figure.toml.stem}, "{line}"{as_random}', _alike(*answers))
        for figure, run, beside, seeds in both
        if run is not None and beside is not None and seeds
        for line, answers, as_random in _answers_of(figure, (run, beside, *seeds))
    ]
    if not told:
        return ""
    lines = []
    for group in ALIKE:
        of_group = [line for line, found in told if found == group]
        lines.append(f"- {group} ({len(of_group)} of {len(told)}): {'; '.join(of_group) or 'none'}\n")
    note = "*As random vectors may*: on SmolLM2 their band holds the number; paired differences have none beside them."
    return f"\n### Lines on SmolLM2 and on every seed of the organism\n\n{note}\n\n" + "".join(lines)


def _answers_of(figure: PaperFigure, runs: Sequence[Path]) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """The figure's lines that every run answers, worded alike, what each answers, and whether random vectors may too.

    The last is of the first run alone, and said only where a band stands beside its number.
    """
    each = [Verdict.read(_held(run, "verdict")).checks for run in runs]
    answers = [dict(zip(rows["expected"], rows["answer"], strict=True)) for rows in each]
    measured = dict(zip(each[0]["expected"], each[0]["measured"], strict=True))
    for line in figure.study.config.expects:
        if all(line in one for one in answers):
            as_random = AS_RANDOM if AS_RANDOM in measured[line] else ""
            yield line, tuple(one[line] for one in answers), as_random


def _alike(real: str, *seeds: str) -> str | None:
    """Which of `ALIKE` a line is, by the real model's answer and every seed's."""
    if {*seeds} == {"held"}:
        return ALIKE[0] if real == "held" else ALIKE[2]
    return ALIKE[1] if {real, *seeds} == {"failed"} else None


def _row(figure: PaperFigure, run: Path | None, beside: Path | None, seeds: Sequence[Path], variant: str = "") -> str:
    minutes, named, numbers = ("", "", "") if run is None else (_minutes(run), _named(run), _both_numbers(run))
    name, option = figure.toml.stem, variant and f" --variant {variant}"
    others = "; ".join(map(_word, seeds)) or NOT_RUN
    command = f"`steering-lab paper {name}{option}`"
    cells = (name + (variant and f", {variant}"), command, minutes, named, _word(run), numbers, _word(beside), others)
    return f"| {' | '.join(cells)} |\n"


def _further(results: Path, names: tuple[str, ...]) -> Iterator[str]:
    """A row for each further variant of a file."""
    for toml in [figure.toml for figure in paper_figures(names)]:
        for variant in _variants(toml):
            if variant not in USUAL:
                [figure] = paper_figures((toml.stem,), variant)
                yield _row(figure, _first(figure, results), None, (), variant)


def _variants(toml: Path) -> list[str]:
    with toml.open("rb") as file:
        return [*tomllib.load(file).get("variants", {})]


def _both_numbers(run: Path) -> str:
    """The first number that the paper gives and ours, and how many more there are."""
    checks = Verdict.read(_held(run, "verdict")).checks
    numbers = checks[checks["about"] == "number"]
    if numbers.empty:
        return "none given"
    of, _, published = numbers["expected"].iloc[0].rpartition(" is ")
    more = f" (and {len(numbers) - 1} more)" if len(numbers) > 1 else ""
    return f"{of}: {published} → {numbers['measured'].iloc[0]}{more}"


def _section(figure: PaperFigure, run: Path | None, beside: Path | None, seeds: Sequence[Path], results: Path) -> str:
    """The paper's number of a figure, and every run of it with its verdict and numbers."""
    config = figure.study.config
    lines = [f"published: {config.published}"]
    lines += [f"{config.model}: {_said(run)}", f"{KNOWN_TRUTH}: {_said(beside)}"]
    lines += [f"{_held(seed, 'model').get('name', 'another seed')}: {_said(seed)}" for seed in seeds]
    for other in figure.every_run(results):
        if other not in (run, beside, *seeds):
            lines.append(f"{_other(figure, _held(other, 'config'))}: {_said(other)}")
    asked = f"{config.source}. *{config.question}* {config.claim}"
    return f"\n### {figure.toml.stem}\n\n{asked}\n\n" + "".join(f"- {line}\n" for line in lines)


def _other(figure: PaperFigure, config: Mapping[str, Any]) -> str:
    """What a run with other settings is called: the variant that it is of, or in what it differs."""
    for variant in _variants(figure.toml):
        if not PaperFigure(figure.toml, read_study(figure.toml, [f"variant={variant}"])).differs(config):
            return str(variant)
    told = [f"{key} {json.dumps(config.get(key))}" for key in figure.differs(config) if key in TOLD]
    return ", ".join(told) or "another run"


def _word(run: Path | None) -> str:
    return NOT_RUN if run is None else Verdict.read(_held(run, "verdict")).word


def _said(run: Path | None) -> str:
    """A run's verdict and numbers, and its folder."""
    if run is None:
        return _word(run)
    held = Verdict.read(_held(run, "verdict"))
    return f"{held.word} ({held.counted}): {held.said} ({_named(run)})"


def _minutes(run: Path) -> str:
    made = _held(run, "provenance")
    took = datetime.fromisoformat(made["finished"]) - datetime.fromisoformat(made["started"])
    return f"{took.total_seconds() / 60:.0f}"


def _named(run: Path) -> str:
    return f"`{run.parent.name}/{run.name}`"


def _held(run: Path, name: str) -> dict[str, Any]:
    held: dict[str, Any] = json.loads((run / f"{name}.json").read_text(encoding="utf-8"))
    return held
