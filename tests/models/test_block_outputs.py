"""What attention and MLP write, on every architecture: the stream is their sum."""

from types import SimpleNamespace

import pytest
import torch

from steering_lab.models.block_outputs import block_outputs
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from tests.tiny_models import MODELS, PROMPTS, gap, hf_blocks, hooked, n_hooks, plain, real, tiny_tokenizer


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_a_block_leaves_what_it_read_plus_what_attention_and_mlp_wrote(name: str) -> None:
    model = hooked(name)
    tokens = model.to_tokens(PROMPTS)
    with model.running("hooked"):
        stream = model.residuals(tokens, [*model.sites(), *model.sites("resid_post")])
    blocks = block_outputs(model, tokens)
    assert list(blocks) == [0, 1, 2]
    for layer, block in blocks.items():
        assert torch.equal(block.resid_pre, stream[resid_pre(layer)])
        assert torch.equal(block.resid_post, stream[resid_post(layer)])
        whole = block.resid_pre + block.attention + block.mlp
        assert gap(real(whole, tokens), real(block.resid_post, tokens)) <= 1e-6
        assert min(float(real(x, tokens).norm(dim=-1).min()) for x in (block.attention, block.mlp)) > 1e-3


@torch.no_grad()
def test_attention_is_hugging_faces_own_module_output() -> None:
    model, heard = hooked("llama"), {}
    tokens = model.to_tokens("I hate you because")
    handle = hf_blocks(plain("llama"))[1].self_attn.register_forward_hook(
        lambda module, args, output: heard.update(attention=output[0])
    )
    try:
        plain("llama")(tokens.ids, use_cache=False)
    finally:
        handle.remove()
    assert gap(block_outputs(model, tokens, [1])[1].attention, heard["attention"]) <= 1e-6


@torch.no_grad()
def test_an_edit_is_told_apart_from_what_the_block_wrote() -> None:
    model = hooked("gemma2")
    tokens = model.to_tokens("I hate you")
    with model.hooks(
        {resid_pre(1): lambda resid, forward_pass: resid + 1, resid_post(1): lambda resid, forward_pass: resid + 2}
    ):
        blocks = block_outputs(model, tokens)
    assert gap(blocks[1].resid_pre, blocks[0].resid_post + 1) <= 1e-6
    assert gap(blocks[1].resid_post, blocks[1].resid_pre + blocks[1].attention + blocks[1].mlp + 2) <= 2e-6


@torch.no_grad()
def test_only_the_layers_asked_for_are_read_and_no_hook_stays() -> None:
    model = hooked("gpt2")
    before = n_hooks(model)
    assert list(block_outputs(model, model.to_tokens("I"), [1])) == [1]
    assert n_hooks(model) == before


def test_a_layer_outside_the_model_is_refused() -> None:
    model = hooked("gpt2")
    with pytest.raises(ValueError, match=r"layer 3 is outside 0\.\.2"):
        block_outputs(model, model.to_tokens("I"), [3])


def test_an_architecture_that_keeps_its_outputs_to_itself_is_named() -> None:
    config = SimpleNamespace(n_layers=3, default_prepend_bos=True)
    backend = SimpleNamespace(cfg=config, hook_dict={"blocks.0.hook_attn_out": None})
    model = HookedModel(backend, tiny_tokenizer(), "closed", weights=[torch.zeros(1)])
    tokens = hooked("gpt2").to_tokens("I")
    with pytest.raises(ValueError, match="block 0 of closed does not show what its attention and its MLP write"):
        block_outputs(model, tokens)
