"""Means over prompts: tokens first, prompts as the sampled unit, the house's interval."""

import numpy as np
import pandas as pd
import pytest

from steering_lab.analysis.intervals import mean_over_prompts
from steering_lab.numerics.intervals import TOO_FEW
from steering_lab.numerics.kinds import Kind


def table(values: dict[int, list[float]], layer: int = 0) -> pd.DataFrame:
    rows = [(prompt, layer, "resid_post", v) for prompt, own in values.items() for v in own]
    return pd.DataFrame(rows, columns=["prompt", "layer", "stream", "projection"])


def test_tokens_are_averaged_before_prompts() -> None:
    """By hand: prompt means 2 and 10, so 6; over all five tokens it would be 3.6."""
    found = mean_over_prompts(table({0: [1, 2, 3, 2], 1: [10]}), "projection").iloc[0]
    assert found["mean"] == 6
    assert (found["n_prompts"], found["n_missing"]) == (2, 0)


def test_repeating_a_prompts_tokens_is_no_evidence() -> None:
    once = table({i: [float(i)] for i in range(8)})
    often = pd.concat([once] * 50, ignore_index=True)
    pd.testing.assert_frame_equal(mean_over_prompts(often, "projection"), mean_over_prompts(once, "projection"))


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    layers = [table({i: [v] for i, v in enumerate(rng.normal(size=10))}, layer) for layer in range(400)]
    found = mean_over_prompts(pd.concat(layers), "projection")
    covered = ((found["low"] < 0) & (found["high"] > 0)).mean()
    assert 0.92 <= covered <= 0.98


def test_rows_keep_the_order_of_the_stream() -> None:
    embed = table({0: [1.0]}).assign(stream="resid_pre")
    found = mean_over_prompts(pd.concat([embed, table({0: [2.0]}), table({0: [3.0]}, 1)]), "projection")
    assert found["stream"].tolist() == ["resid_pre", "resid_post", "resid_post"]
    assert found["mean"].tolist() == [1, 2, 3]


def test_missing_values_are_counted_and_one_prompt_has_no_interval() -> None:
    found = mean_over_prompts(table({0: [np.nan, 4.0], 1: [np.nan]}), "projection").iloc[0]
    assert found["mean"] == 4
    assert (found["n_prompts"], found["n_missing"]) == (1, 1)
    assert np.isnan(found["low"])
    assert np.isnan(found["high"])
    assert found["why"] == TOO_FEW


def test_a_share_that_no_token_breaks_has_an_interval_with_width_inside_its_bounds() -> None:
    found = mean_over_prompts(table({i: [1.0, 1.0] for i in range(9)}), "projection", kind=Kind.BOUNDED).iloc[0]
    assert 0.5 < found["low"] < 1 == found["high"] == found["mean"]
    assert pd.isna(found["why"])


def test_a_layer_without_any_value_stays_and_is_nan() -> None:
    found = mean_over_prompts(table({0: [np.nan], 1: [np.nan]}), "projection").iloc[0]
    assert np.isnan(found["mean"])
    assert (found["n_prompts"], found["n_missing"]) == (0, 2)


def test_an_absent_column_and_an_empty_table_are_refused() -> None:
    with pytest.raises(ValueError, match="no column 'cosine'"):
        mean_over_prompts(table({0: [1.0]}), "cosine")
    with pytest.raises(ValueError, match="no rows"):
        mean_over_prompts(table({}), "projection")
    with pytest.raises(ValueError, match="level is between 0 and 1"):
        mean_over_prompts(table({0: [1.0]}), "projection", level=1.5)
