"""Seconds of calls that take turns, and tables of them.

Machines drift and are shared, so no figure stands alone: calls run in turn, round after round, and a ratio is taken
within a round. CPU-seconds are the process's own (`time.process_time`), and other work beside it hardly moves them;
wall seconds stand beside them, and are what counts where a GPU works.
"""

import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers

from steering_lab.models.provenance import git_commit


class Took(NamedTuple):
    """Seconds of one call."""

    cpu: float
    wall: float


def took(call: Callable[[], object]) -> Took:
    """What one call takes, until the device has finished it."""
    _finish()
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    _finish()
    return Took(time.process_time() - cpu, time.perf_counter() - wall)


def interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int, fewer: Mapping[str, int] | None = None
) -> dict[str, list[Took]]:
    """What each call took in each round; every other round runs backwards.

    `fewer` gives a slow call less rounds, the first ones. Nothing is warmed up: calls do that before, in small.

    Raises:
        ValueError: no calls, or fewer than one round.
    """
    if not calls or rounds < 1:
        raise ValueError(f"nothing to time: {len(calls)} calls, {rounds} rounds")
    found: dict[str, list[Took]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name in reversed(list(calls)) if turn % 2 else list(calls):
            if turn < (fewer or {}).get(name, rounds):
                found[name].append(took(calls[name]))
    return found


def ratios(found: Sequence[Took], reference: Sequence[Took], *, wall: bool = False) -> list[float]:
    """Seconds over those of `reference` in the same round: CPU-seconds, or wall seconds."""
    return [a[wall] / b[wall] for a, b in zip(found, reference, strict=False)]


def spread(values: Iterable[float], digits: int = 2) -> str:
    """Median, and least and most where there are several values."""
    held = list(values)
    said = f"{median(held):.{digits}f}"
    return said if len(held) < 2 else f"{said} ({min(held):.{digits}f}-{max(held):.{digits}f})"


def times_table(
    title: str,
    found: Mapping[str, Sequence[Took]],
    reference: str,
    more: Mapping[str, Mapping[str, object]] | None = None,
) -> str:
    """CPU and wall seconds of each call and how many times those of `reference`; `more` columns by name and call."""
    wall = torch.cuda.is_available()
    rows = [
        {
            "": name,
            "CPU-s": spread(one.cpu for one in times),
            "wall-s": spread(one.wall for one in times),
            f"{'wall' if wall else 'CPU'} / {reference}": spread(ratios(times, found[reference], wall=wall)),
            "rounds": len(times),
            **{column: values.get(name, "") for column, values in (more or {}).items()},
        }
        for name, times in found.items()
    ]
    return table(title, rows)


def table(title: str, rows: Sequence[Mapping[str, object]]) -> str:
    """Plain text: a title, a line of heads, a line for each row."""
    heads = list(rows[0])
    cells = [[str(head) for head in heads], *([str(row[head]) for head in heads] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([title, *(f"  {line}" for line in lines)]) + "\n"


def least_squares(rows: Sequence[Mapping[str, float]], seconds: Sequence[float]) -> tuple[dict[str, float], float]:
    """The cost of one unit of each column, never negative, and the largest relative error of the fit.

    Errors are taken relative to what was measured, so that small and large points count alike.
    """
    from scipy.optimize import nnls

    measured, columns = np.asarray(seconds), list(rows[0])
    design = np.array([[row[column] for column in columns] for row in rows])
    slopes, _ = nnls(design / measured[:, None], np.ones(len(rows)))
    errors = np.abs(design @ slopes / measured - 1)
    return dict(zip(columns, map(float, slopes), strict=True)), float(errors.max())


def setting(what: str, command: str) -> str:
    """The head of a result: when, what, on which machine, by which command."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{_processor()}, {_cores()} cores (shared)"
    versions = (
        f"torch {torch.__version__}, transformers {transformers.__version__}, {torch.get_num_threads()} thread(s)"
    )
    commit = f", commit {git_commit()}" if git_commit() else ""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {what}{commit}\n{device}; {versions}\n$ {command}\n"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _cores() -> int:
    import psutil

    return psutil.cpu_count() or 1


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


Options = dict[str, Any]
