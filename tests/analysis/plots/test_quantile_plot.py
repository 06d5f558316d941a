"""Values against a normal distribution's quantiles."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from steering_lab.analysis.plots import quantile_plot

NORMAL = 2 + 3 * norm.ppf((np.arange(40) + 0.5) / 40)


def values(of: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"token": [f"t{i}" for i in range(len(of))], "value": of, "low": of - 1, "high": of + 1})


def test_normal_values_lie_on_the_line_and_a_tail_does_not() -> None:
    drawn = pd.DataFrame({"draw": np.repeat([0, 1], 40), "value": np.tile(NORMAL, 2)})
    figure = quantile_plot(values(NORMAL[::-1]), drawn, y_label="shift")
    line, points = (next(t for t in figure.data if t.name == name) for name in ("normal", "values"))
    slope = (line.y[1] - line.y[0]) / (line.x[1] - line.x[0])
    on_line = line.y[0] + slope * (np.array(points.x) - line.x[0])
    assert np.array(points.y) == pytest.approx(on_line, abs=1e-9)
    tailed = NORMAL.copy()
    tailed[-1] += 10
    far = next(t for t in quantile_plot(values(tailed), drawn, y_label="shift").data if t.name == "values")
    assert far.y[-1] == pytest.approx(on_line[-1] + 10, abs=1e-9)


def test_the_values_at_both_ends_are_named() -> None:
    figure = quantile_plot(values(NORMAL), pd.DataFrame({"draw": [], "value": []}), y_label="shift", named=2)
    assert {"t0", "t1", "t38", "t39"} <= {note.text for note in figure.layout.annotations}


def test_draws_of_another_number_of_values_are_refused() -> None:
    with pytest.raises(ValueError, match="draw 0 has 3 values, and there are 40"):
        quantile_plot(values(NORMAL), pd.DataFrame({"draw": [0, 0, 0], "value": [1.0, 2.0, 3.0]}), y_label="shift")
