"""Splits share no question, do not depend on the order of the rows, and come back from their manifest."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.conflict_splits import SplitManifest, hash_rows, split_by_question


def rows_of(*sizes: int) -> list[ConflictQA]:
    """`sizes[g]` rows of group g."""
    return [
        ConflictQA(f"Where is {g}?", f"{g} is in Rome {i}.", (f"Rome {i}",), ("Paris",), group=f"place {g}")
        for g, size in enumerate(sizes)
        for i in range(size)
    ]


SIZES = {"vector": 0.5, "validation": 0.2, "test": 0.3}


@given(st.lists(st.integers(1, 4), min_size=10, max_size=30), st.integers(0, 9), st.randoms())
def test_splits_are_disjoint_by_question_and_blind_to_the_order_of_rows(
    sizes: list[int], seed: int, shuffle: random.Random
) -> None:
    rows = rows_of(*sizes)
    splits, manifest = split_by_question(rows, SIZES, seed)
    groups = [{row.group for row in split} for split in splits.values()]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert [len(its) for its in groups] == [int(share * len(sizes) + 1e-9) for share in SIZES.values()]
    whole = {group: [row for row in rows if row.group == group] for group in set.union(*groups)}
    for its, split in zip(groups, splits.values(), strict=True):
        assert sorted(split, key=rows.index) == list(split)
        assert len(split) == sum(len(whole[group]) for group in its)
    shuffled = list(rows)
    shuffle.shuffle(shuffled)
    again, same = split_by_question(shuffled, SIZES, seed)
    assert same.groups == manifest.groups
    assert {name: set(split) for name, split in again.items()} == {name: set(split) for name, split in splits.items()}


def test_another_seed_splits_otherwise() -> None:
    rows = rows_of(*[1] * 30)
    assert split_by_question(rows, SIZES, 0)[0] != split_by_question(rows, SIZES, 1)[0]


def test_numbers_of_groups_are_taken_exactly_and_the_rest_is_left_out() -> None:
    splits, manifest = split_by_question(rows_of(2, 2, 2, 2, 2), {"vector": 2, "test": 1})
    assert {name: len(split) for name, split in splits.items()} == {"vector": 4, "test": 2}
    assert {name: len(ids) for name, ids in manifest.ids.items()} == {"vector": 4, "test": 2}


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"vector": 3, "test": 3}, "ask for 6 groups and the rows have 5"),
        ({"vector": 0.9, "test": 0.2}, "add up to 1.1, at most 1"),
        ({"vector": 0.9, "test": 0.1}, '5 groups are too few: split "test" would get none'),
        ({"vector": 2, "test": 0.5}, "all shares .* or all numbers"),
        ({"vector": 2, "test": 0}, "every split needs a size above 0"),
        ({}, "all shares .* or all numbers"),
    ],
)
def test_sizes_that_cannot_be_had_are_refused(sizes: dict[str, int | float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_by_question(rows_of(2, 2, 2, 2, 2), sizes)


def test_a_saved_manifest_gives_the_same_splits_of_the_same_rows(tmp_path: Path) -> None:
    rows = rows_of(*[2] * 12)
    splits, manifest = split_by_question(rows, SIZES, seed=5)
    manifest.save(tmp_path / "splits.json")
    loaded = SplitManifest.load(tmp_path / "splits.json")
    assert loaded == manifest
    assert loaded.apply(rows) == splits


def test_a_manifest_refuses_other_rows() -> None:
    rows = rows_of(*[2] * 12)
    manifest = split_by_question(rows, SIZES)[1]
    with pytest.raises(ValueError, match=f"the 23 rows are not those that were split.*{manifest.rows_hash}"):
        manifest.apply(rows[1:])
    assert hash_rows(rows) == hash_rows(rows[::-1]) != hash_rows([*rows, rows[0]])


def test_a_manifest_whose_splits_overlap_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    split_by_question(rows_of(*[1] * 12), SIZES)[1].save(path)
    stored = json.loads(path.read_text())
    moved = stored["ids"]["vector"][0]
    stored["ids"]["test"].append(moved)
    path.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=f'row \'{moved}\' is in the splits "vector" and "test"'):
        SplitManifest.load(path)
    path.write_text('{"ids": {}}')
    with pytest.raises(ValueError, match=r"splits.json is not a manifest of splits: 'groups'"):
        SplitManifest.load(path)
