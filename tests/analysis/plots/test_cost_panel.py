"""The cost panel: a heatmap per cost, dark where dear whichever way that is, on a scale of its own."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from steering_lab.analysis.plots import cost_panel

SweepTable = Callable[..., pd.DataFrame]


def three(table: pd.DataFrame) -> pd.DataFrame:
    """The sweep of the conftest with KL (0.2 a layer) and agreement (−0.1 a layer) beside perplexity."""
    sentiment = table[table["metric"] == "sentiment"]
    layer = sentiment["layer"].fillna(0)
    kl = sentiment.assign(metric="neutral_kl", effect=0.2 * layer, low=0.2 * layer - 0.01, high=0.2 * layer + 0.01)
    agrees = kl.assign(metric="top1_agreement", effect=-0.1 * layer, low=-0.1 * layer - 0.01, high=-0.1 * layer + 0.01)
    return pd.concat([table, kl, agrees], ignore_index=True)


def draw(table: pd.DataFrame, **options: Any) -> go.Figure:
    costs = ["perplexity", "neutral_kl", "top1_agreement"]
    return cost_panel(table, **{"costs": costs, "method": "actadd", **options})


def traces(figure: go.Figure, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name == name]


def test_each_cost_has_its_cells_and_less_agreement_is_dearer(sweep: SweepTable) -> None:
    perplexity, kl, agreement = traces(draw(three(sweep())), "cells")
    assert np.allclose(perplexity.z, np.log2([[2, 2], [3, 3], [4, 4]]))
    assert np.allclose(kl.z, [[0, 0], [0.2, 0.2], [0.4, 0.4]])
    assert np.allclose(agreement.z, [[0, 0], [0.1, 0.1], [0.2, 0.2]])
    assert [panel.zmax for panel in (perplexity, kl, agreement)] == pytest.approx([2, 0.4, 0.2])
    assert {panel.zmin for panel in (perplexity, kl, agreement)} == {0}


def test_the_numbers_are_effects(sweep: SweepTable) -> None:
    perplexity, kl, agreement = traces(draw(three(sweep())), "labels")
    assert tuple(perplexity.text) == ("×2.0",) * 2 + ("×3.0",) * 2 + ("×4.0",) * 2
    assert kl.text[-1] == "+0.40"
    assert agreement.text[-1] == "−0.20"


def test_what_is_nearly_nothing_is_pale_and_has_its_digits(sweep: SweepTable) -> None:
    table = three(sweep())
    small = table["metric"] == "neutral_kl"
    table.loc[small, ["effect", "low", "high"]] /= 100
    _, kl, _ = traces(draw(table), "cells")
    assert kl.zmax == pytest.approx(0.1)
    assert traces(draw(table), "labels")[1].text[-1] == "+0.004"


def test_budgets_and_the_chosen_cell_and_missing_values_have_marks(sweep: SweepTable) -> None:
    table = three(sweep())
    lost = (table["metric"] == "neutral_kl") & (table["layer"] == 2)
    table.loc[lost, ["effect", "low", "high"]] = np.nan
    figure = draw(table, budgets={"perplexity": 3.0}, chosen=(1, 4))
    [over] = traces(figure, "over budget")
    assert len(over.x) == 4  # upper ends 2.2, 3.3 and 4.4
    assert len(traces(figure, "chosen")) == 6
    assert len(traces(figure, "no value")) == 1
    key = next(note.text for note in figure.layout.annotations if note.name == "key")
    assert all(words in key for words in ("upper end over the budget", "no value", "chosen: layer 1, coefficient +4"))


def test_panels_wrap_and_never_overlap(sweep: SweepTable) -> None:
    table = three(sweep(coeffs=(-4, -2, 1, 2, 4)))
    figure = draw(table)
    assert figure.layout.width < 700
    assert figure.layout.meta["least"] == 1  # a page shrinks it as a whole, numbers and all
    boxes = [(figure.layout[f"xaxis{n}"].domain, figure.layout[f"yaxis{n}"].domain) for n in ("", "2", "3")]
    assert boxes[0][0][1] < boxes[1][0][0]
    assert boxes[2][1][1] < boxes[0][1][0]


def test_what_cannot_be_drawn_is_refused(sweep: SweepTable) -> None:
    table = three(sweep())
    with pytest.raises(ValueError, match="no cost to draw"):
        draw(table, costs=[])
    with pytest.raises(ValueError, match="no rows for metric 'facts'"):
        draw(table, costs=["facts"])
    with pytest.raises(ValueError, match="chosen cell layer 7, coeff 4 is not in the table"):
        draw(table, chosen=(7, 4))
    with pytest.raises(ValueError, match="a budget of 'top1_agreement'"):
        draw(table, budgets={"top1_agreement": 0.1})


def test_what_was_measured_on_neutral_texts_is_not_said_to_be_of_continuations(sweep: SweepTable) -> None:
    title = draw(three(sweep())).layout.title.text.replace("<br>", " ")
    words = " ".join(re.sub(r"<[^>]*>", "", title).split())
    assert "8 prompts, 32 continuations a cell: perplexity" in words
    assert "8 neutral texts a cell: neutral kl, top1 agreement" in words
