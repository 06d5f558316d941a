"""What a hooked model promises: the raw stream, tokens with positions, batches equal to their singles."""

import copy
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.models.tokens import Tokens
from tests.tiny_models import (
    CONFIGS,
    PROMPTS,
    gap,
    hf_logits,
    hooked,
    plain,
    real,
    rows_of,
    single,
    tiny_hf_model,
    tiny_tokenizer,
)


# -- the stream -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_the_stream_is_hugging_faces_hidden_states(name: str) -> None:
    model, hf = hooked(name), plain(name)
    tokens = model.to_tokens("I hate you because you love the sea")
    theirs = hf(tokens.ids, output_hidden_states=True, use_cache=False)
    ours = model.residuals(tokens, [*model.sites(), *model.sites("resid_post")])
    for layer in range(3):
        assert gap(ours[resid_pre(layer)], theirs.hidden_states[layer]) <= 1e-6
        if layer < 2:
            assert torch.equal(ours[resid_post(layer)], ours[resid_pre(layer + 1)])
    assert gap(model.logits(tokens), theirs.logits) <= 1e-6


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_a_left_padded_batch_is_hugging_faces_own(name: str) -> None:
    model = hooked(name)
    tokens = model.to_tokens(PROMPTS)
    assert gap(real(model.logits(tokens), tokens), real(hf_logits(plain(name), tokens), tokens)) <= 1e-5


@torch.no_grad()
def test_a_left_padded_batch_equals_its_singles(model: HookedModel) -> None:
    tokens = model.to_tokens([*PROMPTS, "I"])
    sites = [*model.sites(), resid_post(2)]
    logits, stream = model.logits(tokens), model.residuals(tokens, sites)
    assert bool(torch.isfinite(logits).all())
    for i in range(len(tokens)):
        alone = single(model, tokens, i)
        n = alone.ids.shape[1]
        assert gap(logits[i, -n:], model.logits(alone)[0]) <= 1e-5
        for site, own in model.residuals(alone, sites).items():
            assert gap(stream[site][i, -n:], own[0]) <= 1e-5


@torch.no_grad()
def test_what_stands_on_padding_never_matters(model: HookedModel) -> None:
    tokens = model.to_tokens(PROMPTS)
    other = Tokens(torch.where(tokens.mask, tokens.ids, 77), tokens.mask, tokens.prompt_lengths)
    assert gap(real(model.logits(tokens), tokens), real(model.logits(other), tokens)) <= 1e-6


@torch.no_grad()
def test_logit_lens_of_the_last_layer_is_the_model_output(model: HookedModel) -> None:
    tokens = model.to_tokens(PROMPTS)
    last = resid_post(model.n_layers - 1)
    lens = model.unembed(model.residuals(tokens, [last])[last])
    assert gap(real(lens, tokens), real(model.logits(tokens), tokens)) <= 1e-5


@torch.no_grad()
def test_unembed_reads_a_stream_of_any_shape(model: HookedModel) -> None:
    stream = torch.randn(2, 3, model.d_model, generator=torch.Generator().manual_seed(0))
    whole = model.unembed(stream)
    assert whole.shape == (2, 3, model.d_vocab)
    assert gap(model.unembed(stream[1, 2]), whole[1, 2]) <= 1e-6


@torch.no_grad()
def test_residuals_run_no_block_behind_the_deepest_site(model: HookedModel) -> None:
    def never(resid: torch.Tensor, forward_pass: object) -> torch.Tensor:
        raise AssertionError("a deeper block ran")

    tokens = model.to_tokens(PROMPTS)
    wanted = model.residuals(tokens, model.sites())
    with model.hooks({resid_post(2): never}):
        for site in model.sites()[:2]:
            assert torch.equal(model.residuals(tokens, [site])[site], wanted[site])
        assert torch.equal(model.residuals(tokens, [resid_post(0)])[resid_post(0)], wanted[resid_pre(1)])


@torch.no_grad()
def test_a_hook_hears_absolute_positions(model: HookedModel) -> None:
    """By hand: three rows of 2, 4 and 3 tokens, the last one with one token of continuation."""
    heard = {}

    def listen(resid: torch.Tensor, forward_pass: object) -> torch.Tensor:
        heard["forward_pass"] = forward_pass
        return resid

    with model.hooks({resid_pre(0): listen}):
        model.logits(model.pad([[7, 8], [7, 8, 9, 10], [7, 8]], [[], [], [5]]))
    forward_pass = heard["forward_pass"]
    assert forward_pass.positions.tolist() == [[-2, -1, 0, 1], [0, 1, 2, 3], [-1, 0, 1, 2]]
    assert forward_pass.prompt_lengths.tolist() == [2, 4, 2]
    assert forward_pass.rows.tolist() == [0, 1, 2]
    assert forward_pass.n_batch == 3
    assert not forward_pass.decoding


# -- tokens ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_padding_side_of_the_tokenizer_does_not_matter(side: str) -> None:
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.padding_side = side
    model = load_model(tiny_hf_model("gpt2"), tokenizer=tokenizer)
    assert torch.equal(model.to_tokens(PROMPTS).ids, hooked("llama").to_tokens(PROMPTS).ids)
    assert torch.equal(model.to_tokens(PROMPTS).mask, hooked("gpt2").to_tokens(PROMPTS).mask)


def test_a_tokenizer_without_pad_token_pads_with_what_nothing_attends_to(gpt2: HookedModel) -> None:
    assert gpt2.tokenizer.pad_token_id is None
    tokens = gpt2.to_tokens(PROMPTS)
    assert set(tokens.ids[~tokens.mask].tolist()) == {gpt2.tokenizer.eos_token_id}


def test_token_strings_read_as_the_text(model: HookedModel) -> None:
    text = "I hate you because"
    ids = model.token_ids(text)
    strings = model.token_strings(ids)
    assert "".join(strings[len(model.prefix_ids) :]) == text
    assert strings[: len(model.prefix_ids)] in ([], ["<s>"])


@given(st.lists(st.tuples(st.integers(1, 7), st.integers(0, 3)), min_size=1, max_size=5))
def test_padding_stands_on_the_left_and_positions_count_from_the_first_token(sizes: list[tuple[int, int]]) -> None:
    model = hooked("gpt2")
    rows, continuations = [list(range(10, 10 + n)) for n, _ in sizes], [list(range(50, 50 + n)) for _, n in sizes]
    tokens = model.pad(rows, continuations)
    width = max(n + m for n, m in sizes)
    for i, (row, after) in enumerate(zip(rows, continuations, strict=True)):
        n = len(row) + len(after)
        assert tokens.ids[i, width - n :].tolist() == row + after
        assert tokens.mask[i].tolist() == [False] * (width - n) + [True] * n
        assert tokens.positions[i].tolist() == list(range(n - width, n))
        assert int(tokens.prompt_lengths[i]) == len(row)


# -- facts ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", CONFIGS)
def test_facts_are_hugging_faces(name: str) -> None:
    model, hf = hooked(name), plain(name)
    assert (model.n_layers, model.d_model, model.d_vocab, model.n_ctx) == (3, 32, 320, 96)
    assert model.n_parameters == sum(p.numel() for p in hf.parameters())
    assert (model.dtype, model.device, model.basis) == (torch.float32, torch.device("cpu"), "raw")
    assert model.eos_token_ids == {1}
    assert "3 layers x d_model 32" in repr(model)


def test_a_fingerprint_is_of_the_weights_alone() -> None:
    seeds = [load_model(tiny_hf_model("llama", seed), tokenizer=tiny_tokenizer()).fingerprint for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] == hooked("llama").fingerprint != seeds[2]
    nudged = tiny_hf_model("llama")
    with torch.no_grad():
        nudged.model.norm.weight[3] += 1e-3
    assert load_model(nudged, tokenizer=tiny_tokenizer()).fingerprint != seeds[0]


def test_a_fingerprint_does_not_depend_on_the_version_of_transformer_lens() -> None:
    """Written down once; both generations of TransformerLens must find it."""
    weights = torch.arange(320.0)
    hf = tiny_hf_model("gpt2")
    with torch.no_grad():
        for i, parameter in enumerate(hf.parameters()):
            parameter.copy_((weights[: parameter.shape[-1]] + i).expand(parameter.shape) / 1000)
    assert load_model(hf, tokenizer=tiny_tokenizer()).fingerprint == "c7ecf294d5ade000"


# -- errors at the door -----------------------------------------------------------------------------------------------
def test_a_layer_outside_the_model_is_refused(gpt2: HookedModel) -> None:
    with pytest.raises(ValueError, match=r"layer 3 is outside 0\.\.2 of"):
        gpt2.residuals(gpt2.to_tokens("I"), [resid_pre(0), resid_pre(3)])
    with pytest.raises(ValueError, match=r"layer 7 is outside 0\.\.2 of"), gpt2.hooks({resid_post(7): lambda r, t: r}):
        pytest.fail("the block must not be entered")


def test_no_site_to_read_is_refused(gpt2: HookedModel) -> None:
    with pytest.raises(ValueError, match="no sites"):
        gpt2.residuals(gpt2.to_tokens("I"), [])


@pytest.mark.parametrize(
    ("prompts", "message"),
    [("", r"prompt 0 is empty.*'<s>'"), (["a", ""], "prompt 1 is empty"), ([], "no prompts")],
)
def test_an_empty_prompt_is_refused(gpt2: HookedModel, prompts: str | list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gpt2.to_tokens(prompts)


def test_a_prompt_longer_than_the_context_is_refused(gpt2: HookedModel) -> None:
    with pytest.raises(ValueError, match=r"row 1 is 97 tokens long, the context of .* is 96"):
        gpt2.pad([[7], [7] * 97])
    assert gpt2.pad([[7] * 96]).ids.shape == (1, 96)


@pytest.mark.parametrize("mask", [[[1, 1, 0]], [[0, 1, 0]], [[1, 0, 1]], [[0, 0, 0]]])
def test_padding_anywhere_but_on_the_left_is_refused(mask: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="padded on the left"):
        Tokens(torch.ones(1, 3, dtype=torch.long), torch.tensor(mask).bool(), torch.tensor([1]))


def test_rows_of_ready_ids_may_not_be_empty(gpt2: HookedModel) -> None:
    assert rows_of(gpt2, ["I"])[0][0] == 0
    with pytest.raises(ValueError, match="row 1 has no tokens"):
        gpt2.pad([[7], []])


def test_the_facts_of_a_model_are_json() -> None:
    facts = json.loads(json.dumps(hooked("gpt2").facts()))
    assert (facts["n_layers"], facts["d_model"], facts["dtype"]) == (3, 32, "torch.float32")
