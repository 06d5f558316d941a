"""What steering changed in a view: the table made inside a `with steer(...)` block minus the one made outside."""

from collections.abc import Sequence

import pandas as pd


def difference(steered: pd.DataFrame, clean: pd.DataFrame, *, by: Sequence[str], of: Sequence[str]) -> pd.DataFrame:
    """One row per key `by` of the tables: each column in `of` as steered minus clean; other columns as in `steered`.

    Args:
        steered: A table made inside a steering block.
        clean: The same table made outside.
        by: The columns by which rows belong together.
        of: The columns that are subtracted.

    Raises:
        ValueError: a column is missing, a key stands twice in a table, or the tables do not have the same keys.
    """
    for name, table in (("steered", steered), ("clean", clean)):
        if missing := [column for column in (*by, *of) if column not in table]:
            raise ValueError(f"the {name} table has no column {missing[0]!r}")
        if table.duplicated(list(by)).any():
            raise ValueError(f"{', '.join(by)} do not tell the rows of the {name} table apart: name more columns in by")
    before, after = clean.set_index(list(by))[list(of)], steered.set_index(list(by))
    if len(before) != len(after) or not before.index.sort_values().equals(after.index.sort_values()):
        raise ValueError(f"the tables differ in their {', '.join(by)}: make both from the same prompts and sites")
    return after.assign(**{name: after[name] - before[name].reindex(after.index) for name in of}).reset_index()
