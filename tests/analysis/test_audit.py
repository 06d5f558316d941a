"""The laws of the audit: what the rules promise is what is measured, token by token and pass by pass."""

import pandas as pd
import pytest
import torch

from steering_lab.analysis.audit import COLUMNS, audit, tokens_read
from steering_lab.data.contrast_pairs import PAIRS, ContrastPair
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering import steer
from steering_lab.interventions.steering_vector import ablate
from steering_lab.methods.actadd import actadd_vector
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from tests.tiny_models import KINDS, PROMPTS, RULES, hooked, n_hooks, placed, random_vector

NEW = 6


def touched(table: pd.DataFrame, prompt: int) -> list[tuple[int, int]]:
    rows = table[table["touched"] & (table["prompt"] == prompt)]
    return list(zip(rows["forward"], rows["position"], strict=True))


def lengths(model: HookedModel) -> list[int]:
    return [len(model.token_ids(prompt)) for prompt in PROMPTS]


def test_the_front_is_touched_row_by_row_in_the_first_pass_alone(model: HookedModel) -> None:
    table = audit(model, PROMPTS, random_vector(model, resid_pre(1), 3).at_front(), max_new_tokens=NEW)
    for i in range(len(PROMPTS)):
        assert touched(table, i) == [(0, 0), (0, 1), (0, 2)]


def test_everywhere_touches_every_real_token_once_across_the_passes(model: HookedModel) -> None:
    edit = random_vector(model, resid_post(1)).everywhere()
    table = audit(model, PROMPTS, edit, max_new_tokens=NEW)
    with steer(model, edit):
        drawn = generate(model, PROMPTS, max_new_tokens=NEW).tokens
    for i, length in enumerate(lengths(model)):
        read = length + len(drawn[i]) - 1  # no pass reads the last token that was drawn
        positions = [position for _, position in touched(table, i)]
        assert positions[:read] == list(range(read))
        assert len(positions) == len(set(positions)) in (read, read + 1)  # one more where a row ended early


def test_padding_is_in_the_table_and_never_touched(model: HookedModel) -> None:
    edit = placed(model, resid_pre(1), "a sum of all") + placed(model, resid_pre(1), "everywhere")
    table = audit(model, PROMPTS, edit, max_new_tokens=2)
    padding = table[table["position"] < 0]
    assert len(padding) == sum(max(lengths(model)) - length for length in lengths(model)) > 0
    assert (padding["change"] == 0).all()
    assert not padding["touched"].any()
    assert (padding["terms"] == "").all()


@pytest.mark.parametrize("rule", [*RULES, *KINDS])
def test_what_is_touched_is_what_the_terms_claim(rule: str) -> None:
    gpt2 = hooked("gpt2")
    table = audit(gpt2, PROMPTS, placed(gpt2, resid_pre(1), rule), max_new_tokens=NEW)
    assert (table["touched"] == (table["terms"] != "")).all()
    assert table["touched"].any()


def test_the_measured_change_is_coeff_times_the_rows_norm(model: HookedModel) -> None:
    vector = random_vector(model, resid_pre(1), 3)
    table = audit(model, PROMPTS[0], -2.5 * vector.at(1), max_new_tokens=2)
    found = table[table["touched"]]
    assert found["position"].tolist() == [1, 2, 3]
    assert found["change"].to_numpy() == pytest.approx((2.5 * vector.norms).numpy(), rel=1e-4)


def test_relative_is_over_the_stream_before_the_edit() -> None:
    gpt2, site = hooked("gpt2"), resid_pre(2)
    table = audit(gpt2, PROMPTS[0], random_vector(gpt2, site).everywhere(), max_new_tokens=1)
    norms = gpt2.residuals(gpt2.to_tokens(PROMPTS[0]), [site])[site][0].norm(dim=-1)
    assert (table["change"] / table["relative"]).to_numpy() == pytest.approx(norms.numpy(), rel=1e-4)


def test_half_an_ablation_changes_half_of_the_projection() -> None:
    gpt2, site = hooked("gpt2"), resid_pre(1)
    vector = random_vector(gpt2, site)
    stream = gpt2.residuals(gpt2.to_tokens(PROMPTS[0]), [site])[site][0]
    table = audit(gpt2, PROMPTS[0], 0.5 * ablate(vector).everywhere(), max_new_tokens=1)
    projection = (stream @ vector.unit().rows[0]).abs()
    assert table["change"].to_numpy() == pytest.approx(0.5 * projection.numpy(), abs=1e-4)


@pytest.mark.parametrize("rule", [*RULES, *KINDS])
def test_the_zero_intervention_touches_nothing(rule: str) -> None:
    gpt2 = hooked("gpt2")
    table = audit(gpt2, PROMPTS, 0.0 * placed(gpt2, resid_pre(1), rule), max_new_tokens=2)
    assert len(table)
    assert not table["touched"].any()
    assert (table["change"] == 0).all()


def test_nothing_edited_is_an_empty_table() -> None:
    table = audit(hooked("gpt2"), PROMPTS[0], Intervention(), max_new_tokens=2)
    assert table.empty
    assert tuple(table.columns) == COLUMNS


def test_opposite_terms_claim_a_token_and_leave_it_as_it_was() -> None:
    gpt2 = hooked("gpt2")
    edit = random_vector(gpt2, resid_pre(1)).generated()
    table = audit(gpt2, PROMPTS[0], edit - edit, max_new_tokens=3)
    claimed = table[table["terms"] != ""]
    assert claimed["position"].tolist() == [len(gpt2.token_ids(PROMPTS[0])) + k for k in range(2)]
    assert claimed["terms"].str.count("; ").eq(1).all()
    assert not table["touched"].any()


def test_tokens_are_those_of_the_prompt_and_of_the_steered_text() -> None:
    gpt2 = hooked("gpt2")
    edit = 3.0 * random_vector(gpt2, resid_pre(1)).everywhere()
    table = audit(gpt2, PROMPTS[0], edit, max_new_tokens=NEW)
    with steer(gpt2, edit):
        drawn = generate(gpt2, PROMPTS[0], max_new_tokens=NEW).tokens[0]
    ids = gpt2.token_ids(PROMPTS[0])
    assert table["token"].tolist() == gpt2.token_strings([*ids, *drawn[:-1]])
    assert table["is_prompt"].tolist() == [True] * len(ids) + [False] * (len(drawn) - 1)
    assert table["forward"].tolist() == [0] * len(ids) + list(range(1, len(drawn)))


def test_sites_stand_in_the_order_of_the_stream() -> None:
    gpt2 = hooked("gpt2")
    edits = [random_vector(gpt2, site).everywhere() for site in (resid_post(0), resid_pre(0), resid_pre(2))]
    table = audit(gpt2, PROMPTS[0], edits[0] + edits[1] + edits[2], max_new_tokens=1)
    sites = table[["layer", "stream"]].drop_duplicates().to_numpy().tolist()
    assert sites == [[0, "resid_pre"], [0, "resid_post"], [2, "resid_pre"]]


def test_an_outer_edit_is_not_reported_and_no_hook_stays() -> None:
    gpt2, site = hooked("gpt2"), resid_pre(1)
    before, edit = n_hooks(gpt2), random_vector(gpt2, site, 3).at_front()
    with steer(gpt2, 5.0 * random_vector(gpt2, site, seed=1).everywhere()):
        table = audit(gpt2, PROMPTS[0], edit, max_new_tokens=2)
    assert touched(table, 0) == [(0, 0), (0, 1), (0, 2)]
    assert n_hooks(gpt2) == before


# -- where a vector was read -------------------------------------------------------------------------------------------
def test_a_contrast_pairs_tokens_are_read_with_the_norms_of_their_rows() -> None:
    gpt2, pair = hooked("gpt2"), ContrastPair("Love the sea", "Hate")
    vector = actadd_vector(gpt2, pair, resid_pre(1))
    table = tokens_read(vector)
    assert table["side"].unique().tolist() == ["positive", "negative"]
    for side, prompt in (("positive", pair.positive), ("negative", pair.negative)):
        part = table[table["side"] == side]
        written = gpt2.token_strings(gpt2.token_ids(prompt))
        assert part["token"].tolist()[: len(written)] == written
        assert torch.equal(torch.tensor(part["norm"].tolist()), vector.norms)
    assert tokens_read(vector.row(-1))["norm"].isna().all()


def test_a_mean_over_prompts_says_that_it_has_no_tokens_and_what_it_knows() -> None:
    gpt2, site = hooked("gpt2"), resid_pre(1)
    vector = mean_difference_vectors(gpt2, PAIRS["love_hate_sentences"], [site])[site]
    with pytest.raises(ValueError, match=r"records no tokens that it was read at, only .*'last token'.*12"):
        tokens_read(vector)
