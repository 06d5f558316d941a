"""Which commands there are, and what happens to a mistake: one line on stderr and exit status 2."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tyro

from steering_lab.cli.check import check
from steering_lab.cli.demo import demo
from steering_lab.cli.lens import lens
from steering_lab.cli.models import models
from steering_lab.cli.new import new
from steering_lab.cli.paper import paper
from steering_lab.cli.report import report
from steering_lab.cli.run import run
from steering_lab.cli.steer import steer
from steering_lab.cli.vector import export, make, show, verify

ABOUT = "steering-lab: the demo, experiments from files, their pages, a prompt steered or looked into, vectors, models."

Command = Callable[..., Any]


class Family(NamedTuple):
    """Commands under one word: `about` says what they do together, `members` has each by its name."""

    about: str
    members: Mapping[str, Command]


Commands = Mapping[str, Command | Family] | Mapping[str, Command]
COMMANDS: Mapping[str, Command | Family] = {
    "demo": demo,
    "run": run,
    "new": new,
    "paper": paper,
    "report": report,
    "steer": steer,
    "lens": lens,
    "vector": Family(
        "Make a steering vector and save it; show, verify and export one that was saved.",
        {"make": make, "show": show, "verify": verify, "export": export},
    ),
    "check": check,
    "models": models,
}


def main() -> None:
    """The command line."""
    try:
        _call(COMMANDS, sys.argv[1:], "steering-lab", ABOUT)
    except (ValueError, OSError, RuntimeError, ImportError, KeyboardInterrupt) as error:
        if _interrupted(error):
            print("steering-lab: interrupted; the same command goes on where it stopped", file=sys.stderr)
            raise SystemExit(130) from None
        if isinstance(error, RecursionError):
            raise  # no mistake of the caller's
        print(f"steering-lab: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def _interrupted(error: BaseException | None) -> bool:
    """Whether an interruption is what the error came from: an import that is stopped may end as another error."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _call(commands: Commands, words: Sequence[str], prog: str, about: str) -> None:
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
    if isinstance(command, Family):
        _call(command.members, rest, f"{prog} {name}", command.about)
    else:
        tyro.cli(command, prog=f"{prog} {name}", args=rest)


def _overview(commands: Commands, prog: str, about: str) -> str:
    """What `--help` prints: each command and its docstring's first line. Tyro would read all of every one for it."""
    width = max(map(len, commands)) + 2
    lines = [f"  {name.ljust(width)}{_first(command)}" for name, command in commands.items()]
    usage = f"usage: {prog} COMMAND [OPTIONS]"
    return "\n".join([usage, "", about, "", *lines, "", f"{prog} COMMAND --help says what a command takes."])


def _first(command: Command | Family) -> str:
    """What a command or a family does, in a line."""
    return command.about if isinstance(command, Family) else (command.__doc__ or "").strip().splitlines()[0]
