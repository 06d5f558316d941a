"""Where does adding one prompt pair's activation difference move the sentiment of the text, and what does it cost?

Expected, written before the run: adding "Love" - "Hate" moves continuations toward positive words and subtracting it
toward negative ones, at early and middle layers more than at the last; the effect grows with the coefficient until the
text breaks, which perplexity under the unsteered model shows; norm-matched random vectors move sentiment by little. The
front form (Turner et al. 2023, arXiv:2308.10248) is weaker and cheaper than the same vector at every token.

The cell is chosen on one set of prompts and reported on another, beside random vectors of its norm, the reversed
vector and plain prompting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from steering_lab.analysis.condition_table import condition_table
from steering_lab.analysis.plots import Figure, coeff_curves, layer_coeff_heatmap, save_figures
from steering_lab.analysis.plots.labels import signed
from steering_lab.analysis.report import FILTERS, write_page
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.data.invented_world import (
    NEGATIVE_WORDS,
    POSITIVE_WORDS,
    STORY_PROMPTS_TEST,
    STORY_PROMPTS_VALIDATION,
)
from steering_lab.data.lexicons import ENGLISH, Lexicon
from steering_lab.data.prompts import OPENINGS_TEST, OPENINGS_VALIDATION
from steering_lab.evaluation.condition import (
    UNSTEERED,
    Condition,
    layer_coeff_grid,
    median_resid_norms,
    prompting,
)
from steering_lab.evaluation.controls import is_control
from steering_lab.evaluation.evaluate import Decoding, run_conditions
from steering_lab.evaluation.measures import (
    Degenerate,
    Measure,
    Perplexity,
    TextMeasure,
    balance,
    measure_table,
    sentiment,
)
from steering_lab.evaluation.metrics import repetition
from steering_lab.evaluation.selection import Selected, confirm, select
from steering_lab.evaluation.statistics import summarise
from steering_lab.experiments import as_config, question_of
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.actadd import actadd_vectors
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.generation import Sampling
from steering_lab.models.hook_points import HookSite, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.runs import RunFolder, data_files, read_run

SENTIMENT = "valence_balance"  # defined on every text, where (positive - negative) / valenced words is not
LABEL = "(positive − negative) / all words"

# What a folder that was thinned out, or made before the file was kept, cannot say on its page.
MISSING = {
    "model.json": "model.json is not in this folder: the page cannot say the model's size, weights and precision.",
    "generations.jsonl": (
        "generations.jsonl is not in this folder: the continuations of the sweep itself are neither here nor on hover."
    ),
    "generations_test.jsonl": "generations_test.jsonl is not in this folder: held-out continuations are not shown.",
}


@dataclass(frozen=True)
class Config:
    """Settings of the sweep; empty `layers` means all, empty coefficients leave that form out.

    Raises:
        ValueError: nothing to sweep, or a setting outside its range.
    """

    model: str = "organism"
    positive: str = "Love"
    negative: str = "Hate"
    layers: tuple[int, ...] = ()
    front_coeffs: tuple[float, ...] = (-4, -2, -1, 1, 2, 4)
    everywhere_coeffs: tuple[float, ...] = (-1, -0.5, -0.25, 0.25, 0.5, 1)
    prompts: tuple[str, ...] = ()
    test_prompts: tuple[str, ...] = ()
    n_prompts: int = 16
    n_samples: int = 2
    max_new_tokens: int = 24
    temperature: float = 1.0
    top_p: float = 1.0
    freq_penalty: float = 0.0
    n_random: int = 5
    n_random_confirm: int = 10
    perplexity_budget: float = 1.5
    batch_size: int = 512
    device: str = "auto"
    dtype: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.front_coeffs and not self.everywhere_coeffs:
            raise ValueError("nothing to sweep: front_coeffs and everywhere_coeffs are both empty")
        for name in ("n_prompts", "n_samples", "max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be 1 or more")
        if overlap := set(self.prompts) & set(self.test_prompts):
            raise ValueError(f"prompts for choosing and for reporting overlap: {sorted(overlap)[0]!r}")
        for name in ("n_random", "n_random_confirm"):
            if getattr(self, name) < 3:
                raise ValueError(f"{name} is {getattr(self, name)}: a control's interval needs 3 draws or more")


def run(config: Config, results: str | Path) -> Path:
    """Runs the sweep, or resumes it, and returns the finished run folder; its page is `index.html`."""
    model = load_model(config.model, device=config.device, dtype=config.dtype)
    choosing, reporting = _prompts(config)
    conditions = [UNSTEERED, prompting(f"{config.positive} "), *_grid(model, config, choosing)]
    with RunFolder.open(results, "actadd_sweep", model.name, asdict(config), question_of(__doc__)) as folder:
        keeping = {"batch_size": config.batch_size, "kept": folder.kept, "keep": folder.keep}
        generations = run_conditions(model, conditions, choosing, _decoding(config), **keeping)
        table = measure_table(generations, _measures(config))
        summary = summarise(table, seed=config.seed)
        chosen = _choose(summary, config)

        confirming = _confirming(model, config, choosing, chosen)
        held_out = run_conditions(model, confirming, reporting, _decoding(config), **keeping)
        confirmed = summarise(measure_table(held_out, _measures(config)), seed=config.seed)

        folder.write_table("table", table)
        folder.write_table("summary", summary)
        folder.write_table("confirmed", confirmed)
        folder.write_table("generations.jsonl", generations)
        folder.write_table("generations_test.jsonl", held_out)
        folder.write_json("model.json", model.facts())
        path = folder.finish()
    report(path)
    return path


def _prompts(config: Config) -> tuple[Sequence[str], Sequence[str]]:
    """Prompts for choosing and for reporting: the config's own, or those that come along for the model's language."""
    if config.prompts or config.test_prompts:
        if not (config.prompts and config.test_prompts):
            raise ValueError("give both prompts (for choosing) and test_prompts (for reporting), or neither")
        return config.prompts, config.test_prompts
    own = config.model == "organism"
    choosing = STORY_PROMPTS_VALIDATION if own else OPENINGS_VALIDATION
    reporting = STORY_PROMPTS_TEST if own else OPENINGS_TEST
    if config.n_prompts > min(len(choosing), len(reporting)):
        raise ValueError(f"n_prompts is {config.n_prompts}, but {len(choosing)} come along: give prompts of your own")
    return choosing[: config.n_prompts], reporting[: config.n_prompts]


def _grid(model: HookedModel, config: Config, prompts: Sequence[str]) -> list[Condition]:
    sites = [resid_pre(layer) for layer in config.layers or range(model.n_layers)]
    norms = median_resid_norms(model, prompts, sites)
    grid: list[Condition] = []
    for place, vectors in _vectors(model, config, sites).items():
        coeffs = getattr(config, f"{place}_coeffs")
        options = {"method": "actadd", "place": place, "n_random": config.n_random, "seed": config.seed}
        grid += layer_coeff_grid(vectors, coeffs, norms, **options) if coeffs else []
    return grid


def _vectors(
    model: HookedModel, config: Config, sites: Sequence[HookSite]
) -> dict[str, Mapping[HookSite, SteeringVector]]:
    """The front form has one row per token; the form for every token is the difference at the last token."""
    pair = ContrastPair(config.positive, config.negative)
    return {
        "front": actadd_vectors(model, pair, sites),
        "everywhere": mean_difference_vectors(model, [pair], sites),
    }


def _decoding(config: Config) -> Decoding:
    sampling = Sampling(config.temperature, top_p=config.top_p, freq_penalty=config.freq_penalty)
    return Decoding(config.max_new_tokens, config.n_samples, sampling, config.seed)


def _measures(config: Config) -> list[Measure]:
    lexicon = Lexicon(frozenset(POSITIVE_WORDS), frozenset(NEGATIVE_WORDS)) if config.model == "organism" else ENGLISH
    return [sentiment(lexicon), balance(lexicon), Perplexity(), TextMeasure("repetition", repetition), Degenerate()]


def _choose(summary: pd.DataFrame, config: Config) -> dict[str, Selected | str]:
    """For each form the best cell within the perplexity budget, or the reason why there is none."""
    chosen: dict[str, Selected | str] = {}
    for place in ("front", "everywhere"):
        method = f"actadd_{place}"
        if method in set(summary["method"]):
            try:
                budgets = {"perplexity": config.perplexity_budget}
                chosen[method] = select(summary, effect=SENTIMENT, budgets=budgets, methods=[method])
            except ValueError as refusal:
                chosen[method] = str(refusal)
    return chosen


def _confirming(
    model: HookedModel, config: Config, prompts: Sequence[str], chosen: Mapping[str, Selected | str]
) -> list[Condition]:
    """The chosen cells with their reversal and `n_random_confirm` random vectors, unsteered, and prompting."""
    conditions = [UNSTEERED, prompting(f"{config.positive} "), prompting(f"{config.negative} ")]
    for method, cell in chosen.items():
        if isinstance(cell, str):
            continue
        site, place = resid_pre(int(cell.layer)), method.removeprefix("actadd_")
        vector = _vectors(model, config, [site])[place]
        norms = median_resid_norms(model, prompts, [site])
        options = {"method": "actadd", "place": place, "n_random": config.n_random_confirm, "seed": config.seed + 1}
        conditions += layer_coeff_grid(vector, [cell.coeff, -cell.coeff], norms, **options)
    return conditions


def headline(confirmed: pd.DataFrame) -> pd.DataFrame:
    """One row per arm on the prompts that chose nothing: effect and cost with intervals, and the control's band."""
    arms = confirmed[~confirmed["method"].map(is_control)].sort_values("coeff", ascending=False, kind="stable")
    arms = arms.sort_values("method", kind="stable", key=lambda names: names.map(_order))
    return _conditions(arms, ["perplexity"]).drop(columns=["p, corrected", "missing"])


def _conditions(summary: pd.DataFrame, costs: Sequence[str]) -> pd.DataFrame:
    table = condition_table(summary, metric=SENTIMENT, costs=costs)
    return table.assign(condition=table["condition"].str.replace("actadd ", "ActAdd, "))


def figures(
    summary: pd.DataFrame, generations: pd.DataFrame | None, chosen: Mapping[str, Selected | str], pair: str, model: str
) -> dict[str, Figure]:
    """A heatmap of sentiment and one of perplexity for each form, and the curves of the chosen layers."""
    drawn: dict[str, Figure] = {}
    unsteered = summary[(summary["method"] == "unsteered") & (summary["metric"] == SENTIMENT)]["value"].iloc[0]
    center = 0.0 if pd.isna(unsteered) else "unsteered"
    for method, cell in chosen.items():
        form = {"front": "at the first tokens", "everywhere": "at every token"}[method.removeprefix("actadd_")]
        mark = None if isinstance(cell, str) else (int(cell.layer), cell.coeff)
        common = {"method": method, "chosen": mark, "examples": generations, "subtitle": model}
        drawn[f"{method}_sentiment"] = layer_coeff_heatmap(
            summary, metric=SENTIMENT, center=center, title=f"{pair} added {form}: sentiment of the text",
            metric_label=LABEL, **common,
        )  # fmt: skip
        drawn[f"{method}_perplexity"] = layer_coeff_heatmap(
            summary, metric="perplexity", value="ratio", title=f"{pair} added {form}: perplexity of the text",
            metric_label="perplexity, × unsteered", **common,
        )  # fmt: skip
        drawn[f"{method}_curves"] = coeff_curves(
            summary, metric=SENTIMENT, method=method, layers=None if mark is None else [mark[0]],
            title=f"{pair} added {form}: shift of sentiment against the coefficient", subtitle=model,
            metric_label=LABEL,
        )  # fmt: skip
    return drawn


def report(folder: str | Path) -> Path:
    """Draws a finished run's figures and page from its files alone, prints what it found, and returns the page."""
    folder = Path(folder)
    parts = read_run(folder)
    config: Config = as_config(Config, parts["config"])
    summary, confirmed, facts = parts["summary"], parts["confirmed"], parts.get("model", {})
    pair, name = str(ContrastPair(config.positive, config.negative)), facts.get("name", config.model)
    about, chosen = _about(config, facts), _choose(summary, config)
    generations = _generations(parts)
    drawn = figures(summary, parts.get("generations"), chosen, pair, about)
    saved = save_figures(drawn, folder / "figures")
    table = headline(confirmed)
    findings = [_finding(cell, confirmed) for cell in chosen.values()]
    conditions = _conditions(summary, ["perplexity", "repetition", "degenerate", "sentiment"])
    page = write_page(
        folder / "index.html",
        title=f"{pair} on {name}",
        question=question_of(__doc__),
        finding=" ".join(findings),
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


def _generations(parts: Mapping[str, Any]) -> pd.DataFrame | None:
    """Every continuation that the run kept, those of the prompts that chose nothing last."""
    kept = {"choosing": "generations", "held out": "generations_test"}
    found = [parts[name].assign(prompts=prompts) for prompts, name in kept.items() if name in parts]
    return pd.concat(found, ignore_index=True) if found else None


def _about(config: Config, facts: Mapping[str, Any]) -> str:
    """What the figures were measured on."""
    name = facts.get("name", config.model)
    kind = f"synthetic model {name}" if config.model == "organism" else str(name)
    return f"{kind}, {facts['n_layers']} layers, {facts['n_parameters'] / 1e6:.2g}M parameters" if facts else kind


def _finding(cell: Selected | str, confirmed: pd.DataFrame) -> str:
    """What the chosen cell did on prompts that did not choose it, in a sentence, or why there is none."""
    if isinstance(cell, str):
        return f"Nothing chosen: {cell}."
    effect, cost = confirm(cell, confirmed).itertuples()
    outside = not effect.control_low <= effect.held_out <= effect.control_high
    return (
        f"{cell.method.replace('actadd_', 'ActAdd, ')}, layer {cell.layer:g}, coefficient {cell.coeff:g}: sentiment"
        f" {signed(effect.held_out)} [{signed(effect.held_out_low)}, {signed(effect.held_out_high)}] on new prompts"
        f" ({signed(effect.chosen)} where it was chosen), {'outside' if outside else 'inside'} the band of random"
        f" vectors [{signed(effect.control_low)}, {signed(effect.control_high)}]; perplexity ×{cost.held_out:.2f}."
    )


def _place_in_grid(cell: Selected) -> dict[str, Any]:
    return {"method": cell.method, "layer": cell.layer, "coeff": cell.coeff}


def _caption(figure: str, about: str, summary: pd.DataFrame, config: Config) -> str:
    what = "Choosing prompts" if "curves" not in figure else "Choosing prompts; grey: norm-matched random vectors"
    reference = (
        " Reference, not ours: on GPT-2-XL, Turner et al. (2023) work at layer 6 with coefficient 5 for this pair."
        if (config.positive, config.negative) == ("Love", "Hate")
        else ""
    )
    n_prompts = summary["n_prompts"].max()
    return f"{about}. {what}: {n_prompts} x {config.n_samples} continuations a cell.{reference}"


def _order(method: str) -> int:
    return 0 if method == "unsteered" else 1 if method.startswith("actadd") else 2
