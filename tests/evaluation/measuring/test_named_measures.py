"""A measure's name says what is measured, and is the metric's name in the tidy table."""

from pathlib import Path

import pandas as pd
import pytest

from steering_lab.data.contrast_pairs import PAIRS, ContrastPair
from steering_lab.data.lexicons import WEDDING_WORDS, Lexicon
from steering_lab.evaluation.measuring.measures import measure_table
from steering_lab.evaluation.measuring.named_measures import (
    LABELS,
    label_of,
    named_measure,
    named_measures,
    topic_of,
    topic_words,
)

TEXTS = [
    "The bride and the groom were happy.",
    "A ship on the sea, a ship at home.",
    "I hate it, I hate it, I hate it.",
]


def table(texts: list[str] = TEXTS) -> pd.DataFrame:
    n = len(texts)
    factors = {"condition": "unsteered", "method": "unsteered", "role": "unsteered"}
    return pd.DataFrame(
        {
            **{name: [value] * n for name, value in factors.items()},
            **{name: [None] * n for name in ("layer", "coeff", "relative_norm", "draw")},
            **{name: [None] * n for name in ("place", "control_of", "unit", "budget")},
            "prompt": [f"prompt {i}" for i in range(n)],
            "sample": 0,
            "text": texts,
            "n_tokens": 8,
            "log_prob_unsteered": -16.0,
        }
    )


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("topic:weddings", [2, 0, 0]),
        ("topic_rate:weddings", [2 / 7, 0, 0]),
        ("topic:sea,ship", [0, 3, 0]),
        ("length", [7, 9, 9]),
        ("sentiment", [1, float("nan"), -1]),
        ("valence_balance", [1 / 7, 0, -1 / 3]),
        ("repetition", [0, 0, 4 / 7]),
        ("perplexity", [7.389056] * 3),
        ("degenerate", [0, 0, 1]),
    ],
)
def test_a_name_measures_what_it_says(name: str, values: list[float]) -> None:
    measured = named_measure(name)(table())
    assert measured.tolist() == pytest.approx(values, nan_ok=True)


def test_vader_is_positive_on_kind_words_and_negative_on_hate() -> None:
    kind, _, hate = named_measure("vader")(table())
    assert kind > 0.3 > -0.3 > hate


NAMES = [*LABELS, "topic:weddings", "topic:sea,ship", "topic_rate:weddings"]


def test_every_name_is_the_metric_of_its_rows_so_that_no_column_is_nameless() -> None:
    measures = named_measures(NAMES)
    assert [measure.name for measure in measures] == NAMES
    assert list(measure_table(table(), measures)["metric"].unique()) == NAMES


def test_a_topic_may_be_a_file_of_words_or_a_world_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "sea.txt").write_text("sea ship\nsail\n")
    assert named_measure(f"topic:{tmp_path / 'sea.txt'}")(table()).tolist() == [0, 3, 0]
    own = named_measure("topic:home", topics={"home": frozenset({"home"})})
    assert own(table()).tolist() == [0, 1, 0]


def test_sentiment_counts_the_words_of_the_lexicon_given() -> None:
    sea = Lexicon(frozenset({"sea"}), frozenset({"bride"}))
    assert named_measure("sentiment", lexicon=sea)(table()).tolist() == pytest.approx(
        [-1, 1, float("nan")], nan_ok=True
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["vadr"], "unknown measure 'vadr': choose vader, sentiment"),
        (["topic"], "unknown measure 'topic': write topic:NAME, NAME one of weddings"),
        (
            ["topic:cars"],
            "unknown topic 'cars': choose one of weddings, politics, music, science, finance, war, a file",
        ),
        (["topic:Sea,ship"], "not single lower-case words, so never counted: 'Sea'"),
        (["vader", "vader"], "the measure 'vader' is named twice"),
        ("vader", r"measures are a list of names: write \['vader'\]"),
    ],
)
def test_a_name_that_measures_nothing_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        named_measures(names)


def test_an_axis_calls_a_measure_by_what_it_is() -> None:
    assert label_of("vader") == "VADER compound, −1 to 1"
    assert label_of("topic:weddings") == "words about weddings in a text"
    assert label_of("topic_rate:sea,ship") == "words of sea and ship, share of all"
    assert label_of("topic:sea,ship,sail,port") == "words of sea, ship and 2 more words in a text"


@pytest.mark.parametrize(
    ("pairs", "topic"),
    [
        (PAIRS["weddings"], "weddings"),
        (PAIRS["wedding_sentences"], "weddings"),
        (PAIRS["love_hate"], None),
        (PAIRS["love_hate_sentences"], None),
        ((ContrastPair(" weddings", " weddings and cakes"),), None),
        ((ContrastPair("", " weddings"),), None),
    ],
)
def test_pairs_that_add_a_topic_are_known_by_its_words(pairs: tuple[ContrastPair, ...], topic: str | None) -> None:
    assert topic_of(pairs) == topic
    assert topic_of(pairs, {"weddings": WEDDING_WORDS}) == topic


def test_a_topics_file_may_begin_with_a_byte_order_mark_and_has_to_be_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "sea.txt"
    file.write_bytes(b"\xef\xbb\xbfsea ship")
    assert topic_words(str(file)) == {"sea", "ship"}
    file.write_bytes("m\u00f6we".encode("latin-1"))
    with pytest.raises(ValueError, match=r"sea\.txt is no UTF-8 text \(byte 2\): save it as UTF-8"):
        topic_words(str(file))


@pytest.mark.parametrize("topic", [",", " , ", "empty.txt"])
def test_a_topic_without_words_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topic: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("\n")
    with pytest.raises(ValueError, match="has no words"):
        named_measure(f"topic:{topic}")


def test_a_topic_may_have_more_words_than_a_file_may_have_letters_in_its_name() -> None:
    every = [f"word{i}" for i in range(400)]
    assert topic_words(",".join(every)) == set(every)
