"""What a condition does to the first token of the answer: how far its distribution is from that of another condition.

One definition for everything that can be a condition (an edit, a prompt style, a decoding rule), so that methods of
different kinds can be compared at equal distance from the unsteered model.
"""

from collections.abc import Sequence
from typing import Unpack

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.evaluation.condition import Condition, Example, example_key
from steering_lab.evaluation.divergence import kl
from steering_lab.evaluation.measures import FACTORS
from steering_lab.interventions.source import Permissions
from steering_lab.interventions.steering import steer
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.progress import progress_bar
from steering_lab.models.scoring import SCORED_LOGITS

KL = "kl"


def next_token_kl(
    model: HookedModel,
    conditions: Sequence[Condition],
    examples: Sequence[Example],
    reference: Condition,
    *,
    progress: bool | None = None,
    **permissions: Unpack[Permissions],
) -> pd.DataFrame:
    """Tidy rows of the metric "kl", one per condition and example: KL(reference ‖ condition) of the next token in nats.

    Both are read after the prompt as each of the two writes it, so the example is the same and the prompt need not be.
    `permissions` are those of `steer`.
    """
    base = next_token_log_probs(model, reference, examples, **permissions)
    keys = [example_key(example) for example in examples]
    blocks = []
    for condition in progress_bar(conditions, what="divergence", shown=progress, leave=True):
        apart = kl(base, next_token_log_probs(model, condition, examples, **permissions))
        factors = {name: condition.factors.get(name) for name in FACTORS}
        known = {"condition": condition.name, "prompt": keys, "sample": 0}
        blocks.append(pd.DataFrame({**factors, **known, "metric": KL, "value": apart.tolist(), "weight": 1.0}))
    numbers = dict.fromkeys(("layer", "coeff", "relative_norm", "draw"), float)
    return pd.concat([block.astype(numbers) for block in blocks], ignore_index=True)


@torch.no_grad()
def next_token_log_probs(
    model: HookedModel, condition: Condition, examples: Sequence[Example], **permissions: Unpack[Permissions]
) -> Float[Tensor, "example d_vocab"]:
    """Float32 log-probabilities of the token that follows each prompt under the condition, its rule included."""
    written = [model.token_ids(condition.write(example)) for example in examples]
    bare = None
    if condition.without_context is not None:
        bare = [model.token_ids(condition.without_context(example)) for example in examples]
    size = max(1, SCORED_LOGITS // (max(map(len, written)) * model.d_vocab))
    found = []
    for start in range(0, len(examples), size):
        part = slice(start, start + size)
        with steer(model, [condition.intervention_for(example) for example in examples[part]], **permissions):
            logits = model.logits(model.pad(written[part]))[:, -1].float()
        if condition.rule is not None and bare is not None:
            with model.unedited():
                logits = condition.rule(logits, model.logits(model.pad(bare[part]))[:, -1].float())
        found.append(torch.log_softmax(logits, dim=-1).cpu())
    return torch.cat(found)
