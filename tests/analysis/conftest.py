"""Summary tables made by hand for the figures: every number is known before anything is drawn."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

SweepTable = Callable[..., pd.DataFrame]


def _sweep(layers: Sequence[int] = (0, 1, 2), coeffs: Sequence[float] = (-4, 4), **columns: object) -> pd.DataFrame:
    """Sentiment rises by 0.1 a layer with the coefficient's sign (unsteered 0.1, interval ±0.15, control ±0.12);
    perplexity is 1 + layer + |coeff| / 4 times unsteered."""
    common = {"n_prompts": 8, "n": 32, "n_missing": 0, "degenerate": False}
    control = {"control_low": np.nan, "control_high": np.nan}
    still = {"method": "unsteered", "layer": np.nan, "coeff": 0.0, "relative_norm": 0.0, **common, **control}
    rows = [
        {**still, "metric": "sentiment", "value": 0.1, "effect": 0.0, "low": 0.0, "high": 0.0},
        {**still, "metric": "perplexity", "value": 6.0, "effect": 1.0, "low": 1.0, "high": 1.0},
    ]
    for layer in layers:
        for coeff in coeffs:
            cell = {"method": "actadd_front", "layer": layer, "coeff": coeff, **common}
            cell["relative_norm"] = abs(coeff) / 10 / (layer + 1)
            effect, ratio = 0.1 * layer * np.sign(coeff), 1 + layer + abs(coeff) / 4
            sentiment = {"value": 0.1 + effect, "effect": effect, "low": effect - 0.15, "high": effect + 0.15}
            cost = {"value": 6 * ratio, "effect": ratio, "low": 0.9 * ratio, "high": 1.1 * ratio}
            rows.append({**cell, "metric": "sentiment", **sentiment, "control_low": -0.12, "control_high": 0.12})
            rows.append({**cell, "metric": "perplexity", **cost, "control_low": 0.9, "control_high": 1.2})
    return pd.DataFrame(rows).assign(**columns)


@pytest.fixture
def sweep() -> SweepTable:
    return _sweep
