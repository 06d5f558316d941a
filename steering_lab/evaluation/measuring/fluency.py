"""What a condition does to text that has nothing to do with it: the perplexity of held-out text under its edit."""

import math
from collections.abc import Sequence
from typing import Any, Unpack

import pandas as pd
import torch

from steering_lab.evaluation.running.condition import Condition
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.source import Permissions
from steering_lab.interventions.steering import steer
from steering_lab.models.generation import continuation_log_probs
from steering_lab.models.hooked_model import HookedModel
from steering_lab.numerics.kinds import Kind
from steering_lab.tables import measurements

HELD_OUT_PERPLEXITY = "held_out_perplexity"


def held_out_table(
    model: HookedModel,
    conditions: Sequence[Condition],
    texts: Sequence[str],
    *,
    prompt_tokens: int = 4,
    **permissions: Unpack[Permissions],
) -> pd.DataFrame:
    """The measurements of `HELD_OUT_PERPLEXITY`: one row per condition and text, weighing by its number of tokens.

    exp(-mean log-probability per token), at least 1. The first `prompt_tokens` tokens of each text are its prompt and
    are not scored, the rest is read as if it had been generated: an edit placed from the last prompt token on is in
    force for every token that is scored. A condition counts by its edit alone, since the texts are no questions:
    prompting leaves them as they are. NaN for a condition with a logits rule, which needs a second prompt that a bare
    text has not, or with an intervention for each question, and for a text that is all prompt. `permissions` are those
    of `steer`.

    Args:
        model: The model that is asked.
        conditions: What is compared; names differ.
        texts: What is scored.
        prompt_tokens: How many tokens of each text are its prompt and not scored.
        **permissions: Those of `steer`: `allow_other_model`, `allow_other_prefix`.

    Raises:
        ValueError: no text is longer than its prompt, or one is longer than the model's context.
    """
    rows = [model.token_ids(text) for text in texts]
    if not any(len(ids) > prompt_tokens for ids in rows):
        raise ValueError(f"none of the {len(texts)} texts is longer than {prompt_tokens} tokens")
    blocks = []
    for condition in conditions:
        edit, scored = condition.intervention, [list[float]() for _ in rows]
        if condition.rule is None and isinstance(edit, Intervention):
            scored = log_probs_of(model, edit, rows, prompt_tokens, **permissions)
        blocks.append(held_out_rows(condition, scored))
    return pd.concat(blocks, ignore_index=True)


def held_out_rows(condition: Condition, scored: Sequence[Sequence[float]]) -> pd.DataFrame:
    """The measurements of one condition, from the log-probabilities of each text's scored tokens.

    Args:
        condition: The condition under which they were scored.
        scored: Nats of each token of each text; none is NaN.
    """
    observed = pd.DataFrame(
        {
            "prompt": [f"text {i}" for i in range(len(scored))],
            "sample": 0,
            "value": [math.exp(-sum(row) / len(row)) if row else math.nan for row in scored],
            "weight": [float(len(row)) for row in scored],
        }
    )
    kind: dict[str, Any] = {"scale": "ratio", "kind": Kind.SYMMETRIC, "bounds": (1, math.inf)}
    return measurements(condition.name, condition.factors, observed, metric=HELD_OUT_PERPLEXITY, **kind)


@torch.no_grad()
def log_probs_of(
    model: HookedModel,
    intervention: Intervention,
    rows: Sequence[list[int]],
    prompt_tokens: int,
    **permissions: Unpack[Permissions],
) -> list[list[float]]:
    """Log-probability in nats of every token of each row after its first `prompt_tokens`, under an intervention.

    Args:
        model: The model that is asked.
        intervention: What is done to it.
        rows: Ids of each text.
        prompt_tokens: How many tokens of each are its prompt and not scored.
        **permissions: Those of `steer`.
    """
    with steer(model, intervention, **permissions):
        return continuation_log_probs(
            model, [ids[:prompt_tokens] for ids in rows], [ids[prompt_tokens:] for ids in rows]
        )
