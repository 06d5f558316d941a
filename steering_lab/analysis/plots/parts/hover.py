"""What a cell says when pointed at: its numbers, the control's, the cost, and a real continuation."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.cells import Sweep
from steering_lab.analysis.plots.parts.labels import short_signed, signed, wrapped
from steering_lab.numerics.written import reach, times
from steering_lab.tables import GENERATIONS, checked, is_unsteered


def hover_text(
    cells: pd.DataFrame, summary: pd.DataFrame, sweep: Sweep, label: str, examples: pd.DataFrame | None
) -> pd.Series:
    """One block of plotly's HTML per row of `cells`, placed cells of `sweep`; model text and prompts are escaped.

    Args:
        cells: The cells, one text each.
        summary: The summary they come from.
        sweep: Where they are placed.
        label: The name of what is shown.
        examples: A generations table; the first continuation of each cell appears on hover.
    """
    costs = sweep.rows_of(summary)
    costs = costs[costs["metric"] == "perplexity"]
    ratios = {(row.layer, row.coeff): row.effect for row in costs.itertuples()}
    texts = _first_texts(examples, sweep)
    blocks = []
    for cell in cells.itertuples():
        head = f"<b>layer {cell.layer}, coefficient {short_signed(cell.coeff)}</b>"
        if not cell.run:
            blocks.append(f"{head}<br>not run")
            continue
        key = (None, 0.0) if cell.baseline and (cell.layer, 0.0) not in texts else (cell.layer, cell.coeff)
        lines = ["<b>unsteered</b>" if cell.baseline else head, *numbers(cell, label)]
        if not np.isnan(ratio := ratios.get((cell.layer, cell.coeff), np.nan)):
            lines.append(f"perplexity {times(ratio)} of unsteered" + (", degenerate" if cell.degenerate else ""))
        if key in texts:
            prompt, text = texts[key]
            lines += ["", f"<span style='color:{theme.MUTED}'>{wrapped(prompt)}</span>", wrapped(text)]
        blocks.append("<br>".join(lines))
    return pd.Series(blocks, index=cells.index, dtype=object)


def numbers(cell: object, label: str) -> list[str]:
    """Value, effect with its interval, control, counts: only those the table knows.

    Args:
        cell: One row of a summary.
        label: The metric, as the axis calls it.
    """
    get = lambda name: float(getattr(cell, name))  # noqa: E731
    lines = [f"{label}: {_plain(get('value'))}" if not np.isnan(get("value")) else f"{label}: no value"]
    if not get("baseline") and not np.isnan(get("effect")):
        why = getattr(cell, "why", None)
        lines.append(f"effect {_plain(get('effect'))}{interval_text(get('low'), get('high'), why)}")
    if not np.isnan(get("control_low")):
        lines.append(f"random vectors of equal norm {reach(get('control_low'), get('control_high'), _plain)}")
    if not get("baseline") and not np.isnan(get("relative_norm")):
        lines.append(f"relative norm {get('relative_norm'):.3g}")
    if not np.isnan(far := float(getattr(cell, "distance_percentile", np.nan))):
        lines.append(f"stream among neutral tokens: distance percentile {far:.1f}, norm {get('norm_percentile'):.1f}")
    known = [f"{get(n):.0f} {noun}" for n, noun in (("n_prompts", "prompts"), ("n", "continuations")) if get(n) > 0]
    missing = [f"{get('n_missing'):.0f} without a value"] if get("n_missing") > 0 else []
    return [*lines, ", ".join([*known, *missing])] if known or missing else lines


def interval_text(low: float, high: float, why: object, show: Callable[[float], str] | None = None) -> str:
    """ " [low, high]", or why there is none: " (no interval: too few prompts)"; "" where neither is known.

    Args:
        low: The lower end.
        high: The upper end.
        why: The reason of the table, if there is one.
        show: Writes an end; by default as it is on hover.
    """
    if np.isnan(low) or np.isnan(high):
        return f" (no interval: {why})" if isinstance(why, str) and why else ""
    written = show or _plain
    return f" [{written(low)}, {written(high)}]"


def _plain(value: float) -> str:
    """A number of any size, three decimals below 10, with a true minus sign."""
    return signed(value, 3) if abs(value) < 10 else f"{value:,.4g}".replace("-", "−")


def _first_texts(examples: pd.DataFrame | None, sweep: Sweep) -> dict[tuple[int | None, float], tuple[str, str]]:
    """(layer, coeff) -> the first prompt and continuation of the cell; (None, 0.0) is the unsteered one."""
    if examples is None:
        return {}
    examples = checked(examples, GENERATIONS, ("method", "place", "role", "layer", "coeff", "prompt", "text"))
    steered = sweep.rows_of(examples)
    steered = steered[steered["layer"].notna()]
    found: dict[tuple[int | None, float], tuple[str, str]] = {
        (int(row.layer), float(row.coeff)): (str(row.prompt), str(row.text))
        for row in steered.drop_duplicates(["layer", "coeff"]).itertuples()
    }
    for row in examples[is_unsteered(examples)].head(1).itertuples():
        found[None, 0.0] = (str(row.prompt), str(row.text))
    return found
