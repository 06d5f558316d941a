"""Whole numbers as callers give them: Python's own, and the scalars that NumPy's and torch's axes hand out."""

from collections.abc import Iterable, Sequence
from operator import index
from typing import TYPE_CHECKING, SupportsIndex

if TYPE_CHECKING:
    Whole = int
    WholeNumbers = Sequence[int]
else:
    Whole = WholeNumbers = object
"""The types of fields that take anything and, once `whole_number` or `whole_numbers` has been through, hold ints."""


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


def whole_numbers(values: object, what: str) -> list[int]:
    """`values` as Python ints; `what` names them in the error, in the plural.

    Raises:
        ValueError: one number instead of a list, or something in it that is no integer.
    """
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise ValueError(f"{what} are a list: write [{values}]")
    return [whole_number(value, f"each of {what}") for value in values]
