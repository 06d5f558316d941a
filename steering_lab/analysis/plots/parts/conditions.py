"""The conditions of a comparison, taken from a summary table in the order asked for; no drawing here.

A row is one condition under one metric, in one group (say, a kind of held-out question). `effect`, `low`, `high` and
the control's band are on the effect's own scale (0 or ×1 is "as the reference"); `placed` moves them to where they are
drawn.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.cells import OPTIONAL, neutral_effect
from steering_lab.analysis.plots.parts.labels import escaped, short_signed, signed
from steering_lab.numerics.written import times
from steering_lab.tables import CELL, method_names

Show = Literal["value", "effect"]
Names = Sequence[str] | Mapping[str, str]
NUMBERS = ("value", "effect", "low", "high")
NEEDED = ("scale", *NUMBERS)
LIMITS = ("least", "most")
PUBLISHED = "published"  # the effect that a paper prints of the same row, where it prints one


class Comparison(NamedTuple):
    """`rows`: one per group and condition, both in order, NaN where the table has none (`run` is False there).

    `references` holds the reference's value in each group; `neutral` the effect of changing nothing.

    Args:
        rows: One per group and condition, in order.
        groups: The groups in order.
        references: The reference's value in each group.
        neutral: The effect of changing nothing: 0, or 1 for ratios.
    """

    rows: pd.DataFrame
    groups: list[str]
    references: dict[str, float]
    neutral: float


def compare(
    table: pd.DataFrame, *, metric: str, conditions: Names | None = None, reference: str = "unsteered"
) -> Comparison:
    """The rows of `metric`: conditions as listed (a mapping gives their names too), else in the table's order.

    A condition is called by the column `condition`; without one by its method and place, with layer and coefficient
    where these have several cells. A table without the column `metric` is of one metric, one without `group` is one
    group. Added columns: `label`, `run`, `baseline` (the reference) and `excludes` (the interval excludes no change).

    Args:
        table: A summary table.
        metric: The metric that is shown.
        conditions: The conditions in order; a mapping also names them. By default all, in the table's order.
        reference: The condition that the others are compared with.

    Raises:
        ValueError: a column is missing, the metric or a condition is not in the table, or a condition is there twice.
    """
    rows = table[table["metric"] == metric] if "metric" in table else table
    if rows.empty:
        known = sorted(table["metric"].unique()) if "metric" in table else "none at all"
        raise ValueError(f"no rows for metric {metric!r}: the table has {known}")
    if missing := [name for name in NEEDED if name not in rows]:
        raise ValueError(f"the table has no column {missing[0]!r}: it needs {', '.join(NEEDED)}")
    rows = rows.assign(condition=_names(rows), group=rows["group"].astype(str) if "group" in rows else "")
    if (twice := rows.duplicated(["group", "condition"])).any():
        first = rows[twice].iloc[0]
        raise ValueError(
            f"two rows for condition {first['condition']!r}" + f" in group {first['group']!r}" * bool("group" in table)
        )
    groups, known = list(rows["group"].unique()), list(rows["condition"].unique())
    labels = labelled(known, conditions)
    base = rows[rows["condition"] == reference]
    grid = pd.MultiIndex.from_product([groups, labels], names=["group", "condition"])
    full = rows.assign(run=True).set_index(["group", "condition"]).reindex(grid).reset_index()
    flags = {
        name: (full[name] if name in full else pd.Series(False, full.index))
        .astype("boolean")
        .fillna(False)
        .astype(bool)
        for name in ("run", "degenerate")
    }
    numbers = {
        name: pd.to_numeric(full[name]).astype(float) if name in full else np.nan
        for name in (*NUMBERS, *LIMITS, *OPTIONAL, PUBLISHED)
        if name != "degenerate"
    }
    neutral, why = neutral_effect(rows), full.get("why")
    full = full.assign(
        **flags, **numbers, why=why, label=full["condition"].map(labels), baseline=full["condition"] == reference
    )
    excludes = ((full["low"] > neutral) | (full["high"] < neutral)) & ~full["baseline"]
    values = dict(zip(base["group"], base["value"].astype(float), strict=True))
    return Comparison(full.assign(excludes=excludes), groups, {g: values.get(g, np.nan) for g in groups}, neutral)


def _names(rows: pd.DataFrame) -> pd.Series:
    if "condition" in rows:
        return rows["condition"].astype(str)
    if missing := [name for name in CELL if name not in rows]:
        raise ValueError(f"the table has no column 'condition', and no {missing[0]!r} to name one by")
    named = rows[["layer", "coeff"]].assign(method=method_names(rows))
    cells = named.drop_duplicates().groupby("method").size()
    return pd.Series(
        [
            row.method
            if cells[row.method] == 1
            else f"{row.method}, layer {row.layer:g}, coeff {short_signed(row.coeff)}"
            for row in named.itertuples()
        ],
        index=rows.index,
    )


def labelled(known: Sequence[str], conditions: Names | None) -> dict[str, str]:
    """condition -> its name on the figure, escaped, in the order asked for; all of `known` if none is asked for.

    Args:
        known: The conditions of the table, in its order.
        conditions: Those asked for, or by each what the figure calls it; None is all.

    Raises:
        ValueError: none at all, or one that is not known.
    """
    if conditions is None:
        conditions = known
    if not conditions:
        raise ValueError("no condition to draw")
    if unknown := [name for name in conditions if name not in known]:
        raise ValueError(f"no condition {unknown[0]!r}: the table has {', '.join(map(repr, known))}")
    if isinstance(conditions, Mapping):
        return {name: escaped(label) for name, label in conditions.items()}
    return {name: escaped(name.replace("_", " ")) for name in conditions}


def placed(compared: Comparison, show: Show) -> pd.DataFrame:
    """The rows with `start`, `at`, `from`, `to`, `band_from`, `band_to`, `told` and `line`, on the axis of `show`.

    For "effect" these are the table's own numbers, from no change. For "value" a mark stands at the condition's value,
    and the interval and the control's band, being of the paired difference (or ratio) to the reference, are drawn from
    the reference's value: an interval crosses the line exactly if it includes no change. Where values are missing, the
    pairs behind the effect are fewer than the values behind the mean, and the mark need not be in the middle. Nothing
    of ours is drawn beyond the metric's `limits`.

    `told` is where a published effect stands, as the interval from the reference: inside it exactly if the interval
    holds the published number.

    Args:
        compared: The rows that are drawn, on the effect's own scale.
        show: "value" or "effect".

    Raises:
        ValueError: "value" in a group without the reference's value.
    """
    rows, ends = compared.rows, ["low", "high", "control_low", "control_high", PUBLISHED]
    line = rows["group"].map(compared.references)
    if show == "effect":
        line = pd.Series(compared.neutral, rows.index)
        moved, at, start = rows[ends], rows["effect"], line
    else:
        if (lost := line.isna()).any():
            where = rows.loc[lost, "group"].iloc[0]
            raise ValueError(
                f"the reference has no value{f' in group {where!r}' if where else ''}, and intervals are of the "
                "difference to it: name another reference, or draw show='effect'"
            )
        moved = rows[ends].mul(line, axis=0) if compared.neutral == 1 else rows[ends].add(line, axis=0)
        at, start = rows["value"], pd.Series(0.0, rows.index)
    moved = moved.mask(rows["baseline"])  # the reference differs from itself by nothing, surely
    moved.columns = pd.Index(["from", "to", "band_from", "band_to", "told"])
    moved = moved.assign(**moved.drop(columns="told").clip(*limits(rows, show)))
    finite = pd.concat([at.rename("at"), moved], axis=1).replace([np.inf, -np.inf], np.nan)  # JSON has no infinity
    return rows.assign(start=start, line=line, **finite)


def limits(rows: pd.DataFrame, show: Show) -> tuple[float, float]:
    """The smallest and the largest number that there can be of what `rows` show; infinite where there is none."""
    least, most = (rows[name].dropna().unique() if name in rows else [] for name in LIMITS)
    low, high = (float(least[0]) if len(least) else -np.inf), (float(most[0]) if len(most) else np.inf)
    if show == "value":
        return low, high
    ratio = (rows["scale"].dropna() == "ratio").any()
    return (-np.inf, np.inf) if ratio else (low - high, high - low)


def number(value: float | int, show: Show, *, ratio: bool, percent: bool, reach: float = 0.0) -> str:
    """A value (0.62, 62 %) or an effect (+0.21, +21 points, ×1.3) as it stands beside its mark; NaN is "no value".

    `reach` is the largest number of the figure: from 10 on a value carries one decimal, from 100 on none.

    Args:
        value: The number that is written.
        show: Whether values or effects are shown.
        ratio: Whether effects are ratios, on a log axis.
        percent: Whether values are shares, written in percent and percentage points.
        reach: The largest number of the figure.
    """
    if np.isnan(value):
        return "no value"
    if show == "effect" and ratio:
        return times(value, fine=value < 1.95)
    digits = (0 if reach >= 0.1 else 1) if percent else 2 if reach < 10 else 1 if reach < 100 else 0
    text = signed(100 * value if percent else value, digits)
    if show == "effect":
        return text
    return text.removeprefix("+") + (" %" if percent else "")


def tick(value: float | int, show: Show, *, percent: bool) -> str:
    """A value or difference on an axis, as short as it can be; the axis' title has the unit.

    Args:
        value: The number.
        show: With "value" a plus sign is left out, since it is no change.
        percent: Whether it is shown times 100.
    """
    text = short_signed(100 * value if percent else value)
    return text.removeprefix("+") if show == "value" else text


def axis_title(
    metric: str, label: str | None, show: Show, *, ratio: bool, percent: bool, reference: str
) -> tuple[str, str]:
    """The metric's name, and that name with what its numbers are; `label` is the author's own.

    Args:
        metric: The metric's name in the table.
        label: Its name on the figure; by default `metric`.
        show: Whether values or effects are shown.
        ratio: Whether effects are ratios, on a log axis.
        percent: Whether values are shares, written in percent and percentage points.
        reference: The condition that the others are compared with.
    """
    name = escaped(metric.replace("_", " ")) if label is None else label
    if show == "value":
        return name, name + (", %" if percent else "")
    paired = "ratio" if ratio else "difference"
    return name, f"{name}, {paired} to {escaped(reference)}" + (", percentage points" if percent and not ratio else "")


def in_focus(rows: pd.DataFrame, focus: str | Sequence[str]) -> pd.Series:
    """Which rows the figure is about. Raises ValueError for a `focus` that is none of them."""
    wanted = [focus] if isinstance(focus, str) else list(focus)
    if unknown := [name for name in wanted if name not in set(rows["condition"])]:
        raise ValueError(
            f"focus {unknown[0]!r} is not drawn: choose from {', '.join(map(repr, rows['condition'].unique()))}"
        )
    return rows["condition"].isin(wanted)


def colours(rows: pd.DataFrame, focused: pd.Series, reference: str) -> np.ndarray:
    """`reference` for the reference, the accent for what is in focus (all, if nothing is), slate for the others.

    Args:
        rows: One row per condition; `baseline` says which is the reference.
        focused: Whether each row is in focus.
        reference: The colour of the reference, as plotly takes it.
    """
    other = theme.OTHER if focused.any() else theme.CYCLE[0]
    return np.select([rows["baseline"], focused], [reference, theme.CYCLE[0]], default=other)
