"""Does adding a topic's vector harm what the model knows that has nothing to do with it?

Facts are sentences that end in their answer: "The capital of Peru is" and " Lima". The answer's first token is ranked
among all next tokens, steered and unsteered; P@K is the share of facts whose answer is among the K likeliest. Each
country is the unit of the intervals, its sentences being repeats of it; of a file in LAMA's form (`data`) each sentence
is. Random vectors of equal norm stand beside.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from steering_lab.analysis.plots import claim_curves
from steering_lab.analysis.plots.parts.labels import signed
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.data.country_facts import country_facts
from steering_lab.data.masked_facts import read_masked_facts
from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.grid import check_coeffs
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering import steer
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading.synthetic import organism_at
from steering_lab.models.progress import progress_bar
from steering_lab.models.scoring import forced_logits
from steering_lab.numerics.intervals import paired_interval
from steering_lab.numerics.kinds import Kind
from steering_lab.organism.facts import FACTS as WORLD
from steering_lab.runs import read_run
from steering_lab.study.expectations import said
from steering_lab.study.page import described
from steering_lab.study.paper.claim import ClaimSettings, judge
from steering_lab.study.paper.page import publish_claim
from steering_lab.study.settings import LayerSettings
from steering_lab.study.setup import opened
from steering_lab.tables import measurements

from .cells import CellSettings, front_cells

TEMPLATES = {  # sentences that end in their answer, by relation
    "capital": (
        "The capital of {subject} is",
        "The capital city of {subject} is called",
        "Its capital: {subject},",
        "{Subject} is governed from the city of",
    ),
    "currency": (
        "The currency of {subject} is the",
        "In {subject}, people pay with the",
        "Prices in {subject} are in",
        "The money used in {subject} is the",
    ),
    "continent": (
        "{Subject} is a country in",
        "{Subject} lies on the continent of",
        "On the map, {subject} is in",
        "{Subject} is located in",
    ),
}
WORLD_TEMPLATE = "The {relation} of {subject} is"  # of the synthetic model's world


class Asked(NamedTuple):
    """A sentence without its last word.

    Args:
        country: What the fact is about: the unit of the intervals.
        relation: What is said of it.
        text: The sentence.
        answer: What ends it.
    """

    country: str
    relation: str
    text: str
    answer: str


@dataclass(frozen=True)
class Config(ClaimSettings, CellSettings, LayerSettings):
    """What is added, and what is asked.

    Expectations are of the vector at a layer and coefficient: "actadd: P@1 moves by at most 0.02", or where several are
    asked "layer 4 coeff 2: P@1 ...".

    Args:
        positive: The prompt whose activations are added.
        negative: And the one whose are taken away; "" is padding alone.
        coeffs: What the difference is multiplied by.
        relations: Of countries: capital, currency, continent; of the synthetic model, of its own world.
        data: A file of facts in LAMA's form (`data.masked_facts`), asked instead of those of relations.
        templates: How many sentences ask for each fact.
        min_population: Smaller countries are left out.
        ks: The K of P@K.

    Raises:
        ValueError: an unknown relation, or a K below 1.
    """

    positive: str = " weddings"
    negative: str = ""
    coeffs: tuple[float, ...] = (1.0,)
    relations: tuple[str, ...] = ("capital", "currency", "continent")
    data: str = ""
    templates: int = 3
    min_population: int = 2_000_000
    ks: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 9, 12, 15, 19, 24, 30, 38, 49, 62, 79, 100)
    curves: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_coeffs("coeffs", self.coeffs)
        self.each_once("relations", "ks")
        self.at_least(1, "templates")
        known = set(TEMPLATES) if organism_at(self.model) is None else {fact.relation for fact in WORLD}
        if unknown := [name for name in self.relations if name not in known]:
            raise ValueError(f"relations has {unknown[0]!r}: choose of {', '.join(sorted(known))}")
        if self.templates > (most := min(map(len, TEMPLATES.values()))):
            raise ValueError(f"templates is {self.templates}: there are {most} sentences for each fact")
        if not self.ks or min(self.ks) < 1:
            raise ValueError(f"ks is {list(self.ks)}: whole numbers from 1 on")

    def asked(self) -> list[Asked]:
        """The sentences."""
        if self.data:
            return [Asked(fact.text, "fact", *fact) for fact in read_masked_facts(self.data)]
        if organism_at(self.model) is not None:
            of = (fact for fact in WORLD if fact.relation in self.relations)
            return [
                Asked(f.subject, f.relation, WORLD_TEMPLATE.format(relation=f.relation, subject=f.subject), f.object)
                for f in of
            ]
        facts = [f for name in self.relations for f in country_facts(name, min_population=self.min_population).facts]
        return [
            Asked(f.country, f.relation, text.format(**f.subjects), f.answers[0])
            for f in facts
            for text in TEMPLATES[f.relation][: self.templates]
        ]


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Ranks every answer under every condition, and returns the finished run folder."""
    asked, model = config.asked(), config.load()
    pair, texts = ContrastPair(config.positive, config.negative), [one.text for one in asked]
    _, conditions = front_cells(model, pair, config.sites(model), config.coeffs, texts, config)
    with opened(model, config, results, module=__name__, doc=__doc__, elsewhere=elsewhere) as setup:
        ranks = pd.concat(
            [
                _ranks(model, condition, asked)
                for condition in progress_bar(conditions, what="facts ranked", leave=True)
            ],
            ignore_index=True,
        )
        table = pd.concat([_at_most(ranks, conditions, k) for k in config.ks], ignore_index=True)
        summary = summarise(table, seed=config.seed)
        measured = _measured(summary)
        setup.folder.write_table("ranks", ranks)
        setup.folder.write_table("summary", summary)
        setup.folder.write_json("verdict.json", judge(config, measured, _ours(config, measured)).as_json())
        return setup.folder.finish(report)


def _ranks(model: HookedModel, condition: Condition, asked: Sequence[Asked]) -> pd.DataFrame:
    """How many tokens are likelier than each answer's first one; NaN where the logits are no numbers."""
    prompts = [model.token_ids(one.text) for one in asked]
    answers = [
        model.token_ids(f"{one.text} {one.answer}")[len(ids) :][:1] for one, ids in zip(asked, prompts, strict=True)
    ]
    assert isinstance(condition.intervention, Intervention)
    found: list[float] = []
    with steer(model, condition.intervention):
        for start in range(0, len(asked), 128):
            part = slice(start, start + 128)
            for logits, ids in zip(forced_logits(model, prompts[part], answers[part]), answers[part], strict=True):
                known = bool(logits[0].isfinite().all())
                found.append(int((logits[0] > logits[0, ids[0]]).sum()) if known else math.nan)
    facts = [one._asdict() for one in asked]
    return pd.DataFrame(facts).assign(condition=condition.name, rank=found)


def _hits(rank: pd.Series, k: int) -> pd.Series:
    """1 where an answer is among the k likeliest, else 0; NaN where its rank is not known."""
    return (rank < k).astype(float).where(rank.notna())


def _at_most(ranks: pd.DataFrame, conditions: Sequence[Condition], k: int) -> pd.DataFrame:
    """The measurements of P@k: whether each answer is among the k likeliest."""
    blocks = []
    for condition in conditions:
        own = ranks[ranks["condition"] == condition.name]
        sample = own.groupby("country").cumcount()
        value = _hits(own["rank"], k)
        observed = pd.DataFrame({"prompt": own["country"], "sample": sample, "value": value})
        named: dict[str, Any] = {"metric": f"P@{k}", "kind": Kind.BOUNDED, "bounds": (0, 1)}
        blocks.append(measurements(condition.name, condition.factors, observed, **named))
    return pd.concat(blocks, ignore_index=True)


def _measured(summary: pd.DataFrame) -> pd.DataFrame:
    rows = summary[summary["role"] == "steered"]
    one = len(rows.drop_duplicates(["layer", "coeff"])) == 1
    who = ["actadd" if one else f"layer {row.layer:g} coeff {row.coeff:g}" for row in rows.itertuples()]
    return rows.assign(who=who, against=None)


def _ours(config: Config, measured: pd.DataFrame) -> str:
    rows = measured[measured["metric"] == f"P@{config.ks[0]}"].itertuples()
    each = "; ".join(f"{row.who}, {row.metric} {row.value:.2f}, {said(row, band=True)}" for row in rows)
    return f"{each}, against unsteered"


def report(folder: str | Path) -> Path:
    """Draws the page of a finished run from its files alone."""
    parts = read_run(folder)
    config, summary = parts["config"], parts["summary"]
    about = described(config["model"], parts.get("model", {}))
    k = summary["metric"].str.removeprefix("P@").astype(int)
    span = np.log(max(config["ks"])) or 1.0
    shown = summary.assign(k=k, x=np.log(k) / span)
    lines = {}
    for (role, layer, coeff), rows in shown[shown["role"] != "control"].groupby(
        ["role", "layer", "coeff"], dropna=False
    ):
        name = "unsteered" if role == "unsteered" else f"layer {layer:g}, coefficient {coeff:g}"
        moved = rows["value"] - rows["effect"]  # the unsteered share, beside which every interval stands
        bands = {name: rows[name] + moved for name in ("low", "high", "control_low", "control_high")}
        lines[name] = rows.assign(**bands).assign(effect=rows["value"])
    n = len(parts["ranks"]["text"].unique())
    figure = claim_curves(
        lines,
        config["curves"],
        x_label="K, log scale",
        y_label="share of answers among the K likeliest",
        level=True,
        ticks={float(np.log(k) / span): str(k) for k in (1, 2, 5, 10, 24, 49, 100) if k in config["ks"]},
        title=config["source"],
        subtitle=f"{about}; {n} sentences about {parts['ranks']['country'].nunique()} subjects",
    )
    columns = [
        "layer",
        "coeff",
        "k",
        "value",
        "effect",
        "low",
        "high",
        "control_low",
        "control_high",
        "p_family",
        "p_random",
    ]
    table = shown.loc[shown["role"] == "steered", columns].sort_values(["layer", "coeff", "k"])
    few = table[table["k"].isin([1, 5, 12, 100])]
    kinds = _by_relation(parts["ranks"])
    return publish_claim(
        folder,
        parts,
        headline=few,
        figures={"facts": figure},
        measured=_measured(summary),
        findings=_apart(kinds),
        tables={
            "P@1 of each kind of fact": kinds.drop(columns="among").rename(columns={"draws": "random vectors, each"}),
            "Every K": table,
        },
    )


def _by_relation(ranks: pd.DataFrame) -> pd.DataFrame:
    """P@1 of each kind of fact: unsteered, and each vector's difference over subjects; the draws' own are beside it."""
    each = ranks.assign(hit=_hits(ranks["rank"], 1))
    hits = each.groupby(["relation", "condition", "country"], sort=False)["hit"].mean()
    rows = []
    for relation in ranks["relation"].unique():
        own = hits[relation].unstack("condition")
        steered = [name for name in own if name != "unsteered" and not name.startswith("random")]
        for name in steered:
            effects = (own[name] - own["unsteered"]).to_numpy()[:, None]
            interval = paired_interval(effects, Kind.BOUNDED)
            draws = [own[c].mean() - own["unsteered"].mean() for c in own if c.endswith(f" for {name}")]
            among = bool(draws) and min(draws) <= effects.mean() <= max(draws)
            rows.append(
                {
                    "among": among,
                    "relation": relation,
                    "vector": name.partition(") ")[2] or name,
                    "unsteered": own["unsteered"].mean(),
                    "effect": effects.mean(),
                    "low": interval.low[0],
                    "high": interval.high[0],
                    "draws": "  ".join(map(signed, sorted(draws))),
                }
            )
    return pd.DataFrame(rows)


def _apart(kinds: pd.DataFrame) -> tuple[str, ...]:
    """In which kinds of facts P@1 surely moves, where there are several kinds."""
    sure = kinds[(kinds["low"] > 0) | (kinds["high"] < 0)]
    if kinds["relation"].nunique() == 1 or sure.empty:
        return ()
    each = "; ".join(
        f"{row.relation}, {row.vector} {signed(row.effect, 3)} [{signed(row.low, 3)}, {signed(row.high, 3)}] from"
        f" {row.unsteered:.2f}, random vectors {row.draws}{', as they may' if row.among else ''}"
        for row in sure.itertuples()
    )
    n = kinds["relation"].nunique()
    return (f"Kinds of facts whose P@1 moves by an interval without 0 (of {n} asked, nothing corrected): {each}.",)
