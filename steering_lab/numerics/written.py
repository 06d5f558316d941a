"""A ratio as it stands in a sentence or on a figure: written here and nowhere else."""

import math

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def times(ratio: float | int, *, fine: bool = False) -> str:
    """A ratio as ×0.83, ×3.2, ×41, ×15k or ×2·10⁶; NaN is an en dash.

    Args:
        ratio: The number.
        fine: Two digits behind the point below 10, less the zeros at their end (×3.16, ×1.5), for sentences; on figures
            there is room for one.
    """
    if math.isnan(ratio):
        return "–"
    if math.isinf(ratio):
        return "×∞"
    if fine and ratio < 9.995:
        return "×" + f"{ratio:.2f}".rstrip("0").rstrip(".")
    for bound, text in ((0.995, f"{ratio:.2f}"), (9.95, f"{ratio:.1f}"), (999.5, f"{ratio:.0f}")):
        if ratio < bound:
            return f"×{text}"
    if ratio < 999_500:
        return f"×{ratio / 1000:.2g}k" if ratio < 9950 else f"×{ratio / 1000:.0f}k"
    mantissa, exponent = f"{ratio:.0e}".split("e")
    return f"×{mantissa}·10" + str(int(exponent)).translate(SUPERSCRIPTS)
