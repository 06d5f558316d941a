"""Processes of this machine, started afresh, one thread each; each on a GPU of its own where asked for."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, get_context
from typing import Any

from steering_lab.executors.executor import WorkerDied

SECONDS = 10.0  # that an idle worker has to end in


class Processes:
    """An engine of `multiprocessing`: `workers` processes, `gpus` each. The pipe to a worker stands for its job."""

    def __init__(self, workers: int, gpus: int) -> None:
        if gpus > 1:
            raise ValueError(f"a process has one GPU at most, not {gpus}: use ray or slurm")
        self._gpu = bool(gpus)
        self._free = list(range(workers))
        self._alive: dict[int, tuple[Any, Any]] = {}  # by its number: the process and our end of its pipe
        self._doing: dict[Any, int] = {}

    def submit(self, job: bytes) -> Any:
        """Our end of the pipe to the worker that does the job."""
        number = self._free.pop()
        if number not in self._alive:
            context = get_context("spawn")
            ours, theirs = context.Pipe()
            worker = context.Process(target=serve, args=(theirs,), daemon=True)
            with seeing(number if self._gpu else None):
                worker.start()
            theirs.close()  # only the worker holds it now, so our end shows when the worker has ended
            self._alive[number] = worker, ours
        pipe = self._alive[number][1]
        self._doing[pipe] = number
        with suppress(OSError):  # a worker that died since it was last asked: `answer` says so
            pipe.send_bytes(job)
        return pipe

    def finished(self, handles: Collection[Any]) -> Collection[Any]:
        """Those of `handles`, pipes to workers, with an answer in them, or at their end."""
        return connection.wait(list(handles))

    def answer(self, handle: Any) -> bytes:
        """What the worker at the pipe `handle` sent."""
        number = self._doing.pop(handle)
        self._free.append(number)
        try:
            return handle.recv_bytes()
        except (EOFError, OSError):
            worker, pipe = self._alive.pop(number)
            worker.join()
            pipe.close()
            raise WorkerDied(f"exit status {worker.exitcode}") from None

    def close(self) -> None:
        """Idle ones end by themselves; one that works is killed: it holds nothing that is not here too."""
        for number, (worker, pipe) in self._alive.items():
            if number in self._doing.values():
                worker.kill()
            pipe.close()
            worker.join(SECONDS)
            worker.kill()
            worker.join()
        self._free += self._doing.values()
        self._alive, self._doing = {}, {}


def serve(pipe: Any) -> None:
    """Does jobs from `pipe` one after another, and sends each answer, until the other end of the pipe is closed."""
    from steering_lab.executors.worker import do

    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            pipe.send_bytes(do(pipe.recv_bytes()))


@contextmanager
def seeing(gpu: int | None) -> Iterator[None]:
    """A process that starts inside sees the one of our GPUs that is number `gpu`; with None, whatever we see."""
    ours = os.environ.get("CUDA_VISIBLE_DEVICES")
    if gpu is not None:
        seen = ours.split(",") if ours else [str(i) for i in range(gpu + 1)]
        os.environ["CUDA_VISIBLE_DEVICES"] = seen[gpu] if gpu < len(seen) else ""
    try:
        yield
    finally:
        if gpu is not None and ours is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        elif gpu is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = str(ours)
