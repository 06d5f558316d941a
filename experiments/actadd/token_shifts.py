"""Which tokens does a topic's vector make likelier in given texts, and which rarer?

Texts are scored as they stand, steered and unsteered. The shift of a token is the mean change of its log-probability
over its occurrences, in nats. Against the quantiles of a normal distribution the bulk of tokens lies on a line and the
tails leave it.

Which tokens rose and fell most is read off one half of the texts, and how much they rose and fell off the other, so
that nothing is large because it was picked. Random vectors of equal norm get tails of their own in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from steering_lab.analysis.plots import quantile_plot
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.evaluation.measuring.named_measures import topic_words
from steering_lab.evaluation.running.condition import UNSTEERED, Condition
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.numerics.intervals import Kind, paired_interval, prompt_effects
from steering_lab.runs import read_run
from steering_lab.study.expectations import said
from steering_lab.study.page import described
from steering_lab.study.paper.claim import ClaimSettings, judge
from steering_lab.study.paper.page import publish_claim
from steering_lab.study.paper.texts import TextGroup
from steering_lab.study.settings import LayerSettings
from steering_lab.study.setup import opened
from steering_lab.tables import measurements

from .cells import CellSettings, front_cells
from .scored_texts import scored_texts

OF_TOKENS = ("raised tokens", "lowered tokens", "tails")  # means over tokens; the others are over occurrences


@dataclass(frozen=True)
class Config(ClaimSettings, CellSettings, LayerSettings):
    """What is added, and the texts in which tokens shift.

    Expectations are of "topic words", "other words" (both weighing every occurrence alike), of a word of the topic, of
    "raised tokens" and "lowered tokens" (those that shifted most in the other half of the texts), and of "tails", the
    sum of these two, above 0 where the upper tail is the longer one. Their metric is "shift".

    Args:
        positive: The prompt whose activations are added.
        negative: And the one whose are taken away; "" is padding alone.
        coeff: What the difference is multiplied by.
        topic: Words of the topic: its name, a file, or words with commas between.
        groups: The texts by the name of their group.
        folder: Where their files lie, if not here.
        occurrences: A token counts that stands more often than this in the texts, and half as often in each half.
        n_tails: How many tokens are called raised, and how many lowered.
        tokens: Shifts of the paper by token, for a table beside ours.

    Raises:
        ValueError: no group, or not one layer.
    """

    positive: str = " weddings"
    negative: str = ""
    coeff: float = 1.0
    topic: str = "weddings"
    groups: Mapping[str, TextGroup] = field(default_factory=dict)
    folder: str = ""
    occurrences: int = 20
    n_tails: int = 10
    tokens: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "occurrences", "n_tails")
        if len(self.layers) != 1:
            raise ValueError(f"layers is {list(self.layers)}: the shifts are those of one layer, as [10]")
        if not self.groups:
            raise ValueError("groups is empty: name the texts that are scored, as [groups.topic] with its sources")


class Shifts(NamedTuple):
    """Of every text and token: how often it stands there, and the sum of its shifts under each condition.

    Args:
        tokens: The tokens, as text.
        counts: Occurrences behind the vector.
        sums: Nats, by condition.
    """

    tokens: list[str]
    counts: Int[np.ndarray, "texts tokens"]
    sums: Mapping[Condition, Float[np.ndarray, "texts tokens"]]

    def of(self, condition: Condition) -> Float[np.ndarray, " tokens"]:
        """The mean shift of each token.

        Args:
            condition: Under which.
        """
        return self.sums[condition].sum(axis=0) / self.counts.sum(axis=0)


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Scores the texts under every condition, and returns the finished run folder."""
    words = topic_words(config.topic)
    found = (group.texts(words, config.seed, config.folder) for group in config.groups.values())
    texts = list(dict.fromkeys(text for members in found for text in members))
    model = config.load()
    pair = ContrastPair(config.positive, config.negative)
    cells = front_cells(model, pair, config.sites(model), [config.coeff], texts, config)
    with opened(model, config, results, module=__name__, doc=__doc__, elsewhere=elsewhere) as setup:
        rows = [model.token_ids(text) for text in texts]
        scored = scored_texts(setup, cells.conditions, texts, rows, cells.n_rows)
        shifts = _shifts(model.token_strings, [ids[cells.n_rows + 1 :] for ids in rows], scored)
        counted = _often(shifts, config.occurrences, config.n_tails)
        summary = summarise(_table(config, words, shifts, counted), seed=config.seed)
        measured = _measured(summary)
        steered, *drawn = list(scored)[1:]
        setup.folder.write_table("tokens", _tokens(shifts, steered, counted))
        setup.folder.write_table("drawn", _drawn(shifts, drawn, counted))
        setup.folder.write_table("summary", summary)
        setup.folder.write_json("verdict.json", judge(config, measured, _ours(measured)).as_json())
        setup.folder.write_json("texts.json", {"texts": len(texts), "tokens": int(shifts.counts.sum())})
        return setup.folder.finish(report)


def _shifts(strings: Any, rows: Sequence[list[int]], scored: Mapping[Condition, list[list[float]]]) -> Shifts:
    ids, place = np.unique(np.concatenate(rows), return_inverse=True)
    text = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    shape = (len(rows), len(ids))
    cell = np.ravel_multi_index((text, place), shape)
    size = int(np.prod(shape))
    nats = {condition: np.concatenate(of_texts) for condition, of_texts in scored.items()}
    sums = {
        condition: np.bincount(cell, own - nats[UNSTEERED], size).reshape(shape)
        for condition, own in nats.items()
        if condition is not UNSTEERED
    }
    return Shifts(strings(ids.tolist()), np.bincount(cell, minlength=size).reshape(shape), sums)


def _often(shifts: Shifts, occurrences: int, n_tails: int) -> Int[np.ndarray, " often"]:
    """The tokens that stand often enough, in either half of the texts too."""
    halves = np.minimum(shifts.counts[::2].sum(axis=0), shifts.counts[1::2].sum(axis=0))
    often = np.flatnonzero((shifts.counts.sum(axis=0) > occurrences) & (2 * halves > occurrences))
    if len(often) < 2 * n_tails:
        raise ValueError(
            f"{len(often)} tokens stand more than {occurrences} times in the texts: for {n_tails} raised and as many"
            " lowered ones, score more texts or lower occurrences"
        )
    return often


def _table(config: Config, words: frozenset[str], shifts: Shifts, often: Int[np.ndarray, " often"]) -> pd.DataFrame:
    """The measurements: shifts of words over occurrences, of the tails over tokens, each text being a unit."""
    plain = np.array([token.strip().lower() for token in shifts.tokens])
    of_topic = np.isin(plain, list(words))
    if not shifts.counts[:, of_topic].any():
        raise ValueError(f"no token of the texts is a word of the topic: {', '.join(sorted(words))}")
    sets = {"topic words": of_topic, "other words": ~of_topic}
    sets |= {word: plain == word for word in sorted(words) if (plain == word).any()}
    blocks = []
    for condition in (UNSTEERED, *shifts.sums):
        for name, members in sets.items():
            weight = shifts.counts[:, members].sum(axis=1)
            total = shifts.sums[condition][:, members].sum(axis=1) if condition is not UNSTEERED else 0 * weight
            here = weight > 0
            blocks.append(_rows(condition, name, np.flatnonzero(here), total[here] / weight[here], weight[here]))
        for name in OF_TOKENS:
            values = _tail(shifts, condition, often, name, config.n_tails)
            blocks.append(_rows(condition, name, np.arange(1, len(shifts.counts), 2), values, np.ones(len(values))))
    return pd.concat(blocks, ignore_index=True)


def _rows(
    condition: Condition, metric: str, texts: np.ndarray, values: np.ndarray, weights: np.ndarray
) -> pd.DataFrame:
    observed = pd.DataFrame(
        {"prompt": [f"text {i}" for i in texts], "sample": 0, "value": values, "weight": weights.astype(float)}
    )
    return measurements(condition.name, condition.factors, observed, metric=metric, kind=Kind.SKEWED)


def _tail(
    shifts: Shifts, condition: Condition, often: Int[np.ndarray, " often"], name: str, n_tails: int
) -> Float[np.ndarray, " half"]:
    """What each text of the second half says of the mean shift of tokens chosen on the first half.

    The mean over texts is the mean over tokens of their shifts; a text's part of a token's is the linearised one of a
    ratio, as in `intervals.prompt_values`.
    """
    n_texts = len(shifts.counts[1::2])
    if condition is UNSTEERED:
        return np.zeros(n_texts)
    first = shifts.sums[condition][::2].sum(axis=0) / np.maximum(shifts.counts[::2].sum(axis=0), 1)
    order = often[np.argsort(first[often], kind="stable")]
    chosen = {"raised tokens": order[-n_tails:], "lowered tokens": order[:n_tails]}
    parts = [members for key, members in chosen.items() if name in (key, "tails")]
    counts, sums = shifts.counts[1::2], shifts.sums[condition][1::2]
    values = np.zeros(n_texts)
    for members in parts:
        n = counts[:, members].sum(axis=0)
        mean = sums[:, members].sum(axis=0) / n
        values += (mean + n_texts * (sums[:, members] - counts[:, members] * mean) / n).mean(axis=1)
    return values


def _tokens(shifts: Shifts, steered: Condition, often: Int[np.ndarray, " often"]) -> pd.DataFrame:
    """token, n, value, low and high of every token that stands often enough, the largest shift first."""
    counts, sums = shifts.counts[:, often].astype(float), shifts.sums[steered][:, often]
    effects = prompt_effects(sums, counts, np.zeros_like(sums), counts)
    low, high, _ = paired_interval(effects, Kind.SYMMETRIC)
    table = pd.DataFrame(
        {
            "token": [shifts.tokens[i] for i in often],
            "n": counts.sum(axis=0).astype(int),
            "value": shifts.of(steered)[often],
            "low": low,
            "high": high,
        }
    )
    return table.sort_values("value", ascending=False, ignore_index=True)


def _drawn(shifts: Shifts, drawn: Sequence[Condition], often: Int[np.ndarray, " often"]) -> pd.DataFrame:
    tokens = [shifts.tokens[i] for i in often]
    blocks = [pd.DataFrame({"draw": i, "token": tokens, "value": shifts.of(c)[often]}) for i, c in enumerate(drawn)]
    return pd.concat(blocks, ignore_index=True)


def _measured(summary: pd.DataFrame) -> pd.DataFrame:
    """What expectations are answered by: every set of tokens, under the vector."""
    return summary[summary["role"] == "steered"].assign(who=lambda t: t["metric"], metric="shift", against=None)


def _ours(measured: pd.DataFrame) -> str:
    rows = measured.set_index("who").loc[["topic words", "other words", *OF_TOKENS]].reset_index()
    return "; ".join(f"{row.who} {said(row, band=True)}" for row in rows.itertuples()) + ", in nats"


def report(folder: str | Path) -> Path:
    """Draws the page of a finished run from its files alone."""
    parts = read_run(folder)
    config, tokens, summary = parts["config"], parts["tokens"], parts["summary"]
    about, seen = described(config["model"], parts.get("model", {})), parts["texts"]
    figure = quantile_plot(
        tokens,
        parts["drawn"],
        y_label="mean change of a token's log-probability, nats",
        title=config["source"],
        subtitle=f"{about}; {len(tokens)} tokens that stand more than {config['occurrences']} times in {seen['texts']}"
        f" texts of {seen['tokens']:,} tokens; layer {config['layers'][0]}, coefficient {config['coeff']:g}",
    )
    shown = summary[summary["role"] == "steered"]
    columns = ["metric", "effect", "low", "high", "control_low", "control_high", "p_random", "n_prompts"]
    head = shown[columns].rename(columns={"metric": "tokens", "effect": "shift, nats", "n_prompts": "texts"})
    sets = head["tokens"].isin(["topic words", "other words", *OF_TOKENS])
    n = config["n_tails"]
    few = pd.concat([tokens.head(n), tokens.tail(n)[::-1]]).rename(columns={"value": "shift, nats", "n": "occurrences"})
    published = pd.DataFrame({"token": list(config["tokens"]), "published, nats": list(config["tokens"].values())})
    ours = tokens.set_index("token")["value"]
    published["ours, nats"] = [f"{ours[one]:+.3f}" if one in ours else "too seldom" for one in published["token"]]
    picked = "picked and measured on the same texts, so larger than they are and without an interval"
    few = few.drop(columns=["low", "high"])
    tables = {f"Tokens that rose and fell most, {picked}": few, "Words of the topic": head[~sets]}
    if len(published):
        tables["Published tokens, and ours of the same spelling"] = published
    return publish_claim(
        folder, parts, headline=head[sets], figures={"shifts": figure}, measured=_measured(summary),
        tables={**tables, "Every token": tokens.drop(columns=["low", "high"])},
    )  # fmt: skip
