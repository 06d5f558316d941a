"""The table of all conditions: one row each, every interval in it, nothing missing shown as a number."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from steering_lab.analysis.condition_table import condition_table, with_gauge

SweepTable = Callable[..., pd.DataFrame]


@pytest.fixture
def summary(sweep: SweepTable) -> pd.DataFrame:
    return sweep(layers=(0, 1), coeffs=(-4, 4), p_family=0.01)


def test_every_cell_is_one_row_with_interval_band_and_cost(summary: pd.DataFrame) -> None:
    table = condition_table(summary, metric="sentiment")
    assert len(table) == 1 + 2 * 2
    row = table[(table["layer"] == 1) & (table["coeff"] == 4)].iloc[0]
    assert row["condition"] == "actadd, front"
    assert row["sentiment"] == pytest.approx(0.2)
    assert row["shift [95 %]"] == "+0.10 [−0.05, +0.25]"  # effect 0.1, interval ±0.15
    assert row["random vectors"] == "[−0.12, +0.12]"
    assert row["perplexity × [95 %]"] == "3.00 [2.70, 3.30]"  # ratio 1 + 1 + 4/4, interval ±10 %
    assert (row["relative norm"], row["n"], row["missing"]) == (0.2, 32, 0)


def test_a_condition_without_a_layer_stands_first(summary: pd.DataFrame) -> None:
    assert condition_table(summary.iloc[::-1], metric="sentiment")["condition"].iloc[0] == "unsteered"


def test_what_is_missing_is_a_dash_and_never_a_number(summary: pd.DataFrame) -> None:
    lost = (summary["layer"] == 0) & (summary["coeff"] == 4)
    summary.loc[lost, ["effect", "low", "high"]] = np.nan
    summary = summary[~((summary["layer"] == 1) & (summary["metric"] == "perplexity"))]
    table = condition_table(summary, metric="sentiment").set_index(["layer", "coeff"])
    assert table.loc[(0, 4), "shift [95 %]"] == "–"
    assert table.loc[(0, 4), "perplexity × [95 %]"] == "–"
    assert table.loc[(1, 4), "perplexity × [95 %]"] == "–"  # never measured, and no row is lost for it
    assert table.loc[(1, 4), "shift [95 %]"] != "–"


def test_random_vectors_that_did_the_same_make_no_band(summary: pd.DataFrame) -> None:
    table = condition_table(summary.assign(control_low=1.0, control_high=1.0), metric="sentiment")
    assert table["random vectors"].iloc[-1] == "all at +1.00"


def test_an_effect_that_looks_like_an_end_of_its_band_has_a_third_digit(summary: pd.DataFrame) -> None:
    table = condition_table(summary.assign(control_high=0.098), metric="sentiment")
    row = table[(table["layer"] == 1) & (table["coeff"] == 4)].iloc[0]
    assert (row["shift [95 %]"], row["random vectors"]) == ("+0.100 [−0.050, +0.250]", "[−0.120, +0.098]")


def test_an_effect_from_one_prompt_has_no_interval(summary: pd.DataFrame) -> None:
    table = condition_table(summary.assign(low=np.nan, high=np.nan), metric="sentiment")
    assert table["shift [95 %]"].iloc[-1] == "+0.10"


def test_the_same_cell_in_two_groups_is_two_rows(summary: pd.DataFrame) -> None:
    both = pd.concat([summary.assign(regime=name) for name in ("conflict", "agreement")])
    table = condition_table(both, metric="sentiment", groups=["regime"])
    assert table["regime"].value_counts().to_dict() == {"conflict": 5, "agreement": 5}


def test_an_unknown_metric_is_refused(summary: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="no metric 'joy'; the summary has sentiment, perplexity"):
        condition_table(summary, metric="sentiment", costs=["joy"])


def test_how_far_out_the_stream_is_stands_in_the_row_of_its_cell_and_of_controls_the_mean(
    summary: pd.DataFrame,
) -> None:
    drawn = summary[(summary["layer"] == 1) & (summary["coeff"] == 4)]
    drawn = drawn.assign(method="random", role="control", control_of="actadd")
    cell = {"place": "front", "layer": 1, "coeff": 4.0, "budget": np.nan}
    gauge = pd.DataFrame([
        {**cell, "method": "actadd", "control_of": None, "norm_percentile": 55.04, "distance_percentile": 99.96},
        {**cell, "method": "random", "control_of": "actadd", "norm_percentile": 40.0, "distance_percentile": 70.0},
        {**cell, "method": "random", "control_of": "actadd", "norm_percentile": 60.0, "distance_percentile": 80.0},
    ])  # fmt: skip
    beside = with_gauge(pd.concat([summary, drawn], ignore_index=True), gauge)
    table = condition_table(beside, metric="sentiment").set_index(["condition", "layer", "coeff"])
    columns = ["norm, percentile", "distance, percentile"]
    assert table.loc[("actadd, front", 1, 4), columns].tolist() == [55.0, 100.0]
    assert table[table.index.get_level_values(0).str.startswith("random")][columns].to_numpy().tolist() == [[50, 75]]
    assert table[columns].notna().all(axis=1).sum() == 2  # no other cell was measured
    assert set(columns).isdisjoint(condition_table(summary, metric="sentiment"))
