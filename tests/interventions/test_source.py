"""A vector belongs to the weights it was made with and to the prefix of its texts: elsewhere it is refused by name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from steering_lab.analysis.audit import audit
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.evaluation.measuring.fluency import held_out_table
from steering_lab.evaluation.measuring.measures import TextMeasure
from steering_lab.evaluation.measuring.metrics import length
from steering_lab.evaluation.measuring.next_token import next_token_kl
from steering_lab.evaluation.running.condition import UNSTEERED, Condition
from steering_lab.evaluation.running.evaluate import Decoding, evaluate
from steering_lab.interventions.intervention import Add
from steering_lab.interventions.source import Source
from steering_lab.interventions.steering import steer
from steering_lab.interventions.steering_vector import SteeringVector, ablate, clamp, preserving_norm, random_like
from steering_lab.methods.actadd import actadd_vector
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from tests.tiny_models import (
    PROMPTS,
    gap,
    hooked,
    n_hooks,
    random_vector,
    real,
    save_tiny_model,
    tiny_hf_model,
    tokenizer_of,
)

SITE = resid_pre(1)


@pytest.fixture(scope="module")
def other() -> HookedModel:
    """Another model of the same architecture, width and depth, as a fine-tune is."""
    return load_model(tiny_hf_model("gpt2", seed=1), tokenizer=tokenizer_of("gpt2"), prefix="bos")


def refused(model: HookedModel, vector: SteeringVector, message: str, **permissions: bool) -> None:
    before = n_hooks(model)
    with pytest.raises(ValueError, match=message), steer(model, vector.everywhere(), **permissions):
        pytest.fail("the block must not be entered")
    assert n_hooks(model) == before


# -- weights ----------------------------------------------------------------------------------------------------------
KINDS: dict[str, Any] = {
    "as it is": lambda v: v.everywhere(),
    "scaled": lambda v: (3.0 * -v / 2.0).unit().everywhere(),
    "a row of it": lambda v: (v + v).row(-1).everywhere(),
    "described": lambda v: v.described("another recipe", seed=1).generated(),
    "a random control": lambda v: random_like(v, 0).at_front(),
    "ablated": lambda v: ablate(v).everywhere(),
    "clamped": lambda v: clamp(v, 1.0).from_last_prompt_token(),
    "preserving the norm": lambda v: preserving_norm(v).everywhere(),
    "beside one that fits": lambda v: v.everywhere() + random_vector(hooked("gpt2"), SITE).everywhere(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_made_of_a_vector_of_other_weights_is_refused_unless_allowed(
    kind: str, gpt2: HookedModel, other: HookedModel
) -> None:
    edit = KINDS[kind](random_vector(other, SITE))
    named = rf"with \S+ \(torch.float32, weights {other.fingerprint}\), this is \S+ .*{gpt2.fingerprint}"
    for intervention in (edit, [edit] * 3):
        with pytest.raises(ValueError, match=named), steer(gpt2, intervention):
            pytest.fail("the block must not be entered")
    tokens = gpt2.to_tokens(PROMPTS, [[5, 6], [7, 8], [9, 10]])
    with torch.no_grad(), steer(gpt2, edit, allow_other_model=True):
        steered = gpt2.logits(tokens)
    with torch.no_grad():
        assert gap(real(steered, tokens), real(gpt2.logits(tokens), tokens)) > 1e-3


def test_the_refusal_names_both_models_and_the_ways_out(gpt2: HookedModel) -> None:
    vector = random_vector(hooked("llama"), SITE)
    refused(gpt2, vector, r"random 1 was made with LlamaForCausalLM .*, this is GPT2LMHeadModel .*: other weights or"
            r" another precision\. Make the vector with this model, or allow it .*allow_other_model=True")  # fmt: skip


def test_width_and_basis_are_never_waived(gpt2: HookedModel) -> None:
    source = Source("mine", "other", "0" * 16)
    everything = {"allow_other_model": True, "allow_other_prefix": True}
    wide = SteeringVector(torch.ones(1, 48), SITE, source)
    refused(gpt2, wide, r"mine is 48 wide, the stream of GPT2LMHeadModel is 32", **everything)
    centred = SteeringVector(torch.ones(1, 32), SITE, replace(source, basis="centred"))
    refused(gpt2, centred, r"centred basis, .* raw", **everything)


def test_unknown_weights_are_refused_unless_allowed(gpt2: HookedModel) -> None:
    found = SteeringVector(torch.ones(1, 32), SITE, Source("found", "unknown", "unknown"))
    refused(gpt2, found, r"found does not say which weights .* read_gguf\(path, model=model\)")
    with steer(gpt2, found.everywhere(), allow_other_model=True):
        pass


def test_rows_made_by_hand_belong_to_any_model_of_their_width(gpt2: HookedModel) -> None:
    with steer(gpt2, Add(torch.ones(1, 32), SITE).everywhere()):
        pass
    wide = Add(torch.ones(1, 48), SITE).everywhere()
    with pytest.raises(ValueError, match="the vector is 48 wide"), steer(gpt2, wide):
        pytest.fail("the block must not be entered")


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_saved_vector_steers_the_same_weights_wherever_they_are_loaded(name: str, tmp_path: Path) -> None:
    folder, hf = save_tiny_model(name, tmp_path / "model"), tiny_hf_model(name)
    twice = [load_model(str(folder)), load_model(str(folder))]
    twice += [load_model(hf, tokenizer=tokenizer_of(name)), load_model(hf, tokenizer=tokenizer_of(name))]
    love = actadd_vector(twice[0], ContrastPair("Love", "Hate"), SITE)
    again = SteeringVector.load(love.save(tmp_path / "love.safetensors"))
    tokens = [model.to_tokens(PROMPTS) for model in twice]
    with torch.no_grad():
        clean = twice[0].logits(tokens[0])
        logits = []
        for model, read in zip(twice, tokens, strict=True):
            with steer(model, 4.0 * again.at_front()):
                logits.append(model.logits(read))
    assert gap(real(logits[0], tokens[0]), real(clean, tokens[0])) > 1e-2
    assert all(torch.equal(found, logits[0]) for found in logits)


def test_a_checkpoint_in_half_precision_is_the_same_model_when_read_in_float32(tmp_path: Path) -> None:
    hf = tiny_hf_model("llama").to(torch.bfloat16)
    half = load_model(hf, tokenizer=tokenizer_of("llama"))
    hf.save_pretrained(tmp_path)
    tokenizer_of("llama").save_pretrained(tmp_path)
    wide = load_model(str(tmp_path), dtype="float32", device="cpu")
    assert (half.dtype, wide.dtype) == (torch.bfloat16, torch.float32)
    for made, used in ((half, wide), (wide, half)):
        with steer(used, random_vector(made, SITE).everywhere()):
            pass


def test_a_model_rounded_to_half_precision_is_another(gpt2: HookedModel) -> None:
    rounded = load_model(tiny_hf_model("gpt2").to(torch.bfloat16), tokenizer=tokenizer_of("gpt2"))
    refused(rounded, random_vector(gpt2, SITE), r"torch\.float32, .*torch\.bfloat16, .*or another precision")


def test_every_measure_that_steers_passes_the_permission_on(gpt2: HookedModel, other: HookedModel) -> None:
    edit = 4.0 * random_vector(other, SITE).everywhere()
    steered, decoding = Condition("steered", edit), Decoding(2, 1)

    def all_of_them(**permissions: bool) -> None:
        measures = [TextMeasure("length", length)]
        evaluate(gpt2, [UNSTEERED, steered], PROMPTS[:1], measures, decoding, progress=False, **permissions)

    measured: list[Any] = [
        all_of_them,
        lambda **p: next_token_kl(gpt2, [steered], PROMPTS[:1], UNSTEERED, progress=False, **p),
        lambda **p: held_out_table(gpt2, [steered], PROMPTS[:1], **p),
        lambda **p: audit(gpt2, PROMPTS[0], edit, max_new_tokens=2, **p),
    ]
    for measure in measured:
        with pytest.raises(ValueError, match="other weights or another precision"):
            measure()
        measure(allow_other_model=True)
        with pytest.raises(TypeError, match="allow_anything"):
            measure(allow_anything=True)


# -- prefix -----------------------------------------------------------------------------------------------------------
def behind(model: HookedModel, prefix: str) -> SteeringVector:
    vector = random_vector(model, SITE)
    return replace(vector, source=replace(vector.source, prefix=prefix))


def test_a_vector_remembers_the_prefix_of_its_texts(gpt2: HookedModel, tmp_path: Path) -> None:
    love = actadd_vector(gpt2, ContrastPair("Love", "Hate"), SITE)
    assert SteeringVector.load(love.save(tmp_path / "v.safetensors")).source.prefix == gpt2.prefix


def test_a_vector_made_behind_another_prefix_is_refused_unless_allowed(gpt2: HookedModel) -> None:
    strange = behind(gpt2, "none")
    refused(gpt2, strange, f"random 1 was made with prefix='none', GPT2LMHeadModel was loaded with .*'{gpt2.prefix}'")
    refused(gpt2, strange, "prefix='none'", allow_other_model=True)
    with steer(gpt2, strange.everywhere(), allow_other_prefix=True):
        pass


@pytest.mark.parametrize(
    ("name", "prefix"), [("llama", "bos"), ("llama", "tokenizer"), ("qwen2", "bos"), ("qwen2", "none")]
)
def test_prefixes_that_put_the_same_tokens_in_front_are_the_same(name: str, prefix: str) -> None:
    model = hooked(name)  # Llama's tokenizer adds one beginning-of-text token by itself, Qwen2's has none
    assert model.prefix == "tokenizer"
    with steer(model, behind(model, prefix).everywhere()):
        pass


def test_the_same_model_loaded_behind_another_prefix_refuses_the_vector() -> None:
    for made, used in (("bos", "tokenizer"), ("tokenizer", "bos"), ("bos", "none")):
        models = [load_model(tiny_hf_model("gpt2"), tokenizer=tokenizer_of("gpt2"), prefix=p) for p in (made, used)]
        refused(models[1], random_vector(models[0], SITE), f"made with prefix='{made}', .* with prefix='{used}'")


def test_one_permission_does_not_stand_for_the_other(gpt2: HookedModel, other: HookedModel) -> None:
    strange = behind(other, "none")
    refused(gpt2, strange, "other weights", allow_other_prefix=True)
    refused(gpt2, strange, "prefix='none'", allow_other_model=True)
    with steer(gpt2, strange.everywhere(), allow_other_model=True, allow_other_prefix=True):
        pass


def test_a_vector_behind_a_token_that_the_model_lacks_is_refused(gpt2: HookedModel) -> None:
    refused(gpt2, behind(gpt2, "<|im_start|>"), r"made with prefix='<\|im_start\|>', .* with prefix='bos'")


def test_an_unknown_prefix_is_no_other_prefix(gpt2: HookedModel) -> None:
    with steer(gpt2, behind(gpt2, "unknown").everywhere()):
        pass


# -- what a source can be ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("change", "message"), [({"basis": "row"}, "'raw', 'centred'"), ({"prefix": "eos"}, "'bos'")])
@pytest.mark.parametrize("make", [Source.read, lambda record: Source(**record)])
def test_a_basis_or_prefix_that_there_is_not_is_refused(make: Any, change: dict[str, str], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make({"recipe": "r", "model": "m", "fingerprint": "f", **change})
