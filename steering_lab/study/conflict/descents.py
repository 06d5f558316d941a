"""Conditions at equal KL: the mean-difference vector, deltas found by descent, each behind a gate or not.

All of them ask with the context; `as_asked` has them ask without it where a row has none.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from steering_lab.evaluation.running.condition import Budget, Condition
from steering_lab.evaluation.running.control_vectors import RANDOM_DELTA
from steering_lab.evaluation.running.seeds import seed_of
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.cad import CAD
from steering_lab.methods.conflict_gate import ConflictGate, conflict_gate
from steering_lab.methods.delta.descent import Descent
from steering_lab.methods.delta.objectives import ContrastClosedBook, GroundedAnswer, ImitateInstructed, Objective
from steering_lab.methods.delta.optimise import optimise_delta
from steering_lab.methods.delta.random_delta import random_at_equal_kl
from steering_lab.methods.delta.result import OptimisedDelta, Result
from steering_lab.methods.delta.weighted import Weighted, WeightedSum
from steering_lab.models.hook_points import HookSite
from steering_lab.models.progress import progress_bar
from steering_lab.runs import RunFolder
from steering_lab.study.conflict.answers import Answering
from steering_lab.study.conflict.asking import Asking
from steering_lab.study.conflict.questions import Part, Rows
from steering_lab.study.conflict.rivals import GRADIENT as GRADIENT_FORM
from steering_lab.study.conflict.rivals import contrastive
from steering_lab.study.conflict.settings import ComparisonSettings

VECTOR, UNSTEERED = "mean difference", "unsteered"
GROUNDED, IMITATE, CONTRAST, LIKELIHOOD = (
    "grounded, shared", "imitate instructed", "contrast closed book", "context likelihood",
)  # fmt: skip
WEIGHTED = "weighted"  # a sum of objectives, by `weights`
GRADIENT = (GROUNDED, IMITATE, CONTRAST, LIKELIHOOD)
SUMMED = (IMITATE, CONTRAST)  # what may be weighed: both say what the answer should be, behind the same prompt
TARGETS = ("instructed prompt", "CAD")  # what two of the objectives imitate
CURVES = (*GRADIENT, VECTOR, *TARGETS, WEIGHTED)  # so that a gradient form has one colour in every figure
GATED, GATE = ", gated", "conflict gate"
DELTAS = "deltas"  # the folder of optima, kept until the run is whole


@dataclass(frozen=True)
class DescentSettings(ComparisonSettings):
    """What a comparison of deltas found by descent with vectors needs.

    Args:
        coeffs: The strengths of vectors.
        budgets: The strengths of deltas: their length in residual norms.
        n_labelled: Of the vector's questions, how many at most the shared delta learns from.
        n_random_deltas: Random deltas of equal KL beside each method at its chosen strength; 0 is none.
        forms: The objectives that are descended on, by name; "weighted" is the sum that `weights` says.
        weights: What the objectives of that sum are multiplied by: {"imitate instructed": 0.5, ...}.

    Raises:
        ValueError: a strength that is not above 0 or there twice, too few questions, one or two random deltas, an
            objective that is not known, there twice or cannot be weighed, more than four, or weights without the form.
    """

    coeffs: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 2.0, 4.0)
    budgets: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.8)
    n_labelled: int = 64
    n_random_deltas: int = 0
    forms: tuple[str, ...] = GRADIENT
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(8, "n_labelled")
        if self.n_random_deltas:
            self.at_least(3, "n_random_deltas", why="a control's interval needs 3 draws or more, or none at all")
        self.above_zero("coeffs", "budgets")
        self.each_once("forms")
        known = (*GRADIENT, WEIGHTED)
        if not self.forms or not set(self.forms) <= set(known):
            raise ValueError(f"forms {list(self.forms)} must name one or more of {list(known)}")
        if len(self.forms) > len(GRADIENT):
            raise ValueError(f"forms names {len(self.forms)} objectives: figures tell {len(GRADIENT)} of them apart")
        if bool(self.weights) != (WEIGHTED in self.forms):
            raise ValueError(f'weights and the form "{WEIGHTED}" go together: give both, or neither')
        if not set(self.weights) <= set(SUMMED) or not all(0 < w < math.inf for w in self.weights.values()):
            raise ValueError(f"weights {dict(self.weights)} must give {' or '.join(SUMMED)} a number above 0 each")

    @property
    def steered(self) -> tuple[str, ...]:
        """The mean-difference vector and every gradient form, by name."""
        return (VECTOR, *self.forms)

    def above_zero(self, *names: str) -> None:
        """Nothing when the settings of these names hold different numbers above 0. Raises ValueError otherwise."""
        for name in names:
            values = getattr(self, name)
            if not values or not all(0 < v < math.inf for v in values) or len(set(values)) < len(values):
                raise ValueError(f"{name} {list(values)} must hold different values, all above 0")


@dataclass(frozen=True, eq=False)
class Comparison:
    """The run, its model and settings, and the mean-difference vectors with the questions they are from.

    Args:
        answering: Asks, judges and keeps.
        asking: The model, and how it is asked.
        config: The settings.
        vector_rows: The questions that the vectors are from.
        vectors: The mean-difference vector of each site.
    """

    answering: Answering
    asking: Asking
    config: DescentSettings
    vector_rows: Rows
    vectors: Mapping[HookSite, SteeringVector]

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return self.answering.setup.folder

    @property
    def labelled(self) -> Rows:
        """The questions that the shared delta learns from."""
        return self.vector_rows[: self.config.n_labelled]


class Steered(NamedTuple):
    """A method at one strength: its condition, and the results of the descents behind it (none for vectors)."""

    condition: Condition
    results: tuple[Result, ...] = ()


class Setting(NamedTuple):
    """Where and how hard a method descends.

    Args:
        method: Which objective, by name.
        sites: Where deltas are added.
        budget: The longest delta, in residual norms.
        iterations: Steps of a descent.
    """

    method: str
    sites: tuple[HookSite, ...]
    budget: float
    iterations: int


def vector_conditions(
    comparison: Comparison, rows: Rows, sites: Sequence[HookSite], n_random: int = 0
) -> list[Steered]:
    """The mean-difference vector of every site at every coefficient, and random vectors of its norm beside it.

    Args:
        comparison: Holds the vectors.
        rows: The questions that are asked.
        sites: Where the vectors are added.
        n_random: Random vectors for each site.
    """
    at = {site: comparison.vectors[site] for site in sites}
    norms = comparison.asking.norms(rows, sites)
    grid = comparison.asking.grid(at, comparison.config.coeffs, norms, method=VECTOR, n_random=n_random)
    return [Steered(condition) for condition in grid]


def objective_of(comparison: Comparison, method: str, rows: Rows) -> tuple[list[str], Objective | WeightedSum]:
    """The prompts that a method descends on, and its objective there.

    Args:
        comparison: The model, and how it is asked.
        method: Which objective, by name.
        rows: The questions.
    """
    if method != WEIGHTED:
        return _one_objective(comparison, method, rows)
    weights = comparison.config.weights
    terms = tuple(Weighted(weight, _one_objective(comparison, name, rows)[1]) for name, weight in weights.items())
    return comparison.asking.texts("with_context", rows), WeightedSum(terms)


def _one_objective(comparison: Comparison, method: str, rows: Rows) -> tuple[list[str], Objective]:
    """`objective_of` of a method that is no sum."""
    asking = comparison.asking
    plain = asking.texts("with_context", rows)
    if method == IMITATE:
        return plain, ImitateInstructed(tuple(asking.texts("instructed", rows)))
    if method == CONTRAST:
        return plain, ContrastClosedBook(tuple(asking.texts("closed_book", rows)), comparison.config.cad_alpha)
    if method == GROUNDED:
        lead = "" if comparison.config.chat else " "
        pairs = [(row.context_answers[0], row.memory_answers[0]) for row in rows]
        apart = [None if a.startswith(b) or b.startswith(a) else lead + b for a, b in pairs]
        return plain, GroundedAnswer(tuple(lead + a for a, _ in pairs), tuple(apart))
    starts, passages = [], []
    for text, row in zip(plain, rows, strict=True):
        at = text.index(row.context)
        starts.append(text[:at].rstrip() or row.context.split()[0])
        passages.append(text[len(starts[-1]) : at + len(row.context)])
    return starts, GroundedAnswer(tuple(passages))


def _found(
    comparison: Comparison, rows: Rows, setting: Setting
) -> tuple[list[str], Objective | WeightedSum | None, OptimisedDelta]:
    """The prompts and objective of a descent for `rows`, and its deltas; no prompts where there is nothing to learn."""
    shared = setting.method == GROUNDED
    learnt_on = comparison.labelled if shared else rows if rows[0].context else ()
    if not learnt_on:
        return [], None, OptimisedDelta((), shared)
    prompts, objective = objective_of(comparison, setting.method, learnt_on)
    descent = Descent(n_iterations=setting.iterations, max_norm=setting.budget)
    found = optimise_delta(
        comparison.asking.model, prompts, setting.sites, objective, descent=descent, shared=shared,
        cache=comparison.folder.path / DELTAS, batch_size=comparison.config.rows_at_once,
    )  # fmt: skip
    return prompts, objective, found


def descended(comparison: Comparison, rows: Rows, setting: Setting) -> Steered:
    """The condition that a descent ends in on `rows`: a delta for each, or the shared one of the vector's questions.

    Without a context there is nothing to imitate or to contrast, so a method that descends per query leaves it alone.

    Args:
        comparison: The run and its model.
        rows: The questions that are asked.
        setting: Where and how hard.
    """
    prompts, _, found = _found(comparison, rows, setting)
    edits = _edits(rows, prompts, found)
    norms = [dict(zip(setting.sites, o.resid_norms, strict=True)) if o else {} for o in found.results]
    of_rows = norms[0] if found.shared else {row.id: own for row, own in zip(rows, norms, strict=False)}
    condition = Condition(
        _name(setting), edits, comparison.asking.written("with_context"), method=setting.method,
        budget=Budget(setting.budget, "resid_norm"), resid_norms=of_rows,
    )  # fmt: skip
    return Steered(condition, found.problems)


def random_descended(comparison: Comparison, rows: Rows, setting: Setting, n_draws: int) -> list[Steered]:
    """Beside `descended`, random deltas that move the model as far as each of its deltas does.

    They are longer than these, so that a relative norm would only say that; none is given.

    Args:
        comparison: The run.
        rows: The questions.
        setting: Where and how hard the method descends.
        n_draws: Random deltas for each of its deltas.
    """
    prompts, objective, found = _found(comparison, rows, setting)
    beside = list[Steered]()
    if objective is None:
        return beside
    for draw in range(n_draws):
        seed = seed_of(comparison.config.seed, RANDOM_DELTA, setting.method, draw)
        drawn = random_at_equal_kl(
            comparison.asking.model, prompts, objective, found, seed, batch_size=comparison.config.rows_at_once
        )
        condition = Condition(
            f"{RANDOM_DELTA} {draw} for {_name(setting)}", _edits(rows, prompts, drawn),
            comparison.asking.written("with_context"), method=RANDOM_DELTA, control_of=setting.method, draw=draw,
            budget=Budget(setting.budget, "resid_norm"),
        )  # fmt: skip
        beside.append(Steered(condition))
    return beside


def gradient_form(
    asking: Asking, parts: Sequence[Part], site: HookSite, descent: Descent, *, cache: Path, batch_size: int
) -> tuple[Condition, list[Result]]:
    """A rival of the vector: a delta of its own for every question, found by imitating the instructed prompt.

    Without a context there is nothing to imitate, and the model is left alone. Beside the condition stand the descents.

    Args:
        asking: The model, and how it is asked.
        parts: All that is asked.
        site: Where deltas are added, from the last prompt token on.
        descent: How far and how long.
        cache: The folder of finished deltas.
        batch_size: Prompts optimised at a time.
    """
    edits, norms, results = dict[str, Intervention](), dict[str, dict[HookSite, float]](), list[Result]()
    for part in parts:
        rows = part.rows if part.rows[0].context else ()
        prompts, found = asking.texts("with_context", rows), OptimisedDelta((), shared=False)
        if rows:
            objective = ImitateInstructed(tuple(asking.texts("instructed", rows)))
            found = optimise_delta(
                asking.model, prompts, [site], objective, descent=descent, cache=cache, batch_size=batch_size
            )
        edits |= _by_row(part.rows, prompts, found)
        norms |= {row.id: {site: own.resid_norms[0]} for row, own in zip(rows, found.problems, strict=True)}
        results += found.problems
    condition = Condition(
        GRADIENT_FORM, edits, asking.written("with_context"), role="baseline",
        budget=Budget(descent.max_norm, "resid_norm"), resid_norms=norms,
    )  # fmt: skip
    return condition, results


def _name(setting: Setting) -> str:
    where = " and ".join(map(str, setting.sites))
    return f"{setting.method}, {where}, budget {setting.budget:g}, {setting.iterations} iterations"


def _edits(rows: Rows, prompts: Sequence[str], found: OptimisedDelta) -> Intervention | dict[str, Intervention]:
    by_row = _by_row(rows, prompts, found)
    return next(iter(by_row.values())) if found.shared else by_row


def _by_row(rows: Rows, prompts: Sequence[str], found: OptimisedDelta) -> dict[str, Intervention]:
    """What is done to each of `rows`: nothing where there was no prompt to descend on."""
    per_row = found.per_row() if prompts else [Intervention()] * len(rows)
    return {row.id: edit for row, edit in zip(rows, per_row, strict=True)}


def all_descended(comparison: Comparison, rows: Rows, settings: Sequence[Setting], what: str) -> list[Steered]:
    """`descended` for each of several settings.

    Args:
        comparison: The run and its model.
        rows: The questions that are asked.
        settings: Where and how hard, once for each descent.
        what: What the descents are for, as the progress bar says it.
    """
    return [descended(comparison, rows, one) for one in progress_bar(settings, what=f"descents, {what}", leave=True)]


def gated(condition: Condition, gate: ConflictGate, rows: Rows) -> Condition:
    """`condition` on those of `rows` where `gate` is open, nothing where it is shut."""
    chosen = gate.choose([condition.intervention_for(row) for row in rows])
    edits = {row.id: edit for row, edit in zip(rows, chosen, strict=True)}
    method = condition.factors.method + GATED
    budget = condition.budget  # the coefficient differs between rows that are edited and others
    if budget is None and condition.factors.coeff is not None:
        budget = Budget(condition.factors.coeff, "coeff")
    return replace(condition, name=condition.name + GATED, method=method, intervention=edits, budget=budget)


def targets(comparison: Comparison) -> list[Condition]:
    """What two of the objectives of `comparison` imitate: the instructed prompt, and context-aware decoding."""
    asking = comparison.asking
    return [
        Condition(TARGETS[0], write=asking.written("instructed")),
        contrastive(asking, TARGETS[1], CAD(comparison.config.cad_alpha)),
    ]


def find_gate(comparison: Comparison, rows: Rows, threshold: float) -> ConflictGate:
    """The conflict gate on `rows`; where there is no context, both prompts are one and it is shut.

    Args:
        comparison: The model, and how it is asked.
        rows: The questions.
        threshold: The divergence in nats from which on the gate is open.
    """
    asking, config = comparison.asking, comparison.config
    return conflict_gate(
        asking.model, asking.plain(rows), asking.texts("closed_book", rows), threshold,
        contexts=[row.context for row in rows], answer_tokens=config.max_new_tokens, batch_size=config.rows_at_once,
    )  # fmt: skip
