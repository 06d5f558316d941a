"""Prompts on disk: bit for bit what was read, and never for another model, vector, threshold or passage."""

from pathlib import Path

import pytest
import torch

from steering_lab.interventions.intervention import Intervention
from steering_lab.models.hook_points import resid_post
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.prompt_states import read_prompt
from steering_lab.retrieval.prepared_prompts import Gated, Prepared, PreparedPrompts
from tests.tiny_models import PROMPTS, placed

GATE = Gated(True, 0.1234567890123, "Oslo, naïvely")


@pytest.fixture
def prompts(tmp_path: Path) -> PreparedPrompts:
    return PreparedPrompts(tmp_path / "not yet there")


def edit(model: HookedModel, seed: int = 0) -> Intervention:
    return placed(model, resid_post(1), "from_last_prompt_token", seed)


def test_what_is_found_is_bit_for_bit_what_was_kept(llama: HookedModel, prompts: PreparedPrompts) -> None:
    kept = Prepared(read_prompt(llama, PROMPTS[0]), GATE)
    assert prompts.find("k") is None
    prompts.keep("k", kept)
    found = prompts.find("k")
    assert found is not None
    assert found.gate == GATE
    assert found.states.ids == kept.states.ids
    assert torch.equal(found.states.logits, kept.states.logits)
    for name in ("keys", "values"):
        sides = getattr(found.states, name), getattr(kept.states, name)
        assert all(torch.equal(one, other) and one.dtype == other.dtype for one, other in zip(*sides, strict=True))


def test_a_key_is_of_one_model_one_vector_one_threshold_one_prompt(llama: HookedModel, gpt2: HookedModel) -> None:
    with_passage, bare = PROMPTS[0], PROMPTS[1]
    keys = [
        PreparedPrompts.key(llama, with_passage, bare, edit(llama), "0.1"),
        PreparedPrompts.key(gpt2, with_passage, bare, edit(llama), "0.1"),
        PreparedPrompts.key(llama, with_passage, bare, edit(llama, 1), "0.1"),
        PreparedPrompts.key(llama, with_passage, bare, 2.0 * edit(llama), "0.1"),
        PreparedPrompts.key(llama, with_passage, bare, Intervention(), "0.1"),
        PreparedPrompts.key(llama, with_passage, bare, edit(llama), "0.2"),
        PreparedPrompts.key(llama, with_passage, PROMPTS[2], edit(llama), "0.1"),
        PreparedPrompts.key(llama, PROMPTS[2], bare, edit(llama), "0.1"),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == PreparedPrompts.key(llama, with_passage, bare, edit(llama), "0.1")


def test_a_torn_file_and_one_under_another_key_are_taken_for_absent(
    llama: HookedModel, prompts: PreparedPrompts
) -> None:
    path = prompts.keep("k", Prepared(read_prompt(llama, PROMPTS[0]), GATE))
    path.with_stem("other").write_bytes(path.read_bytes())
    assert prompts.find("other") is None
    path.write_bytes(path.read_bytes()[:-100])
    assert prompts.find("k") is None
