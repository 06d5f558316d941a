"""The lens ends in the model's own output, sees edits and generated tokens, and never sees padding."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch

from steering_lab.analysis import logit_lens as module
from steering_lab.analysis.logit_lens import (
    lens_difference,
    logit_lens,
    token_id,
    token_lens,
    tuned_lens_translators,
)
from steering_lab.interventions.steering import steer
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from tests.tiny_models import MODELS, PROMPTS, hooked, placed, plain, random_vector, tiny_hf_model, tokenizer_of

NUMBERS = ["top_probability", "entropy", "kl_to_final"]


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> HookedModel:
    return hooked(request.param)


def at(table: pd.DataFrame, layer: int, stream: str = "resid_post") -> pd.DataFrame:
    return table[(table["layer"] == layer) & (table["stream"] == stream)].reset_index(drop=True)


def output(model: HookedModel, prompt: str) -> torch.Tensor:
    """The model's own next-token probabilities under whatever is in force, by plain torch."""
    with torch.no_grad():
        return torch.softmax(model.logits(model.to_tokens(prompt))[0].float(), dim=-1)


# -- the end of the stream --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("steered", [False, True])
def test_the_last_site_is_the_model_output_inside_and_outside_a_steering_block(
    model: HookedModel, steered: bool
) -> None:
    nothing = 0.0 * placed(model, resid_post(2), "everywhere")
    with steer(model, placed(model, resid_post(2), "everywhere") if steered else nothing):
        own = output(model, PROMPTS[0])
        last = at(logit_lens(model, PROMPTS[0], top_k=3), 2)
        chosen = at(token_lens(model, PROMPTS[0], [5]), 2)
    best, ids = own.topk(3, dim=-1)
    assert np.allclose(np.stack(last["top_k_probability"]), best, atol=1e-5)
    assert last["top_k"].tolist() == [tuple(model.token_strings(row)) for row in ids.tolist()]
    assert np.allclose(last["entropy"], -(own * own.log()).sum(-1), atol=1e-4)
    assert np.allclose(chosen["probability"], own[:, 5], atol=1e-5)
    assert last["kl_to_final"].eq(0).all()


def test_every_site_from_the_embedding_to_the_end_stands_in_order(gpt2: HookedModel) -> None:
    table = logit_lens(gpt2, PROMPTS[:2])
    order = table[["prompt", "layer", "stream"]].drop_duplicates().to_numpy().tolist()
    sites = [[0, "resid_pre"], [0, "resid_post"], [1, "resid_post"], [2, "resid_post"]]
    assert order == [[prompt, *site] for prompt in (0, 1) for site in sites]
    first = at(table, 0, "resid_pre")
    assert first.loc[first["prompt"] == 0, "token"].tolist() == gpt2.token_strings(gpt2.token_ids(PROMPTS[0]))
    assert first.loc[first["prompt"] == 1, "position"].tolist() == list(range(len(gpt2.token_ids(PROMPTS[1]))))


# -- what is measured -------------------------------------------------------------------------------------------------
def test_all_probabilities_of_a_row_sum_to_one_and_stand_best_first(model: HookedModel) -> None:
    table = logit_lens(model, PROMPTS[0], top_k=model.d_vocab)
    everything = np.stack(table["top_k_probability"])
    assert np.allclose(everything.sum(axis=1), 1, atol=1e-5)
    assert (np.diff(everything, axis=1) <= 0).all()
    assert np.allclose(everything[:, 0], table["top_probability"])
    assert [row[0] for row in table["top_k"]] == table["top"].tolist()


def test_entropy_and_divergence_keep_their_ranges(model: HookedModel) -> None:
    table = logit_lens(model, PROMPTS)
    assert table["entropy"].between(0, np.log(model.d_vocab) + 1e-4).all()
    assert (table["kl_to_final"] >= 0).all()
    assert (at(table, 0)["kl_to_final"] > 1e-4).all()


def test_entropy_and_divergence_are_those_of_the_distributions_themselves(gpt2: HookedModel) -> None:
    tokens = gpt2.to_tokens(PROMPTS[0])
    streams = gpt2.residuals(tokens, [resid_post(0), resid_post(gpt2.n_layers - 1)])
    lens, final = (torch.softmax(gpt2.unembed(resid)[0].double(), dim=-1) for resid in streams.values())
    table = at(logit_lens(gpt2, PROMPTS[0]), 0)
    assert table["entropy"].tolist() == pytest.approx((-lens * lens.log()).sum(-1).tolist(), abs=1e-5)
    assert table["kl_to_final"].tolist() == pytest.approx((final * (final / lens).log()).sum(-1).tolist(), abs=1e-5)


def test_ranks_order_the_vocabulary_and_rank_one_is_the_top(gpt2: HookedModel) -> None:
    table = token_lens(gpt2, PROMPTS[0], range(gpt2.d_vocab))
    for _, rows in table.groupby(["layer", "stream", "position"]):
        expected = rows["log_probability"].rank(method="min", ascending=False)  # equals share a rank
        assert rows["rank"].tolist() == expected.tolist()
        assert rows.loc[rows["rank"] == 1, "probability"].item() == rows["probability"].max()
        assert rows.loc[rows["rank"] == 1, "target"].item() == rows["top"].iloc[0]
    assert np.allclose(np.exp(table["log_probability"]), table["probability"], atol=1e-6)


def test_a_token_among_no_numbers_has_no_rank(gpt2: HookedModel) -> None:
    """No token is likelier than what is no number: it would be the first."""

    def lost(resid: torch.Tensor) -> torch.Tensor:
        return resid * torch.nan

    table = token_lens(gpt2, PROMPTS[0], [5], sites=[resid_pre(1), resid_post(2)], translate={resid_pre(1): lost})
    assert table["rank"].isna().tolist() == table["log_probability"].isna().tolist()
    assert 0 < table["rank"].isna().sum() < len(table)


def test_a_bfloat16_model_is_measured_in_float32() -> None:
    model = load_model(tiny_hf_model("llama").to(torch.bfloat16), tokenizer=tokenizer_of("llama"))
    assert model.dtype == torch.bfloat16
    table = logit_lens(model, PROMPTS[0], top_k=model.d_vocab)
    assert np.allclose(np.stack(table["top_k_probability"]).sum(axis=1), 1, atol=1e-5)
    assert np.allclose(at(table, 2)["top_probability"], output(model, PROMPTS[0]).max(dim=-1).values, atol=1e-6)


# -- batches ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("view", [logit_lens, lambda model, prompts: token_lens(model, prompts, [7, 9])])
def test_a_batch_equals_its_singles_so_padding_never_shows(
    model: HookedModel, view: Callable[..., pd.DataFrame]
) -> None:
    table = view(model, PROMPTS)
    assert len(table[table["prompt"] == 1]) < len(table[table["prompt"] == 0])
    for i, prompt in enumerate(PROMPTS):
        alone = view(model, prompt)
        own = table[table["prompt"] == i].reset_index(drop=True)
        exact = ["layer", "stream", "position", "token"]
        pd.testing.assert_frame_equal(own[exact], alone[exact])
        numbers = [c for c in (*NUMBERS, "probability", "log_probability") if c in alone]
        assert np.allclose(own[numbers], alone[numbers], atol=1e-4)


def test_slices_of_tokens_do_not_show(gpt2: HookedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = logit_lens(gpt2, PROMPTS)
    monkeypatch.setattr(module, "SLICE", 4 * gpt2.d_vocab)
    sliced = logit_lens(gpt2, PROMPTS)
    assert sliced["top_k"].tolist() == whole["top_k"].tolist()
    assert np.allclose(sliced[NUMBERS], whole[NUMBERS], atol=1e-5)


def test_generated_tokens_are_read_as_the_next_prompt_would_be(gpt2: HookedModel) -> None:
    found = generate(gpt2, list(PROMPTS[:2]), max_new_tokens=4)
    table = logit_lens(gpt2, gpt2.to_tokens(found.prompts, found.tokens))
    last = at(table, 2)
    for i in (0, 1):
        rows = last[last["prompt"] == i]
        n = len(gpt2.token_ids(PROMPTS[i]))
        assert rows["generated"].tolist() == [False] * n + [True] * len(found.tokens[i])
        assert rows.loc[rows["generated"], "token"].tolist() == gpt2.token_strings(found.tokens[i])
        assert rows["top"].tolist()[n - 1 : -1] == gpt2.token_strings(found.tokens[i])  # greedy: what was drawn


# -- steering ---------------------------------------------------------------------------------------------------------
def test_the_steered_site_itself_shows_the_edit_and_none_before_it_does(gpt2: HookedModel) -> None:
    clean = logit_lens(gpt2, PROMPTS[0])
    vector = random_vector(gpt2, resid_post(1))
    with steer(gpt2, 3.0 * vector.from_last_prompt_token()):
        steered = logit_lens(gpt2, PROMPTS[0])
        resid = gpt2.residuals(gpt2.to_tokens(PROMPTS[0]), [resid_post(1)])[resid_post(1)][0, -1]
    own = ["top_probability", "entropy"]  # kl_to_final changes everywhere above: its end is steered
    changed = (steered[own] - clean[own]).abs().max(axis=1) > 1e-4
    reached = (clean["position"] == clean["position"].max()) & (clean["layer"] >= 1)
    assert changed.tolist() == reached.tolist()
    expected = torch.softmax(gpt2.unembed(resid), dim=-1).max().item()
    assert at(steered, 1)["top_probability"].iloc[-1] == pytest.approx(expected, abs=1e-6)


def test_a_difference_subtracts_the_numbers_and_keeps_both_top_tokens(gpt2: HookedModel) -> None:
    clean, clean_tokens = logit_lens(gpt2, PROMPTS), token_lens(gpt2, PROMPTS, [7, 9])
    with steer(gpt2, placed(gpt2, resid_pre(1), "everywhere")):
        steered, steered_tokens = logit_lens(gpt2, PROMPTS), token_lens(gpt2, PROMPTS, [7, 9])
    change = lens_difference(steered, clean)
    assert np.allclose(change[NUMBERS], steered[NUMBERS] - clean[NUMBERS])
    assert change["top"].tolist() == steered["top"].tolist()
    assert change["clean_top"].tolist() == clean["top"].tolist()
    change = lens_difference(steered_tokens, clean_tokens.sample(frac=1, random_state=0))
    assert np.allclose(change["probability"], steered_tokens["probability"] - clean_tokens["probability"])
    assert change["rank"].tolist() == (steered_tokens["rank"] - clean_tokens["rank"]).tolist()
    with pytest.raises(ValueError, match="tables differ"):
        lens_difference(logit_lens(gpt2, PROMPTS[:2]), clean)


# -- translators ------------------------------------------------------------------------------------------------------
def test_translators_act_before_the_unembedding_and_only_at_their_site(gpt2: HookedModel) -> None:
    plain_lens = logit_lens(gpt2, PROMPTS[0])
    identity = logit_lens(gpt2, PROMPTS[0], translate={resid_post(0): lambda resid: resid})
    pd.testing.assert_frame_equal(identity, plain_lens)
    end = gpt2.residuals(gpt2.to_tokens(PROMPTS[0]), [resid_post(2)])[resid_post(2)][0]
    perfect = logit_lens(gpt2, PROMPTS[0], translate={resid_post(0): lambda resid: end})
    assert at(perfect, 0)["kl_to_final"].max() <= 1e-6
    pd.testing.assert_frame_equal(at(perfect, 1), at(plain_lens, 1))


class Affine(torch.nn.Module):
    """The two members of tuned-lens's TunedLens that are used: translator i is resid + A_i(resid)."""

    def __init__(self, n_layers: int, d_model: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.translators = torch.nn.ModuleList(torch.nn.Linear(d_model, d_model) for _ in range(n_layers))

    def __len__(self) -> int:
        return len(self.translators)

    def transform_hidden(self, h: torch.Tensor, idx: int) -> torch.Tensor:
        return h + self.translators[idx](h)


@torch.no_grad()
def test_a_tuned_lens_translates_what_each_block_reads_and_never_the_end(gpt2: HookedModel) -> None:
    lens = Affine(gpt2.n_layers, gpt2.d_model)
    tokens = gpt2.to_tokens(PROMPTS[0])
    hidden = plain("gpt2")(tokens.ids, output_hidden_states=True).hidden_states
    table = logit_lens(gpt2, PROMPTS[0], translate=tuned_lens_translators(lens))
    for i, site in enumerate([resid_pre(0), resid_post(0), resid_post(1)]):
        expected = torch.softmax(gpt2.unembed(lens.transform_hidden(hidden[i], i))[0], dim=-1).max(dim=-1).values
        assert np.allclose(at(table, site.layer, site.stream)["top_probability"], expected, atol=1e-5)
    pd.testing.assert_frame_equal(at(table, 2), at(logit_lens(gpt2, PROMPTS[0]), 2))


# -- the door ---------------------------------------------------------------------------------------------------------
def test_mistakes_are_refused_in_the_users_terms(gpt2: HookedModel) -> None:
    with pytest.raises(ValueError, match=r"top_k is 0: it lies in 1\.\.320"):
        logit_lens(gpt2, "Love", top_k=0)
    with pytest.raises(ValueError, match=r"layer 9 is outside 0\.\.2"):
        logit_lens(gpt2, "Love", sites=[resid_pre(9)])
    with pytest.raises(ValueError, match="name at least one, and each once"):
        token_lens(gpt2, "Love", [])
    with pytest.raises(ValueError, match="and each once"):
        token_lens(gpt2, "Love", [5, 5])
    with pytest.raises(ValueError, match=r"'zzz' is 3 tokens of .* \('z', 'z', 'z'\)"):
        token_id(gpt2, "zzz")
    with pytest.raises(ValueError, match=r"token id 320 is outside 0\.\.319"):
        token_id(gpt2, 320)
