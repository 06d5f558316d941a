"""The page of a run, built alike for every experiment: what comes from the run's folder is filled in here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from steering_lab.analysis.plots import Figure, save_figures
from steering_lab.analysis.report import write_page
from steering_lab.models.loading.synthetic import organism_at
from steering_lab.runs import data_files

NOTHING = "Nothing works here"  # how the first sentence of a page begins where no result held
Parts = Mapping[str, Any]  # of a run folder, by the files' names, as `read_run` gives them


def publish(
    folder: str | Path,
    parts: Parts,
    *,
    title: str,
    findings: Sequence[str],
    headline: pd.DataFrame,
    figures: Mapping[str, Figure],
    **page: Any,
) -> Path:
    """Saves a run's figures, writes its page, prints what it found, and returns the page.

    Args:
        folder: The finished run.
        parts: What `read_run` gives of it.
        title: The page's.
        findings: Sentences; the first opens the page: the strongest result, or that there is none.
        headline: The table that stands first.
        figures: By name.
        page: Whatever else `write_page` takes.
    """
    folder = Path(folder)
    note = save_figures(figures, folder / "figures").note
    standard: dict[str, Any] = {
        "question": parts["config"].get("question") or parts["provenance"].get("question", ""),
        "config": parts["config"] | ({"chosen": parts["chosen"]} if "chosen" in parts else {}),
        "model": parts.get("model", {}),
        "provenance": parts["provenance"],
        "links": {file: file for file in data_files(folder)},
    }
    words: dict[str, Any] = {"title": title, "finding": findings[0], "findings": findings[1:]}
    written = write_page(
        folder / "index.html", **words, headline=headline, figures=figures, **{**standard, **page}
    )  # fmt: skip
    answers = page.get("answers")
    print(f"{findings[0]}\n\n{_as_text(headline)}\n")
    print("\n".join([*findings[1:], *([note] if note else [])]))
    if answers is not None:
        print(f"\n{_as_text(answers)}")
    return written


def _as_text(table: pd.DataFrame) -> str:
    return table.to_string(index=False, float_format=lambda x: f"{x:.3g}", na_rep="–")


def described(name: str, facts: Mapping[str, Any]) -> str:
    """A model in a few words, for figures: its name, depth, size and quantisation as far as `model.json` says.

    Args:
        name: What the settings call the model.
        facts: What `model.json` says; empty where the folder has none.
    """
    shown = str(facts.get("name", name))
    kind = shown if organism_at(name) is None else f"synthetic model {shown}"
    if not facts:
        return kind
    size = [f"{facts['n_layers']} layers", f"{facts['n_parameters'] / 1e6:.3g}M parameters"]
    return ", ".join([kind, *size, *filter(None, [facts.get("quantisation")])])
