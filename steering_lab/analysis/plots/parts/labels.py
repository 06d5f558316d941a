"""Numbers and text as they stand on a figure: true minus signs, wrapped and escaped model text."""

import html
import math
import textwrap
from collections.abc import Callable

import numpy as np

from steering_lab.numerics.written import times


def signed(value: float | int, digits: int = 2) -> str:
    """+0.10 or −0.10 with a true minus sign; what rounds to zero carries no sign; NaN is an en dash.

    Args:
        value: The number.
        digits: How many stand behind the point.
    """
    if math.isnan(value):
        return "–"
    text = f"{value:+.{digits}f}"
    return text[1:] if not text.strip("+-0.") else text.replace("-", "−")


def digits_apart(effect: float, low: float, high: float) -> int:
    """How many digits tell an effect from the ends of a band beside it: two, or three where two would look alike.

    Args:
        effect: The effect, as a difference.
        low: The band's lower end; NaN where there is none.
        high: Its upper end.
    """
    alike = signed(effect) in (signed(low), signed(high)) and not math.isnan(effect)
    return 3 if alike and low != high else 2


def short_signed(value: float | int) -> str:
    """The coefficient `value` for an axis: +8, −0.5, 0; at most three significant digits."""
    text = f"{value:+.3g}"
    return "0" if not text.strip("+-0.") else text.replace("-", "−")


def amount(value: float | int, *, plus: bool = False) -> str:
    """`value`, of any size, in three digits or whole: 0.05, −12.3, 1,400; `plus` signs what is above 0; NaN is –."""
    if math.isnan(value):
        return "–"
    text = f"{value:+,.0f}" if abs(value) >= 999.5 else f"{value:+.3g}"
    text = text.replace("-", "−") if text.strip("+-0.") else "0"
    return text if plus else text.removeprefix("+")


def round_ticks(
    ends: tuple[float, float],
    *,
    ratio: bool,
    most: int = 9,
    show: Callable[[float], str] = short_signed,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> dict[str, object]:
    """An axis of at most `most` round numbers; ratios at powers of ten or two, or at round steps over a short range.

    `ends` are the axis' range as plotly takes it: decimal logarithms for ratios. `show` writes a difference.

    Args:
        ends: The axis' range; decimal logarithms for ratios.
        ratio: Whether effects are ratios, on a log axis.
        most: How many ticks there are at most.
        show: Writes a difference as text.
        limits: The smallest and the largest number there can be: no tick stands beyond.
    """
    if not ratio:
        ticks = [tick for tick in _round_steps(*ends, most) if limits[0] - 1e-9 <= tick <= limits[1] + 1e-9]
        return {"tickvals": ticks, "ticktext": [show(tick) for tick in ticks]}
    base = 2.0 if ends[1] - ends[0] < 2.5 else 10.0
    low, high = (end / np.log10(base) for end in ends)
    ticks = (base ** np.arange(np.ceil(low), np.floor(high) + 1)).tolist()
    ticks = ticks[:: -(-len(ticks) // most) or 1]
    if len(ticks) < 3:
        ticks = _round_steps(10 ** ends[0], 10 ** ends[1], min(most, 6))
    return {"type": "log", "tickvals": ticks, "ticktext": [f"×{t:.3g}" if t < 1000 else times(t) for t in ticks]}


def _round_steps(low: float, high: float, most: int) -> list[float]:
    raw = (high - low) / most
    power = 10.0 ** np.floor(np.log10(raw))
    step = power * next(nice for nice in (1, 2, 5, 10) if nice * power >= raw)
    return (step * np.arange(np.ceil(low / step), np.floor(high / step) + 1)).tolist()


def escaped(text: str) -> str:
    """`text` as data for plotly's small HTML: a model may well write `<b>` or `<script>`."""
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return html.escape(visible, quote=False)


def wrapped(text: str, width: int = 60, lines: int = 5) -> str:
    """Hover text: one paragraph, wrapped at `width` characters, cut after `lines`, escaped."""
    rows = textwrap.wrap(" ".join(text.split()), width) or ["(empty)"]
    if len(rows) > lines:
        rows = [*rows[: lines - 1], rows[lines - 1][: width - 2] + " …"]
    return "<br>".join(escaped(row) for row in rows)
