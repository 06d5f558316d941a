"""Models of every architecture to look into, and summary tables made by hand for the figures: every number is known
before anything is drawn."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from steering_lab.models.hooked_model import HookedModel
from tests.tiny_models import ARCHITECTURES, hooked

SweepTable = Callable[..., pd.DataFrame]


def _sweep(layers: Sequence[int] = (0, 1, 2), coeffs: Sequence[float] = (-4, 4), **columns: object) -> pd.DataFrame:
    """Sentiment rises by 0.1 a layer with the coefficient's sign (unsteered 0.1, interval ±0.15, control ±0.12);
    perplexity is 1 + layer + |coeff| / 4 times unsteered."""
    common = {"n_prompts": 8, "n": 32, "n_missing": 0, "degenerate": False}
    control = {"control_low": np.nan, "control_high": np.nan}
    still = {"method": "unsteered", "role": "unsteered", "place": None, "layer": np.nan, "coeff": 0.0}
    still |= {"relative_norm": 0.0, **common, **control}
    rows = [
        {**still, "metric": "sentiment", "value": 0.1, "effect": 0.0, "low": 0.0, "high": 0.0},
        {**still, "metric": "perplexity", "value": 6.0, "effect": 1.0, "low": 1.0, "high": 1.0},
    ]
    for layer in layers:
        for coeff in coeffs:
            cell = {"method": "actadd", "role": "steered", "place": "front", "layer": layer, "coeff": coeff, **common}
            cell["relative_norm"] = abs(coeff) / 10 / (layer + 1)
            effect, ratio = 0.1 * layer * np.sign(coeff), 1 + layer + abs(coeff) / 4
            sentiment = {"value": 0.1 + effect, "effect": effect, "low": effect - 0.15, "high": effect + 0.15}
            cost = {"value": 6 * ratio, "effect": ratio, "low": 0.9 * ratio, "high": 1.1 * ratio}
            rows.append({**cell, "metric": "sentiment", **sentiment, "control_low": -0.12, "control_high": 0.12})
            rows.append({**cell, "metric": "perplexity", **cost, "control_low": 0.9, "control_high": 1.2})
    table = pd.DataFrame(rows).assign(control_of=None, budget=np.nan, unit=None, p_family=0.5)
    table["scale"] = table["metric"].map({"sentiment": "difference", "perplexity": "ratio"})
    return table.assign(**columns)


def _comparison(groups: Sequence[str] = ()) -> pd.DataFrame:
    """Three conditions under two metrics, in each of `groups`: unsteered (context 0.3, perplexity 6), steered (+0.2,
    ×1.5, beyond its random control) and prompted (+0.02, ×0.8, without one)."""
    numbers = {
        ("unsteered", "context"): (0.3, 0.0, 0.0, 0.0, np.nan, np.nan),
        ("unsteered", "perplexity"): (6.0, 1.0, 1.0, 1.0, np.nan, np.nan),
        ("steered", "context"): (0.5, 0.2, 0.1, 0.35, -0.05, 0.04),
        ("steered", "perplexity"): (9.0, 1.5, 1.2, 2.0, 0.9, 1.1),
        ("prompted", "context"): (0.32, 0.02, -0.03, 0.07, np.nan, np.nan),
        ("prompted", "perplexity"): (4.8, 0.8, 0.7, 0.9, np.nan, np.nan),
    }
    names = ("value", "effect", "low", "high", "control_low", "control_high")
    table = pd.DataFrame(
        {"condition": condition, "metric": metric, **dict(zip(names, row, strict=True)), "n_prompts": 40, "n": 40}
        for (condition, metric), row in numbers.items()
    )
    table["scale"] = table["metric"].map({"context": "difference", "perplexity": "ratio"})
    return pd.concat([table.assign(group=group) for group in groups], ignore_index=True) if groups else table


@pytest.fixture
def comparison() -> Callable[..., pd.DataFrame]:
    return _comparison


@pytest.fixture
def sweep() -> SweepTable:
    return _sweep


@pytest.fixture(params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> HookedModel:
    return hooked(request.param)
