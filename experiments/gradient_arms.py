"""The conditions of the gradient comparison: the mean-difference vector, deltas found by descent, each gated or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.templates import PromptStyle
from steering_lab.evaluation.running.condition import Budget, Condition
from steering_lab.evaluation.running.grid import layer_coeff_grid
from steering_lab.evaluation.running.writing import Asked
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.cad import CAD
from steering_lab.methods.conflict_gate import ConflictGate, conflict_gate
from steering_lab.methods.delta.descent import Descent
from steering_lab.methods.delta.objectives import ContrastClosedBook, GroundedAnswer, ImitateInstructed, Objective
from steering_lab.methods.delta.optimise import optimise_delta
from steering_lab.methods.delta.result import OptimisedDelta, Result
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.reading import read_stream
from steering_lab.organism.wording import WORDINGS
from steering_lab.runs import RunFolder

if TYPE_CHECKING:
    from .contextfocus_gradient import Config

PLACE: Literal["from_last_prompt_token"] = "from_last_prompt_token"
VECTOR, UNSTEERED = "mean difference", "unsteered"
GROUNDED, IMITATE, CONTRAST, LIKELIHOOD = (
    "grounded, shared", "imitate instructed", "contrast closed book", "context likelihood",
)  # fmt: skip
GRADIENT = (GROUNDED, IMITATE, CONTRAST, LIKELIHOOD)
STEERED = (VECTOR, *GRADIENT)
TARGETS = ("instructed prompt", "CAD")  # what two of the objectives imitate
CURVES = (*GRADIENT, VECTOR, *TARGETS)  # so that a gradient form has one colour in every figure
GATED, GATE = ", gated", "conflict gate"
DELTAS = "deltas"  # the folder of optima, kept until the run is whole
Rows = tuple[ConflictQA, ...]


@dataclass(frozen=True, eq=False)
class Bench:
    """The model, how it is asked, the mean-difference vectors of its layers, and the run that its answers belong to."""

    model: HookedModel
    config: "Config"
    folder: RunFolder
    vector_rows: Rows
    vectors: Mapping[HookSite, SteeringVector]

    @property
    def rows_at_once(self) -> int:
        """How many prompts a pass that keeps gradients or whole distributions reads."""
        return min(32, self.config.batch_size)

    def ask(self, style: PromptStyle) -> Asked:
        """Writes a question for this model."""
        return Asked(WORDINGS[self.config.wording], style, chat=self.model.chat_text if self.config.chat else None)

    def texts(self, style: PromptStyle, rows: Rows) -> list[str]:
        """The prompts of `rows`."""
        return [self.ask(style)(row) for row in rows]

    def unsteered(self, rows: Rows) -> Condition:
        """The plain model on `rows`: with their context, where they have one."""
        style: PromptStyle = "with_context" if rows[0].context else "closed_book"
        return Condition(UNSTEERED, write=self.ask(style), role="unsteered")


class Dose(NamedTuple):
    """A condition, and the optima behind it (none for vectors that no descent made)."""

    condition: Condition
    optima: tuple[Result, ...] = ()


class Setting(NamedTuple):
    """Where and how hard a method descends."""

    method: str
    sites: tuple[HookSite, ...]
    budget: float
    iterations: int


def vector_doses(bench: Bench, rows: Rows, sites: Sequence[HookSite], n_random: int = 0) -> list[Dose]:
    """The mean-difference vector of every site at every coefficient, and random vectors of its norm beside it."""
    write = bench.unsteered(rows).write
    streams = read_stream(bench.model, [write(row) for row in rows], sites)
    norms = {site: float(stream.norm(dim=-1).median()) for site, stream in streams.items()}
    grid = layer_coeff_grid(
        {site: bench.vectors[site] for site in sites}, bench.config.coeffs, norms,
        method=VECTOR, place=PLACE, n_random=n_random, seed=bench.config.seed, write=write,
    )  # fmt: skip
    return [Dose(condition) for condition in grid]


def wish(bench: Bench, method: str, rows: Rows) -> tuple[list[str], Objective]:
    """The prompts that a method descends on, and what it wants of them."""
    plain = bench.texts("with_context", rows)
    if method == IMITATE:
        return plain, ImitateInstructed(tuple(bench.texts("instructed", rows)))
    if method == CONTRAST:
        return plain, ContrastClosedBook(tuple(bench.texts("closed_book", rows)), bench.config.cad_alpha)
    if method == GROUNDED:
        lead = "" if bench.config.chat else " "
        pairs = [(row.context_answers[0], row.memory_answers[0]) for row in rows]
        apart = [None if a.startswith(b) or b.startswith(a) else lead + b for a, b in pairs]
        return plain, GroundedAnswer(tuple(lead + a for a, _ in pairs), tuple(apart))
    starts, passages = [], []
    for text, row in zip(plain, rows, strict=True):
        at = text.index(row.context)
        starts.append(text[:at].rstrip() or row.context.split()[0])
        passages.append(text[len(starts[-1]) : at + len(row.context)])
    return starts, GroundedAnswer(tuple(passages))


def gradient_dose(bench: Bench, rows: Rows, setting: Setting) -> Dose:
    """The condition that a descent ends in on `rows`: a delta for each, or the shared one of the vector's questions.

    Without a context there is nothing to imitate or to contrast, so a method that descends per query leaves it alone.
    """
    shared = setting.method == GROUNDED
    learnt_on = bench.vector_rows[: bench.config.n_labelled] if shared else rows if rows[0].context else ()
    found = OptimisedDelta((), shared)
    if learnt_on:
        prompts, objective = wish(bench, setting.method, learnt_on)
        descent = Descent(n_iterations=setting.iterations, max_norm=setting.budget)
        found = optimise_delta(
            bench.model, prompts, setting.sites, objective, descent=descent, shared=shared,
            cache=bench.folder.path / DELTAS, batch_size=bench.rows_at_once,
        )  # fmt: skip
    per_row = found.per_row() if learnt_on else [Intervention()] * len(rows)
    edits = per_row[0] if shared else {row.id: edit for row, edit in zip(rows, per_row, strict=True)}
    norms = [dict(zip(setting.sites, o.resid_norms, strict=True)) if o else {} for o in found.results]
    of_rows = norms[0] if shared else {row.id: own for row, own in zip(rows, norms, strict=False)}
    where = " and ".join(map(str, setting.sites))
    name = f"{setting.method}, {where}, budget {setting.budget:g}, {setting.iterations} iterations"
    facts = {"method": setting.method, "budget": Budget(setting.budget, "resid_norm"), "resid_norms": of_rows}
    return Dose(Condition(name, edits, bench.unsteered(rows).write, **facts), found.problems)


def gated(condition: Condition, gate: ConflictGate, rows: Rows) -> Condition:
    """The same where the gate is open, nothing where it is shut."""
    chosen = gate.choose([condition.intervention_for(row) for row in rows])
    edits = {row.id: edit for row, edit in zip(rows, chosen, strict=True)}
    method = condition.factors.method + GATED
    return replace(condition, name=condition.name + GATED, method=method, intervention=edits)


def targets(bench: Bench) -> list[Condition]:
    """What two of the objectives imitate: the instructed prompt, and context-aware decoding."""
    plain, bare = bench.ask("with_context"), bench.ask("closed_book")
    rule = CAD(bench.config.cad_alpha)
    return [
        Condition(TARGETS[0], write=bench.ask("instructed")),
        Condition(TARGETS[1], write=plain, rule=rule, without_context=bare),
    ]


def find_gate(bench: Bench, rows: Rows, threshold: float) -> ConflictGate:
    """The conflict gate on `rows`; where there is no context, both prompts are one and it is shut."""
    prompts, bare = [bench.unsteered(rows).write(row) for row in rows], bench.texts("closed_book", rows)
    asked = {"answer_tokens": bench.config.max_new_tokens, "batch_size": bench.rows_at_once}
    return conflict_gate(bench.model, prompts, bare, threshold, contexts=[row.context for row in rows], **asked)
