"""The decode loop: caches, batches, seeds, stops and scores change nothing they should not; sampling is right."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as token_models
from transformers import PreTrainedTokenizerFast, RepetitionPenaltyLogitsProcessor

from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering import steer
from steering_lab.methods.cad import CAD
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.models.sampling import GREEDY, Sampling, draw
from steering_lab.models.scoring import continuation_log_probs
from tests.tiny_models import (
    KINDS,
    PROMPTS,
    RULES,
    hf_pre_hooks,
    hooked,
    placed,
    plain,
    random_vector,
    rows_of,
    tiny_hf_model,
    tiny_tokenizer,
    tokenizer_of,
)

NUCLEUS = Sampling(temperature=0.9, top_p=0.9, freq_penalty=0.5)


# -- caches and batches -----------------------------------------------------------------------------------------------
def test_cached_equals_uncached(model: HookedModel) -> None:
    """Every position rule and kind of edit on every prompt, as rows of one batch."""
    rules = [rule for rule in [*RULES, *KINDS] for _ in PROMPTS]
    prompts = [*PROMPTS] * (len(rules) // len(PROMPTS))
    with steer(model, [1.5 * placed(model, resid_pre(1), rule) for rule in rules]):
        cached, uncached = (
            generate(model, prompts, max_new_tokens=5, sampling=NUCLEUS, log_probs=True, use_cache=use)
            for use in (True, False)
        )
    assert list(zip(rules, cached.tokens, strict=True)) == list(zip(rules, uncached.tokens, strict=True))
    for left, right in zip(cached.log_probs or [], uncached.log_probs or [], strict=True):
        assert left == pytest.approx(right, abs=2e-5)


@pytest.mark.parametrize("rule", [*RULES, *KINDS])
def test_cached_equals_uncached_when_all_rows_share_the_edit(gpt2: HookedModel, rule: str) -> None:
    with steer(gpt2, 1.5 * placed(gpt2, resid_pre(1), rule)):
        cached, uncached = (generate(gpt2, PROMPTS, max_new_tokens=5, use_cache=c).tokens for c in (True, False))
    assert cached == uncached


def test_cached_equals_uncached_for_a_sum_over_sites_and_places_in_any_order(model: HookedModel) -> None:
    terms = [placed(model, resid_pre(1), rule, i) for i, rule in enumerate([*RULES, *KINDS])]
    for whole in (sum(terms, Intervention()), sum(reversed(terms), placed(model, resid_pre(2), "generated"))):
        with steer(model, 0.7 * whole):
            cached, uncached = (
                generate(model, PROMPTS, max_new_tokens=4, sampling=NUCLEUS, use_cache=use) for use in (True, False)
            )
        assert cached.tokens == uncached.tokens


def test_a_front_edit_beside_another_does_not_end_it(gpt2: HookedModel) -> None:
    """Of everywhere + at_front, both orders, the first summand once vanished from every cached decode step."""
    everywhere, front = placed(gpt2, resid_pre(1), "everywhere"), placed(gpt2, resid_pre(1), "at_front", 4)
    texts = []
    for both in (everywhere + front, front + everywhere):
        with steer(gpt2, both):
            texts.append(generate(gpt2, PROMPTS, max_new_tokens=6).tokens)
    with steer(gpt2, everywhere), steer(gpt2, front):
        nested = generate(gpt2, PROMPTS, max_new_tokens=6).tokens
    assert texts == [nested, nested]


def test_a_left_padded_batch_continues_as_its_singles(model: HookedModel) -> None:
    with steer(model, placed(model, resid_pre(1), "from_last_prompt_token")):
        together = generate(model, PROMPTS, max_new_tokens=5, log_probs=True)
        alone = [generate(model, prompt, max_new_tokens=5, log_probs=True) for prompt in PROMPTS]
    assert together.tokens == [one.tokens[0] for one in alone]
    for row, one in zip(together.log_probs or [], alone, strict=True):
        assert one.log_probs is not None
        assert row == pytest.approx(one.log_probs[0], abs=2e-5)


@pytest.mark.parametrize("rule", ["everywhere", "generated", "from_last_prompt_token"])
@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral_window", "gemma2", "opt"])
def test_greedy_text_equals_hugging_faces_own_generate(name: str, rule: str) -> None:
    model, hf = hooked(name), plain(name)
    tokens = model.to_tokens(PROMPTS)
    intervention = placed(model, resid_pre(1), rule)
    row = intervention.terms[0].edit.rows[0]
    width = tokens.ids.shape[1]

    def by_hand(resid: torch.Tensor) -> torch.Tensor:
        prefill = resid.shape[1] == width
        if rule == "everywhere" or not prefill:
            return resid + row
        return torch.cat([resid[:, :-1], resid[:, -1:] + row * (rule != "generated")], dim=1)

    with hf_pre_hooks(hf, {1: by_hand}):
        theirs = hf.generate(
            tokens.ids, attention_mask=tokens.mask.long(), max_new_tokens=6, do_sample=False, pad_token_id=2
        )[:, width:].tolist()
    with steer(model, intervention):
        ours = generate(model, PROMPTS, max_new_tokens=6).tokens
    assert [row[: len(own)] for row, own in zip(theirs, ours, strict=True)] == ours
    assert all(len(own) == 6 or own[-1] == 1 for own in ours)


def test_steered_then_unsteered_equals_clean(model: HookedModel) -> None:
    clean = generate(model, PROMPTS, max_new_tokens=4)
    with steer(model, 40.0 * placed(model, resid_pre(1), "everywhere")):
        steered = generate(model, PROMPTS, max_new_tokens=4)
    assert generate(model, PROMPTS, max_new_tokens=4) == clean
    assert steered.tokens != clean.tokens


# -- seeds ------------------------------------------------------------------------------------------------------------
def test_a_row_depends_on_its_own_seed_not_on_its_neighbours(model: HookedModel) -> None:
    def texts(order: list[int], **options: int) -> dict[int, list[int]]:
        out = generate(
            model,
            [PROMPTS[i] for i in order],
            max_new_tokens=6,
            sampling=NUCLEUS,
            seed=[70 + i for i in order],
            **options,
        )
        return dict(zip(order, out.tokens, strict=True))

    whole = texts([0, 1, 2])
    assert texts([2, 0, 1]) == whole
    assert texts([2, 0, 1], batch_size=2) == whole
    assert texts([1])[1] == whole[1]


def test_the_same_seed_gives_the_same_text_and_another_seed_another(gpt2: HookedModel) -> None:
    def text(seed: Any) -> list[list[int]]:
        return generate(gpt2, [PROMPTS[0]] * 4, max_new_tokens=8, sampling=Sampling(), seed=seed).tokens

    assert text(5) == text(5)
    assert text(5) != text(6)
    assert len({tuple(row) for row in text(5)}) == 4  # rows of one number draw apart
    assert text([9, 9, 9, 8])[:3] == [text([9, 9, 9, 8])[0]] * 3
    assert text(np.int64(5)) == text(torch.tensor(5)) == text(5)
    assert text([np.int64(9), np.uint8(9), 9, 8]) == text([9, 9, 9, 8])
    assert text(np.int64(2**62)) == text(2**62)  # mixed as Python's numbers, which do not overflow


def test_numbers_of_tokens_and_rows_may_come_off_an_axis(gpt2: HookedModel) -> None:
    wanted = generate(gpt2, PROMPTS, max_new_tokens=5, sampling=Sampling())
    assert generate(gpt2, PROMPTS, max_new_tokens=np.int64(5), batch_size=np.uint8(2), sampling=Sampling()) == wanted


def test_generation_leaves_the_callers_random_state_alone(gpt2: HookedModel) -> None:
    before = torch.get_rng_state()
    generate(gpt2, PROMPTS, max_new_tokens=3, sampling=Sampling())
    assert torch.equal(torch.get_rng_state(), before)


def test_asking_for_fewer_tokens_gives_the_beginning_of_the_same_text(gpt2: HookedModel) -> None:
    long, short = (generate(gpt2, PROMPTS, max_new_tokens=n, sampling=Sampling(), seed=1).tokens for n in (20, 7))
    assert [row[:7] for row in long] == short


# -- sampling ---------------------------------------------------------------------------------------------------------
LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, 1.5])


def frequencies(
    logits: torch.Tensor, sampling: Sampling, counts: torch.Tensor | None = None, n: int = 20_000
) -> list[float]:
    """The exact probabilities of `draw`, up to 1/n: its inverse evaluated on a fine grid."""
    grid = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    drawn = draw(logits.expand(n, -1), sampling, grid, None if counts is None else counts.expand(n, -1))
    return (torch.bincount(drawn, minlength=logits.shape[0]) / n).tolist()


def test_temperature_divides_the_logits() -> None:
    """softmax([ln 4, 0] / 2) = [2/3, 1/3]."""
    logits = torch.tensor([math.log(4), 0.0])
    assert frequencies(logits, Sampling(temperature=2.0)) == pytest.approx([2 / 3, 1 / 3], abs=1e-4)


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    """Of [0.4, 0.3, 0.2, 0.1], 0.3 keeps one token, 0.6 two and 0.71 three."""
    logits = torch.tensor([0.3, 0.4, 0.1, 0.2]).log()
    assert frequencies(logits, Sampling(top_p=0.3)) == [0, 1, 0, 0]
    assert frequencies(logits, Sampling(top_p=0.6)) == pytest.approx([3 / 7, 4 / 7, 0, 0], abs=1e-4)
    assert frequencies(logits, Sampling(top_p=0.71)) == pytest.approx([3 / 9, 4 / 9, 0, 2 / 9], abs=1e-4)


def test_top_k_and_top_p_both_count() -> None:
    """Of [0.4, 0.3, 0.2, 0.1], the two best are renormalised to [4/7, 3/7] before top_p = 0.5 keeps one."""
    logits = torch.tensor([0.3, 0.4, 0.1, 0.2]).log()
    assert frequencies(logits, Sampling(top_k=2)) == pytest.approx([3 / 7, 4 / 7, 0, 0], abs=1e-4)
    assert frequencies(logits, Sampling(top_k=2, top_p=0.5)) == [0, 1, 0, 0]
    assert frequencies(logits, Sampling(top_k=99)) == pytest.approx(frequencies(logits, Sampling()), abs=1e-4)


def test_the_frequency_penalty_counts_prompt_and_continuation() -> None:
    """Two counts of the favourite cost it 2 x ln 2: odds 4:1 become 1:1."""
    logits, counts = torch.tensor([math.log(4), 0.0]), torch.tensor([2.0, 0.0])
    assert frequencies(logits, Sampling(freq_penalty=math.log(2)), counts) == pytest.approx([0.5, 0.5], abs=1e-4)
    halved = Sampling(temperature=2.0, freq_penalty=math.log(2))  # after temperature: odds 2:1, then 1:2
    assert frequencies(logits, halved, counts) == pytest.approx([1 / 3, 2 / 3], abs=1e-4)
    assert frequencies(logits, Sampling(temperature=0.0, freq_penalty=1.0), counts) == [0, 1]


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.5),
        Sampling(temperature=2.0, top_k=3),
        Sampling(top_p=0.6),
        Sampling(temperature=1.7, top_p=0.8, freq_penalty=0.7),
        Sampling(top_k=4, freq_penalty=1.0),
    ],
    ids=str,
)
def test_tokens_are_drawn_as_transformer_lens_draws_them(sampling: Sampling) -> None:
    """The same kept set, and frequencies within four standard errors over 4,000 draws."""
    from transformer_lens.utilities.logits_utils import sample_logits

    n, seen = 4000, torch.tensor([0, 0, 5, 3])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = sample_logits(
            LOGITS.repeat(n, 1),
            top_k=sampling.top_k,
            top_p=None if sampling.top_p == 1 else sampling.top_p,
            temperature=sampling.temperature,
            freq_penalty=sampling.freq_penalty,
            tokens=seen.repeat(n, 1),
        )
    counts = torch.bincount(seen, minlength=6).float()
    ours = frequencies(LOGITS, sampling, counts if sampling.freq_penalty else None)
    seen = (torch.bincount(theirs, minlength=6) / n).tolist()
    assert [p > 0 for p in ours] == [p > 0 for p in seen]
    for p, q in zip(ours, seen, strict=True):
        assert abs(p - q) <= 4 * math.sqrt(p * (1 - p) / n) + 1e-4


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(), Sampling(top_p=0.5), Sampling(top_k=2, freq_penalty=1.0)])
def test_what_is_drawn_from_no_numbers_is_a_token_all_the_same(sampling: Sampling) -> None:
    """An index outside the vocabulary would end the process on a GPU."""
    logits = torch.full((1, 6), math.nan)
    assert 0 <= int(draw(logits, sampling, torch.tensor([0.7]), torch.ones(1, 6))) < 6


@given(
    logits=st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=8),
    temperature=st.floats(0.05, 5),
    top_k=st.none() | st.integers(1, 9),
    top_p=st.floats(0.01, 1),
    penalty=st.floats(0, 3),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_a_draw_inverts_the_filtered_distribution(
    logits: list[float], temperature: float, top_k: int | None, top_p: float, penalty: float, uniform: float
) -> None:
    counts = [i % 3 for i in range(len(logits))]
    scaled = [x / temperature - penalty * c for x, c in zip(logits, counts, strict=True)]
    ordered = sorted(range(len(logits)), key=lambda i: -scaled[i])[: top_k or len(logits)]
    weights = [math.exp(scaled[i] - max(scaled)) for i in ordered]
    mass, kept = 0.0, []
    for i, weight in zip(ordered, weights, strict=True):
        if mass >= top_p + 1e-4:
            break
        kept.append(i)
        mass += weight / sum(weights)
    sampling = Sampling(temperature, top_k, top_p, penalty)
    grid = torch.tensor([uniform], dtype=torch.float64)
    chosen = int(draw(torch.tensor([logits]), sampling, grid, torch.tensor([counts]).float()))
    worst = min(scaled[i] for i in kept)
    assert scaled[chosen] >= worst - 1e-3  # in the kept set, but for ties and rounding


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"freq_penalty": math.inf}, "freq_penalty is inf"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0"),
        ({"repetition_penalty": -1.2}, "repetition_penalty is -1.2"),
        ({"repetition_penalty": math.nan}, "repetition_penalty is nan"),
    ],
)
def test_sampling_outside_its_range_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**options)


def test_the_frequency_penalty_sees_every_earlier_token_of_its_row(gpt2: HookedModel) -> None:
    """Replayed by hand from uncached logits: counts of prompt and continuation, padding and neighbours left out."""
    sampling = Sampling(temperature=0.0, freq_penalty=0.4)
    out = generate(gpt2, PROMPTS, max_new_tokens=6, sampling=sampling)
    for ids, drawn in zip(rows_of(gpt2, PROMPTS), out.tokens, strict=True):
        so_far = list(ids)
        for token in drawn:
            with torch.no_grad():
                logits = gpt2.logits(gpt2.pad([so_far]))[0, -1]
            for seen, count in Counter(so_far).items():
                logits[seen] -= 0.4 * count
            assert token == int(logits.argmax())
            so_far.append(token)


@pytest.mark.parametrize("penalty", [1.3, 0.7])
def test_the_repetition_penalty_is_hugging_faces(penalty: float) -> None:
    """Divides positive logits, multiplies negative ones, before the temperature; how often does not matter."""
    seen = torch.tensor([0, 0, 4, 3])
    theirs = RepetitionPenaltyLogitsProcessor(penalty)(seen[None], LOGITS[None].clone())[0]
    counts = torch.bincount(seen, minlength=6).float()
    assert theirs.tolist() == pytest.approx([2 / penalty, 1.0, 0.5, 0.0, -penalty, 1.5])
    for temperature in (1.0, 0.5):
        ours = frequencies(LOGITS, Sampling(temperature, repetition_penalty=penalty), counts)
        assert ours == pytest.approx(torch.softmax(theirs / temperature, dim=-1).tolist(), abs=1e-4)


def test_the_repetition_penalty_of_one_changes_nothing() -> None:
    assert not Sampling(repetition_penalty=1.0).counts_tokens
    counts = torch.ones(6)
    assert frequencies(LOGITS, Sampling(repetition_penalty=1.0), counts) == frequencies(LOGITS, Sampling())


@pytest.mark.parametrize("penalty", [2.0, 0.6])
def test_greedy_text_under_a_repetition_penalty_equals_hugging_faces(penalty: float) -> None:
    """Row by row, since Hugging Face counts padding as seen; ours is one left-padded batch, which must not.

    Below 1 a penalty rewards repetition, so there a pad token that counted would be drawn.
    """
    for name in ("gpt2", "llama"):
        model, hf = hooked(name), plain(name)
        sampling = Sampling(temperature=0.0, repetition_penalty=penalty)
        ours = generate(model, PROMPTS, max_new_tokens=8, sampling=sampling).tokens
        bare = generate(model, PROMPTS, max_new_tokens=8).tokens
        assert ours != bare
        for ids, drawn in zip(rows_of(model, PROMPTS), ours, strict=True):
            seen = torch.tensor([ids])
            theirs = hf.generate(
                seen, attention_mask=torch.ones_like(seen), max_new_tokens=8, do_sample=False, pad_token_id=2,
                repetition_penalty=penalty,
            )  # fmt: skip
            assert theirs[0, len(ids) :].tolist() == drawn


def test_padding_is_not_a_token_that_has_been_seen() -> None:
    """The pad token is the best next one by a little: had padding counted, the penalty would put 50 before it."""
    model = scripted([1, 1, 1, 1, 1])
    assert model.pad_token_id == 1
    head = model.backend.original_model.lm_head.weight
    with torch.no_grad():
        head[50] = 0.9 * head[1]
    penalised = Sampling(temperature=0.0, repetition_penalty=2.0)
    rows = model.pad([[0], [0, 7, 7, 7]])
    assert generate(model, rows, max_new_tokens=1, sampling=penalised).tokens == [[1], [1]]
    seen = model.pad([[0, 1]])
    assert generate(model, seen, max_new_tokens=1, sampling=penalised).tokens == [[50]]


# -- ends -------------------------------------------------------------------------------------------------------------
def scripted(script: list[int], tokenizer: PreTrainedTokenizerFast | None = None) -> HookedModel:
    """A model that says `script` after any one-token prompt: its stream is the position, its unembedding the script."""
    hf = tiny_hf_model("gpt2")
    head = torch.zeros_like(hf.transformer.wte.weight)
    with torch.no_grad():
        for parameter in hf.parameters():
            parameter.zero_()
        hf.transformer.ln_f.weight.fill_(1.0)
        for position, token in enumerate(script):
            hf.transformer.wpe.weight[position, position] = 1.0
            head[token, position] = 1.0
    hf.lm_head.weight = torch.nn.Parameter(head)
    hf.config.tie_word_embeddings = False
    return load_model(hf, tokenizer=tokenizer or tokenizer_of("gpt2"))


def ids_of(text: str) -> list[int]:
    return tiny_tokenizer()(text, add_special_tokens=False)["input_ids"]


def test_decoding_ends_at_the_end_of_text_token_which_is_scored() -> None:
    model = scripted([50, 60, 1, 70, 80])
    out = generate(model, "<s>", max_new_tokens=5, log_probs=True)
    assert out.tokens == [[50, 60, 1]]
    assert out.log_probs is not None
    assert len(out.log_probs[0]) == 3
    assert "</s>" not in out.texts[0]


def test_an_ignored_end_of_text_token_is_a_token_like_any_other() -> None:
    out = generate(scripted([50, 60, 1, 70, 80]), "<s>", max_new_tokens=5, ignore_eos=True)
    assert out.tokens == [[50, 60, 1, 70, 80]]


def test_a_row_that_ended_does_not_end_its_neighbours() -> None:
    model = scripted([50, 60, 1, 70, 80, 90])
    out = generate(model, model.pad([[0], [0, 7, 7]]), max_new_tokens=3)
    assert out.tokens == [[50, 60, 1], [1]]
    out = generate(model, model.pad([[0, 7], [0, 7, 7, 7]]), max_new_tokens=3)
    assert out.tokens == [[60, 1], [70, 80, 90]]


def test_text_ends_before_the_first_stop_string_and_tokens_with_the_one_that_completes_it() -> None:
    ids = ids_of("I love you. Stop! And more")
    out = generate(scripted(ids), "<s>", max_new_tokens=len(ids), stop=["nothing", "Stop!", "more"])
    assert out.texts == ["I love you. "]
    said = tiny_tokenizer().decode(out.tokens[0])
    assert said.startswith("I love you. Stop!")
    assert "Stop!" not in tiny_tokenizer().decode(out.tokens[0][:-1])


@pytest.mark.parametrize(("stop", "text"), [("🙂", "a"), ("b", "a🙂"), ("é", "a🙂b")])
def test_a_stop_string_may_be_made_of_bytes_from_several_tokens(stop: str, text: str) -> None:
    ids = ids_of("a🙂bé, c")
    assert len(ids) > 8
    out = generate(scripted(ids), "<s>", max_new_tokens=len(ids), stop=[stop])
    assert out.texts == [text]


def test_a_character_cut_in_its_middle_is_shown_as_cut() -> None:
    ids = ids_of("a🙂")
    out = generate(scripted(ids), "<s>", max_new_tokens=3)
    assert out.tokens == [ids[:3]]
    assert out.texts[0].startswith("a")
    assert "\N{REPLACEMENT CHARACTER}" in out.texts[0]


def test_a_continuation_keeps_its_leading_space() -> None:
    """Sentencepiece tokenizers drop the first space of what they decode; prompt + continuation must read right."""
    vocabulary = {token: i for i, token in enumerate(["<s>", "</s>", "<unk>", "▁the", "▁sea", "▁at", "▁night"])}
    words = Tokenizer(token_models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Metaspace()
    words.decoder = decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    model = scripted([3, 5, 6, 1], tokenizer)
    out = generate(model, "the sea", max_new_tokens=4)
    assert out.texts == [" at night"]
    assert out.prompts[0] + out.texts[0] == "the sea at night"
    assert generate(model, "the sea", max_new_tokens=4, stop=[" night"]).texts == [" at"]
    assert generate(model, "<s>", max_new_tokens=2).texts == ["the at"]


# -- scores -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rule", ["at_front", "everywhere", "from_last_prompt_token", "generated", "a sum of all"])
@torch.no_grad()
def test_log_probs_equal_a_scoring_pass_steered_and_unsteered(model: HookedModel, rule: str) -> None:
    with steer(model, placed(model, resid_pre(1), rule)):
        out = generate(model, PROMPTS, max_new_tokens=5, sampling=NUCLEUS, log_probs=True)
        tokens = model.pad(rows_of(model, PROMPTS), out.tokens)
        steered = torch.log_softmax(model.logits(tokens), dim=-1)
        scored = continuation_log_probs(model, rows_of(model, PROMPTS), out.tokens)
    clean = torch.log_softmax(model.logits(tokens), dim=-1)
    assert out.log_probs is not None
    assert out.unsteered_log_probs is not None
    for i, drawn in enumerate(out.tokens):
        places = range(tokens.ids.shape[1] - len(drawn) - 1, tokens.ids.shape[1] - 1)
        for table, ours in ((steered, out.log_probs[i]), (clean, out.unsteered_log_probs[i]), (steered, scored[i])):
            by_hand = [float(table[i, p, t]) for p, t in zip(places, drawn, strict=True)]
            assert ours == pytest.approx(by_hand, abs=2e-5)
            assert all(x <= 0 for x in ours)


def test_scores_are_of_the_models_own_distribution_not_of_the_sampled_one(gpt2: HookedModel) -> None:
    greedy, sharp = (
        generate(gpt2, PROMPTS, max_new_tokens=1, sampling=s, log_probs=True).log_probs
        for s in (GREEDY, Sampling(temperature=0.01))
    )
    assert greedy == sharp


def test_unsteered_scores_of_an_unsteered_model_are_its_scores(gpt2: HookedModel) -> None:
    out = generate(gpt2, PROMPTS, max_new_tokens=4, log_probs=True)
    for one, other in zip(out.log_probs or [], out.unsteered_log_probs or [], strict=True):
        assert one == pytest.approx(other, abs=2e-5)
    assert generate(gpt2, PROMPTS, max_new_tokens=4).log_probs is None


# -- ready tokens, and the door ---------------------------------------------------------------------------------------
def test_ready_tokens_continue_as_their_text_does(model: HookedModel) -> None:
    ready = generate(model, model.to_tokens(PROMPTS), max_new_tokens=4)
    assert ready.tokens == generate(model, PROMPTS, max_new_tokens=4).tokens
    assert len(ready) == 3


@pytest.mark.parametrize("rule", ["at_front", "at(-1)", "from_last_prompt_token", "generated"])
def test_a_continuation_that_has_begun_goes_on_under_the_same_edits(model: HookedModel, rule: str) -> None:
    with steer(model, placed(model, resid_pre(1), rule)):
        whole = generate(model, PROMPTS, max_new_tokens=6)
        begun = model.pad(rows_of(model, PROMPTS), [row[:2] for row in whole.tokens])
        rest = generate(model, begun, max_new_tokens=4)
    for all_of_it, tail in zip(whole.tokens, rest.tokens, strict=True):
        assert all_of_it[2:] == tail[: len(all_of_it) - 2]


def test_a_prompt_of_one_token_is_steered(model: HookedModel) -> None:
    """The authors' hook tells the prefill by its length, so that a one-token prompt stays unsteered."""
    tokens = model.pad([[7]])
    vector = random_vector(model, resid_pre(1))
    clean = generate(model, tokens, max_new_tokens=2, log_probs=True)
    for edit in (vector.at_front(), vector.at(-1), vector.from_last_prompt_token(), vector.everywhere()):
        with steer(model, 3.0 * edit):
            assert generate(model, tokens, max_new_tokens=2, log_probs=True).log_probs != clean.log_probs


def test_the_context_is_filled_to_its_last_token_and_not_beyond(gpt2: HookedModel) -> None:
    ids = [40 + i % 50 for i in range(gpt2.n_ctx - 3)]
    for use_cache in (True, False):
        out = generate(gpt2, gpt2.pad([ids, [7]]), max_new_tokens=3, log_probs=True, use_cache=use_cache)
        assert all(math.isfinite(x) for row in out.log_probs or [] for x in row)
    with pytest.raises(ValueError, match=r"93 tokens and 4 new ones .* context of .* \(96\).* at most 3"):
        generate(gpt2, gpt2.pad([ids]), max_new_tokens=4)
    with pytest.raises(ValueError, match="at most 1"):
        generate(gpt2, gpt2.pad([ids], [[8, 9]]), max_new_tokens=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompts": ""}, "prompt 0 is empty"),
        ({"prompts": ["I", ""]}, "prompt 1 is empty"),
        ({"prompts": []}, "no prompts"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"stop": "end"}, "pass a list of strings"),
        ({"stop": [""]}, "an empty stop string"),
        ({"seed": [1, 2, 3]}, "3 seeds for 1 prompts"),
        ({"seed": True}, "a seed is an integer, not True"),
        ({"seed": [np.array(True)]}, "a seed is an integer, not"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"max_new_tokens": True}, "max_new_tokens is an integer, not True"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_runs(gpt2: HookedModel, options: dict, message: str) -> None:
    def never(resid: torch.Tensor, forward_pass: object) -> torch.Tensor:
        raise AssertionError("the model ran")

    with pytest.raises(ValueError, match=message), gpt2.hooks({resid_pre(0): never}):
        generate(gpt2, **({"prompts": "I hate"} | options))


@pytest.mark.parametrize("temperature", [1e-40, float("inf"), float("nan"), -1.0])
def test_a_temperature_that_float32_cannot_divide_by_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature is"):
        Sampling(temperature=temperature)
    assert draw(torch.tensor([[3.0, 5.0, 5.1]]), Sampling(temperature=1e-30), torch.tensor([0.5])).tolist() == [2]


def test_a_begun_continuation_counts_in_the_stream_without_context_too() -> None:
    model = hooked("llama")
    ids = model.token_ids(PROMPTS[0])
    begun, bare = model.pad([ids[:4]], [ids[4:12]]), model.tokenizer.decode([50] * 86)
    n_bare = len(model.token_ids(bare))
    assert n_bare + 5 <= model.n_ctx < n_bare + 8 + 5
    with pytest.raises(ValueError, match="would not fit the context"):
        generate(model, begun, max_new_tokens=5, rule=CAD(1.0), without_context=[bare])
