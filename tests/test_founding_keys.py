"""The guide's table of the founding notes' keys names nothing that there is not."""

import inspect
import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from experiments.contextfocus_gradient import Config

GUIDE = Path(__file__).parents[1] / "docs/guides/gradient_deltas.md"
ROWS = re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \|$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
TABLE = {key: where for key, where in ROWS if key not in ("key of the notes", "---")}
QUOTED = [found for where in TABLE.values() for found in re.findall(r"(setting )?`([^`]+)`", where)]
NAMES = [name for setting, name in QUOTED if not setting]
SETTINGS = [name for setting, name in QUOTED if setting]


def resolves(name: str) -> bool:
    """Whether `room.module.name`, or `room.module.name(parameter=)`, is in the package."""
    path, _, parameter = name.partition("(")
    module, _, attribute = path.rpartition(".")
    found = getattr(import_module(f"steering_lab.{module}"), attribute, None)
    return found is not None and (not parameter or parameter.removesuffix("=)") in inspect.signature(found).parameters)


def test_every_key_of_the_notes_has_a_row() -> None:
    assert {"learning rate", "iterations", "loss weights", "layers", "adaptive", "ensemble"} <= set(TABLE)
    assert all("`" in where for where in TABLE.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_the_table_is_there(name: str) -> None:
    assert resolves(name)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_in_the_table_is_one_of_the_experiment(name: str) -> None:
    assert name in {field.name for field in fields(Config)}


def test_a_name_that_is_not_there_is_seen() -> None:
    assert not resolves("methods.delta.descent.Descent(learning_rate=)")
    assert not resolves("methods.delta.result.assemble")
