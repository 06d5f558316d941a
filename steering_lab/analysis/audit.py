"""Which tokens an intervention touched, and by how much: measured while the model writes, not inferred from the rule.

One reader stands before the edit and one behind it, in `generate` with its KV cache as in any real use; what is
reported is the difference of the two streams. The rule's own claim, which terms were in place, stands beside it.
"""

from collections.abc import Sequence
from typing import NamedTuple, Unpack

import pandas as pd
from jaxtyping import Bool, Float, Int
from torch import Tensor

from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.source import Permissions
from steering_lab.interventions.steering import steer
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel, StreamEdit
from steering_lab.models.sampling import GREEDY, Sampling
from steering_lab.models.tokens import ForwardPass

COLUMNS = (
    *("prompt", "forward", "layer", "stream", "position", "token", "is_prompt"),
    *("touched", "change", "relative", "terms"),
)


class _Seen(NamedTuple):
    """One forward pass at one site: where its tokens stand, what the edit changed, which terms claim which token."""

    positions: Int[Tensor, "batch pos"]
    change: Float[Tensor, "batch pos"]
    norm: Float[Tensor, "batch pos"]
    claimed: list[Bool[Tensor, "batch pos"]]


class _Recorder:
    """Reads one site before and after the edit, pass by pass, and keeps norms only."""

    def __init__(self, site: HookSite, intervention: Intervention) -> None:
        self.site, self.terms = site, list(intervention.at_site(site))
        self.seen: dict[int, list[tuple[_Seen, int]]] = {}  # of each prompt, pass by pass, and its row there
        self._before: Tensor | None = None

    def before(self, resid: Tensor, forward_pass: ForwardPass) -> Tensor:
        self._before = resid
        return resid

    def after(self, resid: Tensor, forward_pass: ForwardPass) -> Tensor:
        assert self._before is not None, "the pass was not seen before the edit"
        before, self._before = self._before.float(), None
        claimed = [term.place.touched(forward_pass, term.edit.rows.shape[0]).cpu() for term in self.terms]
        change = (resid.float() - before).norm(dim=-1)
        seen = _Seen(forward_pass.positions.cpu(), change.cpu(), before.norm(dim=-1).cpu(), claimed)
        for k, row in enumerate(forward_pass.rows.tolist()):
            self.seen.setdefault(row, []).append((seen, k))
        return resid


def audit(
    model: HookedModel,
    prompts: str | Sequence[str],
    intervention: Intervention,
    *,
    max_new_tokens: int = 40,
    sampling: Sampling = GREEDY,
    seed: int = 0,
    **permissions: Unpack[Permissions],
) -> pd.DataFrame:
    """One row per prompt, forward pass, edited site and token in view, padding (negative positions) included.

    `prompt` and `forward` count from 0; forward 0 reads the prompt, each later one a token that was drawn, up to the
    last but one: no pass reads the last. `change` is the norm of the difference the edit made to the stream there,
    `relative` that over the norm of the stream before it, `touched` whether the stream changed at all. `terms` are
    those whose place includes the token, in vain where `touched` is false (a zero row, a zero coefficient). Edits
    already in force act before the reading and are not reported. A text that ends early is followed to its end.
    `permissions` are those of `steer`.

    Args:
        model: The model that is read.
        prompts: What it reads.
        intervention: What is done, as in `steer`.
        max_new_tokens: How many tokens a continuation has at most.
        sampling: How tokens are drawn.
        seed: What random draws follow from.
        **permissions: Those of `steer`: `allow_other_model`, `allow_other_prefix`.

    Raises:
        ValueError: whatever `steer` and `generate` refuse.
    """
    rows = [prompts] if isinstance(prompts, str) else list(prompts)
    recorders = [_Recorder(site, intervention) for site in list(intervention.sites)]
    before: dict[HookSite, StreamEdit] = {recorder.site: recorder.before for recorder in recorders}
    after: dict[HookSite, StreamEdit] = {recorder.site: recorder.after for recorder in recorders}
    with model.hooks(before), steer(model, intervention, **permissions), model.hooks(after):
        drawn = generate(
            model, rows, max_new_tokens=max_new_tokens, sampling=sampling, seed=seed, batch_size=len(rows) or 1
        ).tokens
    prompt_ids = [model.token_ids(prompt) for prompt in rows]
    strings = [model.token_strings([*ids, *new]) for ids, new in zip(prompt_ids, drawn, strict=True)]
    (padding,) = model.token_strings([model.pad_token_id])
    table = [
        (
            *(i, forward, recorder.site.layer, recorder.site.stream, position),
            *(strings[i][position] if position >= 0 else padding, 0 <= position < len(prompt_ids[i])),
            *_measured(seen, recorder, k, column),
        )
        for forward in range(
            max((len(passes) for recorder in recorders for passes in recorder.seen.values()), default=0)
        )
        for recorder in recorders
        for i in range(len(rows))
        for seen, k in recorder.seen[i][forward : forward + 1]
        for column, position in enumerate(seen.positions[k].tolist())
        if position < len(strings[i])
    ]
    return pd.DataFrame(table, columns=list(COLUMNS))


def _measured(seen: _Seen, recorder: _Recorder, row: int, column: int) -> tuple[bool, float, float, str]:
    """touched, change, relative, terms of one token."""
    change, norm = float(seen.change[row, column]), float(seen.norm[row, column])
    terms = [str(term) for term, claimed in zip(recorder.terms, seen.claimed, strict=True) if claimed[row, column]]
    return change > 0, change, change / norm if norm > 0 else float("nan"), "; ".join(terms)


def tokens_read(vector: SteeringVector) -> pd.DataFrame:
    """Where `vector` was read: one row per token of the two prompts it was made from.

    Columns: side ("positive" or "negative"), position, token, and norm, the length of the vector's row that belongs to
    the position (NaN where rows were taken out of the vector since).

    Raises:
        ValueError: the vector's source names no tokens, as where it is a mean over many prompts.
    """
    details = vector.source.details
    if "tokens" not in details:
        known = {name: details[name] for name in ("read", "n_pairs", "first_pair") if name in details}
        raise ValueError(f"{vector.source.recipe} records no tokens that it was read at, only {known or 'its recipe'}")
    norms = vector.norms.tolist()
    rows = [
        (side, position, token, norms[position] if len(norms) == len(tokens) else float("nan"))
        for side, tokens in zip(("positive", "negative"), details["tokens"], strict=True)
        for position, token in enumerate(tokens)
    ]
    return pd.DataFrame(rows, columns=["side", "position", "token", "norm"])
