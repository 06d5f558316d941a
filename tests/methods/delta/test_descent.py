"""The descent on functions whose minimum is known, without a model."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from steering_lab.methods.delta.descent import Descent, Evaluation, descend, project

SCALES = torch.tensor([[2.0, 0.5], [1.0, 3.0]])


def bowl(*centre: float, kl: float = 0.0) -> object:
    """|delta - centre|^2 at every site of both problems; KL grows with the distance walked."""
    wanted = torch.tensor(centre)

    def evaluate(deltas: Tensor) -> Evaluation:
        away = deltas - wanted
        return Evaluation(away.square().sum((1, 2)), 2 * away, kl * deltas.norm(dim=(1, 2)))

    return evaluate


def test_one_step_by_hand() -> None:
    end = descend(bowl(3.0, 4.0), torch.zeros(2, 2, 2), SCALES, Descent(n_iterations=1, step=0.1))
    torch.testing.assert_close(end.deltas[0, 0], torch.tensor([0.12, 0.16]))  # 0.1 x 2.0 along (0.6, 0.8)
    torch.testing.assert_close(end.deltas[0, 1], torch.tensor([0.03, 0.04]))  # 0.1 x 0.5
    assert end.losses[0] == pytest.approx((50.0, 4.8**2 + 4.95**2))
    assert end.n_evaluated.tolist() == [2, 2]


def test_the_minimum_is_found_inside_the_budget_and_the_nearest_point_at_its_edge() -> None:
    start, many = torch.zeros(2, 2, 2), Descent(n_iterations=200, patience=50, min_improvement=0.0)
    end = descend(bowl(0.3, 0.4), start, SCALES, many)
    torch.testing.assert_close(end.deltas, torch.tensor([0.3, 0.4]).expand(2, 2, 2), atol=1e-3, rtol=0)
    end = descend(bowl(30.0, 40.0), start, SCALES, many)
    torch.testing.assert_close(end.deltas, SCALES[..., None] * torch.tensor([0.6, 0.8]), atol=1e-3, rtol=0)


@given(
    centre=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    step=st.floats(0.01, 5.0),
    budget=st.floats(0.05, 2.0),
    grow=st.floats(1.0, 3.0),
)
def test_the_loss_never_rises_and_the_budget_is_never_exceeded(
    centre: tuple[float, float], step: float, budget: float, grow: float
) -> None:
    end = descend(bowl(*centre), torch.zeros(2, 2, 2), SCALES, Descent(step=step, max_norm=budget, grow=grow))
    for losses in end.losses:
        assert all(after <= before for before, after in pairwise(losses))
    assert bool((end.deltas.norm(dim=-1) <= budget * SCALES * (1 + 1e-5)).all())
    torch.testing.assert_close(bowl(*centre)(end.deltas).loss, torch.tensor([x[-1] for x in end.losses]))


def test_a_step_that_is_too_long_is_refused_and_halved() -> None:
    # From 0 toward 0.5: a step of 4 overshoots to 4 (12.25), 2 and 1 do not fall below 0.25 either, 0.5 arrives.
    line = torch.ones(1, 1)
    end = descend(bowl(0.5), torch.zeros(1, 1, 1), line, Descent(n_iterations=4, step=4.0, max_norm=9.0))
    assert end.losses[0] == pytest.approx((0.25, 0.25, 0.25, 0.25, 0.0))


def test_a_loss_that_is_no_number_is_never_kept() -> None:
    def cliff(deltas: Tensor) -> Evaluation:
        loss = torch.where(deltas[:, 0, 0] > 0.3, torch.nan, -deltas[:, 0, 0])
        return Evaluation(loss, -torch.ones_like(deltas), torch.zeros_like(loss))

    end = descend(cliff, torch.zeros(1, 1, 1), torch.ones(1, 1), Descent(step=0.2, n_iterations=30))
    assert 0.2 <= float(end.deltas) <= 0.3
    assert all(map(math.isfinite, end.losses[0]))


def test_what_moves_the_model_too_far_is_never_kept() -> None:
    end = descend(bowl(5.0, 5.0, kl=1.0), torch.zeros(2, 2, 2), SCALES, Descent(max_kl=0.4, n_iterations=30))
    assert bool((end.kl <= 0.4).all())
    assert bool((end.kl > 0.3).all())


def test_problems_stop_when_patience_ends_or_the_loss_is_low_enough() -> None:
    start = torch.zeros(2, 2, 2)
    end = descend(bowl(0.0, 0.0), start, SCALES, Descent(patience=3))
    assert end.n_evaluated.tolist() == [4, 4]  # the start and three proposals that gained nothing
    end = descend(bowl(3.0, 4.0), start, SCALES, Descent(stop_below=49.0))
    assert [len(x) for x in end.losses] == end.n_evaluated.tolist()
    for losses in end.losses:
        assert losses[-1] <= 49.0 < losses[-2]
    assert descend(bowl(3.0, 4.0), start, SCALES, Descent(stop_below=51.0)).n_evaluated.tolist() == [1, 1]


def test_projection_leaves_what_is_inside_alone() -> None:
    inside = torch.tensor([[[0.3, 0.4]]])
    torch.testing.assert_close(project(inside, torch.ones(1, 1), 1.0), inside)
    torch.testing.assert_close(project(10 * inside, torch.ones(1, 1), 1.0), torch.tensor([[[0.6, 0.8]]]))
    assert project(torch.zeros(1, 1, 2), torch.ones(1, 1), 1.0).abs().max() == 0


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"max_norm": 0.0}, "max_norm is 0.0: it must be a finite number above 0"),
        ({"step": -1.0}, "step is -1.0"),
        ({"step": math.inf}, "step is inf"),
        ({"n_iterations": 0}, "n_iterations is 0"),
        ({"patience": 0}, "patience is 0"),
        ({"grow": 0.9}, "grow is 0.9"),
        ({"min_improvement": -1e-3}, "min_improvement is -0.001"),
        ({"max_kl": 0.0}, "max_kl is 0.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Descent(**setting)


def test_a_start_outside_the_budget_or_without_a_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="init is 2 x the residual norm at its site, max_norm is 1"):
        descend(bowl(0.0, 0.0), torch.full((2, 2, 2), 0.5**0.5), SCALES, Descent())
    with pytest.raises(ValueError, match="objective of prompt 0 is not finite"):
        descend(bowl(math.inf, 0.0), torch.zeros(2, 2, 2), SCALES, Descent())
    with pytest.raises(ValueError, match="init moves the model by"):
        descend(bowl(1.0, 1.0, kl=1.0), torch.full((2, 2, 2), 0.1), SCALES, Descent(max_kl=0.1))
