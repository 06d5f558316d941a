"""Progress of long work: a bar on a terminal, and in a log a line now and then."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

LOG_SECONDS = 10.0  # between two lines in a log, and before the first


class _Lines:
    """A stream on which each state of a bar is a line of its own."""

    def write(self, text: str) -> int:
        line = text.replace("\r", "").rstrip()
        return sys.stderr.write(f"{line}\n") if line else 0

    def flush(self) -> None:
        sys.stderr.flush()


def progress_bar(
    steps: Iterable[Any] | None = None,
    *,
    what: str,
    shown: bool | None = None,
    total: int | None = None,
    initial: int = 0,
    leave: bool = False,
    delay: float = 0.0,
) -> tqdm:
    """`steps` with their progress told on stderr; without steps, a bar to `update()`.

    `shown=None` is a bar on a terminal and lines `LOG_SECONDS` apart elsewhere; True always a bar; False nothing.
    """
    common: dict[str, Any] = {"desc": what, "total": total, "initial": initial}
    if shown is False or shown or sys.stderr.isatty():
        return tqdm(steps, disable=shown is False, leave=leave, delay=delay, **common)
    form = "{desc}: {n_fmt} of {total_fmt} after {elapsed}, {remaining} to go"
    return tqdm(
        steps,
        file=_Lines(),
        bar_format=form,
        mininterval=LOG_SECONDS,
        miniters=1,
        delay=LOG_SECONDS,
        leave=False,
        **common,
    )
