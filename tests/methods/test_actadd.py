"""ActAdd: the activation difference of one pair, row by row, and what its authors' own tests ask of it."""

from pathlib import Path

import pytest
import torch

from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.interventions.steering import steer
from steering_lab.methods.actadd import actadd_vector, actadd_vectors, pad_prompts
from steering_lab.models.generation import Sampling, generate
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.models.loading.at_hand import smollm2_file
from tests.tiny_models import (
    CONFIGS,
    MODELS,
    PROMPTS,
    gap,
    hooked,
    plain,
    tiny_hf_model,
    tiny_tokenizer,
    tokenizer_of,
)

PAIR = ContrastPair("I love the sea", "I hate")
WITH_BOS = [name for name in MODELS if name not in ("qwen2", "gpt_neox")]


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> HookedModel:
    return hooked(request.param)


# -- the vector -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_rows_are_hugging_faces_hidden_states_subtracted(name: str) -> None:
    model, hf = hooked(name), plain(name)
    positive, negative = (model.token_ids(side) for side in (PAIR.positive, PAIR.negative))
    space = model.tokenizer(" ", add_special_tokens=False)["input_ids"]
    negative = negative + space * (len(positive) - len(negative))
    states = [hf(torch.tensor([ids]), output_hidden_states=True).hidden_states for ids in (positive, negative)]
    for site, vector in actadd_vectors(model, PAIR, [*model.sites(), resid_post(0)]).items():
        i = site.layer + (site.stream == "resid_post")
        assert vector.rows.shape == (len(positive), model.d_model)
        assert gap(vector.rows, states[0][i][0] - states[1][i][0]) <= 1e-6
        assert vector.site == site


def test_several_sites_from_one_pass_equal_one_site_each(model: HookedModel) -> None:
    sites = [resid_pre(2), resid_post(0), resid_pre(0)]
    together = actadd_vectors(model, PAIR, sites)
    assert list(together) == sites
    for site in sites:
        assert torch.equal(together[site].rows, actadd_vector(model, PAIR, site).rows)


@pytest.mark.parametrize("name", WITH_BOS)
def test_bos_row_is_exactly_zero(name: str) -> None:
    model = hooked(name)
    for site in (*model.sites(), resid_post(2)):
        rows = actadd_vector(model, PAIR, site).rows
        assert not rows[0].any()
        assert rows[-1].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bos_row_is_exactly_zero_where_its_residual_is_in_the_thousands(dtype: torch.dtype) -> None:
    """Added as two hooks, +c h and -c h, such a residual leaves 58 behind in bfloat16."""
    hf = tiny_hf_model("gpt2")
    with torch.no_grad():
        hf.transformer.wte.weight[0] *= 4000 / hf.transformer.wte.weight[0].abs().max()
    model = load_model(hf.to(dtype), tokenizer=tokenizer_of("gpt2"), prefix="bos")
    site = resid_pre(1)
    stream = model.residuals(model.to_tokens("I love"), [site])[site]
    assert float(stream[0, 0].abs().max()) > 3000
    vector = actadd_vector(model, PAIR, site)
    assert vector.rows.dtype == torch.float32
    assert not vector.rows[0].any()
    with torch.no_grad(), steer(model, 2000.0 * vector.at_front()):
        steered = model.residuals(model.to_tokens(PROMPTS[0]), [site])[site]
    assert torch.equal(steered[0, 0], stream[0, 0])


def test_swapping_the_pair_negates(model: HookedModel) -> None:
    for site in model.sites():
        there, back = actadd_vector(model, PAIR, site), actadd_vector(model, PAIR.reversed(), site)
        assert torch.equal(there.rows, -back.rows)


def test_identical_prompts_cancel_to_the_last_bit(model: HookedModel) -> None:
    same = ContrastPair("I love you", "I love you ")  # the padding makes them equal
    assert not actadd_vector(model, same, resid_pre(2)).rows.any()


def test_rows_before_the_first_difference_are_exactly_zero(model: HookedModel) -> None:
    pair = ContrastPair("I love you", "I love the sea")
    positive, negative = (model.token_ids(side) for side in (pair.positive, pair.negative))
    shared = next(i for i, (a, b) in enumerate(zip(positive, negative, strict=False)) if a != b)
    rows = actadd_vector(model, pair, resid_pre(2)).rows
    assert shared > 1
    assert not rows[:shared].any()
    assert all(row.any() for row in rows[shared:])


@pytest.mark.parametrize("sides", [("", " weddings"), (" weddings", "")])
def test_an_empty_side_is_padding_behind_the_beginning_of_text(model: HookedModel, sides: tuple[str, str]) -> None:
    empty = actadd_vector(model, ContrastPair(*sides), resid_pre(1))
    written = actadd_vector(model, ContrastPair(*(side or " " for side in sides)), resid_pre(1))
    assert empty.rows.shape == written.rows.shape
    assert gap(empty.rows, written.rows) <= 1e-6


def test_the_padding_token_matters(gpt2: HookedModel) -> None:
    space, mark = (actadd_vector(gpt2, PAIR, resid_pre(1), pad=pad) for pad in (" ", "!"))
    assert torch.equal(space.rows[:2], mark.rows[:2])
    assert gap(space.rows[-1], mark.rows[-1]) > 1e-2
    assert "'!'" in mark.source.details["padding"]


def test_padding_of_more_than_one_token_is_refused(gpt2: HookedModel) -> None:
    with pytest.raises(ValueError, match="choose text that is exactly one token"):
        actadd_vector(gpt2, PAIR, resid_pre(1), pad="zebra crossing")
    with pytest.raises(ValueError, match=r"layer 9 is outside 0\.\.2"):
        actadd_vector(gpt2, PAIR, resid_pre(9))


def test_a_vector_knows_what_was_read(gpt2: HookedModel) -> None:
    source = actadd_vector(gpt2, PAIR, resid_pre(1)).source
    assert source.recipe == "actadd(I love the sea − I hate)"
    assert (source.model, source.fingerprint, source.basis) == (gpt2.name, gpt2.fingerprint, "raw")
    tokens = source.details["tokens"]
    assert "".join(tokens[0]) == "<s>I love the sea"
    assert tokens[1][0] == "<s>"
    assert tokens[1][-1] == " "
    assert len(tokens[0]) == len(tokens[1])
    assert source.details["prefix_tokens"] == ["<s>"]


# -- the laws of the method -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", WITH_BOS)
@torch.no_grad()
def test_layer_zero_with_coeff_one_is_prompting(name: str) -> None:
    """(" weddings" - spaces) added to the embeddings of spaces is what writing " weddings" there embeds."""
    model = hooked(name)
    word, prompt = " love and", " you are the sea"
    vector = actadd_vector(model, ContrastPair(word, ""), resid_pre(0))
    with steer(model, 1.0 * vector.at_front()):
        steered = model.logits(pad_prompts(model, prompt, vector.rows.shape[0]))
    word_ids, prompt_ids = model.token_ids(word), model.token_ids(prompt)
    prompted = model.logits(model.pad([word_ids + prompt_ids[1:]]))
    assert gap(steered, prompted) <= 1e-5
    assert gap(model.logits(pad_prompts(model, prompt, vector.rows.shape[0])), prompted) > 1e-2


def test_padding_prompts_puts_spaces_behind_the_beginning_of_text(gpt2: HookedModel) -> None:
    tokens = pad_prompts(gpt2, ["I hate", "you"], 3)
    space = gpt2.tokenizer(" ", add_special_tokens=False)["input_ids"]
    for i, prompt in enumerate(("I hate", "you")):
        ids = gpt2.token_ids(prompt)
        assert tokens.ids[i][tokens.mask[i]].tolist() == [ids[0], *space, *space, *ids[1:]]
    qwen2 = hooked("qwen2")
    assert pad_prompts(qwen2, "I hate", 2).ids[0].tolist() == [1, *space, *qwen2.token_ids("I hate")]


def test_without_a_prefix_the_first_token_is_left_alone() -> None:
    model = hooked("qwen2")
    vector = actadd_vector(model, ContrastPair("Love", "Hate"), resid_pre(1))
    assert not vector.rows[0].any()
    behind = [model.pad([[1, *model.token_ids(word)]]) for word in ("Love", "Hate")]
    streams = [model.residuals(tokens, [resid_pre(1)])[resid_pre(1)][0] for tokens in behind]
    n = min(map(len, streams))
    assert gap(vector.rows[1:n], (streams[0][:n] - streams[1][:n])[1:]) <= 1e-6
    alike = actadd_vector(model, ContrastPair("I love", "I hate"), resid_pre(1))
    assert alike.rows.shape[0] == max(len(model.token_ids(t)) for t in ("I love", "I hate"))


def test_the_pair_reversed_with_a_negated_coefficient_is_the_same_steering(gpt2: HookedModel) -> None:
    def texts(pair: ContrastPair, coeff: float) -> list[list[int]]:
        with steer(gpt2, coeff * actadd_vector(gpt2, pair, resid_pre(1)).at_front()):
            return generate(gpt2, PROMPTS, max_new_tokens=6, sampling=Sampling(top_p=0.9), seed=2).tokens

    assert texts(PAIR, 6.0) == texts(PAIR.reversed(), -6.0) != texts(PAIR, -6.0)


def test_a_pair_that_cancels_steers_nothing_and_a_real_one_something_at_every_layer(model: HookedModel) -> None:
    def log_probs(pair: ContrastPair, layer: int) -> list[list[float]] | None:
        vector = actadd_vector(model, pair, resid_pre(layer))
        with steer(model, 5.0 * vector.at_front()):
            return generate(model, "I love you, you love me", max_new_tokens=2, log_probs=True).log_probs

    clean = generate(model, "I love you, you love me", max_new_tokens=2, log_probs=True).log_probs
    for layer in range(3):
        assert log_probs(ContrastPair("I love", "I love "), layer) == clean
    assert log_probs(PAIR, 0) != clean


def test_the_prompt_that_is_too_short_is_an_error_that_names_the_ways_out(gpt2: HookedModel) -> None:
    vector = actadd_vector(gpt2, PAIR, resid_pre(1))
    with (
        pytest.raises(ValueError, match=r"prompt 0 is 2.*too_long='clip', or pad_prompts"),
        steer(gpt2, vector.at_front()),
    ):
        generate(gpt2, "I", max_new_tokens=2)
    with steer(gpt2, vector.at_front()):
        generate(gpt2, pad_prompts(gpt2, "I", vector.rows.shape[0]), max_new_tokens=2)


def test_a_saved_and_loaded_vector_steers_equally(gpt2: HookedModel, tmp_path: Path) -> None:
    vector = actadd_vector(gpt2, PAIR, resid_pre(1))
    loaded = type(vector).load(vector.save(tmp_path / "love.safetensors"))
    assert loaded.source == vector.source
    outs = []
    for each in (vector, loaded):
        with torch.no_grad(), steer(gpt2, 3.0 * each.at_front()):
            outs.append(gpt2.logits(gpt2.to_tokens(PROMPTS)))
    assert torch.equal(*outs)


def test_a_tokenizer_that_is_not_the_models_own_still_gives_a_vector() -> None:
    model = load_model(tiny_hf_model("llama"), tokenizer=tiny_tokenizer(bos=False))
    assert model.prefix_ids == []
    assert actadd_vector(model, PAIR, resid_pre(1)).rows.shape[0] >= len(model.token_ids(PAIR.positive))


# -- a real model -----------------------------------------------------------------------------------------------------
@pytest.mark.skipif(smollm2_file() is None, reason="SmolLM2 is not installed")
def test_a_lone_word_behind_the_mark_of_a_chat_and_a_space_anywhere_are_attention_sinks() -> None:
    """What experiments/README.md says of SmolLM2, and why its ActAdd figures are made behind <|endoftext|>."""
    norms = {}
    for prefix in ("bos", "<|endoftext|>"):
        model = load_model("smollm2", prefix=prefix)
        for text in ("Love", "Hate", "Love "):
            stream = model.residuals(model.to_tokens(text), [resid_pre(4)])[resid_pre(4)]
            norms[prefix, text] = [round(float(row.norm())) for row in stream[0, 1:]]
    assert norms["bos", "Love"] == [638]
    assert norms["bos", "Hate"] == [91, 90]
    assert norms["<|endoftext|>", "Love"] == [97]
    assert norms["<|endoftext|>", "Hate"] == [100, 125]
    assert norms["<|endoftext|>", "Love "] == [97, 963]  # the padding


@pytest.mark.skipif(smollm2_file() is None, reason="SmolLM2 is not installed")
def test_a_row_that_is_a_sink_brings_a_warning_and_a_tab_is_none() -> None:
    model = load_model("smollm2", prefix="<|endoftext|>")
    sites = [resid_pre(layer) for layer in range(model.n_layers)]
    with pytest.warns(UserWarning, match=r"row 2 at resid_pre\(3\) .* as at 7 of 30 sites: the stream at ' ' is 966"):
        spaced = actadd_vectors(model, ContrastPair("Love", "Hate"), sites)
    tabbed = actadd_vectors(model, ContrastPair("Love", "Hate"), sites, pad="\t")  # warns of nothing
    assert spaced[resid_pre(4)].norms[2] > 800
    assert tabbed[resid_pre(4)].norms[2] < 150
    for text in ("", "Love", " weddings", "Intent to hurt you", "This is a test prompt."):
        last = {}
        for pad in ("\t", " "):
            ids = [*model.token_ids(text), *model.tokenizer(pad, add_special_tokens=False)["input_ids"]]
            last[pad] = float(model.residuals(model.pad([ids]), [resid_pre(4)])[resid_pre(4)][0, -1].norm())
        assert 87.5 <= last["\t"] <= 96.5, text  # what experiments/README.md says of a tab
        assert 825.5 <= last[" "] <= 963.5, text  # and of a space
    with pytest.warns(UserWarning, match="the stream at 'Love' is 640 long"):
        actadd_vectors(load_model("smollm2", prefix="bos"), ContrastPair("Love", "Hate"), sites, pad="\t")
