"""Every kind of decoder that opens says what plain Hugging Face says, in each view that it offers; the rest is refused
in one sentence.
"""

import numpy as np
import pytest
import torch

from steering_lab.analysis.decomposition import decompose, direct_path, logit_decomposition
from steering_lab.analysis.logit_lens import logit_lens, token_lens
from steering_lab.analysis.vector_lens import vector_lens
from steering_lab.interventions.steering import steer
from steering_lab.models.block_outputs import exposes_block_outputs
from steering_lab.models.final_norm import logit_directions
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.loading import load_model
from steering_lab.models.output_scale import fitted_output_scale
from steering_lab.models.runtimes.parity import rounding
from steering_lab.models.stream_check import check_stream, probe_ids, reference_stream
from tests.other_architectures import (
    NOT_A_SUM,
    OPENED,
    REFUSED,
    SCALES,
    SUMMING,
    other_hf_model,
    other_hooked,
    other_plain,
)
from tests.tiny_models import PROMPTS, gap, hf_pre_hooks, random_vector, tiny_hf_model, tiny_tokenizer

LAST = resid_post(2)
WORKS = "Llama, Mistral, Qwen, Gemma, .* do work$"


def relative(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return gap(got.float(), wanted.float()) / float(wanted.float().abs().max())


@pytest.mark.parametrize("name", OPENED)
@torch.no_grad()
def test_steered_logits_equal_plain_hugging_face_with_the_same_vector(name: str) -> None:
    model, plain = other_hooked(name), other_plain(name)
    tokens = model.to_tokens(PROMPTS[0])
    clean = plain(tokens.ids, use_cache=False).logits
    assert relative(model.logits(tokens), clean) <= 1e-5
    for layer in range(model.n_layers):
        vector = random_vector(model, resid_pre(layer))
        with hf_pre_hooks(plain, {layer: lambda resid, row=vector.rows[0]: resid + row}):
            wanted = plain(tokens.ids, use_cache=False).logits
        assert relative(wanted, clean) > 0.1
        with steer(model, vector.everywhere()):
            assert relative(model.logits(tokens), wanted) <= 1e-5


@pytest.mark.parametrize("name", ["falcon_40b", "falcon_11b", "phi_normed", "granite_hybrid", "opt_350m", "gemma4"])
@torch.no_grad()
def test_greedy_text_with_the_cache_is_that_of_plain_hugging_face_without(name: str) -> None:
    model, plain = other_hooked(name), other_plain(name)
    ids = model.to_tokens(PROMPTS[0]).ids
    for _ in range(5):
        ids = torch.cat([ids, plain(ids, use_cache=False).logits[:, -1:].argmax(-1)], dim=1)
    assert generate(model, PROMPTS[0], max_new_tokens=5).tokens[0] == ids[0, -5:].tolist()


@pytest.mark.parametrize("name", OPENED)
@torch.no_grad()
def test_logit_lens_of_the_last_layer_is_the_model_output(name: str) -> None:
    model = other_hooked(name)
    tokens = model.to_tokens(PROMPTS[0])
    lens = model.unembed(model.residuals(tokens, [LAST])[LAST])
    assert relative(lens, other_plain(name)(tokens.ids, use_cache=False).logits) <= 1e-5
    assert model.output_scale.scale == pytest.approx(SCALES.get(name, 1.0), rel=1e-5)


@pytest.mark.parametrize("name", [*SCALES, "opt_350m", "gemma4"])
@torch.no_grad()
def test_token_lens_and_entropy_are_those_of_the_softmax_of_hugging_face(name: str) -> None:
    model = other_hooked(name)
    tokens = model.to_tokens(PROMPTS[0])
    wanted = torch.log_softmax(other_plain(name)(tokens.ids, use_cache=False).logits[0], dim=-1)
    lens = logit_lens(model, PROMPTS[0], sites=[LAST])
    assert np.allclose(lens["entropy"], -(wanted.exp() * wanted).sum(-1), atol=1e-4)
    assert lens["kl_to_final"].max() <= 1e-6
    target = token_lens(model, PROMPTS[0], [7], sites=[LAST])
    assert np.allclose(target["log_probability"], wanted[:, 7], atol=1e-4)


@pytest.mark.parametrize("name", SUMMING)
@torch.no_grad()
def test_the_decomposition_sums_to_the_change_of_hugging_faces_logit_difference(name: str) -> None:
    model, plain = other_hooked(name), other_plain(name)
    vector = random_vector(model, resid_pre(1))
    ids = model.to_tokens(PROMPTS[0]).ids
    with hf_pre_hooks(plain, {1: lambda resid: resid + vector.rows[0]}):
        steered = plain(ids, use_cache=False).logits[0, -1].double()
    change = steered - plain(ids, use_cache=False).logits[0, -1].double()
    with steer(model, vector.everywhere()):
        table = logit_decomposition(model, PROMPTS[0], toward=7, against=100)
        path = direct_path(model, PROMPTS[0])
    assert float(table["effect"].sum()) == pytest.approx(float(change[7] - change[100]), rel=1e-3, abs=1e-4)
    assert gap(path.steered[0].double(), steered.log_softmax(-1)) <= 1e-4


@pytest.mark.parametrize("name", OPENED)
@torch.no_grad()
def test_the_direction_reads_the_logit_difference_off_the_stream_but_for_a_constant(name: str) -> None:
    """Between two streams the constant cancels, whatever the norm and whether there is one."""
    model = other_hooked(name)
    stream = model.residuals(model.to_tokens(PROMPTS[0]), [LAST])[LAST]
    one, other, pairs = stream[0, -3:], 0.3 * stream[0, -6:-3], ([7, 8, 9], [100, 101, 8])
    read = [(x * logit_directions(model, x, *pairs)).sum(-1) for x in (one, other)]
    change = model.unembed(one) - model.unembed(other)
    wanted = change[range(3), pairs[0]] - change[range(3), pairs[1]]
    assert float(wanted.abs().max()) > 1e-2
    assert torch.allclose(read[0] - read[1], wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["cohere", "opt_350m", "opt_projected"])
@torch.no_grad()
def test_a_vector_reads_in_the_logits_of_the_output(name: str) -> None:
    model = other_hooked(name)
    vector = random_vector(model, resid_pre(1))
    top = vector_lens(model, vector, top_k=1).iloc[0]
    direction = vector.rows[0] * model.d_model**0.5 / vector.rows[0].norm()
    raised = model.unembed(direction) - model.unembed(torch.zeros(model.d_model))
    assert top["logit"] == pytest.approx(float((raised - raised.mean()).max()), rel=1e-4)


@pytest.mark.parametrize("name", NOT_A_SUM)
@torch.no_grad()
def test_a_block_that_is_not_the_sum_of_its_parts_loses_the_decomposition_alone(name: str) -> None:
    model = other_hooked(name)
    assert sorted(model.refused) == ["block outputs"]
    assert not exposes_block_outputs(model, 0)
    with pytest.raises(ValueError, match=f"^{model.architecture}: what its attention and MLP write does not sum"):
        decompose(model, model.to_tokens(PROMPTS[0]))


@pytest.mark.parametrize("name", ["gemma4", "opt_350m"])
def test_such_a_model_is_opened_as_a_bridge_too(name: str) -> None:
    backend = load_model(other_hf_model(name), tokenizer=tiny_tokenizer()).backend
    model = load_model(backend, tokenizer=tiny_tokenizer())
    assert sorted(model.refused) == ["block outputs"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["olmo", "olmo2", "olmo3", "flex_olmo", "cohere", "falcon_h1", "opt_350m"])
@torch.no_grad()
def test_half_precision_is_that_of_hugging_face(name: str, dtype: torch.dtype) -> None:
    model = load_model(other_hf_model(name, dtype), tokenizer=tiny_tokenizer())
    tokens = model.to_tokens(PROMPTS[0])
    wanted = other_hf_model(name, dtype)(tokens.ids, use_cache=False).logits
    assert model.dtype == dtype
    assert relative(model.logits(tokens), wanted) <= rounding(model)  # with another order of sums in its attention
    with model.running("hooked"):
        assert relative(model.logits(tokens), wanted) <= 0.01
        assert relative(model.unembed(model.residuals(tokens, [LAST])[LAST]), wanted) <= 0.01
    assert bool(model.refused) == (name in NOT_A_SUM)
    assert len(generate(model, PROMPTS[0], max_new_tokens=2).tokens[0]) > 0


# -- what is refused ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_opened_is_refused_in_one_sentence_with_its_architecture(name: str) -> None:
    hf_model = other_hf_model(name)
    architecture = type(hf_model).__name__
    with pytest.raises(ValueError, match=rf"^{architecture} cannot be opened: .*; {WORKS}") as raised:
        load_model(hf_model, tokenizer=tiny_tokenizer())
    assert "\n" not in str(raised.value)


def test_an_error_from_inside_the_first_pass_becomes_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from steering_lab.models import stream_check

    def fail(model: object, tokens: object) -> None:
        raise KeyError("blocks.0.odd")

    monkeypatch.setattr(stream_check, "_stream_and_logits", fail)
    with pytest.raises(ValueError, match=rf"^LlamaForCausalLM cannot be opened: .*KeyError.*; {WORKS}") as raised:
        load_model(tiny_hf_model("llama"), tokenizer=tiny_tokenizer())
    assert isinstance(raised.value.__cause__, KeyError)


def test_out_of_memory_stays_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from steering_lab.models import stream_check

    def fail(model: object, tokens: object) -> None:
        raise torch.OutOfMemoryError("no more")

    monkeypatch.setattr(stream_check, "_stream_and_logits", fail)
    with pytest.raises(torch.OutOfMemoryError):
        load_model(tiny_hf_model("llama"), tokenizer=tiny_tokenizer())


@torch.no_grad()
def test_an_output_that_does_not_follow_from_the_last_stream_loses_the_lens_alone() -> None:
    backend = load_model(tiny_hf_model("llama"), tokenizer=tiny_tokenizer()).backend
    backend.blocks[2].register_forward_hook(
        lambda module, args, output: (output[0] if isinstance(output, tuple) else output) + 0.1
    )
    model = load_model(backend, tokenizer=tiny_tokenizer())
    assert "lens" in model.refused
    tokens = model.to_tokens(PROMPTS[0])
    with pytest.raises(ValueError, match="logit lens, the direct path and the decomposition of logits are not offered"):
        logit_lens(model, PROMPTS[0])
    with pytest.raises(ValueError, match="not its final norm and unembedding"):
        logit_directions(model, torch.ones(1, model.d_model), [1], [2])
    with steer(model, random_vector(model, resid_pre(1)).everywhere()):
        assert model.logits(tokens).isfinite().all()


def test_an_edit_that_misses_the_skip_path_differs_from_plain_hugging_face() -> None:
    """A resid_pre that attention and MLP read but the skip path does not; the unedited passes are equal."""
    hf_model = tiny_hf_model("llama")
    ids = probe_ids(tiny_tokenizer(), 320, torch.device("cpu"))
    reference = reference_stream(hf_model, ids, "llama")
    model = load_model(hf_model, tokenizer=tiny_tokenizer())
    check_stream(model, ids, reference)
    block = model.backend.blocks[1]
    came_in, was_read = [], []
    block.register_forward_pre_hook(lambda module, args: came_in.append(args[0]))
    block.ln1.register_forward_pre_hook(lambda module, args: was_read.append(args[0]))
    block.hook_out.register_forward_pre_hook(lambda module, args: (args[0] - (was_read[-1] - came_in[-1]),))
    with pytest.raises(ValueError, match=r"a delta added at resid_pre\(1\): relative difference 0\.\d+"):
        check_stream(model, ids, reference)


# -- the scale ---------------------------------------------------------------------------------------------------------
def test_the_scale_is_found_under_a_cap_and_only_where_there_is_one() -> None:
    raw = torch.randn(7, 50, generator=torch.Generator().manual_seed(0))
    capped = 2.0 * torch.tanh(0.7 * raw / 2.0)
    found = fitted_output_scale(raw, capped, cap=2.0, tolerance=1e-5)
    assert found is not None
    assert found.scale == pytest.approx(0.7, rel=1e-6)
    assert fitted_output_scale(raw, capped, cap=None, tolerance=1e-5) is None
    assert fitted_output_scale(raw, -raw, cap=None, tolerance=1e-5) is None
    assert fitted_output_scale(raw, raw + 0.1 * raw**2, cap=None, tolerance=1e-5) is None
    assert fitted_output_scale(raw, raw * (1 + 1e-7), cap=None, tolerance=1e-5).scale == 1.0
