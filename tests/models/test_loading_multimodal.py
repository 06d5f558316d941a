"""Models that also see images: their text model is opened, and nothing is fetched or installed for the rest."""

import subprocess
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, Gemma3Config, LlavaConfig

from steering_lab.models.loading import load_model
from tests.tiny_models import IDS, ROTARY, gap, tokenizer_of

SEEING = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
SEEING |= {"image_size": 16, "patch_size": 4}


def seeing_model(kind: str) -> Any:
    text = {**ROTARY, **IDS}
    config = {
        "llava": lambda: LlavaConfig(
            text_config={"model_type": "llama", **text}, image_token_index=10,
            vision_config={"model_type": "clip_vision_model", **SEEING},
        ),
        "gemma3": lambda: Gemma3Config(
            text_config={**text, "head_dim": 8, "sliding_window": 64}, vision_config=SEEING, mm_tokens_per_image=4,
            image_token_index=10, boi_token_index=11, eoi_token_index=12,
        ),
    }[kind]()  # fmt: skip
    torch.manual_seed(0)
    return AutoModelForImageTextToText.from_config(config).eval()


@pytest.mark.parametrize("kind", ["llava", "gemma3"])
@torch.no_grad()
def test_a_multimodal_model_in_memory_installs_nothing_and_asks_for_nothing(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TransformerLens would ask for an image processor, and install torchvision, and with it another torch."""
    from transformer_lens.model_bridge.sources.transformers import helpers

    done: list[str] = []
    monkeypatch.setattr("transformers.AutoProcessor.from_pretrained", lambda *a, **k: done.append("asked"))
    monkeypatch.setattr(helpers, "_ensure_torchvision", lambda: done.append("installed"))
    monkeypatch.setattr(subprocess, "check_call", lambda *a, **k: done.append("ran"))
    hf_model, ids = seeing_model(kind), [0, 5, 77, 123, 300, 14]
    model = load_model(hf_model, tokenizer=tokenizer_of("llama"))
    assert done == []
    assert gap(model.logits(model.pad([ids])), hf_model(torch.tensor([ids])).logits) <= 1e-5
    assert helpers._MODALITY_PROCESSOR_LOADERS  # only while we load
