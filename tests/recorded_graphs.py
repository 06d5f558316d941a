"""CUDA graphs as they behave, on a CPU: what a block does to tensors is recorded, not done, and done again at a replay.

Like a graph, a recording knows nothing of Python: it repeats operations on the very memory that they were recorded on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from steering_lab.models import sampling, slots
from steering_lab.models.hooked_model import HookedModel

WAITS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal")


class _Recorder(TorchDispatchMode):
    """Fills `calls` with what is done; takes back what it did to memory at the end."""

    def __init__(self, calls: list[Callable[[], None]]) -> None:
        super().__init__()
        self.calls, self.before = calls, list[tuple[Tensor, Tensor]]()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        given = kwargs or {}
        schema = func._schema
        if schema.name.split("::")[1] in WAITS:
            raise RuntimeError(f"{schema.name}: operation not permitted when stream is capturing")
        named = dict(zip((argument.name for argument in schema.arguments), args, strict=False)) | given
        for argument in schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                self.before += [(x, x.clone()) for x in tree_flatten(named[argument.name])[0] if torch.is_tensor(x)]
        out = func(*args, **given)
        fresh = all(returned.alias_info is None for returned in schema.returns)
        made = [x for x in tree_flatten(out)[0] if torch.is_tensor(x)] if fresh else []

        def again() -> None:
            for old, new in zip(made, tree_flatten(func(*args, **given))[0], strict=False):
                old.copy_(new)

        self.calls.append(again)
        return out

    def take_back(self) -> None:
        for held, value in reversed(self.before):
            held.copy_(value)


class Recording:
    """Stands for a `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def replay(self) -> None:
        for call in self.calls:
            call()


class _Stream:
    def wait_stream(self, other: object) -> None:
        """Nothing: here everything is done in turn."""


class Recordings(list[Recording]):
    """Those that were made, and the stream that operations go to now."""

    current = MAIN = _Stream()

    @contextmanager
    def on(self, stream: _Stream) -> Iterator[None]:
        outer, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = outer


def recorded_graphs(monkeypatch: pytest.MonkeyPatch) -> Recordings:
    """Slots made from now on record and replay their steps; fills with the recordings."""
    made = Recordings()
    build = slots.Slots.__init__

    def recording(self: slots.Slots, model: HookedModel, shape: slots.Shape) -> None:
        build(self, model, shape)
        self.captures = True
        self.aside = _Stream()

    @contextmanager
    def graph(into: Recording, pool: object, stream: _Stream) -> Iterator[None]:
        recorder = _Recorder(into.calls)
        outer, made.current = made.current, stream  # and there it stays after an error, as torch's does
        try:
            with recorder:
                yield
        finally:
            recorder.take_back()
        made.current = outer
        made.append(into)

    monkeypatch.setattr(slots.Slots, "__init__", recording)
    monkeypatch.setattr(sampling, "FEW", 1 << 30)  # a short cut of CPUs looks at what it has found
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Recording)
    monkeypatch.setattr(torch.cuda, "stream", made.on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: made.current)
    return made
