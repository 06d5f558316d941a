"""What steering does to what a model knows: a fixed set of questions, closed book, answered right or not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.evaluation.measuring.answer_measures import RightAnswer, with_answers
from steering_lab.evaluation.measuring.measures import measure_table
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.evaluate import Decoding, run_conditions
from steering_lab.evaluation.running.writing import Asked, Example, Prefixed
from steering_lab.models.generation import GREEDY
from steering_lab.models.hooked_model import HookedModel

FACTS = "facts"
ANSWER = Decoding(max_new_tokens=12, n_samples=1, sampling=GREEDY, stop=("\n",), log_probs=False)


@dataclass(frozen=True)
class AskedBehind:
    """Writes a question as `asked` does, `prefix` before it: prompting is a baseline of facts too."""

    prefix: str
    asked: Asked

    def __call__(self, example: Example) -> str:
        """The prompt as it is put to the model. Raises ValueError for a bare prompt."""
        if isinstance(example, ConflictQA) and self.asked.chat is not None:
            return self.asked(replace(example, question=self.prefix + example.question))
        return self.prefix + self.asked(example)


def facts_table(
    model: HookedModel,
    conditions: Sequence[Condition],
    rows: Sequence[ConflictQA],
    asked: Asked,
    *,
    decoding: Decoding = ANSWER,
    **options: Any,
) -> pd.DataFrame:
    """The measurements of `FACTS`: 1 where a condition's answer states the right one by the strict reading, else 0.

    One row per condition and question, `prompt` being the question's id, and so the same questions for all. A
    condition's edit and what it writes before a prompt count; one with a rule is left out, since a closed book has no
    context to contrast. `options` are those of `run_conditions`.

    Args:
        model: The model that is asked.
        conditions: What is compared; names differ.
        rows: Questions with an answer from memory; each is asked without its context, once.
        asked: Puts a closed-book row to the model.
        decoding: How answers are drawn: greedily, to the end of the line.
        **options: Those of `run_conditions`.

    Raises:
        ValueError: a row without an answer from memory, or what `run_conditions` refuses.
    """
    if lacking := [row for row in rows if not row.memory_answers]:
        raise ValueError(f"{lacking[0].question!r} has no answer from memory, so it is no fact to be asked for")
    questions = {bare.id: bare for bare in (row.closed_book() for row in rows)}
    put = [replace(c, write=AskedBehind(_prefix(c), asked)) for c in conditions if c.rule is None]
    generations = run_conditions(model, put, list(questions.values()), decoding, **options)
    return measure_table(with_answers(generations, questions), [RightAnswer(FACTS)])


def _prefix(condition: Condition) -> str:
    return condition.write.prefix if isinstance(condition.write, Prefixed) else ""
