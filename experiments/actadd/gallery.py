"""The paper's demonstrations, each with samples that nobody chose, and with how often it works.

A demonstration is a prompt pair, a layer, a coefficient and one prompt. The paper shows the best of three samples; here
the samples are those of the first seeds, and a rate says in what share of all of them there is a word of what was
steered to. A rate is about its own prompt: the samples are its units, and its interval says nothing of other prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.evaluation.measuring.measures import Degenerate, Measure, Perplexity, measure_table, topic_any
from steering_lab.evaluation.measuring.named_measures import topic_words
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.numerics.significance import LEVEL
from steering_lab.runs import read_run
from steering_lab.study.expectations import Expectation, named, said
from steering_lab.study.page import described
from steering_lab.study.paper.beside_lines import moved
from steering_lab.study.paper.claim import ClaimSettings, judge
from steering_lab.study.paper.page import publish_claim
from steering_lab.study.settings import SamplingSettings
from steering_lab.study.setup import opened

from .beginnings import units
from .cells import CellSettings, front_cells, pair_said

RATE = "any word"


@dataclass(frozen=True)
class Demonstration:
    """A pair, where and how strongly it is added, to which prompt, and by which words it is seen to work.

    Args:
        positive: The prompt whose activations are added.
        negative: And the one whose are taken away; "" is padding alone.
        layer: Where.
        coeff: What the difference is multiplied by.
        prompt: What is continued; it has as many tokens as the pair, or more.
        words: A topic's name, a file of words, or words with commas between.
    """

    positive: str
    negative: str
    layer: int
    coeff: float
    prompt: str
    words: str


@dataclass(frozen=True)
class Config(ClaimSettings, CellSettings, SamplingSettings):
    """The demonstrations, and how many samples are drawn of each.

    Expectations are of a demonstration: "weddings: any word rises beyond random vectors", "weddings: perplexity ...".

    Args:
        demonstrations: By name.

    Raises:
        ValueError: none, or words that no text can match.
    """

    demonstrations: Mapping[str, Demonstration] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.demonstrations:
            raise ValueError("demonstrations is empty: name one, as [demonstrations.weddings]")
        for one in self.demonstrations.values():
            topic_words(one.words)


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Draws every demonstration's samples, and returns the finished run folder."""
    model, tables, texts = config.load(), list[pd.DataFrame](), list[pd.DataFrame]()
    asked = {name: _conditions(config, model, name, one) for name, one in config.demonstrations.items()}
    with opened(model, config, results, module=__name__, doc=__doc__, elsewhere=elsewhere) as setup:
        for name, one in config.demonstrations.items():
            written = setup.generations(asked[name], [one.prompt], config.decoding)
            measures: list[Measure] = [topic_any(topic_words(one.words), RATE), Perplexity(), Degenerate()]
            tables.append(measure_table(units(written), measures).assign(demonstration=name))
            texts.append(written.assign(demonstration=name))
        summary = pd.concat(
            [summarise(table.drop(columns="demonstration"), seed=config.seed).assign(demonstration=name)
             for table, name in zip(tables, config.demonstrations, strict=True)],
            ignore_index=True,
        )  # fmt: skip
        measured = _measured(summary)
        every = pd.concat(texts, ignore_index=True)
        shown = every[every["role"].isin(["unsteered", "steered"]) & (every["sample"] < 3)]
        setup.folder.write_table("generations.jsonl", every)
        setup.folder.write_table("samples", shown[["demonstration", "role", "sample", "prompt", "text"]])
        setup.folder.write_table("table", pd.concat(tables, ignore_index=True))
        setup.folder.write_table("rates", summary)
        setup.folder.write_json("verdict.json", judge(config, measured, _ours(config, measured)).as_json())
        return setup.folder.finish(report)


def _conditions(config: Config, model: HookedModel, name: str, one: Demonstration) -> Sequence[Condition]:
    site, pair = resid_pre(one.layer), ContrastPair(one.positive, one.negative)
    return front_cells(model, pair, [site], [one.coeff], one.prompt, config, name).conditions


def _measured(summary: pd.DataFrame) -> pd.DataFrame:
    rows = summary[summary["role"] == "steered"]
    return rows.assign(against=None, who=rows["demonstration"])


def _ours(config: Config, measured: pd.DataFrame) -> str:
    """How many demonstrations are beyond random vectors, of those that a line asks about and of the others."""
    rows = measured[measured["metric"] == RATE]
    asked = (
        rows["who"].map(named).isin([line.who for line in map(Expectation.read, config.expects) if line.metric == RATE])
    )
    surely = rows[(rows["low"] > 0) & (rows["p_random"] <= LEVEL) & (rows["effect"] > rows["control_high"])]
    shown = "; ".join(f"{row.who} {row.value:.0%}, {said(row, band=True)}" for row in surely.itertuples())
    each = (f"{asked[surely.index].sum()} of {asked.sum()}", f"{(~asked[surely.index]).sum()} of {(~asked).sum()}")
    told = f"beyond random vectors are {each[0]} demonstrations that a line asks about and {each[1]} others"
    return told + (f": {shown}" if shown else "")


def report(folder: str | Path) -> Path:
    """Draws the page of a finished run from its files alone."""
    parts = read_run(folder)
    config, rates = parts["config"], parts["rates"]
    about = described(config["model"], parts.get("model", {}))
    steered = _measured(rates)
    cost = {row.demonstration: row for row in steered[steered["metric"] == "perplexity"].itertuples()}
    head = steered[steered["metric"] == RATE]
    table = pd.DataFrame(
        {
            "demonstration": head["demonstration"],
            "pair": [_pair(config, name) for name in head["demonstration"]],
            "layer": head["layer"],
            "coeff": head["coeff"],
            "any word": head["value"],
            "unsteered": head["value"] - head["effect"],
            "effect": head["effect"],
            "low": head["low"],
            "high": head["high"],
            "control_low": head["control_low"],
            "control_high": head["control_high"],
            "perplexity": [said(cost[name], band=True) for name in head["demonstration"]],
        }
    )
    note = (
        f"{about}. Of {config['n_samples']} samples of one prompt each, the share with a word of what was steered"
        " to. Intervals are over these samples: they say nothing of other prompts."
    )
    samples = parts["table"].assign(prompt=parts["table"]["demonstration"] + ", " + parts["table"]["prompt"])
    return publish_claim(
        folder,
        parts,
        headline=table,
        headline_note=note,
        measured=steered,
        observed=samples,  # every demonstration has a sample 0 of its own
        findings=moved(steered, [RATE, "degenerate"]),
        figures={},
        tables={"The first three samples of each, chosen by nobody": parts["samples"]},
        generations=parts.get("generations"),
    )


def _pair(config: Mapping[str, Any], name: str) -> str:
    one = config["demonstrations"][name]
    return pair_said(one["positive"], one["negative"], config)
