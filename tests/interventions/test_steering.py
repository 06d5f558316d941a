"""The laws of steering, on every tiny architecture: what an edit does to the stream, and what it leaves alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from steering_lab.evaluation.running.condition import Condition
from steering_lab.interventions.formats.easysteer import export_easysteer
from steering_lab.interventions.intervention import Add, Edit, Intervention
from steering_lab.interventions.source import Source
from steering_lab.interventions.steering import steer
from steering_lab.interventions.steering_vector import SteeringVector, ablate, clamp, preserving_norm
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import HookSite, resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.models.sampling import Sampling
from tests.tiny_models import (
    ARCHITECTURES,
    KINDS,
    MODELS,
    ON_BOTH,
    PROMPTS,
    RULES,
    gap,
    hf_logits,
    hf_pre_hooks,
    hooked,
    left_without_hooks,
    n_hooks,
    placed,
    plain,
    random_vector,
    real,
    single,
    tiny_hf_model,
    tokenizer_of,
)

SITES = [resid_pre(0), resid_pre(1), resid_post(1), resid_post(2)]


@pytest.fixture(params=ON_BOTH)
def model(request: pytest.FixtureRequest) -> Iterator[HookedModel]:
    """Every architecture by each of its runtimes; none may keep a hook after a test."""
    with left_without_hooks(*request.param) as model:
        yield model


# -- against plain Hugging Face ---------------------------------------------------------------------------------------
def by_hand(model: HookedModel, rule: str, rows: torch.Tensor, resid: torch.Tensor) -> torch.Tensor:
    """`resid` of a left-padded batch after adding `rows` by indexing, each row's padding counted off."""
    resid, n_rows = resid.clone(), rows.shape[0]
    lengths = [len(model.token_ids(p)) for p in PROMPTS]
    for i, length in enumerate(lengths):
        first = resid.shape[1] - length
        start = {"at_front": 0, "at(1)": 1, "at(-3)": length - 3, "at(-1)": length - 1}.get(rule)
        if start is not None:
            resid[i, first + start : first + start + n_rows] += rows
        elif rule == "everywhere":
            resid[i, first:] += rows[0]
        elif rule == "from_last_prompt_token":
            resid[i, -1] += rows[0]
    return resid


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", [*MODELS[:-1]])
@torch.no_grad()
def test_steered_logits_equal_plain_hugging_face_with_the_same_vector(name: str, rule: str) -> None:
    model, hf = hooked(name), plain(name)
    tokens = model.to_tokens(PROMPTS)
    intervention = placed(model, resid_pre(1), rule)
    rows = intervention.terms[0].edit.rows
    with steer(model, intervention):
        ours = model.logits(tokens)
    with hf_pre_hooks(hf, {1: lambda resid: by_hand(model, rule, rows, resid)}):
        theirs = hf_logits(hf, tokens)
    assert gap(real(ours, tokens), real(theirs, tokens)) <= 1e-5
    if rule != "generated":
        assert gap(real(ours, tokens), real(hf_logits(hf, tokens), tokens)) > 1e-2


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradients_reach_the_rows_through_frozen_weights_and_equal_hugging_faces(name: str) -> None:
    model, hf = hooked(name), plain(name)
    tokens = model.to_tokens(PROMPTS)
    start = random_vector(model, resid_pre(1), 3).rows
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    with steer(model, 2.0 * Add(ours, resid_pre(1)).at_front()):
        model.logits(tokens)[:, -1].logsumexp(-1).sum().backward()
    with hf_pre_hooks(hf, {1: lambda resid: by_hand(model, "at_front", 2.0 * theirs, resid)}):
        hf_logits(hf, tokens)[:, -1].logsumexp(-1).sum().backward()
    hf.zero_grad()
    assert ours.grad is not None
    assert theirs.grad is not None
    assert gap(ours.grad, theirs.grad) <= 1e-5 * max(1.0, float(theirs.grad.abs().max()))
    assert float(ours.grad.abs().max()) > 1e-4
    assert all(p.grad is None for p in model.backend.parameters())


# -- what an edit does to the stream ----------------------------------------------------------------------------------
@pytest.mark.parametrize("site", SITES, ids=str)
@torch.no_grad()
def test_add_moves_the_stream_by_exactly_coeff_times_vector(model: HookedModel, site: HookSite) -> None:
    tokens = model.to_tokens(PROMPTS)
    vector = random_vector(model, site, 3)
    clean = model.residuals(tokens, [site])[site]
    with steer(model, 2.5 * vector.at_front()):
        steered = model.residuals(tokens, [site])[site]
    for i, length in enumerate(tokens.prompt_lengths.tolist()):
        moved = (steered - clean)[i, -length:]
        assert gap(moved[:3], 2.5 * vector.rows) <= 1e-5
        assert torch.equal(steered[i, -length + 3 :], clean[i, -length + 3 :])


ALL_RULES = [rule for rule in [*RULES, *KINDS] for _ in PROMPTS]  # each on every prompt, as rows of one batch
ALL_PROMPTS = [*PROMPTS] * (len(ALL_RULES) // len(PROMPTS))


@torch.no_grad()
def test_zero_coefficient_is_the_unsteered_model(model: HookedModel) -> None:
    tokens = model.to_tokens(ALL_PROMPTS)
    clean = model.logits(tokens)
    edits = [placed(model, resid_pre(1), rule) for rule in ALL_RULES]
    with steer(model, [0.0 * edit for edit in edits]):
        assert torch.equal(model.logits(tokens), clean)
    with steer(model, 0.0 * edits[-1]):
        assert torch.equal(model.logits(tokens), clean)
    with steer(model, Intervention()):
        assert torch.equal(model.logits(tokens), clean)
    with steer(model, [edit - edit for edit in edits]):
        assert gap(real(model.logits(tokens), tokens), real(clean, tokens)) <= 1e-5


@torch.no_grad()
def test_activations_before_the_steered_site_are_untouched(model: HookedModel) -> None:
    tokens = model.to_tokens(PROMPTS)
    sites = [resid_pre(0), resid_post(0), resid_pre(1)]
    clean = model.residuals(tokens, [*sites, resid_post(1)])
    with steer(model, 3.0 * random_vector(model, resid_post(1)).everywhere()):
        steered = model.residuals(tokens, [*sites, resid_post(1)])
    for site in sites:
        assert torch.equal(steered[site], clean[site])
    assert gap(steered[resid_post(1)], clean[resid_post(1)]) > 0.1


@torch.no_grad()
def test_tokens_before_the_steered_position_are_untouched(model: HookedModel) -> None:
    tokens = model.to_tokens(PROMPTS[0])
    clean = model.logits(tokens)
    with steer(model, 3.0 * random_vector(model, resid_pre(1)).at(4)):
        steered = model.logits(tokens)
    assert torch.equal(steered[:, :4], clean[:, :4])
    assert gap(steered[:, 4], clean[:, 4]) > 1e-3


@torch.no_grad()
def test_a_cache_taken_before_is_not_the_steered_tensor(model: HookedModel) -> None:
    """The authors' hook edits in place, so that resid_post(0) shows what was added at resid_pre(1)."""
    tokens = model.to_tokens(PROMPTS)
    seen: list[torch.Tensor] = []

    def keep(resid: torch.Tensor, forward_pass: object) -> torch.Tensor:
        seen.append(resid)
        return resid

    clean = model.residuals(tokens, [resid_post(0)])[resid_post(0)]
    with model.hooks({resid_post(0): keep}), steer(model, random_vector(model, resid_pre(1)).everywhere()):
        model.logits(tokens)
    assert torch.equal(seen[0], clean)


@torch.no_grad()
def test_half_an_ablation_removes_half(model: HookedModel) -> None:
    tokens = model.to_tokens(PROMPTS)
    site = resid_pre(2)
    vector = random_vector(model, site)
    direction = vector.unit().rows[0]
    clean = real(model.residuals(tokens, [site])[site], tokens)
    for share in (0.5, 1.0):
        with steer(model, share * ablate(vector).everywhere()):
            steered = real(model.residuals(tokens, [site])[site], tokens)
        assert gap(steered @ direction, (1 - share) * (clean @ direction)) <= 1e-5
        across = clean - (clean @ direction)[:, None] * direction
        assert gap(steered - (steered @ direction)[:, None] * direction, across) <= 1e-5


@torch.no_grad()
def test_a_clamp_sets_the_projection_and_nothing_else(model: HookedModel) -> None:
    tokens = model.to_tokens(PROMPTS)
    site = resid_pre(1)
    vector = random_vector(model, site)
    direction = vector.unit().rows[0]
    clean = real(model.residuals(tokens, [site])[site], tokens)
    with steer(model, clamp(vector, 1.25).everywhere()):
        steered = real(model.residuals(tokens, [site])[site], tokens)
    assert gap(steered @ direction, torch.tensor(1.25)) <= 1e-5
    assert gap(steered - clean, (1.25 - clean @ direction)[:, None] * direction) <= 1e-5


@torch.no_grad()
def test_preserving_norm_adds_and_keeps_the_length(model: HookedModel) -> None:
    tokens = model.to_tokens(PROMPTS)
    site = resid_pre(1)
    vector = random_vector(model, site)
    clean = real(model.residuals(tokens, [site])[site], tokens)
    with steer(model, preserving_norm(vector).everywhere()):
        steered = real(model.residuals(tokens, [site])[site], tokens)
    assert torch.allclose(steered.norm(dim=-1), clean.norm(dim=-1), rtol=1e-5)
    summed = clean + vector.rows
    assert gap(steered, summed * (clean.norm(dim=-1) / summed.norm(dim=-1))[:, None]) <= 1e-5


@torch.no_grad()
def test_order_of_addition_does_not_matter(model: HookedModel) -> None:
    tokens = model.to_tokens(PROMPTS)
    terms = [
        placed(model, site, rule, seed) for seed, rule in enumerate(KINDS) for site in (resid_pre(1), resid_post(1))
    ]
    terms += [placed(model, resid_pre(1), rule, 7) for rule in RULES]
    with steer(model, sum(terms, Intervention())):
        forward = real(model.logits(tokens), tokens)
    with steer(model, sum(reversed(terms), Intervention())):
        backward = real(model.logits(tokens), tokens)
    assert gap(forward, backward) <= 1e-4


@torch.no_grad()
def test_every_delta_of_a_sum_sees_the_unedited_stream(model: HookedModel) -> None:
    """Ablating and adding the same direction: + superposes, nesting composes."""
    tokens = model.to_tokens(PROMPTS)
    site = resid_pre(1)
    vector = random_vector(model, site)
    direction = vector.unit().rows[0]
    with steer(model, vector.everywhere() + ablate(vector).everywhere()):
        superposed = real(model.residuals(tokens, [site])[site], tokens) @ direction
    with steer(model, vector.everywhere()), steer(model, ablate(vector).everywhere()):
        ablated_last = real(model.residuals(tokens, [site])[site], tokens) @ direction
    with steer(model, ablate(vector).everywhere()), steer(model, vector.everywhere()):
        added_last = real(model.residuals(tokens, [site])[site], tokens) @ direction
    assert gap(superposed, torch.tensor(vector.norm)) <= 1e-5
    assert gap(ablated_last, torch.tensor(0.0)) <= 1e-5
    assert gap(added_last, torch.tensor(vector.norm)) <= 1e-5


@torch.no_grad()
def test_two_directions_at_one_site_are_both_removed_by_one_sum(model: HookedModel) -> None:
    tokens = model.to_tokens(PROMPTS)
    site = resid_pre(1)
    one = SteeringVector(torch.eye(model.d_model)[:1], site, Source.of(model, "axis 0"))
    two = SteeringVector(torch.eye(model.d_model)[5:6], site, Source.of(model, "axis 5"))
    with steer(model, ablate(one).everywhere() + clamp(two, 2.0).everywhere() + clamp(one, 3.0).everywhere()):
        steered = real(model.residuals(tokens, [site])[site], tokens)
    clean = real(model.residuals(tokens, [site])[site], tokens)
    assert gap(steered[:, 5], torch.tensor(2.0)) <= 1e-5
    assert gap(steered[:, 0], 3.0 - clean[:, 0]) <= 1e-5  # both deltas count from the unedited stream
    assert gap(steered[:, 1:5], clean[:, 1:5]) == 0


@torch.no_grad()
def test_steering_resid_post_equals_steering_the_next_resid_pre(model: HookedModel) -> None:
    tokens = model.to_tokens(ALL_PROMPTS)
    with steer(model, [placed(model, resid_post(0), rule) for rule in ALL_RULES]):
        post = model.logits(tokens)
    with steer(model, [placed(model, resid_pre(1), rule) for rule in ALL_RULES]):
        pre = model.logits(tokens)
    assert gap(real(post, tokens), real(pre, tokens)) <= 1e-6


# -- batches ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rule", [*RULES, *KINDS])
@torch.no_grad()
def test_a_left_padded_batch_equals_its_singles(model: HookedModel, rule: str) -> None:
    batch = model.pad([model.token_ids(p) for p in PROMPTS], [[5, 6, 7, 8], [9], []])
    with steer(model, placed(model, resid_pre(1), rule)):
        together = model.logits(batch)
        assert bool(torch.isfinite(together).all())
        for i in range(len(batch)):
            alone = model.logits(single(model, batch, i))[0]
            assert gap(together[i, -alone.shape[0] :], alone) <= 1e-5


@torch.no_grad()
def test_rows_may_carry_their_own_sites_vectors_kinds_and_coefficients(model: HookedModel) -> None:
    tokens = model.to_tokens(PROMPTS)
    own = [
        2.0 * placed(model, resid_pre(0), "at_front") - 0.5 * placed(model, resid_post(2), "clamp"),
        Intervention(),
        placed(model, resid_pre(1), "preserving_norm rows") + placed(model, resid_pre(0), "everywhere", 3),
    ]
    with steer(model, own):
        together = model.logits(tokens)
    for i in range(3):
        with steer(model, own[i]):
            alone = model.logits(single(model, tokens, i))[0]
        assert gap(together[i, -alone.shape[0] :], alone) <= 1e-5


@dataclass(frozen=True, eq=False)
class Push(Edit):
    """delta = by * row: an edit of a user's own, with a setting that no other edit has."""

    by: float = 1.0

    def delta(self, resid: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        return self.by * row


class Twice(Add):
    """delta = 2 row: a user's edit that is an addition by its class and not by what it does."""

    def delta(self, resid: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        return 2 * row


@pytest.mark.parametrize("to", [float("nan"), float("inf"), -float("inf")])
def test_a_clamp_to_no_finite_number_is_refused(model: HookedModel, to: float) -> None:
    with pytest.raises(ValueError, match=f"clamp to {to}: the projection that is set must be finite"):
        clamp(random_vector(model, resid_pre(1)), to)


def test_the_sum_at_a_site_must_be_one_that_the_stream_can_hold() -> None:
    half = load_model(tiny_hf_model("gpt2").half(), tokenizer=tokenizer_of("gpt2"))
    vector = 6000 * random_vector(half, resid_pre(1)).unit()
    there, front = vector.everywhere(), vector.at_front()
    refused = [50 * there, -11 * there, 10 * there + 8 * front, 6 * there + 6 * there, clamp(vector, 1e5).everywhere()]
    for one in [*refused, [there, 50 * there]]:
        with pytest.raises(ValueError, match=r"is .* long, which a stream in torch\.float16 cannot hold: stay below"):
            steer(half, one)
    for one in (10 * there, 50 * there - 48 * there, 20 * ablate(vector).everywhere(), 0 * there):
        steer(half, one)


def test_a_sum_of_terms_that_are_each_short_enough_is_refused_in_float32_too(model: HookedModel) -> None:
    vector = 8e18 * random_vector(model, resid_pre(1)).unit()
    for one in (vector.everywhere() + vector.at_front(), vector.everywhere() + vector.everywhere()):
        with pytest.raises(ValueError, match=r"1\.6e\+19 long, which a stream in torch\.float32 cannot hold"):
            steer(model, one)


def pushes(model: HookedModel) -> list[Intervention]:
    vector, site = random_vector(model, resid_pre(1)), resid_pre(1)
    edits = [Push(vector.rows, site, by=1.0), Push(vector.rows, site, by=5.0), Twice(vector.rows, site)]
    return [edit.everywhere() for edit in edits]


@torch.no_grad()
def test_rows_that_differ_in_a_setting_of_a_users_own_edit_equal_their_singles(model: HookedModel) -> None:
    own = pushes(model)
    tokens = model.to_tokens([PROMPTS[0]] * len(own))
    with steer(model, own):
        together = model.logits(tokens)
    for i, one in enumerate(own):
        with steer(model, one):
            assert gap(together[i], model.logits(single(model, tokens, i))[0]) <= 1e-5
    assert min(gap(together[i], together[j]) for i, j in ((0, 1), (1, 2), (0, 2))) > 1e-3


def test_text_written_under_a_users_own_edits_equals_their_singles(model: HookedModel) -> None:
    own = [20 * one for one in pushes(model)]
    with steer(model, own):
        together = generate(model, [PROMPTS[0]] * len(own), max_new_tokens=6).tokens
    for i, one in enumerate(own):
        with steer(model, one):
            assert generate(model, PROMPTS[0], max_new_tokens=6).tokens[0] == together[i]


class Turned(Add):
    """delta = row - 2 resid: a user's edit that is an addition by its class and reads the stream."""

    def delta(self, resid: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        return row - 2 * resid


@torch.no_grad()
def test_a_users_addition_that_reads_the_stream_reads_it_at_every_step(model: HookedModel) -> None:
    own = Turned(random_vector(model, resid_pre(1)).rows, resid_pre(1)).everywhere()
    ids = model.token_ids(PROMPTS[0])
    with steer(model, own):
        written = generate(model, PROMPTS[0], max_new_tokens=6).tokens[0]
        whole = model.logits(model.pad([ids], [written]))[0]  # all tokens in one forward pass
    assert whole[len(ids) - 1 : -1].argmax(-1).tolist() == written


@torch.no_grad()
def test_a_row_needs_room_for_its_own_vector_only(gpt2: HookedModel) -> None:
    """Vectors of unequal length share a batch: the long one must not ask the short prompt for room."""
    short, long = random_vector(gpt2, resid_pre(1), 2), random_vector(gpt2, resid_pre(1), 8)
    tokens = gpt2.pad([[0, 40, 41], list(range(40, 52)), [0]])
    own = [short.at_front(), long.at_front(), Intervention()]
    with steer(gpt2, own):
        together = gpt2.logits(tokens)
    for i in range(3):
        with steer(gpt2, own[i]):
            alone = gpt2.logits(single(gpt2, tokens, i))[0]
        assert gap(together[i, -alone.shape[0] :], alone) <= 1e-5
    with pytest.raises(ValueError, match="8 tokens from position 0, prompt 1 is 3"), steer(gpt2, [own[0], own[1]]):
        gpt2.logits(gpt2.pad([[0, 40, 41], [0, 40, 41]]))


def test_a_batched_grid_equals_the_loop_over_cells(model: HookedModel) -> None:
    cells = [
        coeff * random_vector(model, site, 3, seed=i).at_front()
        for i, site in enumerate([resid_pre(0), resid_pre(1), resid_post(2)])
        for coeff in (-4.0, 1.0, 4.0)
    ] + [placed(model, resid_pre(1), rule) for rule in KINDS]
    prompt, sampling = PROMPTS[0], Sampling(temperature=1.0, top_p=0.9, freq_penalty=0.5)
    with steer(model, cells):
        grid = generate(model, [prompt] * len(cells), max_new_tokens=6, sampling=sampling, seed=[3] * len(cells))
    loop = []
    for cell in cells:
        with steer(model, cell):
            loop.append(generate(model, prompt, max_new_tokens=6, sampling=sampling, seed=[3]).tokens[0])
    assert grid.tokens == loop
    assert len({tuple(row) for row in loop}) > 3


def test_batch_size_does_not_matter_even_to_rows_with_their_own_edits(model: HookedModel) -> None:
    prompts = [PROMPTS[i % 3] for i in range(6)]
    own = [placed(model, resid_pre(1), rule, i) for i, rule in enumerate([*RULES][:6])]
    with steer(model, own):
        whole, *parts = [generate(model, prompts, max_new_tokens=5, batch_size=size) for size in (6, 1, 4)]
    assert all(part.tokens == whole.tokens for part in parts)


# -- hooks and blocks -------------------------------------------------------------------------------------------------
def leave_normally(model: HookedModel) -> None:
    with steer(model, random_vector(model, resid_pre(1)).everywhere()):
        model.logits(model.to_tokens("I hate"))


def leave_by_exception(model: HookedModel) -> None:
    with pytest.raises(ZeroDivisionError), steer(model, random_vector(model, resid_pre(1)).everywhere()):
        _ = 1 / 0


def leave_by_interrupt(model: HookedModel) -> None:
    with pytest.raises(KeyboardInterrupt), steer(model, random_vector(model, resid_pre(1)).everywhere()):
        raise KeyboardInterrupt


def enter_at_a_bad_site(model: HookedModel) -> None:
    both = random_vector(model, resid_pre(1)).everywhere() + random_vector(model, resid_pre(99)).everywhere()
    with pytest.raises(ValueError, match=r"layer 99 is outside 0\.\.2"), steer(model, both):
        pytest.fail("the block must not be entered")


def fail_in_a_nested_block(model: HookedModel) -> None:
    outer, inner = random_vector(model, resid_pre(0)), random_vector(model, resid_post(1), 2)
    before = n_hooks(model)
    with steer(model, outer.everywhere()):
        between = n_hooks(model)
        with pytest.raises(ValueError, match="prompt 0 is 1"), steer(model, inner.at_front()):
            model.logits(model.pad([[7]]))
        assert n_hooks(model) == between > before


def fail_inside_a_hook(model: HookedModel) -> None:
    def broken(resid: torch.Tensor, forward_pass: object) -> torch.Tensor:
        raise ArithmeticError("broken edit")

    with pytest.raises(ArithmeticError), model.hooks({resid_pre(1): broken}):
        model.logits(model.to_tokens("I hate"))


def interrupt_a_generation(model: HookedModel) -> None:
    def interrupted(resid: torch.Tensor, forward_pass: object) -> torch.Tensor:
        raise KeyboardInterrupt

    with steer(model, random_vector(model, resid_pre(0)).everywhere()):
        with pytest.raises(KeyboardInterrupt), model.hooks({resid_pre(1): interrupted}):
            generate(model, "I hate", max_new_tokens=3)
        with pytest.raises(KeyboardInterrupt), model.hooks({resid_pre(1): interrupted}):
            model.residuals(model.to_tokens("I hate"), [resid_pre(2)])


@pytest.mark.parametrize(
    "leave",
    [
        leave_normally,
        leave_by_exception,
        leave_by_interrupt,
        enter_at_a_bad_site,
        fail_in_a_nested_block,
        fail_inside_a_hook,
        interrupt_a_generation,
    ],
)
@torch.no_grad()
def test_no_hook_outlives_the_with_block(model: HookedModel, leave: object) -> None:
    tokens = model.to_tokens(PROMPTS)
    clean, before = model.logits(tokens), n_hooks(model)
    leave(model)  # type: ignore[operator]
    assert n_hooks(model) == before
    assert torch.equal(model.logits(tokens), clean)


@torch.no_grad()
def test_hooks_are_there_inside_the_block(model: HookedModel) -> None:
    before = n_hooks(model)
    with steer(model, random_vector(model, resid_pre(1)).everywhere()):
        assert n_hooks(model) > before


@torch.no_grad()
def test_nested_blocks_add_up_and_the_outer_one_survives_the_inner(model: HookedModel) -> None:
    tokens = model.to_tokens(PROMPTS)
    a, b = placed(model, resid_pre(1), "everywhere"), placed(model, resid_pre(2), "at_front")
    with steer(model, a):
        outer = model.logits(tokens)
        with steer(model, b):
            nested = model.logits(tokens)
        assert torch.equal(model.logits(tokens), outer)
    with steer(model, a + b):
        assert gap(real(model.logits(tokens), tokens), real(nested, tokens)) <= 1e-6


@torch.no_grad()
def test_looking_inside_a_block_shows_the_edit_and_leaves_it_in_force(model: HookedModel) -> None:
    """Reading inside a steering block once removed the steering hook (TransformerLens issue 1636)."""
    tokens = model.to_tokens(PROMPTS)
    site = resid_pre(1)
    vector = random_vector(model, site)
    clean = model.residuals(tokens, [site])[site]
    with steer(model, vector.everywhere()):
        first = model.logits(tokens)
        shown = model.residuals(tokens, [site])[site]
        assert torch.equal(model.logits(tokens), first)
    assert gap(real(shown - clean, tokens), vector.rows) <= 1e-6


@torch.no_grad()
def test_unedited_is_the_model_without_any_edit_and_only_for_its_block(model: HookedModel) -> None:
    tokens = model.to_tokens(PROMPTS)
    clean = model.logits(tokens)
    with steer(model, random_vector(model, resid_pre(0)).everywhere()):
        steered = model.logits(tokens)
        with model.unedited():
            assert torch.equal(model.logits(tokens), clean)
            with model.unedited():
                assert torch.equal(model.logits(tokens), clean)
            assert torch.equal(model.logits(tokens), clean)
        assert torch.equal(model.logits(tokens), steered)
    assert gap(steered, clean) > 1e-2


PLACES = r"\.at_front\(\), \.everywhere\(\) or \.from_last_prompt_token\(\)"
UNPLACED: dict[str, tuple[Callable[[SteeringVector], Any], str]] = {
    "a vector": (lambda v: v, r"SteeringVector\(random 1 at .* has no place yet: say at which tokens it acts, with "),
    "an edit": (lambda v: ablate(v), "ablate random 1 has no place yet: say at which tokens it acts, with "),
    "nothing": (lambda v: None, "a NoneType is no intervention: place a vector with "),
    "its rows": (lambda v: v.rows, "a Tensor is no intervention: place a vector with "),
}


@pytest.mark.parametrize("kind", UNPLACED)
def test_what_has_no_place_is_refused_with_the_places_there_are(model: HookedModel, kind: str, tmp_path: Path) -> None:
    vector = random_vector(model, resid_pre(1))
    make, said = UNPLACED[kind]
    given, refused = make(vector), pytest.raises(ValueError, match=f"^{said}{PLACES}$")
    for steered in (given, [vector.everywhere(), given]):
        with refused, steer(model, steered):
            pytest.fail("the block must not be entered")
    for edited in (given, {"a": vector.everywhere(), "b": given}):
        with refused:
            Condition("c", edited)
    with refused:
        export_easysteer(given, tmp_path / "spec.json")


def test_a_bare_backend_call_inside_a_block_is_refused_and_leaves_no_hook(model: HookedModel) -> None:
    tokens, before = model.to_tokens("I hate"), n_hooks(model)
    with steer(model, random_vector(model, resid_pre(1)).everywhere()):
        with pytest.raises(RuntimeError, match=r"call model\.logits, model\.residuals, generate"):
            model.backend(tokens.ids)
        inside = n_hooks(model)
    assert n_hooks(model) == before < inside


@torch.no_grad()
def test_two_models_steered_at_once_do_not_meet() -> None:
    left, right = hooked("gpt2"), hooked("llama")
    tokens = left.to_tokens("I hate you")
    with steer(left, placed(left, resid_pre(1), "everywhere")):
        alone = left.logits(tokens)
        with steer(right, placed(right, resid_pre(1), "everywhere", 5)):
            assert torch.equal(left.logits(tokens), alone)


# -- weights and objects of the caller --------------------------------------------------------------------------------
def facts_of(tokenizer: Any) -> tuple:
    options = dict(tokenizer.init_kwargs)
    return tokenizer.pad_token, tokenizer.bos_token, tokenizer.padding_side, len(tokenizer), options


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_steering_leaves_weights_and_the_callers_model_and_tokenizer_untouched(name: str) -> None:
    hf, tokenizer = tiny_hf_model(name).train(), tokenizer_of(name)
    hf.requires_grad_(True)
    weights = {key: value.clone() for key, value in hf.state_dict().items()}
    facts = (
        tokenizer.pad_token,
        tokenizer.bos_token,
        tokenizer.padding_side,
        len(tokenizer),
        dict(tokenizer.init_kwargs),
    )
    attention = hf.config._attn_implementation
    model = load_model(hf, tokenizer=tokenizer)
    with steer(model, 50.0 * placed(model, resid_pre(1), "a sum of all")):
        generate(model, PROMPTS, max_new_tokens=3)
    after = hf.state_dict()
    assert list(after) == list(weights)
    assert all(torch.equal(after[key], value) for key, value in weights.items())
    now = (
        tokenizer.pad_token,
        tokenizer.bos_token,
        tokenizer.padding_side,
        len(tokenizer),
        dict(tokenizer.init_kwargs),
    )
    assert now == facts
    assert hf.training
    assert all(p.requires_grad for p in hf.parameters())
    assert hf.config._attn_implementation == attention
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in hf.modules())


# -- numerics ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
@torch.no_grad()
def test_a_float32_vector_steers_a_model_of_half_the_width(name: str, dtype: torch.dtype) -> None:
    model = load_model(tiny_hf_model(name).to(dtype), tokenizer=tokenizer_of(name))
    tokens = model.to_tokens(PROMPTS)
    site = resid_pre(1)
    vector = random_vector(model, site)
    assert model.dtype == dtype
    clean = model.residuals(tokens, [site])[site]
    with steer(model, vector.everywhere()):
        steered = model.residuals(tokens, [site])[site]
        logits = model.logits(tokens)
        text = generate(model, PROMPTS, max_new_tokens=3, log_probs=True)
    assert steered.dtype == logits.dtype == dtype
    assert torch.equal(real(steered, tokens), real(clean, tokens) + vector.rows.to(dtype))
    assert bool(torch.isfinite(real(logits, tokens)).all())
    assert text.log_probs is not None
    assert torch.isfinite(torch.tensor(text.log_probs[0])).all()


# -- errors at the door -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [2, 4])
def test_as_many_interventions_as_rows_or_one_for_all(gpt2: HookedModel, count: int) -> None:
    own = [placed(gpt2, resid_pre(1), "everywhere", i) for i in range(count)]
    with steer(gpt2, own):
        with pytest.raises(ValueError, match=rf"{count} interventions for a batch of 3 rows"):
            gpt2.logits(gpt2.to_tokens(PROMPTS))
        with pytest.raises(ValueError, match=rf"{count} interventions for a batch of 3 rows"):
            generate(gpt2, PROMPTS, max_new_tokens=2, batch_size=1)


@pytest.mark.parametrize("start", [0, 5, -2])
def test_a_prompt_too_short_for_the_rows_is_an_error_unless_clipped(gpt2: HookedModel, start: int) -> None:
    vector = random_vector(gpt2, resid_pre(1), 3)
    tokens = gpt2.pad([[0, 40, 41, 42, 43], list(range(40, 60))])
    place = start if start else 3
    with pytest.raises(ValueError, match=r"3 tokens from position .*, prompt 0 is 5"), steer(gpt2, vector.at(place)):
        gpt2.logits(tokens)
    clean = gpt2.residuals(tokens, [resid_pre(1)])[resid_pre(1)]
    with steer(gpt2, vector.at(place, too_long="clip")):
        moved = gpt2.residuals(tokens, [resid_pre(1)])[resid_pre(1)] - clean
    first = place if place >= 0 else 5 + place
    kept = [(first + k, k) for k in range(3) if first + k < 5]
    for position in range(5):
        wanted = next((vector.rows[k] for p, k in kept if p == position), torch.zeros(32))
        assert gap(moved[0, 15 + position], wanted) <= 1e-6
