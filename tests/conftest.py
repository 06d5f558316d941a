"""What every test shares: no network, property-based tests that repeat themselves, and two small models."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is first imported
os.environ["TOKENIZERS_PARALLELISM"] = "false"

settings.register_profile("laws", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("laws")

# Files that take a minute or more begin first, the longest before the others: what begins last, others wait for.
LONG = (
    "test_contextfocus_gradient.py", "test_experiments.py", "test_examples.py", "test_notebooks.py", "test_sweep.py",
    "test_nothing_lost.py", "test_executors.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONG)))


@pytest.fixture(autouse=True, scope="session")
def _only_this_machine_is_reached() -> Iterator[None]:
    """Connections to anything but the loopback fail at once, in the test that tries."""
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"a test tried to reach {address[0]}: tests use no network")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_here)
        yield


@pytest.fixture(scope="session")
def gpt2() -> Any:
    """A tiny random GPT-2, for what does not depend on the architecture: learned positions, its prefix a BOS token."""
    from tests.tiny_models import hooked  # imports Hugging Face, which reads the environment above

    return hooked("gpt2")


@pytest.fixture(scope="session")
def llama() -> Any:
    """A tiny random Llama, for the same: rotary positions, RMSNorm, untied, its prefix its tokenizer's."""
    from tests.tiny_models import hooked

    return hooked("llama")
