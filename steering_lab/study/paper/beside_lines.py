"""What a page says beside the lines of a claim: what else surely moved, what is dear, what each random vector did."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from steering_lab.evaluation.inferring.controls import MATCHED, draw_effects
from steering_lab.numerics.significance import LEVEL
from steering_lab.study.expectations import Expectation, idle_of, named, said, shown_beside

DEAR = 1.5
"""A page names the cells whose perplexity is surely this many times the unsteered one's."""
MOST = 6  # cells that a sentence names


def moved(measured: pd.DataFrame, metrics: Iterable[str] = ()) -> tuple[str, ...]:
    """The cells that surely differ from unsteered text, beyond random vectors and not, and of how many.

    What is corrected for is a vector's own sweep, where it has one: not that there are several metrics and vectors.

    Args:
        measured: What the lines are answered by.
        metrics: Of which metrics; empty is of all.
    """
    asked = list(metrics)
    rows = measured[measured["against"].isna() & (measured["role"] == "steered") & measured["control_low"].notna()]
    rows = rows[rows["metric"].isin(asked)] if asked else rows
    idle, n = np.array([idle_of(row) for row in rows.itertuples()]), len(rows)
    rows = rows[((rows["low"] > idle) | (rows["high"] < idle)) & ~(rows["p_family"] > LEVEL)]
    beyond = ~rows["effect"].between(rows["control_low"], rows["control_high"]) & (rows["p_random"] <= LEVEL)
    alike = np.isclose(rows["control_low"], rows["control_high"]) & ~beyond
    found = {
        f"Told from no effect and from random vectors (of {n} that were looked at)": rows[beyond],
        f"Told from no effect and not from random vectors (of {n})": rows[~beyond & ~alike],
        f"Told from no effect, random vectors too few to tell more: they all did the same (of {n})": rows[alike],
    }
    return tuple(f"{what}: {_each(cells)}." for what, cells in found.items() if len(cells))


def dear(measured: pd.DataFrame, perplexed: str) -> tuple[str, ...]:
    """The cells and rivals whose perplexity is surely `DEAR` times the unsteered model's, the dearest first.

    Args:
        measured: What the lines are answered by.
        perplexed: What the metric "perplexity" is of, and to whom.
    """
    if not {"role", "metric", "low"} <= set(measured.columns):
        return ()
    rows = measured[measured["role"].isin(["steered", "baseline"]) & (measured["metric"] == "perplexity")]
    rows = rows[rows["against"].isna() & rows["effect"].notna() & (rows["low"] > DEAR)]
    if rows.empty:
        return ()
    return (f"What it costs: {perplexed} is surely {DEAR:g} times as perplexing or more, {_each(rows)}.",)


def each_draw(expects: Iterable[str], measured: pd.DataFrame, table: pd.DataFrame | None) -> pd.DataFrame:
    """who, metric, effect and "random vectors, each" of what the lines ask: every draw's own effect, the least first.

    Empty where the run kept no measurements, or drew none.

    Args:
        expects: The lines.
        measured: What they are answered by; its column `measure` is a metric's name in `table` where that is another.
        table: The run's measurements.
    """
    asked = {(line.who, line.metric) for line in map(Expectation.read, expects)}
    if table is None or not {"draw", "control_of"} <= set(table.columns) or not set(MATCHED) <= set(measured.columns):
        return pd.DataFrame()
    rows = measured[measured["against"].isna() & (measured["role"] == "steered")]
    rows = rows[[pair in asked for pair in zip(rows["who"].map(named), rows["metric"].map(named), strict=True)]]
    if rows.empty:  # lines about nobody here, or of differences alone
        return pd.DataFrame()
    rows = rows.assign(measure=rows["measure"] if "measure" in rows else rows["metric"])
    drawn = draw_effects(table[table["metric"].isin(rows["measure"])])
    keys = ["measure", *MATCHED]
    drawn = drawn.assign(method=drawn["control_of"], measure=drawn["metric"])[[*keys, "effect"]]
    both = rows[["who", "metric", "scale", *keys, "effect", "control_low", "control_high"]].merge(
        drawn, on=keys, suffixes=("", "_of_draw")
    )
    found = []
    for _, own in both.groupby(["who", "metric"], sort=False):
        first = next(own.itertuples())
        show = shown_beside(first)
        each = "  ".join(map(show, sorted(own["effect_of_draw"])))
        found.append(
            {"who": first.who, "metric": first.metric, "effect": show(first.effect), "random vectors, each": each}
        )
    return pd.DataFrame(found)


def lengths(parts: Mapping[str, Any]) -> tuple[str, ...]:
    """How long the added vectors are next to the stream, where the run's tables say it.

    Args:
        parts: What `read_run` gives of the run.
    """
    tables = [part for part in parts.values() if isinstance(part, pd.DataFrame) and "relative_norm" in part]
    norms = pd.concat([table.loc[table["role"] == "steered", "relative_norm"] for table in tables] or [pd.Series()])
    if not (norms := norms.dropna().astype(float)).size:
        return ()
    ends = dict.fromkeys(f"{end:.2g}" if end < 10 else f"{end:,.0f}" for end in (norms.min(), norms.max()))
    return (f"A vector's longest row, times its coefficient, is {' to '.join(ends)} times the stream's median norm.",)


def _each(rows: pd.DataFrame) -> str:
    """The cells in words, those that differ most first, and how many more there are."""
    far = [abs(np.log(row.effect)) if row.scale == "ratio" else abs(row.effect) for row in rows.itertuples()]
    rows = rows.assign(far=far).sort_values("far", ascending=False, kind="stable")
    cells = [f"{_cell(row)} {said(row, band=True)}" for row in rows.head(MOST).itertuples()]
    return "; ".join([*cells, *([f"and {len(rows) - MOST} more"] if len(rows) > MOST else [])])


def _cell(row: Any) -> str:
    return row.who if row.metric in ("perplexity", "ratio") else f"{row.who}, {row.metric}"
