"""How many words of a topic does the model write when the topic's vector is added, and how many of others?

Each topic is a prompt pair, mostly a word against padding, added at the front of every beginning. Of each continuation
two things are counted: the words of a topic in it, and whether there is one at all; its perplexity under the unsteered
model says what that cost. Beside every vector stand random vectors of its norm.

Along layers this is figures 3 and 4 of the paper, of several topics each by its own words, and of all together; over
several topics the topic steered against the topic measured; over shares of dimensions, the vector's first coordinates
alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from steering_lab.analysis.plots import Figure, along, claim_curves, steered_by_layer, steered_measured
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.evaluation.measuring.measures import (
    Degenerate,
    Measure,
    Perplexity,
    measure_table,
    topic_any,
    topic_count,
)
from steering_lab.evaluation.measuring.named_measures import topic_words
from steering_lab.evaluation.running.condition import UNSTEERED
from steering_lab.evaluation.running.grid import PlaceName, check_coeffs, layer_coeff_grid, median_resid_norms
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.actadd import actadd_vectors
from steering_lab.runs import read_run
from steering_lab.study.expectations import Expectation, said
from steering_lab.study.page import described
from steering_lab.study.paper.beside_lines import moved
from steering_lab.study.paper.claim import ClaimSettings, judge
from steering_lab.study.paper.page import publish_claim
from steering_lab.study.paper.paired import measured_with_paired
from steering_lab.study.paper.pooling import each_by_its_own, pooled
from steering_lab.study.settings import LayerSettings, RandomSettings, SamplingSettings
from steering_lab.study.setup import opened

from .beginnings import BeginningSettings, over, units
from .cells import PadSettings

COUNT, SHARE = "words of ", "any word of "
"""How the two metrics of a topic begin."""
EVERY, ITS = "every topic", "its topic"
"""What all topics are together along layers, and what each is then measured by."""


@dataclass(frozen=True)
class Topic:
    """A topic: the prompt that stands for it, and the words it is counted by.

    Args:
        prompt: What is added.
        words: A topic's name, a file of words, or words with commas between.
        against: What is taken away; "" is padding alone.
    """

    prompt: str
    words: str
    against: str = ""


@dataclass(frozen=True)
class Config(ClaimSettings, BeginningSettings, PadSettings, LayerSettings, SamplingSettings, RandomSettings):
    """What is added, how continuations are drawn, and what is claimed of the words in them.

    Expectations are of a vector: "weddings: ..." or, along an axis, "weddings layer 6: ...", "weddings coeff 4: ...",
    "weddings 30 %: ..." and "weddings early: ..." for a band of layers. Metrics are "words of weddings", "any word of
    weddings" (the share of continuations with one) and "perplexity". Of several topics along layers "every topic: any
    word of its topic" is the mean over them.

    Args:
        topics: By name, what is added and the words it is counted by.
        coeffs: What a vector is multiplied by.
        place: Where it is added; everywhere takes the last row alone.
        dimensions: Shares of the vector's coordinates, of which the first are kept; the others become 0.
        bands: First and last layer by name: what these layers do on average.
        x: What the figure goes along.
        shown: The metric that the figure shows; over topics it is always "any word of", in a matrix.
        curves: Published points by name: (depth from 0 to 1, or where between the first and the last of ours; value).

    Raises:
        ValueError: no topic, a name that is taken, several of what the figure does not go along, shares outside (0, 1],
            or a metric to show that is not measured.
    """

    topics: Mapping[str, Topic] = field(default_factory=dict)
    coeffs: tuple[float, ...] = (1.0,)
    place: PlaceName = "front"
    dimensions: tuple[float, ...] = (1.0,)
    bands: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    x: Literal["layer", "coeff", "dimensions", "topic"] = "layer"
    shown: str = "any word of weddings"
    curves: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_coeffs("coeffs", self.coeffs)
        self.each_once("dimensions")
        if not self.topics:
            raise ValueError(
                'topics is empty: name one, as topics.weddings = { prompt = " weddings", words = "weddings" }'
            )
        for topic in self.topics.values():
            topic_words(topic.words)
        if odd := [share for share in self.dimensions if not 0 < share <= 1]:
            raise ValueError(f"dimensions has {odd[0]}: a share is above 0 and at most 1")
        for name, axis in (("coeffs", "coeff"), ("dimensions", "dimensions")):
            if self.x != axis and (n := len(getattr(self, name))) > 1:
                raise ValueError(f"{name} has {n} and the figure goes along x = {self.x!r}: give one of them, or x")
        if taken := [name for name in self.topics if name in (EVERY, ITS)]:
            raise ValueError(f"topics has {taken[0]!r}, which is what all topics are together: call it otherwise")
        if self.place in self.bands:
            raise ValueError(f"bands has {self.place!r}, which is where vectors are added: call it otherwise")
        named = [*self.topics, ITS] if self.together else [*self.topics]
        shown = [f"{of}{name}" for of in (COUNT, SHARE) for name in named]
        if self.x != "topic" and self.shown not in (asked := ["perplexity", "degenerate", *shown]):
            raise ValueError(f"shown is {self.shown!r}: it is one of {', '.join(asked)}")

    @property
    def together(self) -> bool:
        """Whether the topics are taken together too: several along layers, each by one vector a layer."""
        return self.x == "layer" and len(self.topics) > 1 and self.dimensions == (1.0,)

    @property
    def own(self) -> dict[str, dict[str, str]]:
        """What the mean over topics is of, by topic: its own words, and what the text costs."""
        costs = {measure.name: measure.name for measure in (Perplexity(), Degenerate())}
        return {name: {f"{of}{name}": f"{of}{ITS}" for of in (COUNT, SHARE)} | costs for name in self.topics}

    @property
    def measures(self) -> list[Measure]:
        """The words of every topic, counted and as one or none, and what the text costs."""
        found: list[Measure] = [Perplexity(), Degenerate()]
        for name, topic in self.topics.items():
            of = topic_words(topic.words)
            found += [topic_count(of, f"{COUNT}{name}"), topic_any(of, f"{SHARE}{name}")]
        return found


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Writes continuations under every condition, counts their words, and returns the finished run folder."""
    model, measures = config.load(), config.measures
    norms = median_resid_norms(model, config.prompts, config.sites(model))
    conditions, cells = [UNSTEERED], dict[str, dict[str, Any]]()
    for name, topic in config.topics.items():
        vectors = actadd_vectors(model, ContrastPair(topic.prompt, topic.against), config.sites(model), pad=config.pad)
        for share in config.dimensions:
            method = name if share == 1 else f"{name} {share:.0%}".replace("%", " %")
            cells[method] = {"topic": name, "dimensions": share}
            kept = {site: _first(vector, share) for site, vector in vectors.items()}
            asked: dict[str, Any] = {
                "method": method,
                "place": config.place,
                "n_random": config.n_random,
                "seed": config.seed,
            }
            conditions += layer_coeff_grid(kept, config.coeffs, norms, **asked)
    if config.together:
        cells[EVERY] = {"topic": EVERY, "dimensions": 1.0}
    with opened(model, config, results, module=__name__, doc=__doc__, elsewhere=elsewhere) as setup:
        texts = setup.generations(conditions, config.prompts, config.decoding)
        table = measure_table(units(texts), measures)
        if config.together:
            table = each_by_its_own(table, config.own, called=EVERY)
        table = pooled(table, config.bands)
        summary = summarise(table, seed=config.seed)
        measured = _measured(config.x, config.place, summary, table, config.expects, config.seed)
        setup.folder.write_table("generations.jsonl", texts)
        setup.folder.write_table("table", table)
        setup.folder.write_table("summary", summary)
        setup.folder.write_json("cells.json", cells)
        setup.folder.write_json("verdict.json", judge(config, measured, _ours(config, measured)).as_json())
        return setup.folder.finish(report)


def _first(vector: SteeringVector, share: float) -> SteeringVector:
    """The vector with its first coordinates alone, so that what is left of it is `share` of them."""
    rows = vector.rows.clone()
    rows[:, round(share * rows.shape[1]) :] = 0
    return replace(vector, rows=rows).described(f"the first {share:g} of the coordinates of ({vector.source.recipe})")


def _measured(
    x: str, place: str, summary: pd.DataFrame, table: pd.DataFrame, expects: Sequence[str], seed: int
) -> pd.DataFrame:
    """What expectations are answered by: a row for every cell of a vector and each metric, against unsteered text.

    And the differences between two cells that a line compares, prompt by prompt.
    """

    def who(row: Any) -> str:
        if row.role == "unsteered":
            return "unsteered"
        band = [str(row.place)] if row.place != place else []
        along = x in ("layer", "coeff") and not band
        return " ".join([row.method, *band, *([f"{x} {getattr(row, x):g}"] if along else [])])

    return measured_with_paired(summary, table, ("steered", "unsteered"), who, expects, seed)


def _ours(config: Config, measured: pd.DataFrame) -> str:
    """The numbers that the paper gives; or each topic under its own vector; or what is expected something of."""
    asked = [tuple(name.split(": ", 1)) for name in config.numbers]
    if config.x == "topic":
        asked = [(name, f"{SHARE}{name}") for name in config.topics]
    rows = [row for row in measured.itertuples() if (row.who, row.metric) in asked]
    if not asked:
        lines = {(one.who, one.metric) for one in map(Expectation.read, config.expects)}
        rows = [row for row in measured.itertuples() if (row.who, row.metric) in lines]
    each = (f"{row.who}, {row.metric} {said(row, band=True)}" for row in rows if not isinstance(row.against, str))
    return "; ".join(each) + ", against unsteered"


def report(folder: str | Path) -> Path:
    """Draws the page of a finished run from its files alone."""
    parts = read_run(folder)
    config, summary, cells = parts["config"], parts["summary"], parts["cells"]
    about = described(config["model"], parts.get("model", {}))
    n = parts["table"].groupby(["condition", "metric"]).size().max()
    words = (config["source"], f"{about}; {n} continuations a cell{over(config)}")
    steered = summary[(summary["role"] == "steered") & (summary["place"] == config["place"])]
    steered = steered.assign(
        **{key: steered["method"].map(lambda m, key=key: cells[m][key]) for key in ("topic", "dimensions")}
    )
    topics = list(config["topics"])
    shares = f"{words[1]}; the share of them with a word of a topic, steered less unsteered"
    matrix: dict[str, Any] = {"prefix": SHARE, "title": words[0], "subtitle": shares}
    if config["x"] == "topic":
        figures = {"words": steered_measured(steered, topics, **matrix)}
    else:
        figures = {"words": _curves(parts, steered, config["shown"], config["curves"], words)}
    if config["x"] == "layer":
        other = _other(config["shown"])
        figures["counts" if other.startswith(COUNT) else "shares"] = _curves(parts, steered, other, {}, words)
        if EVERY in cells:
            figures["topics"] = steered_by_layer(steered, topics, **matrix)
    if config["x"] == "coeff":
        figures["perplexity"] = _curves(parts, steered, "perplexity", {}, words)
    columns = [
        "method",
        "place",
        "layer",
        "coeff",
        "metric",
        "value",
        "effect",
        "low",
        "high",
        "control_low",
        "control_high",
    ]
    table = summary.loc[summary["role"].isin(["steered", "unsteered"]), [*columns, "p_family", "p_random"]]
    measured = _measured(config["x"], config["place"], summary, parts["table"], config["expects"], config["seed"])
    few = table[table["metric"].isin([config["shown"], "perplexity"])] if config["shown"] else table
    told = [config["shown"]] if config["shown"] else [f"{SHARE}{name}" for name in topics]
    cases = measured[measured["place"] == config["place"]]
    if EVERY in cells:
        if config["shown"].endswith(ITS):
            few = few[few["method"].isin([EVERY, "unsteered"])]
        told += [f"{SHARE}{name}" for name in topics]
        cases = cases[(cases["method"] == EVERY) | (cases["metric"] == SHARE + cases["method"])]
    return publish_claim(
        folder,
        parts,
        headline=few.dropna(axis=1, how="all"),
        figures=figures,
        measured=measured,
        findings=moved(cases, told),
        tables={"Every cell and metric": table},
        generations=parts.get("generations"),
    )


def _other(shown: str) -> str:
    """The count of the words that a metric asks for one of, or whether there is one of those that it counts."""
    if shown.startswith(SHARE):
        return COUNT + shown.removeprefix(SHARE)
    return SHARE + shown.removeprefix(COUNT)


def _curves(
    parts: Mapping[str, Any],
    steered: pd.DataFrame,
    metric: str,
    published: Mapping[str, Sequence[Sequence[float]]],
    words: tuple[str, str],
) -> Figure:
    """A metric along what the figure goes along, each topic a line; coefficients a hundredfold apart on a log axis."""
    config = parts["config"]
    coeffs = [coeff for coeff in config["coeffs"] if coeff]
    ends = (0, parts["model"]["n_layers"] - 1) if config["x"] == "layer" else None
    far = config["x"] == "coeff" and min(coeffs) > 0 and max(coeffs) >= 100 * min(coeffs)
    lines, ticks = along(steered[steered["metric"] == metric], config["x"], by="topic", log=far, ends=ends)
    ratio = metric == "perplexity"
    return claim_curves(
        lines,
        published,
        x_label={"layer": "layer", "coeff": "coefficient", "dimensions": "share of dimensions"}[config["x"]],
        y_label=f"{metric}, steered over unsteered" if ratio else f"{metric}, more than unsteered",
        neutral=1 if ratio else 0,
        ticks=ticks,
        title=words[0],
        subtitle=words[1],
    )
