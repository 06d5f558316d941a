"""Runs without pictures: a browser takes longer than a small run, and what these tests read is tables and pages."""

from collections.abc import Iterator

import pytest

from steering_lab.analysis.plots import export


@pytest.fixture(autouse=True, scope="module")  # as the runs that a module shares
def _no_browser() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "find_chrome", lambda: None)
        yield
