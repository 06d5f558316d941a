"""A colour bar that ends where its metric does: no share below 0 or above 1, no negative perplexity."""

from typing import NamedTuple

from plotly.colors import sample_colorscale

from steering_lab.analysis.plots.parts.theme import Scale

Bounds = tuple[float | int | None, float | int | None]
_STEPS = 24  # colours of a cut scale


class Bar(NamedTuple):
    """A colour scale, and the ticks of its bar.

    Args:
        scale: The colours.
        low: The value at which they begin.
        high: The value at which they end.
        ticks: The values with a tick.
        tick_text: What is written at each.
    """

    scale: Scale
    low: float
    high: float
    ticks: list[float]
    tick_text: list[str]


def possible(bar: Bar, bounds: Bounds) -> Bar:
    """The bar within the least and the most that its metric can be (None: open); every value keeps its colour.

    Ticks beyond are left out, and each new end gets one of its own where no other is near.

    Args:
        bar: The bar as the values would have it.
        bounds: The least and the most.
    """
    least, most = bounds
    low = bar.low if least is None else max(bar.low, float(least))
    high = bar.high if most is None else min(bar.high, float(most))
    if (low, high) == (bar.low, bar.high) or not low < high:
        return bar
    ticks = {tick: text for tick, text in zip(bar.ticks, bar.tick_text, strict=True) if low <= tick <= high}
    for end, cut in ((low, low > bar.low), (high, high < bar.high)):
        if cut and all(abs(end - tick) > 0.09 * (high - low) for tick in ticks):
            ticks[end] = f"{end:g}".replace("-", "−")
    placed = sorted(ticks)
    return Bar(_cut(bar, low, high), low, high, placed, [ticks[tick] for tick in placed])


def _cut(bar: Bar, low: float, high: float) -> Scale:
    """The part of the scale between two values."""
    shares = [k / _STEPS for k in range(_STEPS + 1)]
    places = [(low + share * (high - low) - bar.low) / (bar.high - bar.low) for share in shares]
    colours = sample_colorscale([list(stop) for stop in bar.scale], places)
    return list(zip(shares, colours, strict=True))
