"""From questions and conditions to what was answered and what it cost, as tables.

A question group's rows are samples of one prompt, so that intervals resample questions. Tables have the columns
`regime` and `kind`, those of the part that a row was asked in (`questions.Part`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from steering_lab.data.capitals import closed_books
from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.evaluation.inferring.odd_part import odd_part
from steering_lab.evaluation.inferring.paired_answers import known_questions, paired_counts
from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.evaluation.measuring.answer_measures import (
    AnswerMeasure,
    RightAnswer,
    judgements,
    score_table,
    with_answers,
)
from steering_lab.evaluation.measuring.first_step import first_steps
from steering_lab.evaluation.measuring.fluency import HELD_OUT_PERPLEXITY, held_out_table
from steering_lab.evaluation.measuring.known_rows import known_rows
from steering_lab.evaluation.measuring.measures import LENGTH, REPETITION, Measure, measure_table
from steering_lab.evaluation.measuring.next_token import next_token_log_probs
from steering_lab.evaluation.measuring.speed import decoding_costs
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.evaluate import Decoding, run_conditions
from steering_lab.models.hooked_model import HookedModel
from steering_lab.study.conflict.asking import PROMPTING, Asking, as_asked
from steering_lab.study.conflict.questions import Part, Questions
from steering_lab.study.conflict.settings import ComparisonSettings
from steering_lab.study.setup import Setup
from steering_lab.tables import FACTORS

ANSWERS: tuple[Measure, ...] = (
    *(AnswerMeasure(r) for r in ("context", "memory", "both", "neither", "exact")),
    *(AnswerMeasure(r, "official") for r in ("context", "memory_or_both", "exact")),
    RightAnswer(),
    REPETITION,
    LENGTH,
)
AGREEMENT_LOST = "agreement_lost"
FLUENCY = "held-out text"
PART = ["regime", "kind"]

ByModel = Sequence[tuple[HookedModel, Sequence[Condition]]]


@dataclass(frozen=True, eq=False)
class Answering:
    """Asks parts under conditions and judges what comes back; finished cells are kept in the run's folder.

    Args:
        setup: The model and the run's folder.
        decoding: How answers are drawn.
        measures: What is measured of an answer.
    """

    setup: Setup
    decoding: Decoding
    measures: Sequence[Measure] = ANSWERS

    def generations(self, by_model: ByModel, part: Part) -> pd.DataFrame:
        """One judged answer per condition and row, of every model's own conditions as they apply to the rows.

        Args:
            by_model: The models, each with its conditions.
            part: The rows that are asked.
        """
        rows, keeping = part.rows, self.setup.keeping
        asked = [run_conditions(m, as_asked(own, rows), rows, self.decoding, **keeping) for m, own in by_model]
        judged = with_answers(pd.concat(asked, ignore_index=True), {row.id: row for row in rows})
        return judged.assign(**part.columns)

    def table(self, by_model: ByModel, part: Part, stepped: ByModel | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The generations, and their tidy table.

        Under a conflict it has the first step too, compared with the first condition of all. Agreements also have the
        metric `AGREEMENT_LOST`: 1 where the answer is not the right one.

        Args:
            by_model: The models, each with its conditions.
            part: The rows that are asked.
            stepped: Those whose first step is measured; by default all.
        """
        stepped = stepped or by_model
        generations = self.generations(by_model, part)
        tables = [self.measured(generations, part)]
        if part.regime == "agreement":
            right = tables[0][tables[0]["metric"] == "right"]
            tables.append(right.assign(metric=AGREEMENT_LOST, value=1 - right["value"]))
        if part.regime == "conflict":
            model, own = stepped[0]
            reference = next_token_log_probs(model, own[0], part.rows)
            tables += [by_question(first_steps(m, its, part.rows, reference), part) for m, its in stepped]
        turns = by_question(generations[["prompt", "sample"]], part)["sample"]  # the prompt stays the row's own
        return generations.assign(sample=turns), pd.concat(tables, ignore_index=True)

    def measured(self, generations: pd.DataFrame, part: Part) -> pd.DataFrame:
        """The tidy table of the measures of `generations`, which answer `part`."""
        return by_question(measure_table(generations, self.measures), part)

    def questions(self, asking: Asking, config: ComparisonSettings) -> Questions:
        """The questions of the settings; leaves splits.json in the folder.

        Where the model is asked first they are of what it knows closed book alone, which known.json says: nothing has
        been steered then, so no condition chooses its own questions.

        Args:
            asking: The model, and how it is asked.
            config: Says which questions.
        """
        known = None
        if config.asks_first:
            rows, _ = config.rows()
            known = self.known_rows(asking, rows)
            asked = {"asked": len(closed_books(rows)), "known": list(known)}
            self.setup.folder.write_json("known.json", asked)
        questions = config.questions(known)
        self.setup.folder.write_json("splits.json", questions.described())
        return questions

    def known_rows(self, asking: Asking, rows: Sequence[ConflictQA]) -> tuple[str, ...]:
        """The ids of the closed-book questions about `rows` that the model of `asking` answers right, unsteered."""
        write, keeping = asking.written("closed_book"), self.setup.keeping
        return known_rows(asking.model, rows, write, decoding=self.decoding, **keeping)

    def known(self, asking: Asking, part: Part) -> list[str]:
        """The questions of `part` that the model of `asking` answers right closed book, unsteered."""
        first = {row.group: row.closed_book() for row in reversed(part.rows)}
        bare = part._replace(rows=tuple(first.values()))
        answers = self.measured(self.generations([(asking.model, [asking.unsteered()])], bare), bare)
        return sorted(known_questions(answers))


def by_question(table: pd.DataFrame, part: Part) -> pd.DataFrame:
    """The part's table with the question as its prompt and the rows about it as samples: questions are resampled."""
    groups = pd.Series({row.id: row.group for row in part.rows})
    turns = groups.groupby(groups).cumcount()
    named = table.assign(sample=table["prompt"].map(turns), prompt=table["prompt"].map(groups))
    return named.assign(**part.columns)


def summaries(table: pd.DataFrame, seed: int, *, searched: bool = True) -> pd.DataFrame:
    """`summarise` of each part of `table`, with its `seed` and `searched`; metrics that a part lacks are left out."""
    blocks = []
    for (regime, kind), rows in table.groupby(PART, sort=False):
        known = rows.groupby("metric")["value"].transform("count") > 0
        blocks.append(
            summarise(rows[known].drop(columns=PART), searched=searched, seed=seed).assign(regime=regime, kind=kind)
        )
    return pd.concat(blocks, ignore_index=True)


def fluency(by_model: ByModel, texts: Sequence[str]) -> pd.DataFrame:
    """The tidy table of held-out perplexity of `texts`, under the conditions of each model in `by_model`.

    Prompting has no value: its prompt is not read there, so that it would be the unsteered model's whatever it says.
    """
    tables = [held_out_table(model, own, texts) for model, own in by_model]
    table = pd.concat(tables, ignore_index=True).assign(regime=FLUENCY, kind="")
    return table.assign(value=table["value"].mask(table["method"].isin(PROMPTING)))


def scores(generations: pd.DataFrame) -> pd.DataFrame:
    """Both scorers' figures of `generations` in percent, by condition, in every part with two answers to tell apart."""
    return score_table(generations, by=(*PART, "condition", *(column.name for column in FACTORS)))


def paired(table: pd.DataFrame, parts: Sequence[Part], known: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Questions helped and hurt against the unsteered model, all of them and those known before steering.

    One answer a question: its first row. `known` has the questions by the part's name; a part of which nothing is
    known has no rows of the set "known".

    Args:
        table: The tidy table of answers.
        parts: Those that are counted.
        known: Ids of the questions known, by the part's name.
    """
    blocks = []
    for part in parts:
        groups = known.get(part.name, ())
        first = table[(table["regime"] == part.regime) & (table["kind"] == part.kind) & (table["sample"] == 0)]
        for name, of in (("all", None), ("known", groups)):
            if of is None or of:
                counts = paired_counts(first, "context", known=of)
                blocks.append(counts.assign(questions=name, **part.columns))
    return pd.concat(blocks, ignore_index=True)


def odd_parts(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """`summaries`, by `seed`, of half of f(+m) - f(-m) in the log-odds of `table`; each random draw by itself."""
    blocks = []
    for (regime, kind), rows in table[table["metric"] == "log_odds"].groupby(PART, sort=False):
        odd = odd_part(rows, "log_odds")
        draws = "random vector " + (odd["draw"].fillna(-1) + 1).astype(int).astype(str)
        own = odd["method"].where(odd["draw"].isna(), draws)
        blocks.append(odd.assign(method=own, draw=float("nan"), regime=regime, kind=kind))
    return summaries(pd.concat(blocks), seed)


def costs(
    by_model: ByModel, rows: Sequence[ConflictQA], summary: pd.DataFrame, named: Callable[[pd.DataFrame], pd.Series],
    max_new_tokens: int, rounds: int,
) -> pd.DataFrame:  # fmt: skip
    """What every condition but the random ones costs, by a reader's name for it.

    Args:
        by_model: The models with their conditions.
        rows: The questions on which decoding is timed.
        summary: Where perplexity and KL are read.
        named: A reader's names for the conditions of a table.
        max_new_tokens: The length of an answer.
        rounds: In how many the conditions take turns being timed.
    """
    single = [(m, c) for m, own in by_model for c in own if c.factors.role != "control"]
    cost = decoding_costs(single, rows, max_new_tokens=max_new_tokens, rounds=rounds)
    factors = pd.DataFrame([asdict(c.factors) for _, c in single])
    cost = cost.assign(condition=named(factors), method=factors["method"])
    effects = summary[summary["role"] != "control"].assign(condition=named)
    for column, metric in (("perplexity_ratio", HELD_OUT_PERPLEXITY), ("kl", "kl")):
        first = effects[effects["metric"] == metric].drop_duplicates("condition").set_index("condition")
        cost[column] = cost["condition"].map(first["effect" if metric != "kl" else "value"])
    return cost


def browsable(generations: pd.DataFrame, parts: Sequence[Part]) -> pd.DataFrame:
    """What a reader wants to see of each answer; of the random vectors the first, since all read alike.

    Args:
        generations: Judged answers.
        parts: The rows that they answer.
    """
    rows = {row.id: row for part in parts for row in part.rows}
    shown = generations[generations["draw"].isna() | (generations["draw"] == 0)]
    asked = [rows[row_id] for row_id in shown["row_id"]]
    kept = (*PART, "condition", "method", "place", "role", "layer", "coeff", "sample")
    return pd.DataFrame(
        {
            **{name: shown[name] for name in kept},
            "prompt": [f"{row.context} {row.question}".strip() for row in asked],
            "text": shown["text"],
            "verdict": ["no text" if judged is None else judged.verdict for judged in judgements(shown)],
            "right": RightAnswer()(shown).map({1.0: "right", 0.0: "wrong"}),
            "context_answer": [row.context_answers[0] if row.context_answers else "" for row in asked],
            "memory_answer": [row.memory_answers[0] if row.memory_answers else "" for row in asked],
        }
    ).reset_index(drop=True)
