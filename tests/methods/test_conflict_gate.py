"""The gate: by hand on distributions, then on a tiny model whose answers are what they are."""

import math

import pytest
import torch

from steering_lab.interventions.steering import steer
from steering_lab.methods.conflict_gate import ConflictGate, conflict_gate
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.numerics.divergence import jensen_shannon
from tests.tiny_models import PROMPTS, gap, placed

BARE = ("I hate", "Love", "To be")
NOTHING_SAID = ("Zz.", "Zz.", "Zz.")


def test_a_gate_is_open_where_distributions_part_and_the_context_does_not_say_what_memory_says() -> None:
    gate = ConflictGate(torch.tensor([0.5, 0.5, 0.1, 0.2]), ("a", "b", "c", "d"), (False, True, False, False), 0.2)
    assert gate.open == [True, False, False, True]


def test_gated_off_queries_get_nothing_and_the_others_their_own(model: HookedModel) -> None:
    gate = ConflictGate(torch.tensor([0.5, 0.0, 0.5]), ("a", "b", "c"), (False, False, False), 0.2)
    each = [placed(model, resid_pre(1), "everywhere", seed) for seed in range(3)]
    chosen = gate.choose(each)
    assert chosen[0] is each[0]
    assert chosen[1].terms == ()
    assert chosen[2] is each[2]
    assert gate.choose(each[0], otherwise=each[1])[1] is each[1]
    with pytest.raises(ValueError, match="2 interventions for 3 queries"):
        gate.choose(each[:2])


def test_divergences_and_answers_are_the_unedited_models(model: HookedModel) -> None:
    gate = conflict_gate(model, PROMPTS, BARE, 0.1, contexts=NOTHING_SAID, batch_size=2)
    for i, (prompt, bare) in enumerate(zip(PROMPTS, BARE, strict=True)):
        left, right = (torch.log_softmax(model.logits(model.to_tokens(text))[0, -1], -1) for text in (prompt, bare))
        assert gap(gate.divergence[i], jensen_shannon(left, right)) < 1e-5
    assert list(gate.answers) == generate(model, list(BARE), max_new_tokens=8, stop=("\n", ".")).texts
    with steer(model, placed(model, resid_pre(0), "everywhere")):
        inside = conflict_gate(model, PROMPTS, BARE, 0.1, contexts=NOTHING_SAID, batch_size=2)
    assert torch.equal(inside.divergence, gate.divergence)
    assert inside.answers == gate.answers


def test_a_context_that_states_the_closed_book_answer_shuts_the_gate(
    model: HookedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = conflict_gate(model, PROMPTS, BARE, 0.0, contexts=NOTHING_SAID).answers
    monkeypatch.setattr(
        "steering_lab.methods.conflict_gate.generate",
        lambda model, prompts, **options: type(generate(model, prompts[0], max_new_tokens=1))(
            list(prompts), [" Oslo", " Bergen", " ..."], []
        ),
    )
    contexts = ("The capital is Oslo, they say.", "The capital is Bergenhus.", "The capital is ... Hamar.")
    gate = conflict_gate(model, PROMPTS, BARE, 0.0, contexts=contexts)
    assert gate.agrees == (True, False, False)  # whole words only; an answer of nothing is stated nowhere
    assert gate.open == [False, True, True]
    assert len(said) == 3


def test_the_same_prompt_twice_is_no_conflict(model: HookedModel) -> None:
    gate = conflict_gate(model, PROMPTS, PROMPTS, 1e-4, contexts=NOTHING_SAID)
    assert gate.open == [False, False, False]


def test_lists_that_do_not_match_and_thresholds_out_of_range_are_refused(model: HookedModel) -> None:
    with pytest.raises(ValueError, match="3 prompts with context, 2 closed book and 3 contexts"):
        conflict_gate(model, PROMPTS, BARE[:2], 0.1, contexts=NOTHING_SAID)
    for threshold in (-0.1, 0.7, math.nan):
        with pytest.raises(ValueError, match="must lie in"):
            conflict_gate(model, PROMPTS, BARE, threshold, contexts=NOTHING_SAID)
