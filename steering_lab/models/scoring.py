"""What a model says of continuations that are given: their log-probabilities, by uncached passes over ready ids."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.memory import fitting
from steering_lab.numerics.log_probs import to_log_probs

SCORED_LOGITS = 2**27  # float32 logits of one scoring slice: half a gigabyte
ON_A_CPU = 2**25  # there more than its caches hold is slower, not faster


@torch.no_grad()
def continuation_log_probs(
    model: HookedModel, prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]]
) -> list[list[float]]:
    """Log-probability in nats of each continuation token given all before it, by uncached passes over ready ids.

    Each token's is that of the row up to it, alone. Rows are scored in slices of like length, small enough for their
    float32 logits to stay under half a gigabyte; a slice that does not fit goes in halves. Edits in force apply; a
    per-row intervention does not, because rows lose their number.

    Args:
        model: The model, with the edits in force.
        prompts: Ids of each prompt.
        continuations: Ids of what follows each.
    """

    def scored(rows: list[int]) -> list[list[float]]:
        said = forced_logits(model, [prompts[i] for i in rows], [continuations[i] for i in rows])
        found = []
        for i, scores in zip(rows, said, strict=True):
            ids = torch.tensor(continuations[i], device=scores.device)[:, None]
            found.append(to_log_probs(scores).gather(-1, ids).squeeze(-1).tolist())
        return found

    known: dict[int, list[float]] = {}
    for rows, found in fitting(scored, _slices(model, prompts, continuations), model.release):
        known |= zip(rows, found, strict=True)
    return [known[i] for i in range(len(prompts))]


def _slices(
    model: HookedModel, prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]]
) -> Iterator[list[int]]:
    """Rows that are scored together: the longest first, so that little of a pass is padding."""
    most = ON_A_CPU if model.device.type == "cpu" else SCORED_LOGITS
    waiting = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]) - len(continuations[i]))
    while waiting:
        size = max(1, most // max(1, *(len(continuations[i]) for i in waiting)) // model.d_vocab)
        yield waiting[:size]
        waiting = waiting[size:]


def forced_logits(
    model: HookedModel, prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]]
) -> list[Float[Tensor, "step d_vocab"]]:
    """The logits from which each continuation token would be drawn, by uncached passes over ready ids.

    One pass; on a model that changes with length, one more for each change within a continuation.

    Args:
        model: The model, with the edits in force.
        prompts: Ids of each prompt.
        continuations: Ids of what follows each; the last one is not read.
    """
    spans = [model.batching.spans(len(p), len(c)) for p, c in zip(prompts, continuations, strict=True)]
    read = [(i, first, last) for i, own in enumerate(spans) for first, last in own]
    tokens = model.pad([prompts[i] for i, _, _ in read], [continuations[i][: max(0, last - 1)] for i, _, last in read])
    found: list[list[Tensor]] = [[] for _ in spans]
    logits = model.logits(tokens, last=max(1, *(last - first for _, first, last in read)))
    for (i, first, last), row in zip(read, logits, strict=True):
        found[i].append(row[row.shape[0] - (last - first) :])
    return [torch.cat(parts) for parts in found]
