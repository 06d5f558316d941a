"""What a model knows before anything is done to it: which questions it answers right without a context.

A conflict with memory needs a memory. Ask first, keep the ids, and build vectors, choose and report on what is known;
then no condition chooses its own questions.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.evaluation.measuring.answer_measures import RightAnswer, with_answers
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.evaluate import Decoding, run_conditions
from steering_lab.evaluation.running.writing import Example
from steering_lab.models.generation import GREEDY
from steering_lab.models.hooked_model import HookedModel

ANSWER = Decoding(max_new_tokens=16, n_samples=1, sampling=GREEDY, stop=("\n",), log_probs=False)


def known_rows(
    model: HookedModel,
    rows: Sequence[ConflictQA],
    write: Callable[[Example], str],
    *,
    decoding: Decoding = ANSWER,
    **options: Any,
) -> tuple[str, ...]:
    """The ids of those closed-book twins of `rows` that the unsteered model answers right, sorted.

    Each question is asked once. `write` puts a closed-book row to the model, for example `Asked(PLAIN, "closed_book",
    chat=model.chat_text)`; `options` are those of `run_conditions`. Rows without a memory answer ask nothing.

    Args:
        model: The model that is asked.
        rows: The questions.
        write: Puts a closed-book row to the model, for example `Asked(PLAIN, "closed_book", chat=model.chat_text)`.
        decoding: How continuations are drawn, alike for all.
        **options: Those of `run_conditions`.

    Raises:
        ValueError: no row with a memory answer, or what `run_conditions` refuses.
    """
    asked = {bare.id: bare for bare in (row.closed_book() for row in rows if row.memory_answers)}
    if not asked:
        raise ValueError(f"none of the {len(rows)} rows has a memory answer to ask for")
    plain = Condition("closed book", write=write, role="unsteered")
    answers = with_answers(run_conditions(model, [plain], list(asked.values()), decoding, **options), asked)
    return tuple(sorted(answers["row_id"][RightAnswer()(answers) == 1]))


def of_known(rows: Sequence[ConflictQA], known: Collection[str]) -> tuple[ConflictQA, ...]:
    """The rows whose closed-book twin is in `known`, and those that have no memory answer to be known."""
    ids = set(known)
    return tuple(row for row in rows if not row.memory_answers or row.closed_book().id in ids)
