"""Experiment files: where they lie, how their TOML becomes a frozen Config, and how one is run.

An experiment is `<name>.py` (with `Config` and `run(config, results)`) beside `<name>.toml`; it may import modules of
its folder as `from .sibling import ...`. Nothing heavy is imported until a config has been read and found right.
"""

import difflib
import hashlib
import importlib.util
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import TypeAdapter, ValidationError


def experiments_folder() -> Path:
    """The folder of the experiments that come with steering_lab: in a checkout, or inside the installed package.

    Raises:
        FileNotFoundError: there is neither.
    """
    package = Path(__file__).resolve().parent
    for folder in (package.parent / "experiments", package / "experiments"):
        if (folder / "actadd_sweep.toml").is_file():
            return folder
    raise FileNotFoundError("the experiments folder is missing: install steering_lab from its repository")


def load_experiment(toml: str | Path) -> ModuleType:
    """The module beside `toml`, imported from its file, in a package made of its folder.

    Raises:
        FileNotFoundError: no such TOML file, or no .py beside it.
    """
    toml = Path(toml)
    script = toml.with_suffix(".py")
    if not toml.is_file():
        known = sorted(p.name for p in experiments_folder().glob("*.toml"))
        raise FileNotFoundError(f"no experiment file {toml}; the experiments that come along are {', '.join(known)}")
    if not script.is_file():
        raise FileNotFoundError(f"{toml} has no {script.name} beside it to run")
    name = f"{_package_of(script.resolve().parent)}.{script.stem}"
    spec = importlib.util.spec_from_file_location(name, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _package_of(folder: Path) -> str:
    """The name of a package whose modules are the files of `folder`: by a name of its own, since nobody's folder of
    experiments may hide a library, and an installed one cannot be imported as `experiments`."""
    name = f"steering_lab_experiments_{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    return name


def read_config(config: type, toml: str | Path, settings: Sequence[str] = ()) -> Any:
    """The `config` dataclass filled from `toml`, then from `settings` such as "layers=[1, 2]" (TOML values).

    Raises:
        ValueError: not TOML, an unknown key, or a value of the wrong type; names the key and what is allowed.
    """
    try:
        values = tomllib.loads(Path(toml).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{toml} is not TOML: {error}") from error
    values |= dict(_setting(text) for text in settings)
    known = [field.name for field in fields(config)]
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            raise ValueError(f"unknown setting {key!r}: {hint}")
    try:
        return TypeAdapter(config).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "config"
        raise ValueError(f"setting {where} = {first['input']!r}: {first['msg']}") from error


def question_of(module_docstring: str | None) -> str:
    """An experiment's question: the first paragraph of its docstring, on one line."""
    return " ".join((module_docstring or "").split("\n\n")[0].split())


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"--set takes key=value, not {text!r}")
    try:
        return key.strip(), tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
