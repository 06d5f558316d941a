"""What stands in front of a text is the tokenizer's own business, unless another policy was asked for."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from steering_lab.interventions.steering import steer
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.models.prefix import ChatText, check_prefix, prefix_ids, text_ids
from tests.tiny_models import CONFIGS, PROMPTS, hooked, random_vector, tiny_hf_model, tiny_tokenizer, tokenizer_of

TEMPLATE = (
    "{{ bos_token }}{% if messages[0]['role'] != 'system' %}<sys>be kind</sys>{% endif %}"
    "{% for m in messages %}{% if m['role'] == 'robot' %}{{ raise_exception('no robots') }}{% endif %}"
    "{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if tools %}[{{ tools | length }} tools]{% endif %}"
    "{% if add_generation_prompt %}assistant:{% if enable_thinking is false %} <think></think>{% endif %}{% endif %}"
)
MESSAGES = [{"role": "user", "content": "I hate you"}]


def with_prefix(*ids: int) -> PreTrainedTokenizerFast:
    """The tiny tokenizer putting these special tokens in front of every text."""
    plain = tiny_tokenizer(adds_bos=False)
    core = copy.deepcopy(plain.backend_tokenizer)
    tokens = [core.id_to_token(i) for i in ids]
    core.post_processor = TemplateProcessing(
        single=" ".join([*tokens, "$A"]), special_tokens=list(zip(tokens, ids, strict=True))
    )
    own = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    own.chat_template = TEMPLATE
    return own


@pytest.fixture(scope="module", params=[(), (0,), (2, 0)], ids=["adds nothing", "adds BOS", "adds two"])
def chatting(request: pytest.FixtureRequest) -> HookedModel:
    return load_model(tiny_hf_model("llama"), tokenizer=with_prefix(*request.param))


TEXTS = ["I hate you", "<s>I hate you", "<s>", " ", "I hate you</s>", "ß ☃"]


@pytest.mark.parametrize("text", TEXTS)
def test_ids_are_the_tokenizers_own_in_every_path(chatting: HookedModel, text: str) -> None:
    theirs = chatting.tokenizer(text).input_ids
    assert chatting.token_ids(text) == theirs
    assert chatting.to_tokens(text).ids[0].tolist() == theirs
    tokens = chatting.to_tokens([text, "I hate you because you love the sea"])
    assert tokens.ids[0][tokens.mask[0]].tolist() == theirs
    assert (
        generate(chatting, [text], max_new_tokens=2).tokens == generate(chatting, tokens, max_new_tokens=2).tokens[:1]
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_every_architecture_reads_what_its_tokenizer_writes(name: str) -> None:
    model = load_model(tiny_hf_model(name), tokenizer=tokenizer_of(name))
    assert model.token_ids("I hate you") == tokenizer_of(name)("I hate you").input_ids
    assert bool(model.prefix_ids) == (name not in ("gpt2", "gpt_neox", "qwen2"))


@given(text=st.text(min_size=1, max_size=12), ids=st.sampled_from([(), (0,), (2, 0)]))
def test_a_prefix_is_what_stands_in_front_of_the_texts_own_ids(text: str, ids: tuple[int, ...]) -> None:
    tokenizer = with_prefix(*ids)
    bare = tokenizer(text, add_special_tokens=False).input_ids
    assert text_ids(tokenizer, text, "tokenizer") == [*prefix_ids(tokenizer, "tokenizer"), *bare] == [*ids, *bare]
    assert text_ids(tokenizer, text, "bos") == [0, *bare]
    assert text_ids(tokenizer, text, "none") == bare
    assert prefix_ids(tokenizer, "bos") == [0]
    assert prefix_ids(tokenizer, "none") == []
    assert text_ids(tokenizer, text, "</s>") == [tokenizer.eos_token_id, *bare]
    assert prefix_ids(tokenizer, "</s>") == [tokenizer.eos_token_id]


# -- chats ------------------------------------------------------------------------------------------------------------
OPTIONS = [{}, {"enable_thinking": False}, {"tools": [{"type": "function", "function": {"name": "look"}}]}]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("system", [None, "", "Be brief."])
def test_a_chat_is_tokenised_as_the_template_is(chatting: HookedModel, options: dict, system: str | None) -> None:
    turns = [*([] if system is None else [{"role": "system", "content": system}]), *MESSAGES]
    text = chatting.chat_text(turns, **options)
    theirs = chatting.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False, **options)
    assert chatting.token_ids(text) == theirs
    assert theirs.count(0) == 1
    assert ("<sys>" in text) == (system is None)


def test_a_string_is_a_users_turn_and_a_system_turn_is_an_option(chatting: HookedModel) -> None:
    assert chatting.chat_text("I hate you") == chatting.chat_text(MESSAGES)
    for system in ("", "Be brief."):
        turns = [{"role": "system", "content": system}, *MESSAGES]
        assert chatting.chat_text("I hate you", system=system) == chatting.chat_text(turns)


def test_an_answer_that_is_begun_goes_on(chatting: HookedModel) -> None:
    turns = [*MESSAGES, {"role": "assistant", "content": "The capital of France is"}]
    text = chatting.chat_text(turns)
    assert text.endswith("assistant: The capital of France is")
    theirs = chatting.tokenizer.apply_chat_template(turns, continue_final_message=True, return_dict=False)
    assert chatting.token_ids(text) == theirs


def test_text_added_to_a_chat_leaves_it_one(chatting: HookedModel) -> None:
    text = chatting.chat_text(MESSAGES)
    assert isinstance(text + " no", ChatText)
    assert isinstance("" + text, ChatText)
    assert chatting.token_ids(text + " no") == chatting.tokenizer(str(text) + " no", add_special_tokens=False).input_ids


def test_what_a_template_refuses_is_said_in_a_sentence(chatting: HookedModel) -> None:
    with pytest.raises(ValueError, match=r"the chat template of .* refuses these messages: no robots"):
        chatting.chat_text([{"role": "robot", "content": "beep"}])
    with pytest.raises(ValueError, match=r"\{'content': 'beep'\} is no message: write it as"):
        chatting.chat_text([{"content": "beep"}])
    with pytest.raises(ValueError, match="does not read 'enable_thinkng'"):
        chatting.chat_text("I hate you", enable_thinkng=False)
    with pytest.raises(ValueError, match="two system turns, 'Be brief' and ''"):
        chatting.chat_text([{"role": "system", "content": "Be brief"}, *MESSAGES], system="")
    with pytest.raises(ValueError, match="at least one message"):
        chatting.chat_text([])
    with pytest.raises(ValueError, match="has no chat template"):
        hooked("llama").chat_text(MESSAGES)


# -- policies ---------------------------------------------------------------------------------------------------------
def test_bos_is_exactly_one_whatever_the_tokenizer_adds() -> None:
    for tokenizer in (tiny_tokenizer(), tiny_tokenizer(adds_bos=False), with_prefix(2, 0)):
        model = load_model(tiny_hf_model("llama"), tokenizer=tokenizer, prefix="bos")
        for text in ("I hate you", "<s>I hate you"):
            assert model.token_ids(text) == [0, *tokenizer("I hate you", add_special_tokens=False).input_ids]


def test_the_policy_is_among_the_models_facts_and_the_backend_follows_it() -> None:
    for prefix, in_front in (("tokenizer", []), ("bos", ["<s>"])):
        model = load_model(tiny_hf_model("gpt2"), tokenizer=tokenizer_of("gpt2"), prefix=prefix)
        assert (model.facts()["prefix"], model.facts()["prefix_tokens"]) == (prefix, in_front)
        assert model.backend.to_tokens("I hate you")[0].tolist() == model.token_ids("I hate you")


@pytest.mark.parametrize(("wanted", "prefix"), [(True, "bos"), (False, "none")])
def test_a_transformer_lens_object_keeps_its_own_convention(wanted: bool, prefix: str) -> None:
    backend = load_model(tiny_hf_model("gpt2"), tokenizer=tokenizer_of("gpt2")).backend
    backend.cfg.default_prepend_bos = wanted
    model = load_model(backend, tokenizer=tokenizer_of("gpt2"))
    assert model.prefix == prefix
    assert model.token_ids("I hate you") == backend.to_tokens("I hate you")[0].tolist()
    assert load_model(backend, tokenizer=tokenizer_of("gpt2"), prefix="tokenizer").prefix == "tokenizer"


def test_a_transformer_lens_object_whose_tokenizer_has_no_bos_gets_none() -> None:
    backend = load_model(tiny_hf_model("qwen2"), tokenizer=tokenizer_of("qwen2")).backend
    backend.cfg.default_prepend_bos = True
    model = load_model(backend, tokenizer=tokenizer_of("qwen2"))
    assert model.token_ids("I hate") == tokenizer_of("qwen2")("I hate").input_ids


def test_a_policy_that_cannot_be_followed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tokenizer of Llama\w* has no beginning-of-text.*prefix='tokenizer'"):
        load_model(tiny_hf_model("llama"), tokenizer=tiny_tokenizer(bos=False), prefix="bos")
    with pytest.raises(ValueError, match=r"prefix is 'some': choose one of 'tokenizer', 'bos', 'none'"):
        check_prefix(tiny_tokenizer(), "some", "tiny")


@torch.no_grad()
def test_steering_at_front_and_behind_it_knows_the_prefix(chatting: HookedModel) -> None:
    """Row k of a vector at the front meets token k of what the tokenizer wrote, prefix included."""
    one = random_vector(chatting, resid_pre(1))
    tokens = chatting.to_tokens(PROMPTS)
    clean = chatting.residuals(tokens, [resid_pre(1)])[resid_pre(1)]
    with steer(chatting, one.at(len(chatting.prefix_ids))):
        moved = chatting.residuals(tokens, [resid_pre(1)])[resid_pre(1)] - clean
    touched = moved.abs().amax(-1) > 1e-4
    assert torch.equal(touched, tokens.positions == len(chatting.prefix_ids))
