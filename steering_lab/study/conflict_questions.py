"""The questions of the conflict experiment, by what they are used for: no question is used for two things."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from steering_lab.data.capitals import capital_rows
from steering_lab.data.conflict_qa import ConflictQA, irrelevant_twins
from steering_lab.data.conflict_readers import BlankAliases, read_confiqa, read_conflict_qa, read_nqswap
from steering_lab.data.conflict_splits import SplitManifest, hash_rows, split_by_question
from steering_lab.evaluation.measuring.known_rows import of_known
from steering_lab.organism.questions import Group
from steering_lab.organism.rng import Rng
from steering_lab.organism.world import story
from steering_lab.organism.world_rows import world_rows

Rows = tuple[ConflictQA, ...]
DataFormat = Literal["jsonl", "confiqa", "nqswap"]
KINDS: tuple[Group, ...] = ("subjects", "relation", "templates", "sources")  # which the organism saw in no conflict
SHARES = {"vector": 0.4, "validation": 0.2, "test": 0.4}


@dataclass(frozen=True)
class Counts:
    """How many rows each use takes at most."""

    vector: int
    validation: int
    test: int


@dataclass(frozen=True)
class Questions:
    """Rows for the vector, for choosing and for reporting, the latter two by regime; `texts` are for fluency.

    `left_out` counts rows of a file whose answer would not show where it came from (`ConflictQA.decides`).

    Raises:
        ValueError: a question that serves two uses, or a use without conflicts.
    """

    vector: Rows
    validation: Mapping[str, Rows]
    test: Mapping[str, Rows]
    texts: tuple[str, ...]
    left_out: int = 0

    def __post_init__(self) -> None:
        uses = {"vector": self.vector, "validation": _all(self.validation), "test": _all(self.test)}
        if empty := [name for name, rows in uses.items() if not rows]:
            raise ValueError(f'no questions are left for "{empty[0]}": {self.left_out} rows of the data were left out')
        ids, groups = ({name: _each(rows, what) for name, rows in uses.items()} for what in ("id", "group"))
        SplitManifest(ids, groups, 0, hash_rows(_all(uses)))  # refuses what overlaps

    @property
    def conflicts(self) -> dict[str, Rows]:
        """The conflicts to report on, by kind."""
        return {part: rows for part, rows in self.test.items() if part.startswith("conflict")}

    @property
    def parts(self) -> list[Rows]:
        """The rows of every use and regime."""
        return [self.vector, *self.validation.values(), *self.test.values()]

    def described(self) -> dict[str, Any]:
        """The ids of the rows by use and regime, and how many were left out, as JSON."""
        named = {"validation": self.validation, "test": self.test}
        by_regime = {use: {name: [r.id for r in rows] for name, rows in parts.items()} for use, parts in named.items()}
        return {"vector": [row.id for row in self.vector], **by_regime, "left_out": self.left_out}


def world_questions(counts: Counts) -> Questions:
    """Of the organism's world; conflicts to report on are of every kind that its training held out."""
    vector = unique(world_rows("conflict", counts.vector, split="validation", seed=1))
    known, n = {row.group for row in vector}, counts.validation
    rng = Rng("held-out stories for fluency")
    return Questions(
        vector,
        {
            "conflict": unique(world_rows("conflict", n, kind="subjects", split="validation", seed=2), known),
            "agreement": unique(world_rows("agreement", 4 * n, split="validation", seed=2), known),
        },
        {f"conflict, {kind}": unique(world_rows("conflict", counts.test, kind=kind, seed=3)) for kind in KINDS}
        | {
            regime: unique(world_rows(regime, counts.test, seed=3))
            for regime in ("agreement", "irrelevant", "closed_book", "unknown")
        },
        tuple(story(rng).text for _ in range(60)),
    )


def file_questions(
    path: str | Path, data_format: DataFormat, counts: Counts, seed: int, blank_aliases: BlankAliases
) -> Questions:
    """Of a file of conflicts, split by question (`split_questions`). Raises as `file_rows` and `split_questions`."""
    rows, left_out = file_rows(path, data_format, blank_aliases)
    return split_questions(rows, counts, seed, left_out=left_out)


def file_rows(path: str | Path, data_format: DataFormat, blank_aliases: BlankAliases) -> tuple[Rows, int]:
    """The conflicts of a file that decide, and how many do not.

    Raises:
        ValueError: what the reader refuses, or blank aliases to set aside in the package's own format, whose rows name
            theirs.
    """
    if data_format == "jsonl":
        read = read_conflict_qa(path)
    else:
        reader = {"confiqa": read_confiqa, "nqswap": read_nqswap}[data_format]
        read = reader(path, blank_aliases=blank_aliases)
    rows = tuple(row for row in read if row.decides)
    return rows, len(read) - len(rows)


def country_rows(relations: Sequence[str], min_population: int, seed: int) -> Rows:
    """Conflicts about the countries of the world in a random order, since a use takes the first of its rows."""
    rows = list(capital_rows("conflict", relations, min_population=min_population, seed=seed))
    random.Random(f"order of countries {seed}").shuffle(rows)
    return tuple(rows)


def split_questions(
    rows: Rows, counts: Counts, seed: int, *, left_out: int = 0, known: Collection[str] | None = None
) -> Questions:
    """Of conflicts split by group, agreements where the original contexts are there.

    With `known`, closed-book ids that `known_rows` found, only rows that the model knows. The split is made before, so
    a group is in the same use for every model.

    Raises:
        ValueError: too few questions for a use, or none whose answer is unsaid by another's context.
    """
    splits, _ = split_by_question(rows, SHARES, seed)
    if known is not None:
        splits = {use: of_known(its, known) for use, its in splits.items()}
        left_out += len(rows) - sum(map(len, splits.values()))
    if empty := [use for use, its in splits.items() if not its]:
        raise ValueError(f'no questions are left for "{empty[0]}": {left_out} rows of the data were left out')
    validation, test = _regimes(splits["validation"][: counts.validation]), _regimes(splits["test"][: counts.test])
    conflicts = test["conflict"]
    test["irrelevant"] = unique(irrelevant_twins(conflicts, seed))
    test["closed_book"] = unique(tuple(row.closed_book() for row in conflicts))
    texts = tuple(dict.fromkeys(row.context for row in conflicts))
    return Questions(splits["vector"][: counts.vector], validation, test, texts, left_out)


def _regimes(conflicts: Rows) -> dict[str, Rows]:
    agreeing = unique(tuple(row.agreeing() for row in conflicts if row.original_context))
    return {"conflict": conflicts} | ({"agreement": agreeing} if agreeing else {})


def unique(rows: Rows, but: set[str] | None = None) -> Rows:
    """Each row once, without those of the groups in `but`."""
    return tuple({row.id: row for row in rows if row.group not in (but or set())}.values())


def _all(parts: Mapping[str, Rows]) -> Rows:
    return tuple(row for rows in parts.values() for row in rows)


def _each(rows: Rows, what: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(getattr(row, what) for row in rows))
