"""How many threads torch computes with: what this process may use, where nobody said otherwise.

In a container torch counts the machine's cores, not the share it was given, and threads that have no core wait for one
another. The load of other processes is left out of it: a sum in other portions has other last bits, and a run that goes
on tomorrow must end as if it had never stopped. `OMP_NUM_THREADS` is how to choose.
"""

import math
import os
from pathlib import Path

import psutil
import torch

QUOTA = Path("/sys/fs/cgroup/cpu.max")


def use_what_there_is() -> None:
    """No more threads than cores; untouched where OMP_NUM_THREADS or torch.set_num_threads asked for fewer."""
    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > (cores := cores_to_use()):
        torch.set_num_threads(cores)


def cores_to_use() -> int:
    """Cores of this machine that this process may run on, and has time for under its container's quota."""
    found = [psutil.cpu_count(logical=False) or os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        found.append(len(os.sched_getaffinity(0)))
    try:
        quota, period = QUOTA.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return min(found)
    return min(found) if quota == "max" else min(*found, math.ceil(int(quota) / int(period)))
