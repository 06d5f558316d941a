"""Can a vector of love and hate turn the sentiment of a text, from good to bad and from bad to good?

Openings are sentences that people rated as good or bad. To good ones the vector of hate is added, to bad ones that of
love, and a continuation is flipped where a scorer finds it on the other side. Beside it stand writing an instruction in
front, which is what anyone would try first, and random vectors of equal norm. Perplexity under the unsteered model, and
the share of broken texts, say what it costs. How far the scorer ranks the rated sentences as people did is said with
it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple, get_args

import pandas as pd

from steering_lab.analysis.plots import condition_bars
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.data.rated_sentences import Corpus, rated_sentences
from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.evaluation.measuring.agreement import Agreement, agreement_of
from steering_lab.evaluation.measuring.measures import Degenerate, Measure, Perplexity, TextMeasure, measure_table
from steering_lab.evaluation.measuring.metrics import vader_sentiment, valence_balance
from steering_lab.evaluation.running.condition import prompting
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.numerics.kinds import Kind
from steering_lab.runs import read_run
from steering_lab.study.expectations import said
from steering_lab.study.language import ENGLISH, Language
from steering_lab.study.page import described
from steering_lab.study.paper.claim import ClaimSettings, judge
from steering_lab.study.paper.page import COLUMNS, PAIRED_COLUMNS, publish_claim
from steering_lab.study.paper.paired import paired_differences
from steering_lab.study.paper.texts import TextGroup
from steering_lab.study.settings import LayerSettings, SamplingSettings
from steering_lab.study.setup import opened

from .cells import CellSettings, front_cells

EDGE = 0.05  # of VADER's compound score: between −0.05 and 0.05 a text is neither, as its authors have it
FLIPPED, SCORE = "flipped", "sentiment"


class Way(NamedTuple):
    """One of the two ways to turn a text.

    Args:
        name: As lines have it.
        openings: The openings' group.
        to: 1 toward good, -1 toward bad.
    """

    name: str
    openings: str
    to: int


WAYS = (Way("positive to negative", "positive", -1), Way("negative to positive", "negative", 1))


@dataclass(frozen=True)
class Config(ClaimSettings, CellSettings, LayerSettings, SamplingSettings):
    """The pair, the openings, and the instruction that it is compared with.

    Expectations are of a way: "positive to negative: flipped rises beyond random vectors", and of the instruction,
    "prompting, positive to negative: flipped ...". Metrics are "flipped", "sentiment" (the scorer's, toward the side
    that is steered to), "perplexity" and "degenerate".

    Args:
        positive: The prompt of the good side.
        negative: And of the bad one; each is added less the other.
        coeff: What the difference is multiplied by.
        openings: The texts to continue, "positive" and "negative" ones.
        folder: Where their files lie, if not here.
        opening_words: Openings end after so many words; 0 leaves them whole.
        instructions: What prompting writes in front of an opening, toward "positive" and "negative".
        curves: Published points by condition: (which way, 0 to negative and 1 to positive; change against unsteered).

    Raises:
        ValueError: not one layer, or openings or instructions that are not of the two sides.
    """

    positive: str = "Love"
    negative: str = "Hate"
    coeff: float = 3.0
    openings: Mapping[str, TextGroup] = field(default_factory=dict)
    folder: str = ""
    opening_words: int = 0
    instructions: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(0, "opening_words")
        if len(self.layers) != 1:
            raise ValueError(f"layers is {list(self.layers)}: a vector is added at one layer, as [4]")
        for name in ("openings", "instructions"):
            if set(held := getattr(self, name)) != {"positive", "negative"}:
                raise ValueError(f"{name} is of {', '.join(held) or 'nothing'}: give those of positive and negative")

    def texts(self, way: Way) -> list[str]:
        """The openings of one way; of stories without ratings, those with the most words of its side.

        Args:
            way: Which.
        """
        lexicon = self.language.lexicon
        words = lexicon.positive if way.openings == "positive" else lexicon.negative
        found = self.openings[way.openings].texts(words, self.seed, self.folder)
        if self.opening_words:
            found = [" ".join(text.split()[: self.opening_words]) for text in found]
        return list(dict.fromkeys(found))


def score(text: str, language: Language) -> float:
    """How good a text is, from -1 to 1: VADER's compound score of English, else the balance of valenced words.

    Args:
        text: The text.
        language: Its language.
    """
    if language == ENGLISH:
        return vader_sentiment(text)
    return valence_balance(text, positive=language.lexicon.positive, negative=language.lexicon.negative)


def measures(way: Way, language: Language) -> list[Measure]:
    """What every continuation of a way is asked; one without words is not flipped.

    Args:
        way: Which way.
        language: The model's.
    """

    def toward(text: str) -> float:
        return way.to * score(text, language)

    edge = EDGE if language == ENGLISH else 0.0
    flipped = TextMeasure(FLIPPED, lambda text: float(toward(text) > edge), kind=Kind.BOUNDED, bounds=(0, 1))
    return [flipped, TextMeasure(SCORE, toward, kind=Kind.SYMMETRIC, bounds=(-1, 1)), Perplexity(), Degenerate()]


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Continues the openings both ways under every condition, and returns the finished run folder."""
    texts = {way: config.texts(way) for way in WAYS}
    agreed, model = _agreement(config), config.load()
    sites = config.sites(model)
    tables, written = dict[Way, pd.DataFrame](), list[pd.DataFrame]()
    with opened(model, config, results, module=__name__, doc=__doc__, elsewhere=elsewhere) as setup:
        for way, openings in texts.items():
            sides = (config.positive, config.negative)[:: way.to]
            cells = front_cells(model, ContrastPair(*sides), sites, [config.coeff], openings, config)
            told = config.instructions["positive" if way.to > 0 else "negative"]
            found = setup.generations([*cells.conditions, prompting(told)], openings, config.decoding)
            tables[way] = measure_table(found, measures(way, config.language))
            written.append(found.assign(way=way.name))
        measured = pd.concat([_measured(config, way, table) for way, table in tables.items()], ignore_index=True)
        setup.folder.write_table("generations.jsonl", pd.concat(written, ignore_index=True))
        setup.folder.write_table("measured", measured)
        setup.folder.write_json("agreement.json", asdict(agreed) | {"said": str(agreed)} if agreed else {})
        setup.folder.write_json("verdict.json", judge(config, measured, _ours(measured)).as_json())
        return setup.folder.finish(report)


def _agreement(config: Config) -> Agreement | None:
    """How far the scorer ranks all rated sentences of the openings' sources as people did; None without ratings."""
    sources = dict.fromkeys(source for group in config.openings.values() for source in group.sources)
    corpora: list[Corpus] = [source for source in sources if source in get_args(Corpus)]  # type: ignore[misc]
    rated = [one for corpus in corpora for one in rated_sentences(corpus)]
    if not rated:
        return None
    scores = [score(one.text, config.language) for one in rated]
    of = f"what people said of {len(rated):,} sentences of {', '.join(corpora)}"
    return agreement_of(scores, [one.rating for one in rated], n_asked=len(rated), judge="VADER", of=of)


def _measured(config: Config, way: Way, table: pd.DataFrame) -> pd.DataFrame:
    """Every condition of a way against unsteered text, and the comparisons that are expected of it."""

    def summed(rows: pd.DataFrame) -> pd.DataFrame:
        return summarise(rows, searched=False, seed=config.seed)

    def who(rows: pd.DataFrame) -> list[str]:
        before = {"steered": "", "unsteered": "unsteered, ", "baseline": "prompting, "}
        return [before[role] + way.name for role in rows["role"]]

    own = summed(table)
    own = own[own["role"] != "control"]
    shown = table[table["role"] != "control"]
    paired = paired_differences(shown, pd.Series(who(shown), shown.index), config.expects, summed)
    every = [own.assign(who=who(own), against=None), paired]
    return pd.concat(every, ignore_index=True).assign(way=way.name)


def _ours(measured: pd.DataFrame) -> str:
    alone = measured[measured["against"].isna() & measured["metric"].isin([FLIPPED, "perplexity"])]
    rows = alone[alone["role"] != "unsteered"].itertuples()
    told = [f"{row.who} {row.value:.0%}, {said(row, band=True)}" if row.metric == FLIPPED else "" for row in rows]
    return "flipped: " + "; ".join(filter(None, told)) + ", against unsteered"


def report(folder: str | Path) -> Path:
    """Draws the page of a finished run from its files alone."""
    parts = read_run(folder)
    config, measured, agreed = parts["config"], parts["measured"], parts["agreement"]
    about = described(config["model"], parts.get("model", {}))
    own = measured[measured["against"].isna()]
    named = {"steered": "ActAdd", "unsteered": "unsteered", "baseline": "an instruction in front"}
    drawn = own.assign(condition=own["role"].map(named), group=own["way"])
    told = {(name, WAYS[int(i)].name): y for name, points in config.get("curves", {}).items() for i, y in points}
    drawn = drawn.assign(
        published=[told.get(at, float("nan")) for at in zip(drawn["condition"], drawn["group"], strict=True)]
    )
    figure = condition_bars(
        drawn,
        metric=FLIPPED,
        conditions=["unsteered", "an instruction in front", "ActAdd"],
        focus=["ActAdd"],
        percent=True,
        metric_label="continuations on the other side",
        title=config["source"],
        subtitle=f"{about}; {config['positive']} and {config['negative']} at layer {config['layers'][0]}, coefficient"
        f" {config['coeff']:g}",
        published_as="published, as far from our unsteered as from the paper's; a classifier's mean probability",
    )
    paired = measured[measured["against"].notna()][PAIRED_COLUMNS]
    scorer = f"The scorer: VADER, {agreed['said']}." if agreed else "The scorer counts words; nobody rated these texts."
    return publish_claim(
        folder,
        parts,
        headline=own.loc[own["metric"].isin([FLIPPED, "perplexity"]), COLUMNS],
        figures={"flipped": figure},
        measured=measured,
        findings=(scorer,),
        tables={"Paired differences": paired, "Every metric": own[COLUMNS]},
        generations=parts.get("generations"),
    )
