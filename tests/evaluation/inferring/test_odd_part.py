"""The odd part keeps what turns with the sign and cancels what does not."""

import pandas as pd
import pytest

from steering_lab.evaluation.inferring.odd_part import odd_part
from steering_lab.evaluation.inferring.statistics import summarise
from tests.evaluation.tables import NONE, observed, stacked

PLAIN = observed("unsteered", {"a": [0.0], "b": [1.0]})


def both_signs(method: str, turning: float, staying: float, draw: float = NONE) -> list[pd.DataFrame]:
    """f(±1) = unsteered + staying ± turning."""
    return [
        observed(method, {"a": [staying + s * turning], "b": [1 + staying + s * turning]}, layer=2, coeff=s, draw=draw)
        for s in (1.0, -1.0)
    ]


def test_half_of_the_difference_of_the_signs_is_what_turns() -> None:
    tidy = stacked(PLAIN, *both_signs("actadd", turning=0.75, staying=5.0))
    odd = odd_part(tidy, "sentiment")
    steered = odd[odd["method"] == "actadd"]
    assert steered["value"].tolist() == [0.75, 0.75]
    assert set(odd["metric"]) == {"sentiment_odd"}
    assert odd.loc[odd["method"] == "unsteered", "value"].tolist() == [0, 0]


def test_it_is_summarised_beside_its_random_control() -> None:
    draws = [both_signs("random", turning=t, staying=3.0, draw=float(i)) for i, t in enumerate((-0.1, 0, 0.1))]
    tidy = stacked(PLAIN, *both_signs("actadd", 0.75, 5.0), *(part for draw in draws for part in draw))
    row = summarise(odd_part(tidy, "sentiment")).set_index("method").loc["actadd"]
    assert row["effect"] == pytest.approx(0.75)
    assert row["control_low"] < -0.1 < 0.1 < row["control_high"] < 0.75


def test_a_value_missing_at_either_sign_is_missing() -> None:
    forward, backward = both_signs("actadd", 0.75, 0.0)
    backward.loc[0, "value"] = NONE
    odd = odd_part(stacked(PLAIN, forward, backward), "sentiment")
    assert odd.loc[odd["method"] == "actadd", "value"].isna().tolist() == [True, False]


def test_one_sign_alone_and_an_unknown_metric_are_refused() -> None:
    forward, _ = both_signs("actadd", 0.75, 0.0)
    with pytest.raises(ValueError, match=r"no cell of 'sentiment' was run at \+m and at -m"):
        odd_part(stacked(PLAIN, forward), "sentiment")
    with pytest.raises(ValueError, match="no metric 'log_odds'; the table has sentiment"):
        odd_part(PLAIN, "log_odds")
