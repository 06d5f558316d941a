"""Measures fill the tidy table on the rows they were given, and missing stays missing."""

import math
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pandas as pd
import pytest

from steering_lab.data.lexicons import Lexicon
from steering_lab.evaluation.measuring.measures import (
    Degenerate,
    Perplexity,
    TextMeasure,
    balance,
    measure_table,
    sentiment,
    topic_count,
    topic_rate,
    vader,
)
from steering_lab.evaluation.measuring.metrics import length
from steering_lab.evaluation.running.condition import UNSTEERED
from steering_lab.evaluation.running.evaluate import evaluate
from steering_lab.models.hooked_model import HookedModel
from steering_lab.numerics.kinds import OPEN, Kind
from steering_lab.tables import MEASUREMENTS
from tests.evaluation.tables import factors

LEXICON = Lexicon(frozenset({"good"}), frozenset({"bad"}))
LOOP = "on and on and on and on and on and on"


def generations(*rows: tuple[str, str, int, float]) -> pd.DataFrame:
    """Rows of (method, text, n_tokens, log_prob_unsteered), one prompt, numbered samples, an odd index."""
    table = pd.DataFrame(rows, columns=["method", "text", "n_tokens", "log_prob_unsteered"])
    blocks = [table.iloc[[i]].assign(**asdict(factors(m, layer=2, coeff=1))) for i, m in enumerate(table["method"])]
    table = pd.concat(blocks).assign(condition=table["method"], log_prob_steered=float("nan"))
    return table.assign(prompt="p", sample=range(len(table))).set_index(pd.Index(range(10, 10 + len(table))))


TABLE = generations(
    ("unsteered", "a good day", 3, -3 * math.log(2)),
    ("actadd", "good good bad sea", 4, -4 * math.log(8)),
    ("actadd", "the sea", 2, -2 * math.log(11)),
    ("actadd", LOOP, 12, -0.1),
    ("actadd", "", 0, 0.0),
)


def test_the_tidy_table_holds_one_row_per_continuation_and_measure() -> None:
    tidy = measure_table(TABLE, [sentiment(LEXICON), Perplexity()])
    assert list(tidy.columns) == MEASUREMENTS.names
    assert len(tidy) == 10
    values = tidy[tidy["metric"] == "sentiment"]["value"].tolist()
    assert values[:2] == [1.0, pytest.approx(1 / 3)]
    assert all(math.isnan(v) for v in values[2:])


def test_perplexity_weighs_by_tokens_and_text_measures_weigh_equally() -> None:
    tidy = measure_table(TABLE, [TextMeasure("length", length), Perplexity()]).set_index(["metric", "sample"])
    assert tidy.loc["perplexity", "weight"].tolist() == [3, 4, 2, 12, 0]
    assert tidy.loc["length", "weight"].tolist() == [1] * 5
    assert tidy.loc["perplexity", "value"].tolist()[:3] == pytest.approx([2, 8, 11])
    assert math.isnan(tidy.loc[("perplexity", 4), "value"])


def test_a_measure_keeps_the_index_of_its_table() -> None:
    measures = [sentiment(LEXICON), balance(LEXICON), topic_rate(frozenset({"sea"})), Perplexity(), Degenerate()]
    for measure in measures:
        pd.testing.assert_index_equal(measure(TABLE).index, TABLE.index)


def test_vader_is_a_measure_of_every_text_with_anything_in_it() -> None:
    values = measure_table(TABLE, [vader()])["value"].tolist()
    assert values[0] > 0.4
    assert values[2] == 0
    assert math.isnan(values[4])


def test_degenerate_is_over_the_bound_in_perplexity_or_in_repetition_or_empty() -> None:
    assert Degenerate(perplexity_ratio=5.0)(TABLE).tolist() == [0, 0, 1, 1, 1]  # ratios 1, 4, 5.5; a loop; nothing
    assert Degenerate(perplexity_ratio=3.0)(TABLE).tolist() == [0, 1, 1, 1, 1]
    assert Degenerate(repetition=0.99)(TABLE).tolist() == [0, 0, 1, 0, 1]


def test_degenerate_is_missing_where_the_log_probability_is() -> None:
    table = pd.concat([TABLE, generations(("actadd", "fine words", 2, math.nan))])
    assert math.isnan(Degenerate()(table).iloc[-1])


def test_degenerate_needs_the_unsteered_arm() -> None:
    with pytest.raises(ValueError, match="no rows of the unsteered model"):
        Degenerate()(TABLE.iloc[1:])


def test_generations_without_log_probabilities_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="no log_prob_unsteered: generate with log_probs=True"):
        Perplexity()(TABLE.assign(log_prob_unsteered=None))
    with pytest.raises(ValueError, match="no log_prob_steered"):
        Perplexity("perplexity_steered", under="steered")(TABLE)


def test_topic_words_that_no_text_can_match_are_refused() -> None:
    with pytest.raises(ValueError, match="'Sea'"):
        topic_count(frozenset({"Sea"}))
    assert topic_count(frozenset({"sea"}))(TABLE).tolist() == [0, 1, 1, 0, 0]


def test_two_measures_of_one_name_or_missing_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="share a name: sentiment, sentiment"):
        measure_table(TABLE, [sentiment(LEXICON), sentiment(LEXICON)])
    with pytest.raises(ValueError, match="the table of generations has no column 'draw'"):
        measure_table(TABLE.drop(columns="draw"), [sentiment(LEXICON)])
    with pytest.raises(ValueError, match="nothing to measure: the table of generations has no rows"):
        measure_table(TABLE.head(0), [sentiment(LEXICON)])


@dataclass(frozen=True)
class Anyones:
    """A measure of somebody's own, of which nothing but its attributes was looked at."""

    name: Any = "words"
    weight: Any = None
    scale: Any = "difference"
    kind: Any = Kind.SKEWED
    bounds: Any = OPEN

    def __call__(self, generations: pd.DataFrame) -> pd.Series:
        return generations["n_tokens"].astype(float)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"name": ""}, "a measure's name is ''"),
        ({"bounds": (0,)}, r"words has the bounds \(0,\): give the smallest and the largest value there can be"),
        ({"bounds": None}, "words has the bounds None"),
        ({"bounds": (1, 0)}, "words has the bounds 1 and 0: name the smallest value first"),
        ({"weight": "nope"}, "words is weighed by 'nope', of which the generations have no column"),
        ({"scale": "log"}, "scale of words is 'log': choose one of difference, ratio"),
        ({"kind": "odd"}, "kind of words is 'odd': choose one of bounded, symmetric, skewed, heavy"),
    ],
)
def test_a_measure_that_says_what_cannot_be_is_refused_by_name(said: dict[str, Any], error: str) -> None:
    assert set(measure_table(TABLE, [Anyones()])["metric"]) == {"words"}
    with pytest.raises(ValueError, match=error):
        measure_table(TABLE, [Anyones(**said)])


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"name": ""}, "a measure's name is ''"),
        ({"bounds": (1, 0)}, "words has the bounds 1 and 0"),
        ({"weight": "nope"}, "words is weighed by 'nope': that is no column of generations; None is 1 each"),
    ],
)
def test_a_measure_of_texts_is_refused_when_it_is_made(said: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        TextMeasure(**({"name": "words", "of": length} | said))


def test_a_function_that_returns_no_number_is_named_with_what_it_returned() -> None:
    upper: Any = str.upper
    with pytest.raises(ValueError, match="loud of a text is 'A GOOD DAY': its function returns a number"):
        measure_table(TABLE, [TextMeasure("loud", upper)])


@pytest.mark.parametrize("measures", [["vader"], "vader", [], None, [TextMeasure("words", length), 3]])
def test_a_table_answers_what_is_no_list_of_measures_as_a_run_does(gpt2: HookedModel, measures: Any) -> None:
    answers = []
    for ask in (partial(measure_table, TABLE), partial(evaluate, gpt2, [UNSTEERED], ["Hi"])):
        with pytest.raises(ValueError, match="measure") as refused:
            ask(measures)
        answers.append(str(refused.value))
    assert answers[0] == answers[1]
