"""The questions of an experiment on conflicts, by what they are used for: no question is used for two things."""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from steering_lab.data.capitals import capital_rows
from steering_lab.data.conflict_qa import ConflictQA, Regime, irrelevant_twins
from steering_lab.data.conflict_readers import BlankAliases, read_confiqa, read_conflict_qa, read_nqswap
from steering_lab.data.conflict_splits import SplitManifest, hash_rows, split_by_question
from steering_lab.evaluation.measuring.known_rows import of_known
from steering_lab.organism.questions import Group
from steering_lab.organism.rng import Rng
from steering_lab.organism.world import story
from steering_lab.organism.world_rows import WorldSplit, world_rows

Rows = tuple[ConflictQA, ...]
DataFormat = Literal["jsonl", "confiqa", "nqswap"]
KINDS: tuple[Group, ...] = ("subjects", "relation", "templates", "sources")  # which the organism saw in no conflict
SHARES = {"vector": 0.4, "validation": 0.2, "test": 0.4}


@dataclass(frozen=True)
class Counts:
    """How many rows each use takes at most.

    Args:
        vector: Rows that vectors are made from.
        validation: Rows that a cell is chosen on.
        test: Rows that it is reported on.
    """

    vector: int
    validation: int
    test: int


class Part(NamedTuple):
    """`rows` that are asked and reported together, of one `regime` and, where the data part it, one `kind`."""

    regime: Regime
    rows: Rows
    kind: str = ""

    @property
    def name(self) -> str:
        """What stands for it in a run's JSON files."""
        return f"{self.regime}, {self.kind}" if self.kind else self.regime

    @property
    def columns(self) -> dict[str, str]:
        """What tables say of every row of it."""
        return {"regime": self.regime, "kind": self.kind}


@dataclass(frozen=True)
class Questions:
    """Rows for the vector, parts for choosing and for reporting, a conflict first in both; `texts` are for fluency.

    `left_out` counts rows of a file whose answer would not show where it came from (`ConflictQA.decides`).

    Args:
        vector: Rows that vectors are made from.
        validation: Parts that a cell is chosen on.
        test: Parts that it is reported on.
        texts: For fluency.
        left_out: How many rows of a file do not decide.

    Raises:
        ValueError: a question that serves two uses, or a use without conflicts.
    """

    vector: Rows
    validation: tuple[Part, ...]
    test: tuple[Part, ...]
    texts: tuple[str, ...] = ()
    left_out: int = 0

    def __post_init__(self) -> None:
        uses = {"vector": self.vector, "validation": _all(self.validation), "test": _all(self.test)}
        if empty := [name for name, rows in uses.items() if not rows]:
            raise ValueError(_none_left(empty[0], self.left_out))
        ids, groups = ({name: _each(rows, what) for name, rows in uses.items()} for what in ("id", "group"))
        SplitManifest(ids, groups, 0, hash_rows(tuple(row for rows in uses.values() for row in rows)))  # no overlap

    @property
    def conflicts(self) -> tuple[Part, ...]:
        """The conflicts to report on, by kind."""
        return tuple(part for part in self.test if part.regime == "conflict")

    @property
    def rows(self) -> Rows:
        """The rows of every use and part."""
        return (*self.vector, *_all(self.validation), *_all(self.test))

    def described(self) -> dict[str, Any]:
        """The ids of the rows by use and part, and how many were left out, as JSON."""
        uses = {"validation": self.validation, "test": self.test}
        by_part = {use: {part.name: [row.id for row in part.rows] for part in parts} for use, parts in uses.items()}
        return {"vector": [row.id for row in self.vector], **by_part, "left_out": self.left_out}


def _none_left(use: str, left_out: int) -> str:
    return f'no questions are left for "{use}": {left_out} rows of the data were left out'


def world_questions(counts: Counts) -> Questions:
    """`counts` of the organism's world; conflicts to report on are of every kind that its training held out."""
    vector = world_vector(counts.vector)
    known, n = {row.group for row in vector}, counts.validation
    others: tuple[Regime, ...] = ("agreement", "irrelevant", "closed_book", "unknown")
    dice = Rng("held-out stories for fluency")
    return Questions(
        vector,
        (
            Part("conflict", unique(world_rows("conflict", n, kind="subjects", split="validation", seed=2), known)),
            Part("agreement", unique(world_rows("agreement", 4 * n, split="validation", seed=2), known)),
        ),
        (
            *(Part("conflict", unique(world_rows("conflict", counts.test, kind=k, seed=3)), k) for k in KINDS),
            *(Part(regime, unique(world_rows(regime, counts.test, seed=3))) for regime in others),
        ),
        tuple(story(dice).text for _ in range(60)),
    )


def mixed_world_questions(counts: Counts) -> Questions:
    """`counts` of the organism's world; conflicts of every held-out kind, in equal parts, to choose and report by."""
    vector = world_vector(counts.vector)
    used = {row.group for row in vector}

    def unused(regime: Regime, count: int, split: WorldSplit, seed: int, kind: Group = "trained") -> Rows:
        # Many fall out: the vector's questions are of the same split.
        return unique(world_rows(regime, 8 * count, kind=kind, split=split, seed=seed), used)[:count]

    def of(split: WorldSplit, regimes: Sequence[Regime], count: int, seed: int) -> tuple[Part, ...]:
        each = -(-count // len(KINDS))
        conflicts = tuple(row for kind in KINDS for row in unused("conflict", each, split, seed, kind))
        return (Part("conflict", conflicts), *(Part(r, unused(r, count, split, seed)) for r in regimes))

    return Questions(
        vector,
        of("validation", ("agreement", "irrelevant"), counts.validation, 2),
        of("test", ("agreement", "irrelevant", "closed_book"), counts.test, 3),
    )


def world_vector(count: int) -> Rows:
    """`count` conflicts of the organism's world to make a vector from, each once."""
    return unique(world_rows("conflict", count, split="validation", seed=1))


def file_rows(path: str | Path, data_format: DataFormat, blank_aliases: BlankAliases) -> tuple[Rows, int]:
    """The conflicts of a file that decide, and how many do not.

    Args:
        path: The file.
        data_format: Which reader reads it.
        blank_aliases: What becomes of an alias that normalises to nothing.

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
    """Conflicts about the countries of the world in a random order, since a use takes the first of its rows.

    Args:
        relations: Which facts are asked for.
        min_population: Countries with fewer inhabitants are left out.
        seed: What contexts and the order are drawn by.
    """
    rows = list(capital_rows("conflict", relations, min_population=min_population, seed=seed))
    random.Random(f"order of countries {seed}").shuffle(rows)
    return tuple(rows)


def split_questions(
    rows: Rows, counts: Counts, seed: int, *, left_out: int = 0, known: Collection[str] | None = None
) -> Questions:
    """Of conflicts split by group, agreements where the original contexts are there.

    The split is made before rows are left out, so that a group is in the same use for every model.

    Args:
        rows: All conflicts.
        counts: How many of them each use takes at most.
        seed: Of the split.
        left_out: How many rows the data had besides.
        known: Closed-book ids that `known_rows` found: only rows that the model knows are taken.

    Raises:
        ValueError: too few questions for a use, or none whose answer is unsaid by another's context.
    """
    splits, _ = split_by_question(rows, SHARES, seed)
    why = ""
    if known is not None:
        splits = {use: of_known(its, known) for use, its in splits.items()}
        taken = sum(map(len, splits.values()))
        left_out += len(rows) - taken
        why = f"; the model knows {taken} of {len(rows)} without their context, and known_only = false asks all"
    if empty := [use for use, its in splits.items() if not its]:
        raise ValueError(_none_left(empty[0], left_out) + why)
    conflicts = splits["test"][: counts.test]
    others = (irrelevant(conflicts, seed), Part("closed_book", unique(tuple(row.closed_book() for row in conflicts))))
    texts = tuple(dict.fromkeys(row.context for row in conflicts))
    validation = _with_agreement(splits["validation"][: counts.validation])
    return Questions(
        splits["vector"][: counts.vector], validation, (*_with_agreement(conflicts), *others), texts, left_out
    )


def choosing_by_irrelevant(questions: Questions, seed: int) -> Questions:
    """`questions`, with irrelevant contexts, drawn by `seed`, among those to choose by."""
    more = irrelevant(questions.validation[0].rows, seed)
    return replace(questions, validation=(*questions.validation, more))


def irrelevant(conflicts: Rows, seed: int) -> Part:
    """The questions of `conflicts`, each over another's context, drawn by `seed`."""
    return Part("irrelevant", unique(irrelevant_twins(conflicts, seed)))


def _with_agreement(conflicts: Rows) -> tuple[Part, ...]:
    agreeing = unique(tuple(row.agreeing() for row in conflicts if row.original_context))
    return (Part("conflict", conflicts), *([Part("agreement", agreeing)] if agreeing else []))


def unique(rows: Rows, but: set[str] | None = None) -> Rows:
    """Each of `rows` once, without those of the groups in `but`."""
    return tuple({row.id: row for row in rows if row.group not in (but or set())}.values())


def _all(parts: tuple[Part, ...]) -> Rows:
    return tuple(row for part in parts for row in part.rows)


def _each(rows: Rows, what: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(getattr(row, what) for row in rows))
