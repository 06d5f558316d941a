"""DESIGN's import rule, read from the source: numerics -> tables -> models | data -> interventions | organism ->
methods | evaluation | analysis -> runs, executors, explorer, retrieval, study -> cli, experiments, notebooks. A module
imports from the floors below or its own room, and of the organism only what is about the organism knows.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("steering_lab", "experiments", "notebooks")
    for path in (ROOT / folder).rglob("*.py")
    if path != ROOT / "steering_lab/__init__.py"  # the front door points at every room, lazily
)

FLOORS = (
    {"numerics"},
    {"tables"},
    {"models", "data", "safe_files"},
    {"interventions", "organism"},
    {"methods", "evaluation", "analysis"},
    {"runs", "run_lock", "executors", "explorer", "retrieval", "study"},
    {"cli", "experiments", "notebooks", "front door"},
)
OPEN_FLOORS = (5, 6)  # where single modules live side by side; the rooms of the floors below are strangers
ONLY_IN = {
    "transformer_lens": ("steering_lab/models/",),
    "plotly": ("steering_lab/analysis/plots/", "steering_lab/analysis/report.py"),
}
KNOW_THE_ORGANISM = {"organism", "study", "experiments", "notebooks"}
NEVER_IN_DATA = {"torch", "transformers", "safetensors"}


def imported_names(source: str, path: str) -> set[str]:
    """Every dotted name that `source` imports anywhere, relative imports made absolute."""
    package = list(Path(path).parent.parts)
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module or "").split(".")]
            names |= {".".join([*filter(None, base), alias.name]) for alias in node.names}
    return names


def room(dotted: str) -> str | None:
    """The room that a dotted name lives in, or None outside the project."""
    first, *rest = dotted.split(".")
    if first in ("experiments", "notebooks"):
        return first
    if first != "steering_lab":
        return None
    return rest[0] if rest and any(rest[0] in floor for floor in FLOORS) else "front door"


def floor(of_room: str) -> int:
    return next(height for height, rooms in enumerate(FLOORS) if of_room in rooms)


def violations(source: str, path: str) -> list[str]:
    """One sentence per import that the rule forbids in the module at `path` (relative to the repository)."""
    here = room(path.removesuffix(".py").replace("/", "."))
    assert here is not None, f"{path} is in no room"
    names, found = imported_names(source, path), []
    for name in sorted(names):
        there = room(name)
        if (
            there
            and there != here
            and not (floor(there) < floor(here) or (floor(there) == floor(here) and floor(here) in OPEN_FLOORS))
        ):
            found.append(f"{path}: {here} may not import {name} ({there})")
        if there == "organism" and here not in KNOW_THE_ORGANISM:
            found.append(f"{path}: {name} is about the synthetic model, and {here} is for any model")
        library = name.split(".")[0]
        if library in ONLY_IN and not path.startswith(ONLY_IN[library]):
            found.append(f"{path}: {library} is imported only in {', '.join(ONLY_IN[library])}")
        if library in NEVER_IN_DATA and here in ("data", "organism"):
            found.append(f"{path}: {here}/ holds plain values and never imports {library}")
    if "__future__.annotations" in names:
        found.append(f"{path}: jaxtyping must see annotations as objects, so no `from __future__ import annotations`")
    return found


@pytest.mark.parametrize("path", SOURCES)
def test_the_import_rule_holds(path: str) -> None:
    assert violations((ROOT / path).read_text(encoding="utf-8"), path) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("steering_lab/numerics/a.py", "from steering_lab.models.tokens import Tokens"),
        ("steering_lab/numerics/a.py", "from steering_lab.data import prompts"),
        ("steering_lab/numerics/a.py", "import plotly.graph_objects as go"),
        ("steering_lab/models/a.py", "import steering_lab.interventions.steering"),
        ("steering_lab/tables.py", "from steering_lab.models.hook_points import HookSite"),
        ("steering_lab/models/a.py", "from steering_lab.data import prompts"),
        ("steering_lab/models/a.py", "from ..data import prompts"),
        ("steering_lab/models/a.py", "from .. import data"),
        ("steering_lab/methods/a.py", "from steering_lab.evaluation.measuring.metrics import kl"),
        ("steering_lab/methods/a.py", "from steering_lab import steer"),
        ("steering_lab/evaluation/a.py", "from steering_lab.executors import executor"),
        ("steering_lab/safe_files.py", "from steering_lab.runs import RunFolder"),
        ("steering_lab/analysis/a.py", "def late() -> None:\n    from steering_lab.runs import RunFolder"),
        ("steering_lab/interventions/a.py", "import transformer_lens.hook_points"),
        ("steering_lab/analysis/geometry.py", "import plotly.graph_objects as go"),
        ("experiments/a.py", "from plotly import graph_objects"),
        ("steering_lab/data/a.py", "from torch import Tensor"),
        ("steering_lab/organism/a.py", "from torch import Tensor"),
        ("steering_lab/methods/a.py", "from steering_lab.organism.wording import ORGANISM"),
        ("steering_lab/cli.py", "from steering_lab.organism import world"),
        ("steering_lab/methods/a.py", "from __future__ import annotations"),
    ],
)
def test_the_rule_catches(path: str, source: str) -> None:
    assert len(violations(source, path)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("steering_lab/models/a.py", "import torch, transformer_lens\nfrom .hook_points import HookSite"),
        ("steering_lab/models/a.py", "from . import hook_points"),
        ("steering_lab/methods/a.py", "from steering_lab.interventions import steering\nfrom ..data import prompts"),
        ("steering_lab/models/a.py", "from steering_lab.numerics.log_probs import to_log_probs"),
        ("steering_lab/analysis/plots/heatmap.py", "import plotly.graph_objects as go"),
        ("steering_lab/cli/run.py", "import steering_lab\nfrom experiments import actadd_sweep"),
        (
            "steering_lab/executors/a.py",
            "from steering_lab.evaluation.running.groups import Work\nfrom .worker import do",
        ),
        ("steering_lab/analysis/report.py", "from steering_lab.safe_files import replace_file"),
        ("experiments/a.py", "from steering_lab import steer\nfrom steering_lab.runs import RunFolder"),
        ("experiments/organism/a.py", "from steering_lab.organism.world import story"),
        ("steering_lab/organism/a.py", "from steering_lab.data.templates import Wording"),
    ],
)
def test_the_rule_allows(path: str, source: str) -> None:
    assert violations(source, path) == []


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after running `code`."""
    report = "import sys; print('\\nLOADED', *{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.rsplit("LOADED", 1)[1].split())


HEAVY = {"torch", "transformers", "transformer_lens", "pandas", "plotly", "scipy"}


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert modules_after("import steering_lab; dir(steering_lab)") & HEAVY == set()


@pytest.mark.skipif(not (ROOT / "steering_lab/cli/__init__.py").exists(), reason="the command line is not built yet")
@pytest.mark.parametrize(
    "arguments", [["--help"], ["demo", "--help"], ["run", "--help"], ["report", "--help"], ["steer", "--help"]]
)
def test_asking_for_help_loads_no_torch(arguments: list[str]) -> None:
    code = f"""
import sys
sys.argv = ["steering-lab", *{arguments!r}]
from steering_lab.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    assert modules_after(code) & {"torch", "transformers", "transformer_lens"} == set()


@pytest.mark.parametrize("room", ["data", "organism"])
def test_no_module_of_plain_values_loads_torch_even_through_another(room: str) -> None:
    names = [path.stem for path in (ROOT / "steering_lab" / room).glob("*.py") if path.stem != "__init__"]
    assert names
    code = "\n".join(f"import steering_lab.{room}.{name}" for name in names)
    assert modules_after(code) & {"torch", "transformers", "transformer_lens"} == set()
