"""A prompt that was read is continued as if it had just been."""

import pytest
import torch

from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering import steer
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.prompt_states import continue_from, read_prompt
from tests.tiny_models import PROMPTS, gap, hooked, placed

RULES = ("everywhere", "at_front", "from_last_prompt_token")


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("runtime", ["plain", "hooked"])
def test_a_continuation_from_states_is_what_generate_writes(architecture: str, rule: str, runtime: str) -> None:
    model = hooked(architecture)
    with model.running(runtime), steer(model, 4.0 * placed(model, resid_post(1), rule)):
        for prompt in PROMPTS:
            [written] = generate(model, prompt, max_new_tokens=8, stop=("z",)).texts
            assert continue_from(model, read_prompt(model, prompt), max_new_tokens=8, stop=("z",)) == written


def test_states_can_be_continued_twice_and_stay_as_they_were(llama: HookedModel) -> None:
    states = read_prompt(llama, PROMPTS[0])
    before = [tensor.clone() for tensor in (*states.keys, *states.values)]
    first = continue_from(llama, states, max_new_tokens=6)
    assert continue_from(llama, states, max_new_tokens=6) == first
    assert all(map(torch.equal, before, (*states.keys, *states.values)))


def test_states_are_those_under_the_edits_in_force(llama: HookedModel) -> None:
    edit = 4.0 * placed(llama, resid_pre(1), "from_last_prompt_token")
    plain, steered = read_prompt(llama, PROMPTS[0]), None
    with steer(llama, edit):
        steered = read_prompt(llama, PROMPTS[0])
        expected = llama.logits(llama.to_tokens(PROMPTS[0]))[:, -1]
    assert gap(steered.logits, expected) < 1e-4
    assert gap(steered.logits, plain.logits) > 0.1
    behind = [gap(*(one.keys[layer] for one in (plain, steered))) for layer in range(3)]
    assert behind[0] == 0
    assert behind[1] > 0
    with steer(llama, Intervention()):
        assert torch.equal(read_prompt(llama, PROMPTS[0]).logits, plain.logits)


def test_a_model_that_forgets_what_it_read_is_refused() -> None:
    with pytest.raises(ValueError, match="does not keep keys and values of all that it has read"):
        read_prompt(hooked("mistral"), PROMPTS[0])


@pytest.mark.parametrize("tokens", [0, 200])
def test_an_answer_needs_a_token_and_room(llama: HookedModel, tokens: int) -> None:
    with pytest.raises(ValueError, match=f"max_new_tokens is {tokens}: it must be 1 to "):
        continue_from(llama, read_prompt(llama, PROMPTS[0]), max_new_tokens=tokens)
