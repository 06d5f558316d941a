"""Decoding on a GPU: rows in fixed places, a step that is one CUDA graph, and waiting rows in the places of ended ones.

The step reads each row's last token, edits, penalises, draws and moves on without asking the host anything; every few
steps the host looks at what was drawn. What an edit adds whatever the stream holds lies in tables that are filled anew
for other rows, so that a graph serves all the batches of a sweep; a graph with edits of another kind, or with a rule,
serves one call. Where a step cannot be captured it runs ungraphed.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from weakref import ref

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.models.decoding import LEAVING, LOOK, Batch, Drawn, Ending, LogitsRule, Stream
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.memory import bytes_of_token, is_out_of_memory
from steering_lab.models.progress import done_meanwhile
from steering_lab.models.runtimes.fixed import Lane
from steering_lab.models.runtimes.norms import fused_norms
from steering_lab.models.runtimes.parity import rounding
from steering_lab.models.runtimes.plain import PlainRuntime
from steering_lab.models.sampling import Sampling, draw, or_no_token, token_counts

STAYS = ("cuda",)  # kinds of device whose rows stay in their places
PREFILL = 1 << 29  # bytes that reading prompts may take beside the cache: more is no faster
KEPT = 64  # graphs
ROOM = 16  # columns come in such portions, which kernels of attention like


@dataclass(frozen=True)
class Shape:
    """What fixes the memory of slots: rows, tokens of a row, steps, streams, and what is counted and kept of each.

    Args:
        n: Rows.
        room: Tokens of a row.
        steps: Steps of a call.
        lanes: Streams.
        counts: Whether tokens are counted, for a penalty.
        nats: Whether log-probabilities are kept.
    """

    n: int
    room: int
    steps: int
    lanes: int
    counts: bool
    nats: bool

    def serves(self, other: "Shape") -> bool:
        """Whether slots of this shape do the work of the other well: more rows do no harm, far more room would."""
        holds = self.lanes >= other.lanes and self.counts >= other.counts and self.nats >= other.nats
        return holds and self.n >= other.n and self.steps >= other.steps and other.room <= self.room <= 2 * other.room

    def also(self, other: "Shape") -> "Shape":
        """This shape, that counts and keeps what the other does too: calls of both kinds in turn then share slots."""
        return replace(self, counts=self.counts or other.counts, nats=self.nats or other.nats)


class Slots:
    """Rows in fixed places (`Lane`) of a `shape`, what `model` draws for them, and the graphs of their steps."""

    def __init__(self, model: HookedModel, shape: Shape) -> None:
        device, n, steps = model.device, shape.n, shape.steps + 1  # a last step more, for rows that are through
        self._model = ref(model)  # which holds these slots: both go together
        self.shape = self.asked = shape
        self.lanes = [Lane(n, shape.room, model.n_layers, model.dtype, device) for _ in range(shape.lanes)]
        self.token, self.step = (torch.zeros(n, 1, dtype=torch.long, device=device) for _ in range(2))
        self.drawn = torch.zeros(n, steps, dtype=torch.long, device=device)
        self.uniforms = torch.zeros(n, steps, device=device, dtype=torch.float32)
        self.nats = torch.zeros_like(self.uniforms) if shape.nats else None
        self.counts = self.uniforms.new_zeros(n, model.d_vocab) if shape.counts else None
        self.tables: dict[HookSite, list[Float[Tensor, "n 1 d_model"]]] = {}
        self.added: dict[HookSite, int] | None = {}  # how many tables are in use; None where edits need the stream
        self.kept: dict[Any, Any] = {}  # graphs, by what a step does
        self.own: dict[Any, Any] = {}  # those of the call under way
        self.captures = self.recording = device.type == "cuda"  # ever; in the call under way
        self.pool = torch.cuda.graph_pool_handle() if self.captures else None
        self.aside: Any = torch.cuda.Stream(device) if self.captures else None
        self.bound_to = _bound_to(model)
        self._edits = True

    @property
    def model(self) -> HookedModel:
        model = self._model()
        assert model is not None
        return model

    @property
    def runtime(self) -> PlainRuntime:
        assert self.model.plain is not None
        return self.model.plain

    @property
    def n_bytes(self) -> int:
        """What its keys and values take."""
        layers = [layer for lane in self.lanes for layer in lane.cache.layers if layer.is_initialized]
        return sum(x.numel() * x.element_size() for layer in layers for x in (layer.keys, layer.values))

    def begin(self, steps: int, sampling: Sampling, rule: LogitsRule | None, n_batch: int) -> None:
        """Another call: nobody is in the places, where what is written is thrown away.

        Args:
            steps: How many tokens a row gets at most.
            sampling: How tokens are drawn.
            rule: What combines the logits of two streams.
            n_batch: Rows of the caller's whole batch.
        """
        self.steps, self.sampling, self.rule, self.n_batch = steps, sampling, rule, n_batch
        self.own, self.recording = {}, self.captures
        for held in (self.token, self.step):
            held.zero_()
        for lane in self.lanes:
            lane.clear()

    def take(self, places: Sequence[int], batch: Batch) -> None:
        """Rows of `batch`, whose prompts are read and whose first token is drawn here, come to stand in `places`."""
        logits = batch.logits()
        stream, where = batch.stream, torch.tensor(places, device=self.token.device)
        counts = None
        if self.counts is not None and self.sampling.counts_tokens:
            counts = token_counts(stream.ids, stream.mask, self.model.d_vocab)
        drawn = draw(logits, self.sampling, batch.uniforms[:, 0], counts)
        chosen = drawn[:, None]
        self.token[where], self.step[where] = chosen, 1
        self.drawn[where, 0] = or_no_token(drawn, logits)
        self.uniforms[where, : self.steps] = batch.uniforms
        if self.nats is not None:
            self.nats[where, :1] = logits.gather(-1, chosen) - logits.logsumexp(dim=-1, keepdim=True)
        if self.counts is not None and counts is not None:
            self.counts[where] = counts.scatter_add_(1, chosen, torch.ones_like(counts[:, :1]))
        for lane, one in zip(self.lanes, batch.streams, strict=False):  # the second one serves rules alone
            lane.take(where, one)

    def gather(self, places: Sequence[int]) -> None:
        """The rows in these places move to the front."""
        where = torch.tensor(places, device=self.token.device)
        for held in (self.token, self.step, self.drawn, self.uniforms, self.nats, self.counts):
            if held is not None:
                held[: len(where)] = held[where]
        for lane in self.lanes:
            lane.gather(where)

    def settle(self, n: int) -> None:
        """The tables of what edits add say what they add to the first `n` rows as they stand now."""
        found = self.model.step_edits(self.lanes[0].forward_pass(n, self.n_batch))
        self.added = None if found is None else {site: len(each) for site, each in found.items()}
        for site, each in (found or {}).items():
            tables = self.tables.setdefault(site, [])
            tables += [one.new_zeros(self.shape.n, *one.shape[1:]) for one in each[len(tables) :]]
            for table, one in zip(tables, each, strict=False):
                table[:n] = one

    def go(self, n: int, times: int) -> None:
        """`times` tokens more for each of the first `n` rows."""
        graphs = self.kept if self.rule is None and self.added is not None else self.own
        key = (n, self.sampling, *(self.added or {}).items())
        if times and key not in graphs:
            with self._editing():
                while times and key not in graphs:
                    self._record(n, graphs, key)
                    times -= 1
        for _ in range(times):
            graphs[key].replay()

    def _record(self, n: int, graphs: dict[Any, Any], key: Any) -> None:
        """A step, and the graph of the next ones where that can be had."""
        if not self.recording:
            self._step(n)
            return
        here = torch.cuda.current_stream(self.token.device)  # which need not be the current device
        self.aside.wait_stream(here)
        with torch.cuda.stream(self.aside):  # torch.cuda.graph alone stays there when a capture fails
            self._step(n)  # warms up what the graph will call
            here.wait_stream(self.aside)
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph, pool=self.pool, stream=self.aside):
                    self._step(n)
            except RuntimeError as error:  # what waits for the host, as a choice of experts may, cannot be captured
                self.recording = False
                self.captures = graphs is self.own  # an edit or a rule of this call may be what waits
                said = " ".join(str(error).split())[:200]
                warnings.warn(f"{self.model.name} decodes without CUDA graphs, more slowly: {said}", stacklevel=2)
            else:
                if len(graphs) == KEPT:
                    graphs.clear()
                graphs[key] = graph

    def since(self, places: Sequence[int], steps: Sequence[int], n: int) -> tuple[list[list[int]], list[list[float]]]:
        """What was drawn in each of these places in `n` steps from its own of `steps` on, and its nats if kept."""
        device = self.token.device
        where = torch.tensor(places, device=device)[:, None]
        columns = torch.tensor(steps, device=device)[:, None] + torch.arange(n, device=device)
        columns = columns.clamp(max=self.shape.steps)
        nats = [[] for _ in places] if self.nats is None else self.nats[where, columns].tolist()
        return self.drawn[where, columns].tolist(), nats

    def _step(self, n: int) -> None:
        logits = self._pass(self.lanes[0], n)
        if self.rule is not None:
            self._edits = False
            try:
                with self.model.unedited():
                    logits = self.rule(logits, self._pass(self.lanes[1], n))
            finally:
                self._edits = True
        step, token = self.step[:n], self.token[:n]
        counts = self.counts[:n] if self.counts is not None and self.sampling.counts_tokens else None
        uniforms = self.uniforms[:n].gather(1, step).squeeze(1)
        drawn = draw(logits, self.sampling, uniforms, counts)
        chosen = drawn[:, None]
        self.drawn[:n].scatter_(1, step, or_no_token(drawn, logits)[:, None])
        if self.nats is not None:
            self.nats[:n].scatter_(1, step, logits.gather(-1, chosen) - logits.logsumexp(dim=-1, keepdim=True))
        if counts is not None:
            counts.scatter_add_(1, chosen, torch.ones_like(counts[:, :1]))
        token.copy_(chosen)
        step.add_(1).clamp_(max=self.shape.steps)

    def _pass(self, lane: Lane, n: int) -> Float[Tensor, "n d_vocab"]:
        forward_pass = lane.forward_pass(n, self.n_batch)
        logits = self.model.step(self.token[:n], lane.see(n), forward_pass, lane.cache, self.runtime)
        lane.advance(n, self.model.n_ctx)
        return logits.float()

    @contextmanager
    def _editing(self) -> Iterator[None]:
        """The edits in force by their tables, or, where they have none, as they are."""
        with ExitStack() as stack:
            if self.token.is_cuda:
                stack.enter_context(fused_norms(self.runtime.hf_model))
            if self.added is not None:
                stack.enter_context(self.model.unedited())
                stack.enter_context(self.runtime.placed({site: self._adding(site) for site in self.added}))
            yield

    def _adding(self, site: HookSite) -> Callable[[Tensor], Tensor | None]:
        def run(resid: Tensor) -> Tensor | None:
            if not self._edits or self.added is None:
                return None
            for table in self.tables[site][: self.added[site]]:
                resid = resid + table[: len(resid)].to(resid.dtype)
            return resid

        return run


def decode_in_slots(
    slots: Slots, lengths: Sequence[int], batch_of: Callable[[list[int]], Batch], ending: Ending
) -> Drawn:
    """As `decode`, for as many rows as there are `lengths`; `batch_of` gives those of some of them, unread.

    Args:
        slots: Begun.
        lengths: Tokens of each row that are read before the first is drawn.
        batch_of: The rows at some places among `lengths`.
        ending: See `decode`.
    """
    steps, total = slots.steps, len(lengths)
    most = PREFILL // bytes_of_token(slots.model)
    waiting = [*range(total)]
    said: list[list[int]] = [[] for _ in waiting]
    nats: list[list[float]] = [[] for _ in waiting]
    live: dict[int, int] = {}  # the row in each place
    n = slots.asked.n
    while waiting or live:
        free = [place for place in range(n) if place not in live]
        if waiting and len(free) >= LEAVING * n:
            while waiting and free:
                some = _portion(waiting[: len(free)], lengths, most)
                slots.take(free[: len(some)], batch_of(some))
                live |= dict(zip(free, some, strict=False))
                waiting, free = waiting[len(some) :], free[len(some) :]
            slots.settle(n)
        elif not waiting and (fewer := rounded(len(live))) < n and len(live) <= (1 - LEAVING) * n:
            places = sorted(live)
            live = {place: live[held] for place, held in enumerate(places)}
            slots.gather((places * fewer)[:fewer])
            n = fewer
            slots.settle(n)
        before = {i: len(said[i]) for i in live.values()}
        ahead = min(LOOK, max(steps - max(1, done) for done in before.values()))
        slots.go(n, ahead)
        done_meanwhile(len(live) * ahead)
        seen = slots.since([*live], [*before.values()], ahead + 1)
        for (place, i), tokens, scores in zip([*live.items()], *seen, strict=True):
            now = min(steps, max(1, before[i]) + ahead)
            said[i] += tokens[: now - before[i]]
            nats[i] += scores[: now - before[i]]
            end = ending(i, said[i], before[i]) or (steps if now == steps else 0)
            if end:
                del live[place]
                said[i], nats[i] = said[i][:end], nats[i][:end]
    return Drawn(said, nats if slots.asked.nats else None)


def _portion(waiting: Sequence[int], lengths: Sequence[int], most: int) -> list[int]:
    """The first of the waiting rows, `most` tokens together with their padding, at least one."""
    longest = 0
    for i, row in enumerate(waiting):
        longest = max(longest, lengths[row])
        if i and (i + 1) * longest > most:
            return [*waiting[:i]]
    return [*waiting]


def rounded(n: int) -> int:
    """The least of 1, 2, 4, 8, 16, 24, 32, 48, 64, 96, ... that is `n` or more: so many shapes have graphs."""
    size = 1
    while size < n:
        size = size * 3 // 2 if size >= 16 and size & (size - 1) == 0 else size * 4 // 3 if size % 3 == 0 else size * 2
    return size


def _bound_to(model: HookedModel) -> list[Any]:
    """What graphs are bound to: where weights and buffers are, how attention is computed, the longest context."""
    assert model.plain is not None
    hf_model = model.plain.hf_model
    held = [*hf_model.parameters(), *hf_model.buffers()]
    return [model.plain.attention, model.n_ctx, hf_model.training, *(x.data_ptr() for x in held)]


def slots_of(model: HookedModel, shape: Shape) -> Slots:
    """Slots of `model` for `shape`: those of the last call where they serve, so that graphs are used again."""
    assert model.plain is not None
    held = model.plain.slots
    if held is None or not held.shape.serves(shape) or held.bound_to != _bound_to(model):
        made = shape if held is None else shape.also(held.shape)
        model.plain.slots = held = None  # before others are made: there may be no memory for both
        model.plain.slots = held = Slots(model, made)
    held.asked = shape
    return held


def bytes_held(model: HookedModel) -> int:
    """What the slots of the last call of `model` keep for the next one."""
    return 0 if model.plain is None or model.plain.slots is None else int(model.plain.slots.n_bytes)


def can_stay(model: HookedModel) -> bool:
    """Whether rows of this model, under the edits in force, can be decoded in places that stay.

    The weights are on one device, a cache is keys and values, and a step there gives what it gives elsewhere, as is
    tried once. Hooks that are no edits of ours may do what a graph would not repeat, and what torch.autocast has cast
    does not outlive its block.
    """
    runtime, batching = model.runtime, model.batching
    if not isinstance(runtime, PlainRuntime) or runtime.n_foreign or not model.edits_stay:
        return False
    if torch.is_autocast_enabled(model.device.type):
        return False
    if not (batching.free and batching.caches and batching.interleaves):
        return False
    if runtime.stays is None:
        runtime.stays = len({p.device for p in runtime.hf_model.parameters()}) == 1 and _step_holds(model, runtime)
    return runtime.stays


@torch.no_grad()
def _step_holds(model: HookedModel, runtime: PlainRuntime) -> bool:
    """Whether a padded pair goes on in a `Lane` as it goes on where it was read."""
    front = model.front_ids or [0]
    row = [*front, *(i % model.d_vocab for i in range(5, 11))]
    new = torch.tensor([7, 6], device=model.device) % model.d_vocab
    try:
        stream = Stream(
            model, model.pad([row, row[:3]]), torch.arange(2, device=model.device), 2, new_tokens=1, use_cache=True
        )
        with model.unedited():
            stream.logits()
            lane = Lane(2, len(row) + 2, model.n_layers, model.dtype, model.device)
            lane.take(stream.rows, stream)
            stream.append(new)
            got = model.step(new[:, None], lane.see(2), lane.forward_pass(2, 2), lane.cache, runtime).float()
            wanted = stream.logits()
    except Exception as error:  # whatever modules that want another mask or cache run into
        if is_out_of_memory(error):  # which says nothing of the modules
            raise
        return False
    return float((got - wanted).abs().max()) <= rounding(model) * float(wanted.abs().max())
