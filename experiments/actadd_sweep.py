"""Where does adding one prompt pair's activation difference move the sentiment of the text, and what does it cost?

Expected, written before the run: adding "Love" - "Hate" moves continuations toward positive words and subtracting it
toward negative ones, at early and middle layers more than at the last; the effect grows with the coefficient until the
text breaks, which perplexity under the unsteered model shows; norm-matched random vectors move sentiment by little. The
front form (Turner et al. 2023, arXiv:2308.10248) is weaker and cheaper than the same vector at every token.

In front of a text stands what the model's own tokenizer puts there, as in plain Hugging Face. To repeat the paper on
GPT-2, set `prefix = "bos"`: the authors' TransformerLens puts a beginning-of-text token there, the tokenizer nothing.

The cell is chosen on one set of prompts and reported on another, beside random vectors of its norm, the reversed
vector and plain prompting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from steering_lab.analysis.condition_table import condition_table
from steering_lab.analysis.plots import Figure, coeff_curves, layer_coeff_heatmap, save_figures
from steering_lab.analysis.plots.labels import signed
from steering_lab.analysis.report import FILTERS, Beside, write_page
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.evaluation.condition import (
    UNSTEERED,
    Condition,
    PlaceName,
    Prefixed,
    layer_coeff_grid,
    median_resid_norms,
    prompting,
)
from steering_lab.evaluation.evaluate import run_conditions
from steering_lab.evaluation.groups import Elsewhere
from steering_lab.evaluation.measures import measure_table
from steering_lab.evaluation.selection import Selected, confirm, select
from steering_lab.evaluation.statistics import summarise
from steering_lab.experiments import as_config, question_of
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.actadd import actadd_vectors
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.hook_points import HookSite, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.runs import RunFolder, data_files, read_run
from steering_lab.tables import TIDY, is_unsteered, method_names

from .sweep_settings import METRICS, Config, measures_of, pairs_of, prompts_of, writing


class Form(NamedTuple):
    """A method at a place: what a cell is chosen for."""

    method: str
    place: PlaceName

    def __str__(self) -> str:
        """What a reader calls it: "ActAdd, front"."""
        return f"{'ActAdd' if self.method == 'actadd' else 'Mean difference'}, {self.place}"

    @property
    def key(self) -> str:
        """What its figures' files begin with."""
        return f"{self.method}_{self.place}"

    def rows(self, table: pd.DataFrame) -> pd.Series:
        """Which rows of a table are its own."""
        return (table["method"] == self.method) & (table["place"] == self.place)


FORMS = (Form("mean_difference", "everywhere"), Form("actadd", "front"), Form("actadd", "everywhere"))
Chosen = Mapping[Form, Selected | str]
Pairs = Sequence[ContrastPair]
ByPlace = Mapping[PlaceName, Pairs]

# What a folder that was thinned out, or made before the file was kept, cannot say on its page.
MISSING = {
    "model.json": "model.json is not in this folder: the page cannot say the model's size, weights and precision.",
    "generations.jsonl": (
        "generations.jsonl is not in this folder: the continuations of the sweep itself are neither here nor on hover."
    ),
    "generations_test.jsonl": "generations_test.jsonl is not in this folder: held-out continuations are not shown.",
}


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Runs the sweep, or resumes it, and returns the finished run folder; its page is `index.html`."""
    pairs, (choosing, reporting) = pairs_of(config), prompts_of(config)
    model = load_model(config.model, device=config.device, dtype=config.dtype, prefix=config.prefix)
    write = writing(model, config)
    unsteered, rival = replace(UNSTEERED, write=write), prompting(f"{_said(pairs).positive} ", write)
    conditions = [unsteered, rival, *_grid(model, config, pairs, choosing, write)]
    question = question_of(__doc__)
    with RunFolder.open(results, "actadd_sweep", model.name, asdict(config), question, elsewhere) as folder:
        keeping: dict[str, Any] = {"batch_size": config.batch_size, **folder.keeping}
        keeping |= {"bare": write} if config.chat else {}
        generations = run_conditions(model, conditions, choosing, config.decoding, **keeping)
        table = measure_table(generations, measures_of(config))
        summary = summarise(table, seed=config.seed)
        chosen = _choose(summary, config)

        confirming = [unsteered, rival, *_confirming(model, config, pairs, choosing, chosen, write)]
        held_out = run_conditions(model, confirming, reporting, config.decoding, **keeping)
        confirmed = summarise(measure_table(held_out, measures_of(config)), seed=config.seed)

        if config.pairs:
            folder.write_json("pairs.json", [asdict(pair) for pair in pairs["everywhere"]])
        folder.write_table("table", table)
        folder.write_table("summary", summary)
        folder.write_table("confirmed", confirmed)
        folder.write_table("generations.jsonl", generations)
        folder.write_table("generations_test.jsonl", held_out)
        folder.write_json("model.json", model.facts())
        return folder.finish(report)


def _grid(
    model: HookedModel, config: Config, pairs: ByPlace, prompts: Sequence[str], write: Prefixed
) -> list[Condition]:
    sites = [resid_pre(layer) for layer in config.layers or range(model.n_layers)]
    norms = median_resid_norms(model, [write(prompt) for prompt in prompts], sites)
    grid: list[Condition] = []
    for place in pairs:
        vectors, coeffs = _vectors(model, pairs, place, sites), getattr(config, f"{place}_coeffs")
        options: dict[str, Any] = {"method": _method(pairs[place]), "place": place, "n_random": config.n_random}
        grid += layer_coeff_grid(vectors, coeffs, norms, seed=config.seed, write=write, **options)
    return grid


def _method(pairs: Pairs) -> str:
    return "actadd" if len(pairs) == 1 else "mean_difference"


def _said(pairs: ByPlace) -> ContrastPair:
    """The pair whose sides prompting writes."""
    return pairs["everywhere" if "everywhere" in pairs else "front"][0]


def _vectors(
    model: HookedModel, pairs: ByPlace, place: PlaceName, sites: Sequence[HookSite]
) -> Mapping[HookSite, SteeringVector]:
    """The front form has one row per token; the form for every token is the mean difference at the last token."""
    if place == "front":
        return actadd_vectors(model, pairs[place][0], sites)
    return mean_difference_vectors(model, pairs[place], sites)


def _choose(summary: pd.DataFrame, config: Config) -> dict[Form, Selected | str]:
    """For each form the best cell within the perplexity budget, or the reason why there is none."""
    chosen: dict[Form, Selected | str] = {}
    for form in FORMS:
        if form.rows(summary).any():
            among = {"methods": [form.method], "places": [form.place]}
            try:
                budgets = {"perplexity": config.perplexity_budget}
                chosen[form] = select(summary, effect=config.metric, budgets=budgets, **among)
            except ValueError as refusal:
                chosen[form] = str(refusal)
    return chosen


def _confirming(
    model: HookedModel, config: Config, pairs: ByPlace, prompts: Sequence[str],
    chosen: Chosen, write: Prefixed,
) -> list[Condition]:  # fmt: skip
    """Prompting the other way, and the chosen cells with their reversal and `n_random_confirm` random vectors."""
    conditions = [prompting(f"{_said(pairs).negative} ", write)]
    for form, cell in chosen.items():
        if isinstance(cell, str):
            continue
        site, place = resid_pre(int(cell.layer)), form.place
        vector = _vectors(model, pairs, place, [site])
        norms = median_resid_norms(model, [write(prompt) for prompt in prompts], [site])
        options: dict[str, Any] = {"method": _method(pairs[place]), "place": place, "n_random": config.n_random_confirm}
        coeffs = [cell.coeff, -cell.coeff]
        conditions += layer_coeff_grid(vector, coeffs, norms, seed=config.seed + 1, write=write, **options)
    return conditions


def headline(confirmed: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One row per arm on the prompts that chose nothing: effect and cost with intervals, and the control's band."""
    rows = confirmed[confirmed["role"] != "control"].sort_values("coeff", ascending=False, kind="stable")
    order = ["unsteered", "steered", "baseline"]
    rows = rows.sort_values("role", kind="stable", key=lambda roles: roles.map(order.index))
    return _conditions(rows, metric, ["perplexity"]).drop(columns=["p, corrected", "missing"])


def _conditions(summary: pd.DataFrame, metric: str, costs: Sequence[str]) -> pd.DataFrame:
    table = condition_table(summary, metric=metric, costs=costs)
    said = method_names(pd.DataFrame([form._asdict() | {"control_of": None} for form in FORMS]))
    return table.assign(condition=table["condition"].replace(dict(zip(said, map(str, FORMS), strict=True))))


def figures(
    summary: pd.DataFrame, generations: pd.DataFrame | None, chosen: Chosen,
    pairs: Mapping[PlaceName, str], model: str, sentiment: str = "lexicon",
) -> dict[str, Figure]:  # fmt: skip
    """A heatmap of sentiment and one of perplexity for each form, and the curves of the chosen layers."""
    drawn: dict[str, Figure] = {}
    metric, label = METRICS[sentiment]
    unsteered = summary[is_unsteered(summary) & (summary["metric"] == metric)]["value"].iloc[0]
    center = 0.0 if pd.isna(unsteered) else "unsteered"
    for form, cell in chosen.items():
        pair, where = pairs[form.place], "at the first tokens" if form.place == "front" else "at every token"
        mark = None if isinstance(cell, str) else (int(cell.layer), cell.coeff)
        sweep = {"method": form.method, "place": form.place}
        common = {**sweep, "chosen": mark, "examples": generations, "subtitle": model}
        drawn[f"{form.key}_sentiment"] = layer_coeff_heatmap(
            summary, metric=metric, center=center, title=f"{pair} added {where}: sentiment of the text",
            metric_label=label, **common,
        )  # fmt: skip
        drawn[f"{form.key}_perplexity"] = layer_coeff_heatmap(
            summary, metric="perplexity", value="ratio", title=f"{pair} added {where}: perplexity of the text",
            metric_label="perplexity, × unsteered", **common,
        )  # fmt: skip
        drawn[f"{form.key}_curves"] = coeff_curves(
            summary, metric=metric, **sweep, layers=None if mark is None else [mark[0]],
            title=f"{pair} added {where}: shift of sentiment against the coefficient", subtitle=model,
            metric_label=label,
        )  # fmt: skip
    return drawn


def report(folder: str | Path) -> Path:
    """Draws a finished run's figures and page from its files alone, prints what it found, and returns the page."""
    folder = Path(folder)
    parts = read_run(folder, TIDY)
    config: Config = as_config(Config, parts["config"])
    summary, confirmed, facts = parts["summary"], parts["confirmed"], parts.get("model", {})
    pairs, name = _pairs(parts), facts.get("name", config.model)
    about, chosen = _about(config, facts), _choose(summary, config)
    generations = _generations(parts)
    drawn = figures(summary, parts.get("generations"), chosen, pairs, about, config.sentiment)
    saved = save_figures(drawn, folder / "figures")
    table = headline(confirmed, config.metric)
    findings = [_finding(form, cell, confirmed) for form, cell in chosen.items()]
    others = ["valence_balance"] if config.sentiment == "vader" else []
    conditions = _conditions(summary, config.metric, ["perplexity", "repetition", "degenerate", "sentiment", *others])
    page = write_page(
        folder / "index.html",
        title=f"{' and '.join(dict.fromkeys(pairs[form.place] for form in chosen))} on {name}",
        question=question_of(__doc__),
        finding=" ".join(findings),
        beside=_beside(chosen, parts.get("generations_test")),
        headline=table,
        headline_note=(
            f"{confirmed['n_prompts'].max()} prompts x {config.n_samples} samples that were not used for choosing."
            " Intervals: 95 % bootstrap over prompts. Random vectors: where one more of the same norm would fall,"
            f" judged by {config.n_random_confirm} draws. Perplexity: under the unsteered model, over unsteered text's."
        ),
        tables={f"All {len(conditions)} conditions with intervals and costs": conditions},
        figures=drawn,
        captions={figure: _caption(figure, about, summary, config) for figure in drawn},
        generations=generations,
        filters=("prompts", *FILTERS),
        start=next((_place_in_grid(cell) for cell in chosen.values() if isinstance(cell, Selected)), {}),
        missing=[sentence for file, sentence in MISSING.items() if Path(file).stem not in parts],
        config=parts["config"],
        model=facts,
        provenance=parts["provenance"],
        links={file: file for file in data_files(folder)},
    )
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3g}", na_rep="–"))
    print("\n".join(["", *findings, *([saved.note] if saved.note else [])]))
    return page


def _pairs(parts: Mapping[str, Any]) -> dict[PlaceName, str]:
    """What was added at each place, as a reader calls it."""
    config, several = parts["config"], parts.get("pairs")
    one = many = str(ContrastPair(config["positive"], config["negative"]))
    if config.get("pairs"):
        many = Path(config["pairs"]).stem + ("" if several is None else f" (mean of {len(several)} pairs)")
        if several is not None and len(several) == 1:
            many = str(ContrastPair(**several[0]))
    return {"front": one, "everywhere": many}


def _beside(chosen: Chosen, held_out: pd.DataFrame | None) -> Beside | None:
    """The first held-out prompt's first sample, unsteered, steered and under a random vector: none was picked."""
    cells = [(form, cell) for form, cell in chosen.items() if isinstance(cell, Selected)]
    if held_out is None or not cells:
        return None
    form, cell = next((both for both in cells if both[0].place == "everywhere"), cells[0])
    first = held_out[(held_out["prompt"] == held_out["prompt"].iloc[0]) & (held_out["sample"] == 0)]
    at = f"layer {cell.layer:g}, coefficient {cell.coeff:g}"
    of_cell = (first["layer"] == cell.layer) & (first["coeff"] == cell.coeff)
    beside = (first["control_of"] == form.method) & (first["place"] == form.place)
    shown = {
        "unsteered": is_unsteered(first),
        f"{form}, {at}": of_cell & form.rows(first),
        "a random vector of the same norm": of_cell & beside & (first["draw"] == 0),
    }
    texts = [(label, str(first.loc[rows, "text"].iloc[0])) for label, rows in shown.items()]
    return Beside(str(first["prompt"].iloc[0]), texts)


def _generations(parts: Mapping[str, Any]) -> pd.DataFrame | None:
    """Every continuation that the run kept, those of the prompts that chose nothing last."""
    kept = {"choosing": "generations", "held out": "generations_test"}
    found = [parts[name].assign(prompts=prompts) for prompts, name in kept.items() if name in parts]
    return pd.concat(found, ignore_index=True) if found else None


def _about(config: Config, facts: Mapping[str, Any]) -> str:
    """What the figures were measured on."""
    name = facts.get("name", config.model)
    kind = f"synthetic model {name}" if config.model == "organism" else str(name)
    if not facts:
        return kind
    size = [f"{facts['n_layers']} layers", f"{facts['n_parameters'] / 1e6:.3g}M parameters"]
    return ", ".join([kind, *size, *filter(None, [facts.get("quantisation")])])


def _finding(form: Form, cell: Selected | str, confirmed: pd.DataFrame) -> str:
    """What the chosen cell did on prompts that did not choose it, in a sentence, or why there is none."""
    if isinstance(cell, str):
        return f"Nothing chosen: {cell}."
    effect, cost = confirm(cell, confirmed).itertuples()
    outside = not effect.control_low <= effect.held_out <= effect.control_high
    return (
        f"{form}, layer {cell.layer:g}, coefficient {cell.coeff:g}: sentiment"
        f" {signed(effect.held_out)} [{signed(effect.held_out_low)}, {signed(effect.held_out_high)}] on new prompts"
        f" ({signed(effect.chosen)} where it was chosen), {'outside' if outside else 'inside'} the band of random"
        f" vectors [{signed(effect.control_low)}, {signed(effect.control_high)}]; perplexity ×{cost.held_out:.2f}."
    )


def _place_in_grid(cell: Selected) -> dict[str, Any]:
    return {"method": cell.method, "place": cell.place, "layer": cell.layer, "coeff": cell.coeff}


def _caption(figure: str, about: str, summary: pd.DataFrame, config: Config) -> str:
    what = "Choosing prompts" if "curves" not in figure else "Choosing prompts; grey: norm-matched random vectors"
    reference = (
        " Reference, not ours: on GPT-2-XL, Turner et al. (2023) work at layer 6 with coefficient 5 for this pair."
        if (config.positive, config.negative) == ("Love", "Hate") and config.pairs in ("", "love_hate")
        else ""
    )
    n_prompts = summary["n_prompts"].max()
    return f"{about}. {what}: {n_prompts} x {config.n_samples} continuations a cell.{reference}"
