"""Does what a paper claims of ContextFocus, in its comparison with prompts and decoding rules, hold here?

The run is that of `contextfocus_conflict`: vectors from one set of questions, layer and coefficient by the context
answers of a second, every number from a third. Beside it stand what the paper claims, and the verdict.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.numerics.bootstrap import percentile_ends, resamples, weighted_means
from steering_lab.runs import RunFolder
from steering_lab.study.conflict import comparison_report
from steering_lab.study.conflict.comparison_findings import findings, measured, opening
from steering_lab.study.conflict.descents import DELTAS
from steering_lab.study.conflict.naming import first_conflicts, named
from steering_lab.study.conflict.rivals import METHOD
from steering_lab.study.expectations import said
from steering_lab.study.page import Parts
from steering_lab.study.paper.claim import ClaimSettings, judge
from steering_lab.study.paper.page import HELD_OUT, publish_claim

from . import contextfocus_conflict

N_BOOT = 2000
PUBLISHED_AS = "published p_s, second-hand, as far from our unsteered as from its own"


@dataclass(frozen=True)
class Config(ClaimSettings, contextfocus_conflict.Config):
    """Settings of the comparison, and what is claimed of it.

    Expectations are those of the comparison; numbers are effects against unsteered, as "contextfocus: context".
    """


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Runs the comparison, or resumes it, judges the claim, and returns the finished run folder."""
    with contextfocus_conflict.comparison(config, results, elsewhere, module=__name__, doc=__doc__) as folder:
        found = measured({"config": asdict(config), **_written(folder, "summary"), **_written(folder, "chosen")})
        folder.write_table("ratios", memorisation_ratios(_written(folder, "table")["table"], config.seed))
        folder.write_json("verdict.json", judge(config, found, _ours(found)).as_json())
        return folder.finish(report, working=DELTAS)


def _written(folder: RunFolder, name: str) -> Parts:
    """A table of the unfinished run, or else what its JSON file holds, by its name."""
    if (table := folder.path / f"{name}.parquet").is_file():
        return {name: pd.read_parquet(table)}
    return {name: json.loads((folder.path / f"{name}.json").read_text(encoding="utf-8"))}


def _ours(found: pd.DataFrame) -> str:
    """Context and memory answers of the chosen vector, as changes against unsteered."""
    rows = found[(found["who"] == METHOD) & found["metric"].isin(["context", "memory"])]
    return ", ".join(f"{row.metric} answers {said(row, band=True)}" for row in rows.itertuples())


def memorisation_ratios(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """M_R of every condition but the random ones, on the first kind of conflict: memory / (memory + context answers).

    The interval is a percentile bootstrap over questions, 95 %; NaN where no answer is either's.

    Args:
        table: The tidy table of answers.
        seed: What the resamples follow from.
    """
    own = first_conflicts(table)
    own = own[(own["role"] != "control") & own["metric"].isin(["context", "memory"])]
    own = own.assign(condition=named(own))
    sums = own.pivot_table(index="prompt", columns=["metric", "condition"], values="value", aggfunc="sum", sort=False)
    memory, context = (sums[side].fillna(0) for side in ("memory", "context"))
    weighting = resamples(len(sums), N_BOOT, np.random.default_rng(seed))
    draws = weighted_means(weighting, memory.to_numpy(), (memory + context).to_numpy())
    low, high = percentile_ends(draws, np.full(draws.shape[1], len(sums)), 0.95)
    ratio = (memory.sum() / (memory + context).sum()).to_numpy()
    return pd.DataFrame({"condition": memory.columns, "M_R": ratio, "low": low, "high": high})


def report(folder: str | Path) -> Path:
    """Draws the page of a finished run from its files alone."""
    parts = comparison_report.read_comparison(folder)
    number = float(parts["config"]["numbers"].get(f"{METHOD}: context", "nan"))
    drawn = comparison_report.figures(parts, number, PUBLISHED_AS)
    exact = first_conflicts(parts["summary"])
    exact = exact[(exact["metric"] == "exact") & (exact["role"] != "control")].assign(condition=named)
    columns = ["condition", "value", "effect", "low", "high"]
    tables: dict[str, Any] = {
        "M_R under conflict: memory answers of those that are either's, with its interval over questions": parts[
            "ratios"
        ],
        "EM under conflict: answers that are the context's to the letter": exact[columns],
        **comparison_report.tables(parts),
    }
    return publish_claim(
        folder,
        parts,
        headline=comparison_report.headline(parts),
        figures=drawn,
        measured=measured(parts),
        observed=first_conflicts(parts["table"]),
        findings=(opening(parts), *findings(parts)),
        perplexed=HELD_OUT,
        captions=comparison_report.captions(parts, drawn),
        tables=tables,
        generations=parts["generations_test"].assign(condition=named),
    )
