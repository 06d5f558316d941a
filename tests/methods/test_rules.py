"""CAD and COIECD: hand-computed numbers, their closed forms, and two streams that stay in step in the decode loop."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.methods.cad import CAD
from steering_lab.methods.coiecd import COIECD, constraint_set
from steering_lab.models.generation import generate
from steering_lab.models.hooked_model import HookedModel

PROMPTS = ["I love the sea and the harbour", "The capital of Avaria is Belmont and"]
BARE = ["I love", "The capital of"]


def logs(*probabilities: float) -> torch.Tensor:
    return torch.tensor([probabilities]).log()


def test_cad_by_hand() -> None:
    """Odds of 2 to 1 with context and 1 to 2 without: alpha = 1 gives 2^2 / (1/2) against 1^2 / 1, so 8 to 1."""
    out = CAD(1.0)(logs(0.5, 0.25, 0.25), logs(0.25, 0.5, 0.25))
    assert (out[0, 0] - out[0, 1]).item() == pytest.approx(math.log(8), abs=1e-5)
    assert (out[0, 0] - out[0, 2]).item() == pytest.approx(math.log(4), abs=1e-5)


def test_cad_may_be_given_logits_or_log_probabilities() -> None:
    context, prior = torch.randn(3, 7), torch.randn(3, 7)
    shifted = CAD(0.5)(context + 5, prior - 3)
    torch.testing.assert_close(shifted.softmax(-1), CAD(0.5)(context, prior).softmax(-1))


def test_cad_with_alpha_zero_is_plain_decoding(model: HookedModel) -> None:
    plain = generate(model, PROMPTS, max_new_tokens=8, log_probs=True)
    ruled = generate(model, PROMPTS, max_new_tokens=8, log_probs=True, rule=CAD(0.0), without_context=BARE)
    assert ruled.tokens == plain.tokens
    for left, right in zip(ruled.log_probs or [], plain.log_probs or [], strict=True):
        assert left == pytest.approx(right, abs=1e-5)


def test_a_token_ruled_out_by_a_stream_breaks_nothing() -> None:
    context, prior = torch.tensor([[0.0, 1.0, -math.inf]]), torch.tensor([[-math.inf, 1.0, 0.0]])
    for rule in (CAD(1.0), COIECD()):
        probabilities = rule(context, prior).softmax(-1)
        assert torch.isfinite(probabilities).all()
    assert CAD(1.0)(context, prior)[0, 2] == -math.inf


def test_coiecd_by_hand() -> None:
    """p2 = .5 .3 .19 .01: the first three are within 4 x of the top, the last is below 4 x the smallest (itself)."""
    context, prior = logs(0.5, 0.3, 0.19, 0.01), logs(0.1, 0.6, 0.2, 0.1)
    assert constraint_set(context, 0.25).tolist() == [[True, True, True, True]]
    out = COIECD(alpha=1.0)(context, prior)
    torch.testing.assert_close(out, 2 * context - prior)


def test_a_confident_context_stream_decodes_plainly_under_coiecd() -> None:
    context, prior = logs(0.9, 0.06, 0.039, 0.001), logs(0.1, 0.6, 0.2, 0.1)
    assert constraint_set(context, 0.25).tolist() == [[False, False, False, True]]
    out = COIECD(alpha=1.0)(context, prior)
    torch.testing.assert_close(out[:, :3], context[:, :3])


def released(context: torch.Tensor, prior: torch.Tensor, alpha: float, ratio: float) -> torch.Tensor:
    """COIECD as its published formulas put it, with the entropy, for one row."""
    p2, p1 = context.log_softmax(-1), prior.log_softmax(-1)
    entropy = -(p1.exp() * p1).sum()
    s = (-p2 - entropy).log_softmax(-1)
    low, high = s < s.min() + math.log(ratio), s > s.max() - math.log(ratio)
    inside = high if low.sum() == 1 else low | high
    return torch.where(inside, p2, p1) + alpha * (p2 - p1)


@given(st.integers(0, 10_000), st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([2.0, 4.0, 8.0]))
def test_coiecd_equals_the_published_formulas(seed: int, alpha: float, ratio: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    context, prior = (3 * torch.randn(1, 12, generator=generator, dtype=torch.float64) for _ in range(2))
    ours = COIECD(alpha, 1 / ratio)(context, prior)
    torch.testing.assert_close(ours.double()[0], released(context[0], prior[0], alpha, ratio), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rule", [CAD(1.0), COIECD()])
def test_two_streams_in_step_equal_two_uncached_passes_per_token(model: HookedModel, rule: CAD | COIECD) -> None:
    out = generate(model, PROMPTS, max_new_tokens=6, rule=rule, without_context=BARE)
    for prompt, bare, tokens in zip(PROMPTS, BARE, out.tokens, strict=True):
        written: list[int] = []
        for token in tokens:
            both = [model.logits(model.pad([model.token_ids(text) + written]))[:, -1] for text in (prompt, bare)]
            assert rule(*both).argmax().item() == token
            written.append(token)


@pytest.mark.parametrize("rule", [CAD(1.0), COIECD()])
def test_a_ruled_batch_equals_its_singles_with_and_without_a_cache(model: HookedModel, rule: CAD | COIECD) -> None:
    out = generate(model, PROMPTS, max_new_tokens=6, rule=rule, without_context=BARE)
    uncached = generate(model, PROMPTS, max_new_tokens=6, rule=rule, without_context=BARE, use_cache=False)
    singles = [
        generate(model, p, max_new_tokens=6, rule=rule, without_context=[b]).tokens[0]
        for p, b in zip(PROMPTS, BARE, strict=True)
    ]
    assert out.tokens == uncached.tokens == singles


def test_a_rule_and_its_second_stream_go_together(model: HookedModel) -> None:
    with pytest.raises(ValueError, match="go together"):
        generate(model, PROMPTS, rule=CAD())
    with pytest.raises(ValueError, match="1 prompts without context for 2"):
        generate(model, PROMPTS, rule=CAD(), without_context=BARE[:1])


@pytest.mark.parametrize("make", [lambda: CAD(-1.0), lambda: COIECD(-1.0), lambda: COIECD(1.0, 1.0)])
def test_settings_outside_their_range_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match="must"):
        make()  # type: ignore[operator]
