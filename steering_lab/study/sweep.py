"""A sweep: forms of steering over layers and coefficients, the best cell chosen on some prompts, reported on others.

Beside every cell stand its controls, random vectors of its norm and whatever others the settings name; beside the
chosen one more of them, its reversal, and prompting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from steering_lab.evaluation.inferring.selection import Selected
from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.evaluation.measuring.measures import Measure, measure_table
from steering_lab.evaluation.running.condition import UNSTEERED, Condition, prompting
from steering_lab.evaluation.running.grid import layer_coeff_grid, median_resid_norms
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.evaluation.running.writing import Prefixed
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.study.choosing import Chosen, choose
from steering_lab.study.controls import check_form, controls_of
from steering_lab.study.costs import check_costs, cost_tables
from steering_lab.study.expectations import check
from steering_lab.study.manifold import manifold_table, neutral_texts
from steering_lab.study.measures import keep_judges, sweep_measures
from steering_lab.study.settings import (
    ChatSettings,
    ControlSettings,
    ExpectationSettings,
    LayerSettings,
    PromptSettings,
    SamplingSettings,
)
from steering_lab.study.setup import Setup, opened
from steering_lab.study.sweep_findings import who_may
from steering_lab.study.sweep_report import report_sweep
from steering_lab.study.vectors import Form, as_json

SWEEP = "sweep"  # the experiment that comes along and draws the page of any sweep


@dataclass(frozen=True)
class SweepSettings(
    PromptSettings, LayerSettings, SamplingSettings, ChatSettings, ControlSettings, ExpectationSettings
):
    """Settings of every sweep, whatever it steers with.

    `measures` are names (`evaluation.named_measures`); a cell is chosen by the first, and fluency is always measured
    beside them. Left out, it is a topic that the pairs speak of, or sentiment. `costs` are names of `study.costs`; of
    random vectors those beside the texts are measured with `cost_controls` alone. `budgets` are the most that a chosen
    cell may cost, by cost, beside `perplexity_budget`. With `sure` only a cell is chosen whose interval lies above no
    effect: where nothing is found, nothing is chosen.

    Args:
        measures: Names of measures, the first being what is to rise.
        costs: Names of costs that are measured beside the continuations.
        cost_controls: Whether random vectors are measured for those too, which costs most of a grid again.
        budgets: By cost, the most that the upper end of a chosen cell's interval may be.
        sure: Choose nothing rather than a cell whose interval holds no effect.
    """

    measures: tuple[str, ...] = ()
    costs: tuple[str, ...] = ("neutral_kl", "top1_agreement", "distinct_2")
    cost_controls: bool = False
    budgets: Mapping[str, float] = field(default_factory=dict)
    sure: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_costs(self.costs, self.budgets)
        sweep_measures(self.measures, self.language, costs=self.costs)


@dataclass(frozen=True, eq=False)
class Sweep:
    """A model, what it is steered with, and how prompts are put to it: the conditions of a sweep follow from these.

    Args:
        model: The model that is steered.
        config: The settings: prompts, controls, seed.
        forms: What it is steered with.
        write: How a prompt is put to it.
    """

    model: HookedModel
    config: SweepSettings
    forms: Sequence[Form]
    write: Prefixed

    def others(self, *sides: str) -> list[Condition]:
        """Unsteered, and prompting with those sides, "positive" or "negative", of the last form's first pair."""
        pair = next((form.pairs[0] for form in reversed(self.forms) if form.pairs), None)
        said = [getattr(pair, side) for side in sides] if pair else []
        return [replace(UNSTEERED, write=self.write), *(prompting(f"{text} ", self.write) for text in said if text)]

    def grid(self, prompts: Sequence[str]) -> list[Condition]:
        """Every form at its sites and coefficients, and the controls beside each cell.

        Args:
            prompts: Norms, and the covariance that controls are drawn from, are of the stream at their tokens.
        """
        cells = []
        for form in self.forms:
            sites = form.sites(self.model)
            cells += self._cells(form, sites, form.coeffs, prompts, self.config.n_random, self.config.seed)
        return cells

    def again(self, chosen: Chosen, prompts: Sequence[str]) -> list[Condition]:
        """The chosen cells with their reversal, and `n_random_confirm` random vectors of their norm.

        Args:
            chosen: For each form its cell, or why it has none: then nothing of it is run.
            prompts: As in `grid`.
        """
        cells, config = [], self.config
        for form, cell in zip(self.forms, chosen, strict=True):
            if isinstance(cell, Selected):
                site = next(site for site in form.sites(self.model) if site.layer == cell.layer)
                coeffs, n_random = [cell.coeff, -cell.coeff], config.n_random_confirm
                cells += self._cells(form, [site], coeffs, prompts, n_random, config.seed + 1)
        return cells

    def _cells(
        self, form: Form, sites: Sequence[HookSite], coeffs: Sequence[float], prompts: Sequence[str], n_random: int,
        seed: int,
    ) -> list[Condition]:  # fmt: skip
        written = [self.write(prompt) for prompt in prompts]
        norms = median_resid_norms(self.model, written, sites)
        vectors, controls = controls_of(
            form, self.model, sites, self.config, prompts=written, n_random=n_random, seed=seed
        )
        return layer_coeff_grid(
            vectors, coeffs, norms, method=form.method, place=form.place, controls=controls, write=self.write
        )


def run_sweep(
    config: SweepSettings,
    forms: Sequence[Form],
    results: str | Path,
    *,
    module: str,
    doc: str | None = None,
    elsewhere: Elsewhere | None = None,
) -> Path:
    """Runs the sweep, or resumes it, and returns the finished run folder; its page is `index.html`.

    Args:
        config: The settings.
        forms: What is swept, each over its sites and coefficients.
        results: Where runs lie.
        module: `__name__` of the experiment.
        doc: `__doc__` of the experiment.
        elsewhere: What does the cells in other processes.

    Raises:
        ValueError: what does not go together or an expectation of what there is not, before any cell is computed.
        CellsFailed: some cells could not be computed; all others are kept.
    """
    pairs = [pair for form in forms for pair in form.pairs]
    measures = sweep_measures(config.measures, config.language, pairs, costs=config.costs)
    metric = measures[0].name
    measured = list(dict.fromkeys([*(measure.name for measure in measures), *config.costs]))
    sides = [side for pair in pairs for side in (pair.positive, pair.negative)]
    check(config.expects, who_may([(form.method, form.place) for form in forms], sides), measured)
    for form in forms:
        check_form(form, config)
    choosing, reporting = config.split_prompts
    model = config.load()
    sweep = Sweep(model, config, forms, config.writing(model))
    conditions = [*sweep.others("positive"), *sweep.grid(choosing)]
    with opened(model, config, results, module=module, doc=doc, elsewhere=elsewhere, reported_by=SWEEP) as setup:
        generations, table, summary = _asked(setup, sweep, conditions, choosing, measures)
        budgets = {"perplexity": config.perplexity_budget, **config.budgets}
        places = [(form.method, form.place) for form in forms]
        chosen = choose(summary, metric, places, budgets, sure=config.sure)
        confirming = [*sweep.others("positive", "negative"), *sweep.again(chosen, choosing)]
        held_out, _, confirmed = _asked(setup, sweep, confirming, reporting, measures, searched=False)

        keep_judges(setup.folder, measures)
        setup.folder.write_json("sweep.json", {"metric": metric, "forms": as_json(forms)})
        setup.folder.write_table("table", table)
        setup.folder.write_table("summary", summary)
        manifold = manifold_table(model, conditions, neutral_texts(generations, sweep.write))
        if not manifold.empty:
            setup.folder.write_table("manifold", manifold)
        setup.folder.write_table("confirmed", confirmed)
        setup.folder.write_table("generations.jsonl", generations)
        setup.folder.write_table("generations_test.jsonl", held_out)
        return setup.folder.finish(report_sweep)


def _asked(
    setup: Setup,
    sweep: Sweep,
    conditions: Sequence[Condition],
    prompts: Sequence[str],
    measures: Sequence[Measure],
    *,
    searched: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The continuations, the tidy table of measures on them, and its summary."""
    config = sweep.config
    texts = setup.generations(conditions, prompts, config.decoding, bare=sweep.write if config.chat else None)
    beside = cost_tables(
        setup, conditions, config.costs, config.language, chat=config.chat, controls=config.cost_controls
    )
    table = pd.concat([measure_table(texts, measures), *beside], ignore_index=True)
    return texts, table, summarise(table, searched=searched, seed=config.seed)
