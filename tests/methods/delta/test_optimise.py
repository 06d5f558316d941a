"""Gradient steering: the loss falls, the weights stay, the result is steering vectors like any other."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from steering_lab.interventions.source import Source
from steering_lab.interventions.steering import steer
from steering_lab.interventions.steering_vector import SteeringVector, random_like
from steering_lab.methods.delta import optimise
from steering_lab.methods.delta.descent import Descent
from steering_lab.methods.delta.objectives import ContrastClosedBook, GroundedAnswer, ImitateInstructed, Objective
from steering_lab.methods.delta.optimise import optimise_delta
from steering_lab.methods.delta.result import OptimisedDelta, ensemble
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.models.scoring import forced_logits
from tests.tiny_models import PROMPTS, gap, hooked, n_hooks, placed, tiny_hf_model, tiny_tokenizer

THREE = ("gpt2", "llama", "gemma2")
SITES = [resid_pre(1), resid_post(1)]
ANSWERS = GroundedAnswer((" love", " sea", " joy"), (" hate", None, " night"))
CONTRAST = ContrastClosedBook(("I hate", "Love", "To be"), n_tokens=2)
SHORT = Descent(n_iterations=5)


def rows(delta: OptimisedDelta) -> torch.Tensor:
    return torch.stack([torch.cat([v.rows for v in result.vectors]) for result in delta.problems])


def steered_losses(
    model: HookedModel, delta: OptimisedDelta, objective: Objective, prompts: Sequence[str] = PROMPTS
) -> list[float]:
    """J as the ordinary way of steering gives it: `steer`, one uncached pass."""
    target = objective.target(model, prompts)
    tokens = model.pad([model.token_ids(p) for p in prompts], target.tokens)
    with torch.no_grad(), steer(model, delta.per_row()):
        log_probs = torch.log_softmax(model.logits(tokens).float(), dim=-1)
    own = [log_probs[i, -len(t) - 1 : -1] for i, t in enumerate(target.tokens)]
    return [float(target.take([i]).losses(own[i][None])[0]) for i in range(len(own))]


@pytest.mark.parametrize("name", THREE)
def test_the_loss_falls_and_steering_with_the_result_gives_that_loss(name: str) -> None:
    model = hooked(name)
    for objective in (ANSWERS, CONTRAST, ImitateInstructed(tuple("Say: " + p for p in PROMPTS), n_tokens=2)):
        delta = optimise_delta(model, PROMPTS, SITES, objective, descent=SHORT)
        for result, measured in zip(delta.problems, steered_losses(model, delta, objective), strict=True):
            assert result.losses[-1] < result.losses[0]
            assert measured == pytest.approx(result.losses[-1], abs=2e-4)
    answered = optimise_delta(model, PROMPTS, SITES, ANSWERS, descent=SHORT)
    assert all(o.losses[-1] < o.losses[0] - 0.5 for o in answered.problems)


@pytest.mark.parametrize("name", THREE)
def test_weights_hooks_and_gradient_mode_are_left_as_they_were(name: str) -> None:
    model = hooked(name)
    before, hooks = [w.clone() for w in model._parameters], n_hooks(model)
    with torch.no_grad():
        optimise_delta(model, PROMPTS, SITES, ANSWERS, descent=SHORT)
        assert not torch.is_grad_enabled()
    assert all(torch.equal(old, new) for old, new in zip(before, model._parameters, strict=True))
    assert not any(w.requires_grad or w.grad is not None for w in model._parameters)
    assert n_hooks(model) == hooks


def test_whatever_mode_or_steering_block_is_open_the_result_is_the_same(model: HookedModel) -> None:
    plain = optimise_delta(model, PROMPTS, SITES, CONTRAST, descent=SHORT)
    with torch.inference_mode():
        in_inference = optimise_delta(model, PROMPTS, SITES, CONTRAST, descent=SHORT)
    with steer(model, placed(model, resid_pre(0), "everywhere")):
        in_block = optimise_delta(model, PROMPTS, SITES, CONTRAST, descent=SHORT)
    assert torch.equal(rows(plain), rows(in_inference))
    assert torch.equal(rows(plain), rows(in_block))


@pytest.mark.parametrize("name", THREE)
def test_a_batch_of_problems_equals_its_singles(name: str) -> None:
    model = hooked(name)
    batch = optimise_delta(model, PROMPTS, SITES, ANSWERS, descent=SHORT)
    for i, prompt in enumerate(PROMPTS):
        alone = optimise_delta(model, prompt, SITES, ANSWERS.take([i]), descent=SHORT)
        assert gap(rows(alone)[0], rows(batch)[i]) < 1e-3
        assert alone.problems[0].forward_equivalents == batch.problems[i].forward_equivalents
    sliced = optimise_delta(model, PROMPTS, SITES, ANSWERS, descent=SHORT, batch_size=2)
    assert gap(rows(sliced), rows(batch)) < 1e-3


@pytest.mark.parametrize("name", ["qwen3_next", "recurrent_gemma", "phi3_longrope"])
def test_rows_and_caches_that_cannot_serve_are_gone_round_and_the_source_says_so(name: str) -> None:
    model = load_model(tiny_hf_model(name), tokenizer=tiny_tokenizer())
    delta = optimise_delta(model, PROMPTS, SITES, ANSWERS, descent=SHORT, batch_size=2)
    target = ANSWERS.target(model, PROMPTS)
    longest = max(map(len, target.tokens)) - 1
    for i, (result, own) in enumerate(zip(delta.problems, delta.per_row(), strict=True)):
        assert result.losses[-1] < result.losses[0] - 0.3
        with torch.no_grad(), steer(model, own):
            (logits,) = forced_logits(model, [model.token_ids(PROMPTS[i])], [target.tokens[i]])
        measured = target.take([i]).losses(torch.log_softmax(logits, dim=-1)[None])
        assert float(measured[0]) == pytest.approx(result.losses[-1], abs=2e-4)
        before = len(model.token_ids(PROMPTS[i])) - 1
        kept = name == "phi3_longrope" and model.batching.same(before, before + 1 + longest)
        passes = "from the last prompt token" if kept else "whole prompts"
        assert result.vectors[0].source.details["passes"] == passes
        alone = optimise_delta(model, PROMPTS[i], SITES, ANSWERS.take([i]), descent=SHORT)
        assert alone.problems[0].losses == pytest.approx(result.losses, abs=2e-3)


def test_a_shared_delta_is_one_for_all_and_lowers_the_mean(model: HookedModel) -> None:
    delta = optimise_delta(model, PROMPTS, SITES, ANSWERS, descent=SHORT, shared=True, batch_size=2)
    (result,) = delta.problems
    measured = steered_losses(model, delta, ANSWERS)
    assert sum(measured) / 3 == pytest.approx(result.losses[-1], abs=2e-4)
    assert result.losses[-1] < result.losses[0]
    norms = torch.stack([s[:, -1].norm(dim=-1) for s in model.residuals(model.to_tokens(PROMPTS), SITES).values()], 1)
    torch.testing.assert_close(torch.tensor(result.resid_norms), norms.median(dim=0).values)


def test_the_budget_holds_at_every_site(model: HookedModel) -> None:
    delta = optimise_delta(model, PROMPTS, SITES, ANSWERS, descent=Descent(max_norm=0.2))
    for result in delta.problems:
        for vector, relative, norm in zip(result.vectors, result.relative_norms, result.resid_norms, strict=True):
            assert vector.norm == pytest.approx(relative * norm, rel=1e-4)
            assert 0.05 < relative <= 0.2 * (1 + 1e-5)


def test_a_start_is_never_made_worse(model: HookedModel) -> None:
    source = Source.of(model, "by hand")
    init = [random_like(SteeringVector(torch.ones(1, 32) / 32, s, source), seed) for seed, s in enumerate(SITES)]
    alone = optimise_delta(model, PROMPTS, SITES, ANSWERS, descent=Descent(n_iterations=1, step=1e-9), init=init)
    torch.testing.assert_close(rows(alone)[0], torch.cat([v.rows for v in init]), atol=1e-6, rtol=0)
    for step in (0.1, 2.0):  # the second is too long
        warm = optimise_delta(model, PROMPTS, SITES, ANSWERS, descent=Descent(n_iterations=3, step=step), init=init)
        for result in warm.problems:
            assert result.losses[-1] <= result.losses[0]
    with pytest.raises(ValueError, match="one vector of one row for each site, in the order of the sites"):
        optimise_delta(model, PROMPTS, SITES, ANSWERS, init=init[::-1])
    with pytest.raises(ValueError, match="x the residual norm at its site"):
        optimise_delta(model, PROMPTS, SITES, ANSWERS, init=[1000 * v for v in init])


def test_kl_is_that_to_the_unsteered_model_and_can_be_capped(model: HookedModel) -> None:
    free = optimise_delta(model, PROMPTS, SITES, ANSWERS)
    capped = optimise_delta(model, PROMPTS, SITES, ANSWERS, descent=Descent(max_kl=0.05))
    assert max(o.kl for o in capped.problems) <= 0.05 < min(o.kl for o in free.problems)
    target = ANSWERS.target(model, PROMPTS)
    tokens = model.pad([model.token_ids(p) for p in PROMPTS], target.tokens)
    before = torch.log_softmax(model.logits(tokens), -1)
    with steer(model, free.per_row()):
        after = torch.log_softmax(model.logits(tokens), -1)
    for i, continuation in enumerate(target.tokens):
        p, q = (x[i, -len(continuation) - 1 : -1] for x in (before, after))
        assert float((p.exp() * (p - q)).sum(-1).mean()) == pytest.approx(free.problems[i].kl, abs=1e-4)


def test_behind_a_shut_gate_nothing_is_done(model: HookedModel) -> None:
    gated = optimise_delta(model, PROMPTS, SITES, CONTRAST, descent=SHORT, gate=[False, True, False])
    assert [len(one.terms) for one in gated.per_row()] == [0, 2, 0]
    plain = generate(model, list(PROMPTS), max_new_tokens=6)
    with steer(model, gated.per_row()):
        steered = generate(model, list(PROMPTS), max_new_tokens=6)
    assert [steered.tokens[0], steered.tokens[2]] == [plain.tokens[0], plain.tokens[2]]
    alone = optimise_delta(model, PROMPTS[1], SITES, CONTRAST.take([1]), descent=SHORT)
    assert gap(rows(alone)[0], rows(gated)[0]) < 1e-3
    shared = optimise_delta(model, PROMPTS, SITES, CONTRAST, descent=SHORT, gate=[True, False, True], shared=True)
    assert [len(one.terms) for one in shared.per_row()] == [2, 0, 2]
    assert optimise_delta(model, PROMPTS, SITES, CONTRAST, gate=[False] * 3).problems == ()


def test_the_cost_by_hand(model: HookedModel) -> None:
    objective = GroundedAnswer((" love",))
    delta = optimise_delta(model, PROMPTS[0], [resid_post(1)], objective, descent=Descent(n_iterations=3, patience=9))
    prompt, forced = len(model.token_ids(PROMPTS[0])), len(objective.target(model, PROMPTS[:1]).tokens[0])
    # One pass without a delta; four forth (3 of 3 layers) and back (twice the 1 layer above the site).
    by_hand = (prompt - 1 + forced * (1 + 4 * (1 + 2 * 1 / 3))) / prompt
    assert delta.problems[0].forward_equivalents == pytest.approx(by_hand)
    assert delta.problems[0].seconds > 0
    assert len(delta.table()) == 4


def test_the_source_remembers_what_determined_the_delta(model: HookedModel) -> None:
    (result,) = optimise_delta(model, PROMPTS[0], SITES, CONTRAST.take([0]), descent=SHORT).problems
    details = result.vectors[0].source.details
    assert result.vectors[0].source.recipe == "optimised delta (contrast closed book)"
    assert details["objective"] == {"name": "contrast closed book", "alpha": 1.0, "n_tokens": 2}
    assert details["descent"]["n_iterations"] == 5
    assert details["sites"] == [s.name for s in SITES]
    assert details["losses"] == result.losses


# -- the cache ------------------------------------------------------------------------------------------------------
def test_a_hit_computes_nothing_and_is_bit_for_bit(
    model: HookedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = optimise_delta(model, PROMPTS[:2], SITES, CONTRAST.take([0, 1]), descent=SHORT, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    # One prompt more: only that one is computed, in whatever order.
    more = optimise_delta(model, PROMPTS[::-1], SITES, CONTRAST.take([2, 1, 0]), descent=SHORT, cache=tmp_path)
    assert [o.cached for o in more.problems] == [False, True, True]
    assert torch.equal(rows(more)[2], rows(first)[0])
    passes: list[object] = []
    monkeypatch.setattr(type(model), "forward", lambda *args, **options: passes.append(args))
    again = optimise_delta(model, PROMPTS[:2], SITES, CONTRAST.take([0, 1]), descent=SHORT, cache=str(tmp_path))
    assert passes == []
    assert torch.equal(rows(again), rows(first))
    assert [o.losses for o in again.problems] == [o.losses for o in first.problems]
    assert [o.vectors[1].source.recipe for o in again.problems] == [o.vectors[1].source.recipe for o in first.problems]
    assert all(o.cached and o.forward_equivalents > 0 for o in again.problems)


def test_whatever_determines_the_delta_misses_when_it_changes(tmp_path: Path) -> None:
    llama, start = hooked("llama"), Source.of(hooked("llama"), "by hand")
    init = [SteeringVector(torch.full((1, 32), 0.01), s, start) for s in SITES]
    calls: list[dict] = [
        {},
        {"model": hooked("mistral_window")},
        {"prompts": PROMPTS[1]},
        {"sites": SITES[:1]},
        {"objective": ContrastClosedBook(("I hate",), alpha=0.5, n_tokens=2)},
        {"objective": ContrastClosedBook(("I",), n_tokens=2)},
        {"objective": GroundedAnswer((" love",))},
        {"descent": Descent(n_iterations=1, step=0.1)},
        {"shared": True},
        {"init": init},
    ]
    plain = {"model": llama, "prompts": PROMPTS[0], "sites": SITES, "objective": CONTRAST.take([0])}
    for count, changed in enumerate(calls, start=1):
        (result,) = optimise_delta(**{**plain, "descent": Descent(n_iterations=1), **changed}, cache=tmp_path).problems
        assert not result.cached
        assert len(list(tmp_path.glob("*.safetensors"))) == count


@pytest.mark.parametrize("kept", [0, 7, 300, -1])
def test_a_torn_file_is_ignored_and_written_anew(model: HookedModel, tmp_path: Path, kept: int) -> None:
    asked = (model, PROMPTS[0], SITES, CONTRAST.take([0]))
    whole = optimise_delta(*asked, descent=SHORT, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:kept])
    repaired = optimise_delta(*asked, descent=SHORT, cache=tmp_path)
    assert not repaired.problems[0].cached
    assert torch.equal(rows(repaired), rows(whole))
    assert optimise_delta(*asked, descent=SHORT, cache=tmp_path).problems[0].cached
    assert list(tmp_path.iterdir()) == [path]


# -- ensembles ------------------------------------------------------------------------------------------------------
def test_an_ensemble_is_the_mean_inside_the_budget_and_says_how_its_members_agree(model: HookedModel) -> None:
    members = [optimise_delta(model, PROMPTS, SITES, o, descent=SHORT) for o in (ANSWERS, CONTRAST)]
    merged = ensemble(members)
    torch.testing.assert_close(rows(merged), (rows(members[0]) + rows(members[1])) / 2)
    cosine = torch.nn.functional.cosine_similarity(rows(members[0])[2, 1], rows(members[1])[2, 1], dim=0)
    said = merged.problems[2].vectors[1].source.details["cosines_between_members"]
    assert said == {"mean": pytest.approx(float(cosine), abs=1e-4), "min": pytest.approx(float(cosine), abs=1e-4)}
    tight = ensemble(members, max_norm=0.01)
    assert all(r <= 0.01 * (1 + 1e-5) for o in tight.problems for r in o.relative_norms)
    assert math.isnan(merged.problems[0].kl)
    same = ensemble([members[0], members[0]])
    torch.testing.assert_close(rows(same), rows(members[0]))


def test_members_of_an_ensemble_have_to_match(model: HookedModel) -> None:
    member = optimise_delta(model, PROMPTS, SITES, CONTRAST, descent=Descent(n_iterations=1))
    with pytest.raises(ValueError, match="at least two members, not 1"):
        ensemble([member])
    other = optimise_delta(model, PROMPTS, SITES[:1], CONTRAST, descent=Descent(n_iterations=1))
    gated = optimise_delta(model, PROMPTS, SITES, CONTRAST, descent=Descent(n_iterations=1), gate=[True, True, False])
    for stranger in (other, gated):
        with pytest.raises(ValueError, match="share their prompts, gates, sites"):
            ensemble([member, stranger])


# -- the door ------------------------------------------------------------------------------------------------------
def test_calls_that_make_no_sense_are_refused_before_anything_runs(
    model: HookedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimise, "Batch", None)
    for change, said in (
        ({"prompts": PROMPTS[:2]}, "the objective is for 3 prompts, 2 were given"),
        ({"gate": [True]}, "1 gates for 3 prompts"),
        ({"sites": []}, "name at least one"),
        ({"sites": [SITES[0], SITES[0]]}, "none twice"),
        ({"sites": resid_pre(5)}, r"layer 5 is outside 0\.\.2"),
        ({"batch_size": 0}, "batch_size is 0"),
    ):
        with pytest.raises(ValueError, match=said):
            optimise_delta(**{"model": model, "prompts": PROMPTS, "sites": SITES, "objective": CONTRAST, **change})
