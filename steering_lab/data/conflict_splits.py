"""Splits by question: the rows of one question are all in one split, so what a vector learned is never its test.

A split is stored as a manifest of row ids, small enough to keep with a run, from which the same rows give the same
splits again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.text_files import text_in

Splits = dict[str, tuple[ConflictQA, ...]]


@dataclass(frozen=True)
class SplitManifest:
    """Which rows and groups are in which split; `rows_hash` stands for all rows that were there to split.

    Args:
        ids: The rows of each split.
        groups: The groups of each split.
        seed: What random draws follow from.
        rows_hash: A hash of all rows that were there to split.

    Raises:
        ValueError: a row or a group in two splits.
    """

    ids: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]
    seed: int
    rows_hash: str

    def __post_init__(self) -> None:
        for what, members in (("row", self.ids), ("group", self.groups)):
            home: dict[str, str] = {}
            for name, its in members.items():
                for member in its:
                    if home.setdefault(member, name) != name:
                        raise ValueError(f'{what} {member!r} is in the splits "{home[member]}" and "{name}"')

    def apply(self, rows: Sequence[ConflictQA]) -> Splits:
        """The splits of `rows` by this manifest.

        Raises:
            ValueError: `rows` are not those that were split.
        """
        if (found := hash_rows(rows)) != self.rows_hash:
            raise ValueError(
                f"the {len(rows)} rows are not those that were split: their hash is {found}, the manifest has "
                f"{self.rows_hash}"
            )
        home = {member: name for name, ids in self.ids.items() for member in ids}
        return {name: tuple(row for row in rows if home.get(row.id) == name) for name in self.ids}

    def save(self, path: str | Path) -> None:
        """This manifest as JSON, at `path`."""
        Path(path).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "SplitManifest":
        """The manifest saved at `path`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no manifest, or its splits overlap.
        """
        text = text_in(path, "splits")
        try:
            stored = json.loads(text)
            ids, groups = ({n: tuple(its) for n, its in stored[key].items()} for key in ("ids", "groups"))
            manifest = cls(ids, groups, stored["seed"], stored["rows_hash"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} is not a manifest of splits: {error}") from None
        return manifest


def split_by_question(
    rows: Sequence[ConflictQA], sizes: Mapping[str, int | float], seed: int = 0
) -> tuple[Splits, SplitManifest]:
    """Disjoint splits of `rows` by their group, and the manifest that says which row is where.

    `sizes` names the splits in order, for example {"vector": 0.5, "validation": 0.2, "test": 0.3}: all shares of the
    groups, or all numbers of groups. Groups that no split asks for are left out. Which groups a split gets depends on
    `seed` and the groups, not on the order of the rows; within a split the rows keep their order.

    Raises:
        ValueError: no splits, shares mixed with numbers, a size of 0 or less, shares above 1 in sum, fewer groups than
            asked for, or a split that gets none.
    """
    groups = sorted({row.group for row in rows}, key=lambda group: _rank(seed, group))
    counts = _group_counts(sizes, len(groups))
    splits: Splits = {}
    kept: dict[str, tuple[str, ...]] = {}
    start = 0
    for name, count in counts.items():
        kept[name] = tuple(groups[start : start + count])
        start += count
        members = set(kept[name])
        splits[name] = tuple(row for row in rows if row.group in members)
    ids = {name: tuple(dict.fromkeys(row.id for row in split)) for name, split in splits.items()}
    return splits, SplitManifest(ids, kept, seed, hash_rows(rows))


def hash_rows(rows: Sequence[ConflictQA]) -> str:
    """Sixteen hexadecimal digits that stand for the rows and how often each is there, in any order."""
    return hashlib.sha256("\n".join(sorted(f"{row.group} {row.id}" for row in rows)).encode()).hexdigest()[:16]


def _rank(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed} {group}".encode()).digest()


def _group_counts(sizes: Mapping[str, int | float], n_groups: int) -> dict[str, int]:
    kinds = {type(size) for size in sizes.values()}
    if len(kinds) != 1 or not kinds <= {int, float}:
        raise ValueError(f"sizes are all shares (0.3) or all numbers of groups (200), not {dict(sizes)}")
    if min(sizes.values()) <= 0:
        raise ValueError(f"every split needs a size above 0, not {dict(sizes)}")
    if kinds == {int}:
        if sum(sizes.values()) > n_groups:
            raise ValueError(f"the splits ask for {sum(sizes.values())} groups and the rows have {n_groups}")
        return {name: int(size) for name, size in sizes.items()}
    if sum(sizes.values()) > 1 + 1e-9:
        raise ValueError(f"the shares {dict(sizes)} add up to {sum(sizes.values()):g}, at most 1 is there")
    counts = {name: int(size * n_groups + 1e-9) for name, size in sizes.items()}
    if empty := [name for name, count in counts.items() if not count]:
        raise ValueError(f'{n_groups} groups are too few: split "{empty[0]}" would get none of {dict(sizes)}')
    return counts
