"""Random deltas move the model as far as the optimised ones that they stand beside."""

import pytest
import torch

from steering_lab.interventions.steering import steer
from steering_lab.methods.delta.descent import Descent
from steering_lab.methods.delta.objectives import GroundedAnswer
from steering_lab.methods.delta.optimise import optimise_delta
from steering_lab.methods.delta.random_delta import random_at_equal_kl
from steering_lab.methods.delta.result import OptimisedDelta
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from tests.tiny_models import PROMPTS, hooked

SITES = [resid_pre(1), resid_post(1)]
ANSWERS = GroundedAnswer((" love", " sea", " joy"), (None, None, None))
SHORT = Descent(n_iterations=5, max_norm=0.2)


@pytest.fixture(scope="module")
def model() -> HookedModel:
    return hooked("llama")


def found(model: HookedModel, **options: bool) -> OptimisedDelta:
    return optimise_delta(model, PROMPTS, SITES, ANSWERS, descent=SHORT, **options)


@pytest.mark.parametrize("shared", [False, True])
def test_every_random_delta_reaches_the_kl_of_the_optimum(model: HookedModel, shared: bool) -> None:
    optimum = found(model, shared=shared)
    drawn = random_at_equal_kl(model, PROMPTS, ANSWERS, optimum, 0)
    assert len(drawn.problems) == len(optimum.problems) == (1 if shared else len(PROMPTS))
    for own, best in zip(drawn.problems, optimum.problems, strict=True):
        assert own.kl == pytest.approx(best.kl, rel=1e-2)
        lengths = [[vector.norm for vector in result.vectors] for result in (own, best)]
        assert lengths[0][0] / lengths[0][1] == pytest.approx(lengths[1][0] / lengths[1][1], rel=1e-4)
        assert lengths[0][0] > lengths[1][0]  # a random direction has to be longer for that
        for vector, other in zip(own.vectors, best.vectors, strict=True):
            assert vector.site == other.site
            assert abs(float((vector.unit().rows * other.unit().rows).sum())) < 0.7


def test_the_kl_is_that_of_ordinary_steering(model: HookedModel) -> None:
    optimum = found(model)
    drawn = random_at_equal_kl(model, PROMPTS, ANSWERS, optimum, 3)
    target = ANSWERS.target(model, PROMPTS)
    tokens = model.pad([model.token_ids(p) for p in PROMPTS], target.tokens)
    with torch.no_grad():
        plain = model.logits(tokens).log_softmax(-1)
        with steer(model, drawn.per_row()):
            steered = model.logits(tokens).log_softmax(-1)
    kl = (plain.exp() * (plain - steered)).sum(-1)
    for i, (result, ids) in enumerate(zip(drawn.problems, target.tokens, strict=True)):
        assert float(kl[i, -len(ids) - 1 : -1].mean()) == pytest.approx(result.kl, rel=1e-3)
        assert result.kl == pytest.approx(optimum.problems[i].kl, rel=1e-2)


def test_draws_follow_from_their_seed_and_shut_gates_stay_shut(model: HookedModel) -> None:
    optimum = optimise_delta(model, PROMPTS, SITES, ANSWERS, descent=SHORT, gate=[True, False, True])
    one, same, other = (random_at_equal_kl(model, PROMPTS, ANSWERS, optimum, seed) for seed in (0, 0, 1))
    assert one.results[1] is None
    for a, b, c in zip(one.problems, same.problems, other.problems, strict=True):
        assert torch.equal(a.vectors[0].rows, b.vectors[0].rows)
        assert not torch.allclose(a.vectors[0].unit().rows, c.vectors[0].unit().rows)
    singles = random_at_equal_kl(model, PROMPTS, ANSWERS, optimum, 0, batch_size=1)
    torch.testing.assert_close(
        singles.problems[1].vectors[0].rows, one.problems[1].vectors[0].rows, rtol=1e-3, atol=1e-4
    )


def test_prompts_that_are_not_the_optimums_are_refused(model: HookedModel) -> None:
    with pytest.raises(ValueError, match="2 prompts for 3 optimised deltas"):
        random_at_equal_kl(model, PROMPTS[:2], ANSWERS, found(model), 0)


def test_a_kl_out_of_reach_is_said(model: HookedModel) -> None:
    """A normed stream turns into the delta however long it is, so that a random one need not get there."""
    far = optimise_delta(model, PROMPTS, SITES, ANSWERS, descent=Descent(n_iterations=30, max_norm=50.0))
    drawn = random_at_equal_kl(model, PROMPTS, ANSWERS, far, 0)
    reached = [(own.kl, best.kl) for own, best in zip(drawn.problems, far.problems, strict=True)]
    assert any(own < 0.9 * best for own, best in reached)
    details = drawn.problems[0].vectors[0].source.details
    assert (details["kl"], details["kl_wanted"]) == reached[0]
