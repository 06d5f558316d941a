"""Steered minus clean, matched by key and not by order."""

import pandas as pd
import pytest

from steering_lab.analysis.difference import difference

CLEAN = pd.DataFrame({"layer": [0, 1], "token": ["a", "b"], "p": [0.25, 0.5]})
STEERED = pd.DataFrame({"layer": [1, 0], "token": ["c", "d"], "p": [1.0, 0.5]})


def test_rows_meet_by_key_whatever_their_order() -> None:
    found = difference(STEERED, CLEAN, by=["layer"], of=["p"])
    assert found["layer"].tolist() == [1, 0]
    assert found["p"].tolist() == [0.5, 0.25]
    assert found["token"].tolist() == ["c", "d"]


def test_keys_that_do_not_match_or_repeat_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in their layer"):
        difference(STEERED.assign(layer=[1, 2]), CLEAN, by=["layer"], of=["p"])
    with pytest.raises(ValueError, match="do not tell the rows"):
        difference(STEERED.assign(layer=[1, 1]), CLEAN, by=["layer"], of=["p"])
    with pytest.raises(ValueError, match="no column 'q'"):
        difference(STEERED, CLEAN, by=["layer"], of=["q"])
