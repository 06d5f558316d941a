"""The answers of a table of generations, judged: measures for the tidy table, and one line of scores per condition.

`with_answers` puts the questions' answers beside the texts; everything else reads only the table, so a run is judged
again without a model. Which rows a measure applies to is a matter of the question, never of the answer given, so every
condition has the same denominator; other rows, and missing texts, are NaN.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import pandas as pd

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.evaluation.measuring.answers import JUDGES, Judgement, answer_scores
from steering_lab.numerics.kinds import Bounds, Kind
from steering_lab.tables import Scale

Scorer = Literal["strict", "official"]
Reading = Literal["context", "context_or_both", "memory_or_both", "memory", "both", "neither", "exact"]
ANSWER_COLUMNS = ("row_id", "group", "regime", "context_answers", "memory_answers", "blank_context", "blank_memory")


def with_answers(generations: pd.DataFrame, rows: Mapping[str, ConflictQA]) -> pd.DataFrame:
    """`generations` with the columns `ANSWER_COLUMNS` of the question that each row answers: `rows` by prompt.

    Raises:
        ValueError: a prompt of the table that `rows` has no question for.
    """
    if lost := [prompt for prompt in generations["prompt"].unique() if prompt not in rows]:
        raise ValueError(f"{len(lost)} prompts have no question to be judged by, the first is {lost[0]!r}")
    asked = [rows[prompt] for prompt in generations["prompt"]]
    return generations.assign(
        row_id=[row.id for row in asked],
        group=[row.group for row in asked],
        regime=[row.regime for row in asked],
        context_answers=[row.context_answers for row in asked],
        memory_answers=[row.memory_answers for row in asked],
        blank_context=[row.blank_context_aliases for row in asked],
        blank_memory=[row.blank_memory_aliases for row in asked],
    )


def judgements(generations: pd.DataFrame, scorer: Scorer = "strict") -> list[Judgement | None]:
    """Each row's judgement, None where there is no text; the official scorer hears the blank aliases too.

    Args:
        generations: Texts with the answers beside them (`with_answers`).
        scorer: "strict", or "official": that of the published code.

    Raises:
        ValueError: an unknown scorer, or a table without the answers' columns.
    """
    if scorer not in JUDGES:
        raise ValueError(f'scorer "{scorer}" is unknown: choose one of {", ".join(JUDGES)}')
    if missing := [column for column in ANSWER_COLUMNS if column not in generations]:
        raise ValueError(f"the table has no {', '.join(missing)}: put the answers beside the texts by with_answers")
    columns = [generations[name] for name in ("text", *ANSWER_COLUMNS[3:])]
    judged: list[Judgement | None] = []
    for text, context, memory, blank_context, blank_memory in zip(*columns, strict=True):
        if not isinstance(text, str):
            judged.append(None)
        elif scorer == "official":
            judged.append(JUDGES[scorer](text, [*context, *blank_context], [*memory, *blank_memory]))
        else:
            judged.append(JUDGES[scorer](text, context, memory))
    return judged


@dataclass(frozen=True)
class AnswerMeasure:
    """1 where `scorer` reads `reading` in the text, else 0; NaN without a text, or without an answer it is about.

    "context", "memory", "both" and "neither" are the four classes and add up to 1; "context_or_both" is p_s,
    "memory_or_both" P_o, "exact" EM. The classes need two answers that can be told apart, so an agreement has none.

    Args:
        reading: Which class of answers counts as 1.
        scorer: "strict", or "official" for the published one.
        weight: The column that weighs the values; None is one each.
        scale: How values are compared with the unsteered: "difference" or "ratio".
        kind: How its differences are distributed.
        bounds: The smallest and the largest value there can be.
    """

    reading: Reading
    scorer: Scorer = "strict"
    weight: None = None
    scale: Scale = "difference"
    kind: Kind = Kind.BOUNDED
    bounds: Bounds = (0, 1)

    @property
    def name(self) -> str:
        """For example "context" by the strict scorer, "official_context" by the published one."""
        return self.reading if self.scorer == "strict" else f"{self.scorer}_{self.reading}"

    def __call__(self, generations: pd.DataFrame) -> pd.Series:
        read = judgements(generations, self.scorer)
        values = [math.nan if judged is None else self._value(judged) for judged in read]
        return pd.Series(values, index=generations.index, dtype=float).where(self.applies(generations))

    def applies(self, generations: pd.DataFrame) -> pd.Series:
        """Whether each question of `generations` has the answers that the reading is about."""
        context, memory = (generations[name].map(bool) for name in ("context_answers", "memory_answers"))
        if self.reading in ("context_or_both", "exact"):
            return context
        if self.reading == "memory_or_both":
            return memory
        return context & memory & (generations["regime"] != "agreement")

    def _value(self, judged: Judgement) -> float:
        if self.reading == "exact":
            return float(judged.exact)
        if self.reading == "context_or_both":
            return float(judged.context)
        if self.reading == "memory_or_both":
            return float(judged.memory)
        return float(judged.verdict == self.reading)


@dataclass(frozen=True)
class RightAnswer:
    """1 where the text states the answer that is right for a model that reads (`ConflictQA.right_answers`), else 0.

    So it is agreement accuracy over agreements, closed-book retention over closed books, resistance over irrelevant
    contexts, and over conflicts p_s. By the strict reading; NaN without a text.

    Args:
        name: The metric's name in tables.
        weight: The column that weighs the values; None is one each.
        scale: How values are compared with the unsteered: "difference" or "ratio".
        kind: How its differences are distributed.
        bounds: The smallest and the largest value there can be.
    """

    name: str = "right"
    weight: None = None
    scale: Scale = "difference"
    kind: Kind = Kind.BOUNDED
    bounds: Bounds = (0, 1)

    def __call__(self, generations: pd.DataFrame) -> pd.Series:
        read = judgements(generations)
        has_context = [bool(answers) for answers in generations["context_answers"]]
        values = [
            math.nan if j is None else float(j.context if context else j.memory)
            for j, context in zip(read, has_context, strict=True)
        ]
        return pd.Series(values, index=generations.index, dtype=float)


CONFLICT_MEASURES: tuple[AnswerMeasure, ...] = (
    *(AnswerMeasure(reading) for reading in ("context", "memory", "both", "neither")),
    *(AnswerMeasure(reading) for reading in ("context_or_both", "memory_or_both", "exact")),
    *(AnswerMeasure(reading, "official") for reading in ("context", "context_or_both", "memory_or_both", "exact")),
)


def score_table(generations: pd.DataFrame, by: Sequence[str] = ("condition",)) -> pd.DataFrame:
    """One row per cell and scorer: `AnswerScores` in percent over the rows with both answers, n, and n_missing texts.

    Args:
        generations: Texts with the answers beside them (`with_answers`); rows without two answers that differ are left
            out.
        by: The columns whose values make a cell; rows where one is missing are a cell too.

    Raises:
        ValueError: see `judgements`; no row has two answers that differ.
    """
    rows = generations[AnswerMeasure("neither").applies(generations)]
    if rows.empty:
        raise ValueError("no row of the table has a context answer and a memory answer that differ")
    lines = []
    for cell, part in rows.groupby(list(by), dropna=False, sort=False):
        for scorer in ("strict", "official"):
            read = judgements(part, scorer)
            known = [judged for judged in read if judged is not None]
            scores = asdict(answer_scores(known)) | {"n_missing": len(read) - len(known)}
            lines.append(dict(zip(by, cell, strict=True)) | {"scorer": scorer} | scores)
    return pd.DataFrame(lines)
