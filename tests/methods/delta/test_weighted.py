"""Sums of objectives and losses of one's own: the sum's gradient is the gradients' sum, by plain autograd."""

from math import nan

import pytest
import torch
from torch import Tensor

from steering_lab.interventions.intervention import Add
from steering_lab.interventions.steering import steer
from steering_lab.methods.delta.descent import Descent
from steering_lab.methods.delta.objectives import ContrastClosedBook, GroundedAnswer, ImitateInstructed, Objective
from steering_lab.methods.delta.optimise import Batch, optimise_delta
from steering_lab.methods.delta.own_loss import OwnLoss, Seen
from steering_lab.methods.delta.target import Target
from steering_lab.methods.delta.weighted import AnyObjective, Weighted, WeightedSum
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from tests.tiny_models import PROMPTS, gap, hooked

SITES = [resid_pre(1), resid_post(1)]
SHORT = Descent(n_iterations=4)
ANSWERS = GroundedAnswer((" love", " sea", " joy"), (" hate", None, " night"))
CONTRAST = ContrastClosedBook(("I hate", "Love", "To be"), n_tokens=2)
IMITATE = ImitateInstructed(tuple("Say: " + p for p in PROMPTS), n_tokens=3)


def evaluated(model: HookedModel, objective: AnyObjective, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, gradient and KL of each prompt at one random delta."""
    batch = Batch(model, PROMPTS, [[0], [1], [2]], SITES, objective, 32)
    noise = torch.randn(3, len(SITES), model.d_model, generator=torch.Generator().manual_seed(seed))
    with torch.enable_grad():
        return batch.evaluate(noise.to(model.device))


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_the_gradient_of_a_sum_is_the_weighted_sum_of_gradients(name: str) -> None:
    model = hooked(name)
    of_sum = evaluated(model, 0.25 * IMITATE + 0.75 * CONTRAST + ANSWERS)
    each = [evaluated(model, one) for one in (IMITATE, CONTRAST, ANSWERS)]
    for k in (0, 1):
        assert gap(of_sum[k], 0.25 * each[0][k] + 0.75 * each[1][k] + each[2][k]) < 1e-4
    assert gap(of_sum[2], sum(one[2] for one in each) / 3) < 1e-4  # KL is the mean over the terms


def test_weights_multiply_through_and_sums_are_flat(model: HookedModel) -> None:
    nested = 0.5 * (IMITATE + 0.5 * CONTRAST) + ANSWERS * 2
    assert [weight for weight, _ in nested.terms] == [0.5, 0.25, 2.0]
    assert nested.terms == (Weighted(0.5, IMITATE), Weighted(0.25, CONTRAST), Weighted(2.0, ANSWERS))
    halves = evaluated(model, 0.5 * IMITATE + 0.5 * IMITATE)
    for one, other in zip(halves, evaluated(model, IMITATE), strict=True):
        assert gap(one, other) < 1e-5


def test_a_sum_is_optimised_described_and_found_again_by_its_weights(model: HookedModel, tmp_path: object) -> None:
    half = 0.5 * IMITATE + 0.5 * CONTRAST
    found = optimise_delta(model, PROMPTS, SITES, half, descent=SHORT, cache=str(tmp_path))
    assert all(result.losses[-1] < result.losses[0] for result in found.problems)
    source = found.problems[0].vectors[0].source
    assert source.recipe == "optimised delta (0.5 x imitate instructed + 0.5 x contrast closed book)"
    assert all(
        r.cached for r in optimise_delta(model, PROMPTS, SITES, half, descent=SHORT, cache=str(tmp_path)).problems
    )
    other = optimise_delta(model, PROMPTS, SITES, 0.4 * IMITATE + 0.6 * CONTRAST, descent=SHORT, cache=str(tmp_path))
    assert not any(result.cached for result in other.problems)
    costs = [
        optimise_delta(model, PROMPTS, SITES, one, descent=Descent(n_iterations=1)).problems[0].forward_equivalents
        for one in (IMITATE, CONTRAST, half)
    ]
    assert costs[2] == pytest.approx(costs[0] + costs[1])


@pytest.mark.parametrize("weight", [0.0, -1.0, nan, float("inf")])
def test_a_weight_that_is_not_above_0_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="choose a finite number above 0"):
        weight * IMITATE


def test_what_cannot_be_added_is_refused() -> None:
    with pytest.raises(ValueError, match=r"objectives for \[2, 3\] prompts cannot be added"):
        IMITATE + CONTRAST.take([0, 1])
    with pytest.raises(ValueError, match="at least one objective"):
        WeightedSum(())
    with pytest.raises(TypeError):
        IMITATE + 1  # type: ignore[operator]
    with pytest.raises(TypeError):
        "0.5" * IMITATE  # type: ignore[operator]


# -- losses of one's own -----------------------------------------------------------------------------------------------
def nll(seen: Seen) -> Tensor:
    """That of the tokens given: what `Target` of the same tokens measures."""
    return -torch.stack([step[token] for step, token in zip(seen.log_probs, seen.given, strict=True)]).mean()


def test_a_loss_of_ones_own_is_the_built_in_one_where_it_says_the_same(model: HookedModel) -> None:
    tokens = GroundedAnswer((" love", " sea", " joy")).target(model, PROMPTS).tokens
    mine = OwnLoss("nll", nll, given=tokens, continuations=(" love", " sea", " joy"))
    for ours, theirs in zip(evaluated(model, mine), evaluated(model, Target(tokens)), strict=True):
        assert gap(ours, theirs) < 1e-5


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_loss_of_the_stream_has_the_gradient_of_an_ordinary_steered_pass(name: str) -> None:
    model, after = hooked(name), resid_post(2)
    direction = torch.randn(model.d_model, generator=torch.Generator().manual_seed(3))
    mine = OwnLoss("away", lambda seen: seen.stream[after][0].float() @ direction, given=(None,) * 3, reads=(after,))
    loss, gradient, _ = evaluated(model, mine)
    noise = torch.randn(3, len(SITES), model.d_model, generator=torch.Generator().manual_seed(0))
    for i, prompt in enumerate(PROMPTS):
        leaf = noise[i].clone().requires_grad_()
        edits = [Add(leaf[k][None], site).from_last_prompt_token() for k, site in enumerate(SITES)]
        with torch.enable_grad(), steer(model, edits[0] + edits[1]):
            by_hand = model.residuals(model.to_tokens(prompt), [after])[after][0, -1].float() @ direction
        by_hand.backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        assert float(loss[i]) == pytest.approx(float(by_hand.detach()), abs=1e-3)
        assert gap(gradient[i], leaf.grad) <= 1e-3 * max(1.0, float(leaf.grad.abs().max()))


def test_at_the_deltas_own_site_the_stream_is_read_after_the_delta(model: HookedModel) -> None:
    site = SITES[0]
    mine = OwnLoss("length", lambda seen: seen.stream[site][0].float().pow(2).sum(), given=(None,) * 3, reads=(site,))
    found = optimise_delta(model, PROMPTS, [site], mine, descent=Descent(n_iterations=8, max_norm=0.5))
    for result in found.problems:  # straight toward zero, as far as the budget goes
        assert result.losses[-1] == pytest.approx((0.5 * result.resid_norms[0]) ** 2, rel=0.2)
        assert result.losses[0] == pytest.approx(result.resid_norms[0] ** 2, rel=1e-4)


def test_a_loss_of_ones_own_is_weighted_beside_another(model: HookedModel) -> None:
    mine = OwnLoss("entropy", lambda seen: -(seen.log_probs.exp() * seen.log_probs).sum(-1).mean(), given=(None,) * 3)
    both = evaluated(model, 0.1 * mine + IMITATE)
    alone = evaluated(model, mine), evaluated(model, IMITATE)
    assert gap(both[0], 0.1 * alone[0][0] + alone[1][0]) < 1e-5
    assert mine.take([2, 0]).take([1]).described(model) == mine.take([0]).described(model)
    assert isinstance(mine, Objective)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda seen: seen.log_probs, r"gave a tensor of shape \(1, \d+\): return one number"),
        (lambda seen: 1.0, r"gave 1\.0: return one number"),
        (lambda seen: torch.tensor(1.0), "depends on nothing that the delta changes"),
        (lambda seen: seen.stream[resid_pre(0)].float().sum(), "depends on nothing that the delta changes"),
    ],
)
def test_a_loss_that_cannot_descend_is_refused_by_name(model: HookedModel, loss: object, said: str) -> None:
    with pytest.raises(ValueError, match=f"the loss 'mine' {said}"):
        evaluated(model, OwnLoss("mine", loss, given=(None,) * 3, reads=(resid_pre(0),)))  # type: ignore[arg-type]


def test_a_loss_that_does_not_say_what_it_is_for_is_refused(model: HookedModel) -> None:
    for options, said in (
        ({"name": ""}, "needs a name"),
        ({"given": ()}, "given is empty"),
        ({"n_tokens": 0}, "n_tokens is 0"),
        ({"continuations": (" a",)}, "1 continuations for 3 prompts"),
    ):
        with pytest.raises(ValueError, match=said):
            OwnLoss(**{"name": "mine", "loss": nll, "given": (None,) * 3} | options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="layer 99 is outside"):
        OwnLoss("mine", nll, given=(None,) * 3, reads=(resid_pre(99),)).target(model, PROMPTS)
