"""Every tiny model of the zoo checked, and the table of docs/families.md made of it.

python -m tests.check_families                   prints what holds for each and ends with 1 when something is wrong
python -m tests.check_families --only gpt2 opt   some of them, whole certificates
python -m tests.check_families --write           also writes the table
"""

import argparse
import logging
import re
import sys
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

from steering_lab.models.certificate import Certificate, certificate
from steering_lab.models.loading import load_model
from tests.families import ZOO, Member

PAGE = Path(__file__).parents[1] / "docs/families.md"
START, END = "<!-- made by make check-families: from here -->", "<!-- to here -->"
HEADER = ("Family", "Layout", "Architecture", "Largest difference", "Holds", "Why")
SENTENCE = 400  # characters of a refusal that can still be read at once


@dataclass(frozen=True)
class Outcome:
    """What became of one member: its certificate, or the sentence with which it was refused, or what it raised."""

    member: Member
    certificate: Certificate | None = None
    refusal: str = ""
    raised: str = ""

    @property
    def holds(self) -> str:
        """One cell: everything, everything but what is refused, or what is wrong."""
        if self.raised:
            return f"**wrong**: {self.raised}"
        if self.certificate is None:
            return "refused at the door"
        if self.certificate.wrong:
            return "**wrong**: " + "; ".join(
                line.check + (f" ({line.value:.2g})" if line.value is not None else f" ({line.detail})")
                for line in self.certificate.wrong
            )
        return "all but the view refused" if self.certificate.refused else "everything"

    @property
    def wrong(self) -> bool:
        """Whether something is wrong, or the model ended in an error from inside."""
        return bool(self.raised) or (self.certificate is not None and not self.certificate.holds)

    @property
    def reasons(self) -> list[str]:
        """Why something is refused, in sentences that do not name the model."""
        found = self.certificate
        reasons = (
            [self.refusal] if self.refusal else [f"{x.check}: {x.detail}" for x in (found.refused if found else [])]
        )
        return [
            re.sub(r" \(relative difference [^)]*\)", "", x.replace(self.member.architecture, "the model"))
            for x in reasons
        ]

    @property
    def row(self) -> tuple[str, ...]:
        """The table's row but for its last cell, the layouts of a family one below the other."""
        found = self.certificate
        numbers = [] if found is None else [x.value for x in found.lines if x.value is not None and x.verdict == "ok"]
        largest = f"{max(numbers):.1g}" if numbers else ""
        return (self.member.family, self.member.layout, self.member.architecture, largest, self.holds)


def outcome(member: Member) -> Outcome:
    """The member loaded and checked; a refusal is a sentence of ours, and anything else that is raised is a fault."""
    plain = member.model()
    try:
        model = load_model(plain, tokenizer=member.tokenizer())
    except Exception as error:
        text = " ".join(str(error).split())
        last = traceback.extract_tb(error.__traceback__)[-1]
        ours = isinstance(error, ValueError | OSError | ImportError) and "steering_lab" in Path(last.filename).parts
        if ours and len(text) <= SENTENCE:
            return Outcome(member, refusal=text)
        return Outcome(member, raised=f"{type(error).__name__}: {text[:120]}")
    return Outcome(member, certificate(model, plain=plain))


def table(outcomes: list[Outcome]) -> str:
    """Markdown: one row a layout, and below them the reasons that the last column numbers."""
    reasons = list(dict.fromkeys(reason for one in outcomes for reason in one.reasons))
    rows = [HEADER, ("---",) * len(HEADER)]
    for one in outcomes:
        rows.append((*one.row, ", ".join(str(1 + reasons.index(reason)) for reason in one.reasons)))
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([*lines, "", *(f"{i}. {reason}" for i, reason in enumerate(reasons, 1))]) + "\n"


def summary(outcomes: list[Outcome]) -> str:
    """One sentence of counts."""
    wrong = [one for one in outcomes if one.wrong]
    refused = [one for one in outcomes if one.refusal]
    whole = [one for one in outcomes if one.holds == "everything"]
    return (
        f"Of {len(outcomes)} layouts {len(whole)} are right in everything, "
        f"{len(outcomes) - len(whole) - len(wrong) - len(refused)} in everything but a view that is refused, "
        f"{len(refused)} are refused at the door and {len(wrong)} are wrong."
    )


def write(outcomes: list[Outcome], page: Path = PAGE) -> None:
    """The page with its table made anew; what stands around it stays."""
    before, _, rest = page.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    middle = f"{START}\n\n{summary(outcomes)}\n\n{table(outcomes)}\n{END}"
    page.write_text(before + middle + after, encoding="utf-8")


def main() -> None:
    """The zoo, or some of it, on the terminal."""
    parser = argparse.ArgumentParser(description="Check the tiny models of every family.")
    parser.add_argument("--only", nargs="+", choices=list(ZOO), metavar="NAME", help="these members, in whole")
    parser.add_argument("--write", action="store_true", help=f"write the table of {PAGE.name}")
    options = parser.parse_args()
    if options.only and options.write:
        parser.error("--write is for the whole table: leave out --only")
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    outcomes = []
    for name in options.only or ZOO:
        began = time.perf_counter()
        one = outcome(ZOO[name])
        print(
            f"{name:22} {one.holds:26} {one.row[3]:7} {time.perf_counter() - began:4.1f} s  {'; '.join(one.reasons)}",
            flush=True,
        )
        if options.only and one.certificate is not None:
            print(f"\n{one.certificate}")
        outcomes.append(one)
    print(f"\n{summary(outcomes)}")
    if options.write:
        write(outcomes)
    sys.exit(any(one.wrong for one in outcomes))


if __name__ == "__main__":
    main()
