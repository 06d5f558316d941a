"""Groups of cells handed to an engine's workers, and done again where a worker ends in the middle of one."""

import pickle
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from steering_lab.evaluation.running.groups import Failed, Found, Work, numerics_of
from steering_lab.executors.worker import Job
from steering_lab.models.hooked_model import HookedModel

TRIES = 3


class WorkerDied(RuntimeError):
    """A worker ended without an answer."""


@runtime_checkable
class Engine(Protocol):
    """Workers that each do one job at a time. A handle is whatever stands for a job that is being done."""

    def submit(self, job: bytes) -> Any:
        """Begins a job where a worker is free; starts a worker where one is missing."""

    def finished(self, handles: Collection[Any]) -> Collection[Any]:
        """Waits until one of `handles` or more has an answer, or has lost its worker; returns those."""

    def answer(self, handle: Any) -> bytes:
        """What the finished job of `handle` gave. Raises `WorkerDied` where it gave nothing."""

    def close(self) -> None:
        """Ends the workers, whatever they do."""


class Executor:
    """Does groups with `workers` workers of `engine`, who keep the model from one call to the next.

    A worker that ends early (killed, preempted, lost) costs the group that it was doing, which another does again: at
    most `TRIES` workers try one group. A context: leaving it ends the workers.
    """

    def __init__(self, engine: Engine, workers: int) -> None:
        self._engine, self._workers = engine, workers

    def __call__(self, model: HookedModel, works: Sequence[Work]) -> Iterator[tuple[Work, Found | Failed]]:
        """Each piece of work with its cells or why it failed, in the order in which they end.

        Raises:
            ValueError: a model that came from memory, which no worker can load.
            RuntimeError: a worker cannot load the model or has another one, or a single row is too much for its memory.
        """
        if works and model.loaded_as is None:
            raise ValueError(f"{model.name} came from memory, and workers load a model by its name: load_model(name)")
        waiting = deque((work, 1) for work in works)
        running: dict[Any, tuple[Work, int]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self._workers:
                    work, turn = waiting.popleft()
                    running[self._engine.submit(_job(model, work))] = work, turn
                for handle in self._engine.finished(list(running)):
                    work, turn = running.pop(handle)
                    try:
                        found: Found | Failed = _read(self._engine.answer(handle))
                    except WorkerDied as death:
                        if turn < TRIES:
                            waiting.appendleft((work, turn + 1))
                            continue
                        found = Failed(RuntimeError(f"{turn} workers died of it, the last one with {death}"))
                    yield work, found
        finally:
            if running:  # an error ends the sweep, and what is still being done is not needed
                self.close()

    def __enter__(self) -> "Executor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers; the next call starts others."""
        self._engine.close()


def _job(model: HookedModel, work: Work) -> bytes:
    assert model.loaded_as is not None
    return pickle.dumps(Job(model.loaded_as, numerics_of(model), work.plain()))


def _read(answer: bytes) -> Found | Failed:
    """What the worker's answer stands for here."""
    kind, value = pickle.loads(answer)
    if kind == "stop":
        raise RuntimeError(value)
    return Failed(value) if kind == "failed" else value
