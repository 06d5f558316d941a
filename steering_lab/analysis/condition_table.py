"""Every condition of a summary on one row, as it is read: value, effect with its interval, chance, and what it costs.

A table in, a table out: numbers stay numbers where they stand alone, an estimate and its interval become one text.
"""

from collections.abc import Sequence
from functools import partial

import pandas as pd

from steering_lab.analysis.plots.parts.labels import digits_apart, signed
from steering_lab.numerics.written import reach
from steering_lab.tables import CELL, PERCENTILES, SUMMARY, checked, method_names

_UNUSED = {"distribution", "least", "most", "why", "p", "p_random", "degenerate", "n_draws", "n_prompts"}
_NEEDED = [column.name for column in SUMMARY.columns if column.name not in _UNUSED]


def condition_table(
    summary: pd.DataFrame, *, metric: str, costs: Sequence[str] | None = None, groups: Sequence[str] = ()
) -> pd.DataFrame:
    """One row per cell of a summary, in each of its `groups` (columns of its own).

    It holds the value, effect and control's band of `metric` and the effects of `costs`, the other metrics to show (all
    of them by default). Effects are differences to the unsteered model, or ratios (×) to it where the summary's `scale`
    says so; intervals are the summary's own. "p, corrected" is that of no effect, corrected for the search over the
    cells of a method; "p, random", where it is known, that of a random vector doing as much. "norm, percentile" and
    "distance, percentile", where the summary has them (`with_gauge`), say how far out the stream is. Cells without a
    layer (unsteered, prompting) come first, otherwise the order is kept.

    Args:
        summary: One row per cell and metric, as `summarise` makes it.
        metric: The metric that is shown.
        costs: The other metrics to show; by default all.
        groups: Columns of the summary by which it is one table a group.

    Raises:
        ValueError: a metric that the summary has not.
    """
    summary = checked(summary, SUMMARY, _NEEDED)
    by, known = [*groups, *CELL], list(summary["metric"].unique())
    costs = [name for name in known if name != metric] if costs is None else costs
    if unknown := [name for name in (metric, *costs) if name not in known]:
        raise ValueError(f"no metric {unknown[0]!r}; the summary has {', '.join(known)}")
    rows = summary[summary["metric"] == metric].reset_index(drop=True)
    table = rows[list(groups)].assign(condition=method_names(rows), layer=rows["layer"], coeff=rows["coeff"])
    if rows["budget"].notna().any():
        table["budget"] = rows["budget"]
    table["relative norm"] = rows["relative_norm"]
    table[_spaced(metric)] = rows["value"]
    digits = [
        digits_apart(*ends) for ends in zip(rows["effect"], rows["control_low"], rows["control_high"], strict=True)
    ]
    table[f"shift{_unit(rows)} [95 %]"] = _estimates(rows, digits)
    table["random vectors"] = _bands(rows, digits)
    table["p, corrected"] = rows["p_family"]
    if "p_random" in rows and rows["p_random"].notna().any():
        table["p, random"] = rows["p_random"]
    for column in PERCENTILES:
        if column in rows and rows[column].notna().any():
            table[column.replace("_", ", ")] = rows[column].round(1)
    for name in costs:
        cost = rows[by].merge(summary[summary["metric"] == name], on=by, how="left")
        table[f"{_spaced(name)}{_unit(cost)} [95 %]"] = _estimates(cost, [2] * len(cost))
    table["n"], table["missing"] = rows["n"], rows["n_missing"]
    return table.sort_values("layer", key=pd.Series.notna, kind="stable", ignore_index=True)


def with_gauge(summary: pd.DataFrame, gauge: pd.DataFrame) -> pd.DataFrame:
    """The summary with the columns norm_percentile and distance_percentile of its cells, NaN where they are not known.

    Of a control it is the mean over its draws.

    Args:
        summary: One row per cell and metric.
        gauge: One row per condition: its cell, and the columns of `off_manifold`.
    """
    cells = gauge.groupby(list(CELL), dropna=False)[list(PERCENTILES)].mean().reset_index()
    return summary.merge(cells.astype({name: summary[name].dtype for name in CELL}), on=list(CELL), how="left")


def _spaced(metric: str) -> str:
    return metric.replace("_", " ")


def _unit(rows: pd.DataFrame) -> str:
    return " ×" if (rows["scale"] == "ratio").any() else ""


def _bands(rows: pd.DataFrame, digits: Sequence[int]) -> list[str]:
    """Where one more random vector would fall; a dash where that is not known."""
    ends = zip(rows["scale"], rows["control_low"], rows["control_high"], digits, strict=True)
    return [reach(low, high, partial(_number, scale=scale, digits=n)) or "–" for scale, low, high, n in ends]


def _estimates(rows: pd.DataFrame, digits: Sequence[int]) -> list[str]:
    """Each effect with its interval, or why it has none; a dash where there is no effect."""
    texts = []
    why = rows["why"] if "why" in rows else pd.Series("", rows.index)
    for scale, n, reason, *numbers in zip(
        rows["scale"], digits, why.fillna(""), rows["effect"], rows["low"], rows["high"], strict=True
    ):
        value, *ends = ("" if pd.isna(x) else _number(float(x), scale, n) for x in numbers)
        told = value and f"{value} ({reason})" if reason else value
        texts.append(f"{value} [{', '.join(ends)}]".strip() if all(ends) else told or "–")
    return texts


def _number(value: float, scale: str, digits: int) -> str:
    if scale != "ratio":
        return signed(value, digits)
    return f"{value:.2f}" if value < 99.5 else f"{value:.0f}" if value < 999_999 else f"{value:.1e}"
