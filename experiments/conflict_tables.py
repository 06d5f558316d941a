"""The tables of the conflict experiment: from questions and conditions to what was answered and what it cost.

A question group's rows are samples of one prompt, so that intervals resample questions. Tables carry the column `part`,
the regime that a row was asked in.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.evaluation.answer_measures import AnswerMeasure, RightAnswer, judgements, score_table, with_answers
from steering_lab.evaluation.condition import Condition
from steering_lab.evaluation.evaluate import Decoding, run_conditions
from steering_lab.evaluation.first_step import first_steps
from steering_lab.evaluation.fluency import HELD_OUT_PERPLEXITY, held_out_table
from steering_lab.evaluation.known_rows import known_rows
from steering_lab.evaluation.measures import Measure, TextMeasure, measure_table
from steering_lab.evaluation.metrics import length, repetition
from steering_lab.evaluation.next_token import next_token_log_probs
from steering_lab.evaluation.odd_part import odd_part
from steering_lab.evaluation.paired_answers import known_questions, paired_counts
from steering_lab.evaluation.speed import decoding_costs
from steering_lab.evaluation.statistics import summarise
from steering_lab.models.hooked_model import HookedModel
from steering_lab.tables import FACTORS

from .conflict_arms import Asking, as_asked

ANSWERS: tuple[Measure, ...] = (
    *(AnswerMeasure(r) for r in ("context", "memory", "both", "neither", "exact")),
    *(AnswerMeasure(r, "official") for r in ("context", "memory_or_both", "exact")),
    RightAnswer(),
    TextMeasure("repetition", repetition),
    TextMeasure("length", length),
)
AGREEMENT_LOST = "agreement_lost"
FLUENCY = "held-out text"

Arms = Sequence[tuple[HookedModel, Sequence[Condition]]]


@dataclass(frozen=True, eq=False)
class Answering:
    """Asks rows under conditions and judges what comes back; `keeping` is where finished cells are kept."""

    decoding: Decoding
    keeping: Mapping[str, Any]

    def generations(self, arms: Arms, rows: Sequence[ConflictQA], part: str) -> pd.DataFrame:
        """One judged answer per condition and row, of every model's own conditions as they apply to the rows."""
        asked = [run_conditions(m, as_asked(own, rows), rows, self.decoding, **self.keeping) for m, own in arms]
        judged = with_answers(pd.concat(asked, ignore_index=True), {row.id: row for row in rows})
        return judged.assign(part=part)

    def table(self, arms: Arms, rows: Sequence[ConflictQA], part: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The generations, and their tidy table; under a conflict with the first step of the first arm's rivals."""
        generations = self.generations(arms, rows, part)
        tables = [self.measured(generations, rows, part)]
        if rows[0].regime == "conflict":
            model, own = arms[0]
            reference = next_token_log_probs(model, own[0], rows)
            tables += [
                by_question(first_steps(m, conditions, rows, reference), rows).assign(part=part)
                for m, conditions in arms
            ]
        turns = by_question(generations[["prompt", "sample"]], rows)["sample"]  # the prompt stays the row's own
        return generations.assign(sample=turns), pd.concat(tables, ignore_index=True)

    def measured(self, generations: pd.DataFrame, rows: Sequence[ConflictQA], part: str) -> pd.DataFrame:
        """The tidy table; agreements also have the metric `AGREEMENT_LOST`, 1 where the answer is not the right one."""
        table = by_question(measure_table(generations, ANSWERS), rows)
        if part == "agreement":
            right = table[table["metric"] == "right"]
            table = pd.concat([table, right.assign(metric=AGREEMENT_LOST, value=1 - right["value"])])
        return table.assign(part=part)

    def known_rows(self, asking: Asking, rows: Sequence[ConflictQA]) -> tuple[str, ...]:
        """The ids of the closed-book questions about `rows` that the unsteered model answers right."""
        return known_rows(asking.model, rows, asking.written("closed_book"), decoding=self.decoding, **self.keeping)

    def known(self, asking: Asking, conflicts: Mapping[str, Sequence[ConflictQA]]) -> dict[str, list[str]]:
        """By regime, the questions that the unsteered model answers right closed book."""
        found = {}
        for part, rows in conflicts.items():
            first = {row.group: row.closed_book() for row in reversed(rows)}
            plain = [(asking.model, [asking.unsteered()])]
            asked = [*first.values()]
            answers = self.measured(self.generations(plain, asked, part), asked, part)
            found[part] = sorted(known_questions(answers))
        return found


def by_question(table: pd.DataFrame, rows: Sequence[ConflictQA]) -> pd.DataFrame:
    """The table with the question as its prompt and the rows about it as samples, so that questions are resampled."""
    groups = pd.Series({row.id: row.group for row in rows})
    turns = groups.groupby(groups).cumcount()
    return table.assign(sample=table["prompt"].map(turns), prompt=table["prompt"].map(groups))


def summaries(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """`summarise` of each part, whose name is in the column `regime`; metrics that a part knows nothing of are left."""
    blocks = []
    for part, rows in table.groupby("part", sort=False):
        known = rows.groupby("metric")["value"].transform("count") > 0
        blocks.append(summarise(rows[known].drop(columns="part"), seed=seed).assign(regime=part))
    return pd.concat(blocks, ignore_index=True)


def fluency(arms: Arms, texts: Sequence[str]) -> pd.DataFrame:
    """The tidy table of held-out perplexity."""
    return pd.concat([held_out_table(m, own, texts) for m, own in arms], ignore_index=True).assign(part=FLUENCY)


def scores(generations: pd.DataFrame) -> pd.DataFrame:
    """Both scorers' figures in percent, for every condition in every regime with two answers to tell apart."""
    by = ("part", "condition", *(column.name for column in FACTORS))
    return score_table(generations, by=by).rename(columns={"part": "regime"})


def paired(table: pd.DataFrame, known: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Questions helped and hurt against the unsteered model, all of them and those known before steering.

    One answer a question: its first row. A regime of which nothing is known has no rows of the set "known".
    """
    blocks = []
    for part, groups in known.items():
        first = table[(table["part"] == part) & (table["sample"] == 0)]
        for name, of in (("all", None), ("known", groups)):
            if of is None or of:
                blocks.append(paired_counts(first, "context", known=of).assign(regime=part, questions=name))
    return pd.concat(blocks, ignore_index=True)


def odd_parts(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """`summaries` of half of f(+m) - f(-m) in log-odds, the vector's and each random draw's by itself."""
    blocks = []
    for part, rows in table[table["metric"] == "log_odds"].groupby("part", sort=False):
        odd = odd_part(rows, "log_odds")
        draws = "random vector " + (odd["draw"].fillna(-1) + 1).astype(int).astype(str)
        blocks.append(odd.assign(method=odd["method"].where(odd["draw"].isna(), draws), draw=float("nan"), part=part))
    return summaries(pd.concat(blocks), seed)


def costs(
    arms: Arms, rows: Sequence[ConflictQA], summary: pd.DataFrame, named: Callable[[pd.DataFrame], pd.Series],
    max_new_tokens: int, rounds: int,
) -> pd.DataFrame:  # fmt: skip
    """What every condition but the random ones costs, by a reader's name for it; timed in so many `rounds`."""
    single = [(m, c) for m, own in arms for c in own if c.factors.role != "control"]
    cost = decoding_costs(single, rows, max_new_tokens=max_new_tokens, rounds=rounds)
    factors = pd.DataFrame([asdict(c.factors) for _, c in single])
    cost["condition"] = named(factors)
    effects = summary[summary["role"] != "control"].assign(condition=named)
    for column, metric in (("perplexity_ratio", HELD_OUT_PERPLEXITY), ("kl", "kl")):
        first = effects[effects["metric"] == metric].drop_duplicates("condition").set_index("condition")
        cost[column] = cost["condition"].map(first["effect" if metric != "kl" else "value"])
    return cost


def browsable(generations: pd.DataFrame, rows: Mapping[str, ConflictQA]) -> pd.DataFrame:
    """What a reader wants to see of each answer; of the random vectors the first, since all read alike."""
    shown = generations[generations["draw"].isna() | (generations["draw"] == 0)]
    read = judgements(shown)
    asked = [rows[row_id] for row_id in shown["row_id"]]
    right = RightAnswer()(shown)
    return pd.DataFrame(
        {
            "regime": shown["part"],
            **{name: shown[name] for name in ("condition", "method", "place", "role", "layer", "coeff", "sample")},
            "prompt": [f"{row.context} {row.question}".strip() for row in asked],
            "text": shown["text"],
            "verdict": ["no text" if judged is None else judged.verdict for judged in read],
            "right": right.map({1.0: "right", 0.0: "wrong"}),
            "context_answer": [row.context_answers[0] if row.context_answers else "" for row in asked],
            "memory_answer": [row.memory_answers[0] if row.memory_answers else "" for row in asked],
        }
    ).reset_index(drop=True)
