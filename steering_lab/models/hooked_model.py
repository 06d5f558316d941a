"""A language model seen through its residual stream: one conduct for every TransformerLens backend.

Promises: in front of a text stands what its `prefix` says, in every path; left padding with a mask that travels with
the ids; every forward pass tells its hooks at which absolute positions the tokens stand (0 is the first real token of
the prompt, padding is negative), with or without a KV cache; a hook lives exactly as long as its `with` block.
Does not know what steering is: an edit is any function of a residual and the pass it belongs to.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeVar, get_args, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from steering_lab.models.batching import Batching
from steering_lab.models.hook_points import HookSite, Site, Sites, check_is_site, site_list
from steering_lab.models.output_scale import OutputScale
from steering_lab.models.prefix import ChatText, chat_text, prefix_ids, text_ids
from steering_lab.models.quantised_weights import compute_dtype, n_values, row_scales, stored_parts
from steering_lab.models.runtimes import Hook, Runtime, RuntimeName
from steering_lab.models.runtimes.front import announcing
from steering_lab.models.runtimes.hooked import HookedRuntime
from steering_lab.models.runtimes.plain import PlainRuntime
from steering_lab.models.tokens import ForwardPass, Tokens

Basis = Literal["raw", "centred"]
K = TypeVar("K")


StreamEdit = Callable[[Tensor, ForwardPass], Tensor]


Pooled = Callable[[Tensor, Tokens], Tensor]


@runtime_checkable
class Beginning(Protocol):
    """An edit that says where it begins, so that what stands before may be read once for many."""

    def begins(self, lengths: Int[Tensor, " batch"], rows: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """The first position that it may change in each of `rows` of the caller's batch, prompts `lengths` long."""


@runtime_checkable
class Stepwise(Protocol):
    """An edit that does nothing but edit: what it does at a step may be recorded and done again."""

    def step(self, forward_pass: ForwardPass) -> Float[Tensor, "batch 1 d_model"] | None:
        """What it adds in `forward_pass`, in float32, to each row's token; None where that depends on the stream."""


@dataclass(eq=False)
class HookedModel:
    """A TransformerLens model with its residual stream exposed. Make one with `load_model`.

    `plain` are Hugging Face's modules around the same weights, where there are any; passes go through them unless
    something hangs on the backend that they do not have. `output_scale` and `refused` are measured at load: what stands
    between unembedding and output, and the views that do not hold of this model ("lens", "block outputs"), each with
    the reason. `forward_pass` is what hooks see of the pass under way. `loaded_as` are the arguments of `load_model` by
    which another process loads the same model; None for a model that came from memory.

    Args:
        backend: The TransformerBridge (or HookedTransformer) itself.
        tokenizer: The model's tokenizer.
        name: The model's name.
        basis: "raw" where the stream is Hugging Face's own, "centred" where its mean over d_model was removed.
        revision: The checkpoint's revision; None is unknown.
        weights: The model's own, where the backend holds rearranged copies beside them.
        prefix: What stands in front of a text (`models.prefix`).
        quantisation: Where weights are less than they were, in words.
        batching: Which rows may share a pass, as measured at load.
    """

    backend: Any
    tokenizer: Any
    name: str
    basis: Basis = "raw"
    revision: str | None = None
    weights: Sequence[Tensor] | None = field(default=None, repr=False)
    prefix: str = "tokenizer"
    quantisation: str | None = None
    batching: Batching = field(default=Batching(), repr=False)
    plain: PlainRuntime | None = field(default=None, init=False, repr=False)
    output_scale: OutputScale = field(default=OutputScale(), init=False, repr=False)
    refused: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    forward_pass: ForwardPass | None = field(default=None, init=False, repr=False)
    loaded_as: dict[str, Any] | None = field(default=None, init=False, repr=False)
    _paused: bool = field(default=False, init=False, repr=False)
    _asked: RuntimeName | None = field(default=None, init=False, repr=False)
    _edits: list[Mapping[HookSite, StreamEdit]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self._hooked = HookedRuntime(self.backend)

    # -- facts ------------------------------------------------------------------------------------------------------
    @property
    def n_layers(self) -> int:
        return int(self.backend.cfg.n_layers)

    @property
    def d_model(self) -> int:
        return int(self.backend.cfg.d_model)

    @property
    def d_vocab(self) -> int:
        return int(self.backend.cfg.d_vocab)

    @property
    def n_ctx(self) -> int:
        return int(self.backend.cfg.n_ctx)

    @cached_property
    def _parameters(self) -> list[Tensor]:
        own = self.backend.parameters() if self.weights is None else self.weights
        return list({id(p): p for p in own}.values())

    @property
    def device(self) -> torch.device:
        return self._parameters[0].device

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the model computes in, whatever its weights are packed in."""
        return compute_dtype(self._parameters)

    @property
    def n_parameters(self) -> int:
        """How many numbers the weights stand for, packed or not."""
        return sum(n_values(p) for p in self._parameters)

    @property
    def description(self) -> str:
        """The model in a line, for captions and pages: name, size, and what was done to its weights."""
        unit, letter = (
            (1e9, "B") if self.n_parameters >= 1e9 else (1e6, "M") if self.n_parameters >= 1e6 else (1e3, "k")
        )
        size = f"{self.n_parameters / unit:.3g}{letter}"
        return ", ".join([self.name, f"{size} parameters", *([self.quantisation] if self.quantisation else [])])

    @cached_property
    def prefix_ids(self) -> list[int]:
        """The ids in front of every plain text; none where the tokenizer adds none."""
        return prefix_ids(self.tokenizer, self.prefix)

    @property
    def front_ids(self) -> list[int]:
        """What a text is read behind where something has to stand in front of it: its prefix, or where it has none the
        tokenizer's beginning- or end-of-text token."""
        marks = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
        return self.prefix_ids or [int(mark) for mark in marks if mark is not None][:1]

    @property
    def n_sink(self) -> int:
        """How many tokens at a text's front are no measure of it: its prefix, or without one its first token.

        Attention rests on the first token whatever it is, and the stream there is many times longer than elsewhere.
        """
        return max(1, len(self.prefix_ids))

    @cached_property
    def pad_token_id(self) -> int:
        """A token for masked-out places, inside the embedding; which one never matters: nothing attends to it."""
        for candidate in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, self.tokenizer.bos_token_id):
            if candidate is not None and 0 <= int(candidate) < self.d_vocab:
                return int(candidate)
        return 0

    @cached_property
    def eos_token_ids(self) -> frozenset[int]:
        """Tokens after which the model has finished, from its generation config and its tokenizer."""
        config = getattr(getattr(self.backend, "original_model", None), "generation_config", None)
        found = getattr(config, "eos_token_id", None)
        ids = found if isinstance(found, list) else [found]
        return frozenset(int(i) for i in [*ids, self.tokenizer.eos_token_id] if i is not None)

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of a SHA-256 over every weight's shape and up to 4,096 evenly spaced values of it.

        Independent of names, order and dtype width of storage metadata; changes when any tensor is retrained. Of a
        quantised weight the codes and scales count, so it differs from the one of the same model unquantised.
        """
        held = [part for weight in self._parameters for part in stored_parts(weight)]
        return fingerprint_of(held + row_scales(self.backend.modules()))

    def facts(self) -> dict[str, Any]:
        """What a run records of its model, as JSON: name, weights, basis, precision, place and size."""
        return {
            "name": self.name,
            "revision": self.revision,
            "fingerprint": self.fingerprint,
            "basis": self.basis,
            "prefix": self.prefix,
            "prefix_tokens": self.token_strings(self.prefix_ids),
            "quantisation": self.quantisation,
            "description": self.description,
            "dtype": str(self.dtype),
            "device": str(self.device),
            "backend": type(self.backend).__name__,
            "runtime": self.runtime.name,
            "attention": self.runtime.attention,
            "n_layers": self.n_layers,
            "d_model": self.d_model,
            "n_parameters": self.n_parameters,
        }

    def sites(self, stream: Literal["resid_pre", "resid_post"] = "resid_pre") -> list[HookSite]:
        """One site of `stream` per layer, from the first block to the last."""
        return [HookSite(layer, stream) for layer in range(self.n_layers)]

    def check_site(self, site: Site) -> None:
        """Nothing when `site` is in this model.

        Raises:
            ValueError: no site, or a layer outside the model.
        """
        check_is_site(site)
        if site.layer >= self.n_layers:
            raise ValueError(f"layer {site.layer} is outside 0..{self.n_layers - 1} of {self.name}")

    @property
    def architecture(self) -> str:
        """The name of the Hugging Face class, or of the TransformerLens class where there is none."""
        return type(getattr(self.backend, "original_model", None) or self.backend).__name__

    def check_view(self, view: Literal["lens", "block outputs"]) -> None:
        """Nothing when the view holds of this model.

        Raises:
            ValueError: it was measured not to, with the reason and what is offered instead.
        """
        if reason := self.refused.get(view):
            name = self.name if self.name == self.architecture else f"{self.name} ({self.architecture})"
            raise ValueError(f"{name}: {reason}")

    # -- tokens -----------------------------------------------------------------------------------------------------
    def token_ids(self, text: str) -> list[int]:
        """Ids of `text` behind its prefix; a `ChatText` as it stands."""
        return text_ids(self.tokenizer, text, self.prefix)

    def to_tokens(self, prompts: str | Sequence[str], continuations: Sequence[Sequence[int]] | None = None) -> Tokens:
        """A left-padded batch of prompts, each optionally followed by the ids of its continuation.

        Args:
            prompts: One text or several, written as the model's prefix says.
            continuations: Ids that follow each prompt and count as generated.

        Raises:
            ValueError: no prompt, an empty prompt, one that is no string, or one longer than the model's context.
        """
        if not isinstance(prompts, Sequence) or not all(isinstance(prompt, str) for prompt in prompts):
            raise ValueError(f"prompts are {prompts!r:.80}: pass a string or a non-empty list of strings")
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        if not prompts:
            raise ValueError("no prompts were given: pass a string or a non-empty list of strings")
        for i, prompt in enumerate(prompts):
            if not prompt:
                first = self.tokenizer.bos_token or self.tokenizer.eos_token
                way_out = f" (to start from nothing, write {first!r})" if first else ""
                raise ValueError(f"prompt {i} is empty: write at least one token{way_out}")
        kinds = [(type(prompt), prompt) for prompt in prompts]  # a chat is no plain text that reads the same
        ids = {kind: self.token_ids(kind[1]) for kind in dict.fromkeys(kinds)}
        return self.pad([ids[kind] for kind in kinds], continuations)

    def pad(self, rows: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]] | None = None) -> Tokens:
        """Left-padded `Tokens` of ready ids; what stands in `continuations` follows its row and is not prompt.

        Args:
            rows: Ids of each prompt, with whatever stands in front.
            continuations: Ids that follow each row and count as generated.

        Raises:
            ValueError: an empty row, or one longer than the model's context.
        """
        lengths = [len(row) for row in rows]
        full = rows if continuations is None else [[*r, *c] for r, c in zip(rows, continuations, strict=True)]
        for i, row in enumerate(full):
            if not row:
                raise ValueError(f"row {i} has no tokens")
            if len(row) > self.n_ctx:
                raise ValueError(f"row {i} is {len(row)} tokens long, the context of {self.name} is {self.n_ctx}")
        width = max(len(row) for row in full)
        ids = torch.tensor([[self.pad_token_id] * (width - len(row)) + list(row) for row in full])
        mask = torch.tensor([[False] * (width - len(row)) + [True] * len(row) for row in full])
        return Tokens(ids.to(self.device), mask.to(self.device), torch.tensor(lengths, device=self.device))

    def chat_text(self, messages: str | Sequence[Mapping[str, object]], **options: Any) -> ChatText:
        """The messages as the model's chat template writes them (`prefix.chat_text`), a last assistant turn begun.

        Args:
            messages: One user's turn as a text, or turns as the template takes them.
            **options: Those of `prefix.chat_text`: `system`, and what the template itself takes.
        """
        return chat_text(self.tokenizer, messages, self.name, **options)

    def token_strings(self, ids: Sequence[int]) -> list[str]:
        """Each of `ids` as the text that it stands for, special tokens included."""
        return [self.tokenizer.decode([int(i)]) for i in ids]

    # -- running ----------------------------------------------------------------------------------------------------
    def logits(self, tokens: Tokens, last: int | None = None) -> Float[Tensor, "batch _ d_vocab"]:
        """Next-token logits of each row of `tokens` alone, uncached, under the edits in force.

        Gradients follow the ambient mode.

        One pass, or one for each group of rows that may share it (`Batching`). `last` gives the last so many columns
        alone, which takes less memory.
        """
        rows, width = self._groups(tokens), tokens.ids.shape[1]
        parts = [
            self.forward(part.ids, part.mask, forward_pass, last=last)
            for part, forward_pass in self._passes(tokens, rows)
        ]
        return _joined(parts, rows, min(last or width, width))

    def residuals(
        self, tokens: Tokens, sites: Sites, pooled: Pooled | None = None
    ) -> dict[HookSite, Float[Tensor, "batch ..."]]:
        """The residual stream at `sites`, after any edit in force there, [batch pos d_model].

        Stops at the deepest layer asked for. Padding positions hold meaningless values: use `tokens.mask`. `pooled` is
        given the stream of each site and its tokens while the pass runs, and only what it returns, [batch d_model], is
        kept.

        Raises:
            ValueError: no site, or one outside the model.
        """
        sites = site_list(sites)
        if not sites:
            raise ValueError(f"no sites were asked for: name some, e.g. {self.name}'s model.sites()")
        for site in sites:
            self.check_site(site)
        depth = max(site.layer for site in sites) + 1
        runtime = self.runtime
        return self._read(tokens, dict.fromkeys(sites), depth, runtime, runtime.placed, pooled)

    def activations(self, tokens: Tokens, names: Sequence[str], depth: int) -> dict[str, Float[Tensor, "batch pos _"]]:
        """What the hook points called `names` hold once the first `depth` blocks have run, under the edits in force.

        Rows that may not share a pass (`Batching`) are read apart and put together again.

        Args:
            tokens: What the model reads.
            names: TransformerLens's names of hook points.
            depth: How many blocks run.
        """
        return self._read(tokens, dict.fromkeys(names), depth, self._hooked, self._hooked.named)

    def _read(
        self,
        tokens: Tokens,
        points: Iterable[K],
        depth: int,
        runtime: Runtime,
        placed: Callable[[Mapping[K, Hook]], AbstractContextManager[None]],
        pooled: Pooled | None = None,
    ) -> dict[K, Float[Tensor, "batch ..."]]:
        """What each of `points` holds, by hooks that `placed` places on `runtime`."""
        seen: dict[K, Tensor] = {}
        part = tokens

        def reader(point: K) -> Hook:
            def read(held: Tensor) -> None:
                seen[point] = held if pooled is None else pooled(held, part)

            return read

        rows = self._groups(tokens)
        parts: list[dict[K, Tensor]] = []
        with placed({point: reader(point) for point in points}):
            for part, forward_pass in self._passes(tokens, rows):
                self.forward(part.ids, part.mask, forward_pass, depth=depth, runtime=runtime)
                parts.append(dict(seen))
        return {point: _joined([part[point] for part in parts], rows, tokens.ids.shape[1]) for point in points}

    def _groups(self, tokens: Tokens) -> list[list[int]]:
        """Rows that share a pass; one empty list stands for all of them as they are."""
        if self.batching.free:
            return [[]]
        lengths = tokens.mask.sum(dim=1).tolist()
        return self.batching.groups([self.batching.kind(length) for length in lengths])

    def _passes(self, tokens: Tokens, groups: Sequence[Sequence[int]]) -> Iterator[tuple[Tokens, "ForwardPass"]]:
        whole = self.whole_pass(tokens)
        for rows in groups:
            if not rows:
                yield tokens, whole
                continue
            width = int(tokens.mask[rows].sum(dim=1).max())
            part = Tokens(tokens.ids[rows, -width:], tokens.mask[rows, -width:], tokens.prompt_lengths[rows])
            yield part, ForwardPass(part.positions, part.prompt_lengths, whole.rows[rows], len(tokens))

    def unembed(self, resid: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_vocab"]:
        """The model's output, were `resid` the stream behind its last block: the logit lens's only step.

        Final norm, unembedding, and whatever scales or caps the logits behind it.

        Raises:
            ValueError: the model's output is not that of its last stream, as was measured at load.
        """
        self.check_view("lens")
        return self.output_scale.output(self.unembedded(resid))

    def unembedded(self, resid: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_vocab"]:
        """What the unembedding makes of `resid` before the output is scaled and capped. Use `unembed` for logits."""
        read = self.normed(resid)
        return self.backend.unembed(read.reshape(1, -1, read.shape[-1])).reshape(*resid.shape[:-1], -1)

    def normed(self, resid: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_read"]:
        """What the unembedding reads: `resid` behind the final norm and the projection, where the model has them."""
        flat = resid.reshape(1, -1, self.d_model).to(self.dtype)
        for part in ("ln_final", "project_out"):
            if hasattr(self.backend, part):
                flat = getattr(self.backend, part)(flat)
        return flat.reshape(*resid.shape[:-1], -1)

    @property
    def runtime(self) -> Runtime:
        """What runs a pass now: `plain` where there is one and nothing but edits of the stream hangs on the backend.

        Raises:
            ValueError: the plain runtime was asked for (`running`), and hooks hang on the backend that it does not see.
        """
        if self.plain is None or self._asked == "hooked":
            return self._hooked
        if not self._hooked.n_foreign:
            return self.plain
        if self._asked == "plain":
            raise ValueError(
                f"{self._hooked.n_foreign} hooks hang on model.backend that the plain runtime does not see: take them"
                " off, edit with steer() or model.hooks(), or leave the choice of runtime open"
            )
        return self._hooked

    @property
    def edited(self) -> bool:
        """Whether any edit is in force."""
        return any(self._edits) and not self._paused

    def edits_begin(self, lengths: Int[Tensor, " batch"], rows: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """How many tokens at the front of each prompt no edit in force can change, prompts being `lengths` long.

        0 where an edit does not say where it begins (`Beginning`), or something else hangs on the backend.

        Args:
            lengths: The tokens of each prompt.
            rows: The number of each prompt among all, by which an edit finds its row.
        """
        if self._hooked.n_foreign:
            return torch.zeros_like(lengths)
        begins = lengths
        for _, edit in self._in_force:
            first = edit.begins(lengths, rows) if isinstance(edit, Beginning) else torch.zeros_like(lengths)
            begins = torch.minimum(begins, first.clamp(min=0))
        return begins

    @property
    def _in_force(self) -> list[tuple[HookSite, StreamEdit]]:
        """Every edit with its site, outer blocks first."""
        return [] if self._paused else [pair for edits in self._edits for pair in edits.items()]

    @property
    def edits_stay(self) -> bool:
        """Whether what the edits in force do at a step may be recorded and done again (`Stepwise`)."""
        return all(isinstance(edit, Stepwise) for _, edit in self._in_force)

    def step_edits(self, forward_pass: ForwardPass) -> dict[HookSite, list[Float[Tensor, "batch 1 d_model"]]] | None:
        """What each edit in force adds at the step `forward_pass`, outer ones first; None where one looks."""
        found: dict[HookSite, list[Tensor]] = {}
        for site, edit in self._in_force:
            stepwise: Any = edit
            added = stepwise.step(forward_pass) if isinstance(stepwise, Stepwise) else None
            if added is None:
                return None
            found.setdefault(site, []).append(added)
        return found

    def as_transformers(self) -> Any:
        """The Hugging Face model around the same weights, for whatever takes one: its `generate`, a pipeline.

        Inside a `steer` block it is steered, position rules included: the prompt is what `generate` was called with,
        or all that a call of the model itself reads. It is one object, not a copy: move or change nothing in it.

        Raises:
            ValueError: the model has no plain runtime; and, in a steered pass, padding on the right or untold.
        """
        if self.plain is None:
            raise ValueError(self._without_plain())
        return announcing(self, self.plain.hf_model)

    def _without_plain(self) -> str:
        reason = self.refused.get("plain runtime", "a TransformerLens object comes without plain modules")
        return f"{self.name} has no plain runtime: {reason}"

    def release(self) -> None:
        """Lets go of memory that is only held to be used again."""
        if self.plain is not None:
            self.plain.slots = None

    def settle(self) -> None:
        """Whatever hangs on the backend now counts as a part of it."""
        self._hooked.settle()

    @contextmanager
    def running(self, runtime: RuntimeName) -> Iterator["HookedModel"]:
        """Every pass by the runtime asked for, until the block ends.

        Raises:
            ValueError: an unknown runtime, or "plain" where the model has none.
        """
        outer, self._asked = self._asked, self._has(runtime)
        try:
            yield self
        finally:
            self._asked = outer

    def always(self, runtime: RuntimeName | None) -> "HookedModel":
        """This model, on which the runtime is asked for from now on; None leaves the choice open.

        Raises:
            ValueError: as `running`.
        """
        self._asked = None if runtime is None else self._has(runtime)
        return self

    def _has(self, runtime: RuntimeName) -> RuntimeName:
        if runtime not in get_args(RuntimeName):
            raise ValueError(f"runtime is {runtime!r}: choose one of {', '.join(map(repr, get_args(RuntimeName)))}")
        if runtime == "plain" and self.plain is None:
            raise ValueError(self._without_plain())
        return runtime

    def forward(
        self,
        ids: Int[Tensor, "batch new"],
        mask: Bool[Tensor, "batch pos"],
        forward_pass: ForwardPass,
        cache: Any = None,
        *,
        last: int | None = None,
        depth: int | None = None,
        runtime: Runtime | None = None,
    ) -> Any:
        """Logits of `ids`, the last columns of a sequence whose `mask` also spans what `cache` already holds.

        `last` and `depth` as in `Runtime.forward`. Passes over one cache go through the `runtime` that made it.

        Args:
            ids: Ids of the tokens that are read.
            mask: Which columns hold a token, those in the cache included.
            forward_pass: The pass as hooks see it.
            cache: Keys and values that are held already; None is no cache.
            last: How many last columns get logits; None is all.
            depth: How many blocks are run; None is all.
            runtime: The runtime that made the cache; None is the one in use.
        """
        self.batching.lengths.forget()
        outer, self.forward_pass = self.forward_pass, forward_pass
        try:
            return (runtime or self.runtime).forward(ids, mask, forward_pass.positions, cache, last=last, depth=depth)
        finally:
            self.forward_pass = outer

    def step(
        self,
        ids: Int[Tensor, "batch 1"],
        mask: Float[Tensor, "batch 1 1 room"],
        forward_pass: ForwardPass,
        cache: Any,
        runtime: PlainRuntime,
    ) -> Float[Tensor, "batch d_vocab"]:
        """Logits behind one token a row, in places that stay (`PlainRuntime.step`).

        Args:
            ids: One token for each row.
            mask: What is added to the scores of attention.
            forward_pass: The pass as hooks see it.
            cache: Keys and values in places that stay.
            runtime: The runtime that made the cache.
        """
        outer, self.forward_pass = self.forward_pass, forward_pass
        try:
            return runtime.step(ids, mask, forward_pass.positions, cache)
        finally:
            self.forward_pass = outer

    def new_cache(self, batch: int, runtime: Runtime | None = None, room: int | None = None) -> Any:
        """An empty KV cache of `runtime` for `batch` rows of `room` tokens (`Runtime.new_cache`)."""
        return (runtime or self.runtime).new_cache(batch, room)

    @staticmethod
    def whole_pass(tokens: Tokens) -> ForwardPass:
        """The forward pass that reads all of `tokens`, as hooks see it."""
        rows = torch.arange(len(tokens), device=tokens.ids.device)
        return ForwardPass(tokens.positions, tokens.prompt_lengths, rows, len(tokens))

    # -- editing ----------------------------------------------------------------------------------------------------
    @contextmanager
    def hooks(self, edits: Mapping[HookSite, StreamEdit]) -> Iterator["HookedModel"]:
        """The model with each of `edits` in force at its site, until the block ends, however it ends.

        Nested blocks compose: the inner edit sees what the outer one left. Sites are checked before any hook is placed.

        Raises:
            ValueError: a site outside the model.
        """
        for site in edits:
            self.check_site(site)
        placed = {site: self._hook_of(edit) for site, edit in edits.items()}
        mine = dict(edits)
        with ExitStack() as stack:
            stack.callback(setattr, self, "forward_pass", self.forward_pass)  # an interrupt may have left one behind
            self._edits.append(mine)
            stack.callback(_remove, self._edits, mine)  # blocks entered by hand may end in any order
            for runtime in (self._hooked, self.plain):
                if runtime is not None:
                    stack.enter_context(runtime.placed(placed))
            yield self

    def _hook_of(self, edit: StreamEdit) -> Hook:
        def run(resid: Tensor) -> Tensor | None:
            if self._paused:
                return None
            if self.forward_pass is None:
                raise RuntimeError(
                    "this pass did not say where its tokens stand, so an edit cannot tell prompt from padding: inside a"
                    " steering block call model.logits, model.residuals, generate or model.as_transformers(), not"
                    " model.backend"
                )
            return edit(resid, self.forward_pass)

        return run

    @contextmanager
    def unedited(self) -> Iterator["HookedModel"]:
        """The model as it is without any edit now in force; the edits return when the block ends."""
        with ExitStack() as stack:
            stack.callback(setattr, self, "_paused", self._paused)
            self._paused = True
            yield self

    def __repr__(self) -> str:
        kind = type(self.backend).__name__
        size = f"{self.n_layers} layers x d_model {self.d_model}, {self.n_parameters:,} parameters"
        return f"HookedModel({self.name!r}: {size}, {self.basis} basis, {kind}, {self.dtype}, {self.device})"


def fingerprint_of(parts: Iterable[Tensor]) -> str:
    """First 16 hex digits of a SHA-256 over each tensor's shape and up to 4,096 evenly spaced values, in any order."""
    digests = []
    for part in parts:
        flat = part.detach().reshape(-1)
        sample = flat[:: max(1, flat.numel() // 4096)].float().cpu().numpy().tobytes()
        digests.append(hashlib.sha256(str(tuple(part.shape)).encode() + sample).hexdigest())
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()[:16]


def _remove(held: list[Mapping[HookSite, StreamEdit]], mine: Mapping[HookSite, StreamEdit]) -> None:
    """That very mapping taken out: another block's may be equal to it."""
    held[:] = [edits for edits in held if edits is not mine]


def _joined(
    parts: Sequence[Float[Tensor, "_ ..."]], groups: Sequence[Sequence[int]], width: int
) -> Float[Tensor, "batch ..."]:
    """What groups of rows gave, row by row in the batch's order, zeros where a group had no column."""
    if len(parts) == 1 and not groups[0]:
        return parts[0]
    if parts[0].ndim == 3:
        parts = [torch.nn.functional.pad(part, (0, 0, width - part.shape[1], 0)) for part in parts]
    wide = torch.cat(list(parts))
    order = torch.tensor([row for rows in groups for row in rows], device=wide.device)
    return wide[order.argsort()]
