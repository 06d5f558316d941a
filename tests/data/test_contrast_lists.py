"""Two lists of texts: what they refuse, how their labels are shuffled, and the files that hold them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.data.contrast_lists import ContrastLists, contrasts_of, find_contrasts, only_pairs, read_contrasts
from steering_lab.data.contrast_pairs import PAIRS, ContrastPair, read_pairs

LISTS = ContrastLists(("kind", "warm", "good"), ("cruel", "cold"))


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_lists_of_unequal_length_reverse_and_say_how_many_texts_they_hold() -> None:
    assert str(LISTS) == "3 texts − 2 texts"
    assert LISTS.reversed().reversed() == LISTS
    assert LISTS.reversed().positive == ("cruel", "cold")


@given(st.lists(st.booleans(), min_size=5, max_size=5))
def test_relabelled_lists_hold_the_same_texts_and_relabelling_loses_none(flips: list[bool]) -> None:
    sides = [(i < 3) != flip for i, flip in enumerate(flips)]
    if len(set(sides)) == 1:
        with pytest.raises(ValueError, match="holds no text"):
            LISTS.relabelled(flips)
        return
    other = LISTS.relabelled(flips)
    assert sorted(other.positive + other.negative) == sorted(LISTS.positive + LISTS.negative)
    moved = {text for text, flip in zip(LISTS.positive + LISTS.negative, flips, strict=True) if flip}
    assert moved == set(LISTS.positive) ^ set(other.positive)


def test_the_shorter_list_begins_anew_beside_the_longer() -> None:
    assert LISTS.side_by_side() == (
        ContrastPair("kind", "cruel"), ContrastPair("warm", "cold"), ContrastPair("good", "cruel"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("positive", "negative", "said"),
    [
        ((), ("a",), "the positive list holds no text"),
        (("a",), ("b", ""), "the negative list holds ''"),
        (("a",), (3,), "the negative list holds 3"),
        (("a", "b"), ("b",), "'b' is in both lists"),
        ("a", ("b",), "one pair is ContrastPair"),
    ],
)
def test_lists_that_cannot_be_set_apart_are_refused(positive: object, negative: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ContrastLists(positive, negative)  # type: ignore[arg-type]


def test_files_hold_two_lists_or_pairs_and_built_in_sets_are_found_by_name(tmp_path: Path) -> None:
    toml = written(tmp_path, "kind.toml", 'positive = ["kind", "warm", "good"]\nnegative = ["cruel", "cold"]\n')
    json = written(tmp_path, "kind.json", '{"positive": ["kind", "warm", "good"], "negative": ["cruel", "cold"]}')
    pairs = written(tmp_path, "pairs.json", '[{"positive": "kind", "negative": "cruel"}]')
    assert read_contrasts(toml) == read_contrasts(json) == find_contrasts(str(toml)) == LISTS
    assert read_contrasts(pairs) == (ContrastPair("kind", "cruel"),)
    assert find_contrasts("love_hate") == PAIRS["love_hate"]
    for path in (toml, json):
        with pytest.raises(ValueError, match="are no pairs"):
            read_pairs(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('positive = ["a"]', "the key 'negative' is missing"),
        ('positive = ["a"]\nnegative = ["b"]\nneutral = ["c"]', "unknown key 'neutral'"),
        ('positive = ["a"]\nnegative = []', "the negative list holds no text"),
        ('positive = ["a", "b"\n', "not TOML"),
    ],
)
def test_a_broken_file_of_lists_is_refused_by_its_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        read_contrasts(written(tmp_path, "mine.toml", text))
    assert "mine.toml" in str(refused.value)


def test_what_needs_pairs_refuses_lists_with_the_reason_and_takes_pairs() -> None:
    with pytest.raises(ValueError, match=r"halves compare differences, and two lists \(3 texts − 2 texts\) have none"):
        only_pairs(LISTS, "halves compare differences")
    assert only_pairs(PAIRS["love_hate"], "halves") == list(PAIRS["love_hate"])
    assert contrasts_of(LISTS) is LISTS
