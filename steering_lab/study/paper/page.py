"""The page of a paper's figure: the verdict first, then the figure, the checks, and what differs and why."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from steering_lab.analysis.plots import Figure
from steering_lab.numerics.written import reach
from steering_lab.study.page import Parts, described, publish
from steering_lab.study.paper.claim import Verdict, checks_of


def publish_claim(
    folder: str | Path,
    parts: Parts,
    *,
    headline: pd.DataFrame,
    figures: Mapping[str, Figure],
    measured: pd.DataFrame | None = None,
    findings: tuple[str, ...] = (),
    tables: Mapping[str, pd.DataFrame] = MappingProxyType({}),
    **page: Any,
) -> Path:
    """The page of a run that asks whether a paper's claim holds here; `verdict.json` is among its parts.

    Args:
        folder: The finished run.
        parts: What `read_run` gives of it.
        headline: The table that stands first.
        figures: By name; the first is the paper's.
        measured: What the lines are answered by; given, the answers are made again from it, in today's words.
        findings: Sentences that stand after the verdict.
        tables: What the page folds away, by name.
        page: Whatever else `publish` takes.
    """
    config, verdict = parts["config"], Verdict.read(parts["verdict"])
    if measured is not None:
        verdict = verdict._replace(checks=checks_of(config["expects"], config.get("numbers", {}), measured))
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
            *differs,
        ],
        headline=_with_reach(headline),
        figures=figures,
        tables={name: _with_reach(table) for name, table in tables.items()},
        answers=verdict.checks[["about", "answer", "expected", "measured"]],
        **page,
    )


def _with_reach(table: pd.DataFrame) -> pd.DataFrame:
    """The table with random vectors' band in one column, as it is written elsewhere, where it has one in two."""
    if not {"control_low", "control_high"} <= set(table.columns):
        return table
    ends = zip(table["control_low"], table["control_high"], strict=True)
    place = table.columns.get_loc("control_low")
    told = table.drop(columns=["control_low", "control_high"])
    told.insert(place, "random vectors", [reach(low, high, lambda end: f"{end:.3g}") or "–" for low, high in ends])
    return told
