"""Docstrings name what a caller has to give: every parameter of a long signature, and most of all parameters."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "steering_lab").rglob("*.py"))
MANY = 4  # parameters, from which on a docstring lists them under "Args:"
SHARE = 0.98  # of all parameters are named in their docstrings, at least: all are, and one may be forgotten


class Documented(NamedTuple):
    """Something public with parameters, and its docstring; "" for a method that a protocol documents."""

    name: str
    parameters: list[str]
    text: str

    @property
    def named(self) -> list[str]:
        return [name for name in self.parameters if re.search(rf"\b{name}\b", self.text)]

    @property
    def listed(self) -> set[str]:
        section = re.search(r"^Args:\n((?: {4}.*\n?|\n)*)", self.text, re.MULTILINE)
        return set(re.findall(r"^ {4}\*{0,2}(\w+): ", section[1], re.MULTILINE)) if section else set()


def documented(source: str) -> Iterator[Documented]:
    """Public functions, methods and classes of a module that have parameters; a value's are its fields."""
    return _documented(ast.parse(source).body, "")


def _documented(body: list[ast.stmt], prefix: str) -> Iterator[Documented]:
    for node in body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            text = ast.get_docstring(node) or ""
            if (parameters := _parameters(node)) and (text or not prefix):
                yield Documented(prefix + node.name, parameters, text)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            if parameters := _given(node):
                yield Documented(prefix + node.name, parameters, ast.get_docstring(node) or "")
            yield from _documented(node.body, f"{prefix}{node.name}.")


def _parameters(node: ast.FunctionDef) -> list[str]:
    own, given = node.args, [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    names = [arg.arg for arg in [*given, own.vararg, own.kwarg] if arg is not None]
    return [name for name in names if name not in ("self", "cls") and not name.startswith("_")]


def _given(node: ast.ClassDef) -> list[str]:
    """What a class is made with: the arguments of its `__init__`, or the fields of a dataclass or named tuple."""
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            return _parameters(method)
    made = [*map(ast.unparse, node.decorator_list), *map(ast.unparse, node.bases)]
    if not any("dataclass" in how or "NamedTuple" in how for how in made):
        return []
    fields = [
        field for field in node.body if isinstance(field, ast.AnnAssign) and "init=False" not in ast.unparse(field)
    ]
    names = [ast.unparse(field.target) for field in fields if "ClassVar" not in ast.unparse(field.annotation)]
    return [name for name in names if not name.startswith("_")]


@pytest.mark.parametrize("path", SOURCES)
def test_a_long_signature_lists_its_parameters(path: str) -> None:
    for one in documented((ROOT / path).read_text(encoding="utf-8")):
        if len(one.parameters) >= MANY:
            missing = [name for name in one.parameters if name not in one.listed]
            assert not missing, f"{one.name} has {len(one.parameters)} parameters, and no Args for {', '.join(missing)}"


def test_most_parameters_are_named_in_their_docstrings() -> None:
    found = [one for path in SOURCES for one in documented((ROOT / path).read_text(encoding="utf-8"))]
    share = sum(len(one.named) for one in found) / sum(len(one.parameters) for one in found)
    assert share >= SHARE, f"{share:.1%} of all parameters are named in docstrings"


def test_a_parameter_that_no_docstring_lists_is_seen() -> None:
    text = '"""Sum of `a` and b.\n\n    Args:\n        a: One.\n        more: Rest.\n    """'
    source = f"def f(a, b, *, c=1, **more):\n    {text}\n"
    (one,) = documented(source)
    assert one.parameters == ["a", "b", "c", "more"]
    assert one.named == ["a", "b", "more"]
    assert one.listed == {"a", "more"}
