"""What a paper claims in one of its figures or tables, and what came of it here: checks, and the verdict they make.

The claim is written before the run, as lines that `study.expectations` reads (`expects`: what is larger, where it
falls, what stays), and as the paper's numbers (`numbers`: held where our interval holds them). Of the answers follows
one word:

    not reproduced   a line of `expects` failed
    cannot say       none failed, and one could not be answered
    reproduced       all held, and so did every number
    in shape         all held, and a number did not, or none was given
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any, ClassVar, Literal, NamedTuple

import pandas as pd

from steering_lab.study.expectations import answers, idle_of, named, said
from steering_lab.study.settings import ExpectationSettings

Word = Literal["reproduced", "in shape", "not reproduced", "cannot say"]
WORDS: tuple[Word, ...] = ("not reproduced", "cannot say", "in shape", "reproduced")
DECIDING = ("failed", "not answered")  # how the lines begin that make a verdict not reproduced, or cannot say
MEASURED = (
    "who",
    "metric",
    "scale",
    "least",
    "most",
    "value",
    "effect",
    "low",
    "high",
    "control_low",
    "control_high",
    "p_random",
    "n_draws",
    "p",
    "p_family",
    "method",
    "place",
    "layer",
    "coeff",
    "role",
    "measure",
)


@dataclass(frozen=True)
class ClaimSettings(ExpectationSettings):
    """What a paper says, in its own numbers, and what would count as not reproduced: written before the run.

    Args:
        source: The paper, and which of its figures or tables, as a page names it.
        claim: What it claims.
        published: Its numbers, in words.
        not_reproduced: What would count as not reproduced, in words; `expects` are its lines.
        numbers: The paper's numbers, by "WHO: METRIC": each is asked for in our interval.
        differs: What differs between its setup and this one, and why, a sentence each.

    Raises:
        ValueError: one of the first four, or what is expected, is left out; a number without who and metric.
    """

    alone: ClassVar[bool] = False
    """Whether it measures seconds, so that nothing else may be made beside it."""

    source: str = ""
    claim: str = ""
    published: str = ""
    not_reproduced: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    differs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("source", "claim", "published", "not_reproduced", "expects"):
            if not getattr(self, name):
                raise ValueError(f"{name} is left out: the page of a paper's figure says what was claimed beside it")
        if wrong := [name for name in self.numbers if ": " not in name]:
            raise ValueError(f'numbers has {wrong[0]!r}: write "WHO: METRIC" = number')


class Verdict(NamedTuple):
    """What became of a claim.

    Args:
        word: The verdict.
        ours: The lines that failed, or were not answered, and our number with its interval, in a few words.
        checks: What it follows from: answer, expected and measured of each line and number.
    """

    word: Word
    ours: str
    checks: pd.DataFrame

    @property
    def said(self) -> str:
        """The lines that make the verdict where some do, which older runs do not have in `ours`, and our number."""
        lines = "" if self.ours.startswith(DECIDING) else deciding(self.checks)
        return "; ".join(filter(None, [lines, self.ours]))

    @property
    def counted(self) -> str:
        """How many lines there are of each answer, and how many of the numbers asked for are inside our intervals."""
        said = []
        for about, name, *words in (("shape", "lines", "held", "failed"), ("number", "numbers", "inside", "outside")):
            found = list(self.checks.loc[self.checks["about"] == about, "answer"])
            told = zip(("held", "failed", "cannot say"), (*words, "cannot say"), strict=True)
            each = [f"{n} {word}" for answer, word in told if (n := found.count(answer))]
            said += [f"{name}: {', '.join(each)}"] if each else []
        return "; ".join(said)

    @property
    def sentence(self) -> str:
        """The verdict and what makes it so, as a page begins."""
        return f"{self.word.capitalize()} ({self.counted}): {self.said}."

    def as_json(self) -> dict[str, Any]:
        """What `verdict.json` of a run holds."""
        return {"verdict": self.word, "ours": self.ours, "checks": self.checks.to_dict("records")}

    @classmethod
    def read(cls, held: Mapping[str, Any]) -> "Verdict":
        """The verdict of a `verdict.json`.

        Args:
            held: What the file holds.
        """
        return cls(held["verdict"], held["ours"], pd.DataFrame(held["checks"]))


def judge(config: ClaimSettings, measured: pd.DataFrame, ours: str) -> Verdict:
    """The verdict that a run's numbers make.

    Args:
        config: What is claimed.
        measured: The columns `MEASURED`, a row for each who and metric; where there is no number, NaN. With `against`,
            a row may be a paired difference to another who.
        ours: Our number beside the paper's, in a few words.
    """
    return _verdict(checks_of(config.expects, config.numbers, measured), ours)


def judged_again(verdict: Verdict, config: Mapping[str, Any], measured: pd.DataFrame) -> Verdict:
    """The verdict on a run's numbers by today's rules, in today's words.

    Args:
        verdict: What was said when it was made.
        config: The run's settings, as config.json has them.
        measured: As in `judge`.
    """
    ours = verdict.ours.removeprefix(deciding(verdict.checks)).removeprefix("; ")
    return _verdict(checks_of(config["expects"], config.get("numbers", {}), measured), ours)


def _verdict(checks: pd.DataFrame, ours: str) -> Verdict:
    shapes, asked = (set(checks.loc[checks["about"] == about, "answer"]) for about in ("shape", "number"))
    word: Word = "in shape"
    if "failed" in shapes:
        word = "not reproduced"
    elif "cannot say" in shapes:
        word = "cannot say"
    elif asked == {"held"}:
        word = "reproduced"
    return Verdict(word, "; ".join(filter(None, [deciding(checks), ours])), checks)


def checks_of(expects: Sequence[str], numbers: Mapping[str, float], measured: pd.DataFrame) -> pd.DataFrame:
    """The `checks` of a verdict, with random vectors' band wherever there is one.

    Args:
        expects: The lines.
        numbers: The numbers that are asked for, by "WHO: METRIC".
        measured: As in `judge`.
    """
    measured = measured.reindex(columns=[*MEASURED, "against"])
    shapes = answers(expects, measured, bands=True)
    asked = [_asked(name, number, measured) for name, number in numbers.items()]
    blocks = [shapes.assign(about="shape"), pd.DataFrame(asked, columns=shapes.columns).assign(about="number")]
    return pd.concat(blocks, ignore_index=True)


def deciding(checks: pd.DataFrame) -> str:
    """The lines that failed, or where none did those without an answer, each with what was measured; else nothing.

    Args:
        checks: Those of a verdict.
    """
    shapes = checks[checks["about"] == "shape"]
    for answer, begins in zip(("failed", "cannot say"), DECIDING, strict=True):
        if len(rows := shapes[shapes["answer"] == answer]):
            each = (f'"{row.expected}" ({row.measured})' for row in rows.itertuples())
            return f"{begins} {', '.join(each)}"
    return ""


def _rows_of(who: str, metric: str, measured: pd.DataFrame) -> list[Any]:
    """The rows of one who and metric that are no paired difference; names as lines have them."""
    alone = measured[measured["against"].isna()]
    asked = (alone["who"].map(named) == named(who)) & (alone["metric"].map(named) == named(metric))
    return list(alone[asked].itertuples())


def _asked(name: str, number: float, measured: pd.DataFrame) -> dict[str, str]:
    who, _, metric = name.partition(": ")
    rows = _rows_of(who, metric, measured)
    if not rows:
        raise ValueError(f"numbers has {name!r}, and the run measures {', '.join(names_in(measured))}")
    low, high, idle = rows[0].low, rows[0].high, idle_of(rows[0])
    answer = "cannot say" if isnan(low) else "held" if low <= number <= high else "failed"
    nearer_to_none = abs(rows[0].effect - idle) < abs(rows[0].effect - number)
    if answer == "held" and rows[0].scale != "level" and low <= idle <= high and nearer_to_none:
        answer = "cannot say"  # the interval holds no effect too, and ours is nearer to that
    return {"answer": answer, "expected": f"{name} is {number:g}", "measured": said(rows[0])}


def names_in(measured: pd.DataFrame) -> list[str]:
    """Every "WHO: METRIC" of a measured table.

    Args:
        measured: The table.
    """
    return [f"{row.who}: {row.metric}" for row in measured.itertuples()]
