"""Projections and norms of the stream: numbers by hand, and laws on real models."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.analysis.difference import difference
from steering_lab.analysis.projection import angle, norm_profile, project, projection_profile, stream_change
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.interventions.steering import steer
from steering_lab.methods.actadd import actadd_vectors
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from tests.tiny_models import PROMPTS, random_vector


def direction_of(model: HookedModel) -> torch.Tensor:
    return random_vector(model, resid_pre(1)).rows[0]


# -- arithmetic -------------------------------------------------------------------------------------------------------
def test_a_projection_by_hand() -> None:
    resid = torch.tensor([[3.0, 4.0], [-3.0, 0.0], [4.0, -3.0]])
    assert project(resid, torch.tensor([30.0, 40.0])).tolist() == pytest.approx([5.0, -1.8, 0.0], abs=1e-6)


@given(st.floats(1e-3, 1e3), st.integers(0, 100))
def test_the_length_of_the_direction_does_not_matter_and_its_sign_does(length: float, seed: int) -> None:
    resid, direction = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(seed)).unbind(0)
    along = project(resid, direction[0])
    assert torch.allclose(project(resid, length * direction[0]), along, atol=1e-5)
    assert torch.allclose(project(resid, -direction[0]), -along, atol=1e-6)


def test_half_precision_is_projected_in_float32() -> None:
    resid = torch.ones(2, 64, dtype=torch.bfloat16)
    assert project(resid, torch.ones(64, dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("bad", [0.0, torch.inf, torch.nan])
def test_what_has_no_direction_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="cannot project onto a vector of length"):
        project(torch.ones(2), torch.tensor([bad, 0.0]))


def test_angles_by_hand_and_small_ones_keep_their_digits() -> None:
    left = torch.tensor([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [1.0, 0.0]])
    right = torch.tensor([[5.0, 0.0], [0.0, 3.0], [-1.0, 0.0], [1.0, 1e-5]])
    assert angle(left, right).tolist() == pytest.approx([0, 90, 180, 5.7296e-4], rel=1e-4)


# -- profiles ---------------------------------------------------------------------------------------------------------
@torch.no_grad()
def test_a_profile_is_the_stream_projected_token_by_token(model: HookedModel) -> None:
    direction = direction_of(model)
    table = projection_profile(model, PROMPTS, direction)
    assert list(table.drop_duplicates(["layer", "stream"])[["layer", "stream"]].itertuples(index=False, name=None)) == [
        (0, "resid_pre"),
        (0, "resid_post"),
        (1, "resid_post"),
        (2, "resid_post"),
    ]
    assert table["projection"].dtype == "float32"
    for i, prompt in enumerate(PROMPTS):
        tokens = model.to_tokens(prompt)
        resid = model.residuals(tokens, [resid_post(1)])[resid_post(1)][0]
        rows = table.query(f"prompt == {i} and layer == 1")
        assert rows["token"].tolist() == model.token_strings(tokens.ids[0].tolist())
        assert rows["position"].tolist() == list(range(len(rows)))
        assert rows["from_end"].tolist() == list(range(-len(rows), 0))
        assert rows["projection"].tolist() == pytest.approx((resid @ direction / direction.norm()).tolist(), abs=1e-5)
        assert rows["resid_norm"].tolist() == pytest.approx(resid.norm(dim=-1).tolist(), abs=1e-5)
        assert (rows["cosine"] * rows["resid_norm"]).tolist() == pytest.approx(rows["projection"].tolist(), abs=1e-5)


def test_padding_never_appears_and_batches_do_not_matter(llama: HookedModel) -> None:
    prompts = [*PROMPTS] * 7  # more than one batch
    table = projection_profile(llama, prompts, direction_of(llama), [resid_pre(1)])
    assert len(table) == 7 * sum(len(llama.token_ids(prompt)) for prompt in PROMPTS)
    assert table["prompt"].unique().tolist() == list(range(21))
    first, last = table.query("prompt == 1"), table.query("prompt == 19")
    assert first["token"].tolist() == last["token"].tolist()
    assert first["projection"].tolist() == pytest.approx(last["projection"].tolist(), abs=1e-5)


def test_ready_tokens_show_what_was_generated_behind_the_prompt(llama: HookedModel) -> None:
    tokens = llama.to_tokens(PROMPTS[:2], [[7, 8], [9]])
    table = projection_profile(llama, tokens, direction_of(llama), [resid_pre(1)])
    generated = table[table["generated"]]
    assert generated["prompt"].tolist() == [0, 0, 1]
    assert generated["token"].tolist() == llama.token_strings([7, 8, 9])
    assert generated["from_end"].tolist() == [-2, -1, -1]


@torch.no_grad()
def test_adding_a_vector_raises_the_projection_at_its_site_by_its_length_and_nothing_before(model: HookedModel) -> None:
    vector = random_vector(model, resid_pre(2))
    clean = projection_profile(model, PROMPTS, vector.rows[0])
    with steer(model, 2.0 * vector.everywhere()):
        steered = projection_profile(model, PROMPTS, vector.rows[0])
        at_site = projection_profile(model, PROMPTS, vector.rows[0], [resid_pre(2)])
    key = ["prompt", "layer", "stream", "position"]
    change = difference(steered, clean, by=key, of=["projection"])
    assert change.query("layer < 2")["projection"].abs().max() == 0
    site = difference(
        at_site, projection_profile(model, PROMPTS, vector.rows[0], [resid_pre(2)]), by=key, of=["projection"]
    )
    assert site["projection"].tolist() == pytest.approx([2 * vector.norm] * len(site), rel=1e-4)


def test_a_direction_of_another_width_is_refused(llama: HookedModel) -> None:
    with pytest.raises(ValueError, match="the direction is 8 wide, the stream of"):
        projection_profile(llama, "I", torch.ones(8))


# -- norms ------------------------------------------------------------------------------------------------------------
@torch.no_grad()
def test_a_vectors_rows_stand_beside_the_first_tokens_and_the_first_row_is_nothing(model: HookedModel) -> None:
    """ActAdd's figure: |row k| over |stream at token k|, at every layer; the beginning of text has no difference."""
    vectors = actadd_vectors(model, ContrastPair("Love", "Hate"), model.sites())
    table = norm_profile(model, PROMPTS, vectors)
    rows = len(vectors[resid_pre(0)].norms)
    assert table.groupby(["prompt", "layer"]).size().tolist() == [rows] * 9
    resid = model.residuals(model.to_tokens(PROMPTS[1]), [resid_pre(1)])[resid_pre(1)][0, :rows]
    wanted = vectors[resid_pre(1)].norms / resid.norm(dim=-1)
    found = table.query("prompt == 1 and layer == 1")["relative_norm"]
    assert found.tolist() == pytest.approx(wanted.tolist(), rel=1e-4)
    if model.prefix_ids:
        assert (table.query("position == 0")["relative_norm"] == 0).all()


def test_a_vector_of_one_row_stands_beside_every_token_and_scales(llama: HookedModel) -> None:
    vector = random_vector(llama, resid_post(1))
    once, thrice = (norm_profile(llama, PROMPTS[0], {vector.site: v}) for v in (vector, 3.0 * vector))
    assert len(once) == len(llama.token_ids(PROMPTS[0]))
    assert thrice["relative_norm"].tolist() == pytest.approx((3 * once["relative_norm"]).tolist(), rel=1e-5)


def test_vectors_must_be_filed_under_their_own_site(llama: HookedModel) -> None:
    with pytest.raises(ValueError, match=r"filed under resid_pre\(0\) belongs to resid_pre\(1\)"):
        norm_profile(llama, "I", {resid_pre(0): random_vector(llama, resid_pre(1))})
    with pytest.raises(ValueError, match="no vectors"):
        norm_profile(llama, "I", {})


# -- change -----------------------------------------------------------------------------------------------------------
def test_without_an_edit_nothing_changes(model: HookedModel) -> None:
    table = stream_change(model, PROMPTS)
    assert (table["norm_ratio"] == 1).all()
    assert (table["angle"] == 0).all()


@torch.no_grad()
def test_scaling_the_stream_changes_its_length_alone_and_a_turn_its_angle_alone(llama: HookedModel) -> None:
    site = [resid_pre(1)]
    with llama.hooks({resid_pre(1): lambda resid, forward_pass: 3 * resid}):
        longer = stream_change(llama, PROMPTS, site)
    assert longer["norm_ratio"].tolist() == pytest.approx([3] * len(longer), rel=1e-5)
    assert longer["angle"].max() < 1e-3
    with llama.hooks({resid_pre(1): lambda resid, forward_pass: -resid}):
        turned = stream_change(llama, PROMPTS, site)
    assert turned["norm_ratio"].tolist() == pytest.approx([1] * len(turned))
    assert turned["angle"].tolist() == pytest.approx([180] * len(turned), rel=1e-5)


@torch.no_grad()
def test_the_edit_is_in_force_again_after_the_clean_stream_was_read(llama: HookedModel) -> None:
    with steer(llama, random_vector(llama, resid_pre(1)).everywhere()):
        first, again = stream_change(llama, PROMPTS), stream_change(llama, PROMPTS)
    assert first["angle"].max() > 1
    assert first.equals(again)
    assert (first.query("layer == 0")["angle"] == 0).all()
