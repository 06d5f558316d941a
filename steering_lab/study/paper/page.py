"""The page of a paper's figure: the verdict first, then the figure, the checks, and what differs and why."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from steering_lab.analysis.plots import Figure
from steering_lab.study.page import Parts, described, publish
from steering_lab.study.paper.claim import Verdict


def publish_claim(
    folder: str | Path,
    parts: Parts,
    *,
    headline: pd.DataFrame,
    figures: Mapping[str, Figure],
    findings: tuple[str, ...] = (),
    **page: Any,
) -> Path:
    """The page of a run that asks whether a paper's claim holds here; `verdict.json` is among its parts.

    Args:
        folder: The finished run.
        parts: What `read_run` gives of it.
        headline: The table that stands first.
        figures: By name; the first is the paper's.
        findings: Sentences that stand after the verdict.
        page: Whatever else `publish` takes.
    """
    config, verdict = parts["config"], Verdict.read(parts["verdict"])
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
        headline=headline,
        figures=figures,
        answers=verdict.checks[["about", "answer", "expected", "measured"]],
        **page,
    )
