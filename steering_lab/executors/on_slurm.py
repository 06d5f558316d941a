"""Jobs of a SLURM cluster as workers, through submitit: one job a group.

What sbatch has to be told beyond cores and GPUs (partition, account, time limit), its own environment variables tell
it: SBATCH_PARTITION, SBATCH_ACCOUNT, SBATCH_TIMELIMIT. A job loads the model for its one group, so groups should be
large: `batch_size` makes them so.
"""

import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from steering_lab.executors.executor import WorkerDied
from steering_lab.executors.worker import do

SECONDS = 1.0  # between two looks at the jobs
MINUTES = 24 * 60  # that a job may take where SBATCH_TIMELIMIT does not say


class OnSlurm:
    """An engine of submitit: files in `folder`, `gpus` for each job; `cluster="local"` runs jobs as processes here."""

    def __init__(self, folder: Path, gpus: int, cluster: Literal["slurm", "local"] = "slurm") -> None:
        try:
            import submitit
        except ImportError as error:
            raise ImportError("this executor needs submitit: pip install 'steering-lab[slurm]'") from error
        if cluster == "slurm" and shutil.which("srun") is None:
            raise RuntimeError("there is no SLURM here (srun is not found): choose another executor")
        self._submitit = submitit
        self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        self._executor.update_parameters(name="steering-lab", cpus_per_task=1, gpus_per_node=gpus, timeout_min=MINUTES)
        self._jobs: list[Any] = []

    def submit(self, job: bytes) -> Any:
        """submitit's job."""
        handle = self._executor.submit(do, job)
        self._jobs.append(handle)
        return handle

    def finished(self, handles: Collection[Any]) -> Collection[Any]:
        """Those of `handles`, submitit's jobs, that have ended, however."""
        while not (ended := [handle for handle in handles if handle.done()]):
            time.sleep(SECONDS)
        return ended

    def answer(self, handle: Any) -> bytes:
        """What the job `handle` returned; its files are removed, unless it failed."""
        self._jobs.remove(handle)
        try:
            found = handle.result()
        except (self._submitit.core.utils.FailedJobError, self._submitit.core.utils.UncompletedJobError) as error:
            raise WorkerDied(f"job {handle.job_id}, see {handle.paths.stderr}") from error
        for file in (handle.paths.submitted_pickle, handle.paths.result_pickle):
            with suppress(OSError):
                file.unlink()
        return found

    def close(self) -> None:
        """Cancels what still runs."""
        for job in self._jobs:
            job.cancel(check=False)
        self._jobs = []
