"""Which commands there are, and what happens to a mistake: one line on stderr and exit status 2."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tyro

from steering_lab.cli.check import check
from steering_lab.cli.demo import demo
from steering_lab.cli.lens import lens
from steering_lab.cli.models import models
from steering_lab.cli.report import report
from steering_lab.cli.run import run
from steering_lab.cli.steer import steer

ABOUT = "steering-lab: the demo, experiments from files, their pages, a prompt steered or looked into, vectors, models."

Command = Callable[..., Any]
COMMANDS: Mapping[str, Command | Mapping[str, Command]] = {
    "demo": demo,
    "run": run,
    "report": report,
    "steer": steer,
    "lens": lens,
    "check": check,
    "models": models,
}


def main() -> None:
    """The command line."""
    try:
        _call(COMMANDS, sys.argv[1:], "steering-lab", ABOUT)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        print(f"steering-lab: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt:
        print("steering-lab: interrupted; the same command goes on where it stopped", file=sys.stderr)
        raise SystemExit(130) from None


def _call(commands: Mapping[str, Command | Mapping[str, Command]], words: Sequence[str], prog: str, about: str) -> None:
    """Calls the command that `words` begin with, of a family the one that follows.

    Raises:
        ValueError: there is no such command.
    """
    name, *rest = words or [""]
    if name in ("-h", "--help"):
        print(_overview(commands, prog, about))
        return
    if name not in commands:
        said = f"{name!r} is no command" if name else "no command was given"
        raise ValueError(f"{said}: choose {', '.join(commands)}, or --help")
    command = commands[name]
    if isinstance(command, Mapping):
        _call(command, rest, f"{prog} {name}", _first(command))
    else:
        tyro.cli(command, prog=f"{prog} {name}", args=rest)


def _overview(commands: Mapping[str, Command | Mapping[str, Command]], prog: str, about: str) -> str:
    """What `--help` prints: each command and its docstring's first line. Tyro would read all of every one for it."""
    width = max(map(len, commands)) + 2
    lines = [f"  {name.ljust(width)}{_first(command)}" for name, command in commands.items()]
    usage = f"usage: {prog} COMMAND [OPTIONS]"
    return "\n".join([usage, "", about, "", *lines, "", f"{prog} COMMAND --help says what a command takes."])


def _first(command: Command | Mapping[str, Command]) -> str:
    """What a command does, in a line; of a family, what its members do."""
    if isinstance(command, Mapping):
        return f"{', '.join(command)}: {_first(next(iter(command.values())))}"
    return (command.__doc__ or "").strip().splitlines()[0]
