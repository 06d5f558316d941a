"""The folder of a small model, as a command line names one."""

from pathlib import Path

import pytest

from tests.tiny_models import save_tiny_model


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return save_tiny_model("gpt2", tmp_path / "tiny")
