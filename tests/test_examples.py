"""Every Python example of the README and the guides runs as it stands, and shows the thing it is about."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from steering_lab.models.loading.at_hand import smollm2_file

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = [
    pytest.param(code, id=f"{page.stem} {i}")
    for page in PAGES
    for i, code in enumerate(
        re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    )
]
pytestmark = pytest.mark.skipif(smollm2_file() is None, reason="SmolLM2 is not installed: make setup")


def printed(code: str) -> list[str]:
    """The lines that the example prints."""
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "example", "exec"), names)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_runs_and_steering_changes_what_it_prints(code: str) -> None:
    lines = printed(code)
    n_printed = code.count("print(")
    assert len(lines) >= n_printed
    if "steer(" in code and n_printed > 1:
        assert len(set(lines)) == len(lines)


def test_the_readme_shows_three_different_texts() -> None:
    first = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[0]
    assert len(set(printed(first))) == 3
