"""What the lens's figures share: the order and names of the sites, and what a point says when pointed at."""

import numpy as np
import pandas as pd

from steering_lab.analysis.plots.parts import theme
from steering_lab.analysis.plots.parts.labels import signed
from steering_lab.analysis.plots.parts.tokens import token_label

TARGET_COLOURS = tuple(theme.CYCLE[k] for k in (1, 2, 3, 5, 0, 4))  # blue late: the lens's cells are blue
AXIS = "residual stream after layer"


def site_order(table: pd.DataFrame) -> list[tuple[int, str]]:
    """The (layer, stream) pairs of the table along the stream."""
    pairs = table[["layer", "stream"]].drop_duplicates()
    return sorted(
        zip(pairs["layer"], pairs["stream"], strict=True), key=lambda site: (site[0], site[1] == "resid_post")
    )


def site_label(layer: int, stream: str) -> str:
    """The site of `layer` and `stream` on an axis of layers that have run: "embed", "before 3", or just "3"."""
    if stream == "resid_post":
        return str(layer)
    return "embed" if layer == 0 else f"before {layer}"


def site_labels(rows: pd.DataFrame) -> list[str]:
    """`site_label` of each of `rows`."""
    return [site_label(layer, stream) for layer, stream in zip(rows["layer"], rows["stream"], strict=True)]


def site_ticks(sites: int, pixels: float, least: int) -> list[int]:
    """Which of `sites` marks, `pixels` apart, get a label that needs `least`: the first and steps to the last."""
    step = next(s for s in (1, 2, 4, 5, 10, 20, 50, 100) if s * pixels >= least)
    return [0, *(k for k in range(sites - 1, 0, -step)[::-1] if k >= step)]


def as_percent(share: float) -> str:
    """The probability `share` in percent: two significant digits below 10 %, and a bound below 0.001 %."""
    percent = 100 * share
    if np.isnan(percent):
        return "–"
    if 0 < percent < 0.001:
        return "&lt;0.001 %"
    if percent < 9.95:
        return f"{percent:.2g} %"
    return f"{percent:.0f} %"


def lens_hover(cells: pd.DataFrame, value: str) -> list[str]:
    """One block of plotly's HTML per row: where it is, the tokens at the top, and every number the table has.

    Args:
        cells: Rows of a lens table.
        value: The column that is drawn, whose number stands first.
    """
    blocks = []
    for cell in cells.to_dict("records"):
        place = site_label(cell["layer"], cell["stream"])
        after = place if cell["stream"] == "resid_pre" else f"after layer {place}"
        lines = [f"<b>{token_label(cell['token'])}</b>, position {cell['position']}, {after}"]
        blocks.append("<br>".join([*lines, *_tops(cell), *_numbers(cell, "clean_top" in cell, value)]))
    return blocks


def _tops(cell: dict) -> list[str]:
    if "clean_top" in cell:
        return [f"top {token_label(cell['top'])}, clean {token_label(cell['clean_top'])}"]
    if "top_k" not in cell:
        return [f"top {token_label(cell['top'])}"]
    ranked = zip(cell["top_k"], cell["top_k_probability"], strict=True)
    return [f"{k}. {token_label(token)}\u2002{as_percent(p)}" for k, (token, p) in enumerate(ranked, 1)]


def _numbers(cell: dict, is_difference: bool, value: str) -> list[str]:
    names = {
        "top_probability": "probability of the top token",
        "probability": f"probability of {token_label(str(cell.get('target', '')))}",
        "log_probability": "log-probability",
        "rank": "rank",
        "entropy": "entropy",
        "kl_to_final": "KL(model’s output ‖ lens)",
    }
    lines = []
    for name, says in names.items():
        if name not in cell or (name == "top_probability" and not is_difference):
            continue
        number = float(cell[name])
        if name == "rank":
            text = signed(number, 0) if is_difference else f"{number:,.0f}"
        elif name in ("probability", "top_probability"):
            text = f"{signed(100 * number, 2)} percentage points" if is_difference else as_percent(number)
        else:
            text = f"{signed(number, 3) if is_difference else f'{number:.3f}'.replace('-', '−')} nats"
        text = f"<b>{text}</b>" if name == value else text
        lines.append(f"<span style='color:{theme.MUTED}'>{says}</span> {text}")
    return lines
