"""The layer × coefficient heatmap shows the table: every number, mark and continuation where it belongs."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from steering_lab.analysis.plots import layer_coeff_heatmap
from steering_lab.tables import MEANING

SweepTable = Callable[..., pd.DataFrame]


def draw(table: pd.DataFrame, **options: Any) -> go.Figure:
    return layer_coeff_heatmap(table, **{"metric": "sentiment", "method": "actadd", **options})


def trace(figure: go.Figure, name: str) -> Any:
    return next(trace for trace in figure.data if trace.name == name)


def names(figure: go.Figure) -> set[str]:
    return {trace.name for trace in figure.data}


def key(figure: go.Figure) -> str:
    return next(note.text for note in figure.layout.annotations if note.name == "key")


def test_the_cells_are_the_table_layer_upward_and_coefficient_to_the_right(sweep: SweepTable) -> None:
    figure = draw(sweep())
    expected = [[0.1, 0.1, 0.1], [0.0, 0.1, 0.2], [-0.1, 0.1, 0.3]]  # layers 0, 1, 2 × coefficients −4, 0, +4
    assert np.allclose(trace(figure, "cells").z, expected)
    assert figure.layout.xaxis.ticktext == ("−4", "0", "+4")
    assert figure.layout.yaxis.ticktext == ("0", "1", "2")
    assert figure.layout.yaxis.range == (-0.5, 2.5)


def test_colours_are_centred_on_the_unsteered_value(sweep: SweepTable) -> None:
    axis = draw(sweep()).layout.coloraxis
    assert (axis.cmin + axis.cmax) / 2 == pytest.approx(0.1)
    assert axis.cmax - 0.1 == pytest.approx(0.2)
    assert axis.colorbar.ticktext[2] == "<b>+0.10</b>"


def test_differences_are_centred_on_zero_and_any_centre_can_be_given(sweep: SweepTable) -> None:
    axis = draw(sweep(), value="difference").layout.coloraxis
    assert axis.cmin == pytest.approx(-axis.cmax)
    axis = draw(sweep(), center=0.5).layout.coloraxis
    assert (axis.cmin + axis.cmax) / 2 == pytest.approx(0.5)


def test_where_all_is_within_chance_no_colour_is_strong(sweep: SweepTable) -> None:
    table = sweep()
    steered = table["layer"].notna()
    table.loc[steered, ["value", "effect"]] = table.loc[steered, ["value", "effect"]] / 100
    axis = draw(table, value="difference").layout.coloraxis
    assert axis.cmax == pytest.approx(0.12)  # the control's, not the largest difference, 0.002


def said(table: pd.DataFrame, **states: str) -> pd.DataFrame:
    """The table with a state for every steered sentiment: of the cells named "layer_coeff" these, of others nothing."""
    table, own = table.copy(), (table["metric"] == "sentiment") & table["layer"].notna()
    table.loc[own, "state"] = [
        states.get(f"at_{row.layer:.0f}_{row.coeff:g}".replace("-", "m"), "nothing shown")
        for row in table[own].itertuples()
    ]
    return table


def area(shape: Any) -> list[tuple[float, float, float, float]]:
    """The rectangles of a broken line of outlines."""
    corners = np.array([(x, y) for x, y in zip(shape.x, shape.y, strict=True) if x is not None]).reshape(-1, 5, 2)
    return [(*box.min(axis=0), *box.max(axis=0)) for box in corners]


def test_a_number_is_bold_exactly_where_the_cell_works_and_nowhere_in_a_table_without_states(sweep: SweepTable) -> None:
    plain = ["+0.10", "+0.10", "+0.10", "0.00", "+0.10", "+0.20", "−0.10", "+0.10", "+0.30"]
    assert list(trace(draw(sweep()), "labels").text) == plain
    text = list(trace(draw(said(sweep(), at_2_4="works")), "labels").text)
    assert text == [*plain[:8], "<b>+0.30</b>"]


def test_what_works_is_in_full_colour_and_every_other_state_has_a_veil_or_hatching_of_its_own(
    sweep: SweepTable,
) -> None:
    table = said(sweep(), at_2_4="works", at_2_m4="works, over budget", at_1_4="moves, not told from random vectors")
    figure = draw(table)
    assert area(trace(figure, "moves, not told from random vectors")) == [(1.5, 0.5, 2.5, 1.5)]
    assert area(trace(figure, "nothing shown")) == [
        (-0.5, -0.5, 0.5, 0.5),
        (1.5, -0.5, 2.5, 0.5),
        (-0.5, 0.5, 0.5, 1.5),
    ]
    hatched = [(x, y) for x, y in zip(*(trace(figure, "hatching")[a] for a in "xy"), strict=True) if x is not None]
    assert all(-0.5 <= x <= 0.5 and 1.5 <= y <= 2.5 for x, y in hatched)
    white = [float(re.findall(r"[\d.]+", trace(figure, name).fillcolor)[-1])
             for name in ("moves, not told from random vectors", "nothing shown")]  # fmt: skip
    assert 0.4 < white[0] < white[1] < 1
    words = re.sub(r"<[^>]*>", "", key(figure).replace("<br>", " ").replace("\xa0", " "))
    assert " ".join(words.split()) == (
        f"+0.0 works: {MEANING['works']} ▨ works, over budget ■ moves, not told from random vectors ■ nothing shown"
    )


def test_numbers_of_pale_cells_are_grey(sweep: SweepTable) -> None:
    colours = list(trace(draw(said(sweep(), at_2_4="works")), "labels").textfont.color)
    assert len({colours[k] for k in (0, 2, 3, 5, 6)}) == 1  # the pale ones
    assert colours[8] != colours[0]


def test_rings_are_exactly_on_the_cells_within_the_control_where_no_state_says_so(sweep: SweepTable) -> None:
    rings = trace(draw(sweep()), "inside control")
    assert sorted({round(y) for y in rings.y}) == [0, 1]
    assert len(rings.y) == 4
    assert "random vectors of equal norm" in key(draw(sweep()))
    assert "inside control" not in names(draw(said(sweep())))


def test_notches_are_exactly_on_degenerate_cells(sweep: SweepTable) -> None:
    table = sweep()
    assert "degenerate" not in names(draw(table))
    table.loc[(table["layer"] == 1) & (table["coeff"] == 4), "degenerate"] = True
    notch = trace(draw(table), "degenerate")
    assert [(round(x), round(y)) for x, y in zip(notch.x, notch.y, strict=True)] == [(2, 1)]
    assert "text degenerates" in key(draw(table))


def test_a_veil_is_exactly_on_the_cells_outside_the_budgets(sweep: SweepTable) -> None:
    table = sweep()
    assert "over budget" not in names(draw(table))
    table["over_budget"] = (table["layer"] == 1) & (table["coeff"] == 4)
    figure = draw(table)
    veil = trace(figure, "over budget")
    assert (min(veil.x[:-1]), max(veil.x[:-1]), min(veil.y[:-1]), max(veil.y[:-1])) == (1.5, 2.5, 0.5, 1.5)
    assert [trace.name for trace in figure.data].index("over budget") > 0
    assert "a cost exceeds its budget" in key(figure)


def test_cells_without_a_value_are_struck_through_unlabelled_and_counted(sweep: SweepTable) -> None:
    table = sweep()
    one = (table["metric"] == "sentiment") & (table["layer"] == 1) & (table["coeff"] == 4)
    table.loc[one, ["value", "effect", "low", "high"]] = np.nan
    table = table[~((table["layer"] == 2) & (table["coeff"] == -4))]
    figure = draw(table)
    assert "no value (2 of 9 cells)" in key(figure)
    assert np.isnan(trace(figure, "cells").z[1][2])
    assert np.isnan(trace(figure, "cells").z[2][0])
    assert trace(figure, "labels").text[5] == ""
    assert "not run" in trace(figure, "cells").customdata[2][0][2]


def test_a_sweep_of_nothing_but_missing_values_still_draws(sweep: SweepTable) -> None:
    table = sweep()
    table.loc[table["layer"].notna(), ["value", "effect", "low", "high"]] = np.nan
    assert "no value (6 of 9 cells)" in key(draw(table))


def test_the_chosen_cell_is_framed_and_named(sweep: SweepTable) -> None:
    figure = draw(sweep(), chosen=(2, 4))
    frame = trace(figure, "chosen")
    assert (min(frame.x), max(frame.x), min(frame.y), max(frame.y)) == (1.5, 2.5, 1.5, 2.5)
    assert "chosen: layer 2, coefficient +4" in key(figure)


def test_a_chosen_cell_outside_the_table_is_refused(sweep: SweepTable) -> None:
    with pytest.raises(ValueError, match="layer 7, coeff 4"):
        draw(sweep(), chosen=(7, 4))


def test_ratios_are_logarithmic_from_one_and_a_huge_one_does_not_flatten_the_rest(sweep: SweepTable) -> None:
    table = sweep()
    huge = (table["metric"] == "perplexity") & (table["layer"] == 2) & (table["coeff"] == 4)
    table.loc[huge, "effect"] = 15_000.0
    figure = draw(table, metric="perplexity", value="ratio")
    cells = trace(figure, "cells").z
    assert cells[0][0] == pytest.approx(1)  # ×2 is one doubling
    assert cells[2][2] == pytest.approx(np.log2(15_000))
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 5)
    assert figure.layout.coloraxis.colorbar.ticktext[-1] == "≥ ×32"
    assert trace(figure, "labels").text[8] == "×15k"


def test_an_infinite_ratio_is_written_as_such(sweep: SweepTable) -> None:
    table = sweep()
    table.loc[(table["metric"] == "perplexity") & (table["coeff"] == 4), "effect"] = np.inf
    figure = draw(table, metric="perplexity", value="ratio")
    assert "×∞" in trace(figure, "labels").text[2]
    assert "Infinity" not in figure.to_json()


def test_differences_are_refused_as_ratios(sweep: SweepTable) -> None:
    with pytest.raises(ValueError, match="below 0 are no ratios"):
        draw(sweep(), value="ratio")


def test_without_an_unsteered_row_the_centre_must_be_given(sweep: SweepTable) -> None:
    table = sweep()
    table = table[table["method"] != "unsteered"]
    with pytest.raises(ValueError, match="pass center"):
        draw(table)
    assert trace(draw(table, center=0.0), "cells").z.shape == (3, 2)


def test_hover_shows_numbers_control_cost_and_the_continuation_as_text(sweep: SweepTable) -> None:
    generations = pd.DataFrame(
        {
            "method": ["unsteered", "actadd", "actadd"],
            "role": ["unsteered", "steered", "steered"],
            "place": [None, "front", "front"],
            "layer": [np.nan, 2, 2],
            "coeff": [0.0, 4, 4],
            "prompt": ["I hate you <i>because", "I hate you <i>because", "later"],
            "text": ["plain & calm", "<script>alert(1)</script>", "later"],
        }
    )
    hover = trace(draw(sweep(), examples=generations), "cells").customdata
    steered, unsteered = hover[2][2][2], hover[0][1][2]
    assert "sentiment: +0.300" in steered
    assert "effect +0.200 [+0.050, +0.350]" in steered
    assert "random vectors of equal norm [−0.120, +0.120]" in steered
    assert "perplexity ×4.0 of unsteered" in steered
    assert "8 prompts, 32 continuations" in steered
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in steered
    assert "I hate you &lt;i&gt;because" in steered
    assert "later" not in steered
    assert "plain &amp; calm" in unsteered
    assert "effect" not in unsteered


def test_a_click_on_a_cell_knows_its_layer_and_coefficient(sweep: SweepTable) -> None:
    figure = draw(sweep())
    assert list(trace(figure, "cells").customdata[2][0][:2]) == [2, -4.0]
    assert figure.layout.meta == {"browse": ["layer", "coeff"], "method": "actadd", "place": "front"}


def test_a_large_grid_drops_numbers_keeps_marks_and_thins_its_layers(sweep: SweepTable) -> None:
    figure = draw(said(sweep(layers=range(48), coeffs=[c for c in range(-10, 11) if c]), at_47_3="works"))
    assert trace(figure, "cells").z.shape == (48, 21)
    assert list(trace(figure, "labels").text).count("<b>•</b>") == 1
    assert len(figure.layout.yaxis.ticktext) <= 24
    assert figure.layout.width <= 1020
    assert figure.layout.height <= 800


def test_one_layer_and_one_coefficient_draw(sweep: SweepTable) -> None:
    figure = draw(sweep(layers=[3], coeffs=[2.0]))
    assert trace(figure, "cells").z.shape == (1, 2)
    assert figure.layout.width >= 500
    assert figure.layout.height >= 200


def test_on_the_norm_axis_each_layer_has_its_own_columns_and_the_same_values(sweep: SweepTable) -> None:
    figure = draw(sweep(), coeff_axis="relative_norm")
    rows = [t for t in figure.data if t.name == "cells"]
    assert [list(row.z[0]) for row in rows] == [pytest.approx(v) for v in ([0.1] * 3, [0, 0.1, 0.2], [-0.1, 0.1, 0.3])]
    assert rows[0].x[-1] > rows[2].x[-1]  # the same coefficient is a larger norm at layer 0


def test_title_subtitle_counts_and_interval_stand_above(sweep: SweepTable) -> None:
    text = draw(sweep(), title="It works", subtitle="synthetic organism, 2.0M parameters").layout.title.text
    flat = re.sub(r"<[^>]*>", " ", text)
    sentence = "synthetic organism, 2.0M parameters. 8 prompts, 32 continuations a cell; 95 % interval over prompts"
    assert " ".join(flat.split()).startswith(f"It works {sentence}")


def test_drawing_changes_no_table(sweep: SweepTable) -> None:
    table = sweep()
    before = table.copy(deep=True)
    draw(table, chosen=(2, 4), coeff_axis="relative_norm")
    pd.testing.assert_frame_equal(table, before)


def test_what_is_never_below_nothing_has_no_plus_signs(sweep: SweepTable) -> None:
    signs = [
        any("+" in text for text in trace(draw(sweep(), bounds=ends), "labels").text) for ends in ((-1, 1), (0, 1))
    ]
    assert signs == [True, False]


@pytest.mark.parametrize("axis", ["coeff", "relative_norm"])
def test_a_dotted_line_runs_around_the_cells_beyond_neutral_text_and_not_between_them(
    sweep: SweepTable, axis: str
) -> None:
    table = sweep(layers=(0, 1), coeffs=(-4, 4))
    far = (table["coeff"] == 4) & table["layer"].notna()  # one above the other
    figure = draw(table.assign(distance_percentile=far * 99.5, norm_percentile=50.0), coeff_axis=axis)
    line = trace(figure, "far out")
    sides = list(zip(line.y[::3], line.y[1::3], strict=True))
    assert sum(low != high for low, high in sides) >= 4  # left and right of both
    assert {low for low, high in sides if low == high} >= {-0.5, 1.5}  # below and above
    if axis == "coeff":
        assert len(sides) == 6  # nothing between the two
    assert "farther out in the stream than 99 % of neutral tokens" in key(figure)
    near = draw(table.assign(distance_percentile=98.0, norm_percentile=50.0), coeff_axis=axis)
    assert "far out" not in names(near)
