"""At equal KL, does a delta found by gradient make the model follow its context more than the mean difference does?

Expected, written before the run: per query, imitating the instructed prompt or context-aware decoding reaches its
target's share of context answers within four iterations and half a residual norm, and below one nat gives more context
answers than the mean-difference vector of ContextFocus (Anand et al. 2026, arXiv:2601.04131), which serves every query
for nothing; a shared vector learnt from labels lies between. Random vectors of equal KL give almost none. Raising the
likelihood of the context's own tokens, the objective that is first thought of, does not move the answer. Without the
conflict gate the contrast with the closed book breaks answers over irrelevant contexts, with it most of them survive.

Vectors are made from one set of questions; layer, iterations, strengths and the gate's threshold are chosen on a
second; every number reported is from a third, where each condition runs once.
"""

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from steering_lab.evaluation.inferring.equal_cost import at_equal_cost, cost_curves
from steering_lab.evaluation.measuring.answer_measures import AnswerMeasure, RightAnswer
from steering_lab.evaluation.measuring.measures import Measure
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.control_vectors import RANDOM
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.models.hook_points import HookSite, resid_post
from steering_lab.study.choosing import choose_iterations, choose_site, choose_strength, choose_threshold
from steering_lab.study.conflict.answers import Answering, summaries
from steering_lab.study.conflict.asking import Asking
from steering_lab.study.conflict.descent_tables import costs, gate_table, measured, swept, swept_with_intervals
from steering_lab.study.conflict.descents import (
    DELTAS,
    GATED,
    GROUNDED,
    TARGETS,
    VECTOR,
    Comparison,
    DescentSettings,
    Setting,
    Steered,
    all_descended,
    find_gate,
    gated,
    random_descended,
    targets,
    vector_conditions,
)  # fmt: skip
from steering_lab.study.conflict.equal_kl_report import check_expectations, report_equal_kl
from steering_lab.study.conflict.questions import Part, Questions, choosing_by_irrelevant, mixed_world_questions
from steering_lab.study.setup import opened

CLASSES: tuple[AnswerMeasure, ...] = tuple(AnswerMeasure(r) for r in ("context", "memory", "both", "neither"))
MEASURES: tuple[Measure, ...] = (*CLASSES, RightAnswer())
LEAST_KL = 0.01  # nats, where curves begin
ENOUGH = 0.02  # context answers that fewer iterations may cost


@dataclass(frozen=True)
class Config(DescentSettings):
    """Settings of the comparison.

    Args:
        budget: The budget under which iterations and layers are swept.
        iterations: Numbers of iterations of a descent.
        kls: The costs in nats at which methods are compared.
        kl: The one at which side effects and expenses are looked at.
        sure: Choose only a layer whose interval lies above no effect.

    Raises:
        ValueError: a number that is not above 0 or there twice, or a `budget` that is not among `budgets`.
    """

    budget: float = 0.4
    iterations: tuple[int, ...] = (1, 2, 4, 8, 16)
    kls: tuple[float, ...] = (0.1, 0.3, 1.0, 2.0)
    kl: float = 1.0
    sure: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.above_zero("iterations", "kls")
        if self.budget not in self.budgets:
            raise ValueError(f"budget {self.budget:g} must be one of budgets {list(self.budgets)}")
        if not 0 < self.kl < math.inf:
            raise ValueError(f"kl is {self.kl:g} nats: it must be a number above 0")

    def of_world(self) -> Questions:
        """Questions about the organism's world, every held-out kind of conflict in equal parts."""
        return mixed_world_questions(self.counts)

    def questions(self, known: Collection[str] | None = None) -> Questions:
        """The questions, with irrelevant contexts to choose by as well: the gate is to shut there."""
        found = super().questions(known)
        return found if self.data == "organism" else choosing_by_irrelevant(found, self.seed)


class Choice(NamedTuple):
    """What validation decided: the site, iterations and strength by method, the gate's threshold.

    `near` has, by method, the strength and its neighbours: side effects are read off between them at one KL.
    """

    site: HookSite
    iterations: dict[str, int]
    strengths: dict[str, float]
    near: dict[str, list[float]]
    threshold: float

    def took(self, condition: Condition) -> bool:
        """Whether a condition is a method at its chosen strength."""
        return self._strength(condition) == self.strengths.get(condition.factors.method, float("nan"))

    def is_near(self, condition: Condition) -> bool:
        """Whether a condition is a method at a strength near its chosen one, or a random vector at any: at one KL as
        the others these are far longer."""
        factors = condition.factors
        return factors.role == "control" or self._strength(condition) in self.near.get(factors.method, [])

    @staticmethod
    def _strength(condition: Condition) -> float | None:
        factors = condition.factors
        return factors.coeff if factors.budget is None else factors.budget


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Runs the comparison, or resumes it, and returns the finished run folder; its page is `index.html`.

    Where no layer surely raises context answers, the page says so and shows what was tried.
    """
    check_expectations(config.expects, config.forms, deltas=config.n_random_deltas > 0)
    rows = config.all_rows()
    asking = Asking.of(config.load(), config)
    sites = config.sites(asking.model, post=True)
    asking.check_room(rows, config.max_new_tokens)
    with opened(asking.model, config, results, module=__name__, doc=__doc__, elsewhere=elsewhere) as setup:
        answering = Answering(setup, config.decoding, MEASURES)
        questions = answering.questions(asking, config)
        started = time.perf_counter()
        vectors = asking.vectors(questions.vector, sites)
        seconds = time.perf_counter() - started
        comparison = Comparison(answering, asking, config, questions.vector, vectors)
        choice = _validate(comparison, config, questions.validation)
        if choice is not None:
            _test(comparison, config, questions.test, choice, seconds)
        return setup.folder.finish(report, working=DELTAS)


def _validate(comparison: Comparison, config: Config, parts: Sequence[Part]) -> Choice | None:
    """Layer, iterations, strengths and threshold, each by its rule; leaves the tables they were chosen from.

    None, with the reason in the folder, where no layer can be chosen: nothing that follows would have a place.
    """
    conflict, folder = parts[0], comparison.folder
    vectors = vector_conditions(comparison, conflict.rows, list(comparison.vectors))
    cells = swept_with_intervals(comparison, vectors, conflict)
    folder.write_table("validation", cells)
    try:
        site = choose_site(cells, "context answers", max(config.kls), sure=config.sure)
    except ValueError as refusal:
        folder.write_json("chosen.json", {"nothing_chosen": str(refusal)})
        return None

    def searched(varied: str, settings: Sequence[Setting]) -> pd.DataFrame:
        table = swept(comparison, all_descended(comparison, conflict.rows, settings, varied), conflict)
        numbers = {"iterations": [s.iterations for s in settings], "n_layers": [len(s.sites) for s in settings]}
        return table.assign(varied=varied, **numbers)

    n_iterations, strengths = sorted(config.iterations), sorted(config.budgets)
    trace = searched("iterations", [Setting(m, (site,), config.budget, n) for m in config.forms for n in n_iterations])
    iterations = {m: choose_iterations(trace[trace["method"] == m], "context", ENOUGH) for m in config.forms}
    budgets = searched("budget", [Setting(m, (site,), b, iterations[m]) for m in config.forms for b in strengths])
    near = range(max(0, site.layer - 1), min(site.layer + 2, comparison.asking.model.n_layers))
    wide = [(site,), tuple(resid_post(layer) for layer in near)]
    layers = searched(
        "layers", [Setting(m, sites, config.budget, iterations[m]) for m in config.forms for sites in wide]
    )
    folder.write_table("sweep", pd.concat([trace, budgets, layers]))
    at_site = pd.concat([cells[cells["layer"] == site.layer], budgets])
    nearest = {m: choose_strength(at_site[at_site["method"] == m], config.kl) for m in config.steered}
    gates = pd.concat([gate_table(find_gate(comparison, part.rows, 0.0), part) for part in parts])
    tried = {method: sorted(config.coeffs if method == VECTOR else config.budgets) for method in config.steered}
    neighbours = {m: _neighbours(tried[m], nearest[m]) for m in config.steered}
    choice = Choice(site, iterations, nearest, neighbours, choose_threshold(gates))
    folder.write_json("chosen.json", {**choice._asdict(), "site": str(site), "layer": site.layer})
    return choice


def _neighbours(strengths: Sequence[float], chosen: float) -> list[float]:
    """The chosen one of the sorted strengths, with the one below and the one above."""
    at = strengths.index(chosen)
    return list(strengths[max(0, at - 1) : at + 2])


def _test(comparison: Comparison, config: Config, parts: Sequence[Part], choice: Choice, seconds: float) -> None:
    """Every condition once on questions that chose nothing; leaves the tables that `report` reads."""
    tables, gates, chosen = [], [], list[Steered]()
    for part in parts:
        every = part.regime == "conflict"
        steered = _steered(comparison, config, part, choice, every=every)
        chosen = chosen or [one for one in steered if choice.took(one.condition)]  # of the conflicts
        near = [one.condition for one in steered if choice.is_near(one.condition)]
        near = [condition for condition in near if condition.factors.role == "steered"]
        gate = find_gate(comparison, part.rows, choice.threshold)
        gates.append(gate_table(gate, part))
        edited = [*(one.condition for one in steered), *(gated(one, gate, part.rows) for one in near)]
        others = [comparison.asking.unsteered(), *(targets(comparison) if every else [])]
        tables.append(measured(comparison, [*others, *edited], part))
    table = pd.concat(tables, ignore_index=True)
    curves = table["method"].isin([*config.steered, RANDOM]) | (table["role"] == "unsteered")
    conflict, seed = table["regime"] == "conflict", config.seed
    answers = table[conflict & curves]
    targeted = table["method"].isin(TARGETS)
    made = {
        "table": table,
        "gates": pd.concat(gates),
        "summary": summaries(table, seed),
        "equal": at_equal_cost(answers, cost="kl", effect="context", at=config.kls, against=VECTOR, seed=seed),
        "elsewhere": _elsewhere(table[conflict & ~targeted], table[~conflict], config),
        "curves": cost_curves(answers, cost="kl", effect="context", least=LEAST_KL, seed=seed),
        "costs": costs(comparison, parts[0].rows, chosen, choice.site, choice.threshold, seconds),
    }
    for name, one in made.items():
        comparison.folder.write_table(name, one)
    comparison.vectors[choice.site].save(comparison.folder.path / "mean_difference.safetensors")
    for shared in chosen:
        if shared.condition.factors.method == GROUNDED:
            shared.results[0].vectors[0].save(comparison.folder.path / "grounded.safetensors")


def _elsewhere(priced: pd.DataFrame, table: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Right answers of every other part at the KL looked at, which is that under conflict: `at_equal_cost` of each."""
    options = {"cost": "kl", "effect": "right", "at": [config.kl], "priced": _by_budget(priced), "seed": config.seed}
    return pd.concat([
        at_equal_cost(_by_budget(rows.drop(columns=["regime", "kind"])), **options).assign(regime=regime, kind=kind)
        for (regime, kind), rows in table.groupby(["regime", "kind"], sort=False)
    ])  # fmt: skip


def _by_budget(table: pd.DataFrame) -> pd.DataFrame:
    """The table with gated conditions told apart by their budget alone: where a gate is shut nothing has a layer."""
    is_gated = table["method"].str.endswith(GATED)
    return table.assign(**{name: table[name].mask(is_gated) for name in ("layer", "coeff", "place")})


def _steered(comparison: Comparison, config: Config, part: Part, choice: Choice, *, every: bool) -> list[Steered]:
    """The vector with random ones beside it, and the gradient forms: at every strength, or near the chosen one."""
    vectors = vector_conditions(comparison, part.rows, [choice.site], config.n_random)
    settings = [
        Setting(method, (choice.site,), budget, choice.iterations[method])
        for method in config.forms
        for budget in sorted(config.budgets)
        if every or budget in choice.near[method]
    ]
    kept = [one for one in vectors if every or choice.is_near(one.condition)]
    chosen = [one for one in settings if every and one.budget == choice.strengths[one.method]]
    beside = [o for one in chosen for o in random_descended(comparison, part.rows, one, config.n_random_deltas)]
    return kept + all_descended(comparison, part.rows, settings, "test") + beside


report = report_equal_kl
