"""The first decoding step: how likely each of the two answers begins, and how far a condition moved the distribution.

Generated answers fall into classes; here the same question is answered on a continuous scale, before style and length
come in. The distribution is the one that is decoded: under the condition's edit, and after its rule where it has one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.evaluation.measuring.next_token import KL, KL_KIND, NATS, each_next_token
from steering_lab.evaluation.running.condition import Condition
from steering_lab.models.hooked_model import HookedModel
from steering_lab.numerics.divergence import kl
from steering_lab.numerics.kinds import OPEN, Bounds, Kind
from steering_lab.numerics.log_probs import any_of
from steering_lab.tables import measurements

FIRST_STEP: Mapping[str, tuple[Kind, Bounds]] = {
    "log_prob_context": (Kind.HEAVY, (-math.inf, 0)),
    "log_prob_memory": (Kind.HEAVY, (-math.inf, 0)),
    "log_odds": (Kind.SYMMETRIC, OPEN),
    KL: (KL_KIND, NATS),
}
"""By metric: how its differences are distributed, and the smallest and the largest value there can be.

An answer's log-probability ends at 0: near it, few questions move and these far. The difference of two does not.
"""


class FirstTokens(NamedTuple):
    """The tokens with which the context's answer may begin, and those of the memory's."""

    context: list[int]
    memory: list[int]


def first_steps(
    model: HookedModel,
    conditions: Sequence[Condition],
    rows: Sequence[ConflictQA],
    reference: Float[Tensor, "row d_vocab"],
) -> pd.DataFrame:
    """Measurements of `FIRST_STEP`, in nats: one row per condition, metric and question, `prompt` being its id.

    log_prob_context, log_prob_memory: of the answer beginning in any of its `first_tokens`. log_odds: their difference.
    kl: KL(reference ‖ condition), `reference` being `next_token_log_probs` of the condition that all are compared with.
    NaN where a row has no such answer, where both answers begin alike, where something is impossible under the
    condition (infinite), and for kl where the model's vocabulary is not the reference's.

    Args:
        model: The model that is asked.
        conditions: What is compared; names differ.
        rows: The questions.
        reference: `next_token_log_probs` of the condition that all are compared with.
    """
    begins: dict[str, FirstTokens] = {}
    blocks = []
    for condition, log_probs in zip(conditions, each_next_token(model, conditions, rows), strict=True):
        tokens = []
        for row in rows:
            written = condition.write(row)
            if written not in begins:
                begins[written] = first_tokens(model, written, row)
            tokens.append(begins[written])
        context, memory = (
            [float(any_of(given, side)) for given, side in zip(log_probs, sides, strict=True)]
            for sides in zip(*tokens, strict=True)
        )
        same = log_probs.shape == reference.shape
        values = {
            "log_prob_context": context,
            "log_prob_memory": memory,
            "log_odds": np.subtract(context, memory),
            "kl": kl(reference, log_probs).tolist() if same else np.nan,
        }
        asked = pd.DataFrame({"prompt": [row.id for row in rows], "sample": 0})
        for metric, (kind, bounds) in FIRST_STEP.items():
            observed = asked.assign(value=values[metric]).replace([np.inf, -np.inf], np.nan)
            blocks.append(
                measurements(condition.name, condition.factors, observed, metric=metric, kind=kind, bounds=bounds)
            )
    return pd.concat(blocks, ignore_index=True)


def first_tokens(model: HookedModel, prompt: str, row: ConflictQA) -> FirstTokens:
    """The tokens that follow `prompt` where it goes on with a wording of each answer, with a space before it or not.

    A token that begins both answers tells nothing and is in neither list.

    Args:
        model: Whose tokens; nothing is run.
        prompt: The text as the model reads it, up to where the answer begins.
        row: The question with all wordings of both answers.
    """
    context, memory = (
        {token for answer in answers for lead in (" ", "") for token in _next_token(model, prompt, lead + answer)}
        for answers in (row.context_answers, row.memory_answers)
    )
    return FirstTokens(sorted(context - memory), sorted(memory - context))


def _next_token(model: HookedModel, prompt: str, continuation: str) -> list[int]:
    """The one token after those of the prompt; none where the tokenizer would merge prompt and continuation."""
    before = model.token_ids(prompt)
    whole = model.token_ids(prompt + continuation)
    return whole[len(before) : len(before) + 1] if whole[: len(before)] == before else []
