"""Kinds whose rows may not share a pass: what a row says is what it says alone, read whole by plain Hugging Face."""

import copy
from functools import lru_cache
from typing import Any, NamedTuple

import pytest
import torch

from steering_lab.analysis.audit import audit
from steering_lab.interventions.steering import steer
from steering_lab.methods.cad import CAD
from steering_lab.models.batching import Batching
from steering_lab.models.block_outputs import block_outputs, exposes_block_outputs
from steering_lab.models.generation import continuation_log_probs, generate
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.models.reading import read_stream
from tests.tiny_models import (
    PROMPTS,
    UNUSUAL,
    gap,
    hf_pre_hooks,
    hooked,
    passes,
    placed,
    random_vector,
    rows_of,
    tiny_hf_model,
    tiny_tokenizer,
    tokenizer_of,
)

KINDS = tuple(UNUSUAL)
SHORT = ("a b", *PROMPTS[:2], "I went up to my friend and said")  # of four lengths, one of them shorter than a kernel
N_NEW = 10  # so that some rows pass the sixteenth token while they are decoded, and one has passed it before


@lru_cache
def unusual(name: str) -> HookedModel:
    model = load_model(tiny_hf_model(name), tokenizer=tiny_tokenizer())
    model.backend.cfg.n_ctx = 96
    return model


def alone(name: str, ids: list[int]) -> Any:
    """What plain Hugging Face says of one row, by one uncached pass of a model that has read nothing before."""
    with torch.no_grad():
        model = tiny_hf_model(name) if name == "llama_dynamic" else _plain(name)
        return model(torch.tensor([ids]), use_cache=False, output_hidden_states=True)


@lru_cache
def _plain(name: str) -> Any:
    return tiny_hf_model(name)


class Greedy(NamedTuple):
    tokens: list[int]
    log_probs: list[float]


def greedy(name: str, ids: list[int]) -> Greedy:
    """The greedy continuation by plain Hugging Face, token by token, and the log-probabilities of its tokens."""
    ours = Greedy([], [])
    for _ in range(N_NEW):
        best = alone(name, [*ids, *ours.tokens]).logits[0, -1].log_softmax(-1).max(dim=-1)
        ours.tokens.append(int(best.indices))
        ours.log_probs.append(float(best.values))
    return ours


def apart(left: list[list[float]], right: list[list[float]]) -> float:
    return max(abs(x - y) for a, b in zip(left, right, strict=True) for x, y in zip(a, b, strict=True))


# -- laws -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", KINDS)
def test_a_batch_says_what_plain_hugging_face_says_of_each_row_alone(name: str) -> None:
    model, ids = unusual(name), rows_of(unusual(name), SHORT)
    assert max(map(len, ids)) > 16
    assert any(len(row) <= 16 < len(row) + N_NEW - 1 for row in ids)  # one of them crosses while it is decoded
    ours = generate(model, SHORT, max_new_tokens=N_NEW, ignore_eos=True, log_probs=True)
    whole = generate(model, SHORT, max_new_tokens=N_NEW, ignore_eos=True, log_probs=True, use_cache=False)
    wanted = [greedy(name, row) for row in ids]
    tokens = [own.tokens for own in wanted]
    assert ours.tokens == whole.tokens == tokens
    assert ours.log_probs is not None
    assert whole.log_probs is not None
    assert ours.unsteered_log_probs is not None
    for found in (
        ours.log_probs,
        whole.log_probs,
        ours.unsteered_log_probs,
        continuation_log_probs(model, ids, tokens),
    ):
        assert apart(found, [own.log_probs for own in wanted]) < 2e-5


@pytest.mark.parametrize("name", KINDS)
def test_every_reading_of_a_batch_is_that_of_its_rows(name: str) -> None:
    model, ids = unusual(name), rows_of(unusual(name), SHORT)
    tokens = model.pad(ids)
    logits, stream = model.logits(tokens), model.residuals(tokens, model.sites())
    last = read_stream(model, SHORT, model.sites(), read="last")
    for i, row in enumerate(ids):
        wanted = alone(name, row)
        assert gap(logits[i, -len(row) :], wanted.logits[0]) < 2e-5
        for site, hidden in zip(model.sites(), wanted.hidden_states[:-1], strict=True):
            assert gap(stream[site][i, -len(row) :], hidden[0]) < 2e-5
            assert gap(last[site][i], hidden[0, -1]) < 2e-5


@pytest.mark.parametrize("name", ["phi3_longrope", "llama_longrope"])
def test_what_blocks_write_in_a_batch_is_what_they_write_in_its_rows(name: str) -> None:
    model, ids = unusual(name), rows_of(unusual(name), SHORT)
    assert exposes_block_outputs(model, 1)
    together = block_outputs(model, model.pad(ids))
    for i, row in enumerate(ids):
        for layer, block in block_outputs(model, model.pad([row])).items():
            for got, wanted in zip(together[layer], block, strict=True):
                assert gap(got[i, -len(row) :], wanted[0]) < 2e-5


@pytest.mark.parametrize("name", ["phi3_longrope", "recurrent_gemma", "qwen3_next", "llama"])
def test_each_row_keeps_the_edit_that_is_its_own(name: str) -> None:
    model = unusual(name) if name in UNUSUAL else hooked(name)
    each = [
        placed(model, resid_pre(1), rule, i) for i, rule in enumerate(("everywhere", "at_front", "generated", "at(-1)"))
    ]
    with steer(model, each):
        together = generate(model, SHORT, max_new_tokens=N_NEW, ignore_eos=True, log_probs=True)
        logits = model.logits(model.to_tokens(SHORT))
    for i, (prompt, own) in enumerate(zip(SHORT, each, strict=True)):
        with steer(model, own):
            single = generate(model, prompt, max_new_tokens=N_NEW, ignore_eos=True, log_probs=True, use_cache=False)
            wanted = model.logits(model.to_tokens(prompt))[0]
        assert together.tokens[i] == single.tokens[0]
        assert together.log_probs is not None
        assert single.log_probs is not None
        assert apart([together.log_probs[i]], single.log_probs) < 2e-5
        assert gap(logits[i, -len(wanted) :], wanted) < 2e-5


@pytest.mark.parametrize("name", ["phi3_longrope", "recurrent_gemma", "bamba"])
def test_two_streams_in_step_are_what_they_are_alone(name: str) -> None:
    model, bare = unusual(name), ["joy", *SHORT[:3]]
    options: dict[str, Any] = {"max_new_tokens": N_NEW, "ignore_eos": True, "rule": CAD(1.0)}
    together = generate(model, SHORT, without_context=bare, **options)
    whole = generate(model, SHORT, without_context=bare, use_cache=False, **options)
    singles = [generate(model, p, without_context=[b], **options).tokens[0] for p, b in zip(SHORT, bare, strict=True)]
    assert together.tokens == whole.tokens == singles


def test_an_audit_of_rows_that_run_apart_is_that_of_each() -> None:
    model = unusual("recurrent_gemma")
    edit = random_vector(model, resid_pre(1)).from_last_prompt_token()
    together = audit(model, SHORT, edit, max_new_tokens=4)
    assert set(together["prompt"]) == set(range(len(SHORT)))
    assert bool(together["touched"].any())
    for i, prompt in enumerate(SHORT):
        own = together[(together["prompt"] == i) & (together["position"] >= 0)]
        single = audit(model, prompt, edit, max_new_tokens=4)
        assert own["token"].tolist() == single["token"].tolist()
        assert own["change"].tolist() == pytest.approx(single["change"].tolist(), abs=1e-5)


# -- what is known of a model -----------------------------------------------------------------------------------------
def test_a_recurrence_that_reads_padding_or_keeps_its_state_is_found_at_load() -> None:
    found = unusual("recurrent_gemma").batching
    assert (found.pads, found.caches, found.interleaves) == (False, True, False)
    assert hooked("llama").batching == hooked("gpt2").batching == unusual("bamba").batching == Batching()


def test_a_dynamic_rotary_forgets_the_longer_sequence_that_it_read_before() -> None:
    model = unusual("llama_dynamic")
    rows = [list(range(5, 5 + n)) for n in (40, 20, 17, 8)]
    for row in rows:
        assert gap(model.logits(model.pad([row]))[0], alone("llama_dynamic", row).logits[0]) < 2e-5
    stale = tiny_hf_model("llama_dynamic")
    with torch.no_grad():
        stale(torch.tensor([rows[0]]))
        assert gap(stale(torch.tensor([rows[1]])).logits, alone("llama_dynamic", rows[1]).logits) > 1e-3


def test_steps_are_read_together_up_to_where_the_frequencies_change() -> None:
    assert unusual("phi3_longrope").batching.spans(14, 5) == [(0, 3), (3, 5)]
    assert unusual("llama_dynamic").batching.spans(15, 4) == [(0, 2), (2, 3), (3, 4)]
    assert hooked("llama").batching.spans(15, 4) == [(0, 4)]


def test_a_cache_that_loses_the_past_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import DynamicCache

    update = DynamicCache.update
    forgetful = lambda self, k, v, *args, **kwargs: tuple(0 * x for x in update(self, k, v, *args, **kwargs))  # noqa: E731
    monkeypatch.setattr(DynamicCache, "update", forgetful)
    model = load_model(tiny_hf_model("llama"), tokenizer=tiny_tokenizer())
    assert (model.batching.pads, model.batching.caches) == (True, False)
    assert generate(model, SHORT).tokens == generate(hooked("llama"), SHORT, use_cache=False).tokens


def test_ordinary_models_run_one_pass_a_token_and_eleven_more_at_load(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = passes(monkeypatch)
    model = load_model(tiny_hf_model("llama"), tokenizer=tokenizer_of("llama"))
    batching, runtimes = [(2, 6), (1, 6), (2, 1), (1, 1)], [(2, 7), *[(2, 7), (2, 6), (2, 1)] * 2]
    assert seen[-11:] == batching + runtimes
    seen.clear()
    generate(model, SHORT, max_new_tokens=3, ignore_eos=True)
    assert [shape[0] for shape in seen] == [4, 4, 4]
    assert [shape[1] for shape in seen[1:]] == [1, 1]
    seen.clear()
    model.logits(model.to_tokens(SHORT))
    model.residuals(model.to_tokens(SHORT), [resid_post(1)])
    assert len(seen) == 2


@pytest.mark.parametrize("pad", [320, 5000])
def test_a_pad_token_outside_the_embedding_is_never_looked_up(pad: int) -> None:
    tokenizer = tiny_tokenizer(pad=False)
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_special_tokens({"pad_token": "<outside>"})
    tokenizer.__class__ = type("Outside", (type(tokenizer),), {"pad_token_id": property(lambda self: pad)})
    model = load_model(tiny_hf_model("llama"), tokenizer=tokenizer)
    assert 0 <= model.pad_token_id < model.d_vocab
    assert generate(model, SHORT).tokens == [generate(hooked("llama"), prompt).tokens[0] for prompt in SHORT]


def test_steered_text_equals_plain_hugging_face_with_hooks_beyond_the_switch() -> None:
    model, vector = unusual("phi3_longrope"), random_vector(unusual("phi3_longrope"), resid_pre(1))
    with steer(model, vector.everywhere()):
        ours = generate(model, SHORT, max_new_tokens=N_NEW, ignore_eos=True).tokens
    with hf_pre_hooks(_plain("phi3_longrope"), {1: lambda resid: resid + vector.rows}):
        assert ours == [greedy("phi3_longrope", row).tokens for row in rows_of(model, SHORT)]
    assert ours != generate(model, SHORT, max_new_tokens=N_NEW, ignore_eos=True).tokens


@pytest.mark.parametrize("name", ["recurrent_gemma", "jamba", "lfm2", "qwen3_next"])
def test_a_prompt_of_one_token_goes_on_from_nothing_that_was_read_before(name: str) -> None:
    model = unusual(name)
    one = model.pad([[model.token_ids(PROMPTS[0])[3]]])
    whole = generate(model, one, max_new_tokens=5, ignore_eos=True, use_cache=False, log_probs=True)
    for before in (PROMPTS[1], PROMPTS[2]):
        generate(model, before, max_new_tokens=3)
        ours = generate(model, one, max_new_tokens=5, ignore_eos=True, log_probs=True)
        assert ours.tokens == whole.tokens
        assert torch.tensor(ours.log_probs).sub(torch.tensor(whole.log_probs)).abs().max() <= 1e-4
