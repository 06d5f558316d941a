"""Divergences of next-token distributions, checked by hand and against their laws."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from steering_lab.numerics.divergence import disruption, effectiveness, jensen_shannon, kl, kl_terms

SEEDS = st.integers(0, 10_000)


def random_log_probs(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(*shape, generator=generator, dtype=torch.float64)).log_softmax(-1)


def test_kl_by_hand() -> None:
    p, q = torch.tensor([0.5, 0.5, 0.0]).log(), torch.tensor([0.25, 0.5, 0.25]).log()
    assert kl(p, q).item() == pytest.approx(0.5 * math.log(2))


def test_a_token_that_only_the_second_distribution_excludes_makes_kl_infinite() -> None:
    p, q = torch.tensor([0.5, 0.5]).log(), torch.tensor([1.0, 0.0]).log()
    assert kl(p, q).item() == math.inf
    assert kl(q, p).item() == pytest.approx(math.log(2))


@given(SEEDS)
def test_kl_is_never_negative_and_zero_for_equal_distributions(seed: int) -> None:
    p, q = random_log_probs(seed, 5, 7), random_log_probs(seed + 1, 5, 7)
    assert (kl(p, q) > 0).all()
    assert (kl(p.float(), p.float()) == 0).all()
    assert torch.allclose(kl(p, q), torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(-1))


def test_rounding_never_makes_the_divergence_of_near_equal_distributions_negative() -> None:
    p = random_log_probs(0, 200, 50)
    near = (p + 1e-7 * random_log_probs(1, 200, 50)).log_softmax(-1).float()
    unclamped = (p.float().exp() * (p.float() - near)).sum(-1)
    assert (unclamped < 0).any()  # so the test can fail
    assert (kl(p.float(), near) >= 0).all()


def test_half_precision_and_raw_logits_are_refused() -> None:
    p = random_log_probs(0, 4)
    with pytest.raises(ValueError, match=r"log_q is torch\.bfloat16"):
        kl(p, p.bfloat16())
    with pytest.raises(ValueError, match="log_p does not sum to probability 1"):
        kl(p + 1, p)
    with pytest.raises(ValueError, match="log_p does not sum to probability 1"):
        kl(torch.full((4,), torch.nan), p)


def test_a_divergence_of_no_rows_is_empty_and_of_a_vocabulary_of_one_is_zero() -> None:
    assert kl(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)
    assert kl(torch.zeros(3, 1), torch.zeros(3, 1)).tolist() == [0.0, 0.0, 0.0]


def test_terms_add_up_to_kl_are_signed_and_zero_where_the_first_excludes_a_token() -> None:
    p, q = torch.tensor([0.5, 0.5, 0.0, 0.0]).log(), torch.tensor([0.25, 0.5, 0.25, 0.0]).log()
    assert kl_terms(p, q).tolist() == pytest.approx([0.5 * math.log(2), 0.0, 0.0, 0.0])
    assert (kl_terms(random_log_probs(0, 9), random_log_probs(1, 9)) < 0).any()


def test_a_probability_that_rounds_to_zero_adds_nothing_to_kl() -> None:
    p, q = torch.tensor([0.0, -200.0]), torch.tensor([0.0, -math.inf])  # in float32 exp(-200) is 0
    assert kl(p, q).item() == 0.0


def test_nan_stays_nan_in_the_terms() -> None:
    p = torch.tensor([[0.5, 0.5], [math.nan, math.nan]]).log()
    assert kl_terms(p, p).isnan().tolist() == [[False, False], [True, True]]


def test_the_sum_of_terms_has_a_gradient_beside_tokens_that_both_exclude() -> None:
    p, logits = torch.tensor([1.0, 0.0, 0.0]).log(), torch.tensor([0.0, 0.0, -math.inf], requires_grad=True)
    (gradient,) = torch.autograd.grad(kl_terms(p, logits.log_softmax(-1)).sum(), logits)
    assert gradient.tolist() == pytest.approx([-0.5, 0.5, 0.0])


def test_jensen_shannon_by_hand() -> None:
    left, right = torch.tensor([0.5, 0.5]).log(), torch.tensor([1.0, 0.0]).log()
    by_hand = 0.5 * (0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)) + 0.5 * math.log(1 / 0.75)
    assert float(jensen_shannon(left, right)) == pytest.approx(by_hand)
    apart = torch.tensor([0.0, 1.0]).log()
    assert float(jensen_shannon(right, apart)) == pytest.approx(math.log(2))
    assert float(jensen_shannon(left, left)) == 0.0


@given(seed=SEEDS, spread=st.floats(0.1, 80.0))
def test_jensen_shannon_is_symmetric_and_between_zero_and_ln_2(seed: int, spread: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    left, right = (torch.log_softmax(spread * torch.randn(7, generator=rng), -1) for _ in range(2))
    found = float(jensen_shannon(left, right))
    assert 0 <= found <= math.log(2) + 1e-6
    assert found == pytest.approx(float(jensen_shannon(right, left)), abs=1e-6)


def test_effectiveness_by_hand() -> None:
    steered, unsteered = torch.tensor([0.4, 0.4, 0.2]).log(), torch.tensor([0.1, 0.3, 0.6]).log()
    assert effectiveness(steered, unsteered, torch.tensor([0, 1])).item() == pytest.approx(math.log(2), abs=1e-6)


@given(SEEDS)
def test_disruption_and_the_two_way_split_make_up_the_whole_divergence(seed: int) -> None:
    steered, unsteered = random_log_probs(seed, 3, 6), random_log_probs(seed + 1, 3, 6)
    aligned = torch.tensor([1, 4])
    p, q = steered.exp()[:, aligned].sum(-1), unsteered.exp()[:, aligned].sum(-1)
    split = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    assert torch.allclose(disruption(steered, unsteered, aligned) + split, kl(steered, unsteered))


@given(SEEDS)
def test_moving_probability_between_the_sets_alone_disrupts_nothing(seed: int) -> None:
    unsteered = random_log_probs(seed, 6)
    lifted = unsteered.clone()
    lifted[[1, 4]] += 2.0
    lifted = lifted.log_softmax(-1)
    assert disruption(lifted, unsteered, torch.tensor([1, 4])).item() == pytest.approx(0, abs=1e-12)
    assert effectiveness(lifted, unsteered, torch.tensor([1, 4])).item() > 0
