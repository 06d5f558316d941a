"""Which tokens steering makes likelier or rarer, and what each adds to the divergence.

    KL(steered || clean) = sum over tokens of p_steered (log p_steered - log p_clean)

Each summand is a token's signed contribution: positive where steering raised the token, negative where it lowered it.
ActAdd's effectiveness (how much likelier a set of tokens became together) and disruption (what changed besides) are in
`numerics.divergence`.
"""

from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.models.hooked_model import HookedModel
from steering_lab.numerics.divergence import kl_terms
from steering_lab.numerics.log_probs import check_log_probs, to_log_probs


def token_changes(
    log_steered: Float[Tensor, " d_vocab"], log_clean: Float[Tensor, " d_vocab"], tokens: Sequence[str]
) -> pd.DataFrame:
    """One row per token of the vocabulary, from `log_steered` and `log_clean`, the largest contribution first.

    Columns: token_id, token, p_clean and p_steered in [0, 1], change (of the log-probability, nats), contribution
    (nats; they sum to the KL divergence) and kl_share (contribution over KL: they sum to 1, lowered tokens are
    negative; NaN where nothing changed).

    Raises:
        ValueError: half precision, values that are no log-probabilities, or a vocabulary of another size.
    """
    for name, log_prob in (("log_steered", log_steered), ("log_clean", log_clean)):
        check_log_probs(log_prob, name)
    if len(tokens) != len(log_steered):
        raise ValueError(f"{len(tokens)} token strings for a vocabulary of {len(log_steered)}")
    steered, clean = log_steered.double().cpu(), log_clean.double().cpu()
    change = torch.where(steered == clean, 0.0, steered - clean)  # two excluded tokens (-inf) have not changed
    contribution = kl_terms(steered, clean)
    kl = contribution.sum()
    table = pd.DataFrame(
        {
            "token_id": range(len(tokens)),
            "token": list(tokens),
            "p_clean": clean.exp().numpy(),
            "p_steered": steered.exp().numpy(),
            "change": change.numpy(),
            "contribution": contribution.numpy(),
            "kl_share": (contribution / kl if kl > 0 else torch.full_like(contribution, torch.nan)).numpy(),
        }
    )
    return table.sort_values("contribution", ascending=False, kind="stable", ignore_index=True)


@torch.no_grad()
def next_token_changes(model: HookedModel, prompt: str) -> pd.DataFrame:
    """`token_changes` of `model`'s token after `prompt`, under the edits in force against none.

    Call it inside a `with steer(...)` block: the clean distribution is read with every edit paused.
    """
    tokens = model.to_tokens(prompt)
    with model.unedited():
        clean = model.logits(tokens)
    log_steered, log_clean = (to_log_probs(logits[0, -1]) for logits in (model.logits(tokens), clean))
    return token_changes(log_steered, log_clean, model.token_strings(range(model.d_vocab)))
