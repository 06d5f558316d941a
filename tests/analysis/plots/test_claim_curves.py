"""A published curve made again: where cells stand along its axis, and what its key calls them."""

import pandas as pd
import pytest

from steering_lab.analysis.plots import Figure, along, claim_curves

CELLS = pd.DataFrame({"coeff": [1.0, 10.0, 100.0], "effect": [0.0, 0.1, 0.4], "topic": "sea"}).assign(
    low=lambda t: t["effect"] - 0.1, high=lambda t: t["effect"] + 0.1, control_low=-0.2, control_high=0.2
)


def key(figure: Figure) -> str:
    return " ".join(note.text for note in figure.layout.annotations).replace("\N{NO-BREAK SPACE}", " ")


def test_equal_ratios_are_equally_far_on_a_log_axis() -> None:
    lines, ticks = along(CELLS, "coeff", by="topic", log=True)
    assert lines["sea"]["x"].tolist() == pytest.approx([0, 0.5, 1])
    assert ticks == {0.0: "1", 0.5: "10", 1.0: "100"}
    straight, _ = along(CELLS, "coeff", by="topic")
    assert straight["sea"]["x"].tolist() == pytest.approx([0, 1 / 11, 1])
    within, _ = along(CELLS, "coeff", by="topic", ends=(0, 200))
    assert within["sea"]["x"].tolist() == pytest.approx([0.005, 0.05, 0.5])


def test_the_key_says_what_intervals_are_over_and_what_the_band_is() -> None:
    lines, ticks = along(CELLS, "coeff", by="topic")
    labels = {"x_label": "coefficient", "y_label": "share", "ticks": ticks}
    usual = key(claim_curves(lines, {}, **labels))
    assert "95 % interval over texts or prompts" in usual
    assert "one more random vector of equal norm" in usual
    own = key(claim_curves(lines, {}, **labels, over="rounds", chance="unsteered twice"))
    assert "95 % interval over rounds" in own
    assert "unsteered twice" in own


def test_two_published_points_are_not_joined_and_every_name_has_its_mark() -> None:
    lines, ticks = along(CELLS, "coeff", by="topic")
    published = {"few": [(0.0, 0.1), (1.0, 0.2)], "many": [(0.0, 0.3), (0.5, 0.2), (1.0, 0.4)]}
    figure = claim_curves(lines, published, x_label="coefficient", y_label="share", ticks=ticks)
    drawn = {trace.name: trace for trace in figure.data}
    assert drawn["○ few"].mode == "markers"
    assert drawn["○ few"].marker.symbol == "circle-open"
    assert drawn["□ many"].mode == "lines+markers"
    assert drawn["□ many"].marker.symbol == "square-open"
    assert "published" in key(figure)
    assert {"○ few", "□ many"} <= {note.text for note in figure.layout.annotations}
