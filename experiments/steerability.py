"""Does what can be seen in the pairs before anything is generated say how far, and whom, their vector steers?

Expected: over concepts and layers together, the mean cosine of the pairs' differences goes with the mean slope
(Spearman above 0, its interval too), and fewer prompts move the other way where it is high. Within one concept it says
less of which layer to take. What d' and split halves say is much the same. The settings have these as lines
(`expects`), put so after the first runs, and the page answers them.

Every concept is a set of contrast pairs. A vector is made from half of them and steers the others, and the other way
round; what it did to a pair is the gain of its positive over its negative side, in nats, along the coefficient.
"""

from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd

from steering_lab.analysis.plots import Figure, prediction_scatter, steerability_curves
from steering_lab.analysis.plots.parts.labels import signed
from steering_lab.analysis.steerability import steerability
from steering_lab.data.contrast_pairs import ContrastPair, find_pairs
from steering_lab.evaluation.inferring.slopes import prompt_slopes, steered_otherwise
from steering_lab.evaluation.running.grid import check_coeffs
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.models.progress import progress_bar
from steering_lab.runs import read_run
from steering_lab.study.expectations import expected_answers
from steering_lab.study.page import described, publish
from steering_lab.study.pair_gains import GAIN, steered_gains
from steering_lab.study.prediction import check_expectations, measured, predictions_by_kind
from steering_lab.study.settings import ExpectationSettings, LayerSettings, ModelSettings
from steering_lab.study.setup import opened


@dataclass(frozen=True)
class Config(ModelSettings, LayerSettings, ExpectationSettings):
    """Settings of the comparison.

    Args:
        concepts: Sets of pairs that come along, or files of pairs.
        words: Further concepts: the two words of each, "day/night", which end every one of the frames.
        frames: Beginnings of sentences for the words.
        coeffs: The vector's length, in median residual norms at its site.

    Raises:
        ValueError: fewer than three concepts, one or a frame twice, too few pairs for two halves, a word without its
            opposite, or an expectation of what there is not.
    """

    concepts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    coeffs: tuple[float, ...] = (-0.2, 0.2)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_coeffs("coeffs", self.coeffs)
        self.each_once("concepts", "words", "frames")
        if len(self.pairs()) < 3:
            raise ValueError("fewer than three concepts: what is asked is how they differ")
        check_expectations(self.expects)

    def pairs(self) -> dict[str, tuple[ContrastPair, ...]]:
        """The pairs of every concept."""
        found = dict[str, tuple[ContrastPair, ...]]()
        for name in self.concepts:
            if (concept := Path(name).stem) in found:
                raise ValueError(
                    f"concepts has {concept!r} twice: files are called by their names, so give each its own"
                )
            found[concept] = find_pairs(name)
        for both in self.words:
            if len(sides := both.split("/")) != 2:
                raise ValueError(f"words {both!r} are no two words: write day/night")
            found[both] = tuple(ContrastPair(*(f"{frame} {side}" for side in sides)) for frame in self.frames)
        for name, pairs in found.items():
            if len(pairs) < 6:
                raise ValueError(f"{name} has {len(pairs)} pairs: two halves of three or more are needed")
        return found


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Measures every concept at every layer, and returns the finished run folder."""
    concepts, model = config.pairs(), config.load()
    sites = config.sites(model, post=True)
    with opened(model, config, results, module=__name__, doc=__doc__, elsewhere=elsewhere) as setup:
        tables, before = list[pd.DataFrame](), list[pd.DataFrame]()
        for concept, pairs in progress_bar(concepts.items(), what="concepts", leave=True):
            for half in (0, 1):
                made, held_out = pairs[half::2], pairs[1 - half :: 2]
                shown = steerability(model, made, sites, seed=config.seed)
                kind = "words" if concept in config.words else "sentences"
                before.append(shown.assign(concept=concept, half=half, kind=kind))
                tables += steered_gains(model, concept, made, held_out, sites, config.coeffs)
        table = pd.concat(tables, ignore_index=True)
        after = steered_otherwise(prompt_slopes(table, GAIN))
        seen = pd.concat(before, ignore_index=True)
        setup.folder.write_table("table", table)
        setup.folder.write_table("before", seen)
        setup.folder.write_table("after", after)
        setup.folder.write_table("predictions", predictions_by_kind(seen, after, seed=config.seed))
        return setup.folder.finish(report)


def report(folder: str | Path) -> Path:
    """Draws the page of a finished run from its files alone."""
    parts = read_run(folder)
    found, seen = parts["predictions"], parts["before"]
    about = described(parts["config"]["model"], parts.get("model", {}))
    title, label = f"Seen before steering, and what came of it: {about}", "mean slope, nats per residual norm"
    shown: dict[str, Figure] = {"prediction": prediction_scatter(seen, parts["after"], label=label, title=title)}
    for concept, rows in seen[seen["half"] == 0].groupby("concept", sort=False):
        file = "".join(c if c.isalnum() else "_" for c in str(concept))
        shown[file] = steerability_curves(
            rows, title=f"Seen before steering: {str(concept).replace('_', ' ')}", subtitle=about
        )
    sentences = [finding(found, str(parts.get("model", {}).get("name", parts["config"]["model"]))), apart(found)]
    return publish(
        folder, parts, title=title, findings=sentences, headline=_headline(found),
        figures=shown, answers=expected_answers(parts["config"], measured(found)),
        tables={f"All {len(found)} correlations": found.round(3), "Whom each vector steers": parts["after"].round(3)},
        headline_note="Spearman's correlations over concepts and layers; intervals resample concepts, and fewer than"
        " six have none; no slope has a random vector beside it. Pairs of words and of sentences differ in both, so"
        " that what all of them show together may be that difference alone.",
    )  # fmt: skip


def _headline(found: pd.DataFrame) -> pd.DataFrame:
    """A row per kind of pairs and statistic, a column per outcome, over concepts and layers together."""
    rows = found[found["over"] == "concepts and layers"]
    said = rows.assign(
        said=[f"{signed(row.rho)} {_ends(row.low, row.high)}".strip() for row in rows.itertuples()],
        statistic=rows["statistic"].str.replace("_", " "),
    )
    table = said.set_index(["pairs", "statistic", "outcome"])["said"].unstack("outcome", sort=False)
    return table.reset_index().rename_axis(columns=None)


def _ends(low: float, high: float) -> str:
    return "" if isnan(low) else f"[{signed(low)}, {signed(high)}]"


def finding(found: pd.DataFrame, model: str) -> str:
    """Whether the mean cosine shows how far a vector steers, of all pairs first, then of each kind.

    Args:
        found: The correlations, as `predictions_by_kind` makes them.
        model: The model's name.
    """
    rows = found[(found["statistic"] == "mean_cosine") & (found["outcome"] == "mean slope")]
    rows = rows[rows["over"] == "concepts and layers"].sort_values(
        "pairs", key=lambda pairs: pairs != "all", kind="stable"
    )
    first, *kinds = rows.itertuples()
    together = f"On {model}, layers and concepts together, the pairs' mean cosine"
    said = [f"{together} {_shows(first)} how far a vector steers {_rho(first)}"]
    said += [f"for {row.pairs} it {_shows(row)} it {_rho(row)}" for row in kinds]
    alone = first.low > 0 and kinds and not any(row.low > 0 for row in kinds)
    return f"{'; '.join(said)}{': what all show may be the difference between the kinds alone' if alone else ''}."


def apart(found: pd.DataFrame) -> str:
    """The same correlations from concept to concept, and from layer to layer of one: which of them carries the whole.

    Args:
        found: The correlations, as `predictions_by_kind` makes them.
    """
    rows = found[(found["statistic"] == "mean_cosine") & (found["outcome"] == "mean slope")]
    ways = {"concepts, layers averaged": "From concept to concept", "layers within a concept": "from layer to layer"}
    said = [
        f"{way}: {', '.join(f'{row.pairs} {_rho(row)}' for row in rows[rows['over'] == over].itertuples())}"
        for over, way in ways.items()
    ]
    return f"{'; '.join(said)}."


def _shows(row: Any) -> str:
    if isnan(row.low):
        return "cannot be said to show"
    return "goes with" if row.low > 0 else "goes against" if row.high < 0 else "does not show"


def _rho(row: Any) -> str:
    ends = f", no interval of {row.n_concepts} concepts" if isnan(row.low) else f" {_ends(row.low, row.high)}"
    return f"({signed(row.rho)}{ends})"
