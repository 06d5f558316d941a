"""What does a ContextFocus vector do to answers, layer by layer, m by m, contrast by contrast, with an instruction?

Every cell is asked the same held-out questions: answers with the context, with the memory, and the log-odds of the
two at the first token; as costs, right answers where context and memory agree, where the context is about something
else, and where there is none. Nothing is chosen, so that nothing has to be confirmed: what is expected of a cell or of
a band of layers was written before the run.

Beside every cell stand random vectors of its norm. Cells of different contrasts can be given one length, that of a
share of the stream's, and then share their random vectors too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from steering_lab.data.conflict_qa import Regime
from steering_lab.evaluation.measuring.fluency import HELD_OUT_PERPLEXITY
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.control_vectors import exchanges
from steering_lab.evaluation.running.grid import check_coeffs, layer_coeff_grid
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.contextfocus import Recipe
from steering_lab.models.hook_points import HookSite
from steering_lab.study.conflict import answers as tables
from steering_lab.study.conflict.answers import Answering
from steering_lab.study.conflict.asking import PLACE, Asking
from steering_lab.study.conflict.comparison_findings import ANSWERS_OF, ELSEWHERE
from steering_lab.study.conflict.questions import Part, Questions, Rows
from steering_lab.study.conflict.rivals import METHOD
from steering_lab.study.conflict.settings import ComparisonSettings
from steering_lab.study.expectations import Expectation, check, named, said
from steering_lab.study.paper.claim import ClaimSettings, judge
from steering_lab.study.paper.paired import paired_differences
from steering_lab.study.paper.pooling import pooled
from steering_lab.study.setup import opened

from .answers_page import INSTRUCTED, SHOWN, report_answers

Contrasted = Recipe | Literal["shuffled_labels"]
Cost = Literal["agreement", "irrelevant", "closed_book", "perplexity"]
REGIMES: tuple[Regime, ...] = ("agreement", "irrelevant", "closed_book")
Vectors = Mapping[HookSite, SteeringVector]


@dataclass(frozen=True)
class Config(ClaimSettings, ComparisonSettings):
    """Which vectors are added where and how often, what else is asked, and what is claimed of the answers.

    Expectations are of a cell: the contrast ("contextfocus" is the published one), with "layer 18" where there are
    several, "m 0.5" where there are several, or a band's name: "contextfocus layer 18: context rises". With
    `instructed` there are "instructed", the instruction alone, and "contextfocus and instructed", both at once.
    Compared with another cell ("above contextfocus") a difference is paired by question.

    Args:
        recipes: The contrasts (`methods.contextfocus`), and "shuffled_labels": the published one, sides exchanged in
            half of the pairs.
        coeffs: What each vector is multiplied by.
        relative_norm: The length of every vector, as a share of the stream's median norm; 0 leaves each its own.
        bands: First and last layer by name: what these layers do on average.
        instructed: Whether the instruction is asked for too, alone and with every vector.
        costs: What is asked besides conflicts; random vectors are not asked it.
        x: What the figure goes along.
        curves: Published points by name: (depth from 0 to 1, or m; change against unsteered).

    Raises:
        ValueError: no contrast, one twice, coefficients that cannot be swept, or a length below 0.
    """

    recipes: tuple[Contrasted, ...] = ("joint",)
    coeffs: tuple[float, ...] = (2.0,)
    relative_norm: float = 0.0
    bands: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    instructed: bool = False
    costs: tuple[Cost, ...] = ("agreement", "irrelevant", "closed_book", "perplexity")
    x: Literal["layer", "coeff", "contrast"] = "contrast"
    curves: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_coeffs("coeffs", self.coeffs)
        self.each_once("recipes", "costs")
        if not self.recipes:
            raise ValueError('recipes is empty: name contrasts, such as "joint"')
        if self.relative_norm < 0:
            raise ValueError(f"relative_norm is {self.relative_norm}: it is a share of the stream's norm, 0 for none")

    @property
    def methods(self) -> dict[str, Contrasted]:
        """The contrasts by their names in tables."""
        return {METHOD if recipe == "joint" else recipe.replace("_", " "): recipe for recipe in self.recipes}


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Asks every cell, judges the claim, and returns the finished run folder."""
    rows, asking = config.all_rows(), Asking.of(config.load(), config)
    asking.check_room(rows, config.max_new_tokens)
    with opened(asking.model, config, results, module=__name__, doc=__doc__, elsewhere=elsewhere) as setup:
        answering = Answering(setup, config.decoding)
        questions = answering.questions(asking, config)
        conditions = _conditions(config, asking, questions)
        who = {_who(config, one.factors) for one in conditions if one.factors.role != "control"}
        who |= {f"{method} {band}" for band in config.bands for method in _all_methods(config)}
        told = (*config.expects, *(f"{name} at least 0" for name in config.numbers))
        check(told, who, [*ANSWERS_OF, *ELSEWHERE, "perplexity"])
        generations, table = _asked(config, answering, asking, conditions, questions)
        table = pooled(_with_shared(config, table), config.bands)
        found = measured(config, table)
        setup.folder.write_table("generations.jsonl", tables.browsable(generations, _parts(config, questions)))
        setup.folder.write_table("table", table)
        setup.folder.write_table("measured", found)
        setup.folder.write_json("verdict.json", judge(config, found, _ours(config, found)).as_json())
        return setup.folder.finish(report)


def _all_methods(config: Config) -> list[str]:
    both = [f"{method} and {INSTRUCTED}" for method in config.methods] if config.instructed else []
    return [*config.methods, *both]


def _conditions(config: Config, asking: Asking, questions: Questions) -> list[Condition]:
    """The model alone, the instruction if it is asked for, and every vector in both prompts with its random ones."""
    sites = config.sites(asking.model, post=True)
    norms = asking.norms(questions.test[0].rows, sites)
    conditions = [asking.unsteered()]
    if config.instructed:
        conditions.append(Condition(INSTRUCTED, write=asking.written("instructed")))
    for i, (method, recipe) in enumerate(config.methods.items()):
        vectors = _vectors(asking, questions.vector, sites, recipe)
        if config.relative_norm:
            vectors = {site: v.unit() * (config.relative_norm * norms[site]) for site, v in vectors.items()}
        n_random = 0 if config.relative_norm and i else config.n_random  # of one length, they share the first's
        prompts = {method: asking.written("with_context")}
        prompts |= {f"{method} and {INSTRUCTED}": asking.written("instructed")} if config.instructed else {}
        for name, write in prompts.items():
            conditions += layer_coeff_grid(
                vectors,
                config.coeffs,
                norms,
                method=name,
                place=PLACE,
                n_random=n_random,
                seed=config.seed,
                write=write,
            )
    return conditions


def _vectors(asking: Asking, rows: Rows, sites: Sequence[HookSite], recipe: Contrasted) -> Vectors:
    if recipe != "shuffled_labels":
        return asking.vectors(rows, sites, recipe)
    [flips] = exchanges(len(rows), 1, asking.seed)
    return asking.exchanged(rows, sites, flips)


def _asked(
    config: Config, answering: Answering, asking: Asking, conditions: Sequence[Condition], questions: Questions
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The answers to all parts, and their tidy table."""
    priced = [one for one in conditions if one.factors.role != "control"]
    parts = _parts(config, questions)
    each = [
        answering.table([(asking.model, conditions if part.regime == "conflict" else priced)], part) for part in parts
    ]
    found = [table for _, table in each]
    if "perplexity" in config.costs:
        found.append(tables.fluency([(asking.model, priced)], questions.texts))
    return pd.concat([answers for answers, _ in each], ignore_index=True), pd.concat(found, ignore_index=True)


def _parts(config: Config, questions: Questions) -> list[Part]:
    """What is asked: the first kind of conflict, and what the costs name, also of the questions for choosing.

    Nothing is chosen here, so that those may report too.
    """
    kept = [*questions.validation, questions.conflicts[0], *(p for p in questions.test if p.regime != "conflict")]
    regimes = [regime for regime in ("conflict", *REGIMES) if regime == "conflict" or regime in config.costs]
    return [
        Part(regime, tuple(row for part in kept if part.regime == regime for row in part.rows)) for regime in regimes
    ]


def _with_shared(config: Config, table: pd.DataFrame) -> pd.DataFrame:
    """The table with the first contrast's random vectors beside the others too, where all have one length."""
    if not config.relative_norm:
        return table
    first, *others = config.methods
    blocks = [table]
    for own in [first, *([f"{first} and {INSTRUCTED}"] if config.instructed else [])]:
        rows = table[table["control_of"] == own]
        blocks += [rows.assign(control_of=own.replace(first, other, 1)) for other in others]
    return pd.concat(blocks, ignore_index=True)


def _who(config: Config, row: Any) -> str:
    """A cell by its name in expectations."""
    if row.role in ("unsteered", "baseline"):
        return str(row.method)
    if row.place != PLACE:
        return f"{row.method} {row.place}"
    layer = [f"layer {row.layer:g}"] if len(config.layers) != 1 else []
    return " ".join([row.method, *layer, *([f"m {row.coeff:g}"] if len(config.coeffs) > 1 else [])])


def measured(config: Config, table: pd.DataFrame) -> pd.DataFrame:
    """What expectations are answered by: the summary of every cell by its name, and the paired differences asked for.

    Args:
        config: Says which are asked for.
        table: The tidy table of all answers.
    """
    drawn = table["role"] == "control"
    names = pd.Series([_who(config, row) for row in table[~drawn].itertuples()], table.index[~drawn])
    own = _summed(config, table).assign(against=None)
    own = own.assign(who=[_who(config, row) for row in own.itertuples()])
    with_words = own["method"].str.endswith(f"and {INSTRUCTED}") & own["control_low"].notna()
    own["where"] = with_words.map({True: "random vectors with the instruction too", False: ""})
    paired = paired_differences(table, names, config.expects, lambda rows: _summed(config, rows))
    return pd.concat([own, paired], ignore_index=True)


def _summed(config: Config, table: pd.DataFrame) -> pd.DataFrame:
    summary = tables.summaries(table, config.seed)
    conflict = summary[(summary["regime"] == "conflict") & summary["metric"].isin([*SHOWN, "kl", "exact", "neither"])]
    right = summary[(summary["metric"] == "right") & (summary["regime"] != "conflict")]
    fluent = summary[summary["metric"] == HELD_OUT_PERPLEXITY]
    every = pd.concat([conflict, right.assign(metric=right["regime"]), fluent.assign(metric="perplexity")])
    return every[every["role"] != "control"]


def _ours(config: Config, found: pd.DataFrame) -> str:
    """The numbers that are claimed; or else what the first lines of the expectations are about."""
    own = found[found["against"].isna()].assign(who=lambda rows: rows["who"].map(named))
    own = own.assign(metric=own["metric"].map(named))
    asked = [named(name) for name in config.numbers]
    if not asked:
        lines = [Expectation.read(line) for line in config.expects]
        asked = [*dict.fromkeys(f"{one.who}: {one.metric}" for one in lines)][:2]
    about = own["who"] + ": " + own["metric"]
    rows = [row for one in asked for row in own[about == one].itertuples()]
    return "; ".join(f"{row.who}, {row.metric} {said(row, band=True)}" for row in rows) + ", against unsteered"


report = report_answers
