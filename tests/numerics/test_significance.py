"""Exact tests and adjusted p-values, by hand and against their laws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.numerics.significance import benjamini_hochberg, holm, mcnemar


@pytest.mark.parametrize(
    ("helped", "hurt", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 2 / 2**5),
        (6, 1, 2 * (1 + 7) / 2**7),
        (3, 3, 1.0),
        (8, 2, 2 * (1 + 10 + 45) / 2**10),
    ],
)
def test_mcnemar_by_hand(helped: int, hurt: int, p: float) -> None:
    assert mcnemar(helped, hurt) == pytest.approx(p, abs=1e-12)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_a_symmetric_probability_of_the_changed_pairs(helped: int, hurt: int) -> None:
    assert 0 < mcnemar(helped, hurt) <= 1
    assert mcnemar(helped, hurt) == mcnemar(hurt, helped)
    tail = sum(math.comb(helped + hurt, k) for k in range(min(helped, hurt) + 1)) / 2 ** (helped + hurt)
    assert mcnemar(helped, hurt) == pytest.approx(min(1, 2 * tail), rel=1e-9)


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="counts are 0 or more, not -1 and 2"):
        mcnemar(-1, 2)


def test_holm_and_benjamini_hochberg_by_hand() -> None:
    p = np.array([0.04, 0.01, np.nan, 0.03])
    assert holm(p) == pytest.approx([0.06, 0.03, np.nan, 0.06], nan_ok=True)
    assert benjamini_hochberg(p) == pytest.approx([0.04, 0.03, np.nan, 0.04], nan_ok=True)
    assert holm(np.array([0.9, 0.8])).max() == 1


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_one_p_is_left_alone_and_none_or_nan_alone_comes_back(adjust) -> None:  # type: ignore[no-untyped-def]
    assert adjust(np.array([0.03])).tolist() == [0.03]
    assert len(adjust(np.array([]))) == 0
    assert np.isnan(adjust(np.array([np.nan, np.nan]))).all()
