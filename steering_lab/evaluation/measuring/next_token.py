"""What a condition does to the first token of the answer: how far its distribution is from that of another condition.

One definition for everything that can be a condition (an edit, a prompt style, a decoding rule), so that methods of
different kinds can be compared at equal distance from the unsteered model.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Unpack

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.writing import Example, example_key
from steering_lab.interventions.source import Permissions
from steering_lab.interventions.steering import steer
from steering_lab.models.decoding import LogitsRule, next_logits
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.memory import rows_that_fit
from steering_lab.models.progress import progress_bar
from steering_lab.models.scoring import SCORED_LOGITS
from steering_lab.numerics.divergence import kl
from steering_lab.numerics.kinds import Bounds, Kind
from steering_lab.numerics.log_probs import to_log_probs
from steering_lab.tables import measurements

KL = "kl"
KL_KIND: Kind = Kind.HEAVY  # most prompts hardly move and a few far
NATS: Bounds = (0, math.inf)


def next_token_kl(
    model: HookedModel,
    conditions: Sequence[Condition],
    examples: Sequence[Example],
    reference: Condition,
    *,
    progress: bool | None = None,
    **permissions: Unpack[Permissions],
) -> pd.DataFrame:
    """Measurements of "kl", one per condition and example: KL(reference ‖ condition) of the next token, in nats.

    Both are read after the prompt as each of the two writes it, so the example is the same and the prompt need not be.

    Args:
        model: The model that is asked.
        conditions: What is compared; names differ.
        examples: The prompts or questions that every condition is asked.
        reference: The condition that all are compared with.
        progress: Whether a bar is shown; None is one on a terminal.
        **permissions: Those of `steer`: `allow_other_model`, `allow_other_prefix`.
    """
    base = next_token_log_probs(model, reference, examples, **permissions)
    keys = [example_key(example) for example in examples]
    blocks = []
    with progress_bar(what="divergence", shown=progress, total=len(conditions), leave=True) as bar:
        for condition, log_probs in zip(
            conditions, each_next_token(model, conditions, examples, **permissions), strict=True
        ):
            observed = pd.DataFrame({"prompt": keys, "sample": 0, "value": kl(base, log_probs).tolist()})
            blocks.append(
                measurements(condition.name, condition.factors, observed, metric=KL, kind=KL_KIND, bounds=NATS)
            )
            bar.update()
    return pd.concat(blocks, ignore_index=True)


def next_token_log_probs(
    model: HookedModel, condition: Condition, examples: Sequence[Example], **permissions: Unpack[Permissions]
) -> Float[Tensor, "example d_vocab"]:
    """Float32 log-probabilities of the token that follows each prompt under the condition, its rule included.

    Args:
        model: The model that is asked.
        condition: What is done to each example.
        examples: The prompts or questions that every condition is asked.
        **permissions: Those of `steer`: `allow_other_model`, `allow_other_prefix`.
    """
    (found,) = each_next_token(model, [condition], examples, **permissions)
    return found


def each_next_token(
    model: HookedModel,
    conditions: Sequence[Condition],
    examples: Sequence[Example],
    **permissions: Unpack[Permissions],
) -> Iterator[Float[Tensor, "example d_vocab"]]:
    """`next_token_log_probs` of each condition in turn; prompts that several conditions share are read together.

    Args:
        model: The model that is asked.
        conditions: What is compared; names differ.
        examples: The prompts or questions that every condition is asked.
        **permissions: Those of `steer`: `allow_other_model`, `allow_other_prefix`.
    """
    together = max(1, SCORED_LOGITS // model.d_vocab // len(examples))
    for rule, same in groupby(conditions, key=lambda condition: condition.rule):
        alike = list(same)
        for start in range(0, len(alike), together):
            yield from _together(model, alike[start : start + together], examples, rule, permissions)


@torch.no_grad()
def _together(
    model: HookedModel,
    conditions: Sequence[Condition],
    examples: Sequence[Example],
    rule: LogitsRule | None,
    permissions: Permissions,
) -> Iterator[Float[Tensor, "example d_vocab"]]:
    """The log-probabilities of conditions with one rule, a row for each condition and example."""
    asked = [(condition, example) for condition in conditions for example in examples]
    with steer(model, [condition.intervention_for(example) for condition, example in asked], **permissions):
        logits = _read(model, [condition.write(example) for condition, example in asked])
    if rule is not None:
        second = [c.without_context(example) for c, example in asked if c.without_context is not None]
        with model.unedited():
            logits = rule(logits, _read(model, second))
    yield from to_log_probs(logits).split(len(examples))


def _read(model: HookedModel, prompts: Sequence[str]) -> Float[Tensor, "prompt d_vocab"]:
    rows = model.to_tokens(prompts).rows
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i]), rows[i]))
    size = rows_that_fit(model, max(map(len, rows)))
    found = torch.empty(len(rows), model.d_vocab)
    for start in range(0, len(rows), size):
        part = order[start : start + size]
        found[part] = next_logits(model, [rows[i] for i in part], rows=part, n_batch=len(rows))
    return found
