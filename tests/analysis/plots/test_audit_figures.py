"""The audit as text: every token once and in order, coloured by the table, escaped."""

import re

import numpy as np
import pandas as pd
import pytest

from steering_lab.analysis.plots import audit_html, audit_strip
from tests.analysis.plots.traces import trace

TOKENS = ["<bos>", "<b>", " the", "\n", "שלום", "🙂", " incomprehensibilities", "!"]


def table(n_prompt: int = 4, layers: tuple[int, ...] = (2,), tokens: list[str] = TOKENS) -> pd.DataFrame:
    rows = [
        {
            "prompt": 0,
            "forward": max(0, i - n_prompt + 1),
            "layer": layer,
            "stream": "resid_pre",
            "position": i,
            "token": token,
            "is_prompt": i < n_prompt,
            "touched": i in (1, 5),
            "change": float(i in (1, 5)) * i,
            "relative": float(i in (1, 5)) * i / 10,
            "terms": "+1 x add <v> at(0) resid_pre(2)" if i in (0, 1, 5) else "",
        }
        for layer in layers
        for i, token in enumerate(tokens)
    ]
    padding = {**rows[0], "position": -1, "token": "<pad>", "terms": ""}
    return pd.DataFrame([padding, *rows])


def test_every_real_token_is_there_once_escaped_and_padding_is_not() -> None:
    shown = list(trace(audit_strip(table()), "tokens").text)
    assert shown[:6] == ["&lt;bos&gt;", "&lt;b&gt;", "·the", "↵", "\u2066שלום\u2069", "🙂"]
    assert shown[6] == "·incomprehensib…"
    assert len(shown) == len(TOKENS)


def test_colour_is_the_relative_change_of_exactly_the_touched() -> None:
    figure = audit_strip(table())
    assert list(trace(figure, "touched").marker.color) == [0.1, 0.5]
    assert len(trace(figure, "in vain").base) == 1  # token 0: claimed by a term, unchanged
    assert len(trace(figure, "untouched").base) == 5
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 0.5)
    assert any("in the edit's place, yet unchanged" in note.text for note in figure.layout.annotations)


def test_generated_tokens_begin_a_line_and_boxes_never_overlap_or_leave_the_width() -> None:
    figure = audit_strip(table(n_prompt=9, tokens=[f" word{i}" for i in range(60)]))
    boxes = pd.concat(
        [pd.DataFrame({"left": t.base, "wide": t.x, "y": t.y}) for t in figure.data if t.name != "tokens"]
    ).sort_values(["y", "left"])
    right = boxes["left"] + boxes["wide"]
    assert right.max() <= figure.layout.xaxis.range[1]
    for _, line in boxes.groupby("y"):
        assert (line["left"].to_numpy()[1:] >= (line["left"] + line["wide"]).to_numpy()[:-1]).all()
    assert boxes.groupby("y")["left"].min().eq(0).all()
    assert boxes.groupby("y").size().iloc[0] == 9
    passes = [note.text for note in figure.layout.annotations if note.name == "passes"]
    assert passes == ["prompt<br>forward 0", "generated<br>forwards 1–51"]


def test_each_site_has_its_own_text_and_too_many_are_refused() -> None:
    figure = audit_strip(table(layers=(0, 3)))
    heads = [note.text for note in figure.layout.annotations if note.name == "site"]
    assert ["resid_pre(0)" in heads[0], "resid_pre(3)" in heads[1]] == [True, True]
    assert "changed at 2 of 8 tokens" in heads[0]
    assert "add &lt;v&gt; at(0)" in heads[0]
    with pytest.raises(ValueError, match="9 sites are too many"):
        audit_strip(table(layers=tuple(range(9))))
    with pytest.raises(ValueError, match="no rows for prompt 1"):
        audit_strip(table(), prompt=1)


def test_an_edit_that_changed_nothing_draws() -> None:
    still = table().assign(touched=False, change=0.0, relative=0.0)
    figure = audit_strip(still)
    assert len(trace(figure, "touched").base) == 0
    assert np.isfinite(figure.layout.coloraxis.cmax)


def test_the_html_has_every_token_in_order_and_nothing_of_it_is_markup() -> None:
    page = audit_html(table())
    assert re.findall(r">([^<>]*)</span>", page) == [
        *("&lt;bos&gt;", "&lt;b&gt;", "·the", "↵", "\u2066שלום\u2069", "🙂", "·incomprehensib…", "!")
    ]
    assert page.count("changed by 0'") == 6
