"""What a reader sees of a sweep: figures, a table, sentences and a page, all from the files of its run."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from steering_lab.analysis.condition_table import condition_table, with_gauge
from steering_lab.analysis.plots import Figure, coeff_curves, cost_panel, layer_coeff_heatmap, manifold_heatmap
from steering_lab.analysis.report import FILTERS, Beside
from steering_lab.evaluation.inferring.selection import Selected
from steering_lab.evaluation.inferring.slopes import prompt_slopes, steered_otherwise
from steering_lab.evaluation.inferring.states import states
from steering_lab.evaluation.measuring.named_measures import called, label_of
from steering_lab.runs import read_run
from steering_lab.study.choosing import Chosen, choose
from steering_lab.study.costs import COSTS, NO_PROMPT, without_prompting
from steering_lab.study.expectations import expected_answers
from steering_lab.study.measures import judges_said, subject_of
from steering_lab.study.page import Parts, described, publish
from steering_lab.study.sweep_findings import Result, first_sentence, measured, sentence
from steering_lab.study.vectors import Described, from_json
from steering_lab.tables import TIDY, in_cell, is_unsteered, method_names

# What a folder that was thinned out cannot say on its page.
MISSING = {
    "model.json": "model.json is not in this folder: the page cannot say the model's size, weights and precision.",
    "generations.jsonl": (
        "generations.jsonl is not in this folder: the continuations of the sweep itself are neither here nor on hover."
    ),
    "generations_test.jsonl": "generations_test.jsonl is not in this folder: held-out continuations are not shown.",
    "manifold.parquet": (
        "manifold.parquet is not in this folder: how far out the stream is taken was not measured, as in older runs, or"
        " no edit reaches tokens of a prompt."
    ),
}

# Random vectors, which of them stands beside the steered text, and what a reader calls it: the first that the run has.
DRAWN = {
    "random": "a random vector of the same norm",
    "covariance": "a random vector of the same norm, drawn as the stream varies",
}


def report_sweep(folder: str | Path) -> Path:
    """Draws a finished sweep's figures and page from its files alone, prints what it found, and returns the page.

    Args:
        folder: The folder of the finished run; its `index.html` and figures are replaced.
    """
    told = Told(read_run(folder, TIDY))
    parts, config, confirmed = told.parts, told.parts["config"], told.parts["confirmed"]
    costs = [name for name in confirmed["metric"].unique() if name != told.metric]
    conditions = told.named(condition_table(told.summary, metric=told.metric, costs=costs))
    drawn = told.figures()
    whats = dict.fromkeys(form.what for form in told.forms)
    return publish(
        folder,
        parts,
        title=f"{' and '.join(whats)} on {told.model}",
        findings=[
            first_sentence(told.results, told.metric, told.model, told.n_prompts),
            *(sentence(one, told.metric) for one in told.results),
            *told.otherwise(),
            *judges_said(parts.get("judges", ())),
        ],
        headline=told.headline(),
        figures=drawn,
        headline_note=(
            f"{told.n_prompts} new prompts x {config['n_samples']} samples; heatmaps and curves show the search, on"
            " other prompts, so their numbers differ. Intervals: 95 %, over prompts. Random vectors: where one more of"
            f" the same norm would fall, judged by {config['n_random_confirm']} draws{told.of_each_kind}. p: of no"
            " effect, and of a random vector doing as much; a cell is asked alone, nothing is corrected. Perplexity:"
            " under the unsteered model, over unsteered text's."
            f"{told.gauge_note}"
        ),
        answers=told.answers(),
        beside=told.beside(),
        tables={
            "Every cost of the new prompts (neutral texts: the search's), of random vectors where asked": told.costs(),
            f"All {len(conditions)} conditions of the search with intervals and costs{told.no_prompt}": conditions,
        },
        captions=told.captions(drawn),
        generations=told.generations(),
        filters=("prompts", *FILTERS),
        start=told.start(),
        missing=[sentence for file, sentence in MISSING.items() if Path(file).stem not in parts],
    )


@dataclass(frozen=True, eq=False)
class Told:
    """What a run's files say, in words, tables and figures.

    Args:
        parts: The run's files by name, as far as the folder has them.
    """

    parts: Parts

    @cached_property
    def forms(self) -> list[Described]:
        """What was swept."""
        return from_json(self.parts["sweep"]["forms"])

    @cached_property
    def chosen(self) -> Chosen:
        """For each form the chosen cell, or why there is none."""
        forms = [(form.method, form.place) for form in self.forms]
        sure = self.parts["config"].get("sure", False)
        return choose(self.parts["summary"], self.metric, forms, self.budgets, sure=sure)

    @property
    def budgets(self) -> dict[str, float]:
        """What a cell may cost."""
        config = self.parts["config"]
        return {"perplexity": config["perplexity_budget"], **config.get("budgets", {})}

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """The least and the most that the metric can be, None where it is open."""
        row = self.parts["table"].query("metric == @name", local_dict={"name": self.metric}).iloc[0]
        least, most = (None if pd.isna(row[end]) else float(row[end]) for end in ("least", "most"))
        return least, most

    @cached_property
    def results(self) -> list[Result]:
        """What became of every form on new prompts."""
        both = zip(self.forms, self.chosen, strict=True)
        return [Result.of(form, cell, self.parts["confirmed"]) for form, cell in both]

    @property
    def best(self) -> Result | None:
        """The strongest form that held, or else the first that was asked of new prompts."""
        asked = [one for one in self.results if isinstance(one.cell, Selected)]
        return max(asked, key=lambda one: (one.verdict.held, one.surely), default=None)

    @property
    def n_prompts(self) -> int:
        """The new prompts."""
        confirmed = self.parts["confirmed"]
        return int(confirmed.loc[confirmed["metric"] == self.metric, "n_prompts"].max())

    @property
    def model(self) -> str:
        """The model's name."""
        return str(self.parts.get("model", {}).get("name", self.parts["config"]["model"]))

    @property
    def metric(self) -> str:
        """The metric that chose."""
        return str(self.parts["sweep"]["metric"])

    def named(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table of conditions with every form's name as a reader calls it, and long lists of words cut short."""
        forms = pd.DataFrame(self.forms).assign(control_of=None)
        labels = dict(zip(method_names(forms), forms["label"], strict=True))
        return table.assign(condition=table["condition"].replace(labels)).rename(columns=_short)

    def headline(self) -> pd.DataFrame:
        """One row per condition on prompts that chose nothing: effect and cost with intervals, the control's band."""
        confirmed = self.confirmed
        order = ["unsteered", "steered", "baseline"]
        rows = confirmed[confirmed["role"] != "control"].sort_values("coeff", ascending=False, kind="stable")
        rows = rows.sort_values("role", kind="stable", key=lambda roles: roles.map(order.index))
        costs = [] if self.metric == "perplexity" else ["perplexity"]
        table = self.named(condition_table(rows, metric=self.metric, costs=costs))
        return _as_asked(table)

    def costs(self) -> pd.DataFrame:
        """One row per condition on prompts that chose nothing, controls among them: every cost that was measured."""
        table = self.named(condition_table(self.confirmed, metric=self.metric))
        return _as_asked(table)

    def otherwise(self) -> list[str]:
        """How many prompts of the search each chosen form moves the other way, and random vectors do."""
        curves = steered_otherwise(prompt_slopes(self.parts["table"], self.metric))
        told = []
        for one in self.results:
            if isinstance(one.cell, str):
                continue
            at = curves[(curves["place"] == one.cell.place) & (curves["layer"] == one.cell.layer)]
            own = at[at["method"] == one.cell.method].iloc[0]
            random = at.loc[(at["control_of"] == one.cell.method) & at["method"].isin(DRAWN), "share"]
            beside = f"; random vectors {random.mean():.0%} on the mean of {len(random)}" if len(random) else ""
            told.append(
                f"Prompt by prompt, over the coefficients of the search: {one.form.label} at layer {one.cell.layer:g}"
                f" moves {own['share']:.0%} of {own['n_prompts']} prompts the other way"
                f" [{own['low']:.0%}, {own['high']:.0%}]{beside}."
            )
        return told

    def answers(self) -> pd.DataFrame | None:
        """What was expected, and what the chosen cells on new prompts say to it; nothing where nothing was expected."""
        return expected_answers(self.parts["config"], measured(self.results, self.confirmed, self.metric))

    def gauged(self, summary: pd.DataFrame) -> pd.DataFrame:
        """A summary with how far out its cells take the stream, as far as the run measured it."""
        summary = without_prompting(summary)
        return with_gauge(summary, self.parts["manifold"]) if "manifold" in self.parts else summary

    @property
    def no_prompt(self) -> str:
        """Why prompting has no cost on neutral text, where the run has such a cost."""
        silent = self.summary["why"] == NO_PROMPT
        return f" (none of prompting on neutral text: {NO_PROMPT})" if silent.any() else ""

    @property
    def gauge_note(self) -> str:
        """What the percentiles of norm and distance are among; nothing where the run has none."""
        said = " Percentiles: of the steered stream's norm and distance among tokens of the search's unsteered texts."
        return said if "manifold" in self.parts else ""

    @cached_property
    def summary(self) -> pd.DataFrame:
        """The summary of the search, with how far out every cell takes the stream."""
        return self.gauged(self.parts["summary"])

    @cached_property
    def confirmed(self) -> pd.DataFrame:
        """The summary of the new prompts, likewise."""
        return self.gauged(self.parts["confirmed"])

    @cached_property
    def stated(self) -> pd.DataFrame:
        """The same, with what every cell says of the metric that chose."""
        summary = self.summary
        return summary.assign(state=states(summary, self.metric, self.budgets))

    def figures(self) -> dict[str, Figure]:
        """For each form a heatmap of the metric that chose, one of perplexity, and the curves of the chosen layer."""
        summary, of = self.stated, subject_of(self.metric)
        unsteered = summary[is_unsteered(summary) & (summary["metric"] == self.metric)]["value"].iloc[0]
        effect: dict[str, Any] = {"metric": self.metric, "metric_label": label_of(self.metric)}
        center: float | Literal["unsteered"] = 0.0 if pd.isna(unsteered) else "unsteered"
        drawn: dict[str, Figure] = {}
        for one in sorted(self.results, key=lambda one: one is not self.best):
            form, added, mark, file = one.form, one.done, one.mark, _file(one.form)
            layers = None if isinstance(one.cell, str) else [int(one.cell.layer)]
            sweep: dict[str, Any] = {"method": form.method, "place": form.place}
            grid = {**sweep, "chosen": mark, "examples": self.parts.get("generations")}
            drawn[f"{file}_{file_word(of)}"] = layer_coeff_heatmap(
                summary,
                center=center,
                title=f"{added}: {of} of the text",
                subtitle=self.searched,
                bounds=self.bounds,
                **effect,
                **grid,
            )
            drawn[f"{file}_perplexity"] = layer_coeff_heatmap(
                summary, metric="perplexity", value="ratio", title=f"{added}: perplexity of the text",
                metric_label="perplexity, × unsteered", subtitle=self.searched, **grid,
            )  # fmt: skip
            drawn[f"{file}_costs"] = cost_panel(
                summary, **sweep, costs={name: label_of(name) for name in COSTS if name in set(summary["metric"])},
                budgets=self.budgets, chosen=mark,
                title=f"{added}: what it costs", subtitle=self.searched,
            )  # fmt: skip
            if "manifold" in self.parts:
                drawn[f"{file}_manifold"] = manifold_heatmap(
                    self.parts["manifold"], **sweep, chosen=mark, title=f"{added}: how far out the stream is",
                    subtitle=self.searched,
                )  # fmt: skip
            drawn[f"{file}_curves"] = coeff_curves(
                summary, **sweep, layers=layers, title=f"{added}: shift of {of} against the coefficient",
                subtitle=self.searched, **effect,
            )  # fmt: skip
        return drawn

    @property
    def of_each_kind(self) -> str:
        """Of how many kinds of random vectors there are so many draws, where there are several."""
        kinds = [kind for kind in self.parts["config"].get("controls", ()) if kind in DRAWN]
        return f" of each of {len(kinds)} kinds" if len(kinds) > 1 else ""

    def paler_here(self, one: Result) -> str:
        """Why a cell that held on new prompts is pale in the search, where it is."""
        assert isinstance(one.cell, Selected)
        config, own = self.parts["config"], self.stated[self.stated["metric"] == self.metric]
        here = own[in_cell(own, one.cell.effect)]["state"].iloc[0]
        if one.verdict.held and here == "moves, not told from random vectors":
            few, many = config["n_random"], config["n_random_confirm"]
            return f" {few} draws here do not tell it from random vectors, {many} on new prompts do."
        if one.verdict.held and here == "nothing shown":
            return " Here, one of many cells, it is not told from unsteered; asked alone on new prompts it is."
        return ""

    @property
    def searched(self) -> str:
        """What the figures were measured on."""
        about = described(self.parts["config"]["model"], self.parts.get("model", {}))
        return f"{about}; the prompts of the search"

    def captions(self, drawn: Mapping[str, Figure]) -> dict[str, str]:
        """Under a form's first figure: what was chosen there, what came of it, and why it beat a larger cell.

        Args:
            drawn: The figures that were made; captions of others are left out.
        """
        said = {}
        for one in self.results:
            said[f"{_file(one.form)}_manifold"] = "The vector added to the stream of the prompts' unsteered texts."
            file = f"{_file(one.form)}_{file_word(subject_of(self.metric))}"
            if isinstance(one.cell, str):
                said[file] = f"Nothing chosen, nothing marked: {one.cell}."
                continue
            marked = "Marked" if one.verdict.held else "Chosen here, and not marked because it did not hold"
            instead = f" Of these cells, {one.cell.instead_of}." if one.cell.instead_of else ""
            said[file] = f"{marked}: {one.at}. On new prompts: {one.verdict.said}.{self.paler_here(one)}{instead}"
        return {name: words for name, words in said.items() if name in drawn}

    def generations(self) -> pd.DataFrame | None:
        """Every continuation that the run kept, those of the prompts that chose nothing last."""
        kept = {"choosing": "generations", "held out": "generations_test"}
        found = [self.parts[name].assign(prompts=prompts) for prompts, name in kept.items() if name in self.parts]
        return pd.concat(found, ignore_index=True) if found else None

    def start(self) -> dict[str, object]:
        """The cell at which the browser of texts opens: the strongest that was chosen."""
        if self.best is None or isinstance(self.best.cell, str):
            return {}
        form, cell = self.best.form, self.best.cell
        return {"method": form.method, "place": form.place, "layer": cell.layer, "coeff": cell.coeff}

    def beside(self) -> Beside | None:
        """The first held-out prompt's first sample, unsteered, steered and under a random vector: none was picked."""
        held_out = self.parts.get("generations_test")
        if held_out is None or self.best is None or isinstance(self.best.cell, str):
            return None
        form, cell = self.best.form, self.best.cell
        first = held_out[(held_out["prompt"] == held_out["prompt"].iloc[0]) & (held_out["sample"] == 0)]
        placed = (first["place"] == form.place) & (first["layer"] == cell.layer) & (first["coeff"] == cell.coeff)
        at = f"layer {cell.layer:g}, coefficient {cell.coeff:g}"
        drawn = placed & (first["control_of"] == form.method) & (first["draw"] == 0)
        random = next(kind for kind in DRAWN if (drawn & (first["method"] == kind)).any())
        shown = {
            "unsteered": is_unsteered(first),
            f"{form.label}, {at}": placed & (first["method"] == form.method),
            DRAWN[random]: drawn & (first["method"] == random),
        }
        texts = [(label, str(first.loc[rows, "text"].iloc[0])) for label, rows in shown.items()]
        return Beside(str(first["prompt"].iloc[0]), texts)


def _file(form: Described) -> str:
    """What the files of a form's figures begin with."""
    return f"{form.method}_{form.place}"


def file_word(of: str) -> str:
    """A word of a figure's file name."""
    return "_".join("".join(c if c.isalnum() else " " for c in of).split())


def _short(column: str) -> str:
    """A column's name: of a measure that counts listed words, with few of them."""
    kind, colon, topic = column.partition(":")
    return f"{kind}: {called(topic)}" if colon and "," in topic else column


def _as_asked(table: pd.DataFrame) -> pd.DataFrame:
    """A table of cells that are each asked alone; how many values are missing is said where some are."""
    told = table if table["missing"].any() else table.drop(columns="missing")
    return told.rename(columns={"p, corrected": "p"})
