"""Two runtimes, one set of weights: equal logits and identical text, and the model chooses between them rightly."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering import steer
from steering_lab.models.generation import GREEDY, Sampling, generate
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.models.memory import is_out_of_memory
from steering_lab.models.runtimes.parity import rounding
from steering_lab.models.runtimes.plain import PlainRuntime
from tests.other_architectures import OPENED, other_hooked
from tests.tiny_models import (
    CONFIGS,
    HAS_HOOKED_TRANSFORMER,
    KINDS,
    PROMPTS,
    RULES,
    UNUSUAL,
    gap,
    hooked,
    n_hooks,
    passes,
    placed,
    tiny_hf_model,
    tokenizer_of,
)

EVERY: dict[str, Callable[[str], HookedModel]] = {
    **dict.fromkeys([*CONFIGS, *UNUSUAL], hooked),
    **dict.fromkeys(OPENED, other_hooked),
}
del EVERY["llama_dynamic"]  # whose context is shorter than the prompts
NUCLEUS = Sampling(temperature=0.9, top_p=0.9, freq_penalty=0.5)


def on_both(model: HookedModel, act: Callable[[], Any]) -> tuple[Any, Any]:
    found = []
    for runtime in ("hooked", "plain"):
        with model.running(runtime):  # type: ignore[arg-type]
            found.append(act())
    return found[0], found[1]


@pytest.mark.parametrize("name", EVERY)
def test_equal_logits_and_identical_text_under_every_rule_and_nested_blocks(name: str) -> None:
    model = EVERY[name](name)
    rules = [*RULES, *KINDS]
    prompts = [PROMPTS[i % 3] for i in range(len(rules))]
    tokens = model.to_tokens(prompts)
    edits = [1.5 * placed(model, resid_pre(1), rule) for rule in rules]
    with steer(model, edits), steer(model, placed(model, resid_post(0), "from_last_prompt_token")):
        left, right = on_both(model, lambda: model.logits(tokens)[tokens.mask])
        assert gap(left, right) <= 1e-5 * max(1.0, float(left.abs().max()))
        for sampling in (GREEDY, NUCLEUS):
            left, right = on_both(
                model, lambda s=sampling: generate(model, prompts, max_new_tokens=5, sampling=s).tokens
            )
            assert list(zip(rules, left, strict=True)) == list(zip(rules, right, strict=True))


@pytest.mark.parametrize("name", EVERY)
def test_equal_streams_at_every_site_under_edits(name: str) -> None:
    model = EVERY[name](name)
    tokens = model.to_tokens(PROMPTS)
    sites = [*model.sites(), *model.sites("resid_post")]
    with steer(model, placed(model, resid_pre(1), "everywhere")):
        left, right = on_both(model, lambda: model.residuals(tokens, sites))
    for site in sites:
        assert gap(left[site][tokens.mask], right[site][tokens.mask]) <= 1e-5 * float(left[site].abs().max())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "opt", "gpt_neox"])
def test_in_half_precision_logits_differ_by_what_the_order_of_sums_explains(name: str, dtype: torch.dtype) -> None:
    model = load_model(tiny_hf_model(name).to(dtype), tokenizer=tokenizer_of(name))
    tokens = model.to_tokens(PROMPTS)
    with steer(
        model, placed(hooked(name), resid_pre(1), "everywhere"), allow_other_model=True, allow_other_prefix=True
    ):
        left, right = on_both(model, lambda: model.logits(tokens)[tokens.mask].float())
    assert gap(left, right) <= rounding(model) * float(left.abs().max())


def test_the_plain_runtime_holds_no_weight_of_its_own() -> None:
    for name in CONFIGS:
        model = hooked(name)
        assert model.plain is not None
        theirs = {p.data_ptr() for p in model.plain.hf_model.parameters()}
        assert theirs == {p.data_ptr() for p in model.weights or []}


def test_no_hook_outlives_its_block_on_either() -> None:
    model = hooked("llama")
    before = n_hooks(model)

    def interrupted() -> None:
        with steer(model, placed(model, resid_pre(1), "everywhere")):
            assert n_hooks(model) > before + 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    model.residuals(model.to_tokens(PROMPTS), [resid_pre(1)])
    assert n_hooks(model) == before


# -- which one runs ---------------------------------------------------------------------------------------------------
def test_what_hangs_on_the_backend_is_seen_and_runs_there() -> None:
    model = hooked("llama")
    clean = generate(model, PROMPTS).tokens
    assert model.runtime.name == "plain" == model.facts()["runtime"]
    assert model.facts()["attention"] == "sdpa"
    with model.backend.hooks(fwd_hooks=[("blocks.1.mlp.hook_out", lambda x, hook: 0 * x)]):
        assert model.runtime.name == "hooked" == model.facts()["runtime"]
        changed = generate(model, PROMPTS).tokens
        with model.running("plain"), pytest.raises(ValueError, match=r"1 hooks hang on model\.backend"):
            generate(model, PROMPTS)
    handle = model.backend.blocks[1].register_forward_hook(lambda module, args, out: None)
    assert model.runtime.name == "hooked"
    handle.remove()
    assert model.runtime.name == "plain"
    assert changed != clean == generate(model, PROMPTS).tokens


def test_hooks_taken_off_inside_a_block_are_missed() -> None:
    model = hooked("llama")
    with steer(model, placed(model, resid_pre(1), "everywhere")):
        steered = generate(model, PROMPTS).tokens
        model.backend.reset_hooks()
        assert model.runtime.name == "plain"
        assert generate(model, PROMPTS).tokens == steered
        with model.backend.hooks(fwd_hooks=[("blocks.1.mlp.hook_out", lambda x, hook: 0 * x)]):
            assert model.runtime.name == "hooked"
            with pytest.raises(ValueError, match="1 hooks of the block under way are no longer on"):
                generate(model, PROMPTS)
    with model.running("hooked"):
        assert generate(model, PROMPTS).tokens != steered


def test_blocks_entered_by_hand_may_end_in_any_order() -> None:
    model = hooked("llama")
    before, prompts = n_hooks(model), PROMPTS[:1] * 3
    early, late = (placed(model, resid_pre(1), rule) for rule in ("everywhere", "generated"))
    with steer(model, early):
        alone = generate(model, prompts).tokens
    first, second = steer(model, late), steer(model, early)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert generate(model, prompts).tokens == alone
    second.__exit__(None, None, None)
    assert n_hooks(model) == before


def test_a_runtime_is_asked_for_at_load_or_for_a_block() -> None:
    model = load_model(tiny_hf_model("llama"), tokenizer=tokenizer_of("llama"), runtime="hooked")
    assert model.runtime.name == "hooked"
    with model.running("plain"):
        assert model.runtime.name == "plain"
        with model.running("hooked"):
            assert model.runtime.name == "hooked"
        assert model.runtime.name == "plain"
    assert model.runtime.name == "hooked"


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_is_chosen_for_the_plain_runtime(attention: Any) -> None:
    model = load_model(tiny_hf_model("llama"), tokenizer=tokenizer_of("llama"), attention=attention)
    assert model.plain is not None
    assert model.plain.attention == attention
    assert generate(model, PROMPTS).tokens == generate(hooked("llama"), PROMPTS).tokens


def test_an_attention_that_does_not_fit_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"attention 'flash_attention_2' does not run .*LlamaForCausalLM"):
        load_model(tiny_hf_model("llama"), tokenizer=tokenizer_of("llama"), attention="flash_attention_2")


def test_modules_that_do_something_else_are_no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = PlainRuntime.forward

    def off(self: PlainRuntime, *args: Any, **options: Any) -> Any:
        logits = forward(self, *args, **options)
        return None if logits is None else 1.001 * logits

    monkeypatch.setattr(PlainRuntime, "forward", off)
    model = load_model(tiny_hf_model("llama"), tokenizer=tokenizer_of("llama"))
    assert model.plain is None
    assert model.runtime.name == "hooked"
    assert "apart from TransformerLens's" in model.refused["plain runtime"]
    with pytest.raises(ValueError, match="has no plain runtime: its logits are"):
        model.as_transformers()


@pytest.mark.skipif(not HAS_HOOKED_TRANSFORMER, reason="TransformerLens 4 has no HookedTransformer")
def test_a_transformer_lens_object_runs_itself() -> None:
    model = hooked("hooked_transformer")
    assert model.runtime.name == "hooked"
    with pytest.raises(ValueError, match="has no plain runtime"), model.running("plain"):
        pass


# -- what is done once instead of often -------------------------------------------------------------------------------
def one_by_one(model: HookedModel, rows: Sequence[tuple[Intervention, str]]) -> list[list[int]]:
    """What each prompt says under its intervention, alone."""
    alone = []
    for cell, prompt in rows:
        with steer(model, cell):
            alone += generate(model, prompt, max_new_tokens=5).tokens
    return alone


LATE = ["from_last_prompt_token", "generated", "at(-1)"]


@pytest.mark.parametrize("runtime", ["hooked", "plain"])
@pytest.mark.parametrize("name", EVERY)
def test_a_prompt_is_read_once_for_rows_whose_edits_begin_late_and_says_the_same(
    name: str, runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = EVERY[name](name)
    cells = [Intervention(), *(1.5 * placed(model, resid_pre(1), rule) for rule in LATE)]
    rows = [(cell, prompt) for cell in cells for prompt in PROMPTS]
    with model.running(runtime):
        alone = one_by_one(model, rows)
        seen = passes(monkeypatch)
        with steer(model, [cell for cell, _ in rows]):
            together = generate(model, [prompt for _, prompt in rows], max_new_tokens=5).tokens
    assert together == alone
    if model.batching.free and model.batching.caches and model.batching.interleaves:
        widest = max(len(model.token_ids(prompt)) for prompt in PROMPTS)
        assert seen[:2] == [(3, widest - 1), (12, 1)]


@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral_window", "gemma2_window", "opt"])
def test_several_tokens_are_read_on_from_a_shared_beginning(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = hooked(name)
    cells = [Intervention(), placed(model, resid_pre(1), "at(-3)"), placed(model, resid_post(2), "at(-3)")]
    rows = [(cell, prompt) for cell in cells for prompt in PROMPTS]
    alone = one_by_one(model, rows)
    seen = passes(monkeypatch)
    with steer(model, [cell for cell, _ in rows]):
        assert generate(model, [prompt for _, prompt in rows], max_new_tokens=5).tokens == alone
    assert [shape[0] for shape in seen[:2]] == [3, 9]
    assert seen[1][1] == 3


def test_an_edit_that_does_not_say_where_it_begins_shares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = hooked("llama")
    seen = passes(monkeypatch)
    with model.hooks({resid_pre(1): lambda resid, forward_pass: resid}):
        generate(model, [PROMPTS[0]] * 3, max_new_tokens=1)
    generate(model, [PROMPTS[0]] * 3, max_new_tokens=1)
    assert [shape[0] for shape in seen] == [3, 1, 3]


@pytest.mark.parametrize("name", EVERY)
def test_rows_that_have_ended_leave_and_the_others_say_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = EVERY[name](name)
    whole = generate(model, PROMPTS, max_new_tokens=8, ignore_eos=True).tokens
    stop = model.tokenizer.decode(whole[1][2:3]) or "x"
    seen = passes(monkeypatch)
    stopped = generate(model, PROMPTS, max_new_tokens=8, ignore_eos=True, stop=[stop]).tokens
    assert [row[: len(own)] for row, own in zip(whole, stopped, strict=True)] == stopped
    if len({len(row) for row in stopped}) > 1 and model.batching.free and model.batching.interleaves:
        assert seen[-1][0] < 3


def test_a_batch_that_does_not_fit_goes_in_halves_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    model = hooked("llama")
    prompts = [f"{i} {PROMPTS[0]}" for i in range(8)]
    whole = generate(model, prompts, max_new_tokens=4, log_probs=True)
    forward, sizes = HookedModel.forward, list[int]()

    def small(self: HookedModel, ids: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        sizes.append(len(ids))
        if len(ids) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, ids, *args, **kwargs)

    monkeypatch.setattr(HookedModel, "forward", small)
    assert generate(model, prompts, max_new_tokens=4).tokens == whole.tokens
    assert sizes[:3] == [8, 4, 2]
    monkeypatch.setattr(HookedModel, "forward", lambda *args, **kwargs: (_ for _ in ()).throw(RuntimeError("other")))
    with pytest.raises(RuntimeError, match="other"):
        generate(model, prompts)


def test_scoring_that_does_not_fit_goes_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    model = hooked("llama")
    prompts = [f"{i} {PROMPTS[0]}" for i in range(6)]
    whole = generate(model, prompts, max_new_tokens=4, ignore_eos=True, log_probs=True)
    forward, sizes = HookedModel.forward, list[int]()

    def small(self: HookedModel, ids: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        sizes.append(len(ids))
        if len(sizes) > 4 and len(ids) > 2:  # four steps, then the unsteered model's
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, ids, *args, **kwargs)

    monkeypatch.setattr(HookedModel, "forward", small)
    again = generate(model, prompts, max_new_tokens=4, ignore_eos=True, log_probs=True)
    assert again.tokens == whole.tokens
    retried, wanted = (torch.tensor(found.unsteered_log_probs) for found in (again, whole))
    assert gap(retried, wanted) <= 1e-5
    assert sizes[4:7] == [6, 3, 1]


def test_what_drivers_say_of_memory_is_understood() -> None:
    for said in ("CUDA error: out of memory", "MPS backend out of memory", "CUBLAS_STATUS_ALLOC_FAILED when calling x"):
        assert is_out_of_memory(RuntimeError(said))
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_batches_follow_the_memory_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    model = hooked("llama")
    prompts = [f"{i} {PROMPTS[0]}" for i in range(8)]
    whole = generate(model, prompts, max_new_tokens=4).tokens
    monkeypatch.setattr("steering_lab.models.memory.free_bytes", lambda device: 300_000)
    seen = passes(monkeypatch)
    assert generate(model, prompts, max_new_tokens=4).tokens == whole
    assert 1 <= max(shape[0] for shape in seen) < 8


def test_the_prompt_pass_computes_logits_of_the_last_token_alone() -> None:
    model = hooked("llama")
    assert model.plain is not None
    shapes: list[tuple[int, ...]] = []
    head = model.plain.hf_model.lm_head
    handle = head.register_forward_hook(lambda module, args, out: shapes.append(tuple(out.shape)))
    generate(model, PROMPTS, max_new_tokens=2, ignore_eos=True)
    handle.remove()
    assert [shape[1] for shape in shapes] == [1, 1]
