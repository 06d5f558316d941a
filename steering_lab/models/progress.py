"""Progress of long work: a bar on a terminal, and in a log a line now and then."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
    """`steps` with their progress shown on stderr; without steps, a bar to `update()`.

    `shown=None` is a bar on a terminal and lines `LOG_SECONDS` apart elsewhere; True always a bar; False nothing.

    Args:
        steps: What is gone through; None gives a bar to `update()`.
        what: The words in front of the bar.
        shown: True always a bar, False nothing, None a bar on a terminal and lines elsewhere.
        total: How many steps there are, where `steps` does not know.
        initial: How many are done already.
        leave: Whether the finished bar stays.
        delay: Seconds before it appears.
    """
    common: dict[str, Any] = {"desc": what, "total": total, "initial": initial}
    if shown is False or shown or sys.stderr.isatty():
        return tqdm(steps, disable=shown is False, leave=leave, delay=delay, **common)
    form = "{desc}: {n_fmt} of {total_fmt} after {elapsed}{postfix}, {remaining} to go"
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


class Speed:
    """How much is done a second since `bar` was made, shown behind it: "1,234 tokens/s".

    Inside `listening` what is `done_meanwhile` counts too, and is shown when the bar was still for `LOG_SECONDS`.

    Args:
        bar: Behind which the speed is shown.
        unit: What is counted: "tokens".
    """

    def __init__(self, bar: tqdm, unit: str) -> None:
        self._bar, self._unit, self._done, self._meanwhile = bar, unit, 0, 0
        self._since = time.monotonic()

    def add(self, amount: int) -> None:
        """`amount` more is done, whatever was shown of it meanwhile; the bar says so when it is next updated."""
        self._done, self._meanwhile = self._done + amount, 0
        self._tell()

    def meanwhile(self, amount: int) -> None:
        """`amount` is done of what `add` will count."""
        self._meanwhile += amount
        if not self._bar.disable and time.time() - self._bar.last_print_t >= max(LOG_SECONDS, self._bar.delay):
            self._tell()
            self._bar.refresh()
            self._bar.last_print_t = time.time()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Until the block ends, counts what is `done_meanwhile`."""
        _LISTENING.append(self)
        try:
            yield
        finally:
            _LISTENING.remove(self)

    def _tell(self) -> None:
        seconds = max(time.monotonic() - self._since, 1e-9)
        rate = (self._done + self._meanwhile) / seconds
        self._bar.set_postfix_str(f"{rate:,.0f} {self._unit}/s", refresh=False)


_LISTENING: list[Speed] = []


def done_meanwhile(amount: int) -> None:
    """Every `Speed` that listens counts `amount` of a longer piece of work as done."""
    for speed in _LISTENING:
        speed.meanwhile(amount)
