"""The command line, called in this process."""

import sys

import pytest

from steering_lab.cli import main


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit status of `steering-lab` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["steering-lab", *arguments])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0
