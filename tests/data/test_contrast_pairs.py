"""Contrast pairs keep their text to the letter, and a broken file is refused at its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.data.contrast_pairs import PAIRS, ContrastPair, read_pairs

SIDES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def written(folder: Path, suffix: str, text: str) -> Path:
    path = folder / f"pairs{suffix}"
    path.write_text(text, encoding="utf-8", newline="")
    return path


@given(SIDES, SIDES)
def test_reversing_twice_gives_the_pair_back(positive: str, negative: str) -> None:
    if positive != negative:
        pair = ContrastPair(positive, negative)
        assert pair.reversed().reversed() == pair
        assert (pair.reversed().positive, pair.reversed().negative) == (negative, positive)


def test_one_empty_side_is_allowed() -> None:
    assert ContrastPair(" weddings", "").negative == ""


def test_two_empty_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="both are empty"):
        ContrastPair("", "")


def test_a_pair_reads_as_positive_minus_negative_with_outer_spaces_visible() -> None:
    assert str(ContrastPair("Love", "Hate")) == "Love − Hate"
    assert str(ContrastPair(" weddings", "")) == "' weddings' − ''"


def test_built_in_pairs_keep_the_spaces_of_the_paper() -> None:
    assert PAIRS["weddings"] == (ContrastPair(" weddings", ""),)
    assert PAIRS["wedding"] == (ContrastPair(" wedding", " "),)
    assert PAIRS["love_hate"] == (ContrastPair("Love", "Hate"),)


def test_every_built_in_set_holds_distinct_pairs_that_differ() -> None:
    for name, pairs in PAIRS.items():
        assert len(set(pairs)) == len(pairs), name
        assert all(pair.positive != pair.negative for pair in pairs), name


def test_sets_for_mean_differences_hold_at_least_twelve_sentences() -> None:
    assert {name for name, pairs in PAIRS.items() if len(pairs) >= 12} == {
        "love_hate_sentences",
        "calm_anger_sentences",
        "wedding_sentences",
        "formal_casual_sentences",
        "empathetic_support",
        "documented_code",
        "careful_medicine",
        "helpful",
        "unbiased",
    }


def test_built_in_sets_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PAIRS["love_hate"] = ()  # type: ignore[index]


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".json", '[{"positive": " wedding", "negative": " "}, {"positive": "A, \\"b\\"", "negative": ""}]'),
        (".jsonl", '{"positive": " wedding", "negative": " "}\n\n{"negative": "", "positive": "A, \\"b\\""}\n'),
        (".csv", '\ufeffpositive,negative\r\n wedding, \r\n"A, ""b""",\r\n'),
        (
            ".toml",
            '[[pairs]]\npositive = " wedding"\nnegative = " "\n[[pairs]]\npositive = \'A, "b"\'\nnegative = ""\n',
        ),
    ],
)
def test_the_four_file_types_read_equally(tmp_path: Path, suffix: str, text: str) -> None:
    pairs = (ContrastPair(" wedding", " "), ContrastPair('A, "b"', ""))
    assert read_pairs(written(tmp_path, suffix, text)) == pairs


@pytest.mark.parametrize(
    ("suffix", "text", "message"),
    [
        (".jsonl", '{"positive": "a", "negative": "b"}\n{"positive": "a"}', r"jsonl:2: the key 'negative' is missing"),
        (".jsonl", '{"positive": "a", "negative": "b", "layer": 3}', r"jsonl:1: unknown key 'layer'"),
        (".jsonl", '{"positive": "a", "negative": "b"}\n\nnope', r"jsonl:3: not JSON"),
        (".jsonl", '{"positive": 1, "negative": "b"}', r"jsonl:1: the positive side .* must be text, not 1"),
        (".jsonl", '["a", "b"]', r"jsonl:1: .* is not a contrast pair"),
        (".json", '{"positive": "a", "negative": "b"}', r"list of objects, not dict"),
        (".json", '[\n{"positive": "a",\n}]', r"json:3: not JSON"),
        (
            ".json",
            '[{"positive": "a", "negative": "b"}, {"positive": "", "negative": ""}]',
            r"pair 2: .*both are empty",
        ),
        (".json", "[]", r"no contrast pairs"),
        (".csv", "positive,negative\na,b\nc\n", r"csv:3: the key 'negative' is missing"),
        (".csv", "positive,negative\na,b,c\n", r"csv:2: 3 columns under a header of 2"),
        (".csv", "positive,negative,note\na,b,c\n", r"csv:2: unknown key 'note'"),
        (".csv", 'positive,negative\na,"b\n', r"csv:\d: not CSV"),
        (".csv", "", r"no contrast pairs"),
        (".toml", '[[pair]]\npositive = "a"\nnegative = "b"\n', r"only \[\[pairs\]\] tables; found pair"),
        (".toml", "pairs = [", r"not TOML"),
    ],
)
def test_a_broken_file_is_refused_at_its_place(tmp_path: Path, suffix: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_pairs(written(tmp_path, suffix, text))


def test_another_file_type_is_refused_with_the_ones_allowed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.json, \.jsonl, \.csv, \.toml, not from '\.txt'"):
        read_pairs(written(tmp_path, ".txt", "a b"))
