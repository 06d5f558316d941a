"""Next-token distributions of a forced continuation while a delta is added from the last prompt token on.

A delta at the last prompt token cannot reach the tokens before it, so their keys and values are computed once and every
further pass reads the last prompt token and the continuation only. Gradients flow to the delta under an enabled
gradient mode; nothing here enables it, and whatever steering block is open does not act.

Some models' caches do not allow it: linear-attention layers write their state in place, where no gradient passes
(Qwen3-Next, Qwen3.5), and some recurrences begin anew with every pass of several tokens (Jamba, RecurrentGemma). Each
model is tried once (`reuses_prefix`), and where it fails every pass reads the whole prompt, to the same effect.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.runtimes import Hook
from steering_lab.models.tokens import ForwardPass
from steering_lab.numerics.log_probs import to_log_probs


class Unsteered(NamedTuple):
    """The model without a delta: its `log_probs`, and `resid_norms` at the last prompt token, per site."""

    log_probs: Float[Tensor, "batch step d_vocab"]
    resid_norms: Float[Tensor, "batch site"]


class DeltaPass:
    """The model on prompts and forced continuations, as a function of the deltas alone.

    Continuation k of a row is what follows its prompt: step 0 of the result is the distribution after the last prompt
    token, step t the one after t continuation tokens. Rows with shorter continuations hold meaningless last steps.

    Args:
        model: The model, its weights frozen.
        prompts: Ids of each prompt.
        continuations: Ids of what each prompt is continued with.
        sites: Where the deltas are added.
        reuse_prefix: Whether a prompt is read once and kept; False reads it in every pass, to the same effect; None
            is wherever the model can.

    Raises:
        ValueError: a site outside the model, a prompt and a continuation that do not fit its context, or rows that may
            not share a pass of this model (`Batching`).
    """

    def __init__(
        self,
        model: HookedModel,
        prompts: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[int]],
        sites: Sequence[HookSite],
        *,
        reuse_prefix: bool | None = None,
    ) -> None:
        for site in sites:
            model.check_site(site)
        self.model, self.sites, self.runtime = model, tuple(sites), model.runtime
        self.n_steps = max(len(c) for c in continuations)
        tokens = model.pad(prompts)
        width = tokens.ids.shape[1]
        if width + self.n_steps - 1 > model.n_ctx:
            raise ValueError(
                f"the longest prompt is {width} tokens and the longest target {self.n_steps}, the context of"
                f" {model.name} is {model.n_ctx}: shorten one of them"
            )
        lengths = [len(prompt) for prompt in prompts]
        if len({model.batching.kind(length, self.n_steps - 1) for length in lengths}) > 1:
            raise ValueError(f"prompts of {min(lengths)} to {max(lengths)} tokens may not share a pass of {model.name}")
        self._spans = model.batching.spans(width, self.n_steps)
        # Only what precedes the last target token is read. Shorter rows go on with a token that their steps never see.
        forced = [[*c[:-1], *[model.pad_token_id] * (self.n_steps - len(c))] for c in continuations]
        tail = torch.tensor(forced, dtype=torch.long, device=model.device).reshape(len(prompts), self.n_steps - 1)
        self._ids = torch.cat([tokens.ids, tail], dim=1)
        self._mask = torch.cat([tokens.mask, torch.ones_like(tail, dtype=torch.bool)], dim=1)
        after = tokens.positions[:, -1:] + torch.arange(1, self.n_steps, device=model.device)
        self._positions = torch.cat([tokens.positions, after], dim=1)
        self._lengths = tokens.prompt_lengths
        self._last = width - 1  # the column of every row's last prompt token
        # Without a real token before it (a prompt of one token) a row would have nothing but padding to attend to.
        kept = bool(tokens.mask[:, : self._last].any(dim=1).all()) and len(self._spans) == 1
        kept = kept and model.batching.same(max(1, width - 1), width)
        if kept and (reuses_prefix(model) if reuse_prefix is None else reuse_prefix):
            self._start = self._last
        else:
            self._start = 0
        self._prefix: Any = None
        if self._start:
            self._prefix = self.runtime.new_cache(len(prompts))
            with torch.no_grad(), model.unedited():
                self._forward(slice(0, self._start), self._prefix, 1)

    @property
    def keeps_prefix(self) -> bool:
        """Whether passes read from the last prompt token on, and not the whole prompt."""
        return self._prefix is not None

    def __call__(self, deltas: Float[Tensor, "batch site d_model"]) -> Float[Tensor, "batch step d_vocab"]:
        """Float32 log-probabilities with row b's delta k added at site k, from its last prompt token on."""
        return self.seeing(deltas, ())[0]

    def seeing(
        self, deltas: Float[Tensor, "batch site d_model"], reads: Sequence[HookSite]
    ) -> tuple[Float[Tensor, "batch step d_vocab"], dict[HookSite, Float[Tensor, "batch step d_model"]]]:
        """The same, and what the steered stream holds at `reads` at the tokens from the last prompt token on.

        Args:
            deltas: What is added at each row's sites.
            reads: Where the stream is read, after the delta.
        """
        adding = {site: self._adding(deltas[:, k]) for k, site in enumerate(self.sites)}
        held: dict[HookSite, list[Tensor]] = {site: [] for site in reads}

        def reader(site: HookSite) -> Hook:
            def read(resid: Tensor) -> Tensor:
                edited = adding[site](resid) if site in adding else resid
                held[site].append(edited)
                return edited

            return read

        log_probs = self._run(adding | {site: reader(site) for site in held})
        widths = [last - first for first, last in self._spans]
        stream = {
            site: torch.cat([part[:, -width:] for part, width in zip(parts, widths, strict=True)], dim=1)
            for site, parts in held.items()
        }
        return log_probs, stream

    @torch.no_grad()
    def unsteered(self) -> Unsteered:
        """Log-probabilities without a delta, and the lengths of the residuals at the last prompt token."""
        seen: dict[HookSite, Tensor] = {}

        def reader(site: HookSite) -> Hook:
            def read(resid: Tensor) -> None:
                seen[site] = resid[:, self._last - self._start].float().norm(dim=-1)

            return read

        log_probs = self._run({site: reader(site) for site in self.sites})
        return Unsteered(log_probs, torch.stack([seen[site] for site in self.sites], dim=1))

    def _adding(self, delta: Float[Tensor, "batch d_model"]) -> Callable[[Tensor], Tensor]:
        first = self._last - self._start

        def add(resid: Tensor) -> Tensor:
            added = resid[:, first:] + delta[:, None].to(resid.dtype)
            return torch.cat([resid[:, :first], added], dim=1) if first else added

        return add

    def _run(self, hooks: Mapping[HookSite, Hook]) -> Float[Tensor, "batch step d_vocab"]:
        parts = []
        with self.model.unedited(), self.runtime.placed(hooks):
            for first, last in self._spans:
                cache = None if self._prefix is None else deepcopy(self._prefix)
                parts.append(self._forward(slice(self._start, self._last + last), cache, last - first))
        return to_log_probs(torch.cat(parts, dim=1))

    def _forward(self, columns: slice, cache: Any, last: int) -> Float[Tensor, "batch last d_vocab"]:
        rows = torch.arange(len(self._ids), device=self._ids.device)
        forward_pass = ForwardPass(self._positions[:, columns], self._lengths, rows, len(rows))
        ids, mask = self._ids[:, columns], self._mask[:, : columns.stop]
        return self.model.forward(ids, mask, forward_pass, cache, last=last, runtime=self.runtime)


_TRIED: WeakKeyDictionary[HookedModel, bool] = WeakKeyDictionary()


def reuses_prefix(model: HookedModel) -> bool:
    """Whether a cached prefix of `model` gives what whole passes give, gradients included; tried once."""
    if model not in _TRIED:
        # One token behind a cache takes another way through some models than several.
        _TRIED[model] = all(_reuse_equals_whole(model, target) for target in ([5], [5, 6, 7]))
    return _TRIED[model]


def _reuse_equals_whole(model: HookedModel, target: Sequence[int]) -> bool:
    prompt = [(7919 * i + 17) % model.d_vocab for i in range(6)]
    whole = _said_and_gradient(model, prompt, target, reuse_prefix=False)
    try:
        reused = _said_and_gradient(model, prompt, target, reuse_prefix=True)
    except Exception:  # whatever a cache runs into that cannot carry on, it is none to keep
        return False
    tolerance = 1e-3 if model.dtype in (torch.float32, torch.float64) else 0.05
    return all(
        float((a - b).abs().max()) <= tolerance * float(a.abs().max()) for a, b in zip(whole, reused, strict=True)
    )


@torch.inference_mode(False)
@torch.enable_grad()
def _said_and_gradient(
    model: HookedModel, prompt: Sequence[int], target: Sequence[int], *, reuse_prefix: bool
) -> tuple[Float[Tensor, "1 step d_vocab"], Float[Tensor, "1 1 d_model"]]:
    """Log-probabilities without a delta, and the gradient of some of them in a delta at the first block."""
    delta = torch.zeros(1, 1, model.d_model, device=model.device, requires_grad=True)
    said = DeltaPass(model, [prompt], [target], [HookSite(0)], reuse_prefix=reuse_prefix)(delta)
    (gradient,) = torch.autograd.grad(said[..., 7].sum(), delta)
    return said.detach(), gradient
