"""The folder of a small model, as a command line names one; pages without pictures, which take a browser seconds."""

from pathlib import Path

import pytest

from steering_lab.analysis.plots import export
from tests.tiny_models import save_tiny_model


@pytest.fixture(autouse=True)
def _no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_chrome", lambda: None)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return save_tiny_model("gpt2", tmp_path / "tiny")
