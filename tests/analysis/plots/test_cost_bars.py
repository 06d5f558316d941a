"""Costs side by side: each on its own scale, from no cost, missing ones said."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from steering_lab.analysis.plots import cost_bars
from tests.analysis.plots.traces import traces

ComparisonTable = Callable[..., pd.DataFrame]


def test_a_panel_per_cost_ratios_from_one_and_differences_from_nothing(comparison: ComparisonTable) -> None:
    figure = cost_bars(comparison(), costs={"perplexity": "perplexity", "context": "KL, nats"})
    ratio, difference = traces(figure, "bars")
    assert list(np.add(ratio.base, ratio.x)) == pytest.approx([1, 1.5, 0.8])
    assert list(ratio.base) == [1, 1, 1]
    assert list(difference.base) == [0, 0, 0]
    assert list(difference.x) == pytest.approx([0, 0.2, 0.02])
    assert (figure.layout.xaxis.type, figure.layout.xaxis2.type) == ("log", None)
    assert figure.layout.xaxis.domain[1] < figure.layout.xaxis2.domain[0]
    assert [n.text for n in figure.layout.annotations if n.name == "cost"] == ["<b>perplexity</b>", "<b>KL, nats</b>"]


def test_conditions_stand_in_one_order_in_all_panels_and_a_missing_cost_is_said(comparison: ComparisonTable) -> None:
    table = comparison()
    table = table[~((table["condition"] == "steered") & (table["metric"] == "perplexity"))]
    figure = cost_bars(table, costs=["perplexity", "context"], conditions=["prompted", "steered", "unsteered"])
    assert figure.layout.yaxis.ticktext == ("prompted", "steered", "unsteered")
    ratio, difference = traces(figure, "numbers")
    assert [text.strip() for text in ratio.text][1] == "no value"
    assert [text.strip() for text in difference.text] == ["+0.02", "+0.20 ≠", "0.00"]


def test_a_bare_table_of_effects_draws_without_whiskers() -> None:
    table = pd.DataFrame(
        {"condition": ["unsteered", "CAD <2>"], "metric": "forwards", "effect": [1.0, 2.0], "scale": "ratio"}
    )
    figure = cost_bars(table, costs=["forwards"], subtitle="tiny model")
    assert [x for x in traces(figure, "whiskers")[0].x if x is not None] == []
    assert "Whisker" not in figure.layout.title.text
    assert figure.layout.yaxis.ticktext[1] == "CAD &lt;2&gt;"


def test_unknown_costs_are_refused(comparison: ComparisonTable) -> None:
    with pytest.raises(ValueError, match="no cost 'time'"):
        cost_bars(comparison(), costs=["time"])
    with pytest.raises(ValueError, match="no cost to draw"):
        cost_bars(comparison(), costs=[])
