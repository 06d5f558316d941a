"""Pages without pictures: one takes a browser seconds, and what these tests read is tables and pages."""

import pytest

from steering_lab.analysis.plots import export


@pytest.fixture(autouse=True)
def _no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_chrome", lambda: None)
