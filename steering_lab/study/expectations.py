"""What an experiment expects, as lines that its tables answer: held, failed, or cannot say.

    WHO: METRIC CLAIM            contextfocus: agreement falls by at most 0.03

WHO is what was done, by the experiment's own names. METRIC is a measure's name; "effect" is the one that chose. A claim
is about the confirmed effect, against the unsteered model: a difference, or a ratio less 1 where METRIC is a ratio.

    rises                        falls                        the interval lies on that side of no effect
    rises by at least 0.25       falls by at most 0.03
    moves by at most 0.05                                     to either side
    rises beyond random vectors  falls beyond random vectors  of the same norm
    at most 1.5                  at least -0.9                the effect itself, so of a ratio the ratio
    above 0                      below 0                      the same, the number itself being neither
    above WHO                    below WHO                    the same metric of another

A claim held where the whole interval is on its side, and failed where the whole interval is on the other. Beyond random
vectors held as a verdict has it (`confirmation.verdict`): the interval leaves out no effect, the effect is beyond the
band, and p_random and p_family are at most 0.05; in a table without p_random the whole interval has to be beyond the
band. It failed where no part of the interval is beyond 1.96 standard deviations of what the draws did: the band itself
is wider by what few draws leave open. Between the two nothing can be said, nor where the band reaches what the measure
can be: no vector could be beyond it.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from itertools import product
from math import isnan
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from steering_lab.analysis.plots.parts.labels import digits_apart, signed
from steering_lab.evaluation.running.control_vectors import RANDOM_CONTROLS
from steering_lab.numerics.significance import LEVEL
from steering_lab.numerics.written import reach, times

Answer = Literal["failed", "held", "cannot say"]
AS_RANDOM = ", as random vectors may"  # of a number that lies in their band, and that no line compares with it
ORDER: tuple[Answer, ...] = ("failed", "cannot say", "held")
_N = r"\d*\.?\d+(?:e[+-]?\d+)?"  # how far: never below 0
_LEVEL = rf"[-−+]?{_N}"
_FEW = 12  # names that are all said to who wrote another
_CLAIM = re.compile(
    rf"(?P<metric>.+?) (?:(?P<way>rises|falls)(?: by at (?P<least>least|most) (?P<by>{_N})|(?P<random> beyond random"
    rf" vectors))?|moves by at most (?P<within>{_N})|at (?P<end>most|least) (?P<level>{_LEVEL})|(?P<side>above|below)"
    rf" (?:(?P<beyond>{_LEVEL})|(?P<other>.+)))"
)


class Bound(NamedTuple):
    """A claim that an effect is above a number, or with `up` false below it.

    Args:
        number: Beyond which the whole interval is if the claim held.
        up: Whether beyond is above.
        strict: The number itself is not beyond.
        failed: Beyond which no end is if the claim failed; another number where `number` is an estimate itself.
    """

    number: float
    up: bool
    strict: bool = False
    failed: float | None = None

    def answer(self, low: float, high: float) -> Answer:
        """Whether an interval is on the claimed side, on the other, or on both.

        Args:
            low: The lower end of the interval, NaN where there is none: it cannot say.
            high: The upper end.
        """
        sign = 1 if self.up else -1
        near, far = sorted((sign * low, sign * high))
        held, failed = sign * self.number, sign * (self.number if self.failed is None else self.failed)
        if near > held or (near == held and not self.strict):
            return "held"
        return "failed" if far < failed or (far == failed and self.strict) else "cannot say"


@dataclass(frozen=True)
class Expectation:
    """A line, read: of whom, which metric, and what is claimed of it.

    Args:
        text: The line as it was written.
        who: Of whom, spaces for underscores.
        metric: Which metric, likewise.
        claim: What is claimed, by its words: {"way": "rises", "by": "0.1"}.
    """

    text: str
    who: str
    metric: str
    claim: dict[str, str]

    @classmethod
    def read(cls, text: str) -> "Expectation":
        """The line. Raises ValueError where it is none, or compares something with itself.

        Args:
            text: "WHO: METRIC CLAIM", such as "front: perplexity at most 1.5".
        """
        who, colon, rest = text.partition(": ")
        found = _CLAIM.fullmatch(rest.strip())
        if re.search(rf" by at (least|most) [-−]{_N}$", rest.strip()):
            raise ValueError(
                f"expectation {text!r} moves by less than nothing: write falls for rises, or a number that the effect"
                " itself is at least or at most"
            )
        if not colon or found is None:
            raise ValueError(
                f"expectation {text!r} cannot be read: write WHO: METRIC CLAIM, such as 'front: perplexity at most 1.5'"
                " (rises, falls; by at least or at most a number, or beyond random vectors; moves by at most; at most,"
                " at least, above, below a number; above, below another)"
            )
        claim = {key: value.strip() for key, value in found.groupdict().items() if value and key != "metric"}
        line = cls(text, named(who), named(found["metric"]), claim)
        if line.other == line.who or ("random" in claim and line.who == "random"):
            raise ValueError(f"expectation {text!r} compares {line.who!r} with itself, which can never hold")
        return line

    @property
    def other(self) -> str:
        """Whom it is compared with, empty where with nobody."""
        return named(self.claim.get("other", ""))

    def bounds(self, idle: float, others: pd.DataFrame) -> Iterator[Bound]:
        """What an effect has to be above or below.

        Args:
            idle: No effect: 0 of a difference, 1 of a ratio.
            others: The rows of whom it is compared with; empty where it is with nobody.
        """
        claim = self.claim
        up = claim.get("way") == "rises" or claim.get("side") == "above" or claim.get("end") == "least"
        if "within" in claim:
            yield from (Bound(idle - float(claim["within"]), True), Bound(idle + float(claim["within"]), False))
        elif "level" in claim or "beyond" in claim:
            number = claim.get("level", claim.get("beyond", "")).replace("−", "-")
            yield Bound(float(number), up, strict="beyond" in claim)
        elif "by" in claim:
            sign = 1 if up else -1
            yield Bound(idle + sign * float(claim["by"]), up == (claim["least"] == "least"))
        elif "other" in claim:
            for other in others.itertuples():
                yield Bound(other.high if up else other.low, up, True, other.low if up else other.high)
        else:
            yield Bound(idle, up, strict=True)

    def beyond_random(self, row: Any) -> Answer:
        """Whether an effect is beyond random vectors' band on the claimed side, by the rule of `confirmation.verdict`.

        Args:
            row: Its row of the measured table, a named tuple.
        """
        up = self.claim["way"] == "rises"
        edge, sign = (row.control_high, 1) if up else (row.control_low, -1)
        if any(map(isnan, (row.effect, row.low, row.high, edge))):
            return "cannot say"
        moves, p_random = self.moves(row), getattr(row, "p_random", float("nan"))
        if moves == "failed":
            return "failed"
        if sign * edge >= sign * _reach(row, up):
            return "cannot say"
        if sign * (row.high if up else row.low) <= sign * _surely_random(row, up):
            return "failed"
        told = p_random <= LEVEL and not getattr(row, "p_family", float("nan")) > LEVEL
        if isnan(p_random):
            told = Bound(edge, up, strict=True).answer(row.low, row.high) == "held"
        return "held" if moves == "held" and told and sign * row.effect > sign * edge else "cannot say"

    def moves(self, row: Any) -> Answer:
        """Whether an effect is on the claimed side of no effect, of a line about random vectors.

        Args:
            row: Its row of the measured table, a named tuple.
        """
        [off] = self.bounds(idle_of(row), pd.DataFrame())
        return off.answer(row.low, row.high)


def _reach(row: Any, up: bool) -> float:
    """The largest difference from unsteered that a row's measure can show, on one side; without an end of it, inf."""
    end, value = getattr(row, "most" if up else "least", float("nan")), getattr(row, "value", float("nan"))
    without = float("inf") if up else -float("inf")
    return without if isnan(end) or isnan(value) or row.scale == "ratio" else end - (value - row.effect)


def _surely_random(row: Any, up: bool) -> float:
    """How far on one side 95 % of random vectors go if the draws' mean and spread are exact; the band's end is further.

    Args:
        row: A row with a band; `n_draws`, where it has it, is how many the band was made of.
        up: On which side.
    """
    log, ends = row.scale == "ratio", np.array([row.control_low, row.control_high])
    low, high = np.log(ends) if log else ends
    k = getattr(row, "n_draws", float("nan"))
    exact = norm.ppf(0.975) / (t.ppf(0.975, k - 1) * np.sqrt(1 + 1 / k)) if k > 1 else 1.0
    end = (low + high) / 2 + (1 if up else -1) * exact * (high - low) / 2
    return float(np.exp(end) if log else end)


def named(name: str) -> str:
    """A name as lines have it: underscores are spaces."""
    return " ".join(name.replace("_", " ").split())


def idle_of(row: Any) -> float:
    """What no effect is on the scale of a row: 1 of a ratio, else 0."""
    return 1.0 if row.scale == "ratio" else 0.0


def check(expects: Iterable[str], who: Collection[str], metrics: Collection[str]) -> None:
    """Nothing when all lines can be read and name what there is.

    Args:
        expects: The lines.
        who: What may have been done, by name.
        metrics: What is measured; "effect" besides.

    Raises:
        ValueError: a line that cannot be read or names something else; says what there is, or the nearest of it.
    """
    known = {"who": set(map(named, who)), "metric": {"effect", *map(named, metrics)}}
    for one in map(Expectation.read, expects):
        for kind, name in (("who", one.who), ("who", one.other or one.who), ("metric", one.metric)):
            if name not in known[kind]:
                raise ValueError(f"expectation {one.text!r} names {name!r}: {_instead(name, known[kind])}")


def _instead(name: str, known: set[str]) -> str:
    """What there is in the place of a name: all if they are few, or else how many, and the nearest."""
    if len(known) <= _FEW:
        return f"known are {', '.join(sorted(known))}"
    near = get_close_matches(name, sorted(known), 4) or sorted(known, key=lambda one: (len(one), one))[:4]
    return f"of the {len(known)} names there are, the nearest are {', '.join(near)}"


def unmeasured(who: Iterable[str], metrics: Iterable[str], why: str) -> pd.DataFrame:
    """Rows of a measured table without a number: the lines about them cannot be answered, and say why.

    Args:
        who: Of whom.
        metrics: Which metrics.
        why: The reason.
    """
    numbers = dict.fromkeys(("effect", "low", "high", "control_low", "control_high"), float("nan"))
    rows = [
        {"who": one, "metric": metric, "scale": "difference", **numbers, "against": None, "why": why}
        for one, metric in product(who, metrics)
    ]
    return pd.DataFrame(rows)


def expected_answers(config: Mapping[str, Any], measured: pd.DataFrame) -> pd.DataFrame | None:
    """The `answers` to what a run's settings expect; None where they expect nothing.

    Args:
        config: The settings of the run.
        measured: As in `answers`.
    """
    expects, kinds = config.get("expects", ()), [kind for kind in config.get("controls", ()) if kind in RANDOM_CONTROLS]
    return answers(expects, measured, kinds=len(kinds) or 1) if expects else None


def answers(expects: Sequence[str], measured: pd.DataFrame, *, bands: bool = False, kinds: int = 1) -> pd.DataFrame:
    """One row per line: answer, expected, measured; failed ones first, then those that nothing can be said of.

    Where several rows are of the same who and metric, a line held if it holds for all, and failed if it fails for one.

    Args:
        expects: The lines.
        measured: who, metric, scale, effect, low, high, control_low, control_high and against, which is missing, or the
            who that a paired difference is to; p_random, n_draws and p_family where they are known, and why there is no
            number or no interval, or where another row was taken than was asked for.
        bands: Whether random vectors' band is said of every line, and not only of one about them.
        kinds: Of how many kinds of random vectors the draws are, as many of each.
    """
    rows = measured.assign(who=measured["who"].map(named), metric=measured["metric"].map(named))
    told = pd.DataFrame([_answered(one, rows, bands, kinds) for one in map(Expectation.read, expects)])
    return told.sort_values("answer", key=lambda answer: answer.map(ORDER.index), kind="stable", ignore_index=True)


def _answered(one: Expectation, measured: pd.DataFrame, bands: bool, kinds: int) -> dict[str, str]:
    other = one.other
    of_metric = measured[measured["metric"] == one.metric]
    own = of_metric[(of_metric["who"] == one.who) & of_metric["against"].isna()]
    paired = of_metric[(of_metric["who"] == one.who) & (of_metric["against"] == other)]
    others = of_metric[(of_metric["who"] == other) & of_metric["against"].isna()]
    if len(paired):
        idle = idle_of(next(paired.itertuples()))  # a paired ratio is over the other, so that no difference is 1
        own, others = paired, pd.DataFrame([{"low": idle, "high": idle}])
    told = [
        said(row, band=bands or "random" in one.claim) + _beside_random(one, row, of_metric, kinds)
        for row in own.itertuples()
    ]
    if told and not len(paired):
        told += [f"{other}{':' if isnan(row.low) else ''} {said(row)}" for row in others.itertuples()]
    each = [answer for row in own.itertuples() for answer in _each(one, row, others)]
    found = next((answer for answer in ORDER if answer in each), "cannot say")
    return {"answer": found, "expected": one.text, "measured": "; ".join(told) or "not measured in this run"}


def _each(one: Expectation, row: Any, others: pd.DataFrame) -> list[Answer]:
    if "random" in one.claim:
        return [one.beyond_random(row)]
    bounds = list(one.bounds(idle_of(row), others))
    known = bounds and not any(map(isnan, (row.low, row.high, *(bound.number for bound in bounds))))
    return [bound.answer(row.low, row.high) for bound in bounds] if known else ["cannot say"]


def said(row: Any, band: bool = False) -> str:
    """An effect with its interval, or an interval alone, as a difference or a ratio; with random vectors' band.

    Args:
        row: Its row of the measured table, a named tuple.
        band: Whether random vectors' band is said too.
    """
    show = shown_beside(row, band=band)

    def span(low: float, high: float) -> str:
        return "" if isnan(low) else f"[{show(low)}, {show(high)}]"

    against = f" against {row.against}" if isinstance(row.against, str) else ""
    number, ends, why = "" if isnan(row.effect) else show(row.effect), span(row.low, row.high), getattr(row, "why", "")
    if isinstance(why, str) and why and not ends:
        return f"{number} (no interval: {why}){against}" if number else why
    shown = (" ".join(filter(None, [number, ends])) or "no number") + against
    where = getattr(row, "where", "")
    shown += f", {where}" if isinstance(where, str) and where else ""
    random = reach(row.control_low, row.control_high, show) if band and number else ""
    return f"{shown}; random vectors {random}" if random else shown


def _beside_random(line: Expectation, row: Any, of_metric: pd.DataFrame, kinds: int) -> str:
    """What a line's number is worth beside random vectors: by how many draws it is told, or that it is not."""
    if "random" not in line.claim:
        inside = row.control_low <= row.effect <= row.control_high
        return AS_RANDOM if inside and "level" not in line.claim else ""
    p, n = getattr(row, "p_random", float("nan")), getattr(row, "n_draws", float("nan"))
    if isnan(p) or isnan(n) or not n:
        return ""
    if row.control_low == row.control_high:
        return f", {n:.0f} draws alike: p {p:.2g}"
    draws = f"{n:.0f} draws" if kinds == 1 else f"{n / kinds:.0f} draws of each of {kinds} kinds"
    return f", {f'p {p:.2g}' if p >= 0.001 else 'p < 0.001'} by t of {draws}{_over(row, of_metric)}"


def _over(row: Any, of_metric: pd.DataFrame) -> str:
    """Over how many cells a row's p is corrected, as its sweep shows; or that it is asked alone, though it has one."""
    names = ("method", "place", "role", "measure")
    sweep = [name for name in names if name in of_metric and isinstance(getattr(row, name), str)]
    if not sweep or not {"p", "p_family"} <= set(of_metric):
        return ""
    cells = of_metric[[all(getattr(one, key) == getattr(row, key) for key in sweep) for one in of_metric.itertuples()]]
    at = [name for name in ("layer", "coeff") if name in cells and cells[name].notna().any()]
    cells = cells[cells["against"].isna()].drop_duplicates(at or ["who"])
    if len(cells) < 2:
        return ""
    corrected = (cells["p_family"].astype(float) > cells["p"].astype(float)).any()
    return f" over its {len(cells)} cells" if corrected else ", asked alone"


def shown_beside(row: Any, *, band: bool = True) -> Callable[[float], str]:
    """How an effect and its band are written: with a third digit where two do not tell it from an end of the band.

    Args:
        row: A row with scale, effect, control_low and control_high. Its scale is "difference", "ratio", or "level": a
            number that is no change of anything has no sign.
        band: Whether the band stands beside it.
    """
    if row.scale == "ratio":
        return partial(times, fine=True)
    if row.scale == "level":
        return "{:.2f}".format
    return partial(signed, digits=digits_apart(row.effect, row.control_low, row.control_high) if band else 2)
