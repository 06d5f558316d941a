"""Where groups of cells run: in this process, in processes of this machine, on Ray, or as jobs of a SLURM cluster.

The engines are other people's: the standard library's processes, Ray, and submitit. What they are given is one group of
conditions as plain values and the arguments by which the model was loaded; what comes back are the group's cells. This
process keeps them in the run's folder under the keys that they would have here, so an executor changes neither cache
nor table. It also does everything that is not a cell: vectors, norms, choosing, pages.
"""

from pathlib import Path
from typing import Literal

from steering_lab.executors.executor import Executor, WorkerDied

__all__ = ["Executor", "ExecutorName", "WorkerDied", "executor"]

ExecutorName = Literal["local", "processes", "ray", "slurm"]


def executor(name: ExecutorName, *, workers: int = 2, gpus_per_worker: int = 0, jobs: Path) -> Executor:
    """The executor of that name, for `run_conditions(elsewhere=...)`.

    Args:
        name: "local" is none: leave `elsewhere` out.
        workers: How many groups run at a time.
        gpus_per_worker: GPUs of each; a process has one at most.
        jobs: Where SLURM's job files go, on a disk that every machine sees.

    Raises:
        ValueError: an unknown name, "local", fewer workers than 1, or more GPUs for a process than 1.
        ImportError: Ray or submitit is not installed.
        RuntimeError: there is no SLURM here.
    """
    if workers < 1 or gpus_per_worker < 0:
        raise ValueError(f"workers is {workers} and gpus_per_worker {gpus_per_worker}: 1 and 0 are the least")
    if name == "processes":
        from steering_lab.executors.processes import Processes

        return Executor(Processes(workers, gpus_per_worker), workers)
    if name == "ray":
        from steering_lab.executors.on_ray import OnRay

        return Executor(OnRay(workers, gpus_per_worker), workers)
    if name == "slurm":
        from steering_lab.executors.on_slurm import OnSlurm

        return Executor(OnSlurm(jobs, gpus_per_worker), workers)
    raise ValueError(f"executor {name!r} is none of processes, ray, slurm; for local, give none")
