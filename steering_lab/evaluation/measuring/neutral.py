"""What a condition does to text that has nothing to do with it: how far every next-token distribution is moved.

Perplexity asks whether the text that came out is likely; this asks how far the model itself is from what it was, at
every token of texts that are given. It sees damage that fluent text hides.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple, Unpack

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.evaluate import DECODING, cell_key
from steering_lab.evaluation.running.groups import Rows
from steering_lab.evaluation.running.writing import Prefixed
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.source import Permissions
from steering_lab.interventions.steering import steer
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.progress import progress_bar
from steering_lab.models.scoring import SCORED_LOGITS, forced_logits
from steering_lab.numerics.divergence import kl_terms
from steering_lab.numerics.kinds import Bounds, Kind
from steering_lab.numerics.log_probs import to_log_probs
from steering_lab.tables import MEASUREMENTS, checked, described

NATS: Bounds = (0, math.inf)
SHARE: Bounds = (0, 1)
# By metric. Skewed, an agreement too: like a topic's share of words it is a count over a length, near one end. Of most
# texts the median token hardly moves and of a few it does, so that one is heavy.
DECLARED: Mapping[str, tuple[Kind, Bounds]] = {
    "neutral_kl": (Kind.SKEWED, NATS),
    "neutral_kl_median": (Kind.HEAVY, NATS),
    "neutral_kl_p95": (Kind.SKEWED, NATS),
    "top1_agreement": (Kind.SKEWED, SHARE),
}
NEUTRAL = tuple(DECLARED)
PROMPT_TOKENS = 4
IN_A_SLICE = SCORED_LOGITS // 4  # float32 logits: the unsteered and the steered ones and their terms stand side by side


class Moved(NamedTuple):
    """Of each scored token: KL(unsteered ‖ steered) in nats, and whether the likeliest token is still the same.

    Args:
        kl: In nats, 0 or more.
        agrees: Whether the likeliest token is still the same.
    """

    kl: Float[Tensor, " token"]
    agrees: Bool[Tensor, " token"]


def neutral_table(
    model: HookedModel,
    conditions: Sequence[Condition],
    texts: Sequence[str],
    *,
    prompt_tokens: int = PROMPT_TOKENS,
    kept: Mapping[str, Rows] | None = None,
    keep: Callable[[Mapping[str, Rows]], None] | None = None,
    progress: bool | None = None,
    **permissions: Unpack[Permissions],
) -> pd.DataFrame:
    """The measurements of `NEUTRAL`: one row per condition, metric and text, weighing by its number of scored tokens.

    neutral_kl: mean over the text's tokens of KL(unsteered ‖ steered), in nats; so a cell's mean is that over all
    tokens. neutral_kl_median, neutral_kl_p95: the median and the 95th percentile of a text's tokens, whose mean over
    the texts a cell shows. top1_agreement: share of the tokens before which the likeliest next token stays the same.
    A token that the unsteered model excludes adds nothing; one that only steering excludes makes the divergence there
    infinite. Then the text's mean is NaN, as is a percentile that falls on such a token; the others stand.

    What is scored, and which conditions are NaN, is as in `fluency.held_out_table`: an edit counts, the way a prompt is
    written does not. Where the steered model's logits are no numbers, all values of the text are NaN.

    Args:
        model: The model that is asked.
        conditions: What is compared; names differ.
        texts: What is read.
        prompt_tokens: How many tokens of each text are its prompt and not scored (`prompt_room`).
        kept: Rows of an earlier run by their key, which are not computed again.
        keep: Called with the rows of each condition when they are there, by key.
        progress: Whether a bar is shown; None is one on a terminal.
        **permissions: Those of `steer`: `allow_other_model`, `allow_other_prefix`.

    Raises:
        ValueError: no text is longer than its prompt, or one is longer than the model's context.
    """
    rows = [model.token_ids(text) for text in texts]
    scored = [i for i, ids in enumerate(rows) if len(ids) > prompt_tokens]
    scored.sort(key=lambda i: -len(rows[i]))  # texts of like length share a pass: little of it is padding
    if not scored:
        raise ValueError(f"none of the {len(texts)} texts is longer than {prompt_tokens} tokens")
    blank = dict.fromkeys(NEUTRAL, math.nan) | {"n_tokens": 0}
    found = {condition.name: [dict(blank) for _ in texts] for condition in conditions}
    known = dict(kept or {})
    parts = list(_slices(scored, max(len(rows[i]) for i in scored) * model.d_vocab))
    with progress_bar(what="neutral text", shown=progress, total=len(conditions) * len(parts), leave=True) as bar:
        for part in parts:
            cut = [(rows[i][:prompt_tokens], rows[i][prompt_tokens:]) for i in part]
            base: list[Tensor] = []
            for condition in conditions:
                if condition.rule is None and isinstance(condition.intervention, Intervention):
                    key = _key(model, condition, [texts[i] for i in part], prompt_tokens)
                    if key not in known:
                        base = base or _log_probs(model, Intervention(), cut, permissions)
                        steered = _log_probs(model, condition.intervention, cut, permissions)
                        known |= (new := {key: [_observed(moved(*both)) for both in zip(base, steered, strict=True)]})
                        if keep is not None:
                            keep(new)
                    for i, cell in zip(part, known[key], strict=True):
                        found[condition.name][i] = cell
                bar.update()
    table = pd.DataFrame([row for condition in conditions for row in _rows(condition, found[condition.name])])
    return checked(table, MEASUREMENTS)[MEASUREMENTS.names]


def moved(base: Float[Tensor, "token d_vocab"], steered: Float[Tensor, "token d_vocab"]) -> Moved:
    """How far `steered` is from `base`, both log-probabilities, token by token; NaN in either is NaN here."""
    divergence = kl_terms(base, steered).sum(-1).clamp_min(0)  # rounding below zero
    return Moved(divergence, base.argmax(-1) == steered.argmax(-1))


def prompt_room(conditions: Sequence[Condition], least: int = PROMPT_TOKENS) -> int:
    """How many tokens a text's prompt needs, so that every condition's vectors have room in it: `least` or more.

    Args:
        conditions: What is compared; one whose edit depends on the prompt needs no room of its own.
        least: Tokens that a prompt has at least.
    """
    shared = [c.intervention for c in conditions if isinstance(c.intervention, Intervention)]
    return max([least, *(term.edit.rows.shape[0] for one in shared for term in one.terms)])


@torch.no_grad()
def _log_probs(
    model: HookedModel,
    intervention: Intervention,
    cut: Sequence[tuple[list[int], list[int]]],
    permissions: Permissions,
) -> list[Float[Tensor, "token d_vocab"]]:
    with steer(model, intervention, **permissions):
        logits = forced_logits(model, [prompt for prompt, _ in cut], [rest for _, rest in cut])
    return [to_log_probs(row) for row in logits]


def _observed(tokens: Moved) -> dict[str, float]:
    """The row of one text."""
    divergence = tokens.kl.double().cpu().numpy()
    values = np.full(4, np.nan)
    if not np.isnan(divergence).any():
        # "higher" is a value that was measured: an infinite one does not spread to its neighbour.
        middle, most = np.quantile(divergence, [0.5, 0.95], method="higher")
        values = np.array([divergence.mean(), middle, most, tokens.agrees.double().mean().item()])
    values[np.isinf(values)] = np.nan
    return dict(zip(NEUTRAL, values.tolist(), strict=True)) | {"n_tokens": len(divergence)}


def _slices(places: Sequence[int], logits_of_one: int) -> Iterator[Sequence[int]]:
    """Texts that are read together: as many as leave their logits within `IN_A_SLICE`."""
    size = max(1, IN_A_SLICE // logits_of_one)
    for start in range(0, len(places), size):
        yield places[start : start + size]


def _key(model: HookedModel, condition: Condition, texts: Sequence[str], prompt_tokens: int) -> str:
    """A hash of all that determines the rows; how a prompt is written does not."""
    bare = replace(condition, write=Prefixed())
    return hashlib.sha256(f"neutral {prompt_tokens} {cell_key(model, bare, texts, DECODING)}".encode()).hexdigest()[:24]


def _rows(condition: Condition, texts: Rows) -> Iterator[dict[str, Any]]:
    shared = {"condition": condition.name, **asdict(condition.factors), "sample": 0}
    for metric, (kind, bounds) in DECLARED.items():
        of_metric = shared | described(metric, "difference", kind, bounds)
        for i, text in enumerate(texts):
            yield of_metric | {"prompt": f"text {i}", "value": text[metric], "weight": float(text["n_tokens"])}
