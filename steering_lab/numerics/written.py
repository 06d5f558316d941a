"""A ratio, and what random vectors do, as they stand in a sentence or on a figure: written here and nowhere else."""

import math
from collections.abc import Callable

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def times(ratio: float | int, *, fine: bool = False) -> str:
    """A ratio as ×0.83, ×3.2, ×41, ×15k or ×2·10⁶; NaN is an en dash.

    Args:
        ratio: The number.
        fine: Two digits behind the point below 10, less the zeros at their end (×3.16, ×1.5), and three where two would
            make 1 of it, for sentences; on figures there is room for one.
    """
    if math.isnan(ratio):
        return "–"
    if math.isinf(ratio):
        return "×∞"
    if fine and 0.0005 <= abs(ratio - 1) < 0.005:  # never a bare ×1 for what is not 1
        return f"×{ratio:.3f}".rstrip("0")
    if fine and ratio < 9.995:
        return "×" + f"{ratio:.2f}".rstrip("0").rstrip(".")
    for bound, text in ((0.995, f"{ratio:.2f}"), (9.95, f"{ratio:.1f}"), (999.5, f"{ratio:.0f}")):
        if ratio < bound:
            return f"×{text}"
    if ratio < 999_500:
        return f"×{ratio / 1000:.2g}k" if ratio < 9950 else f"×{ratio / 1000:.0f}k"
    mantissa, exponent = f"{ratio:.0e}".split("e")
    return f"×{mantissa}·10" + str(int(exponent)).translate(SUPERSCRIPTS)


def reach(low: float, high: float, show: Callable[[float], str]) -> str:
    """Where one more random vector would fall: "[−0.10, +0.12]", "all at 0.00", or nothing where it is not known.

    Draws that all did the same make a band without width, which bounds nothing: it is not written as one.

    Args:
        low: The band's lower end.
        high: Its upper end.
        show: How an end is written.
    """
    if math.isnan(low) or math.isnan(high):
        return ""
    if math.isclose(low, high, rel_tol=1e-9, abs_tol=1e-12):
        return f"all at {show(low)}"
    return f"[{show(low)}, {show(high)}]"
