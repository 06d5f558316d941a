"""The pass that reads a prompt once: equal to reading it whole, and to steering by the ordinary way."""

from functools import lru_cache

import pytest
import torch

from steering_lab.interventions.source import Source
from steering_lab.interventions.steering import steer
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.delta.delta_pass import DeltaPass, reuses_prefix
from steering_lab.models.hook_points import HookSite, resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.models.scoring import forced_logits
from tests.tiny_models import (
    MODELS,
    PROMPTS,
    gap,
    hooked,
    n_hooks,
    placed,
    rows_of,
    tiny_hf_model,
    tiny_tokenizer,
)

SITES = [resid_pre(1), resid_post(1)]
FORCED = [[5, 6, 7], [9], [12, 13]]


def deltas(seed: int = 0) -> torch.Tensor:
    return 0.5 * torch.randn(3, 2, 32, generator=torch.Generator().manual_seed(seed))


def steered_whole(model: HookedModel, row: int, added: torch.Tensor) -> torch.Tensor:
    """The same distributions by `steer` and one uncached pass over the row alone."""
    source = Source.of(model, "by hand")
    nothing = SteeringVector(torch.zeros(1, 32), SITES[0], source).from_last_prompt_token()
    each = [SteeringVector(d[None], s, source).from_last_prompt_token() for d, s in zip(added, SITES, strict=True)]
    tokens = model.pad([model.token_ids(PROMPTS[row])], [FORCED[row]])
    with steer(model, sum(each, nothing)):
        logits = model.logits(tokens)[0]
    return torch.log_softmax(logits[-len(FORCED[row]) - 1 : -1].float(), dim=-1)


@pytest.mark.parametrize("name", MODELS)
def test_reusing_the_prefix_equals_the_full_pass_and_the_ordinary_way_of_steering(name: str) -> None:
    model = hooked(name)
    hooks = n_hooks(model)
    reused = DeltaPass(model, rows_of(model, PROMPTS), FORCED, SITES)
    whole = DeltaPass(model, rows_of(model, PROMPTS), FORCED, SITES, reuse_prefix=False)
    assert reused._start > 0 == whole._start
    for added in (deltas(), deltas(1), deltas()):  # the prefix is not used up
        left, right = reused(added), whole(added)
        for row, forced in enumerate(FORCED):
            assert gap(left[row, : len(forced)], right[row, : len(forced)]) < 1e-4
            assert gap(left[row, : len(forced)], steered_whole(model, row, added[row])) < 1e-4
    assert gap(reused(deltas())[0], reused(deltas(1))[0]) > 0.1
    assert n_hooks(model) == hooks


@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral_window"])
def test_gradients_equal_finite_differences(name: str) -> None:
    model = hooked(name)
    one = DeltaPass(model, rows_of(model, PROMPTS), FORCED, SITES)
    at = deltas().requires_grad_()
    (gradient,) = torch.autograd.grad(one(at)[:, 0, 7].sum(), at)
    for row, site in ((0, 0), (1, 1), (2, 0)):
        direction = torch.zeros_like(at)
        direction[row, site] = torch.nn.functional.normalize(gradient[row, site], dim=0)
        with torch.no_grad():
            apart = one(at + 5e-3 * direction)[:, 0, 7] - one(at - 5e-3 * direction)[:, 0, 7]
        assert float(apart.sum()) / 1e-2 == pytest.approx(float(gradient[row, site].norm()), rel=2e-2)
        assert gap(apart[[i for i in range(3) if i != row]], torch.zeros(2)) < 1e-5  # rows do not touch


def test_a_steering_block_that_is_open_does_not_act() -> None:
    model = hooked("llama")
    before = DeltaPass(model, rows_of(model, PROMPTS), FORCED, SITES)
    with steer(model, placed(model, HookSite(0), "everywhere")):
        inside = DeltaPass(model, rows_of(model, PROMPTS), FORCED, SITES)
        assert torch.equal(inside(deltas()), before(deltas()))


def test_residual_norms_are_those_of_the_last_prompt_token() -> None:
    model = hooked("gpt2")
    tokens = model.to_tokens(list(PROMPTS))
    by_hand = torch.stack([model.residuals(tokens, SITES)[s][:, -1].norm(dim=-1) for s in SITES], dim=1)
    seen = DeltaPass(model, rows_of(model, PROMPTS), FORCED, SITES).unsteered()
    torch.testing.assert_close(seen.resid_norms, by_hand)
    torch.testing.assert_close(
        seen.log_probs[:, 0], torch.log_softmax(model.logits(tokens)[:, -1], -1), atol=1e-5, rtol=0
    )


def test_a_prompt_of_one_token_has_no_prefix_and_is_read_whole() -> None:
    model = hooked("qwen2")
    one = DeltaPass(model, [[7], [8, 9]], [[5], [6]], SITES[:1])
    alone = DeltaPass(model, [[7]], [[5]], SITES[:1])
    added = deltas()[:2, :1]
    assert gap(one(added)[0], alone(added[:1])[0]) < 1e-4


def test_a_target_that_does_not_fit_the_context_is_refused() -> None:
    model = hooked("gpt2")
    with pytest.raises(
        ValueError, match=r"longest prompt is 90 tokens and the longest target 8, the context of .* is 96"
    ):
        DeltaPass(model, [[5] * 90], [[5] * 8], SITES)
    DeltaPass(model, [[5] * 90], [[5] * 7], SITES)(deltas()[:1])
    with pytest.raises(ValueError, match=r"layer 9 is outside 0\.\.2"):
        DeltaPass(model, [[5] * 4], [[5]], [resid_pre(9)])


# -- kinds whose cache cannot carry on --------------------------------------------------------------------------------
@lru_cache
def unusual(name: str) -> HookedModel:
    return load_model(tiny_hf_model(name), tokenizer=tiny_tokenizer())


@pytest.mark.parametrize("name", ["qwen3_next", "qwen3_5", "jamba", "recurrent_gemma", "bamba", "phi3_longrope"])
def test_a_model_whose_cache_cannot_carry_on_reads_whole_prompts_to_the_same_effect(name: str) -> None:
    model = unusual(name)
    assert reuses_prefix(model) == (name == "phi3_longrope")
    for row, prompt in enumerate(rows_of(model, PROMPTS)):
        one = DeltaPass(model, [prompt], [FORCED[row]], SITES)
        added = deltas()[row : row + 1].requires_grad_()
        said = one(added)
        assert gap(said[0].detach(), steered_each(model, row, deltas()[row])) < 1e-4
        (gradient,) = torch.autograd.grad(said[0, -1, 7], added)
        direction = torch.nn.functional.normalize(gradient.flatten(), dim=0).reshape(gradient.shape)
        with torch.no_grad():
            apart = one(added + 5e-3 * direction)[0, -1, 7] - one(added - 5e-3 * direction)[0, -1, 7]
        assert float(apart) / 1e-2 == pytest.approx(float(gradient.norm()), rel=2e-2)


def steered_each(model: HookedModel, row: int, added: torch.Tensor) -> torch.Tensor:
    """The same distributions by `steer` and an uncached pass over the row up to each token."""
    source = Source.of(model, "by hand")
    each = [SteeringVector(d[None], s, source).from_last_prompt_token() for d, s in zip(added, SITES, strict=True)]
    prompt, forced = model.token_ids(PROMPTS[row]), FORCED[row]
    with steer(model, each[0] + each[1]):
        logits = [model.logits(model.pad([prompt], [forced[:t]]))[0, -1] for t in range(len(forced))]
    return torch.log_softmax(torch.stack(logits).float(), dim=-1)


@pytest.mark.parametrize("length", [14, 15, 16])
def test_steps_on_both_sides_of_a_rotary_switch_are_read_apart(length: int) -> None:
    model = unusual("phi3_longrope")
    prompt, forced = list(range(5, 5 + length)), [40, 41, 42, 43]
    added = deltas()[:1]
    said = DeltaPass(model, [prompt], [forced], SITES)(added)[0]
    source = Source.of(model, "by hand")
    each = [SteeringVector(d[None], s, source).from_last_prompt_token() for d, s in zip(added[0], SITES, strict=True)]
    with steer(model, each[0] + each[1]):
        (wanted,) = forced_logits(model, [prompt], [forced])
        single = [model.logits(model.pad([prompt], [forced[:t]]))[0, -1] for t in range(4)]
    assert gap(said, wanted.log_softmax(-1)) < 1e-4
    assert gap(wanted, torch.stack(single)) < 1e-4


def test_rows_that_may_not_share_a_pass_are_refused() -> None:
    with pytest.raises(ValueError, match="prompts of 4 to 6 tokens may not share a pass of RecurrentGemma"):
        DeltaPass(unusual("recurrent_gemma"), [[5] * 4, [5] * 6], [[5], [6]], SITES)
