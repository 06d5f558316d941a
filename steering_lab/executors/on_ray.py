"""Ray's actors as workers: on the cluster that RAY_ADDRESS names, or on this machine."""

from collections.abc import Collection
from typing import Any

from steering_lab.executors.executor import WorkerDied


class OnRay:
    """An engine of Ray: an actor for each of `workers`, one core and `gpus` GPUs each, which Ray finds room for."""

    def __init__(self, workers: int, gpus: int) -> None:
        try:
            import ray
        except ImportError as error:
            raise ImportError("this executor needs Ray: pip install 'steering-lab[ray]'") from error
        self._ray, self._gpus = ray, gpus
        self._began = False
        self._free: list[Any] = [None] * workers
        self._doing: dict[Any, Any] = {}

    def submit(self, job: bytes) -> Any:
        """Ray's reference to the answer to `job`."""
        if not self._ray.is_initialized():
            self._ray.init(log_to_driver=False, include_dashboard=False)
            self._began = True
        actor = self._free.pop()
        if actor is None:
            actor = self._ray.remote(_Worker).options(num_cpus=1, num_gpus=self._gpus).remote()
        handle = actor.do.remote(job)
        self._doing[handle] = actor
        return handle

    def finished(self, handles: Collection[Any]) -> Collection[Any]:
        """Those of `handles`, Ray's references, that have an answer or an error."""
        return self._ray.wait(list(handles), num_returns=1)[0]

    def answer(self, handle: Any) -> bytes:
        """What the actor returned for `handle`."""
        actor = self._doing.pop(handle)
        try:
            found = self._ray.get(handle)
        except self._ray.exceptions.RayActorError as error:
            self._free.append(None)
            raise WorkerDied(str(error).splitlines()[0]) from error
        self._free.append(actor)
        return found

    def close(self) -> None:
        """Ends the actors, and Ray where it was started here."""
        if not self._ray.is_initialized():
            return
        actors = [actor for actor in (*self._free, *self._doing.values()) if actor is not None]
        for actor in actors:
            self._ray.kill(actor)
        self._free = [None] * (len(self._free) + len(self._doing))
        self._doing = {}
        if self._began:
            self._ray.shutdown()
            self._began = False


class _Worker:
    def do(self, job: bytes) -> bytes:
        from steering_lab.executors.worker import do

        return do(job)
