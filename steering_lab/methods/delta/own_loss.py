"""A loss of one's own: any differentiable function of what the steered model says and of its residual stream."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.methods.delta.objectives import following
from steering_lab.methods.delta.target import Target
from steering_lab.methods.delta.weighted import Weighable
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel


class Seen(NamedTuple):
    """One prompt's steered forward pass, from its last token on: what a loss of one's own is a function of.

    Args:
        log_probs: At step 0 of what follows the prompt, at step t of what follows t tokens of its continuation;
            float32. Logits up to a constant of each step.
        stream: At each site that `OwnLoss.reads`, the residual stream at the same tokens, after the delta, in the
            model's precision.
        given: What `OwnLoss.given` holds for this prompt.
    """

    log_probs: Float[Tensor, "step d_vocab"]
    stream: Mapping[HookSite, Float[Tensor, "step d_model"]]
    given: Any


Loss = Callable[[Seen], Float[Tensor, ""]]


@dataclass(frozen=True, eq=False)
class OwnLoss(Weighable):
    """Lower `loss(seen)`, whatever it is, for each prompt: `Seen` holds log-probabilities and the stream.

    Steps follow the prompt's continuation: the text that you give, or the unsteered model's own greedy one. Losses are
    best in nats, of about the size of those they are added to: a descent's tolerances are in nats.

    Args:
        name: What the loss is called in records. A `cache` finds deltas by it: rename it when you change the function.
        loss: One number that depends on `log_probs` or `stream`, to be lowered.
        given: For each prompt what the loss is told beside, as JSON: a token's id, a label, None.
        continuations: A text for each prompt, as it follows the prompt; None is the model's own, `n_tokens` long.
        n_tokens: Steps along the model's own continuation.
        reads: The sites whose stream the loss reads.

    Raises:
        ValueError: no name, no prompt, fewer than one token, or not one continuation for each prompt.
    """

    name: str
    loss: Loss
    given: tuple[Any, ...]
    continuations: tuple[str, ...] | None = None
    n_tokens: int = 1
    reads: tuple[HookSite, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a loss of your own needs a name: records and caches know it by that")
        if not self.given:
            raise ValueError("given is empty: one entry for each prompt, None where the loss needs nothing")
        if self.n_tokens < 1:
            raise ValueError(f"n_tokens is {self.n_tokens}: it must be 1 or more")
        if self.continuations is not None and len(self.continuations) != len(self.given):
            raise ValueError(f"{len(self.continuations)} continuations for {len(self.given)} prompts: one for each")

    def __len__(self) -> int:
        return len(self.given)

    def take(self, rows: Sequence[int]) -> "OwnLoss":
        """The same for the prompts `rows`."""
        texts = None if self.continuations is None else tuple(self.continuations[i] for i in rows)
        return replace(self, given=tuple(self.given[i] for i in rows), continuations=texts)

    def described(self, model: HookedModel) -> Mapping[str, Any]:
        ids = None if self.continuations is None else [model.token_ids(text) for text in self.continuations]
        reads = [site.name for site in self.reads]
        asked = {"given": list(self.given), "continuations": ids, "n_tokens": self.n_tokens, "reads": reads}
        return {"name": f"own loss: {self.name}", **asked}

    def target(self, model: HookedModel, prompts: Sequence[str]) -> "OwnTarget":
        """The continuations of `prompts`, and the loss on them.

        Raises:
            ValueError: a site outside the model, or a continuation that melts into its prompt's last token.
        """
        for site in self.reads:
            model.check_site(site)
        if self.continuations is not None:
            tokens = [following(model, *both) for both in zip(prompts, self.continuations, strict=True)]
            run = [0] * len(tokens)
        else:
            with model.unedited(), torch.no_grad():
                tokens = [tuple(t) for t in generate(model, list(prompts), max_new_tokens=self.n_tokens).tokens]
            run = [len(model.token_ids(prompt)) + len(own) for prompt, own in zip(prompts, tokens, strict=True)]
        return OwnTarget(tuple(tokens), tokens_run=tuple(run), reads=self.reads, own=self)


@dataclass(frozen=True, eq=False)
class OwnTarget(Target):
    """The continuations of a loss of one's own, and that loss on them.

    Args:
        own: The loss, for the same prompts.
    """

    own: OwnLoss | None = None

    def take(self, rows: Sequence[int]) -> "OwnTarget":
        """The same for the prompts `rows`."""
        assert self.own is not None
        run = tuple(self.tokens_run[i] for i in rows)
        return replace(self, tokens=tuple(self.tokens[i] for i in rows), tokens_run=run, own=self.own.take(rows))

    def losses(
        self,
        steered: Float[Tensor, "batch step d_vocab"],
        stream: Mapping[HookSite, Float[Tensor, "batch step d_model"]] | None = None,
    ) -> Float[Tensor, " batch"]:
        """The loss of each row.

        Raises:
            ValueError: the loss is not one number, or depends on nothing that the delta changes.
        """
        assert self.own is not None
        found = []
        for i, (tokens, given) in enumerate(zip(self.tokens, self.own.given, strict=True)):
            own = {site: held[i, : len(tokens)] for site, held in (stream or {}).items()}
            loss = self.own.loss(Seen(steered[i, : len(tokens)], own, given))
            if not isinstance(loss, Tensor) or loss.ndim != 0:
                shape = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
                raise ValueError(f"the loss {self.own.name!r} gave {shape}: return one number, a tensor without axes")
            if torch.is_grad_enabled() and not loss.requires_grad:
                raise ValueError(
                    f"the loss {self.own.name!r} depends on nothing that the delta changes: compute it from"
                    " seen.log_probs, or from seen.stream at or after the delta's site, without detach() or item()"
                )
            found.append(loss.float())
        return torch.stack(found)
