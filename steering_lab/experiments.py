"""Experiment files: where they lie, how their TOML becomes a frozen Config, and how one is run.

An experiment is `<name>.py` beside `<name>.toml`, with `Config`, `run(config, results)`, and `report(folder)`, which
draws a finished run's figures and page from its files alone; it may import modules of its folder as `from .sibling
import ...`. Nothing heavy is imported until a config has been read and found right.
"""

import difflib
import hashlib
import importlib.util
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

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


def experiment_of(run: str | Path) -> ModuleType:
    """The module of the experiment that made a finished run, by the name in its provenance; it has `report(run)`.

    Only experiments that come along are looked for: a folder from elsewhere cannot name code to be executed.

    Raises:
        FileNotFoundError: there is no finished run.
        ValueError: its experiment does not come along, or draws no page.
    """
    from steering_lab.runs import finished

    name = json.loads((finished(run) / "provenance.json").read_text(encoding="utf-8")).get("experiment")
    known = {toml.stem: toml for toml in sorted(experiments_folder().glob("*.toml"))}
    if name not in known:
        raise ValueError(f"{run} is a run of {name!r}, which is none of the experiments here: {', '.join(known)}")
    module = load_experiment(known[name])
    if not hasattr(module, "report"):
        raise ValueError(f"{name} has no report(folder): its page is made by running it")
    return module


def read_config(config: type, toml: str | Path, settings: Sequence[str] = ()) -> Any:
    """The `config` dataclass filled from `toml`, then from `settings` such as "layers=[1, 2]" (TOML values).

    Raises:
        ValueError: not TOML, an unknown key, or a value of the wrong type; names the key and what is allowed.
    """
    try:
        values = tomllib.loads(Path(toml).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{toml} is not TOML: {error}") from error
    return as_config(config, values | dict(_setting(text) for text in settings))


def as_config(config: type, values: Mapping[str, Any]) -> Any:
    """The `config` dataclass of `values`, as a TOML file or a run's config.json has them.

    Raises:
        ValueError: an unknown key, or a value of the wrong type; names the key and what is allowed.
    """
    known = [field.name for field in fields(config)]
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            raise ValueError(f"unknown setting {key!r}: {hint}")
    try:
        return TypeAdapter(config).validate_python(values)
    except ValidationError as error:
        raise ValueError(_said(config, error.errors()[0])) from error


def _said(config: type, error: Any) -> str:
    """What one of pydantic's errors comes to: a setting, its value and what is allowed, or a config's own reason."""
    if error["type"] == "value_error":  # raised by a __post_init__, which names what it is about
        return str(error["ctx"]["error"])
    hint: Any = config
    key, index = [], []
    for part in error["loc"]:
        if is_dataclass(hint):
            hint = get_type_hints(hint).get(part)
            key.append(str(part))
        elif isinstance(part, int):
            index.append(f"[{part}]")
    allowed = _in_words(hint)
    said = f"it takes {allowed}" if allowed else error["msg"]
    return f"setting {'.'.join(key)}{''.join(index)} = {error['input']!r}: {said}"


_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_MANY = {str: "texts", int: "whole numbers", float: "numbers"}


def _in_words(hint: Any) -> str:
    """What TOML may hold where a field is annotated so, or nothing where there are no words for it."""
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr, arguments))}"
    if get_origin(hint) in (Union, UnionType):
        words = [_in_words(one) for one in arguments if one is not NoneType]  # TOML has no word for None
        return " or ".join(words) if all(words) else ""
    if get_origin(hint) is tuple:
        many = _MANY.get(arguments[0]) or _in_words(arguments[0]).replace("one of", "any of")
        return f"a list of {many}" if many else ""
    return _WORDS.get(hint, "")


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
