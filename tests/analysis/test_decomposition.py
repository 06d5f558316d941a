"""An edit's effect is what it wrote plus what attention and MLP layers changed: the parts sum to the whole."""

import pytest
import torch

from steering_lab.analysis.decomposition import (
    FINAL_NORM,
    PARTS,
    decompose,
    direct_path,
    effect_decomposition,
    logit_decomposition,
)
from steering_lab.analysis.projection import projection_profile
from steering_lab.interventions.steering import steer
from steering_lab.interventions.steering_vector import ablate
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from tests.tiny_models import PROMPTS, RULES, gap, placed, random_vector, real


@pytest.mark.parametrize("rule", [*RULES, "ablate", "clamp", "a sum of all"])
@torch.no_grad()
def test_the_parts_sum_to_the_whole_change(llama: HookedModel, rule: str) -> None:
    tokens = llama.to_tokens(PROMPTS)
    with steer(llama, 2.0 * placed(llama, resid_post(0), rule)):
        change = decompose(llama, tokens)
    whole = torch.stack(list(change.parts.values())).sum(dim=0)
    assert gap(real(whole, tokens), real(change.steered - change.clean, tokens)) <= 2e-6


@pytest.mark.parametrize("site", [resid_pre(0), resid_pre(1), resid_post(1), resid_post(2)])
@torch.no_grad()
def test_the_direct_part_is_the_vector_at_its_own_layer_and_nothing_elsewhere(model: HookedModel, site) -> None:
    vector = random_vector(model, site)
    tokens = model.to_tokens(PROMPTS)
    with steer(model, 3.0 * vector.everywhere()):
        change = decompose(model, tokens)
    assert gap(real(change.direct, tokens), 3.0 * vector.rows) <= 1e-5
    for (layer, part), moved in change.parts.items():
        moved = real(moved, tokens)
        if part == "direct":
            assert gap(moved, 3.0 * vector.rows if layer == site.layer else torch.zeros(1)) <= 1e-5
        elif layer < site.layer or site in (resid_post(layer),):
            assert float(moved.abs().max()) == 0
        else:
            assert float(moved.abs().max()) > 1e-4


@torch.no_grad()
def test_effects_up_to_a_layer_sum_to_the_change_of_the_projection_there(model: HookedModel) -> None:
    direction = random_vector(model, resid_pre(0), seed=1).rows[0]
    intervention = random_vector(model, resid_pre(1)).everywhere()
    clean = projection_profile(model, PROMPTS, direction)
    with steer(model, intervention):
        steered = projection_profile(model, PROMPTS, direction)
        effects = effect_decomposition(model, PROMPTS, direction)
    for layer in range(3):
        rows = f"layer == {layer} and stream == 'resid_post'"
        wanted = steered.query(rows)["projection"].to_numpy() - clean.query(rows)["projection"].to_numpy()
        summed = effects.query(f"layer <= {layer}").groupby(["prompt", "position"])["effect"].sum()
        assert summed.tolist() == pytest.approx(wanted.tolist(), abs=5e-6)


@torch.no_grad()
def test_what_an_ablation_wrote_is_what_it_took_away(llama: HookedModel) -> None:
    vector = random_vector(llama, resid_pre(1))
    before = projection_profile(llama, PROMPTS, vector.rows[0], [resid_pre(1)])["projection"]
    with steer(llama, ablate(vector).everywhere()):
        effects = effect_decomposition(llama, PROMPTS, vector.rows[0])
    direct = effects.query("layer == 1 and part == 'direct'")["effect"]
    assert direct.tolist() == pytest.approx((-before).tolist(), abs=1e-5)


@torch.no_grad()
def test_without_an_edit_there_is_no_effect(model: HookedModel) -> None:
    table = effect_decomposition(model, PROMPTS, random_vector(model, resid_pre(0)).rows[0])
    assert set(table["part"]) == set(PARTS)
    assert table["effect"].abs().max() == 0
    logits = logit_decomposition(model, PROMPTS, 7, 8)
    assert logits["effect"].abs().max() == 0


def logit_difference(model: HookedModel, toward: list[int], against: list[int]) -> torch.Tensor:
    logits = model.logits(model.to_tokens(PROMPTS))[:, -1].double()
    cap = getattr(model.backend.cfg, "output_logits_soft_cap", None)
    if cap is not None and cap > 0:
        logits = cap * torch.atanh(logits / cap)
    return logits[range(3), toward] - logits[range(3), against]


@torch.no_grad()
def test_logit_effects_sum_to_the_change_of_the_logit_difference(model: HookedModel) -> None:
    toward, against = [7, 8, 9], [100, 101, 102]
    intervention = 2.0 * random_vector(model, resid_pre(1)).everywhere()
    clean = logit_difference(model, toward, against)
    with steer(model, intervention):
        steered = logit_difference(model, toward, against)
        table = logit_decomposition(model, PROMPTS, toward, against)
    assert table.query("layer == 3")["part"].tolist() == [FINAL_NORM] * 3
    summed = torch.tensor(table.groupby("prompt")["effect"].sum().tolist()).double()
    assert float((steered - clean).abs().max()) > 0.1
    assert torch.allclose(summed, steered - clean, rtol=1e-3, atol=2e-4)


@torch.no_grad()
def test_each_prompt_may_have_its_own_tokens_and_one_pair_serves_all(llama: HookedModel) -> None:
    with steer(llama, random_vector(llama, resid_pre(1)).everywhere()):
        assert logit_decomposition(llama, PROMPTS, 7, 8).equals(logit_decomposition(llama, PROMPTS, [7] * 3, [8] * 3))
        with pytest.raises(ValueError, match="3 prompts need 3 tokens on each side"):
            logit_decomposition(llama, PROMPTS, [7, 8], 9)


@torch.no_grad()
def test_at_the_last_site_the_direct_path_is_all_there_is(model: HookedModel) -> None:
    with steer(model, 2.0 * random_vector(model, resid_post(2)).everywhere()):
        path = direct_path(model, PROMPTS)
    assert gap(path.direct, path.steered) <= 1e-5
    assert gap(path.clean, path.steered) > 1e-2


@torch.no_grad()
def test_the_direct_path_is_the_final_norm_and_unembedding_of_the_clean_stream_plus_the_vector(
    model: HookedModel,
) -> None:
    tokens, vector = model.to_tokens(PROMPTS), random_vector(model, resid_pre(1))
    last = model.residuals(tokens, [resid_post(2)])[resid_post(2)][:, -1]
    with steer(model, 2.0 * vector.everywhere()):
        path = direct_path(model, PROMPTS)
        steered = model.logits(tokens)[:, -1].log_softmax(-1)
    assert gap(path.direct, model.unembed(last + 2.0 * vector.rows[0]).log_softmax(-1)) <= 1e-4
    assert gap(path.clean, model.logits(tokens)[:, -1].log_softmax(-1)) <= 1e-5
    assert gap(path.steered, steered) <= 1e-5
    assert gap(path.direct, path.steered) > 1e-3
