"""What a check found, as a value: lines with a number, what was allowed and a verdict; as text and as JSON."""

import json
import textwrap
from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["ok", "wrong", "refused", "not applicable"]


@dataclass(frozen=True)
class CheckLine:
    """One thing checked.

    Args:
        check: The name of the check.
        compared: What was compared with what.
        verdict: What came of it.
        value: The largest difference, relative where `compared` says nothing else; None where no number was taken.
        allowed: The largest value that still holds.
        detail: The place and size of the largest difference, the reason of a refusal, or what was found.
    """

    check: str
    compared: str
    verdict: Outcome
    value: float | None = None
    allowed: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class Certificate:
    """What holds for one model: facts about it and its software, and the lines, in the order they were checked."""

    facts: dict[str, Any]
    software: dict[str, str]
    lines: tuple[CheckLine, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong; what is refused or does not apply is no fault."""
        return not self.wrong

    @property
    def wrong(self) -> list[CheckLine]:
        """The lines that do not hold."""
        return [line for line in self.lines if line.verdict == "wrong"]

    @property
    def refused(self) -> list[CheckLine]:
        """The lines that the lab refuses for this model, each with its reason."""
        return [line for line in self.lines if line.verdict == "refused"]

    def __getitem__(self, check: str) -> CheckLine:
        """The line called `check`.

        Raises:
            KeyError: there is none; the message names those there are.
        """
        for line in self.lines:
            if line.check == check:
                return line
        raise KeyError(f"{check!r} was not checked: {', '.join(line.check for line in self.lines)}")

    def to_json(self) -> str:
        """The whole as JSON."""
        content = {"holds": self.holds, "facts": self.facts, "software": self.software}
        return json.dumps(content | {"lines": [asdict(line) for line in self.lines]}, indent=2) + "\n"

    def __str__(self) -> str:
        """Aligned text of at most 120 columns: the model, one line a check with its detail below, the verdict."""
        rows = [("check", "verdict", "largest", "allowed", "compared")]
        rows += [(x.check, x.verdict, _number(x.value), _number(x.allowed), x.compared) for x in self.lines]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        details = ["", *(line.detail for line in self.lines)]
        out = [*self._head(), ""]
        for row, detail in zip(rows, details, strict=True):
            out.append("  ".join([*(cell.ljust(w) for cell, w in zip(row[:4], widths, strict=True)), row[4]]).rstrip())
            out += textwrap.wrap(detail, 110, initial_indent="    ", subsequent_indent="    ")
        return "\n".join([*out, "", self._verdict()]) + "\n"

    def _head(self) -> list[str]:
        facts = self.facts
        return [
            facts["description"],
            f"{facts['architecture']}, {facts['n_layers']} layers x d_model {facts['d_model']}",
            f"{facts['dtype'].removeprefix('torch.')} on {facts['device']}, {facts['basis']} basis, weights"
            f" {facts['fingerprint']}",
            ", ".join(f"{name} {version}" for name, version in self.software.items()),
        ]

    def _verdict(self) -> str:
        refused = f"; refused: {', '.join(line.check for line in self.refused)}" if self.refused else ""
        if self.wrong:
            return f"wrong: {', '.join(line.check for line in self.wrong)}{refused}"
        return f"everything that was checked holds{refused}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"
