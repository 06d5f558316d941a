"""The page of a paper's figure: the verdict first, then the figure, the checks, and what differs and why."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from steering_lab.analysis.plots import Figure
from steering_lab.numerics.written import reach
from steering_lab.safe_files import replace_file
from steering_lab.study.expectations import named
from steering_lab.study.page import Parts, described, publish
from steering_lab.study.paper.beside_lines import dear, each_draw, lengths
from steering_lab.study.paper.claim import Verdict, judged_again

HELD_OUT = "to the steered model held-out text"
"""What a comparison's perplexity is of, and to whom."""

COLUMNS = [
    "who",
    "metric",
    "value",
    "effect",
    "low",
    "high",
    "control_low",
    "control_high",
    "p_random",
    "n_prompts",
    "n",
]
"""Of a table that has a row for each who and metric."""
PAIRED_COLUMNS = ["who", "against", "metric", "effect", "low", "high"]
"""Of a table of paired differences."""


def publish_claim(
    folder: str | Path,
    parts: Parts,
    *,
    headline: pd.DataFrame,
    figures: Mapping[str, Figure],
    measured: pd.DataFrame,
    observed: pd.DataFrame | None = None,
    findings: tuple[str, ...] = (),
    perplexed: str = "to the unsteered model the text",
    tables: Mapping[str, pd.DataFrame] = MappingProxyType({}),
    **page: Any,
) -> Path:
    """The page of a run that asks whether a paper's claim holds here, and `verdict.json` by today's rules.

    Args:
        folder: The finished run.
        parts: What `read_run` gives of it.
        headline: The table that stands first.
        figures: By name; the first is the paper's.
        measured: What the lines are answered by.
        observed: The measurements behind it, in which random vectors are told apart; the run's table if left out.
        findings: Sentences that stand after the verdict.
        perplexed: What the metric "perplexity" is of, and to whom; `HELD_OUT` where no text was written.
        tables: What the page folds away, by name.
        page: Whatever else `publish` takes.
    """
    config, kept = parts["config"], Verdict.read(parts["verdict"])
    verdict = judged_again(kept, config, measured)
    if verdict.as_json() != kept.as_json():
        replace_file(Path(folder) / "verdict.json", json.dumps(verdict.as_json(), indent=2, ensure_ascii=False) + "\n")
    drawn = each_draw(config["expects"], measured, parts.get("table") if observed is None else observed)
    every = {**({"What each random vector did": drawn} if len(drawn) else {}), **tables}
    about = described(config["model"], parts.get("model", {}))
    claimed = f"{config['source']}: {config['claim']} Published: {config['published']}"
    differs = [f"What differs: {one}" for one in config["differs"]]
    return publish(
        folder,
        parts,
        title=f"{config['source']}, on {about}",
        findings=[
            verdict.sentence,
            claimed,
            f"Not reproduced would be: {config['not_reproduced']}",
            *findings,
            *dear(measured, perplexed),
            *lengths(parts),
            *differs,
        ],
        headline=_with_reach(headline),
        figures=figures,
        tables={name: _with_reach(table) for name, table in every.items()},
        answers=verdict.checks[["about", "answer", "expected", "measured"]],
        **page,
    )


def with_published(rows: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """`rows` with `published`: the number that the paper gives of this who and metric, NaN where it gives none.

    Args:
        rows: The columns who and metric.
        config: The run's settings; `numbers` is read.
    """
    numbers = {named(name): float(number) for name, number in config.get("numbers", {}).items()}
    each = zip(rows["who"], rows["metric"], strict=True)
    return rows.assign(published=[numbers.get(named(f"{who}: {metric}"), float("nan")) for who, metric in each])


def _with_reach(table: pd.DataFrame) -> pd.DataFrame:
    """The table with random vectors' band in one column, as it is written elsewhere, where it has one in two."""
    if not {"control_low", "control_high"} <= set(table.columns):
        return table
    ends = zip(table["control_low"], table["control_high"], strict=True)
    place = table.columns.get_loc("control_low")
    told = table.drop(columns=["control_low", "control_high"])
    told.insert(place, "random vectors", [reach(low, high, lambda end: f"{end:.3g}") or "–" for low, high in ends])
    return told
