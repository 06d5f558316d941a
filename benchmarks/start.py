"""(g) CPU-seconds until the command line answers, and until the package can be used."""

import os
import resource
import subprocess
import sys

from benchmarks.timing import Took, spread, table, took

COMMANDS = {
    "python itself": ["-c", "pass"],
    "steering-lab --help": ["-m", "steering_lab.cli", "--help"],
    "steering-lab steer --help": ["-m", "steering_lab.cli", "steer", "--help"],
    "import steering_lab": ["-c", "import steering_lab"],
    "from steering_lab import load_model": ["-c", "from steering_lab import load_model"],
    "import torch": ["-c", "import torch"],
}


def report(*, rounds: int = 5) -> str:
    """The table: seconds of a process of its own, its start and end included."""
    for command in COMMANDS.values():
        _seconds(command)  # compiles and reads what is not in memory yet
    found = {name: [_seconds(command) for _ in range(rounds)] for name, command in COMMANDS.items()}
    rows = [
        {"": name, "CPU-s": spread(x.cpu for x in times), "wall-s": spread(x.wall for x in times), "rounds": rounds}
        for name, times in found.items()
    ]
    return table("(g) a process of its own", rows)


def _seconds(command: list[str]) -> Took:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}  # which would compile all every time
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = took(lambda: subprocess.run([sys.executable, *command], env=env, check=True, capture_output=True))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.wall)
