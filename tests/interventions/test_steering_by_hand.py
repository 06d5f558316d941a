"""Steering switched on and off beside the block: the same edit, and no hook that outlives whoever placed it."""

from collections.abc import Iterator

import pytest
import torch

from steering_lab.interventions.steering import Steering, steer
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.hooked_model import HookedModel
from tests.tiny_models import ON_BOTH, PROMPTS, left_without_hooks, n_hooks, placed, random_vector

NAMES = [one for one in ON_BOTH if one.values[0][0] in ("gpt2", "llama")]


@pytest.fixture(params=NAMES)
def model(request: pytest.FixtureRequest) -> Iterator[HookedModel]:
    """Two architectures by each of their runtimes; none may keep a hook after a test."""
    with left_without_hooks(*request.param) as model:
        yield model


def logits(model: HookedModel) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model.to_tokens(PROMPTS))


def handle_on(model: HookedModel, layer: int = 1) -> Steering:
    return steer(model, placed(model, resid_pre(layer), "everywhere"))


def test_enabled_by_hand_the_model_is_what_it_is_in_the_block_and_disabled_what_it_was(model: HookedModel) -> None:
    clean, handle = logits(model), handle_on(model)
    assert not handle.enabled
    assert torch.equal(logits(model), clean)
    with handle:
        inside = logits(model)
    assert not torch.equal(inside, clean)
    for _ in range(2):
        assert handle.enable() is handle
        assert torch.equal(logits(model), inside)
        handle.disable()
        assert torch.equal(logits(model), clean)


def test_disabling_is_idempotent_before_and_after(model: HookedModel) -> None:
    handle, clean = handle_on(model), logits(model)
    handle.disable()
    handle.enable()
    handle.disable()
    handle.disable()
    assert torch.equal(logits(model), clean)


def test_enabling_twice_is_refused_and_leaves_it_enabled_once(model: HookedModel) -> None:
    handle = handle_on(model).enable()
    once, n = logits(model), n_hooks(model)
    with pytest.raises(ValueError, match="is enabled already"):
        handle.enable()
    with pytest.raises(ValueError, match="is enabled already"), handle:
        pass
    assert n_hooks(model) == n
    assert torch.equal(logits(model), once)
    handle.disable()


def test_an_exception_in_a_block_removes_what_was_switched_inside_it(model: HookedModel) -> None:
    clean, handle = logits(model), handle_on(model)

    def switched_in_a_block(again: bool) -> None:
        with handle:
            handle.disable()
            if again:
                handle.enable()
            raise RuntimeError("in the block")

    for again in (False, True):
        with pytest.raises(RuntimeError, match="in the block"):
            switched_in_a_block(again)
        assert not handle.enabled
        assert torch.equal(logits(model), clean)


def test_handles_are_disabled_in_any_order(model: HookedModel) -> None:
    clean, first, second = logits(model), handle_on(model), handle_on(model, 2)
    with second:
        alone = logits(model)
    first.enable()
    second.enable()
    first.disable()
    assert torch.equal(logits(model), alone)
    second.disable()
    assert torch.equal(logits(model), clean)


def test_a_mistake_is_refused_before_there_is_a_handle(model: HookedModel) -> None:
    with pytest.raises(ValueError, match="layer 99 is outside"):
        steer(model, random_vector(model, resid_pre(99)).everywhere())


def test_a_handle_lost_while_enabled_takes_its_hooks_with_it_and_says_so(model: HookedModel) -> None:
    before = n_hooks(model)
    with pytest.warns(RuntimeWarning, match="lost while enabled, and its hooks were removed"):
        handle_on(model).enable()
    assert n_hooks(model) == before
    handle_on(model)  # one that was never enabled is lost without a word


def test_a_handle_says_where_it_steers_and_whether(model: HookedModel) -> None:
    handle = handle_on(model)
    assert repr(handle).endswith("at resid_pre(1), disabled)")
    with handle as steered:
        assert steered is model
        assert repr(handle).endswith("at resid_pre(1), enabled)")
