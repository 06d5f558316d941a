"""Conditional steering: every row of a batch gets what it would get alone."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.source import Source
from steering_lab.interventions.steering import steer
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.conditional import Case, ConditionalSteering, Mentions, PointsAlong, TextIs
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.reading import read_stream
from tests.tiny_models import PROMPTS, hooked, placed

SITE = resid_pre(1)


@pytest.fixture(scope="module")
def direction(model: HookedModel) -> SteeringVector:
    """Where prompt 1's stream points, seen from the mean of all."""
    stream = read_stream(model, PROMPTS, [SITE])[SITE]
    return SteeringVector((stream[1] - stream.mean(dim=0))[None], SITE, Source.of(model, "toward prompt 1"))


def test_the_first_case_that_is_true_decides_and_the_rest_get_the_default(model: HookedModel) -> None:
    one, two, other = (placed(model, SITE, "everywhere", seed) for seed in range(3))
    conditional = ConditionalSteering(
        (Case("long", TextIs(lambda text: len(text) > 25), one), Case("hate", Mentions(("hate",)), two)), other
    )
    assert conditional.decide(model, [*PROMPTS, "Hello"]) == ["long", "hate", "long", "default"]
    chosen = conditional.choose(model, [*PROMPTS, "Hello"])
    assert [c is e for c, e in zip(chosen, (one, two, one, other), strict=True)] == [True] * 4


def test_without_a_default_nothing_is_done(model: HookedModel) -> None:
    conditional = ConditionalSteering((Case("never", TextIs(lambda text: False), placed(model, SITE, "everywhere")),))
    assert [one.terms for one in conditional.choose(model, PROMPTS)] == [(), (), ()]


def test_a_topic_counts_whole_words_in_any_case(model: HookedModel) -> None:
    prompts = ["LOVE is all", "lovely gloves", "love, love me do", ""]
    assert Mentions(("love", "sea"))(model, prompts) == [True, False, True, False]
    assert Mentions(("Love",), at_least=2)(model, prompts) == [False, False, True, False]


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_each_row_of_a_batch_gets_what_it_gets_alone(name: str) -> None:
    """The released code of conditional activation steering looks at row 0 alone; here the match is in row 1."""
    model = hooked(name)
    stream = read_stream(model, PROMPTS, [SITE])[SITE]
    toward = SteeringVector((stream[1] - stream.mean(dim=0))[None], SITE, Source.of(model, "toward prompt 1"))
    trigger = PointsAlong(toward, above=0.0)
    cosines = trigger.cosines(model, PROMPTS)
    trigger = PointsAlong(toward, above=float(cosines.sort().values[1:].mean()))
    assert trigger(model, PROMPTS) == [False, True, False]
    conditional = ConditionalSteering((Case("near", trigger, 10.0 * placed(model, SITE, "everywhere")),))
    with steer(model, conditional.choose(model, PROMPTS)):
        batch = generate(model, list(PROMPTS), max_new_tokens=6)
    for i, prompt in enumerate(PROMPTS):
        with steer(model, conditional.choose(model, [prompt])):
            assert generate(model, prompt, max_new_tokens=6).tokens[0] == batch.tokens[i]
    plain = generate(model, list(PROMPTS), max_new_tokens=6)
    assert [batch.tokens[i] == plain.tokens[i] for i in range(3)] == [True, False, True]


def test_similarity_by_hand(model: HookedModel, direction: SteeringVector) -> None:
    tokens = model.to_tokens(PROMPTS[0])
    before_last = model.residuals(tokens, [SITE])[SITE][0, -2]
    by_hand = float(before_last @ direction.rows[0]) / float(before_last.norm() * direction.rows[0].norm())
    trigger = PointsAlong(direction, 0.5, read=-2)
    assert trigger.cosines(model, PROMPTS[:1]).tolist() == pytest.approx([by_hand], abs=1e-5)
    assert PointsAlong(7.0 * direction, 0.5, read=-2).cosines(model, PROMPTS[:1]).tolist() == pytest.approx(
        [by_hand], abs=1e-5
    )


def test_triggers_see_the_unedited_model(model: HookedModel, direction: SteeringVector) -> None:
    trigger = PointsAlong(direction, 0.2)
    with steer(model, 50.0 * direction.everywhere()):
        assert torch.equal(trigger.cosines(model, PROMPTS), trigger.cosines(model, PROMPTS))
        inside = trigger.cosines(model, PROMPTS)
    assert torch.equal(inside, trigger.cosines(model, PROMPTS))


def test_bad_conditions_are_refused(model: HookedModel, direction: SteeringVector) -> None:
    case = Case("a", TextIs(bool), Intervention())
    with pytest.raises(ValueError, match="names of their own"):
        ConditionalSteering((case, case))
    with pytest.raises(ValueError, match="none of them 'default'"):
        ConditionalSteering((Case("default", TextIs(bool), Intervention()),))
    with pytest.raises(ValueError, match=r"above is 1\.5"):
        PointsAlong(direction, 1.5)
    with pytest.raises(ValueError, match="is not one direction"):
        PointsAlong(0.0 * direction, 0.5)
    for words in (("two words",), ("",)):
        with pytest.raises(ValueError, match="a topic needs single words"):
            Mentions(words)
    with pytest.raises(ValueError, match="at_least is 0"):
        Mentions(("a",), at_least=0)
    with pytest.raises(ValueError, match=r"answered for 1 of 3 prompts"):
        ConditionalSteering((Case("short", lambda model, prompts: [True], Intervention()),)).choose(model, PROMPTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"basis": "centred"}, "was made in the centred basis"),
        ({"fingerprint": "0" * 16}, "other weights or another precision"),
        ({"prefix": "none"}, "was made with prefix='none'"),
    ],
)
def test_a_direction_of_another_model_is_refused(model: HookedModel, change: dict[str, Any], message: str) -> None:
    source = replace(Source.of(model, "by hand"), **change)
    stranger = PointsAlong(SteeringVector(torch.ones(1, 32), SITE, source), 0.0)
    with pytest.raises(ValueError, match=message):
        stranger(model, PROMPTS)
