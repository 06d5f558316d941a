"""The questions of the conflict experiment, by what they are used for: no question is used for two things."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from steering_lab.data.conflict_qa import ConflictQA, irrelevant_twins
from steering_lab.data.conflict_readers import BlankAliases, read_confiqa, read_conflict_qa, read_nqswap
from steering_lab.data.conflict_splits import SplitManifest, hash_rows, split_by_question
from steering_lab.data.conflict_world import world_rows
from steering_lab.data.dice import Dice
from steering_lab.data.invented_world import story

Rows = tuple[ConflictQA, ...]
DataFormat = Literal["jsonl", "confiqa", "nqswap"]
KINDS = ("subjects", "relation", "templates", "sources")  # of what the organism never saw in conflict
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

    def described(self) -> dict[str, Any]:
        """The ids of the rows by use and regime, and how many were left out, as JSON."""
        named = {"validation": self.validation, "test": self.test}
        by_regime = {use: {name: [r.id for r in rows] for name, rows in parts.items()} for use, parts in named.items()}
        return {"vector": [row.id for row in self.vector], **by_regime, "left_out": self.left_out}


def world_questions(counts: Counts) -> Questions:
    """Of the organism's world; conflicts to report on are of every kind that its training held out."""
    vector = unique(world_rows("conflict", counts.vector, split="validation", seed=1))
    known, n = {row.group for row in vector}, counts.validation
    dice = Dice("held-out stories for fluency")
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
        tuple(story(dice).text for _ in range(60)),
    )


def file_questions(
    path: str | Path, data_format: DataFormat, counts: Counts, seed: int, blank_aliases: BlankAliases
) -> Questions:
    """Of a file of conflicts, split by question; agreements where it has the original contexts.

    Raises:
        ValueError: what the reader refuses, too few questions, or blank aliases to set aside in the package's own
            format, whose rows name theirs.
    """
    if data_format == "jsonl":
        read = read_conflict_qa(path)
    else:
        reader = {"confiqa": read_confiqa, "nqswap": read_nqswap}[data_format]
        read = reader(path, blank_aliases=blank_aliases)
    rows = [row for row in read if row.decides]
    splits, _ = split_by_question(rows, SHARES, seed)
    validation, test = _regimes(splits["validation"][: counts.validation]), _regimes(splits["test"][: counts.test])
    conflicts = test["conflict"]
    test["irrelevant"] = unique(irrelevant_twins(conflicts, seed))
    test["closed_book"] = unique(tuple(row.closed_book() for row in conflicts))
    texts = tuple(dict.fromkeys(row.context for row in conflicts))
    return Questions(splits["vector"][: counts.vector], validation, test, texts, len(read) - len(rows))


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
