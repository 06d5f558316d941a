"""A summary table as conditions: in order, named, complete, and moved to where they are drawn."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from steering_lab.analysis.plots.parts.conditions import axis_title, compare, number, placed

ComparisonTable = Callable[..., pd.DataFrame]
SweepTable = Callable[..., pd.DataFrame]


def test_conditions_keep_the_tables_order_or_take_the_one_asked_for(comparison: ComparisonTable) -> None:
    assert list(compare(comparison(), metric="context").rows["condition"]) == ["unsteered", "steered", "prompted"]
    asked = compare(comparison(), metric="context", conditions=["prompted", "unsteered"]).rows
    assert list(asked["condition"]) == ["prompted", "unsteered"]


def test_a_mapping_names_the_conditions_and_names_are_text_not_markup(comparison: ComparisonTable) -> None:
    rows = compare(comparison(), metric="context", conditions={"steered": "a <b> & c"}).rows
    assert list(rows["label"]) == ["a &lt;b&gt; &amp; c"]


def test_cells_of_a_sweep_are_named_by_layer_and_coefficient_and_a_lone_one_by_its_method(sweep: SweepTable) -> None:
    rows = compare(sweep(layers=[1]), metric="sentiment").rows
    assert list(rows["condition"]) == [
        "unsteered",
        "actadd, front, layer 1, coeff −4",
        "actadd, front, layer 1, coeff +4",
    ]
    rows = compare(sweep(layers=[1], coeffs=[2]), metric="sentiment").rows
    assert list(rows["label"]) == ["unsteered", "actadd, front"]


def test_the_interval_excludes_no_change_where_it_does_and_never_for_the_reference(comparison: ComparisonTable) -> None:
    assert list(compare(comparison(), metric="context").rows["excludes"]) == [False, True, False]
    assert list(compare(comparison(), metric="perplexity").rows["excludes"]) == [False, True, True]


def test_a_condition_that_a_group_lacks_is_a_row_that_was_not_run(comparison: ComparisonTable) -> None:
    table = comparison(groups=("easy", "hard"))
    table = table[~((table["group"] == "hard") & (table["condition"] == "steered"))]
    rows = compare(table, metric="context").rows
    assert list(rows["group"]) == ["easy"] * 3 + ["hard"] * 3
    assert list(rows["run"]) == [True, True, True, True, False, True]
    assert np.isnan(rows["value"].iloc[4])


def test_values_carry_interval_and_band_around_the_reference_plus_the_effect(comparison: ComparisonTable) -> None:
    row = placed(compare(comparison(), metric="context"), "value").set_index("condition").loc["steered"]
    names = ["start", "at", "from", "to", "band_from", "band_to", "line"]
    # unsteered 0.3; effect +0.2 in [0.1, 0.35]; random vectors in [−0.05, 0.04]
    assert [row[name] for name in names] == pytest.approx([0, 0.5, 0.4, 0.65, 0.25, 0.34, 0.3])


def test_effects_stand_at_the_tables_own_numbers_from_no_change(comparison: ComparisonTable) -> None:
    names = ["start", "at", "from", "to", "band_from", "band_to", "line"]
    row = placed(compare(comparison(), metric="context"), "effect").set_index("condition").loc["steered"]
    assert [row[name] for name in names] == pytest.approx([0, 0.2, 0.1, 0.35, -0.05, 0.04, 0])
    row = placed(compare(comparison(), metric="perplexity"), "effect").set_index("condition").loc["steered"]
    assert [row[name] for name in names] == pytest.approx([1, 1.5, 1.2, 2, 0.9, 1.1, 1])


def test_the_interval_of_a_ratio_multiplies_the_reference(comparison: ComparisonTable) -> None:
    row = placed(compare(comparison(), metric="perplexity"), "value").set_index("condition").loc["steered"]
    # unsteered 6; ratio 1.5 in [1.2, 2]
    assert [row[name] for name in ("at", "from", "to", "line")] == pytest.approx([9, 7.2, 12, 6])


def test_a_share_and_its_whiskers_stay_between_the_ends_of_its_scale(comparison: ComparisonTable) -> None:
    table = comparison().assign(least=0.0, most=1.0)
    table.loc[table["condition"] == "steered", ["low", "high", "control_low", "control_high"]] = [-0.5, 0.9, -1.4, 1.2]
    compared = compare(table[table["metric"] == "context"], metric="context")
    names = ["from", "to", "band_from", "band_to"]
    assert placed(compared, "value").set_index("condition").loc["steered", names].tolist() == [0, 1, 0, 1]
    own = placed(compared, "effect").set_index("condition").loc["steered", names].tolist()
    assert own == [-0.5, 0.9, -1, 1]  # a difference of shares


def test_the_reference_counts_for_a_figure_that_leaves_it_out(comparison: ComparisonTable) -> None:
    rows = placed(compare(comparison(), metric="context", conditions=["steered"]), "value")
    assert rows["line"].iloc[0] == 0.3


def test_values_without_a_reference_are_refused_and_effects_are_not(comparison: ComparisonTable) -> None:
    table = comparison(groups=("easy", "hard"))
    table = table[~((table["group"] == "hard") & (table["condition"] == "unsteered"))]
    compared = compare(table, metric="context")
    with pytest.raises(ValueError, match="no value in group 'hard'"):
        placed(compared, "value")
    assert placed(compared, "effect")["line"].tolist() == [0.0] * 6


def test_what_the_table_does_not_hold_is_refused_by_name(comparison: ComparisonTable) -> None:
    table = comparison()
    with pytest.raises(ValueError, match="no rows for metric 'joy': the table has"):
        compare(table, metric="joy")
    with pytest.raises(ValueError, match="no condition 'CAD': the table has 'unsteered', 'steered', 'prompted'"):
        compare(table, metric="context", conditions=["CAD"])
    with pytest.raises(ValueError, match="no column 'low'"):
        compare(table.drop(columns="low"), metric="context")
    with pytest.raises(ValueError, match="two rows for condition 'unsteered'"):
        compare(pd.concat([table, table]), metric="context")
    with pytest.raises(ValueError, match="no condition to draw"):
        compare(table, metric="context", conditions=[])


def test_numbers_are_written_in_the_unit_of_their_axis() -> None:
    assert number(0.618, "value", ratio=False, percent=True, reach=0.9) == "62 %"
    assert number(0.618, "value", ratio=False, percent=False, reach=0.9) == "0.62"
    assert number(-0.05, "effect", ratio=False, percent=True, reach=0.3) == "−5"
    assert number(1.034, "effect", ratio=True, percent=False) == "×1.03"
    assert number(153.2, "value", ratio=True, percent=False, reach=153.2) == "153"
    assert number(float("nan"), "value", ratio=False, percent=False) == "no value"


def test_an_axis_says_what_its_numbers_are() -> None:
    title = axis_title("p_context", None, "value", ratio=False, percent=True, reference="unsteered")
    assert title == ("p context", "p context, %")
    title = axis_title("p", "P<sub>c</sub>", "effect", ratio=False, percent=True, reference="unsteered")
    assert title[1] == "P<sub>c</sub>, difference to unsteered, percentage points"
