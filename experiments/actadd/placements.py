"""Does it matter at which layer a vector is read, and along which part of the prompt it is added?

A pair's vector is read at one layer or several and always added at one: read at layer 0 it is a difference of token
embeddings. It is added along the front, the middle or the end of the prompt. Of each continuation the words of a topic
are counted, and what they cost: perplexity under the unsteered model, and whether the text has broken down. Random
vectors of equal norm stand at the same place beside each.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from steering_lab.analysis.plots import condition_bars
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
from steering_lab.evaluation.running.condition import UNSTEERED, Condition
from steering_lab.evaluation.running.control_vectors import random_controls
from steering_lab.evaluation.running.grid import median_resid_norms
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.actadd import actadd_vectors
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.runs import read_run
from steering_lab.study.expectations import Expectation, said
from steering_lab.study.page import described
from steering_lab.study.paper.beside_lines import moved
from steering_lab.study.paper.claim import ClaimSettings, judge
from steering_lab.study.paper.page import COLUMNS, PAIRED_COLUMNS, publish_claim, with_published
from steering_lab.study.paper.paired import paired_differences
from steering_lab.study.settings import LayerSettings, RandomSettings, SamplingSettings
from steering_lab.study.setup import opened

from .beginnings import BeginningSettings, over, units
from .cells import PadSettings, pair_said

Position = Literal["front", "middle", "back"]
ANY, COUNT = "any word", "words"
LABELS = {ANY: "continuations with a word of what was added", COUNT: "words of what was added, a continuation"}


@dataclass(frozen=True)
class Config(ClaimSettings, BeginningSettings, PadSettings, LayerSettings, SamplingSettings, RandomSettings):
    """What is added, where it was read, and along which part of the prompt it is added.

    Expectations are of a place: "front: words rises beyond random vectors", or of where it was read, "read at 0: any
    word ..." and "read at 0, rescaled: ..."; where several of both are asked for, "read at 0, front: ...". Metrics are
    "words", "any word", "perplexity" and "degenerate".

    Args:
        positive: The prompt whose activations are added.
        negative: And the one whose are taken away; "" is padding alone.
        coeff: What the difference is multiplied by.
        words: By which it is seen to work: a topic's name, a file, or words with commas between.
        read: Layers at which the vector is read; left out, the one at which it is added.
        rescaled: Whether what was read elsewhere is added at the length of what is read where it is added, too.
        positions: Parts of the prompt along which it is added.

    Raises:
        ValueError: not one layer, no position, or words that no text can match.
    """

    positive: str = "Anger"
    negative: str = "Calm"
    coeff: float = 1.0
    words: str = "weddings"
    read: tuple[int, ...] = ()
    rescaled: bool = False
    positions: tuple[Position, ...] = ("front",)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.each_once("read", "positions")
        topic_words(self.words)
        if len(self.layers) != 1:
            raise ValueError(f"layers is {list(self.layers)}: a vector is added at one layer, as [12]")
        if not self.positions:
            raise ValueError("positions is empty: name front, middle or back")

    @property
    def measures(self) -> list[Measure]:
        """The words, counted and as one or none, and what the text costs."""
        of = topic_words(self.words)
        return [topic_any(of, ANY), topic_count(of, COUNT), Perplexity(), Degenerate()]


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Writes continuations under every condition, counts their words, and returns the finished run folder."""
    model = config.load()
    vectors = dict(_vectors(config, model))
    conditions = [UNSTEERED, *_conditions(config, model, vectors)]
    with opened(model, config, results, module=__name__, doc=__doc__, elsewhere=elsewhere) as setup:
        texts = setup.generations(conditions, config.prompts, config.decoding)
        table = measure_table(units(texts), config.measures)
        measured = _measured(config, table)
        setup.folder.write_table("generations.jsonl", texts)
        setup.folder.write_table("table", table)
        setup.folder.write_table("measured", measured)
        setup.folder.write_json("norms.json", {name: config.coeff * vector.norm for name, vector in vectors.items()})
        setup.folder.write_json("verdict.json", judge(config, measured, _ours(config, measured)).as_json())
        return setup.folder.finish(report)


def _vectors(config: Config, model: HookedModel) -> Iterator[tuple[str, SteeringVector]]:
    """What is added, by the name of where it was read; "" where that is where it is added."""
    [site] = config.sites(model)
    read = [resid_pre(layer) for layer in config.read] or [site]
    for one in read:
        model.check_site(one)
    found = actadd_vectors(model, ContrastPair(config.positive, config.negative), [*{*read, site}], pad=config.pad)
    for one in read:
        moved = replace(found[one], site=site)
        yield f"read at {one.layer}" if config.read else "", moved
        if config.rescaled and one != site:
            yield f"read at {one.layer}, rescaled", float(found[site].rows.norm() / moved.rows.norm()) * moved


def _conditions(config: Config, model: HookedModel, vectors: dict[str, SteeringVector]) -> Iterator[Condition]:
    [site] = config.sites(model)
    norms = median_resid_norms(model, config.prompts, [site])
    for read, vector in vectors.items():
        for position in config.positions:
            name = ", ".join(filter(None, [read, position if len(config.positions) > 1 or not read else ""]))
            own = _placed(config, model, vector, position)
            yield Condition(name, own, method=name, resid_norms=norms)
            for control in random_controls({site: vector}, config.n_random, config.seed):
                placed = _placed(config, model, control.vectors[site], position)
                yield Condition(
                    f"random {control.draw} for {name}", placed, method=control.name, control_of=name,
                    draw=control.draw, resid_norms=norms,
                )  # fmt: skip


def _placed(
    config: Config, model: HookedModel, vector: SteeringVector, position: Position
) -> Intervention | dict[str, Intervention]:
    """The vector along that part of every prompt; the middle begins at ⌊S/2⌋ − ⌊n/2⌋, as in the authors' code."""
    n = len(vector.rows)
    if position == "front":
        return config.coeff * vector.at_front()
    if position == "back":
        return config.coeff * vector.at(-n)
    starts = {prompt: len(model.token_ids(prompt)) // 2 - n // 2 for prompt in config.prompts}
    return {prompt: config.coeff * vector.at(start) for prompt, start in starts.items()}


def _measured(config: Config, table: pd.DataFrame) -> pd.DataFrame:
    """What expectations are answered by: every place against unsteered text, and one against another."""
    summary = summarise(table, searched=False, seed=config.seed)
    own = summary[summary["role"].isin(["steered", "unsteered"])]
    written = table[table["role"].isin(["steered", "unsteered"])]

    def summed(rows: pd.DataFrame) -> pd.DataFrame:
        return summarise(rows, searched=False, seed=config.seed)

    paired = paired_differences(written, written["method"], config.expects, summed)
    return pd.concat([own.assign(who=own["method"], against=None), paired], ignore_index=True)


def _ours(config: Config, measured: pd.DataFrame) -> str:
    """The numbers that the paper gives; or else how many texts have a word of the topic."""
    alone = measured[measured["against"].isna() & (measured["role"] == "steered")]
    asked = {tuple(name.split(": ", 1)) for name in config.numbers} or {(who, ANY) for who in alone["who"]}
    rows = [row for row in alone.itertuples() if (row.who, row.metric) in asked]
    return "; ".join(f"{row.who}, {row.metric} {said(row, band=True)}" for row in rows) + ", against unsteered"


def report(folder: str | Path) -> Path:
    """Draws the page of a finished run from its files alone."""
    parts = read_run(folder)
    config, measured = parts["config"], parts["measured"]
    own = measured[measured["against"].isna()]
    about = described(config["model"], parts.get("model", {}))
    added = pair_said(config["positive"], config["negative"], config)
    norms = "; ".join(f"{name}: {norm:.0f}".removeprefix(": ") for name, norm in parts["norms"].items())
    order = ["unsteered", *dict.fromkeys(parts["table"].loc[parts["table"]["role"] == "steered", "method"])]
    shown = next((one.metric for one in map(Expectation.read, config["expects"]) if one.metric in LABELS), ANY)
    figure = condition_bars(
        with_published(own.assign(condition=own["who"]), config),
        metric=shown,
        conditions=order,
        focus=order[1:],
        percent=shown == ANY,
        metric_label=LABELS[shown],
        title=config["source"],
        subtitle=f"{about}; {added} added at layer {config['layers'][0]}, coefficient {config['coeff']:g}"
        f"{over(config)}",
    )
    table = own.sort_values("who", key=lambda who: who.map(order.index), kind="stable")[COLUMNS]
    paired = measured[measured["against"].notna()][PAIRED_COLUMNS]
    return publish_claim(
        folder,
        parts,
        headline=table[table["metric"].isin([ANY, COUNT])],
        figures={"words": figure},
        findings=(
            f"Norm of the longest row that is added: {norms}."
            + " Rescaled is as long over all rows as what is read where it is added." * config["rescaled"],
            *moved(own, [shown, "degenerate"]),
        ),
        measured=measured,
        tables={**({"Paired differences": paired} if len(paired) else {}), "Every metric": table},
        generations=parts.get("generations"),
    )
