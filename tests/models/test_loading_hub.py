"""The hub: one that cannot be reached is known within seconds, and what its cache holds opens all the same."""

import http.server
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from transformers import PreTrainedModel, T5Config

from steering_lab.models.loading import load_model
from tests.tiny_models import PROMPTS, gap, hooked, real, save_tiny_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(params=["silent", "refusing"])
def _unreachable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub that takes the connection and says nothing, or one that is not there."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        if request.param == "silent":
            listening.listen()
        endpoint(monkeypatch, listening.getsockname()[1])
        yield


def endpoint(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Makes a port of this machine the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"http://127.0.0.1:{port}{template}")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, empty."""
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(folder))
    return folder


def keep(saved: Path, name: str, cache: Path) -> None:
    """Puts a saved folder where the hub's client would have put the repository `name`."""
    repo = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(saved, repo / "snapshots" / COMMIT)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)


@pytest.mark.usefixtures("_unreachable", "cache")
def test_a_hub_that_cannot_be_reached_is_said_within_five_seconds() -> None:
    hooked("llama")  # importing the libraries takes its own time
    start = time.monotonic()
    with pytest.raises(
        OSError, match=r"^cannot load 'some/name': .*cannot be reached from here, and its cache does not"
    ):
        load_model("some/name")
    assert time.monotonic() - start < 5


@pytest.mark.usefixtures("_unreachable")
@torch.no_grad()
def test_what_the_cache_holds_opens_where_the_hub_cannot_be_reached(cache: Path, tmp_path: Path) -> None:
    keep(save_tiny_model("llama", tmp_path / "saved"), "some/llama", cache)
    start = time.monotonic()
    model, memory = load_model("some/llama"), hooked("llama")
    assert time.monotonic() - start < 10
    assert (model.name, model.fingerprint) == ("some/llama", memory.fingerprint)
    tokens = memory.to_tokens(PROMPTS)
    assert gap(real(model.logits(tokens), tokens), real(memory.logits(tokens), tokens)) <= 1e-6


def test_what_the_cache_holds_opens_offline_without_asking(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(save_tiny_model("gpt2", tmp_path / "saved"), "gpt2-tiny", cache)
    monkeypatch.setattr("httpx.head", lambda *a, **k: pytest.fail("the hub was asked"))
    assert load_model("gpt2-tiny").name == "gpt2-tiny"


def test_another_kind_of_model_on_the_hub_is_refused_by_its_configuration(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    config = T5Config().to_dict() | {"architectures": ["T5ForConditionalGeneration"]}
    (saved / "config.json").write_text(json.dumps(config))
    keep(saved, "some/t5", cache)
    monkeypatch.setattr(PreTrainedModel, "from_pretrained", lambda *a, **k: pytest.fail("weights were read"))
    with pytest.raises(
        ValueError, match=r"^some/t5 \(T5ForConditionalGeneration\) cannot be opened: .*encoder-decoder"
    ):
        load_model("some/t5")


@pytest.mark.usefixtures("cache")
def test_a_hub_that_answers_and_has_no_such_model_is_asked_and_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(200 if self.path in ("", "/") else 404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        endpoint(monkeypatch, server.server_address[1])
        with pytest.raises(OSError, match=r"the Hugging Face hub did not give it \(some/name is not a local folder"):
            load_model("some/name")
        server.shutdown()
    assert any("some/name" in path for path in asked)
