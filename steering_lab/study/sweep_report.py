"""What a reader sees of a sweep: figures, a table, sentences and a page, all from the files of its run."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from steering_lab.analysis.condition_table import condition_table
from steering_lab.analysis.plots import Figure, coeff_curves, layer_coeff_heatmap
from steering_lab.analysis.plots.parts.labels import signed
from steering_lab.analysis.report import FILTERS, Beside
from steering_lab.evaluation.controls import is_control
from steering_lab.evaluation.named_measures import label_of
from steering_lab.evaluation.selection import Selected, confirm
from steering_lab.runs import read_run
from steering_lab.study.choosing import choose
from steering_lab.study.measures import subject_of
from steering_lab.study.page import Parts, described, publish
from steering_lab.study.vectors import Described, from_json

# What a folder that was thinned out cannot say on its page.
MISSING = {
    "model.json": "model.json is not in this folder: the page cannot say the model's size, weights and precision.",
    "generations.jsonl": (
        "generations.jsonl is not in this folder: the continuations of the sweep itself are neither here nor on hover."
    ),
    "generations_test.jsonl": "generations_test.jsonl is not in this folder: held-out continuations are not shown.",
}
WHERE = {
    "front": "at the first tokens",
    "everywhere": "at every token",
    "from_last_prompt_token": "from the prompt's last token on",
    "generated": "at generated tokens",
}


def report_sweep(folder: str | Path) -> Path:
    """Draws a finished sweep's figures and page from its files alone, prints what it found, and returns the page."""
    told = Told(read_run(folder))
    parts, config, confirmed = told.parts, told.parts["config"], told.parts["confirmed"]
    costs = [name for name in confirmed["metric"].unique() if name != told.metric]
    conditions = told.named(condition_table(parts["summary"], metric=told.metric, costs=costs))
    drawn = told.figures()
    cells = [cell for cell in told.chosen.values() if isinstance(cell, Selected)]
    whats = dict.fromkeys(form.what for form in told.forms)
    return publish(
        folder,
        parts,
        title=f"{' and '.join(whats)} on {parts.get('model', {}).get('name', config['model'])}",
        findings=[told.finding(cell) for cell in told.chosen.values()],
        headline=told.headline(),
        figures=drawn,
        headline_note=(
            f"{confirmed['n_prompts'].max()} prompts x {config['n_samples']} samples that were not used for choosing."
            " Intervals: 95 % bootstrap over prompts. Random vectors: where one more of the same norm would fall,"
            f" judged by {config['n_random_confirm']} draws. Perplexity: under the unsteered model, over unsteered"
            " text's."
        ),
        beside=told.beside(),
        tables={f"All {len(conditions)} conditions with intervals and costs": conditions},
        captions={name: told.caption(name) for name in drawn},
        generations=told.generations(),
        filters=("prompts", *FILTERS),
        start={"method": cells[0].method, "layer": cells[0].layer, "coeff": cells[0].coeff} if cells else {},
        missing=[sentence for file, sentence in MISSING.items() if Path(file).stem not in parts],
    )


@dataclass(frozen=True, eq=False)
class Told:
    """What a run's files say, in words, tables and figures."""

    parts: Parts

    @cached_property
    def forms(self) -> list[Described]:
        """What was swept."""
        return from_json(self.parts["sweep"]["forms"])

    @cached_property
    def chosen(self) -> Mapping[str, Selected | str]:
        """For each form the chosen cell, or why there is none."""
        keys = [form.key for form in self.forms]
        return choose(self.parts["summary"], self.metric, keys, self.parts["config"]["perplexity_budget"])

    @property
    def metric(self) -> str:
        """The metric that chose."""
        return str(self.parts["sweep"]["metric"])

    @property
    def about(self) -> str:
        """What the figures were measured on."""
        return described(self.parts["config"]["model"], self.parts.get("model", {}))

    def label(self, key: str) -> str:
        """What a reader calls a form: "ActAdd, front"."""
        return next(form.label for form in self.forms if form.key == key)

    def named(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table of conditions with every form's name as a reader calls it."""
        spaced = {form.key.replace("_", " "): form.label for form in self.forms}
        return table.assign(condition=table["condition"].replace(spaced))

    def headline(self) -> pd.DataFrame:
        """One row per condition on prompts that chose nothing: effect and cost with intervals, the control's band."""
        confirmed = self.parts["confirmed"]
        first = {"unsteered": 0} | {form.key: 1 for form in self.forms}
        rows = confirmed[~confirmed["method"].map(is_control)].sort_values("coeff", ascending=False, kind="stable")
        rows = rows.sort_values("method", kind="stable", key=lambda names: names.map(lambda name: first.get(name, 2)))
        table = self.named(condition_table(rows, metric=self.metric, costs=["perplexity"]))
        return table.drop(columns=["p, corrected", "missing"])

    def finding(self, cell: Selected | str) -> str:
        """What a chosen cell did on prompts that did not choose it, in a sentence, or why there is none."""
        if isinstance(cell, str):
            return f"Nothing chosen: {cell}."
        effect, cost = confirm(cell, self.parts["confirmed"]).itertuples()
        outside = not effect.control_low <= effect.held_out <= effect.control_high
        return (
            f"{self.label(cell.method)}, layer {cell.layer:g}, coefficient {cell.coeff:g}: {subject_of(self.metric)}"
            f" {signed(effect.held_out)} [{signed(effect.held_out_low)}, {signed(effect.held_out_high)}] on new prompts"
            f" ({signed(effect.chosen)} where it was chosen), {'outside' if outside else 'inside'} the band of random"
            f" vectors [{signed(effect.control_low)}, {signed(effect.control_high)}]; perplexity ×{cost.held_out:.2f}."
        )

    def figures(self) -> dict[str, Figure]:
        """For each form a heatmap of the metric that chose, one of perplexity, and the curves of the chosen layer."""
        summary, of = self.parts["summary"], subject_of(self.metric)
        unsteered = summary[(summary["method"] == "unsteered") & (summary["metric"] == self.metric)]["value"].iloc[0]
        effect: dict[str, Any] = {"metric": self.metric, "metric_label": label_of(self.metric)}
        center: float | Literal["unsteered"] = 0.0 if pd.isna(unsteered) else "unsteered"
        drawn: dict[str, Figure] = {}
        for form in self.forms:
            cell, added = self.chosen[form.key], f"{form.what} added {WHERE[form.place]}"
            mark = None if isinstance(cell, str) else (int(cell.layer), cell.coeff)
            grid: dict[str, Any] = {"method": form.key, "chosen": mark, "examples": self.parts.get("generations")}
            drawn[f"{form.key}_{file_word(of)}"] = layer_coeff_heatmap(
                summary, center=center, title=f"{added}: {of} of the text", subtitle=self.about, **effect, **grid
            )
            drawn[f"{form.key}_perplexity"] = layer_coeff_heatmap(
                summary, metric="perplexity", value="ratio", title=f"{added}: perplexity of the text",
                metric_label="perplexity, × unsteered", subtitle=self.about, **grid,
            )  # fmt: skip
            drawn[f"{form.key}_curves"] = coeff_curves(
                summary, method=form.key, layers=None if mark is None else [mark[0]],
                title=f"{added}: shift of {of} against the coefficient", subtitle=self.about, **effect,
            )  # fmt: skip
        return drawn

    def caption(self, figure: str) -> str:
        """Under a figure: on what it was measured, and how much of it."""
        what = "Choosing prompts" if "curves" not in figure else "Choosing prompts; grey: norm-matched random vectors"
        n_prompts, n_samples = self.parts["summary"]["n_prompts"].max(), self.parts["config"]["n_samples"]
        return f"{self.about}. {what}: {n_prompts} x {n_samples} continuations a cell."

    def generations(self) -> pd.DataFrame | None:
        """Every continuation that the run kept, those of the prompts that chose nothing last."""
        kept = {"choosing": "generations", "held out": "generations_test"}
        found = [self.parts[name].assign(prompts=prompts) for prompts, name in kept.items() if name in self.parts]
        return pd.concat(found, ignore_index=True) if found else None

    def beside(self) -> Beside | None:
        """The first held-out prompt's first sample, unsteered, steered and under a random vector: none was picked."""
        held_out = self.parts.get("generations_test")
        places = {form.key: form.place for form in self.forms}
        cells = [cell for cell in self.chosen.values() if isinstance(cell, Selected)]
        if held_out is None or not cells:
            return None
        cell = next((cell for cell in cells if places[cell.method] != "front"), cells[0])
        first = held_out[(held_out["prompt"] == held_out["prompt"].iloc[0]) & (held_out["sample"] == 0)]
        of_cell = (first["layer"] == cell.layer) & (first["coeff"] == cell.coeff)
        random = (first["method"] == f"random_{places[cell.method]}") & (first["draw"] == 0)
        at = f"layer {cell.layer:g}, coefficient {cell.coeff:g}"
        shown = {
            "unsteered": first["method"] == "unsteered",
            f"{self.label(cell.method)}, {at}": of_cell & (first["method"] == cell.method),
            "a random vector of the same norm": of_cell & random,
        }
        texts = [(label, str(first.loc[rows, "text"].iloc[0])) for label, rows in shown.items()]
        return Beside(str(first["prompt"].iloc[0]), texts)


def file_word(of: str) -> str:
    """A word of a figure's file name."""
    return "_".join("".join(c if c.isalnum() else " " for c in of).split())
