"""Whole numbers as callers give them: Python's own, and the scalars that NumPy's and torch's axes hand out."""

from operator import index
from typing import SupportsIndex


def whole_number(value: SupportsIndex, what: str) -> int:
    """`value` as a Python int, which hashes, serialises and mixes like one; `what` names it in the error.

    Raises:
        ValueError: a bool, a float, or anything else that is not one integer.
    """
    truth = isinstance(value, bool) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool")
    try:
        if not truth:
            return index(value)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{what} is an integer, not {value!r}")
