"""Whole numbers as callers give them: Python's own, and the scalars that NumPy's and torch's axes hand out."""

from operator import index
from typing import TYPE_CHECKING, SupportsIndex

if TYPE_CHECKING:
    Whole = int
else:
    Whole = SupportsIndex
"""The type of a field that takes any whole number and, once `whole_number` has been through it, holds an int."""


def whole_number(value: object, what: str) -> int:
    """`value` as a Python int, which hashes, serialises and mixes like one; `what` names it in the error.

    Raises:
        ValueError: a bool, a float, or anything else that is not one integer.
    """
    truth = isinstance(value, bool) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool")
    if isinstance(value, SupportsIndex) and not truth:
        try:
            return index(value)
        except (TypeError, ValueError):  # arrays have the method, and refuse where they hold floats or several numbers
            pass
    raise ValueError(f"{what} is an integer, not {value!r}")
