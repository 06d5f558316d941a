"""The tidy table: its columns with their types, units and meanings, what a cell is, and what "unsteered" is.

Three tables follow from one another. *Generations*: one row per continuation. *Measurements*: one row per observation
and metric, the same columns whatever was measured. *Summary*: one row per cell and metric, with intervals. All three
begin with the factors of the condition that a row belongs to. A table may have further columns (the answers that it is
judged by, the regime of a question); those that are named here mean the same in all of them. `checked` is called where
a table is made and where it is read. Nothing here knows a model or a figure; docs/table.md is made for other readers.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from steering_lab.numerics.kinds import OPEN, Bounds, Kind

Role = Literal["unsteered", "steered", "control", "baseline"]
Scale = Literal["difference", "ratio"]
Unit = Literal["coeff", "resid_norm", "nats"]
State = Literal["works", "works, over budget", "moves, not told from random vectors", "moves", "nothing shown"]
MEANING: dict[State, str] = {
    "works": "told from unsteered and from random vectors, corrected over the grid, within budget",
    "works, over budget": "told from unsteered and from random vectors, corrected over the grid, but costs too much",
    "moves, not told from random vectors": "told from unsteered, not from random vectors of equal norm",
    "moves": "told from unsteered; fewer than three random vectors of equal norm were run beside it",
    "nothing shown": "not told from unsteered",
}
"""What each state of a cell says: the word, and what it stands for."""
Type = Literal["text", "number", "whole", "flag"]

CELL = ("method", "place", "control_of", "layer", "coeff", "budget")
"""What one cell is: rows that agree in these columns, missing being a value like any other."""
FAMILY = CELL[:3]
"""What one search goes over the cells of: a method at a place, or its control."""
OBSERVATION = ("prompt", "sample")
"""What identifies an observation within a cell and draw; equal ones are paired across conditions."""
OF_A_CHANGE = ("kl", "neutral_kl", "neutral_kl_median", "neutral_kl_p95", "top1_agreement")
"""Metrics of how far a model is from the unsteered one, which itself is at their end, exactly."""
PERCENTILES = ("norm_percentile", "distance_percentile")
"""How far out a cell takes the stream among the tokens of neutral text (`analysis.off_manifold`), in [0, 100]."""


class WrongTable(ValueError):
    """A table is not of the kind that is needed, for the reason said."""


class Column(NamedTuple):
    """One column: `always` says that no row may lack it, `allowed` which words there are.

    Args:
        name: The column's name.
        type: What its values are.
        meaning: What it says, in words.
        unit: Its unit; "" is none.
        always: Whether no row may lack it.
        allowed: The words there are; () is any.
    """

    name: str
    type: Type
    meaning: str
    unit: str = ""
    always: bool = False
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Factors:
    """What a condition is, as it stands in every table; None is "does not apply" or "differs between its edits".

    Args:
        method: What was done, by its name.
        role: What the condition is there for: unsteered, steered, control or baseline.
        place: At which tokens.
        control_of: The method that it is a control of.
        layer: The layer that is edited.
        coeff: What the edit is multiplied by.
        budget: What bounds the method, where that is not the coefficient.
        unit: What its strength is counted in: coeff, resid_norm or nats.
        relative_norm: |coeff x vector| / median |residual| at the site.
        draw: Which of the control's random draws.
    """

    method: str
    role: Role
    place: str | None = None
    control_of: str | None = None
    layer: int | None = None
    coeff: float | None = None
    budget: float | None = None
    unit: Unit | None = None
    relative_norm: float | None = None
    draw: int | None = None


FACTORS = (
    Column("method", "text", "what was done, by its name", always=True),
    Column("role", "text", "what the condition is there for", always=True, allowed=get_args(Role)),
    Column("place", "text", "which tokens are edited: front, everywhere, from_last_prompt_token, generated or at(i)"),
    Column("control_of", "text", "the method that a control is a control of"),
    Column("layer", "number", "the layer that is edited; missing without an edit or where several are", "block"),
    Column("coeff", "number", "what the edit is multiplied by; 0 for the unsteered model", "1"),
    Column("budget", "number", "the most that the method was allowed to do, where it was bounded by that", "see unit"),
    Column("unit", "text", "what its strength is counted in: the column coeff, or the budget's unit",
           allowed=get_args(Unit)),
    Column("relative_norm", "number", "length of the coefficient times the longest row over the median residual there",
           "median residual norm"),
    Column("draw", "number", "which of a control's random draws"),
)  # fmt: skip
_CONDITION = Column("condition", "text", "the condition's own name", always=True)
_SAMPLED = (
    Column("prompt", "text", "the prompt itself, the id of a question, or the number of a held-out text", always=True),
    Column("sample", "whole", "which of the prompt's repeats", always=True),
)
_METRIC = (
    Column("metric", "text", "what was measured", always=True),
    Column("scale", "text", "how it is compared with unsteered", always=True, allowed=get_args(Scale)),
    Column(
        "distribution",
        "text",
        "how its differences are distributed, which decides how an interval is made",
        always=True,
        allowed=tuple(Kind),
    ),
    Column("least", "number", "the smallest value there can be; missing where there is none", "the metric's"),
    Column("most", "number", "the largest value there can be; missing where there is none", "the metric's"),
)


class Table(NamedTuple):
    """A kind of table: its name and the columns that every table of the kind has."""

    name: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return [column.name for column in self.columns]


GENERATIONS = Table("generations", (
    _CONDITION, *FACTORS, *_SAMPLED,
    Column("text", "text", "the continuation; missing where there is none"),
    Column("n_tokens", "whole", "tokens of the continuation", "token", always=True),
    Column("log_prob_unsteered", "number", "of the continuation under the unsteered model on the bare prompt", "nat"),
    Column("log_prob_steered", "number", "of the continuation under the condition that wrote it", "nat"),
))  # fmt: skip
MEASUREMENTS = Table("measurements", (
    _CONDITION, *FACTORS, *_SAMPLED, *_METRIC,
    Column("value", "number", "the observation; missing where the row does not determine it", "the metric's"),
    Column("weight", "number", "what the row weighs in a mean", "1 or token", always=True),
))  # fmt: skip
SUMMARY = Table("summary", (
    *FACTORS[:-1], *_METRIC,
    Column("value", "number", "mean of all known values, geometric for a ratio", "the metric's"),
    Column("effect", "number", "paired difference to unsteered, or ratio to it", "the metric's, or 1"),
    Column("low", "number", "lower end of the effect's interval", "as effect"),
    Column("high", "number", "upper end of the effect's interval", "as effect"),
    Column("why", "text", "why there is no interval; missing where there is one"),
    Column("p", "number", "of an effect as large without steering", "probability"),
    Column("p_family", "number", "the same, corrected for the search over the method's cells", "probability"),
    Column("n", "whole", "pairs of which both values are known", always=True),
    Column("n_missing", "whole", "pairs of which one is not", always=True),
    Column("n_prompts", "whole", "prompts with a known pair", always=True),
    Column("degenerate", "flag", "more than half of the cell's continuations have broken down"),
    Column("control_low", "number", "lower end of where one more random draw's effect would fall", "as effect"),
    Column("control_high", "number", "upper end of it", "as effect"),
    Column("n_draws", "whole", "draws that this was judged by", always=True),
    Column("p_random", "number",
           "of the best of as many random vectors' cells lying as far from what random vectors do", "probability"),
))  # fmt: skip


TIDY = {
    "generations": GENERATIONS, "table": MEASUREMENTS, "summary": SUMMARY, "confirmed": SUMMARY, "validation": SUMMARY,
}  # fmt: skip
"""What the files of a run hold whose names are the usual ones."""


def within_reach(table: pd.DataFrame) -> pd.DataFrame:
    """The table with nothing left of what a measure cannot be; one without effects and bounds as it is.

    Random vectors' band is cut where the measure ends: a share of 6 % falls by 6 points at most. So is the interval of
    a metric `OF_A_CHANGE`; another's is not, the unsteered value being an estimate too.

    Args:
        table: One row per cell and metric, with the columns of a summary.
    """
    if not {"metric", "scale", "value", "effect", "least", "most", "low", "control_low"} <= set(table.columns):
        return table
    unsteered = (table["value"] - table["effect"]).where(table["scale"] != "ratio")
    floor, roof = (table["least"] - unsteered).fillna(-np.inf), (table["most"] - unsteered).fillna(np.inf)
    banded = table.assign(**{end: table[end].clip(floor, roof) for end in ("control_low", "control_high")})
    change = table["metric"].isin(OF_A_CHANGE)
    ends = {end: table[end].where(~change, table[end].clip(floor, roof)) for end in ("low", "high")}
    return banded.assign(**ends)


def checked(table: pd.DataFrame, kind: Table, only: Sequence[str] | None = None) -> pd.DataFrame:
    """The table with each of the kind's columns in its type; further columns stay as they are.

    Args:
        table: What was made or read.
        kind: What it is to be.
        only: The columns that a reader needs, all of them by default.

    Raises:
        WrongTable: a column that is absent, of another type, or with a value that is missing or not allowed.
    """
    columns = [column for column in kind.columns if only is None or column.name in only]
    if lacking := [column for column in columns if column.name not in table]:
        first, others = lacking[0], f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise WrongTable(
            f"the table of {kind.name} has no column {first.name!r} ({first.meaning}){others}: if an older version of"
            " steering_lab wrote it, run the experiment again"
        )
    return table.assign(**{column.name: _typed(table[column.name], column, kind) for column in columns})


def _typed(values: pd.Series, column: Column, kind: Table) -> pd.Series:
    where = f"column {column.name!r} of the {kind.name}"
    missing = values.isna()
    if column.always and missing.any():
        raise WrongTable(f"{where} has no value in {int(missing.sum())} of {len(values)} rows: every row needs one")
    if column.type == "text":
        if not isinstance(values.dtype, pd.StringDtype):  # which holds nothing else
            _check_text(values[~missing], where)
        if column.allowed and len(odd := values[~missing & ~values.isin(column.allowed)]):
            raise WrongTable(f"{where} is {odd.iloc[0]!r}: one of {', '.join(column.allowed)}")
        return values.astype("str")
    try:
        if column.type == "flag":
            return values.astype("boolean")
        numbers = values.astype("float64")
        return numbers.astype("int64") if column.type == "whole" else numbers
    except (TypeError, ValueError) as error:
        raise WrongTable(f"{where} is a {column.type}: {error}") from error


def _check_text(values: pd.Series, where: str) -> None:
    if not (wrong := values[~values.map(lambda value: isinstance(value, str))]).empty:
        raise WrongTable(f"{where} is text, not {wrong.iloc[0]}")


def measurements(
    condition: str,
    factors: Factors,
    observed: pd.DataFrame,
    *,
    metric: str,
    scale: Scale = "difference",
    kind: Kind = Kind.SKEWED,
    bounds: Bounds = OPEN,
) -> pd.DataFrame:
    """The measurements of one condition and metric; `observed` has prompt, sample, value and, unless 1, weight.

    Args:
        condition: Its name.
        factors: What it is.
        observed: Prompt, sample, value and, unless 1, weight.
        metric: What was measured.
        scale: How values are compared with the unsteered: "difference" or "ratio".
        kind: How its differences are distributed; skewed where nothing is known.
        bounds: The smallest and the largest value there can be; infinite where there is none.

    Raises:
        ValueError: see `described`.
    """
    table = observed.assign(condition=condition, **asdict(factors), **described(metric, scale, kind, bounds))
    return checked(table if "weight" in table else table.assign(weight=1.0), MEASUREMENTS)[MEASUREMENTS.names]


def described(metric: str, scale: Scale, kind: Kind, bounds: Bounds) -> dict[str, str | float]:
    """What the columns of a metric say in every row of it: metric, scale, distribution, least and most.

    Args:
        metric: What was measured.
        scale: How values are compared with the unsteered: "difference" or "ratio".
        kind: How its differences are distributed.
        bounds: The smallest and the largest value there can be; infinite where there is none.

    Raises:
        ValueError: bounds that do not ascend, or a bounded measure without two finite ones or compared as a ratio.
    """
    least, most = bounds
    if not least < most:
        raise ValueError(f"{metric} has the bounds {least} and {most}: name the smallest value first")
    if kind == Kind.BOUNDED and not (np.isfinite(bounds).all() and scale == "difference"):
        raise ValueError(f"{metric} is bounded, so it needs two finite bounds, not {bounds}, and is no ratio")
    ends = {
        name: float(end) if np.isfinite(end) else np.nan for name, end in zip(("least", "most"), bounds, strict=True)
    }
    return {"metric": metric, "scale": scale, "distribution": str(Kind(kind)), **ends}


def is_unsteered(table: pd.DataFrame) -> pd.Series:
    """Which rows of `table` are the unsteered model's: what all others are compared with."""
    return table["role"] == "unsteered"


def in_cell(table: pd.DataFrame, cell: pd.Series, by: Sequence[str] = CELL) -> pd.Series:
    """Which rows belong to the cell that a row of a table belongs to; what both lack is equal.

    Args:
        table: Any table with the columns `by`.
        cell: A row of that table or of another with them.
        by: The factors that make a cell.
    """
    same = [(table[name] == cell[name]) | (table[name].isna() & pd.isna(cell[name])) for name in by]
    return pd.Series(np.logical_and.reduce(same), table.index, dtype=bool)


def strength(rows: pd.DataFrame) -> pd.Series:
    """How hard the condition of each of `rows` steers, in its `unit`: its budget, or else its coefficient."""
    return rows["budget"].where(rows["budget"].notna(), rows["coeff"])


def method_names(rows: pd.DataFrame) -> pd.Series:
    """What a reader calls the method of each of `rows`: with its place, and a control with what it is a control of."""
    names = [
        " ".join([row.method, *(["beside", row.control_of] if isinstance(row.control_of, str) else [])])
        + (f", {row.place}" if isinstance(row.place, str) else "")
        for row in rows[["method", "place", "control_of"]].itertuples()
    ]
    return pd.Series(names, rows.index, dtype="str").str.replace("_", " ")
