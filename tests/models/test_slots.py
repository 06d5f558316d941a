"""Rows in places that stay say what they say elsewhere: the loop of a GPU, tried here without its graphs."""

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from weakref import ref

import pytest
import torch

from steering_lab.interventions.intervention import Add, Edit, Intervention
from steering_lab.interventions.steering import steer
from steering_lab.methods.cad import CAD
from steering_lab.models import generation, slots
from steering_lab.models.generation import GREEDY, NoNumbers, Sampling, generate
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.models.slots import can_stay, rounded
from tests.recorded_graphs import Recordings, recorded_graphs
from tests.tiny_models import CONFIGS, KINDS, PROMPTS, RULES, UNUSUAL, hooked, placed, tiny_hf_model, tokenizer_of

NUCLEUS = Sampling(temperature=0.9, top_p=0.9, freq_penalty=0.5, repetition_penalty=1.1)


@pytest.fixture
def staying(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Decoding in places on this device; counts the calls that did."""
    calls: list[int] = []
    decode = slots.decode_in_slots

    def counted(held: slots.Slots, lengths: list[int], *rest: object) -> object:
        calls.append(len(lengths))
        return decode(held, lengths, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(generation, "STAYS", ("cpu",))
    monkeypatch.setattr(generation, "decode_in_slots", counted)
    return calls


def both(model: HookedModel, *args: object, **options: object) -> tuple[generation.Generations, ...]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation, "STAYS", ())
        wanted = generate(model, *args, **options)  # type: ignore[arg-type]
    return generate(model, *args, **options), wanted  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*CONFIGS, *UNUSUAL])
def test_identical_text_under_every_rule_and_kind(name: str, staying: list[int]) -> None:
    if name == "llama_dynamic":
        pytest.skip("its context is shorter than the prompts")
    model = hooked(name)
    rules = [*RULES, *KINDS]
    prompts = [PROMPTS[i % 3] for i in range(len(rules))]
    for edits in (
        [1.5 * placed(model, resid_pre(1), rule) for rule in rules],
        placed(model, resid_pre(2), "everywhere"),
    ):
        with steer(model, edits), steer(model, placed(model, resid_post(0), "from_last_prompt_token")):
            for sampling in (GREEDY, NUCLEUS):
                got, wanted = both(model, prompts, max_new_tokens=20, sampling=sampling, log_probs=True)
                assert got.tokens == wanted.tokens
                assert got.texts == wanted.texts
                for left, right in zip(got.log_probs or [], wanted.log_probs or [], strict=True):
                    assert left == pytest.approx(right, abs=1e-4)
    assert bool(staying) == can_stay(model)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 64])
def test_waiting_rows_take_the_places_of_ended_ones(batch_size: int, staying: list[int]) -> None:
    """Rows end at many lengths: by stop strings that are one token's text, and by the last step."""
    model = hooked("llama")
    prompts = [prompt + " and" * (i % 4) for i in range(7) for prompt in PROMPTS]
    edits = [0.3 * i * placed(model, resid_pre(1), "everywhere") for i in range(len(prompts))]
    with steer(model, edits):
        free = generate(model, prompts, max_new_tokens=30, sampling=NUCLEUS)
        stop = [model.token_strings([row[i % 13]])[0] for i, row in enumerate(free.tokens) if i % 2]
        got, wanted = both(model, prompts, max_new_tokens=30, sampling=NUCLEUS, stop=stop, batch_size=batch_size)
    assert got.tokens == wanted.tokens
    assert len({len(row) for row in got.tokens}) > 3
    assert max(staying) == len(prompts) if batch_size > 2 else len(staying) > 2


def test_two_streams_under_a_rule_and_begun_continuations(staying: list[int]) -> None:
    model = hooked("llama")
    bare = [prompt[: len(prompt) // 2] for prompt in PROMPTS]
    begun = model.to_tokens(PROMPTS, [[5, 6], [7], [8, 9, 10]])
    with steer(model, placed(model, resid_pre(1), "from_last_prompt_token")):
        for prompts in (PROMPTS, begun):
            got, wanted = both(model, prompts, max_new_tokens=11, rule=CAD(1.0), without_context=bare)
            assert got.tokens == wanted.tokens
            got, wanted = both(model, prompts, max_new_tokens=1)
            assert got.tokens == wanted.tokens
    assert len(staying) == 4


def test_room_for_what_is_begun_behind_a_longer_prompt_without_context(staying: list[int]) -> None:
    model = hooked("llama")
    begun = model.to_tokens([prompt[:5] for prompt in PROMPTS], [[5] * 30, [7] * 25, [8] * 28])
    bare = [prompt + " and more of the same words" for prompt in PROMPTS]
    model.release()
    options = {"max_new_tokens": 11, "rule": CAD(1.0), "without_context": bare, "ignore_eos": True}
    got, wanted = both(model, begun, **options)
    assert got.tokens == wanted.tokens
    assert staying


@dataclass(frozen=True, eq=False)
class Bursting(Edit):
    """An edit after which a norm is no number."""

    def delta(self, resid: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        return 1e30 * row


@pytest.mark.parametrize("place", ["everywhere", "generated"])
def test_a_row_that_overflows_is_refused_and_leaves_nothing_to_the_next_one_in_its_place(
    staying: list[int], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight of 0 times a value that is no number is no number."""
    model = hooked("gpt2")
    rows = torch.linspace(-2, 2, model.d_model)[None]
    edits = [getattr((Bursting if i % 2 else Add)(rows, resid_pre(1)), place)() for i in range(12)]
    options = {"max_new_tokens": 20, "batch_size": 2, "ignore_eos": True, "sampling": NUCLEUS, "log_probs": True}
    for stays in ((), ("cpu",)):
        monkeypatch.setattr(generation, "STAYS", stays)
        with steer(model, edits), pytest.raises(NoNumbers, match=r"behind prompt \d+ the logits of .* are NaN or inf"):
            generate(model, [*PROMPTS] * 4, **options)  # type: ignore[arg-type]
    with steer(model, edits[0]):
        got, wanted = both(model, [*PROMPTS] * 4, **options)
    assert got.tokens == wanted.tokens
    assert staying


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_what_torch_makes_tensors_of_by_default_changes_nothing(dtype: torch.dtype, staying: list[int]) -> None:
    model = hooked("llama")
    with steer(model, placed(model, resid_pre(1), "everywhere")):
        options = {"max_new_tokens": 12, "sampling": NUCLEUS, "log_probs": True}
        _, wanted = both(model, PROMPTS, **options)
        model.release()
        torch.set_default_dtype(dtype)
        try:
            for got in both(model, PROMPTS, **options):
                assert got.tokens == wanted.tokens
                for left, right in zip(got.log_probs or [], wanted.log_probs or [], strict=True):
                    assert left == pytest.approx(right, abs=1e-4)
        finally:
            torch.set_default_dtype(torch.float32)
    model.release()
    assert len(staying) == 2


def test_under_autocast_rows_are_decoded_the_other_way(staying: list[int]) -> None:
    """What it casts is kept until its block ends, and a graph would read it afterwards."""
    model = hooked("llama")
    with torch.autocast("cpu", torch.bfloat16):
        got, wanted = both(model, PROMPTS, max_new_tokens=9)
    assert got.tokens == wanted.tokens
    assert not staying
    generate(model, PROMPTS, max_new_tokens=9)
    assert staying


def test_places_are_used_again_and_hold_nothing_of_the_call_before(staying: list[int]) -> None:
    model = hooked("gpt2")
    assert model.plain is not None
    held = []
    for scale, rule in ((2.0, "everywhere"), (-3.0, "generated"), (1.0, "from_last_prompt_token")):
        with steer(model, scale * placed(model, resid_pre(1), rule)):
            got, wanted = both(model, PROMPTS, max_new_tokens=9)
            assert got.tokens == wanted.tokens
        held.append(model.plain.slots)
    assert held[0] is held[1] is held[2]
    fewer, wanted = both(model, PROMPTS[:1], max_new_tokens=9)
    assert fewer.tokens == wanted.tokens
    generate(model, PROMPTS, max_new_tokens=70)
    assert model.plain.slots is not held[0]
    model.release()
    assert model.plain.slots is None


@pytest.mark.parametrize("batch_size", [2, 3, 5, 20])
def test_no_more_rows_at_once_than_asked_for_whatever_was_before(
    batch_size: int, staying: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = hooked("llama")
    generate(model, [*PROMPTS] * 8, max_new_tokens=9)
    seen: set[int] = set()
    step = HookedModel.step

    def counted(self: HookedModel, ids: torch.Tensor, *rest: object) -> torch.Tensor:
        seen.add(len(ids))
        return step(self, ids, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(HookedModel, "step", counted)
    generate(model, [*PROMPTS] * 8, max_new_tokens=9, batch_size=batch_size, ignore_eos=True)
    assert max(seen) == batch_size
    assert staying


def test_a_model_that_has_spoken_goes_as_soon_as_nobody_holds_it(staying: list[int]) -> None:
    """Its weights would otherwise stay on the device until somebody collects garbage."""
    model = load_model(tiny_hf_model("llama"), tokenizer=tokenizer_of("llama"))
    generate(model, PROMPTS, max_new_tokens=3)
    gone = ref(model)
    gc.collect()
    gc.disable()
    try:
        del model
        assert gone() is None
    finally:
        gc.enable()
    assert staying


def test_prompts_of_many_lengths_make_places_anew_seldom(staying: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model = hooked("llama")
    model.release()
    made: list[int] = []
    build = slots.Slots.__init__

    def counted(self: slots.Slots, model: HookedModel, shape: slots.Shape) -> None:
        made.append(shape.room)
        build(self, model, shape)

    monkeypatch.setattr(slots.Slots, "__init__", counted)
    generate(model, [" and" * n for n in range(1, 60, 4)], max_new_tokens=4, batch_size=1)
    assert len(staying) == 15
    assert made == sorted(made, reverse=True)
    assert len(made) <= 3


def test_whoever_watches_a_pass_sees_every_step(staying: list[int]) -> None:
    """A graph would run a Python function once: what is no edit of ours goes the other way."""
    model = hooked("llama")
    seen: list[int] = []

    def watch(resid: torch.Tensor, forward_pass: object) -> torch.Tensor:
        seen.append(resid.shape[1])
        return resid

    with model.hooks({resid_pre(1): watch}):
        generate(model, PROMPTS, max_new_tokens=6, ignore_eos=True)
    assert seen[1:] == [1] * 5
    assert model.plain is not None
    handle = model.plain.hf_model.get_submodule("model.layers.1.mlp").register_forward_hook(lambda *_: seen.append(0))
    try:
        generate(model, PROMPTS, max_new_tokens=6, ignore_eos=True)
    finally:
        handle.remove()
    assert seen.count(0) == 6
    assert not staying
    model.as_transformers()
    generate(model, PROMPTS, max_new_tokens=6)
    assert staying


def test_what_is_said_inside_inference_mode_leaves_places_that_serve_outside(staying: list[int]) -> None:
    model = hooked("llama")
    model.release()
    with torch.inference_mode():
        first = generate(model, PROMPTS, max_new_tokens=9).tokens
    assert generate(model, PROMPTS, max_new_tokens=9).tokens == first
    assert len(staying) == 2


def test_rows_that_do_not_fit_are_halved(staying: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model = hooked("llama")
    wanted = generate(model, PROMPTS * 4, max_new_tokens=9, seed=list(range(12))).tokens
    made = slots.Slots.__init__

    def scarce(self: slots.Slots, model: HookedModel, shape: slots.Shape) -> None:
        if shape.n > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        made(self, model, shape)

    monkeypatch.setattr(slots.Slots, "__init__", scarce)
    model.release()
    assert generate(model, PROMPTS * 4, max_new_tokens=9, seed=list(range(12))).tokens == wanted
    assert staying == [12, 3, 3, 3, 3]


def test_an_edit_that_fails_in_a_step_leaves_no_hook(staying: list[int]) -> None:
    model = hooked("llama")
    edits = [Intervention(), placed(model, resid_pre(1), "generated")]
    with steer(model, edits), pytest.raises(ValueError, match="2 interventions for a batch of 3"):
        generate(model, PROMPTS, max_new_tokens=9)
    assert model.plain is not None
    assert not model.plain.n_foreign


def test_so_many_shapes_and_no_more_are_needed() -> None:
    assert sorted({rounded(n) for n in range(1, 130)}) == [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192]
    assert all(n <= rounded(n) < 2 * n + 1 for n in range(1, 2000))


# -- with recordings that stand for graphs: they repeat operations, and know nothing of Python -----------------------
@pytest.fixture
def recorded(staying: list[int], monkeypatch: pytest.MonkeyPatch) -> Iterator[Recordings]:
    hooked("llama").release()
    yield recorded_graphs(monkeypatch)
    hooked("llama").release()


def test_what_is_recorded_serves_calls_of_other_kinds_in_turn(recorded: Recordings) -> None:
    model = hooked("llama")
    bare = [prompt[: len(prompt) // 2] for prompt in PROMPTS]
    kinds = [
        {"log_probs": True},
        {"sampling": NUCLEUS},
        {"sampling": Sampling(), "seed": 3},
        {"rule": CAD(1.0), "without_context": bare},
    ]
    for turn in range(3):
        before = len(recorded)
        for options in kinds:
            with steer(model, placed(model, resid_pre(1), "everywhere", seed=turn)):
                got, wanted = both(model, PROMPTS, max_new_tokens=12 - turn, ignore_eos=True, **options)
            assert got.tokens == wanted.tokens
        assert len(recorded) - before == (1 if turn == 2 else 4)  # a rule's serves one call, and made places anew


@pytest.mark.parametrize("rule", ["ablate", "a sum of all", "preserving_norm"])
def test_a_recording_of_edits_that_look_at_the_stream_serves_one_call(rule: str, recorded: Recordings) -> None:
    model = hooked("llama")
    for seed in range(3):
        with (
            steer(model, placed(model, resid_pre(1), "everywhere")),
            steer(model, placed(model, resid_pre(1), rule, seed=seed)),
        ):
            got, wanted = both(model, PROMPTS, max_new_tokens=12, ignore_eos=True)
            assert got.tokens == wanted.tokens
        got, wanted = both(model, PROMPTS, max_new_tokens=12, ignore_eos=True)
        assert got.tokens == wanted.tokens
    assert len(recorded) == 4


def test_a_rule_that_cannot_be_recorded_leaves_other_calls_their_recordings(recorded: Recordings) -> None:
    model = hooked("llama")

    def asking(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
        return ours - 0.5 * theirs if float(ours.norm()) > 0 else theirs

    options = {"max_new_tokens": 12, "ignore_eos": True}
    with pytest.warns(UserWarning, match="without CUDA graphs"):
        got, wanted = both(model, PROMPTS, rule=asking, without_context=PROMPTS[::-1], **options)
    assert got.tokens == wanted.tokens
    assert not recorded
    assert recorded.current is recorded.MAIN
    got, wanted = both(model, PROMPTS, **options)
    assert got.tokens == wanted.tokens
    assert len(recorded) == 1


def test_weights_that_were_replaced_are_not_those_of_the_recording(recorded: Recordings) -> None:
    model = load_model(tiny_hf_model("gpt2"), tokenizer=tokenizer_of("gpt2"))
    before = generate(model, PROMPTS, max_new_tokens=12, ignore_eos=True).tokens
    assert model.plain is not None
    norm = model.plain.hf_model.transformer.ln_f
    norm.weight = torch.nn.Parameter(-norm.weight.detach())
    got, wanted = both(model, PROMPTS, max_new_tokens=12, ignore_eos=True)
    assert got.tokens == wanted.tokens != before


# -- with graphs, where there is a GPU ---------------------------------------------------------------------------------
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here")


@lru_cache
def on_cuda(name: str) -> HookedModel:
    return load_model(tiny_hf_model(name).to("cuda"), tokenizer=tokenizer_of(name))


@needs_cuda
@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "qwen2", "gemma2", "opt"])
def test_graphs_say_what_the_loop_says(name: str) -> None:
    model = on_cuda(name)
    assert can_stay(model)
    rules = [*RULES, *KINDS]
    prompts = [PROMPTS[i % 3] for i in range(len(rules))]
    each = [1.5 * placed(model, resid_pre(1), rule) for rule in rules]
    for edits in (each, each[4], placed(model, resid_pre(2), "ablate")):
        with steer(model, edits), steer(model, placed(model, resid_post(0), "from_last_prompt_token")):
            for sampling in (GREEDY, NUCLEUS):
                for batch_size in (5, 64):
                    options = {"max_new_tokens": 20, "sampling": sampling, "batch_size": batch_size, "log_probs": True}
                    got, wanted = both(model, prompts, **options)
                    assert got.tokens == wanted.tokens
                    for left, right in zip(got.log_probs or [], wanted.log_probs or [], strict=True):
                        assert left == pytest.approx(right, abs=1e-3)
    bare = [prompt[: len(prompt) // 2] for prompt in PROMPTS]
    with steer(model, placed(model, resid_pre(1), "from_last_prompt_token")):
        got, wanted = both(model, PROMPTS, max_new_tokens=11, rule=CAD(1.0), without_context=bare)
    assert got.tokens == wanted.tokens


@needs_cuda
def test_one_graph_serves_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    model = on_cuda("llama")
    model.release()
    made: list[int] = []
    graph = torch.cuda.graph

    def counted(*args: object, **options: object) -> object:
        made.append(1)
        return graph(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.cuda, "graph", counted)
    for coeff in (1.0, -2.0, 3.0):
        with steer(model, [coeff * placed(model, resid_pre(1), "everywhere"), *[Intervention()] * 2]):
            got, wanted = both(model, PROMPTS, max_new_tokens=12, ignore_eos=True)
        assert got.tokens == wanted.tokens
    assert sum(made) == 1


@dataclass(frozen=True, eq=False)
class Asking(Edit):
    """An edit that asks the device for a number, which no graph can."""

    def delta(self, resid: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        return row if float(resid.norm()) > 0 else -row


@needs_cuda
def test_what_cannot_be_captured_runs_without_a_graph() -> None:
    model = on_cuda("gpt2")
    rows = torch.linspace(-2, 2, model.d_model)[None]
    with steer(model, Asking(rows, resid_pre(1)).everywhere()), pytest.warns(UserWarning, match="without CUDA graphs"):
        got = generate(model, PROMPTS, max_new_tokens=12).tokens
    with steer(model, Add(rows, resid_pre(1)).everywhere()):
        assert generate(model, PROMPTS, max_new_tokens=12).tokens == got
    model.release()
