"""Questions helped and hurt: each condition against a reference on the same questions, with McNemar's exact test.

The questions are fixed before anything is steered (`known_questions`: those the plain model answers without a context),
so no condition chooses its own denominator. One answer per question and condition: repeated samples of a question are
not independent pairs; `statistics.summarise` has intervals for those.
"""

import math
from collections.abc import Collection

import numpy as np
import pandas as pd

from steering_lab.numerics.significance import mcnemar
from steering_lab.tables import FACTORS, MEASUREMENTS, checked, is_unsteered

CONDITION = ["condition", *(column.name for column in FACTORS)]


def known_questions(tidy: pd.DataFrame, metric: str = "right") -> frozenset[str]:
    """The prompts whose answer by the unsteered model has the value 1 of `metric`: closed book, what it knows.

    Args:
        tidy: Measurements, one answer per prompt.
        metric: A metric of 0 and 1; NaN counts as not known.

    Raises:
        ValueError: no such rows, a prompt twice, or a value that is not 0, 1 or NaN.
    """
    rows = _binary(tidy, metric)
    rows = rows[is_unsteered(rows)]
    if rows.empty:
        raise ValueError(f'the table has no rows of "{metric}" of the unsteered model')
    if (twice := rows["prompt"].duplicated()).any():
        raise ValueError(f"one answer per prompt is needed, {rows['prompt'][twice].iloc[0]!r} has several")
    return frozenset(rows.loc[rows["value"] == 1, "prompt"])


def paired_counts(tidy: pd.DataFrame, metric: str, *, known: Collection[str] | None = None) -> pd.DataFrame:
    """One row per condition, with its factors: what changed against the unsteered model, question by question.

    helped: questions that went from 0 to 1; hurt: from 1 to 0; kept, without: 1 and 0 in both. n: all questions (those
    in `known`, if given), the denominator of every share; n_missing: questions without a value in either condition,
    which count as none of the four. effect: (helped − hurt) / n, NaN while values are missing; p: `mcnemar`.

    Args:
        tidy: Measurements, one answer per condition and question.
        metric: A metric of 0 and 1, NaN where an answer says neither.
        known: The questions that count; None is all that the unsteered model was asked.

    Raises:
        ValueError: no such metric, no unsteered model, a question twice in a condition, a value that is not 0, 1 or
            NaN, questions in `known` that the table lacks, or a condition without one of the unsteered
            model's questions.
    """
    rows = _binary(tidy, metric)
    base = _answers(rows[is_unsteered(rows)], "unsteered")
    if base.empty:
        raise ValueError(f'the table has no rows of "{metric}" of the unsteered model')
    questions = base.index if known is None else pd.Index(sorted(known))
    if len(lost := questions.difference(base.index)):
        raise ValueError(f"{len(lost)} known questions were not put to the unsteered model, the first is {lost[0]!r}")
    if questions.empty:
        raise ValueError("no question is known, so there is nothing to count")
    base = base[questions]
    lines = []
    for cell, part in rows[~is_unsteered(rows)].groupby(CONDITION, dropna=False, sort=False):
        own = _answers(part, str(cell[0]))
        if len(lost := questions.difference(own.index)):
            raise ValueError(f'condition "{cell[0]}" lacks {len(lost)} questions, the first is {lost[0]!r}')
        lines.append(dict(zip(CONDITION, cell, strict=True)) | _count(own[questions], base))
    return pd.DataFrame(lines, columns=[*CONDITION, *_COUNTS])


_COUNTS = ["n", "n_missing", "helped", "hurt", "kept", "without", "effect", "p"]


def _count(own: pd.Series, base: pd.Series) -> dict[str, int | float]:
    before, after = base.to_numpy(float), own.to_numpy(float)
    n_missing = int(np.isnan(before + after).sum())
    helped, hurt, kept, without = (
        int(((before == b) & (after == a)).sum()) for b, a in ((0, 1), (1, 0), (1, 1), (0, 0))
    )
    effect = (helped - hurt) / len(before) if not n_missing else math.nan
    values = (len(before), n_missing, helped, hurt, kept, without, effect, mcnemar(helped, hurt))
    return dict(zip(_COUNTS, values, strict=True))


def _binary(tidy: pd.DataFrame, metric: str) -> pd.DataFrame:
    tidy = checked(tidy, MEASUREMENTS)
    rows = tidy[tidy["metric"] == metric]
    if rows.empty:
        raise ValueError(f'the table has no metric "{metric}"; it has {", ".join(sorted(tidy["metric"].unique()))}')
    if not (rows["value"].isna() | rows["value"].isin([0, 1])).all():
        wrong = rows.loc[~(rows["value"].isna() | rows["value"].isin([0, 1])), "value"].iloc[0]
        raise ValueError(f'"{metric}" is {wrong} somewhere: only values of 0, 1 and NaN are counted')
    return rows


def _answers(rows: pd.DataFrame, condition: str) -> pd.Series:
    if (twice := rows["prompt"].duplicated()).any():
        prompt = rows["prompt"][twice].iloc[0]
        raise ValueError(f'one answer per prompt is needed, condition "{condition}" has several to {prompt!r}')
    return rows.set_index("prompt")["value"]
