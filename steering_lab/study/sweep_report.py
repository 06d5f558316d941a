"""What a reader sees of a sweep: figures, a table, sentences and a page, all from the files of its run."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from steering_lab.analysis.condition_table import condition_table
from steering_lab.analysis.plots import Figure, coeff_curves, cost_panel, layer_coeff_heatmap
from steering_lab.analysis.plots.parts.labels import signed
from steering_lab.analysis.report import FILTERS, Beside
from steering_lab.evaluation.inferring.confirmation import confirm
from steering_lab.evaluation.inferring.selection import Selected
from steering_lab.evaluation.measuring.named_measures import label_of
from steering_lab.runs import read_run
from steering_lab.study.choosing import Chosen, choose
from steering_lab.study.costs import COSTS
from steering_lab.study.measures import subject_of
from steering_lab.study.page import Parts, described, publish
from steering_lab.study.vectors import Described, from_json
from steering_lab.tables import TIDY, is_unsteered, method_names

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
    told = Told(read_run(folder, TIDY))
    parts, config, confirmed = told.parts, told.parts["config"], told.parts["confirmed"]
    costs = [name for name in confirmed["metric"].unique() if name != told.metric]
    conditions = told.named(condition_table(parts["summary"], metric=told.metric, costs=costs))
    drawn = told.figures()
    whats = dict.fromkeys(form.what for form in told.forms)
    return publish(
        folder,
        parts,
        title=f"{' and '.join(whats)} on {parts.get('model', {}).get('name', config['model'])}",
        findings=[told.finding(form, cell) for form, cell in zip(told.forms, told.chosen, strict=True)],
        headline=told.headline(),
        figures=drawn,
        headline_note=(
            f"{confirmed.loc[confirmed['metric'] == told.metric, 'n_prompts'].max()} prompts x {config['n_samples']}"
            " samples that were not used for choosing."
            " Intervals: 95 % bootstrap over prompts. Random vectors: where one more of the same norm would fall,"
            f" judged by {config['n_random_confirm']} draws. Perplexity: under the unsteered model, over unsteered"
            " text's."
        ),
        beside=told.beside(),
        tables={f"All {len(conditions)} conditions with intervals and costs": conditions},
        captions={name: told.caption(name) for name in drawn},
        generations=told.generations(),
        filters=("prompts", *FILTERS),
        start=told.start(),
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
    def chosen(self) -> Chosen:
        """For each form the chosen cell, or why there is none."""
        forms = [(form.method, form.place) for form in self.forms]
        return choose(self.parts["summary"], self.metric, forms, self.parts["config"]["perplexity_budget"])

    @property
    def cells(self) -> list[tuple[Described, Selected]]:
        """The forms that have a chosen cell, with it."""
        both = zip(self.forms, self.chosen, strict=True)
        return [(form, cell) for form, cell in both if isinstance(cell, Selected)]

    @property
    def metric(self) -> str:
        """The metric that chose."""
        return str(self.parts["sweep"]["metric"])

    @property
    def about(self) -> str:
        """What the figures were measured on."""
        return described(self.parts["config"]["model"], self.parts.get("model", {}))

    def named(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table of conditions with every form's name as a reader calls it."""
        forms = pd.DataFrame(self.forms).assign(control_of=None)
        labels = dict(zip(method_names(forms), forms["label"], strict=True))
        return table.assign(condition=table["condition"].replace(labels))

    def headline(self) -> pd.DataFrame:
        """One row per condition on prompts that chose nothing: effect and cost with intervals, the control's band."""
        confirmed = self.parts["confirmed"]
        order = ["unsteered", "steered", "baseline"]
        rows = confirmed[confirmed["role"] != "control"].sort_values("coeff", ascending=False, kind="stable")
        rows = rows.sort_values("role", kind="stable", key=lambda roles: roles.map(order.index))
        table = self.named(condition_table(rows, metric=self.metric, costs=["perplexity"]))
        return table.drop(columns=["p, corrected", "missing"])

    def finding(self, form: Described, cell: Selected | str) -> str:
        """What a form's chosen cell did on prompts that did not choose it, in a sentence, or why there is none."""
        if isinstance(cell, str):
            return f"Nothing chosen: {cell}."
        effect, cost = confirm(cell, self.parts["confirmed"]).itertuples()
        outside = not effect.control_low <= effect.held_out <= effect.control_high
        return (
            f"{form.label}, layer {cell.layer:g}, coefficient {cell.coeff:g}: {subject_of(self.metric)}"
            f" {signed(effect.held_out)} [{signed(effect.held_out_low)}, {signed(effect.held_out_high)}] on new prompts"
            f" ({signed(effect.chosen)} where it was chosen), {'outside' if outside else 'inside'} the band of random"
            f" vectors [{signed(effect.control_low)}, {signed(effect.control_high)}]; perplexity ×{cost.held_out:.2f}."
        )

    def figures(self) -> dict[str, Figure]:
        """For each form a heatmap of the metric that chose, one of perplexity, and the curves of the chosen layer."""
        summary, of = self.parts["summary"], subject_of(self.metric)
        unsteered = summary[is_unsteered(summary) & (summary["metric"] == self.metric)]["value"].iloc[0]
        effect: dict[str, Any] = {"metric": self.metric, "metric_label": label_of(self.metric)}
        center: float | Literal["unsteered"] = 0.0 if pd.isna(unsteered) else "unsteered"
        drawn: dict[str, Figure] = {}
        for form, cell in zip(self.forms, self.chosen, strict=True):
            file, added = f"{form.method}_{form.place}", f"{form.what} added {WHERE[form.place]}"
            mark = None if isinstance(cell, str) else (int(cell.layer), cell.coeff)
            sweep: dict[str, Any] = {"method": form.method, "place": form.place}
            grid = {**sweep, "chosen": mark, "examples": self.parts.get("generations")}
            drawn[f"{file}_{file_word(of)}"] = layer_coeff_heatmap(
                summary, center=center, title=f"{added}: {of} of the text", subtitle=self.about, **effect, **grid
            )
            drawn[f"{file}_perplexity"] = layer_coeff_heatmap(
                summary, metric="perplexity", value="ratio", title=f"{added}: perplexity of the text",
                metric_label="perplexity, × unsteered", subtitle=self.about, **grid,
            )  # fmt: skip
            drawn[f"{file}_costs"] = cost_panel(
                summary, **sweep, costs={name: label_of(name) for name in COSTS if name in set(summary["metric"])},
                budgets={"perplexity": self.parts["config"]["perplexity_budget"]}, chosen=mark,
                title=f"{added}: what it costs", subtitle=self.about,
            )  # fmt: skip
            drawn[f"{file}_curves"] = coeff_curves(
                summary, **sweep, layers=None if mark is None else [mark[0]],
                title=f"{added}: shift of {of} against the coefficient", subtitle=self.about, **effect,
            )  # fmt: skip
        return drawn

    def caption(self, figure: str) -> str:
        """Under a figure: on what it was measured, and how much of it."""
        what = "Choosing prompts" if "curves" not in figure else "Choosing prompts; grey: norm-matched random vectors"
        summary, n_samples = self.parts["summary"], self.parts["config"]["n_samples"]
        n_prompts = summary.loc[summary["metric"] == self.metric, "n_prompts"].max()
        return f"{self.about}. {what}: {n_prompts} x {n_samples} continuations a cell."

    def generations(self) -> pd.DataFrame | None:
        """Every continuation that the run kept, those of the prompts that chose nothing last."""
        kept = {"choosing": "generations", "held out": "generations_test"}
        found = [self.parts[name].assign(prompts=prompts) for prompts, name in kept.items() if name in self.parts]
        return pd.concat(found, ignore_index=True) if found else None

    def start(self) -> dict[str, object]:
        """The cell at which the browser of texts opens: the first that was chosen."""
        if not self.cells:
            return {}
        form, cell = self.cells[0]
        return {"method": form.method, "place": form.place, "layer": cell.layer, "coeff": cell.coeff}

    def beside(self) -> Beside | None:
        """The first held-out prompt's first sample, unsteered, steered and under a random vector: none was picked."""
        held_out = self.parts.get("generations_test")
        if held_out is None or not self.cells:
            return None
        form, cell = next((both for both in self.cells if both[0].place != "front"), self.cells[0])
        first = held_out[(held_out["prompt"] == held_out["prompt"].iloc[0]) & (held_out["sample"] == 0)]
        placed = (first["place"] == form.place) & (first["layer"] == cell.layer) & (first["coeff"] == cell.coeff)
        at = f"layer {cell.layer:g}, coefficient {cell.coeff:g}"
        shown = {
            "unsteered": is_unsteered(first),
            f"{form.label}, {at}": placed & (first["method"] == form.method),
            "a random vector of the same norm": placed & (first["control_of"] == form.method) & (first["draw"] == 0),
        }
        texts = [(label, str(first.loc[rows, "text"].iloc[0])) for label, rows in shown.items()]
        return Beside(str(first["prompt"].iloc[0]), texts)


def file_word(of: str) -> str:
    """A word of a figure's file name."""
    return "_".join("".join(c if c.isalnum() else " " for c in of).split())
