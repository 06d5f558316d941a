"""Does adding a topic's vector make texts of that topic likelier, and leave all others as they are?

Texts are scored as they stand, steered and unsteered: no text is written. The ratio of a group of texts is its
perplexity steered over unsteered, of all their tokens: exp(-mean(log p steered - log p unsteered)), below 1 where the
vector helps (Turner et al. 2023 print exp without the sign; their code has it). Predictions made from a position at
which the vector stands are left out, so that the vector is seen through what later tokens read of it.

Beside the vector stand random vectors of its norm, and with `prompting` the topic written in front of the text: then
every text stands behind as much padding as the vector has rows, and the same tokens are scored in all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from steering_lab.analysis.plots import along, claim_curves
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.evaluation.measuring.fluency import held_out_rows, log_probs_of
from steering_lab.evaluation.measuring.named_measures import topic_words
from steering_lab.evaluation.running.condition import Condition, prompting
from steering_lab.evaluation.running.grid import check_coeffs
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.interventions.intervention import Intervention
from steering_lab.methods.actadd import pad_prompts
from steering_lab.runs import read_run
from steering_lab.study.expectations import said
from steering_lab.study.page import described
from steering_lab.study.paper.beside_lines import moved
from steering_lab.study.paper.claim import ClaimSettings, judge
from steering_lab.study.paper.page import publish_claim
from steering_lab.study.paper.paired import measured_with_paired
from steering_lab.study.paper.pooling import pooled
from steering_lab.study.paper.texts import TextGroup
from steering_lab.study.settings import LayerSettings
from steering_lab.study.setup import Setup, opened

from .cells import CellSettings, front_cells
from .scored_texts import scored_texts

UNCONTROLLED = "Prompting has no control beside it: no other prompt of its length was written before the texts."


@dataclass(frozen=True)
class Config(ClaimSettings, CellSettings, LayerSettings):
    """What is added, the groups of texts that are scored, and what is claimed of their ratios.

    Expectations are of a group's ratio: "over 7 %: ratio falls beyond random vectors". Along layers or coefficients, or
    of a band of layers, it is "layer 4, on topic: ratio ..." or "early, on topic: ratio ..."; prompting's is
    "prompting, on topic: ratio ...".

    Args:
        positive: The prompt whose activations are added.
        negative: And the one whose are taken away; "" is padding alone.
        coeffs: What the difference is multiplied by.
        topic: Words that a group's density counts: a topic's name, a file, or words with commas between.
        groups: The texts by the name of their group.
        folder: Where their files lie, if not here.
        bands: First and last layer by name: what these layers do on average.
        prompting: Whether writing the positive prompt in front of the text is compared.
        n_random: Random vectors of the vector's norm beside every cell.
        x: What the figure goes along.
        curves: Published points by name: (depth from 0 to 1, or where between the first and the last of ours; ratio).

    Raises:
        ValueError: no group, or coefficients that cannot be swept.
    """

    positive: str = " weddings"
    negative: str = ""
    coeffs: tuple[float, ...] = (1.0,)
    topic: str = "weddings"
    groups: Mapping[str, TextGroup] = field(default_factory=dict)
    folder: str = ""
    bands: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    prompting: bool = False
    n_random: int = 10
    x: Literal["group", "layer", "coeff"] = "group"
    curves: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_coeffs("coeffs", self.coeffs)
        if not self.groups:
            raise ValueError("groups is empty: name the texts that are scored, as [groups.on] with its sources")


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Scores the texts under every condition, and returns the finished run folder."""
    words = topic_words(config.topic)
    groups = {name: group.texts(words, config.seed, config.folder) for name, group in config.groups.items()}
    texts = [text for members in groups.values() for text in members]
    model = config.load()
    pair = ContrastPair(config.positive, config.negative)
    cells = front_cells(model, pair, config.sites(model), config.coeffs, texts, config)
    with opened(model, config, results, module=__name__, doc=__doc__, elsewhere=elsewhere) as setup:
        scored = _scored(setup, config, cells.conditions, texts, cells.n_rows)
        of_group = np.repeat(list(groups), [len(members) for members in groups.values()])
        blocks = [held_out_rows(condition, rows).assign(metric=of_group) for condition, rows in scored.items()]
        table = pooled(pd.concat(blocks, ignore_index=True), config.bands)
        summary = summarise(table, seed=config.seed)
        measured = _measured(config.x, summary, table, config.expects, config.seed)
        setup.folder.write_table("table", table)
        setup.folder.write_table("summary", summary)
        setup.folder.write_json("verdict.json", judge(config, measured, _ours(config, measured)).as_json())
        setup.folder.write_json("groups.json", {name: len(members) for name, members in groups.items()})
        return setup.folder.finish(report)


def _scored(
    setup: Setup, config: Config, conditions: Sequence[Condition], texts: Sequence[str], n_rows: int
) -> dict[Condition, list[list[float]]]:
    """Nats of every scored token of every text under each condition; what the run folder holds is not scored again."""
    model = setup.model
    rows = [model.token_ids(text) for text in texts]
    if config.prompting:
        padded = pad_prompts(model, list(texts), n_rows, pad=config.pad)
        rows = [ids[mask].tolist() for ids, mask in zip(padded.ids, padded.mask, strict=True)]
    found = scored_texts(setup, conditions, texts, rows, n_rows)
    if config.prompting:
        topic, front = model.token_ids(config.positive)[len(model.prefix_ids) :], len(model.front_ids)
        written = [[*ids[:front], *topic, *ids[front + len(topic) :]] for ids in rows]
        found[prompting(config.positive)] = log_probs_of(model, Intervention(), written, n_rows + 1)
    return found


def _measured(x: str, summary: pd.DataFrame, table: pd.DataFrame, expects: Sequence[str], seed: int) -> pd.DataFrame:
    """What expectations are answered by: every cell of the vector by its name along `x`, and prompting.

    Two cells over the same texts are compared text by text; two groups of texts are not.
    """

    def who(row: Any) -> str:
        named = ["prompting"] if row.role == "baseline" else [] if row.place == "front" else [str(row.place)]
        if x != "group" and row.place == "front" and row.role == "steered":
            named.append(f"{x} {getattr(row, x):g}")
        return ", ".join([*named, row.metric])

    both = measured_with_paired(summary, table, ("steered", "baseline"), who, expects, seed)
    return both.assign(measure=both["metric"], metric="ratio")


def _ours(config: Config, measured: pd.DataFrame) -> str:
    """The ratios that the paper gives numbers of, or else those of the groups, where there are as few as that."""
    asked = {name.partition(": ")[0] for name in config.numbers} or {*config.groups, *config.bands}
    alone = measured[measured["against"].isna()]
    shown = [row for row in alone.itertuples() if row.who in asked or str(row.place) in asked]
    return "; ".join(f"{row.who} {said(row, band=True)}" for row in shown)


def report(folder: str | Path) -> Path:
    """Draws the page of a finished run from its files alone."""
    parts = read_run(folder)
    config, summary, sizes = parts["config"], parts["summary"], parts["groups"]
    cells = summary[(summary["method"] == "actadd") & (summary["place"] == "front")]
    places = {name: i / max(1, len(sizes) - 1) for i, name in enumerate(sizes)}
    if config["x"] == "group":
        written = summary[summary["role"] == "baseline"]
        lines = {"ActAdd": cells.assign(x=cells["metric"].map(places))}
        lines |= {"prompting": written.assign(x=written["metric"].map(places))} if len(written) else {}
        ticks = dict(zip(places.values(), places, strict=True))
    else:
        ends = (0, parts["model"]["n_layers"] - 1) if config["x"] == "layer" else None
        lines, ticks = along(cells, config["x"], by="metric", ends=ends)
    about = described(config["model"], parts.get("model", {}))
    figure = claim_curves(
        lines,
        config["curves"],
        x_label={"group": "group of texts", "layer": "layer", "coeff": "coefficient"}[config["x"]],
        y_label="perplexity, steered over unsteered",
        neutral=1,
        ticks=ticks,
        title=f"{config['source']}",
        subtitle=f"{about}; {', '.join(f'{name} {n} texts' for name, n in sizes.items())}",
    )
    shown = summary[summary["role"].isin(["steered", "baseline"])]
    shown = shown.assign(order=shown["metric"].map(list(sizes).index)).sort_values(
        [config["x"], "order"] if config["x"] != "group" else ["role", "order"], kind="stable"
    )
    columns = ["method", "place", "layer", "coeff", "metric", "effect", "low", "high", "control_low", "control_high"]
    table = shown[[*columns, "p_family", "p_random"]].rename(columns={"metric": "texts", "effect": "ratio"})
    few = table[table["place"] != "front"] if config["bands"] else table
    measured = _measured(config["x"], summary, parts["table"], config["expects"], config["seed"])
    return publish_claim(
        folder, parts, headline=few.dropna(axis=1, how="all"), figures={"ratios": figure}, tables={"Every cell": table},
        measured=measured,
        findings=(*((UNCONTROLLED, _themselves(summary)) if config["prompting"] else ()), *moved(measured)),
    )  # fmt: skip


def _themselves(summary: pd.DataFrame) -> str:
    """Perplexities as they are: a ratio moves with what it is over, and padding in front makes text dearer."""
    rows = summary[summary["role"] != "control"]
    each = []
    for group, own in rows.groupby("metric", sort=False):
        shown = ", ".join(
            f"{'ActAdd' if row.role == 'steered' else row.method} {row.value:.1f}" for row in own.itertuples()
        )
        each.append(f"{group}: {shown}")
    return (
        f"Perplexities themselves, {'; '.join(each)}. Unsteered text stands behind the padding as well: ratios are over"
        " that, and not over text behind nothing."
    )
