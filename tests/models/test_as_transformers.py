"""The Hugging Face model that a `HookedModel` gives away is steered as its own passes are."""

import copy

import pytest
import torch
from transformers import pipeline

from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering import steer
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.models.tokens import ForwardPass
from tests.tiny_models import (
    HAS_HOOKED_TRANSFORMER,
    KINDS,
    PROMPTS,
    RULES,
    gap,
    hooked,
    n_hooks,
    placed,
    tiny_hf_model,
)

NAMES = ["gpt2", "llama", "mistral_window", "gemma2", "opt", "qwen2"]


def theirs(model: HookedModel, prompts: tuple[str, ...] = PROMPTS, **options: object) -> list[list[int]]:
    tokens = model.to_tokens(prompts)
    how = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 2} | options
    out = model.as_transformers().generate(tokens.ids, attention_mask=tokens.mask.long(), **how)
    return out[:, tokens.ids.shape[1] :].tolist()


def same(theirs: list[list[int]], ours: list[list[int]]) -> bool:
    return [row[: len(own)] for row, own in zip(theirs, ours, strict=True)] == ours


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("rule", [*RULES, *KINDS])
@pytest.mark.parametrize("name", NAMES)
def test_its_generate_writes_what_ours_writes_under_every_rule(name: str, rule: str, use_cache: bool) -> None:
    model = hooked(name)
    clean = generate(model, PROMPTS, max_new_tokens=6).tokens
    with steer(model, 2.0 * placed(model, resid_pre(1), rule)):
        ours = generate(model, PROMPTS, max_new_tokens=6).tokens
        assert same(theirs(model, use_cache=use_cache), ours)
    assert ours != clean or name == "mistral_window"  # whose last tokens no longer see the front
    assert same(theirs(model), clean)


@pytest.mark.parametrize("name", NAMES)
def test_rows_with_edits_of_their_own_and_nested_blocks(name: str) -> None:
    model = hooked(name)
    per_row = [placed(model, resid_pre(1), "everywhere"), Intervention(), placed(model, resid_post(0), "at_front")]
    with steer(model, per_row), steer(model, placed(model, resid_pre(2), "generated")):
        assert same(theirs(model), generate(model, PROMPTS, max_new_tokens=6).tokens)


def test_a_pipeline_is_steered() -> None:
    model = hooked("llama")
    write = pipeline("text-generation", model=model.as_transformers(), tokenizer=model.tokenizer, device="cpu")

    def text() -> str:
        said = write(PROMPTS[0], max_new_tokens=6, do_sample=False, return_full_text=False)
        return str(said[0]["generated_text"])

    clean = text()
    with steer(model, 2.0 * placed(model, resid_pre(1), "from_last_prompt_token")):
        assert text() == generate(model, PROMPTS[0], max_new_tokens=6).texts[0] != clean
    assert text() == clean == generate(model, PROMPTS[0], max_new_tokens=6).texts[0]


def test_several_sequences_and_beams_take_a_shared_edit() -> None:
    model = hooked("llama")
    with steer(model, placed(model, resid_pre(1), "at_front")):
        one = theirs(model)
        assert theirs(model, num_beams=2, num_return_sequences=2) != theirs(hooked("gpt2"))
        torch.manual_seed(0)
        several = theirs(model, do_sample=True, top_k=1, num_return_sequences=2)
    assert several == [row for row in one for _ in range(2)]


def test_chunks_of_a_prompt_are_told_apart_from_what_follows_it() -> None:
    model = hooked("llama")
    for rule in ("at(-3)", "generated", "everywhere"):
        with steer(model, 2.0 * placed(model, resid_pre(1), rule)):
            assert same(theirs(model, prefill_chunk_size=2), generate(model, PROMPTS, max_new_tokens=6).tokens)


def test_a_call_of_the_model_itself_reads_prompt_alone() -> None:
    model = hooked("llama")
    tokens = model.to_tokens(PROMPTS)
    for rule in ("at_front", "from_last_prompt_token", "generated", "everywhere"):
        with steer(model, placed(model, resid_pre(1), rule)):
            ours = model.logits(tokens)
            positions = tokens.positions.clamp(min=0)
            hf = model.as_transformers()(tokens.ids, attention_mask=tokens.mask.long(), position_ids=positions).logits
            flipped = [row[kept] for row, kept in zip(tokens.ids, tokens.mask, strict=True)]
            right = torch.nn.utils.rnn.pad_sequence(flipped, batch_first=True, padding_value=2)
            mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in flipped], batch_first=True)
            on_the_right = model.as_transformers()(right, attention_mask=mask).logits
        assert gap(hf[tokens.mask], ours[tokens.mask]) <= 1e-5
        assert gap(on_the_right[mask.bool()], ours[tokens.mask]) <= 1e-5


def test_what_it_cannot_know_is_refused_and_leaves_nothing_behind() -> None:
    model = hooked("llama")
    hf, tokens = model.as_transformers(), model.to_tokens(PROMPTS)
    before, right = n_hooks(model), tokens.mask.flip(1).long()
    with steer(model, placed(model, resid_pre(1), "everywhere")):
        with pytest.raises(ValueError, match="padded on the left"):
            hf.generate(tokens.ids, attention_mask=right, max_new_tokens=2)
        with pytest.raises(ValueError, match="hold pad tokens"):
            hf.generate(torch.where(tokens.mask, tokens.ids, hf.generation_config.pad_token_id), max_new_tokens=2)
        cache = hf(tokens.ids, attention_mask=tokens.mask.long(), use_cache=True).past_key_values
        with pytest.raises(ValueError, match="where its prompt ended"):
            hf(tokens.ids[:, -1:], past_key_values=cache)
        assert model.forward_pass is None
    assert n_hooks(model) == before
    assert hf(tokens.ids[:, -1:], past_key_values=cache).logits.shape[1] == 1


@pytest.mark.skipif(not HAS_HOOKED_TRANSFORMER, reason="TransformerLens 4 has no HookedTransformer")
def test_a_transformer_lens_object_has_none_to_give() -> None:
    with pytest.raises(ValueError, match="has no plain runtime"):
        hooked("hooked_transformer").as_transformers()


def test_an_interrupt_leaves_nothing_told() -> None:
    model = hooked("llama")
    steps: list[int] = []

    def interrupting(resid: torch.Tensor, forward_pass: ForwardPass) -> None:
        steps.append(1)
        if len(steps) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), model.hooks({resid_pre(0): interrupting}):
        theirs(model)
    assert model.forward_pass is None
    tokens = model.to_tokens(PROMPTS)
    steps[:] = [1, 1]
    with pytest.raises(KeyboardInterrupt), model.hooks({resid_pre(0): interrupting}):
        model.as_transformers()(tokens.ids, attention_mask=tokens.mask.long())
    assert model.forward_pass is None
    with steer(model, placed(model, resid_pre(1), "at_front")):
        assert same(theirs(model), generate(model, PROMPTS, max_new_tokens=6).tokens)


def test_a_prompt_s_own_edits_are_those_of_all_its_beams() -> None:
    model = hooked("llama")
    per_row = [placed(model, resid_pre(1), "everywhere"), Intervention(), placed(model, resid_pre(1), "at_front")]
    with steer(model, per_row):
        together = theirs(model, num_beams=2, min_new_tokens=6)
    for edit, prompt, row in zip(per_row, PROMPTS, together, strict=True):
        with steer(model, edit):
            assert theirs(model, (prompt,), num_beams=2, min_new_tokens=6) == [row]


def test_a_pad_token_named_in_the_call_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = hooked("llama")
    hf, tokens = model.as_transformers(), model.to_tokens(PROMPTS)
    monkeypatch.setattr(hf.generation_config, "pad_token_id", None)
    with steer(model, placed(model, resid_pre(1), "at_front")), pytest.raises(ValueError, match="hold pad tokens"):
        hf.generate(tokens.ids, max_new_tokens=2, pad_token_id=model.pad_token_id)


def test_a_cache_of_tokens_that_are_steered_here_is_refused() -> None:
    model = hooked("llama")
    hf, prompt = model.as_transformers(), PROMPTS[:1]
    ids = model.to_tokens(prompt).ids
    for rule, fits in {"at_front": False, "everywhere": False, "from_last_prompt_token": True}.items():
        cache = hf(ids[:, :5], use_cache=True).past_key_values
        with steer(model, placed(model, resid_pre(1), rule)):
            if fits:
                assert same(
                    theirs(model, prompt, past_key_values=cache), generate(model, prompt, max_new_tokens=6).tokens
                )
            else:
                with pytest.raises(ValueError, match="past_key_values holds tokens that are steered here"):
                    theirs(model, prompt, past_key_values=cache)


def test_a_steered_assistant_writes_what_is_asked_of_it() -> None:
    model, other = hooked("llama"), tiny_hf_model("llama", seed=1)
    ids = model.to_tokens(PROMPTS[0]).ids
    how = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 6, "do_sample": False}
    with steer(model, placed(model, resid_pre(1), "everywhere")):
        helped = other.generate(ids, assistant_model=model.as_transformers(), **how)
    assert helped.tolist() == other.generate(ids, **how).tolist()


def test_a_generate_inside_an_edit_is_told_of_its_own_prompt() -> None:
    model = hooked("llama")
    inner: list[list[list[int]]] = []

    def edit(resid: torch.Tensor, forward_pass: ForwardPass) -> torch.Tensor:
        if not inner:
            inner.append([])
            inner[0] = theirs(model)
        return resid + 0.5 * (forward_pass.positions == 1)[..., None]

    with model.hooks({resid_pre(0): edit}):
        model.logits(model.to_tokens("joy"))
        assert inner[0] == theirs(model)


def test_a_copy_is_no_part_of_the_model_and_can_be_opened_itself() -> None:
    model = load_model(tiny_hf_model("llama"), tokenizer=hooked("llama").tokenizer)
    tokens = model.to_tokens(PROMPTS)
    clean = generate(model, PROMPTS, max_new_tokens=6).tokens
    second = load_model(model.as_transformers(), tokenizer=model.tokenizer)
    with steer(model, placed(model, resid_pre(1), "everywhere")):
        assert generate(second, PROMPTS, max_new_tokens=6).tokens == clean
        alone = copy.deepcopy(second.as_transformers())
        assert same(theirs(second), clean)
    with steer(second, placed(second, resid_pre(1), "at_front")):
        assert same(theirs(second), generate(second, PROMPTS, max_new_tokens=6).tokens)
        with torch.no_grad():
            assert gap(alone(tokens.ids).logits, tiny_hf_model("llama")(tokens.ids).logits) <= 1e-5


def test_a_call_without_a_prompt_says_what_transformers_says() -> None:
    model = hooked("llama")
    with steer(model, placed(model, resid_pre(1), "everywhere")), pytest.raises(ValueError, match="input_ids"):
        model.as_transformers()()
