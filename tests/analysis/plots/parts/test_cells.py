"""From a summary table to a grid of cells."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.analysis.plots.parts.cells import (
    NULL_GRIDS,
    counts,
    how_many_work,
    norm_position,
    placed_cells,
    sweep_cells,
)
from steering_lab.analysis.plots.parts.hover import hover_text

SweepTable = Callable[..., pd.DataFrame]


def _cell(cells: pd.DataFrame, layer: int, coeff: float) -> pd.Series:
    return cells[(cells["layer"] == layer) & (cells["coeff"] == coeff)].iloc[0]


def test_the_unsteered_row_becomes_a_column_at_coefficient_zero(sweep: SweepTable) -> None:
    cells, unsteered, neutral, *_ = sweep_cells(sweep(), metric="sentiment", method="actadd")
    assert (unsteered, neutral) == (0.1, 0.0)
    column = cells[cells["coeff"] == 0]
    assert column["layer"].tolist() == [0, 1, 2]
    assert (column["value"] == 0.1).all()
    assert column["baseline"].all()
    assert column["state"].isna().all()


def test_a_cell_without_an_interval_keeps_the_reason_and_says_it_on_hover(sweep: SweepTable) -> None:
    table = sweep()
    bare = (table["layer"] == 1) & (table["coeff"] == 4) & (table["metric"] == "sentiment")
    assert bare.any()
    table.loc[bare, ["low", "high"]] = np.nan
    table["why"] = np.where(bare, "too few prompts", None)
    found = sweep_cells(table, metric="sentiment", method="actadd")
    assert _cell(found.cells, 1, 4)["why"] == "too few prompts"
    assert found.cells["why"].notna().sum() == 1
    said = hover_text(found.cells, table, found, "sentiment", None)
    assert ["(no interval: too few prompts)" in text for text in said] == found.cells["why"].notna().tolist()


def test_states_are_those_of_the_table_and_others_are_refused(sweep: SweepTable) -> None:
    table = sweep()
    assert sweep_cells(table, metric="sentiment", method="actadd").cells["state"].isna().all()
    table["state"] = np.where((table["layer"] == 2) & (table["coeff"] == 4), "works", None)
    cells = sweep_cells(table, metric="sentiment", method="actadd").cells
    assert cells[cells["state"] == "works"][["layer", "coeff"]].to_numpy().tolist() == [[2, 4]]
    with pytest.raises(ValueError, match="a cell is said to be 'fine': one of works, works, over budget, moves"):
        sweep_cells(table.assign(state="fine"), metric="sentiment", method="actadd")


def test_the_caption_counts_what_works_and_says_how_often_null_grids_have_any(sweep: SweepTable) -> None:
    def words(few: int, n_draws: int = 10) -> str:
        table = sweep(coeffs=range(1, few + 1), layers=(0, 1)).assign(n_draws=n_draws)
        table["state"] = np.where(table["coeff"] == 0, None, "nothing shown")
        table.loc[(table["layer"] == 1) & (table["coeff"] == 1), "state"] = "works"
        return how_many_work(sweep_cells(table, metric="sentiment", method="actadd").cells)

    assert how_many_work(sweep_cells(sweep(), metric="sentiment", method="actadd").cells) == ""
    simulated = "of simulated grids of 80 cells in which nothing steers, at most"
    for n_draws, judged in ((3, 3), (4, 3), (5, 5), (9, 5), (10, 10), (40, 10)):
        said = f"{simulated} {NULL_GRIDS[judged]:.0%} have one that does with {judged} random vectors to a cell"
        assert words(4, n_draws) == f"1 of 8 cells works; {said}"
    assert words(3).startswith("1 of 6 cells works; so few are each judged by their own random vectors: of grids in")


def test_the_share_of_null_grids_is_that_of_the_table_in_the_documentation() -> None:
    page = Path("docs/measures.md").read_text(encoding="utf-8")
    found = re.findall(r"Most null grids in a row with a cell that works, (\d+) draws: ([\d.]+)%", page)
    assert [int(draws) for draws, _ in found] == list(NULL_GRIDS)
    for draws, share in found:
        assert float(share) / 100 <= NULL_GRIDS[int(draws)] < float(share) / 100 + 0.01


def test_the_scale_column_says_what_no_change_is(sweep: SweepTable) -> None:
    table = sweep(scale="ratio")
    table = table[table["method"] != "unsteered"]
    assert sweep_cells(table, metric="perplexity", method="actadd").neutral == 1.0


def test_a_cell_is_within_the_control_up_to_the_ends_of_its_band(sweep: SweepTable) -> None:
    cells = sweep_cells(sweep(), metric="sentiment", method="actadd").cells
    inside = cells[cells["inside_control"]]
    assert inside["layer"].tolist() == [0, 0, 1, 1]  # effects 0 and ±0.1 of ±0.12; ±0.2 is outside


def test_a_cell_that_was_not_run_is_there_and_empty(sweep: SweepTable) -> None:
    table = sweep()
    cells = sweep_cells(
        table[~((table["layer"] == 1) & (table["coeff"] == 4))], metric="sentiment", method="actadd"
    ).cells
    assert len(cells) == 9
    gap = _cell(cells, 1, 4)
    assert not gap["run"]
    assert np.isnan(gap["value"])


def test_unmeasured_degeneration_marks_nothing(sweep: SweepTable) -> None:
    table = sweep(degenerate=pd.NA)
    assert not sweep_cells(table, metric="sentiment", method="actadd").cells["degenerate"].any()


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda t: t.drop(columns="low"), "column 'low'"),
        (lambda t: t[t["metric"] != "sentiment"], "metric 'sentiment'.*perplexity"),
        (lambda t: t.assign(method="cad"), "method 'actadd'.*cad"),
        (lambda t: pd.concat([t, t.tail(2)]), "two rows for layer 2, coeff 4"),
    ],
)
def test_a_table_that_lacks_what_is_asked_for_is_refused_by_name(
    sweep: SweepTable, change: Callable[[pd.DataFrame], pd.DataFrame], names: str
) -> None:
    with pytest.raises(ValueError, match=names):
        sweep_cells(change(sweep()), metric="sentiment", method="actadd")


def test_cells_of_a_layer_meet_without_gap_or_overlap_on_both_axes(sweep: SweepTable) -> None:
    table = sweep(coeffs=(-8, -1, 1, 2, 8))
    for axis in ("coeff", "relative_norm"):
        cells = placed_cells(sweep_cells(table, metric="sentiment", method="actadd").cells, axis)
        for _, row in cells.groupby("layer"):
            row = row.sort_values("x")
            assert np.allclose(row["right"].to_numpy()[:-1], row["left"].to_numpy()[1:])
            assert ((row["left"] < row["x"]) & (row["x"] < row["right"])).all()


def test_equal_norms_stand_at_equal_places_in_every_layer(sweep: SweepTable) -> None:
    cells = placed_cells(sweep_cells(sweep(), metric="sentiment", method="actadd").cells, "relative_norm")
    # layer 0 with coeff 4 has norm 0.4, layer 1 0.2, layer 2 the smallest, 0.4 / 3: log2(1 + 3) = 2
    assert _cell(cells, 2, 4)["x"] == pytest.approx(1)
    assert _cell(cells, 0, 4)["x"] == pytest.approx(2)
    assert _cell(cells, 0, -4)["x"] == pytest.approx(-2)


def test_a_missing_norm_is_refused_on_the_norm_axis_only(sweep: SweepTable) -> None:
    cells = sweep_cells(sweep(relative_norm=np.nan), metric="sentiment", method="actadd").cells
    assert len(placed_cells(cells, "coeff")) == 9
    with pytest.raises(ValueError, match="no relative_norm"):
        placed_cells(cells, "relative_norm")


@given(st.lists(st.floats(-100, 100), min_size=2, unique=True))
def test_the_norm_axis_keeps_order_and_zero(norms: list[float]) -> None:
    ordered = pd.Series(sorted(norms))
    places = norm_position(ordered, 0.5)
    assert (places.diff().dropna() >= 0).all()
    assert norm_position(pd.Series([0.0]), 0.5).iloc[0] == 0


def test_a_method_at_several_places_is_drawn_at_the_one_that_is_asked_for(sweep: SweepTable) -> None:
    other = sweep().query("role != 'unsteered'").assign(place="everywhere", value=9.0)
    both = pd.concat([sweep(), other])
    assert (sweep_cells(both, metric="sentiment", method="actadd", place="everywhere").cells["value"] > 1).sum() == 6
    assert sweep_cells(both, metric="sentiment", method="actadd", place="front").place == "front"
    with pytest.raises(ValueError, match="'actadd' stands at everywhere, front: choose one, say place='everywhere'"):
        sweep_cells(both, metric="sentiment", method="actadd")
    with pytest.raises(ValueError, match="no rows for 'actadd' at place 'generated': the table has everywhere, front"):
        sweep_cells(both, metric="sentiment", method="actadd", place="generated")


def test_counts_name_a_range_where_cells_differ(sweep: SweepTable) -> None:
    table = sweep()
    table.loc[table["layer"] == 1, "n"] = 30
    assert counts(sweep_cells(table, metric="sentiment", method="actadd").cells) == (
        "8 prompts, 30 to 32 continuations a cell"
    )
