"""Objectives and their targets, by hand and on tiny models."""

import math

import pytest
import torch

from steering_lab.interventions.steering import steer
from steering_lab.methods.cad import CAD
from steering_lab.methods.delta.objectives import (
    ContrastClosedBook,
    GroundedAnswer,
    ImitateInstructed,
    forced_log_probs,
)
from steering_lab.methods.delta.target import Avoided, Target
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.hooked_model import HookedModel
from tests.tiny_models import PROMPTS, gap, placed

BARE = ("I hate", "Love", "To be")


def logs(*probabilities: float) -> torch.Tensor:
    return torch.tensor(probabilities).log()


def test_the_loss_of_tokens_by_hand() -> None:
    steered = torch.stack([logs(0.5, 0.3, 0.2), logs(0.25, 0.25, 0.5)])[None]
    assert float(Target(((0, 2),)).losses(steered)[0]) == pytest.approx(-(math.log(0.5) + math.log(0.5)) / 2)
    avoiding = Target(((0, 2),), avoid=(Avoided(0, 1),)).losses(steered)
    assert float(avoiding[0]) == pytest.approx(math.log(2) - math.log(1 - 0.3))


def test_the_loss_of_distributions_by_hand() -> None:
    steered = torch.stack([logs(0.5, 0.25, 0.25), logs(0.25, 0.25, 0.5)])[None]
    wanted = torch.stack([logs(1.0, 0.0, 0.0), logs(0.5, 0.25, 0.25)])
    by_hand = (math.log(2) + 0.5 * math.log(2) + 0.25 * math.log(0.5)) / 2
    assert float(Target(((0, 1),), (wanted,)).losses(steered)[0]) == pytest.approx(by_hand)


def test_steps_beyond_a_rows_own_continuation_do_not_count() -> None:
    steered = torch.log_softmax(torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)), -1)
    both = Target(((1,), (2, 3, 4)), avoid=(None, Avoided(2, 0)))
    alone = [both.take([i]).losses(steered[[i], : len(both.tokens[i])]) for i in (0, 1)]
    torch.testing.assert_close(both.losses(steered), torch.cat(alone))


def test_avoiding_a_token_that_is_certain_still_has_a_gradient() -> None:
    logits = torch.tensor([[[0.0, 40.0, 0.0]]], requires_grad=True)
    loss = Target(((0,),), avoid=(Avoided(0, 1),)).losses(torch.log_softmax(logits, -1))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert float(gradient[0, 0, 1]) == pytest.approx(2.0)  # once for each term: d(-log p_0) and d(-log(1 - p_1))


def test_the_grounded_answer_is_what_follows_the_prompt_and_parts_from_memory(model: HookedModel) -> None:
    target = GroundedAnswer((" love", " sea"), (" hate", None)).target(model, PROMPTS[:2])
    for tokens, prompt, answer in zip(target.tokens, PROMPTS, (" love", " sea"), strict=False):
        assert model.tokenizer.decode(list(tokens)) == answer
        assert model.token_ids(prompt + answer) == [*model.token_ids(prompt), *tokens]
    assert target.avoid is not None
    assert target.avoid[1] is None
    (memory,) = GroundedAnswer((" hate",)).target(model, PROMPTS[:1]).tokens
    step, token = target.avoid[0]  # type: ignore[misc]
    assert memory[:step] == target.tokens[0][:step]
    assert token == memory[step] != target.tokens[0][step]


def test_answers_that_cannot_be_told_apart_or_melt_are_refused(model: HookedModel) -> None:
    with pytest.raises(ValueError, match="begin alike to the end of one"):
        GroundedAnswer((" love",), (" love",)).target(model, PROMPTS[:1])
    with pytest.raises(ValueError, match="melts into the last token of its prompt"):
        GroundedAnswer(("ve",)).target(model, ["I hate you because you lo"])
    with pytest.raises(ValueError, match="none of them empty"):
        GroundedAnswer((" ",))
    with pytest.raises(ValueError, match="1 memory answers for 2 prompts"):
        GroundedAnswer((" a", " b"), (" c",))


def test_imitation_wants_the_instructed_models_own_words_and_distributions(model: HookedModel) -> None:
    instructed = tuple("Say: " + p for p in PROMPTS)
    target = ImitateInstructed(instructed, n_tokens=3).target(model, PROMPTS)
    drawn = generate(model, list(instructed), max_new_tokens=3, log_probs=True)
    assert [list(t) for t in target.tokens] == drawn.tokens
    assert target.log_probs is not None
    assert drawn.log_probs is not None
    for wanted, tokens, log_probs in zip(target.log_probs, drawn.tokens, drawn.log_probs, strict=True):
        assert wanted.gather(-1, torch.tensor(tokens)[:, None])[:, 0].tolist() == pytest.approx(log_probs, abs=1e-4)


def test_the_contrast_wants_what_context_aware_decoding_decodes(model: HookedModel) -> None:
    target = ContrastClosedBook(BARE, alpha=0.5, n_tokens=3).target(model, PROMPTS)
    drawn = generate(model, list(PROMPTS), max_new_tokens=3, rule=CAD(0.5), without_context=BARE, log_probs=True)
    assert [list(t) for t in target.tokens] == drawn.tokens
    assert target.log_probs is not None
    assert drawn.log_probs is not None
    for wanted, tokens, log_probs in zip(target.log_probs, drawn.tokens, drawn.log_probs, strict=True):
        assert wanted.exp().sum(-1).tolist() == pytest.approx([1.0] * len(tokens), abs=1e-5)
        assert wanted.gather(-1, torch.tensor(tokens)[:, None])[:, 0].tolist() == pytest.approx(log_probs, abs=1e-4)


def test_without_a_contrast_the_model_is_its_own_target(model: HookedModel) -> None:
    target = ContrastClosedBook(BARE, alpha=0.0).target(model, PROMPTS)
    own = forced_log_probs(model, PROMPTS, target.tokens)
    assert target.log_probs is not None
    assert max(gap(a, b) for a, b in zip(target.log_probs, own, strict=True)) < 1e-4


def test_targets_are_the_unedited_models(model: HookedModel) -> None:
    plain = ImitateInstructed(BARE, n_tokens=2).target(model, PROMPTS)
    with steer(model, placed(model, resid_pre(1), "everywhere")):
        steered = ImitateInstructed(BARE, n_tokens=2).target(model, PROMPTS)
    assert plain.tokens == steered.tokens
    assert plain.log_probs is not None
    assert steered.log_probs is not None
    assert all(torch.equal(a, b) for a, b in zip(plain.log_probs, steered.log_probs, strict=True))


@pytest.mark.parametrize(
    "objective",
    [GroundedAnswer((" a", " b", " c")), ImitateInstructed(BARE), ContrastClosedBook(BARE), Target(((1,), (2,), (3,)))],
)
def test_every_objective_is_described_by_itself_and_changes_with_what_is_wanted(
    model: HookedModel, objective: object
) -> None:
    described = [objective.take([i]).described(model) for i in (0, 1, 2)]  # type: ignore[attr-defined]
    assert len({str(d) for d in described}) == 3
    assert objective.take([2, 0]).take([1]).described(model) == described[0]  # type: ignore[attr-defined]
    assert len(objective.take([2, 0])) == 2  # type: ignore[attr-defined]


def test_targets_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one token for every prompt"):
        Target(((1,), ()))
    with pytest.raises(ValueError, match="one row per token"):
        Target(((1, 2),), (torch.zeros(1, 5),))
    with pytest.raises(ValueError, match=r"step 2 of an avoided token is outside 0\.\.1"):
        Target(((1, 2),), avoid=(Avoided(2, 0),))
    with pytest.raises(ValueError, match="alpha is -1"):
        ContrastClosedBook(BARE, alpha=-1.0)
