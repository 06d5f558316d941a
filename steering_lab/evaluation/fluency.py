"""What an intervention does to text that has nothing to do with it: the perplexity of held-out text under the edit."""

import math
from collections.abc import Sequence

import torch

from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering import steer
from steering_lab.models.generation import continuation_log_probs
from steering_lab.models.hooked_model import HookedModel


@torch.no_grad()
def held_out_perplexity(
    model: HookedModel,
    texts: Sequence[str],
    intervention: Intervention | None = None,
    *,
    prompt_tokens: int = 4,
) -> float:
    """exp(-mean log-probability per token) of `texts` under `intervention`, at least 1.

    The first `prompt_tokens` tokens of each text are its prompt and are not scored, the rest is read as if it had been
    generated: an edit placed from the last prompt token on is in force for every token that is scored.

    Raises:
        ValueError: no text is longer than its prompt, or one is longer than the model's context.
    """
    rows = [ids for ids in map(model.token_ids, texts) if len(ids) > prompt_tokens]
    if not rows:
        raise ValueError(f"none of the {len(texts)} texts is longer than {prompt_tokens} tokens")
    with steer(model, intervention or Intervention()):
        scored = continuation_log_probs(
            model, [ids[:prompt_tokens] for ids in rows], [ids[prompt_tokens:] for ids in rows]
        )
    return math.exp(-sum(map(sum, scored)) / sum(map(len, scored)))
