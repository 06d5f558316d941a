"""Log-probabilities from logits, and of several tokens together, at their edges."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.numerics.log_probs import any_of, check_log_probs, none_of, to_log_probs

INF = math.inf


def test_log_probabilities_by_hand_and_in_float32_whatever_comes_in() -> None:
    logits = torch.tensor([math.log(3), 0.0, -INF], dtype=torch.float64)
    found = to_log_probs(logits)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([math.log(0.75), math.log(0.25), -INF])
    assert to_log_probs(logits.bfloat16()).dtype == torch.float32
    assert to_log_probs(torch.full((1,), 7.0)).tolist() == [0.0]


def test_nan_logits_and_a_row_without_a_possible_token_are_nan_and_harm_no_other_row() -> None:
    found = to_log_probs(torch.tensor([[math.nan, 0.0], [-INF, -INF], [0.0, 0.0]]))
    assert found[:2].isnan().all()
    assert found[2].tolist() == pytest.approx([math.log(0.5)] * 2)


@given(st.integers(0, 1000), st.floats(-50, 50))
def test_adding_a_constant_to_all_logits_changes_nothing(seed: int, constant: float) -> None:
    logits = torch.randn(4, 9, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(to_log_probs(logits + constant), to_log_probs(logits), atol=2e-5, rtol=0)


def test_any_of_and_none_of_by_hand() -> None:
    log = torch.tensor([0.5, 0.3, 0.2]).log()
    assert float(any_of(log, [0, 2])) == pytest.approx(math.log(0.7))
    assert float(none_of(log, [0, 2])) == pytest.approx(math.log(0.3))
    assert float(any_of(log, torch.tensor([1]))) == float(log[1])


def test_no_tokens_is_nan_and_all_of_them_leave_nothing() -> None:
    log = torch.tensor([[0.5, 0.5], [1.0, 0.0]]).log()
    assert any_of(log, []).isnan().tolist() == [True, True]
    assert none_of(log, [0, 1]).tolist() == [-INF, -INF]
    assert none_of(log, []).tolist() == pytest.approx([0.0, 0.0])
    assert any_of(log, [1]).tolist() == pytest.approx([math.log(0.5), -INF])


def test_none_of_is_exact_where_one_minus_p_would_be_zero() -> None:
    log = to_log_probs(torch.tensor([40.0, 0.0, 0.0]))
    assert float(1 - any_of(log, [0]).exp()) == 0.0  # so the test can fail
    assert float(none_of(log, [0])) == pytest.approx(math.log(2) - 40)


def test_half_precision_raw_logits_and_nan_are_refused_and_nothing_is_fine() -> None:
    good = to_log_probs(torch.zeros(2, 4))
    check_log_probs(good, "p")
    check_log_probs(good[:0], "p")
    with pytest.raises(ValueError, match=r"p is torch\.float16: pass log_softmax"):
        check_log_probs(good.half(), "p")
    for bad in (torch.zeros(4), torch.full((4,), math.nan), good + 0.01):
        with pytest.raises(ValueError, match="p does not sum to probability 1"):
            check_log_probs(bad, "p")
