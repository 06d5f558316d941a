"""The lens's figures show the table: every cell, word, frame and line where it belongs."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from steering_lab.analysis.plots import lens_curves, lens_heatmap, vector_lens_bars
from tests.analysis.plots.traces import trace

SITES = [(0, "resid_pre"), (0, "resid_post"), (1, "resid_post")]
READ = ["<s>", " a", " a"]  # a token that repeats


def table(**columns: object) -> pd.DataFrame:
    """Three sites by three tokens, bottom up and left to right; " Paris" is on top at the last site's end."""
    rows = [
        {
            "prompt": 0,
            "layer": layer,
            "stream": stream,
            "position": x,
            "token": token,
            "generated": False,
            "top": " Paris" if (y, x) == (2, 2) else " the",
            "top_probability": 0.1 * (3 * y + x + 1),
            "entropy": 2.0 - 0.5 * y,
            "kl_to_final": 0.5 * (2 - y),
            "top_k": (" Paris" if (y, x) == (2, 2) else " the", "<i>"),
            "top_k_probability": (0.1 * (3 * y + x + 1), 0.01),
        }
        for y, (layer, stream) in enumerate(SITES)
        for x, token in enumerate(READ)
    ]
    return pd.DataFrame(rows).assign(**columns)


def change() -> pd.DataFrame:
    """As `lens_difference` leaves it: only the last cell's top token is new."""
    return table(entropy=[0.0] * 7 + [-0.5, 0.25], clean_top=" the").drop(columns=["top_k", "top_k_probability"])


def followed(shift: float = 0.0) -> pd.DataFrame:
    """ " Paris" climbs, " Rome" falls, at the last of two positions."""
    rows = [
        {"prompt": 0, "layer": layer, "stream": stream, "position": x, "token": READ[x], "top": " the",
         "target": target, "probability": p + shift, "log_probability": np.log(p + shift), "rank": rank}
        for target, ps, ranks in ((" Paris", (0.1, 0.2, 0.6), (100, 10, 1)), (" Rome", (0.3, 0.2, 0.1), (1, 2, 3)))
        for (layer, stream), p, rank in zip(SITES, ps, ranks, strict=True)
        for x in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def key(figure: go.Figure) -> str:
    return next(note.text for note in figure.layout.annotations if note.name == "key")


# -- heatmap ----------------------------------------------------------------------------------------------------------
def test_cells_are_the_table_with_the_embedding_below_and_repeated_tokens_apart() -> None:
    figure = lens_heatmap(table().sample(frac=1, random_state=0))
    assert np.allclose(trace(figure, "cells").z, 0.1 * np.arange(1, 10).reshape(3, 3))
    assert figure.layout.yaxis.ticktext == ("embed", "0", "1")
    assert figure.layout.xaxis.ticktext == ("&lt;s&gt;", "·a", "·a")
    assert figure.layout.xaxis.tickvals == (0, 1, 2)


def test_each_cell_bears_its_top_token_and_a_target_is_bold_and_framed() -> None:
    figure = lens_heatmap(table(), targets={" Paris": "the answer"})
    words = trace(figure, "words")
    assert list(words.text) == ["·the"] * 8 + ["<b>·Paris</b>"]
    frame = trace(figure, "target  Paris")
    assert {round(x) for x in frame.x if x is not None} == {2}
    assert {round(y) for y in frame.y if y is not None} == {2}
    assert "<b>·Paris</b>, the answer" in key(figure)
    assert words.textfont.color[0] != words.textfont.color[-1]  # dark on pale, white on dark


@pytest.mark.parametrize("value", ["top_probability", "entropy", "kl_to_final"])
def test_colours_begin_at_nothing_and_probabilities_end_at_one(value: Any) -> None:
    axis = lens_heatmap(table(), value=value).layout.coloraxis
    assert axis.cmin == 0
    assert axis.cmax == pytest.approx(1.0 if value == "top_probability" else table()[value].max())


def test_a_limit_ends_the_colours_and_the_bar_says_that_there_is_more() -> None:
    axis = lens_heatmap(table(), value="kl_to_final", limit=0.5).layout.coloraxis
    assert axis.cmax == 0.5
    assert axis.colorbar.ticktext[-1] == "≥ 0.50"


def test_a_difference_diverges_about_zero_and_is_written_on_only_where_the_top_token_is_new() -> None:
    figure = lens_heatmap(change(), value="entropy", targets=[" the"])
    axis = figure.layout.coloraxis
    assert (axis.cmin, axis.cmax) == (-0.5, 0.5)
    assert "<b>0</b>" in axis.colorbar.ticktext
    words = trace(figure, "words")
    assert (list(words.text), list(words.x), list(words.y)) == (["·Paris"], [2], [2])
    assert not [t for t in figure.data if t.name.startswith("target")]  # " the" is nowhere new
    (bar,) = [a for a in figure.layout.annotations if a.name == "colour bar"]
    assert "change in entropy" in bar.text


def test_a_missing_value_leaves_its_cell_white_unwritten_and_counted() -> None:
    one = table()
    one.loc[4, "top_probability"] = np.nan
    figure = lens_heatmap(one)
    assert np.isnan(trace(figure, "cells").z[1][1])
    assert len(trace(figure, "words").text) == 8
    assert "no value (1 of 9 cells)" in key(figure)


def test_hover_lists_place_tokens_and_numbers_as_text() -> None:
    hover = trace(lens_heatmap(table()), "cells").customdata
    assert "·a</b>, position 2, after layer 1" in hover[2][2]
    assert "1. ·Paris\u200290 %" in hover[2][2]
    assert "2. &lt;i&gt;\u20021 %" in hover[2][2]
    assert "</span> 0.500 nats" in hover[1][0]
    assert "&lt;s&gt;</b>, position 0, embed" in hover[0][0]
    assert "top ·Paris, clean ·the" in trace(lens_heatmap(change(), value="entropy"), "cells").customdata[2][2]


def test_a_line_stands_where_generation_begins() -> None:
    figure = lens_heatmap(table(generated=[False, False, True] * 3))
    assert list(trace(figure, "prompt ends").x) == [1.5, 1.5]
    assert "prompt ends" not in {t.name for t in lens_heatmap(table()).data}


def test_small_cells_lose_their_words_and_keep_their_frames() -> None:
    many = pd.concat(
        [table(layer=layer, stream="resid_post", position=x)[:1] for layer in range(48) for x in range(60)],
        ignore_index=True,
    )
    figure = lens_heatmap(many, targets=[" the"])
    names = {t.name for t in figure.data}
    assert trace(figure, "cells").z.shape == (48, 60)
    assert "words" not in names
    assert "target  the" in names
    assert figure.layout.width <= 1300
    assert figure.layout.height <= 1000


def test_tables_that_are_not_one_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="no column 'probability': make it with token_lens"):
        lens_heatmap(table(), value="probability")
    with pytest.raises(ValueError, match=r"2 prompts: draw one, e\.g\. table\[table\['prompt'\] == 0\]"):
        lens_heatmap(table(prompt=[0] * 8 + [1]))
    with pytest.raises(ValueError, match="holds 2 targets"):
        lens_heatmap(followed(), value="probability")
    with pytest.raises(ValueError, match="two rows for one site and position"):
        lens_heatmap(pd.concat([table(), table()]))
    with pytest.raises(ValueError, match="5 targets are too many"):
        lens_heatmap(table(), targets=list("abcde"))
    with pytest.raises(ValueError, match="nothing to draw"):
        lens_heatmap(table()[:0])


# -- curves -----------------------------------------------------------------------------------------------------------
def test_a_curve_is_the_token_at_the_position_asked_for_along_the_stream() -> None:
    line = trace(lens_curves(followed()), "·Paris")
    assert list(line.x) == [0, 1, 2]
    assert list(line.y) == pytest.approx([0.1, 0.2, 0.6])
    assert trace(lens_curves(followed(), position=0), "·Paris").customdata[0].count("position 0") == 1
    assert trace(lens_curves(followed()), "·Paris").customdata[0].count("position 1") == 1


def test_ranks_are_logarithmic_with_the_first_on_top() -> None:
    axis = lens_curves(followed(), value="rank").layout.yaxis
    assert axis.type == "log"
    assert axis.range[0] > axis.range[1]
    assert axis.ticktext == ("1", "10", "100")


def test_clean_lines_are_dashed_and_named_beside_the_steered_ones() -> None:
    figure = lens_curves(followed(0.1), clean=followed(), targets={" Rome": "memory", " Paris": "context"})
    assert trace(figure, "·Rome (memory), clean").line.dash == "dash"
    assert trace(figure, "·Rome (memory), steered").line.dash == "solid"
    assert list(trace(figure, "·Paris (context), steered").y) == pytest.approx([0.2, 0.3, 0.7])
    colours = {t.name.split(",")[0]: t.line.color for t in figure.data}
    assert len(set(colours.values())) == 2
    heights = sorted(note.y for note in figure.layout.annotations)
    assert np.diff(heights).min() * 320 >= 16.9  # names stand apart


def test_what_the_table_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="position 7 is not in the table"):
        lens_curves(followed(), position=7)
    with pytest.raises(ValueError, match="no rows for the token 'x'"):
        lens_curves(followed(), targets=["x"])
    with pytest.raises(ValueError, match="make it with token_lens"):
        lens_curves(table())


# -- a vector's words -------------------------------------------------------------------------------------------------
WORDS = pd.DataFrame(
    {
        "row": [0, 0, 0, 0],
        "side": ["raised", "raised", "lowered", "lowered"],
        "rank": [1, 2, 1, 2],
        "token": [" love", "<b>", " hate", "x" * 40],
        "logit": [3.0, 2.0, -4.0, -1.0],
    }
)


def test_raised_tokens_stand_to_the_right_and_lowered_ones_to_the_left() -> None:
    figure = vector_lens_bars(WORDS)
    assert list(trace(figure, "raised").x) == [3.0, 2.0]
    assert list(trace(figure, "lowered").x) == [-4.0, -1.0]
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # the strongest on top
    words = [text.strip() for t in figure.data if t.name == "tokens" for text in t.text]
    assert words == ["·hate", "x" * 21 + "…", "·love", "&lt;b&gt;"]


def test_one_row_of_several_has_to_be_chosen() -> None:
    two = pd.concat([WORDS, WORDS.assign(row=2, logit=2 * WORDS["logit"])])
    with pytest.raises(ValueError, match=r"the rows 0, 2 of a vector: choose one"):
        vector_lens_bars(two)
    with pytest.raises(ValueError, match="row 1 is not in the table"):
        vector_lens_bars(two, row=1)
    assert list(trace(vector_lens_bars(two, row=2), "raised").x) == [6.0, 4.0]
