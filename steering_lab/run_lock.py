"""One process at a time works on a run, and the others can say which.

The lock is the system's (`flock`), so it is free the moment its process ends, however it ends. What stands in the
file is for people: who holds it, since when. Windows has no such lock; there nothing is checked.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

LOCK = ".lock"
PATIENCE = 0.5  # seconds: who only looks whether a run is held holds it himself for a moment


class Busy(RuntimeError):
    """Another process holds the run."""


def take(folder: Path) -> IO[str]:
    """The lock of `folder`, held until it is closed or the process ends.

    Raises:
        Busy: another process holds it; says which.
    """
    file = (folder / LOCK).open("a+", encoding="utf-8")
    until = time.monotonic() + PATIENCE
    while not _locked(file, exclusive=True):
        if time.monotonic() > until:
            said = _said(file)
            file.close()
            raise Busy(f"{folder} is being worked on by another process: {said}; wait for it (--wait), or stop it")
        time.sleep(PATIENCE / 10)
    me = {"pid": os.getpid(), "host": platform.node(), "since": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    file.truncate(0)
    file.write(json.dumps(me))
    file.flush()
    return file


def holder(folder: Path) -> str | None:
    """Who works on the run in `folder` now, in words; None where nobody does."""
    try:
        with (folder / LOCK).open("r+", encoding="utf-8") as file:
            return None if _locked(file, exclusive=False) else _said(file)
    except FileNotFoundError:
        return None


def wait_until_free(folder: Path, seconds: float = 1.0) -> None:
    """Returns when nobody works on the run in `folder`; looks every few `seconds`."""
    while holder(folder) is not None:
        time.sleep(seconds)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """No other process is inside this for the same `folder`, so two do not begin the same run.

    File systems that lock no directory (NFS) are not asked twice: there a run that two processes begin in the same
    instant may be begun twice, in two folders.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _locked(file: IO[str], *, exclusive: bool) -> bool:
    """Whether the lock was free and is now held by `file`."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _said(file: IO[str]) -> str:
    file.seek(0)
    try:
        held = json.loads(file.read())
        return f"process {held['pid']} on {held['host']}, since {held['since']}"
    except (ValueError, KeyError):  # it has taken the lock and not yet written who it is
        return "one that has just begun"
