"""The front door, the lock, the README: what a newcomer meets before any science."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import steering_lab

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = {
    "vaderSentiment",
    "peft",
    "ipywidgets",
    "ray",
    "submitit",
    "lm_eval",
    "lancedb",
}  # imported when asked for; the error says what to install
UNLOCKED = {"harness"}  # it would hold the python-dateutil of everybody at 2
README = (ROOT / "README.md").read_text(encoding="utf-8")


def offered_names() -> dict[str, str]:
    """Name to module, as type checkers read the front door."""
    tree = ast.parse((ROOT / "steering_lab/__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name: node.module or "" for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def locked_versions(name: str) -> dict[str, list[str]]:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    versions: dict[str, list[str]] = {}
    for package, number in re.findall(r"^([a-z0-9][\w.-]*)==([\w.+]+)", text, re.MULTILINE):
        versions.setdefault(package, []).append(number)
    return versions


def test_type_checkers_and_the_interpreter_see_the_same_front_door() -> None:
    assert sorted(offered_names()) == sorted(steering_lab.__all__)
    assert set(steering_lab.__all__) <= set(dir(steering_lab))


@pytest.mark.parametrize(("name", "module"), offered_names().items())
def test_every_name_of_the_front_door_is_the_one_in_its_module(name: str, module: str) -> None:
    assert getattr(steering_lab, name) is getattr(importlib.import_module(module), name)


def test_the_readme_lists_the_names_of_the_front_door_and_no_others() -> None:
    section = README.split("## In Python")[1].split("\n## ")[0]
    rows = [row for row in section.splitlines() if row.startswith("| ")]
    assert sorted(re.findall(r"`(\w+)`", "\n".join(rows))) == sorted(steering_lab.__all__)


def test_a_mistyped_name_is_an_attribute_error_that_says_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"no 'steeer'.*load_model"):
        _ = steering_lab.steeer


def test_the_version_is_the_one_that_was_installed() -> None:
    assert steering_lab.__version__ == version("steering_lab") == PROJECT["version"]


def test_every_dependency_is_locked_to_a_version_that_pyproject_allows() -> None:
    locked = locked_versions("lock.txt")
    extras = {name: lines for name, lines in PROJECT["optional-dependencies"].items() if name not in UNLOCKED}
    for line in [*PROJECT["dependencies"], *(line for extra in extras.values() for line in extra)]:
        requirement = Requirement(line)
        numbers = locked[requirement.name.lower().replace("_", "-")]
        assert all(number in requirement.specifier for number in numbers), f"{line} is locked to {numbers}"


def test_every_library_that_the_package_imports_is_a_declared_dependency() -> None:
    modules = (ROOT / "steering_lab").rglob("*.py")
    nodes = [node for path in modules for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    libraries = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"steering_lab", "experiments"}
    declared = {Requirement(line).name.replace("-", "_") for line in PROJECT["dependencies"]}
    assert libraries - OPTIONAL - declared == set()


def test_the_experiments_folder_cannot_hide_the_module_of_its_name_in_a_wheel() -> None:
    assert not (ROOT / "experiments/__init__.py").exists()


def test_torch_is_locked_to_the_version_that_is_installed_first() -> None:
    first = locked_versions("first.txt")
    assert locked_versions("lock.txt")["torch"] == first["torch"]
    assert set(first) == {"torch", "uv"}


def test_the_second_environment_holds_the_last_hooked_transformer() -> None:
    assert [number.rpartition(".")[0] for number in locked_versions("lock-tl39.txt")["transformer-lens"]] == ["3.9"]


@pytest.mark.parametrize("lock", ["lock.txt", "lock-tl39.txt"])
def test_a_lock_has_hashes_and_names_no_index_and_no_local_file(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)
    packages = re.split(r"\n(?=[a-z0-9])", text.split("\n", 2)[2])
    assert all("--hash=sha256:" in package for package in packages)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"(?:^|`)make ([a-z][\w-]*)", README, re.MULTILINE))))
def test_every_make_command_of_the_readme_exists(command: str) -> None:
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def readme_tree() -> set[str]:
    """The paths that the README's tree names, relative to the repository; folders end in a slash."""
    folders: list[str] = []
    paths = set()
    for indent, name in re.findall(r"^((?:│   |    )*)[├└]── (\S+)", README, re.MULTILINE):
        folders = folders[: len(indent) // 4]
        paths.add("".join(folders) + name)
        if name.endswith("/"):
            folders.append(name)
    return paths


@pytest.mark.parametrize("path", sorted(readme_tree()))
def test_the_tree_in_the_readme_names_what_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_module_is_in_the_tree_of_the_readme() -> None:
    modules = {
        path.relative_to(ROOT).as_posix()
        for folder in ("steering_lab", "experiments")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert modules - readme_tree() == set()


def git(*arguments: str) -> str:
    """What git says, skipping the test where there is no checkout."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no git checkout")
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout


def test_a_users_runs_are_ignored_by_git_finished_or_not() -> None:
    runs = ["results/actadd_sweep/2030-01-01_gpt2_0123456789ab/", "results/mine/2030-01-01_gpt2_0123.partial/"]
    files = [f"{run}{name}" for run in runs for name in ("config.json", "table.parquet", "figures/effect.png")]
    assert git("check-ignore", *files).splitlines() == files
    assert git("check-ignore", "results/README.md") == ""


def test_every_reference_run_is_tracked_and_has_its_row() -> None:
    tracked = {"/".join(path.split("/")[1:3]) for path in git("ls-files", "results/*/*/*").splitlines()}
    rows = re.findall(r"^\| `([^`]+)` \|", (ROOT / "results/README.md").read_text(encoding="utf-8"), re.MULTILINE)
    papers = re.findall(r"\(`(.+)`\)$", (ROOT / "experiments/README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(tracked) == sorted([*rows, *papers])
