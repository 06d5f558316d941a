"""Figures of the stream: every mark is a number of the table, and model text stays text."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from steering_lab.analysis.plots import (
    decomposition_bars,
    norm_curves,
    projection_curves,
    projection_heatmap,
    token_change_bars,
)
from steering_lab.analysis.plots.parts.labels import amount
from steering_lab.analysis.plots.parts.sites import site_axis, site_place, thinned
from steering_lab.models.hook_points import resid_post, resid_pre
from tests.analysis.plots.traces import trace

SITES = [(0, "resid_pre"), (0, "resid_post"), (1, "resid_post"), (2, "resid_post")]


def key_of(figure: go.Figure) -> str:
    return next((note.text for note in figure.layout.annotations if note.name == "key"), "")


def profile(tokens: tuple[str, ...] = ("<bos>", " love", " hate")) -> pd.DataFrame:
    """The projection is 10 at the first token and position - site elsewhere."""
    rows = [
        (0, layer, stream, position, token, 10.0 if position == 0 else float(position - at), 0.5, 20.0)
        for at, (layer, stream) in enumerate(SITES)
        for position, token in enumerate(tokens)
    ]
    names = ["prompt", "layer", "stream", "position", "token", "projection", "cosine", "resid_norm"]
    return pd.DataFrame(rows, columns=names)


def means(**columns: object) -> pd.DataFrame:
    table = pd.DataFrame(SITES, columns=["layer", "stream"])
    table = table.assign(mean=[0.0, 1.0, 2.0, 3.0], n_prompts=8, n_missing=0)
    return table.assign(low=table["mean"] - 0.5, high=table["mean"] + 0.5).assign(**columns)


def effects() -> pd.DataFrame:
    rows = [(0, "direct", 4.0), (0, "attention", 1.0), (0, "mlp", -2.0), (1, "attention", 3.0), (1, "mlp", -1.5)]
    rows += [(2, "final norm", -0.5)]
    table = pd.DataFrame(rows, columns=["layer", "part", "mean"])
    return table.assign(low=table["mean"] - 1, high=table["mean"] + 1, n_prompts=8)


def tokens(names: tuple[str, ...] = (" up", " some", " still", " down")) -> pd.DataFrame:
    table = pd.DataFrame({"token_id": range(4), "token": names, "p_clean": [0.1, 0.2, 0.3, 0.4]})
    table = table.assign(p_steered=[0.4, 0.25, 0.3, 0.05], change=[1.386, 0.223, 0.0, -2.079])
    contribution = np.array([0.5545, 0.0558, 0.0, -0.104])
    return table.assign(contribution=contribution, kl_share=contribution / contribution.sum())


# -- sites ------------------------------------------------------------------------------------------------------------
def test_sites_stand_in_the_order_of_the_stream_and_the_first_is_the_embedding() -> None:
    axis = site_axis(pd.DataFrame(SITES[::-1], columns=["layer", "stream"]))
    assert axis.names == ["embed", "0", "1", "2"]
    assert axis.at.tolist() == [3, 2, 1, 0]
    inputs = site_axis(pd.DataFrame({"layer": [0, 1], "stream": "resid_pre"}))
    assert (inputs.names, inputs.title) == (["0", "1"], "layer (stream at its input)")


def test_an_edit_sets_in_at_its_site_or_just_behind_the_place_it_shares() -> None:
    table = pd.DataFrame(SITES, columns=["layer", "stream"])
    assert site_place(table, resid_post(1)) == 2
    assert site_place(table, resid_pre(2)) == 2.5
    assert site_place(table, resid_pre(0)) == 0


def test_names_that_would_touch_are_thinned() -> None:
    assert thinned(6, 20, 15) == [0, 1, 2, 3, 4, 5]
    assert thinned(6, 10, 15) == [0, 2, 4]
    assert thinned(3, 0.1, 15) == [0]


# -- heatmap ----------------------------------------------------------------------------------------------------------
def test_the_heatmap_is_the_table_with_the_last_layer_on_top() -> None:
    figure = projection_heatmap(profile())
    assert trace(figure, "cells").z.tolist() == [[10, 1, 2], [10, 0, 1], [10, -1, 0], [10, -2, -1]]
    assert list(figure.layout.yaxis.ticktext) == ["embed", "0", "1", "2"]


def test_colours_are_centred_on_zero_and_end_behind_the_first_token() -> None:
    colours = projection_heatmap(profile()).layout.coloraxis
    assert (colours.cmin, colours.cmax) == (-2, 2)
    assert colours.colorbar.ticktext[-1] == "≥ +2.0"
    assert projection_heatmap(profile(), limit=10).layout.coloraxis.colorbar.ticktext[-1] == "+10"


def test_the_edits_line_lies_under_the_first_site_that_shows_it() -> None:
    assert list(trace(projection_heatmap(profile(), edited=resid_pre(1)), "edit").y) == [1.5, 1.5]
    assert list(trace(projection_heatmap(profile(), edited=resid_post(1)), "edit").y) == [1.5, 1.5]
    assert list(trace(projection_heatmap(profile(), edited=resid_pre(0)), "edit").y) == [-0.5, -0.5]


def test_missing_cells_are_struck_through_and_counted() -> None:
    table = profile()
    table.loc[4, "projection"] = np.nan
    figure = projection_heatmap(table)
    assert len(trace(figure, "no value").x) == 3
    assert "1 of 12 cells" in key_of(figure)
    assert trace(figure, "labels").text[4] == ""


def test_tokens_are_text_and_never_html() -> None:
    figure = projection_heatmap(profile(("<b>x</b>", "\n", "שלום")))
    assert "&lt;b&gt;" in figure.layout.xaxis.ticktext[0]
    assert figure.layout.xaxis.ticktext[1] == "↵"
    assert "<b>x</b>" not in "".join(map(str, trace(figure, "cells").customdata.ravel()))


def test_a_table_that_is_no_single_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="prompt 3 is not in the table: it has 0"):
        projection_heatmap(profile(), prompt=3)
    with pytest.raises(ValueError, match="two rows for one site and token"):
        projection_heatmap(pd.concat([profile(), profile()]))
    with pytest.raises(ValueError, match="no column 'angle'"):
        projection_heatmap(profile(), value="angle")


# -- curves -----------------------------------------------------------------------------------------------------------
def test_a_curve_is_the_means_and_the_reference_is_dashed() -> None:
    figure = projection_curves({"clean": means(), "steered": means(mean=[0.0, 5.0, 6.0, 7.0])})
    assert list(trace(figure, "steered").y) == [0, 5, 6, 7]
    assert trace(figure, "clean").line.dash is not None
    assert trace(figure, "steered").line.dash is None
    assert "8 prompts" in figure.layout.title.text


def test_the_control_is_a_band_without_a_line_and_named() -> None:
    figure = projection_curves({"steered": means()}, control=means(low=-1.0, high=1.0))
    assert "random vectors of equal norm" in key_of(figure)
    assert "control" not in {t.name for t in figure.data}
    bands = [t for t in figure.data if str(t.name).startswith("band")]
    assert set(bands[0].y) - {None} == {-1.0, 1.0}


def test_the_edit_is_marked_between_the_sites_around_it() -> None:
    assert projection_curves({"a": means()}, edited=resid_pre(1)).layout.shapes[-1].x0 == 1.5
    assert projection_curves({"a": means()}, edited=resid_post(1)).layout.shapes[-1].x0 == 2


def test_zero_is_always_in_view() -> None:
    low, high = projection_curves({"a": means(mean=5.0, low=4.0, high=6.0)}).layout.yaxis.range
    assert low <= 0 < 6 < high


def test_no_run_and_too_many_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="0 runs"):
        projection_curves({})
    with pytest.raises(ValueError, match="9 runs"):
        projection_curves({str(i): means() for i in range(9)})


# -- norms ------------------------------------------------------------------------------------------------------------
def norms(scale: float = 0.2) -> pd.DataFrame:
    far = means(mean=[1.0, 1.0, 1.0, 1.0], low=0.9, high=1.1)
    near = far.assign(**{name: far[name] * scale for name in ("mean", "low", "high")})
    nothing = means(mean=0.0, low=0.0, high=0.0)
    return pd.concat([nothing.assign(position=0), far.assign(position=1), near.assign(position=2)])


def test_a_line_per_position_and_the_zero_row_is_named_but_not_drawn() -> None:
    figure = norm_curves(norms(), names={1: "Love − Hate"})
    assert {t.name for t in figure.data if t.mode != "none"} == {"Love − Hate", "token 2"}
    assert "token 0: no vector" in key_of(figure)
    assert figure.layout.yaxis.type is None


def test_lines_more_than_tenfold_apart_stand_on_a_log_axis() -> None:
    axis = norm_curves(norms(scale=0.02)).layout.yaxis
    assert axis.type == "log"
    assert "1" in axis.ticktext
    assert "0.02" in axis.ticktext


def test_without_positions_there_is_one_line() -> None:
    assert [t.name for t in norm_curves(means(mean=1.0)).data if t.mode != "none"] == [""]


def test_a_vector_that_is_zero_everywhere_is_refused() -> None:
    with pytest.raises(ValueError, match="0 positions with a vector"):
        norm_curves(means(mean=0.0).assign(position=0))


# -- decomposition ----------------------------------------------------------------------------------------------------
def test_bars_are_the_parts_and_all_layers_are_their_sum() -> None:
    figure = decomposition_bars(effects())
    assert figure.layout.barmode == "relative"
    assert list(trace(figure, "what attention changed").y) == [1, 3, 4]
    assert list(trace(figure, "the edit itself").y) == [4, 4]
    assert next(note.text for note in figure.layout.annotations if note.name == "whole") == "<b>+4</b>"
    assert list(trace(figure, "sum").y) == [3, 3, None, 1.5, 1.5, None, -0.5, -0.5, None, 4, 4, None]


def test_the_final_norm_stands_behind_the_last_layer_and_is_named() -> None:
    assert list(decomposition_bars(effects()).layout.xaxis.ticktext) == [
        "0", "1", "final<br>norm", "<b>all<br>layers</b>",
    ]  # fmt: skip
    assert "final norm" not in key_of(decomposition_bars(effects().query("part != 'final norm'")))


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown part 'gate'"):
        decomposition_bars(effects().replace("mlp", "gate"))


# -- tokens -----------------------------------------------------------------------------------------------------------
def test_bars_go_from_the_most_raised_to_the_most_lowered_and_leave_out_what_did_not_move() -> None:
    figure = token_change_bars(tokens())
    assert list(trace(figure, "tokens").x) == [0.5545, 0.0558, -0.104]
    assert [note.text for note in figure.layout.annotations if note.name == "token"] == [
        "\u2068·up\u2069", "\u2068·some\u2069", "\u2068·down\u2069",
    ]  # fmt: skip
    assert [t.strip() for t in trace(figure, "shares").text] == ["+110 %", "+11 %", "−21 %"]
    assert "KL 0.506 nats" in figure.layout.title.text


def test_only_as_many_as_asked_for_are_shown_and_the_rest_is_counted() -> None:
    figure = token_change_bars(tokens(), n=1)
    assert list(trace(figure, "tokens").x) == [0.5545, -0.104]
    assert "2 of 4 tokens shown, the others add +11 %" in figure.layout.title.text


def test_a_tokens_name_is_escaped() -> None:
    figure = token_change_bars(tokens(("<i>", "b", "c", "d")))
    assert "&lt;i&gt;" in next(note.text for note in figure.layout.annotations if note.name == "token")
    assert "<i>" not in trace(figure, "tokens").customdata[0]


def test_a_distribution_that_did_not_change_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        token_change_bars(tokens().assign(contribution=0.0, kl_share=np.nan))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.05, "0.05"), (-12.34, "−12.3"), (1400.2, "1,400"), (0.0, "0"), (np.nan, "–"), (999.7, "1,000")],
)
def test_amounts_by_hand(value: float, text: str) -> None:
    assert amount(value) == text
