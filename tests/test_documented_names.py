"""Notebooks and guides need nothing but the front door and public names of modules that the API pages describe."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

import steering_lab

ROOT = Path(__file__).parents[1]
DESCRIBED = tuple(
    room
    for page in (ROOT / "docs/api").glob("*.md")
    for room in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE)
)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = [
    pytest.param(path.read_text(encoding="utf-8"), id=path.name) for path in sorted((ROOT / "notebooks").glob("*.py"))
]
CODE += [
    pytest.param(text, id=f"{page.name} {i}")
    for page in PAGES
    for i, text in enumerate(
        re.findall(r"^```py(?:thon)?\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    )
]


def imports(code: str) -> list[tuple[str, str]]:
    """Every module and name of `from module import name` that is ours."""
    found = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom) and node.module]
    return [
        (str(node.module), name.name) for node in found for name in node.names if node.module.startswith("steering_lab")
    ]


@pytest.mark.parametrize("code", CODE)
def test_what_is_imported_is_at_the_front_door_or_in_a_described_module(code: str) -> None:
    for module, name in imports(code):
        if module == "steering_lab":
            assert name in steering_lab.__all__
            continue
        assert module.startswith(DESCRIBED), f"no API page describes {module}"
        assert not name.startswith("_")
        assert not any(part.startswith("_") for part in module.split("."))
        assert hasattr(import_module(module), name), f"{module} has no {name}"


@pytest.mark.parametrize("code", CODE)
def test_what_the_front_door_offers_is_imported_from_there(code: str) -> None:
    assert [name for module, name in imports(code) if module != "steering_lab" and name in steering_lab.__all__] == []


def test_a_name_of_an_undescribed_module_is_seen() -> None:
    assert imports("from steering_lab.nowhere import this as that") == [("steering_lab.nowhere", "this")]
    assert not "steering_lab.nowhere".startswith(DESCRIBED)
