"""Measures: named functions from a table of generations to one number per row, and the tidy table they fill.

A measure only reads the table (columns `text`, `n_tokens`, `log_prob_unsteered`, ...), so a run can be measured again
without a model. A new one needs no registration: anything with a name, a weight and a call is a measure, and
`TextMeasure("length", length)` makes one of any function of a text.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, Protocol, SupportsFloat, get_args, runtime_checkable

import numpy as np
import pandas as pd

from steering_lab.data.lexicons import Lexicon, check_words
from steering_lab.evaluation.measuring.metrics import (
    corpus_perplexity,
    distinct_2,
    has_word,
    length,
    perplexity,
    repetition,
    sentiment_score,
    vader_sentiment,
    valence_balance,
    word_count,
    word_rate,
)
from steering_lab.numerics.kinds import OPEN, Bounds, Kind
from steering_lab.tables import GENERATIONS, MEASUREMENTS, Scale, checked, described, is_unsteered


@runtime_checkable
class Measure(Protocol):
    """A named function from the generations table to one value per row, NaN where a row does not determine it."""

    @property
    def name(self) -> str:
        """The metric's name in the tidy table."""

    @property
    def weight(self) -> str | None:
        """The column by which a mean weighs the rows (`n_tokens` for a per-token value), or None: all rows equally."""

    @property
    def scale(self) -> Scale:
        """How its values are compared: "ratio" for one above 0 whose mean is geometric, else "difference"."""

    @property
    def kind(self) -> Kind:
        """How its differences (a ratio's logarithms) are distributed; skewed where nothing is known."""

    @property
    def bounds(self) -> Bounds:
        """The smallest and the largest value there can be; infinite where there is none."""

    def __call__(self, generations: pd.DataFrame) -> pd.Series:
        """The values, on the index of `generations`."""


if TYPE_CHECKING:
    Measures = Sequence[Measure]
else:
    Measures = object  # what `check_measures` has been through is one


def _check_declared(measure: Any, *, weighs: bool = True) -> None:
    """What a measure says of itself; a weight by the columns of generations, which a table may have more of."""
    name, bounds = measure.name, measure.bounds
    if not isinstance(name, str) or not name:
        raise ValueError(f"a measure's name is {name!r}: give it the one that its metric has in tables")
    if weighs and measure.weight is not None and measure.weight not in GENERATIONS.names:
        raise ValueError(f"{name} is weighed by {measure.weight!r}: that is no column of generations; None is 1 each")
    for what, said, allowed in (("scale", measure.scale, get_args(Scale)), ("kind", measure.kind, list(Kind))):
        if said not in allowed:
            raise ValueError(f"{what} of {name} is {said!r}: choose one of {', '.join(allowed)}")
    if not (isinstance(bounds, tuple | list) and len(bounds) == 2 and all(isinstance(end, Real) for end in bounds)):
        raise ValueError(f"{name} has the bounds {bounds!r}: give the smallest and the largest value there can be")
    described(name, measure.scale, measure.kind, tuple(bounds))


@dataclass(frozen=True)
class TextMeasure:
    """`of` each continuation's text.

    Args:
        name: The metric's name in tables.
        of: The measure of one text.
        weight: The column that weighs the values; None is one each.
        scale: How values are compared with the unsteered: "difference" or "ratio".
        kind: How its differences are distributed; skewed where nothing is known.
        bounds: The smallest and the largest value there can be; infinite where there is none.

    Raises:
        ValueError: no name, a weight that is no column, an unknown scale or kind, or bounds that are none.
    """

    name: str
    of: Callable[[str], float]
    weight: str | None = None
    scale: Scale = "difference"
    kind: Kind = Kind.SKEWED
    bounds: Bounds = OPEN

    def __post_init__(self) -> None:
        _check_declared(self)

    def __call__(self, generations: pd.DataFrame) -> pd.Series:
        values = [self.of(text) for text in generations["text"]]
        if odd := [value for value in values if not isinstance(value, SupportsFloat)]:
            raise ValueError(
                f"{self.name} of a text is {odd[0]!r}: its function returns a number, NaN where there is none"
            )
        return pd.Series(values, index=generations.index, dtype=float)


def sentiment(lexicon: Lexicon, name: str = "sentiment") -> TextMeasure:
    """`name`: `sentiment_score` by `lexicon`, in [−1, 1], NaN for a text without valenced words."""
    return _leaning(name, partial(sentiment_score, positive=lexicon.positive, negative=lexicon.negative))


def balance(lexicon: Lexicon, name: str = "valence_balance") -> TextMeasure:
    """`name`: `valence_balance` by `lexicon`, in [−1, 1], defined on every text with words."""
    return _leaning(name, partial(valence_balance, positive=lexicon.positive, negative=lexicon.negative))


def vader(name: str = "vader") -> TextMeasure:
    """`vader_sentiment`: in [−1, 1], English only; high on gibberish of kind words, so keep perplexity beside it.

    Args:
        name: The metric's name in tables.
    """
    return _leaning(name, vader_sentiment)


def _leaning(name: str, of: Callable[[str], float]) -> TextMeasure:
    return TextMeasure(name, of, kind=Kind.SYMMETRIC, bounds=(-1, 1))


def topic_count(words: Iterable[str], name: str = "topic_words") -> TextMeasure:
    """`name`: number of topic words in each continuation. Raises ValueError for words that `check_words` refuses."""
    return TextMeasure(name, partial(word_count, of=check_words(words)), bounds=(0, math.inf))


def topic_any(words: Iterable[str], name: str = "topic_any") -> TextMeasure:
    """`name`: whether a topic word is in each continuation. Raises ValueError for words that `check_words` refuses.

    Args:
        words: The topic's words.
        name: The metric's name in tables.
    """
    return TextMeasure(name, partial(has_word, of=check_words(words)), kind=Kind.BOUNDED, bounds=(0, 1))


def topic_rate(words: Iterable[str], name: str = "topic_rate") -> TextMeasure:
    """`name`: share of topic words in each continuation, in [0, 1].

    Raises ValueError for words that `check_words` refuses.

    Skewed, not bounded: it is a count over a length, mostly near 0 and never near 1.
    """
    return TextMeasure(name, partial(word_rate, of=check_words(words)), bounds=(0, 1))


LENGTH = TextMeasure("length", length, bounds=(0, math.inf))
DISTINCT_2 = TextMeasure("distinct_2", distinct_2, kind=Kind.BOUNDED, bounds=(0, 1))
REPETITION = TextMeasure("repetition", repetition, kind=Kind.BOUNDED, bounds=(0, 1))


@dataclass(frozen=True)
class Perplexity:
    """Perplexity of each continuation under the `under` model ("unsteered": what steering cost in fluency).

    Its mean over a cell is the corpus perplexity: geometric, every token weighing the same.

    Args:
        name: The metric's name in tables.
        under: The model whose log-probabilities count: "unsteered" or "steered".
        weight: The column that weighs the values; None is one each.
        scale: How values are compared with the unsteered: "difference" or "ratio".
        kind: How the logarithms' differences are distributed.
        bounds: The smallest and the largest value there can be.
    """

    name: str = "perplexity"
    under: Literal["unsteered", "steered"] = "unsteered"
    weight: str = "n_tokens"
    scale: Scale = "ratio"
    kind: Kind = Kind.SYMMETRIC
    bounds: Bounds = (1, math.inf)

    def __call__(self, generations: pd.DataFrame) -> pd.Series:
        log_prob, n_tokens = _scored(generations, f"log_prob_{self.under}")
        return pd.Series(perplexity(log_prob, n_tokens), index=generations.index)


@dataclass(frozen=True)
class Degenerate:
    """1 where a continuation has broken down, else 0; its mean is the share of broken continuations.

    Broken: empty, or more than `perplexity_ratio` times as perplexing under the unsteered model as that model's own
    corpus, or more than the share `repetition` of its 3-grams repeated (a loop is cheap in perplexity, so perplexity
    alone passes it). NaN where the log-probability is missing and the text does not loop. The flag removes nothing: a
    degenerate continuation stays in every mean.

    Args:
        perplexity_ratio: How many times as perplexing as the unsteered corpus a sound text may be.
        repetition: The share of repeated 3-grams that a sound text may have.
        name: The metric's name in tables.
        weight: The column that weighs the values; None is one each.
        scale: How values are compared with the unsteered: "difference" or "ratio".
        kind: How its differences are distributed.
        bounds: The smallest and the largest value there can be.
    """

    perplexity_ratio: float = 5.0
    repetition: float = 0.5
    name: str = "degenerate"
    weight: None = None
    scale: Scale = "difference"
    kind: Kind = Kind.BOUNDED
    bounds: Bounds = (0, 1)

    def __call__(self, generations: pd.DataFrame) -> pd.Series:
        log_prob, n_tokens = _scored(generations, "log_prob_unsteered")
        reference = is_unsteered(generations).to_numpy()
        if not reference.any():
            raise ValueError("the table has no rows of the unsteered model to tell degenerate text by")
        base = corpus_perplexity(log_prob[reference], n_tokens[reference])
        ratio = perplexity(log_prob, n_tokens) / base
        loops = np.array([repetition(text) > self.repetition for text in generations["text"]], dtype=bool)
        broken = loops | (ratio > self.perplexity_ratio) | (n_tokens == 0)
        return pd.Series(np.where(np.isnan(ratio) & ~broken, np.nan, broken), index=generations.index, dtype=float)


def _scored(generations: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    for needed in (column, "n_tokens"):
        if needed not in generations or generations[needed].isna().all():
            raise ValueError(f"the table of generations has no {needed}: generate with log_probs=True")
    return generations[column].to_numpy(float), generations["n_tokens"].to_numpy(np.int64)


def check_measures(measures: object) -> None:
    """Nothing when `measures` is a list of one or more measures: asked before anything is generated.

    Raises:
        ValueError: a name where a measure is wanted, one measure instead of a list, none, something else, or one whose
            scale, kind or bounds are none.
    """
    if isinstance(measures, Measure) or not isinstance(measures, str | Iterable):
        written = f"[{measures.name}]" if isinstance(measures, Measure) else "named_measures(['perplexity'])"
        raise ValueError(f"{measures!r} is no list of measures: write {written}")
    given = [measures] if isinstance(measures, str) else list(measures)
    if names := [one for one in given if isinstance(one, str)]:
        raise ValueError(f"{names[0]!r} is a measure's name: write named_measures({names!r})")
    if not given:
        raise ValueError("measures is []: give one or more, say named_measures(['perplexity'])")
    if odd := [one for one in given if not isinstance(one, Measure)]:
        raise ValueError(f"{odd[0]!r} is no measure: it needs a name, a weight, a scale, a kind, bounds and a call")
    for one in given:
        _check_declared(one, weighs=False)


def measure_table(generations: pd.DataFrame, measures: Measures) -> pd.DataFrame:
    """One row per continuation and measure, with the columns of `tables.MEASUREMENTS`.

    `weight` is what the row weighs in a mean: 1, or its number of tokens for a per-token value. Values that a row does
    not determine are kept as NaN, so that they can be counted.

    Raises:
        ValueError: no rows, measures that `check_measures` refuses, two of one name, bounds that are none
            (`tables.described`), or a table that is none of generations (`tables.checked`).
    """
    shared = [name for name in MEASUREMENTS.names if name in GENERATIONS.names]
    generations = checked(generations, GENERATIONS, [*shared, "text"])
    if generations.empty:
        raise ValueError("nothing to measure: the table of generations has no rows")
    check_measures(measures)
    names = [measure.name for measure in measures]
    if len(set(names)) < len(names):
        raise ValueError(f"two measures share a name: {', '.join(names)}")
    factors = generations[shared]
    blocks = [
        factors.assign(
            **described(m.name, m.scale, m.kind, m.bounds), value=m(generations), weight=_weights(generations, m)
        )
        for m in measures
    ]
    return checked(pd.concat(blocks, ignore_index=True), MEASUREMENTS)[MEASUREMENTS.names]


def _weights(generations: pd.DataFrame, measure: Measure) -> pd.Series:
    if measure.weight is None:
        return pd.Series(1.0, index=generations.index)
    if measure.weight not in generations:
        raise ValueError(f"{measure.name} is weighed by {measure.weight!r}, of which the generations have no column")
    return generations[measure.weight].astype(float)
