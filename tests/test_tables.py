"""A table is checked where it is made and where it is read, and a cell is one thing in all of them."""

from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steering_lab.runs import RunFolder, read_run
from steering_lab.tables import (
    CELL,
    FACTORS,
    GENERATIONS,
    MEASUREMENTS,
    SUMMARY,
    TIDY,
    Factors,
    Table,
    checked,
    in_cell,
    measurements,
    method_names,
    strength,
)

OBSERVED = pd.DataFrame({"prompt": ["p", "q"], "sample": 0, "value": [1.0, np.nan]})
STEERED = Factors("actadd", "steered", "front", None, 3, 2.0, None, "coeff", 0.1)


def made() -> pd.DataFrame:
    return measurements("actadd front 3", STEERED, OBSERVED, metric="length")


def test_the_columns_of_factors_are_the_fields_of_factors() -> None:
    assert [column.name for column in FACTORS] == [field.name for field in fields(Factors)]


@pytest.mark.parametrize("kind", [GENERATIONS, MEASUREMENTS, SUMMARY], ids=lambda kind: kind.name)
def test_every_kind_of_table_describes_each_of_its_columns_once_and_holds_the_cell(kind: Table) -> None:
    assert len(set(kind.names)) == len(kind.names)
    assert set(CELL) <= set(kind.names)
    assert all(column.meaning for column in kind.columns)


def test_what_does_not_apply_is_missing_and_text_stays_text(tmp_path: Any) -> None:
    table = made()
    assert list(table) == MEASUREMENTS.names
    assert table["control_of"].isna().all()
    assert (table["layer"].dtype, table["sample"].dtype, table["place"].dtype) == ("float64", "int64", "str")
    assert table["weight"].tolist() == [1, 1]
    table.to_parquet(tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(checked(pd.read_parquet(tmp_path / "table.parquet"), MEASUREMENTS), table)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop(columns="role"), r"the table of measurements has no column 'role' \(what .*\): if an older"),
        (lambda t: t.drop(columns=["role", "scale"]), r"no column 'role' .* and 1 more: .* run the experiment again"),
        (lambda t: t.assign(role="arm"), "column 'role' of the measurements is 'arm': one of unsteered, steered,"),
        (lambda t: t.assign(scale="log"), "column 'scale' of the measurements is 'log': one of difference, ratio"),
        (lambda t: t.assign(method=None), "column 'method' of the measurements has no value in 2 of 2 rows"),
        (lambda t: t.assign(value="high"), "column 'value' of the measurements is a number: could not convert"),
        (lambda t: t.assign(place=3), "column 'place' of the measurements is text, not 3"),
    ],
)
def test_a_table_that_is_none_is_refused_by_its_column(
    spoil: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        checked(spoil(made()), MEASUREMENTS)


def test_a_reader_is_held_to_the_columns_it_needs() -> None:
    table = checked(made()[["role", "value"]].assign(mine=1), MEASUREMENTS, ("role", "value"))
    assert list(table) == ["role", "value", "mine"]


def test_a_cell_is_found_by_what_it_lacks_too() -> None:
    both = pd.concat([made(), made().assign(place="everywhere"), made().assign(budget=0.4)], ignore_index=True)
    assert in_cell(both, both.iloc[0]).tolist() == [True, True, False, False, False, False]


def test_a_strength_is_the_budget_where_there_is_one() -> None:
    rows = pd.DataFrame([asdict(STEERED), asdict(STEERED) | {"coeff": 1.0, "budget": 0.4, "unit": "resid_norm"}])
    assert strength(rows).tolist() == [2.0, 0.4]


def test_methods_are_called_by_place_and_controls_by_what_they_control() -> None:
    control = Factors("random", "control", "from_last_prompt_token", "mean_difference", 3, 2.0)
    rows = pd.DataFrame([asdict(f) for f in (STEERED, control, Factors("unsteered", "unsteered"))])
    assert method_names(rows).tolist() == [
        "actadd, front",
        "random beside mean difference, from last prompt token",
        "unsteered",
    ]


def test_the_documented_format_has_every_column_with_its_type_unit_and_meaning() -> None:
    text = (Path(__file__).parents[1] / "docs" / "table.md").read_text(encoding="utf-8")
    for kind in (GENERATIONS, MEASUREMENTS, SUMMARY):
        for column in kind.columns:
            allowed = ": " + ", ".join(column.allowed) if column.allowed else ""
            line = f"| `{column.name}` | {column.type} | {column.unit} | {column.meaning}{allowed} |"
            assert line in text
    assert ", ".join(f"`{name}`" for name in CELL) in text


def test_a_run_of_an_older_version_says_what_to_do(tmp_path: Path) -> None:
    run = RunFolder.open(tmp_path, "sweep", "tiny", {})
    run.write_table("table", made().drop(columns=["role", "place"]))
    folder = run.finish()
    assert len(read_run(folder)["table"]) == 2  # as it is, where nobody says what it should be
    with pytest.raises(ValueError, match=r"tiny.*, table: the table of measurements has no column 'role'.* run the"):
        read_run(folder, TIDY)
