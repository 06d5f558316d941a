"""Passages of a database that is not to be trusted: right, outdated and wrong ones, made of conflicts.

An outdated passage says what the wrong one says and names an old source for it. The source and its year are made up,
as the answer is: a model that heeds the year has no cause to give up what it knows.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

from steering_lab.data.conflict_qa import ConflictQA

Kind = Literal["right", "outdated", "wrong"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DATED = "An atlas of 1931 says: {statement}"


def passage_of(row: ConflictQA, kind: Kind) -> ConflictQA:
    """The question of the conflict `row` over a passage of that kind; `meta["passage"]` names the kind.

    Raises:
        ValueError: a right passage where the original context is not known.
    """
    if kind == "right":
        row = row.agreeing()
    elif kind == "outdated":
        row = replace(row, context=DATED.format(statement=row.context))
    return replace(row, meta={**row.meta, "passage": kind})


def passages_about(rows: Sequence[ConflictQA], turn: int = 0) -> tuple[ConflictQA, ...]:
    """One passage about each group of `rows`, its first one: right, outdated and wrong ones in turn.

    Over three turns running every group meets each kind once, in the same words, and each database has as many of one
    kind as of another, give or take one.

    Args:
        rows: Conflicts with their original contexts.
        turn: Which of the three databases.

    Raises:
        ValueError: an original context is not known.
    """
    firsts = {row.group: row for row in reversed(rows)}
    groups = dict.fromkeys(row.group for row in rows)
    return tuple(passage_of(firsts[group], KINDS[(i + turn) % len(KINDS)]) for i, group in enumerate(groups))
