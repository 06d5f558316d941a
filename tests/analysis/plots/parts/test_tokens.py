"""Tokens as labels: visible, cut, escaped, and in their place whatever the script."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.analysis.plots.parts.tokens import label_width, token_label


@pytest.mark.parametrize(
    ("token", "label"),
    [
        (" Paris", "·Paris"),
        ("\n", "↵"),
        ("\t", "⇥"),
        ("", "(empty)"),
        ("<b>x</b>", "&lt;b&gt;x&lt;/b&gt;"),
        ("\x07", "\N{REPLACEMENT CHARACTER}"),
        ("\N{COMBINING ACUTE ACCENT}", "\N{DOTTED CIRCLE}\N{COMBINING ACUTE ACCENT}"),
        (" שלום", "\N{LEFT-TO-RIGHT ISOLATE}·שלום\N{POP DIRECTIONAL ISOLATE}"),
    ],
)
def test_what_cannot_be_seen_is_shown(token: str, label: str) -> None:
    assert token_label(token) == label


def test_a_long_token_is_cut_before_it_is_escaped() -> None:
    assert token_label(" international", 6) == "·inte…"
    assert token_label("<<<<<<", 3) == "&lt;&lt;…"
    assert token_label("東京都庁舎", 5) == "東京…"


@given(st.text(max_size=30), st.integers(2, 12))
def test_no_label_is_wider_than_asked_or_holds_markup(token: str, most: int) -> None:
    label = token_label(token, most)
    plain = label.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    isolates = "\N{LEFT-TO-RIGHT ISOLATE}\N{POP DIRECTIONAL ISOLATE}"
    assert label_width("".join(c for c in plain if c not in isolates)) <= most
    assert "<" not in label
    assert ">" not in label
