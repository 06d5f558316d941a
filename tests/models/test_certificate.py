"""A certificate holds for a model that is right, sees each fault that is put in, and says what is refused and why."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from steering_lab.models.certificate import Certificate, certificate, checks
from steering_lab.models.certificate.plain import plain_model
from steering_lab.models.certificate.value import CheckLine
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from tests.check_families import PAGE, outcome
from tests.families import ZOO
from tests.tiny_models import _ONLY_3 as ONLY_3
from tests.tiny_models import gap, hooked_transformer, tokenizer_of

# Members that stand for what differs: positions, norms, parallel blocks, experts, scaling, windows, recurrence, dtypes.
SAMPLE = (
    "gpt2", "gpt1", "opt_350m", "opt_post_norm", "bloom_post_ln", "falcon_40b", "falcon_11b", "llama", "mixtral",
    "qwen2", "qwen3_5", "gemma2", "gemma4_ple", "recurrent_gemma", "olmo2_bf16", "granite", "granite_hybrid_nope",
    "cohere", "phi_qk_norm", "phi3_longrope", "mistral_bf16", "modernbert_decoder", "falcon_h1", "mamba", "helium",
    "glm_moe_dsa",
)  # fmt: skip


@pytest.mark.parametrize("name", SAMPLE)
def test_a_family_holds_or_is_refused_in_a_sentence_and_its_page_says_which(name: str) -> None:
    one = outcome(ZOO[name])
    assert not one.wrong, one.holds
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.read_text().splitlines()]
    found = [row for row in rows if row[:3] == [one.member.family, one.member.layout, one.member.architecture]]
    assert [row[4] for row in found] == [one.holds], "the page is older than the code: make check-families"


def model_of(name: str) -> HookedModel:
    return load_model(ZOO[name].model(), tokenizer=ZOO[name].tokenizer())


def wrong_in(model: HookedModel, plain: Any = None) -> list[str]:
    return [line.check for line in certificate(model, plain=plain).wrong]


# -- plain Hugging Face, built again --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name", ["gpt2", "llama_3_rope", "gemma2", "bloom", "deepseek_v3", "mistral_bf16", "qwen3_next"]
)
def test_hugging_face_built_again_gives_its_own_logits_and_copies_no_weight(name: str) -> None:
    given = ZOO[name].model()
    model = load_model(given, tokenizer=ZOO[name].tokenizer())
    plain = plain_model(model)
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        assert gap(plain(ids, use_cache=False).logits, given(ids, use_cache=False).logits) == 0.0
    mine = {p.data_ptr() for p in plain.parameters()}
    assert mine == {p.data_ptr() for p in given.parameters()}


# -- each fault is seen, and no other --------------------------------------------------------------------------------
def scaled_unembedding(model: HookedModel) -> None:
    unembed = model.unembed
    model.unembed = lambda resid: 4.0 * unembed(resid)  # type: ignore[method-assign]


def padding_attended(model: HookedModel) -> None:
    forward = model.forward
    model.forward = lambda ids, mask, *rest, **more: forward(ids, torch.ones_like(mask), *rest, **more)  # type: ignore[method-assign]


def forgetful_cache(model: HookedModel) -> None:
    forward = model.forward

    def forget(ids: Any, mask: Any, forward_pass: Any, cache: Any = None, **more: Any) -> Any:
        if cache is not None and forward_pass.decoding:  # the past is there, and the mask hides its first half
            mask = mask.clone()
            mask[:, : mask.shape[1] // 2] = False
        return forward(ids, mask, forward_pass, cache, **more)

    model.forward = forget  # type: ignore[method-assign]


def edits_doubled(model: HookedModel) -> None:
    hook_of = model._hook_of
    model._hook_of = lambda edit: hook_of(lambda resid, where: resid + 2 * (edit(resid, where) - resid))  # type: ignore[method-assign]


def another_first_token(model: HookedModel) -> None:
    ids = model.token_ids
    model.token_ids = lambda text: [5, *ids(text)]  # type: ignore[method-assign]


FAULTS: dict[Callable[[HookedModel], None], set[str]] = {
    scaled_unembedding: {"lens"},
    padding_attended: {"batch", "runtimes", "cached", "greedy"},
    forgetful_cache: {"cached", "greedy"},
    edits_doubled: {"steered"},
    another_first_token: {"prefix"},
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_seen_where_it_is(fault: Callable[[HookedModel], None]) -> None:
    model = model_of("llama")  # in which nothing is wrong, says the sample above
    fault(model)
    assert set(wrong_in(model)) == FAULTS[fault]


def test_other_weights_in_hugging_face_are_seen_at_every_comparison_with_it() -> None:
    model, other = model_of("llama"), ZOO["llama"].model(seed=1)
    assert {"stream", "logits", "steered", "greedy"} == set(wrong_in(model, plain=other))


def test_a_value_that_is_not_a_number_is_wrong() -> None:
    model = model_of("llama")
    model.unembed = lambda resid: torch.full((*resid.shape[:-1], 320), torch.nan)  # type: ignore[method-assign]
    assert wrong_in(model) == ["lens"]


def test_a_text_is_hugging_faces_too_where_only_its_cache_would_write_another(monkeypatch: pytest.MonkeyPatch) -> None:
    own = checks.plain_greedy

    def leaving(plain: Any, ids: Any, new: int, *, use_cache: bool = True) -> list[int]:
        return [7] * new if use_cache else own(plain, ids, new, use_cache=False)

    model = model_of("llama")
    monkeypatch.setattr(checks, "plain_greedy", leaving)
    line = certificate(model)["greedy"]
    assert line.verdict == "ok"
    assert line.detail.count("without a cache") == 3
    monkeypatch.setattr(checks, "plain_greedy", lambda plain, ids, new, **more: [7] * new)
    assert wrong_in(model) == ["greedy"]


def test_what_is_raised_inside_is_wrong_and_what_we_refuse_is_refused() -> None:
    model = model_of("qwen3_5")
    line = certificate(model)["decomposition"]
    assert line.verdict == "refused"
    assert "only the stream itself can be read" in line.detail
    model.unembed = lambda resid: torch.zeros(2) @ torch.zeros(3)  # type: ignore[method-assign]
    assert certificate(model)["lens"].detail.startswith("RuntimeError: ")


# -- the value ---------------------------------------------------------------------------------------------------------
def test_a_certificate_is_json_and_text_of_120_columns_and_leaves_the_model_as_it_was() -> None:
    model = model_of("gpt2")
    before = model.fingerprint
    found = certificate(model)
    assert found.holds
    assert model.fingerprint == before
    assert json.loads(found.to_json())["lines"][2]["check"] == "stream"
    assert max(map(len, str(found).splitlines())) <= 120
    assert "everything that was checked holds" in str(found)


def test_one_wrong_line_is_named_at_the_end() -> None:
    found = certificate(model_of("gpt2"))
    bad = replace(found, lines=(*found.lines, CheckLine("weather", "rain against sun", "wrong", 2.0, 1e-4)))
    assert not bad.holds
    assert str(bad).endswith("wrong: weather\n")
    with pytest.raises(KeyError, match="'wether' was not checked: prefix, chat, stream"):
        bad["wether"]


@ONLY_3
def test_a_transformer_lens_object_has_no_hugging_face_beside_it() -> None:
    model = load_model(hooked_transformer(processed=True), tokenizer=tokenizer_of("hooked_transformer"))
    found: Certificate = certificate(model)
    assert found.holds
    assert found["stream"].verdict == "not applicable"
    assert found["batch"].verdict == "ok"


def test_options_are_for_what_is_yet_to_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="device: the model is loaded already"):
        certificate(model_of("gpt2"), device="cpu")


@pytest.mark.parametrize("template", ["{% for m in messages %}[{{ m.content }}]{% endfor %}>", None])
def test_a_chat_is_compared_where_there_is_a_template(template: str | None) -> None:
    model = model_of("llama")
    model.tokenizer.chat_template = template
    assert certificate(model)["chat"].verdict == ("not applicable" if template is None else "ok")


def test_another_text_than_the_templates_is_seen() -> None:
    model = model_of("llama")
    model.tokenizer.chat_template = "{% for m in messages %}[{{ m.content }}]{% endfor %}>"
    model.chat_text = lambda messages: "[" + messages[0]["content"] + "]"  # type: ignore[method-assign]
    assert wrong_in(model) == ["chat"]
