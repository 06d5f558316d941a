"""Prompt by prompt: differences are each prompt's own, missing ones are struck through, text is data."""

import re
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from steering_lab.analysis.plots import prompt_coeff_strip
from tests.analysis.plots.traces import trace


def table() -> pd.DataFrame:
    """Two prompts with unsteered means 0.5 and −0.5; at layer 1, coefficient 2 adds 0.2 and 0.4, −2 has no value."""
    rows = []
    for prompt, base, gain in (("zeta <b>", 0.5, 0.2), ("alpha", -0.5, 0.4)):
        for sample, noise in ((0, 0.1), (1, -0.1)):
            common = {"prompt": prompt, "sample": sample, "metric": "sentiment", "weight": 1.0}
            rows.append({"method": "unsteered", "layer": np.nan, "coeff": 0.0, "value": base + noise, **common})
            for coeff, value in ((-2.0, np.nan), (2.0, base + gain + noise)):
                rows.append({"method": "actadd", "layer": 1.0, "coeff": coeff, "value": value, **common})
                rows.append({"method": "actadd", "layer": 2.0, "coeff": coeff, "value": 9.0, **common})
    facts = pd.DataFrame(rows)
    role = facts["method"].map({"unsteered": "unsteered", "actadd": "steered"})
    return facts.assign(role=role, place=facts["method"].map({"actadd": "front"}))


def draw(rows: pd.DataFrame, **options: Any) -> go.Figure:
    return prompt_coeff_strip(rows, **{"metric": "sentiment", "method": "actadd", "layer": 1, **options})


def test_cells_are_differences_to_the_prompts_own_unsteered_mean_in_the_tables_order() -> None:
    figure = draw(table())
    z = np.array(trace(figure, "cells").z, dtype=float)
    assert z[:, 2].tolist() == pytest.approx([0.2, 0.4])
    assert z[:, 1].tolist() == [0, 0]
    assert np.isnan(z[:, 0]).all()
    assert figure.layout.yaxis.ticktext == ("zeta &lt;b&gt;", "alpha")
    assert figure.layout.yaxis.range == (-1.5, 0.5)
    assert figure.layout.xaxis.ticktext == ("−2", "0", "+2")


def test_the_unsteered_column_shows_the_values_themselves_and_colours_centre_on_no_change() -> None:
    figure = draw(table())
    assert trace(figure, "labels").text == ("", "0.50", "+0.20", "", "−0.50", "+0.40")
    assert figure.layout.coloraxis.cmin == -figure.layout.coloraxis.cmax == pytest.approx(-0.4)


def test_weights_count_and_missing_values_are_counted() -> None:
    rows = table()
    rows.loc[(rows["coeff"] == 2) & (rows["layer"] == 1) & (rows["sample"] == 0), "weight"] = 3.0
    assert trace(draw(rows), "cells").z[0][2] == pytest.approx(0.25)  # (3 · 0.8 + 0.6) / 4 − 0.5
    rows.loc[(rows["coeff"] == 2) & (rows["layer"] == 1) & (rows["sample"] == 0), "value"] = np.nan
    figure = draw(rows)
    assert trace(figure, "cells").z[0][2] == pytest.approx(0.1)
    assert "1 continuations, 1 without a value" in trace(figure, "cells").customdata[0][2]
    key = next(note.text for note in figure.layout.annotations if note.name == "key")
    assert "no value (2 of 6 cells)" in key


def test_hover_shows_a_real_continuation_as_text() -> None:
    texts = pd.DataFrame(
        [
            ("unsteered", "unsteered", None, np.nan, 0.0, "alpha", "calm & plain"),
            ("actadd", "steered", "front", 1.0, 2.0, "alpha", "<script>"),
        ],
        columns=["method", "role", "place", "layer", "coeff", "prompt", "text"],
    )
    hover = trace(draw(table(), examples=texts), "cells").customdata
    assert "&lt;script&gt;" in hover[1][2]
    assert "calm &amp; plain" in hover[1][1]
    assert "&lt;script&gt;" not in hover[0][2]


def test_many_coefficients_draw_without_numbers() -> None:
    rows = table()
    wide = [
        rows.assign(coeff=np.where(rows["coeff"] == 0, 0, rows["coeff"] + 4 * np.sign(rows["coeff"]) * k))
        for k in range(12)
    ]
    figure = draw(pd.concat(wide))
    assert "labels" not in {t.name for t in figure.data}
    assert 0 in [float(re.sub("−", "-", text)) for text in figure.layout.xaxis.ticktext]


def test_what_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no rows for method 'actadd' at layer 7"):
        draw(table(), layer=7)
    with pytest.raises(ValueError, match="no rows for metric 'joy'"):
        draw(table(), metric="joy")
    with pytest.raises(ValueError, match="no column 'prompt'"):
        draw(table().drop(columns="prompt"))
