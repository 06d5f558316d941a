"""Does the ContextFocus direction make a model follow its context where memory disagrees, and against which rivals?

Expected, written before the run: on held-out conflicts without an instruction, ContextFocus (Anand et al. 2026,
arXiv:2601.04131) raises context answers by 25 points or more at a normal norm, norm-matched random vectors move them by
5 or less, shuffled labels and another concept by 10 or less, another layer's vector by less than its own, the reversed
vector moves toward memory, and agreement and closed-book answers lose 3 points or less. Prompting with the instruction
is the ceiling; CAD and COIECD also raise context answers, at two passes a token.

Vectors come from one set of questions, layer and coefficient from a second by rule, every number reported from a third.
What the model knows without a context is written down before anything is steered.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from steering_lab.evaluation.inferring.budgets import over_budget
from steering_lab.evaluation.inferring.selection import Selected
from steering_lab.evaluation.measuring.fluency import HELD_OUT_PERPLEXITY
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.delta.descent import Descent
from steering_lab.models.hook_points import HookSite
from steering_lab.models.loading import load_model
from steering_lab.models.loading.adapter import is_adapter
from steering_lab.runs import RunFolder
from steering_lab.study.choosing import choose
from steering_lab.study.conflict import answers as tables
from steering_lab.study.conflict.answers import AGREEMENT_LOST, Answering, ByModel
from steering_lab.study.conflict.asking import PLACE, Asking
from steering_lab.study.conflict.comparison_findings import check_expectations
from steering_lab.study.conflict.comparison_report import report_comparison
from steering_lab.study.conflict.controls import ConflictControls, beside_chosen, beside_searched
from steering_lab.study.conflict.descent_tables import mean_spent
from steering_lab.study.conflict.descents import DELTAS, gradient_form
from steering_lab.study.conflict.naming import named
from steering_lab.study.conflict.questions import Part, Questions
from steering_lab.study.conflict.rivals import METHOD, RIVALS, Rival, compared, finetuned, without_vector
from steering_lab.study.setup import opened

TIMED_ROWS = 8


@dataclass(frozen=True)
class Config(ConflictControls):
    """Settings of the comparison.

    Args:
        finetuned: A checkpoint, or a PEFT adapter of `model`, to compare with.
        coeffs: The coefficients that are searched.
        n_rounds: In how many the conditions take turns being timed.
        agreement_budget: The share of agreeing answers that steering may lose, the upper end of its interval.
        perplexity_budget: Of held-out text, steered against unsteered, the upper end of its interval.
        sure: Choose only a cell whose interval of raised context answers lies above 0.
        compare: What stands beside the vector.
        gradient_budget: Of "gradient" among them: how long its deltas may be, in residual norms.
        gradient_iterations: And the iterations that each is found in.

    Raises:
        ValueError: coefficients without 0 or twice the same, or no round of timing.
    """

    finetuned: str = ""
    coeffs: tuple[float, ...] = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 4.0)
    n_rounds: int = 9
    agreement_budget: float = 0.12
    perplexity_budget: float = 1.25
    sure: bool = True
    compare: tuple[Rival, ...] = RIVALS
    gradient_budget: float = 0.4
    gradient_iterations: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if 0 not in self.coeffs or not any(self.coeffs) or len(set(self.coeffs)) < len(self.coeffs):
            raise ValueError(f"coeffs {list(self.coeffs)} must hold 0, the unsteered model, and others, each once")
        self.at_least(1, "n_rounds", why="conditions are timed in 1 round or more")
        self.at_least(1, "gradient_iterations")
        if not 0 < self.gradient_budget < math.inf:
            raise ValueError(
                f"gradient_budget is {self.gradient_budget}: it must be a number of residual norms above 0"
            )

    @property
    def descent(self) -> Descent:
        """How the gradient form's deltas are found."""
        return Descent(n_iterations=self.gradient_iterations, max_norm=self.gradient_budget)


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Runs the comparison, or resumes it, and returns the finished run folder; its page is `index.html`."""
    with comparison(config, results, elsewhere, module=__name__, doc=__doc__) as folder:
        return folder.finish(report, working=DELTAS)


@contextmanager
def comparison(
    config: Config, results: str | Path, elsewhere: Elsewhere | None = None, *, module: str, doc: str | None = None
) -> Iterator[RunFolder]:
    """The folder of a run with all of its tables, still to be finished.

    Where no cell is within the budgets, or the best may as well raise nothing, the rivals that need no vector are
    compared, and the page shows them and the search.

    Args:
        config: The settings.
        results: The folder above all runs.
        elsewhere: Does its cells in other processes.
        module: `__name__` of the experiment whose run it is.
        doc: And its `__doc__`, for the question.
    """
    check_expectations(config.expects)
    rows = config.all_rows()
    asking, rivals = Asking.of(config.load(), config), _finetuned(config)
    sites = config.sites(asking.model, post=True)
    for asked in (asking, *rivals):
        asked.check_room(rows, config.max_new_tokens)

    with opened(asking.model, config, results, module=module, doc=doc, elsewhere=elsewhere) as setup:
        answering, folder = Answering(setup, config.decoding), setup.folder
        questions, known = answering.questions(asking, config), {}
        if not config.asks_first:
            known = {part.name: answering.known(asking, part) for part in questions.conflicts}
            folder.write_json("known.json", known)

        vectors = asking.vectors(questions.vector, sites)
        norms = asking.norms(questions.validation[0].rows, sites)
        chosen = _search(answering, asking, vectors, norms, questions, config)
        if chosen is None:
            own = without_vector(asking, config.compare, config.cad_alpha)
        else:
            vector = next(vector for site, vector in vectors.items() if site.layer == chosen.layer)
            vector.save(folder.path / "contextfocus.safetensors")
            facts = {"vector_norm": vector.norm, "median_resid_norm": norms[vector.site], "budgets": chosen.budgets}
            facts |= {"layer": int(chosen.layer), "coeff": chosen.coeff, "instead_of": chosen.instead_of}
            controls = beside_chosen(asking, config, questions.vector, vector, questions.validation[0].rows)
            own = compared(
                asking, questions.vector, vector, chosen.coeff, norms, compare=config.compare,
                cad_alpha=config.cad_alpha, controls=controls,
            )  # fmt: skip
            if "gradient" in config.compare:
                form, descents = gradient_form(
                    asking, questions.test, vector.site, config.descent, cache=folder.path / DELTAS,
                    batch_size=config.rows_at_once,
                )  # fmt: skip
                own, facts = [*own, form], facts | {"gradient": mean_spent(descents)}
            folder.write_json("chosen.json", facts)
        by_model = [(asking.model, own), *((rival.model, [finetuned(rival)]) for rival in rivals)]
        if sum(len(each) for _, each in by_model) > 1:
            _compare(answering, by_model, questions, known, config)
        yield folder


def _search(
    answering: Answering, asking: Asking, vectors: Mapping[HookSite, SteeringVector], norms: Mapping[HookSite, float],
    questions: Questions, config: Config,
) -> Selected | None:  # fmt: skip
    """The cell chosen on the validation questions; None, with the reason and the answers in the folder, if none is."""
    folder = answering.setup.folder
    drawn = beside_searched(asking, config, questions.vector, vectors, questions.validation[0].rows)
    grid = [asking.unsteered(), *asking.grid(vectors, config.coeffs, norms, method=METHOD, controls=drawn)]
    cells = [condition for condition in grid if condition.factors.role != "control"]
    generations, table = _asked(
        answering, [(asking.model, grid)], questions.validation, questions.texts, priced=[(asking.model, cells)]
    )
    validation = tables.summaries(table, config.seed)
    budgets = {AGREEMENT_LOST: config.agreement_budget, HELD_OUT_PERPLEXITY: config.perplexity_budget}
    # Without the original contexts nobody knows what steering does to agreement.
    budgets = {cost: budget for cost, budget in budgets.items() if cost in set(validation["metric"])}
    folder.write_table("validation", validation.assign(over_budget=over_budget(validation, budgets)))
    [cell] = choose(validation, "context", [(METHOD, PLACE)], budgets, sure=config.sure)
    if isinstance(cell, Selected):
        return cell
    folder.write_json("chosen.json", {"nothing_chosen": cell, "budgets": budgets})
    folder.write_table("generations_validation.jsonl", tables.browsable(generations, questions.validation))
    return None


def _compare(
    answering: Answering, by_model: ByModel, questions: Questions, known: Mapping[str, Sequence[str]], config: Config
) -> None:
    """Every condition on the test questions, into the folder's tables."""
    generations, table = _asked(answering, by_model, questions.test, questions.texts)
    summary = tables.summaries(table, config.seed, searched=False)
    reversed_too = "reversed" in config.compare and (table["method"] == METHOD).any()
    timed = questions.conflicts[0].rows[:TIMED_ROWS]
    made = {
        "table": table,
        "summary": summary,
        "scores": tables.scores(generations),
        "paired": tables.paired(table, questions.conflicts, known),
        **({"odd": tables.odd_parts(table, config.seed)} if reversed_too else {}),
        "costs": tables.costs(by_model, timed, summary, named, config.max_new_tokens, config.n_rounds),
        "generations_test.jsonl": tables.browsable(generations, questions.test),
    }
    for name, one in made.items():
        answering.setup.folder.write_table(name, one)


def _asked(
    answering: Answering, by_model: ByModel, parts: Sequence[Part], texts: Sequence[str],
    priced: ByModel | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """The answers to all parts, and their tidy table with the perplexity of `texts`.

    Where some are `priced`, the others are asked the conflicts alone, and their first step is not measured.
    """
    priced = priced or by_model
    each = [answering.table(by_model if part.regime == "conflict" else priced, part, priced) for part in parts]
    table = pd.concat([*(measured for _, measured in each), tables.fluency(priced, texts)], ignore_index=True)
    return pd.concat([answers for answers, _ in each], ignore_index=True), table


def _finetuned(config: Config) -> list[Asking]:
    """The checkpoint to compare with, asked as the model is; none is none."""
    if not config.finetuned:
        return []
    name, adapter = (config.model, config.finetuned) if is_adapter(config.finetuned) else (config.finetuned, None)
    model = load_model(name, device=config.device, dtype=config.dtype, prefix=config.prefix, adapter=adapter)
    return [Asking.of(model, config)]


report = report_comparison
