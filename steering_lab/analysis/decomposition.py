"""What an edit does by itself, and what attention and MLP layers make of it.

The stream behind the last block is a sum, so the change that steering brings to it is one too:

    steered - clean = sum over blocks of ( direct + attention + mlp )

direct is what the edits wrote at a block's input or output; attention and mlp are the changes of what those layers
write, all relative to the clean run. The direct part reaches the logits over the skip connections alone; freezing every
later attention and MLP output at its clean value leaves exactly it. The parts telescope, so they sum to the whole
change up to rounding in the model's precision.

Call these inside a `with steer(...)` block; the clean run is made beside it with every edit paused. They know nothing
else of steering: an ablation's direct part is what it took away.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.analysis.projection import project
from steering_lab.analysis.stream_table import Prompts, token_batches, token_keys
from steering_lab.models.block_outputs import BlockOutputs, block_outputs
from steering_lab.models.final_norm import logit_directions
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.tokens import Tokens
from steering_lab.numerics.log_probs import to_log_probs

PARTS = ("direct", "attention", "mlp")
FINAL_NORM = "final norm"


class StreamChange(NamedTuple):
    """`parts[layer, part]` sum to `steered` - `clean`, the stream behind the last block."""

    parts: dict[tuple[int, str], Float[Tensor, "batch pos d_model"]]
    clean: Float[Tensor, "batch pos d_model"]
    steered: Float[Tensor, "batch pos d_model"]

    @property
    def direct(self) -> Float[Tensor, "batch pos d_model"]:
        """What all edits wrote together."""
        return torch.stack([change for (_, part), change in self.parts.items() if part == "direct"]).sum(dim=0)


class DirectPath(NamedTuple):
    """Next-token log-probabilities at the last token: clean, with the direct part alone, and steered."""

    clean: Float[Tensor, "batch d_vocab"]
    direct: Float[Tensor, "batch d_vocab"]
    steered: Float[Tensor, "batch d_vocab"]


@torch.no_grad()
def decompose(model: HookedModel, tokens: Tokens) -> StreamChange:
    """The change of `model`'s last stream for `tokens` under the edits in force, by block and part, in float32.

    Raises:
        ValueError: an architecture that does not show attention and MLP apart.
    """
    with model.unedited():
        clean = block_outputs(model, tokens)
    steered = block_outputs(model, tokens)
    parts: dict[tuple[int, str], Tensor] = {}
    arrived: Tensor | float = 0.0  # the change that the block before handed on
    for layer, now in steered.items():
        pre, attention, mlp, post = (
            after.float() - before.float() for after, before in zip(now, clean[layer], strict=True)
        )
        parts[layer, "direct"] = (pre - arrived) + (post - pre - attention - mlp)
        parts[layer, "attention"], parts[layer, "mlp"] = attention, mlp
        arrived = post
    last: list[BlockOutputs] = [run[model.n_layers - 1] for run in (clean, steered)]
    return StreamChange(parts, *(block.resid_post.float() for block in last))


def effect_decomposition(model: HookedModel, prompts: Prompts, direction: Float[Tensor, " d_model"]) -> pd.DataFrame:
    """One row for each of `prompts`, block of `model`, part and token: `effect`, its length along `direction`.

    In residual-stream units. Summed over layers and parts it is the change of `project(resid, direction)` behind the
    last block; summed over the layers up to l, that behind block l. Take the steering vector itself as `direction` to
    see how much of it survives.

    Raises:
        ValueError: a zero direction, or an architecture that does not show attention and MLP apart.
    """
    blocks = []
    for first, tokens in token_batches(model, prompts):
        keys, mask = token_keys(model, tokens, first), tokens.mask.cpu()
        for (layer, part), change in decompose(model, tokens).parts.items():
            effect = project(change, direction).cpu()[mask].numpy()
            blocks.append(keys.assign(layer=layer, part=part, effect=effect))
    table = pd.concat(blocks, ignore_index=True)
    return table[["prompt", "layer", "part", "position", "from_end", "token", "generated", "effect"]]


def logit_decomposition(
    model: HookedModel, prompts: Prompts, toward: int | Sequence[int], against: int | Sequence[int]
) -> pd.DataFrame:
    """One row per prompt, block and part: its `effect` on logit(toward) - logit(against) at the last token, in logits.

    The final norm's scale is frozen at the steered run, which makes every part linear. What then remains is the part
    "final norm" (layer `n_layers`): the clean stream's own logit difference read at the steered scale instead of the
    clean one; it shrinks when steering lengthens the stream. With it, the effects sum to the change of the logit
    difference (before a final soft cap).

    Args:
        model: The model that is read.
        prompts: What it reads.
        toward: Ids of the tokens whose logit counts; one for all prompts or one for each.
        against: Ids of the tokens whose logit is taken off; one for all prompts or one for each.

    Raises:
        ValueError: a token outside the vocabulary, as many tokens as prompts missing, or an architecture that does not
            show attention and MLP apart.
    """
    n_prompts = 1 if isinstance(prompts, str) else len(prompts)
    sides = [[side] * n_prompts if isinstance(side, int) else list(side) for side in (toward, against)]
    if any(len(side) != n_prompts for side in sides):
        raise ValueError(f"{n_prompts} prompts need {n_prompts} tokens on each side, or one for all")
    blocks = []
    for first, tokens in token_batches(model, prompts):
        change = decompose(model, tokens)
        clean, steered = change.clean[:, -1], change.steered[:, -1]
        pairs = [side[first : first + len(tokens)] for side in sides]
        at_clean, at_steered = (logit_directions(model, resid, *pairs) for resid in (clean, steered))
        effects = {key: (part[:, -1] * at_steered).sum(-1) for key, part in change.parts.items()}
        effects[model.n_layers, FINAL_NORM] = (clean * (at_steered - at_clean)).sum(-1)
        prompt = range(first, first + len(tokens))
        blocks += [
            pd.DataFrame({"prompt": prompt, "layer": layer, "part": part, "effect": effect.cpu().numpy()})
            for (layer, part), effect in effects.items()
        ]
    return pd.concat(blocks, ignore_index=True)


@torch.no_grad()
def direct_path(model: HookedModel, prompts: Prompts) -> DirectPath:
    """What `model` would say after each of `prompts` if no later layer answered the edits, between clean and steered.

    `direct` is the final norm and the unembedding of the clean last stream plus the direct part: nothing is frozen or
    linearised there. Compare the three with `token_changes`.

    Raises:
        ValueError: an architecture that does not show attention and MLP apart.
    """
    found = []
    for _, tokens in token_batches(model, prompts):
        change = decompose(model, tokens)
        streams = torch.stack([change.clean, change.clean + change.direct, change.steered])[:, :, -1]
        found.append(to_log_probs(model.unembed(streams)))
    return DirectPath(*torch.cat(found, dim=1))
