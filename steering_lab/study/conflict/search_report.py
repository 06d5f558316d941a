"""What a search that chose nothing looks like: its table, its figures, and its page where no rivals were asked."""

from pathlib import Path

import pandas as pd

from steering_lab.analysis.plots import Figure, layer_coeff_heatmap
from steering_lab.evaluation.inferring.states import states
from steering_lab.evaluation.measuring.fluency import HELD_OUT_PERPLEXITY
from steering_lab.study.conflict.answers import AGREEMENT_LOST
from steering_lab.study.conflict.comparison_findings import Judged, findings, first_sentence
from steering_lab.study.conflict.naming import OVER_QUESTIONS, budgets_said, named
from steering_lab.study.conflict.rivals import METHOD
from steering_lab.study.page import Parts, described, publish
from steering_lab.tables import in_cell, is_unsteered

FILTERS = ("regime", "kind", "condition", "layer", "verdict", "right", "prompt")
KEY = ["method", "role", "layer", "coeff"]
SHOWN = {"context": "value", "memory": "value", AGREEMENT_LOST: "effect", HELD_OUT_PERPLEXITY: "effect"}


def report_search(folder: str | Path, parts: Parts) -> Path:
    """Draws the search's figures and page from a run's files alone, prints what was found, and returns the page.

    Args:
        folder: The folder of the finished run.
        parts: The run's files by name, of a run that chose nothing.
    """
    drawn, table = figures(parts), search_table(parts)
    n, budgets = n_conflicts(parts["validation"]), budgets_said(parts["chosen"]["budgets"])
    caption = f"{n} conflicts; wanted: the most context answers {budgets}."
    return publish(
        folder,
        parts,
        title=f"Context against memory on {described(parts['config']['model'], parts['model'])}: nothing chosen",
        findings=[first_sentence(parts), *findings(parts)],
        headline=table.head(10),
        figures=drawn,
        headline_note=(
            "The unsteered model, then the cells that raise context answers most, on the questions for choosing."
            " context, memory: share of answers that state that side's answer alone; shift: of context answers, with"
            " its 95 % interval; the costs are changes against unsteered. The questions for reporting were not asked."
        ),
        tables=tables(parts),
        captions={"layer_coeff_context": caption},
        generations=parts["generations_validation"].assign(condition=named),
        filters=FILTERS,
    )


def tables(parts: Parts) -> dict[str, pd.DataFrame]:
    """The whole search.

    Args:
        parts: The run's files by name; `validation` is read.
    """
    table = search_table(parts)
    return {f"All {len(table)} cells of the search, on the questions for choosing": table}


def search_table(parts: Parts) -> pd.DataFrame:
    """One row per cell of the search, the unsteered model first, then by how much context answers rise.

    Args:
        parts: The run's files by name; `validation` is the summary of the search.
    """
    every = validation(parts)
    searched = every[every["role"] != "control"].drop_duplicates([*KEY, "metric"])
    cells = searched[searched["metric"] == "context"].set_index(KEY)
    table = cells[["effect", "low", "high", "over_budget", "state"]].rename(columns={"effect": "shift"})
    for metric, column in SHOWN.items():
        own = searched[searched["metric"] == metric].set_index(KEY)
        if not own.empty:
            table[metric] = own[column]
    table = table.reset_index()
    first = (~is_unsteered(table)).rename("steered")
    order = pd.concat([first, -table["shift"].fillna(0)], axis=1).sort_values(["steered", "shift"]).index
    table = table.loc[order].assign(condition=named)
    costs = [metric for metric in (AGREEMENT_LOST, HELD_OUT_PERPLEXITY) if metric in table]
    columns = ["condition", "layer", "context", "memory", "shift", "low", "high", *costs, "over_budget", "state"]
    table["over_budget"] = table["over_budget"].map({True: "yes", False: "no"})
    return table[columns].rename(columns=lambda name: name.replace("_", " "))


def validation(parts: Parts) -> pd.DataFrame:
    """The summary of the search, with what every cell says of context answers.

    Args:
        parts: The run's files by name; the budgets stand in `chosen`.
    """
    searched = parts["validation"]
    return searched.assign(state=states(searched, "context", parts["chosen"]["budgets"]))


def n_conflicts(searched: pd.DataFrame) -> int:
    """How many conflicts every cell of the search was asked; `searched` is its summary."""
    return int(searched.loc[(searched["metric"] == "context") & is_unsteered(searched), "n"].max())


def paler(parts: Parts, held: Judged) -> str:
    """Why a cell that held on new questions is pale in the search, where it is.

    Args:
        parts: The run's files by name.
        held: The chosen cell on new questions.
    """
    every = validation(parts)
    state = every.loc[in_cell(every, held.cell.effect) & (every["metric"] == "context"), "state"].iloc[0]
    if held.verdict.held and state == "moves, not told from random vectors":
        few, many = parts["config"]["n_random_search"], parts["config"]["n_random"]
        return f" {few} draws here do not tell it from random vectors, {many} on new questions do."
    if held.verdict.held and state == "nothing shown":
        return " Here, one of many cells, it is not told from unsteered; asked alone on new questions it is."
    return ""


def figures(parts: Parts) -> dict[str, Figure]:
    """The grid of context answers, and of memory answers.

    Args:
        parts: The run's files by name; `validation` is read.
    """
    about, searched = described(parts["config"]["model"], parts["model"]), validation(parts)
    return {
        f"layer_coeff_{metric}": layer_coeff_heatmap(
            searched, metric=metric, method=METHOD, bounds=(0, 1),
            title=f"{metric.title()} answers on the questions for choosing", metric_label=f"share of {metric} answers",
            subtitle=f"{about}; nothing chosen", **OVER_QUESTIONS,
        )
        for metric in ("context", "memory")
    }  # fmt: skip
