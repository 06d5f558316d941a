"""How a TOML file, and settings beside it, become a frozen Config; a wrong one is answered in one line."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from steering_lab.data.text_files import text_in

# Keys of a TOML file that say which module reads it and where its cells run; they are no settings of the experiment, so
# that a run goes on wherever it was begun.
RUN_KEYS = ("experiment", "executor", "workers", "gpus_per_worker")
# One experiment in several settings: `[variants.NAME]` holds what differs, `variant = "NAME"` says which is meant.
VARIANT, VARIANTS = "variant", "variants"


def read_toml(toml: str | Path, settings: Sequence[str] = ()) -> dict[str, Any]:
    """What `toml` says, then what its variant says instead, then what `settings` such as "layers=[1, 2]" say.

    A table `[variants.NAME]` holds the settings that differ in that variant; `variant = "NAME"`, in the file or among
    `settings`, says which one is read.

    Args:
        toml: The file.
        settings: Settings that replace the file's and its variant's, as "key=value" in TOML.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not UTF-8 or not TOML, a setting without "=", or a variant that the file has not.
    """
    try:
        values = tomllib.loads(text_in(toml, "settings"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{toml} is not TOML: {error}") from None
    told = dict(_setting(text) for text in settings)
    variants, name = values.pop(VARIANTS, {}), told.pop(VARIANT, None) or values.get(VARIANT)
    if name is not None and name not in variants:
        raise ValueError(f"variant = {name!r}: {toml} has {', '.join(map(repr, variants)) or 'no variants'}")
    values.pop(VARIANT, None)
    return values | (variants[name] if name is not None else {}) | told


def read_config(config: type, toml: str | Path, settings: Sequence[str] = ()) -> Any:
    """The `config` dataclass of `read_toml`; a `name` that nothing names is the file's own.

    Args:
        config: The dataclass.
        toml: The file.
        settings: "key=value" texts that replace what the file says.

    Raises:
        ValueError: not TOML, an unknown key, or a value of the wrong type; names the key and what is allowed.
    """
    values = {key: value for key, value in read_toml(toml, settings).items() if key not in RUN_KEYS}
    if "name" in {field.name for field in fields(config)}:
        values = {"name": Path(toml).stem} | values
    return as_config(config, values)


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
        made: Any = TypeAdapter(config).validate_python(values)
    except ValidationError as error:
        said = error.errors()
        reason = next((one for one in said if one["type"] == "value_error"), said[0])
        raise ValueError(_said(config, reason)) from None  # pydantic's own error prints every setting
    for key, value in values.items():
        _refuse_bools(key, value, getattr(made, key))
    return made


def _refuse_bools(key: str, given: Any, made: Any) -> None:
    """Nothing unless true or false, anywhere in `given`, was `made` a number, or the reverse, as pydantic does."""
    if isinstance(given, bool) and not isinstance(made, bool):
        raise ValueError(f"setting {key} = {str(given).lower()}: it takes a number")
    if isinstance(made, bool) and not isinstance(given, bool):
        raise ValueError(f"setting {key} = {given!r}: it takes true or false")
    if isinstance(given, Mapping):
        for name, value in given.items():
            _refuse_bools(f"{key}.{name}", value, made[name] if isinstance(made, Mapping) else getattr(made, name))
    elif isinstance(given, list | tuple):
        for i, pair in enumerate(zip(given, made, strict=True)):
            _refuse_bools(f"{key}[{i}]", *pair)


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
    if allowed.startswith("a list of") and not index and isinstance(error["input"], int | float):
        said += f", say [{error['input']!r}]"
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
    if is_dataclass(hint):
        return f"{{{', '.join(field.name for field in fields(hint))}}}"
    if get_origin(hint) is Mapping:
        return f"{{name = {_in_words(arguments[1])}}}"
    if get_origin(hint) is tuple:
        many = _MANY.get(arguments[0]) or _in_words(arguments[0]).replace("one of", "any of")
        return f"a list of {many}" if many else ""
    return _WORDS.get(hint, "")


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"--set takes key=value, not {text!r}")
    try:
        return key.strip(), tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
