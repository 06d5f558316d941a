"""What a steering vector says by itself: the tokens that its direction raises and lowers on the direct path.

    logit = unembed(ln_final(v / rms(v))) - unembed(ln_final(0)),  less its mean over the vocabulary

the reading of the direction alone less that of nothing, and less what softmax ignores. In a stream the final norm
divides by the length of the whole stream, of which `v` is a part; what else it does to `v` is linear: it removes the
mean where the model does so and weighs each dimension by the norm's gain. This keeps exactly that, so the length of `v`
counts for nothing, -v swaps the sides, and the biases of norm and unembedding say nothing. (A soft cap bends the
numbers and keeps their order.) Bare W_U v would leave out the gain, through which every logit passes.

It is the direct path only: what later blocks make of `v` is not in it. The model's actual answer is `logit_lens` inside
a `with steer(...)` block. Reading directions in the vocabulary: Dar et al. 2022, arXiv:2209.02535.
"""

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.analysis.logit_lens import check_top_k, strings
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hooked_model import HookedModel


def vector_lens(model: HookedModel, vector: SteeringVector, *, top_k: int = 10) -> pd.DataFrame:
    """The tokens that each row of a steering vector raises and lowers most, read without any stream around it.

    row, side ("raised" or "lowered"), rank (1 is the strongest), token, logit. Rows of zeros, such as ActAdd's
    beginning-of-text row, have no direction and no entry.

    Raises:
        ValueError: a vector of another width than the model, no row but zeros, or `top_k` outside 1..d_vocab.
    """
    check_top_k(model, top_k)
    if vector.rows.shape[1] != model.d_model:
        raise ValueError(f"{vector!r} is {vector.rows.shape[1]} wide, the stream of {model.name} is {model.d_model}")
    spoken = vector.norms.nonzero().flatten().tolist()
    if not spoken:
        raise ValueError(f"{vector!r} is zero and has no direction to read")
    rows = []
    for row in spoken:
        for side, sign in (("raised", 1.0), ("lowered", -1.0)):
            values, ids = (sign * _direct_logits(model, vector.rows[row])).topk(top_k)
            for rank, (token, logit) in enumerate(zip(strings(model, ids), values.tolist(), strict=True), 1):
                rows.append({"row": row, "side": side, "rank": rank, "token": token, "logit": sign * logit})
    return pd.DataFrame(rows)


@torch.no_grad()
def _direct_logits(model: HookedModel, row: Float[Tensor, " d_model"]) -> Float[Tensor, " d_vocab"]:
    """What the row adds to every logit on the direct path, up to a positive factor and a constant: mean 0."""
    direction = row.float() * model.d_model**0.5 / row.float().norm()
    with_row, without = model.unembed(torch.stack([direction, torch.zeros_like(direction)]).to(model.device)).float()
    raised = with_row - without
    return raised - raised.mean()
