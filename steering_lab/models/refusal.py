"""What is said of a model that cannot be opened: one sentence with its architecture and with what does work."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import torch

WORKING = "Llama, Mistral, Qwen, Gemma, GPT-2, GPT-NeoX, OLMo, Phi, Falcon, Granite and most other decoders do work"


class ModelRefused(ValueError):
    """A model that cannot be opened, said in the user's terms."""


def refusal(name: str, architecture: str, reason: str) -> ModelRefused:
    """The error of the model `name`, of `architecture`, that is not opened for this `reason`, ready to raise."""
    called = name if name == architecture else f"{name} ({architecture})"
    return ModelRefused(f"{called} cannot be opened: {reason}; {WORKING}")


@contextmanager
def refusing(name: str, architecture: str, reason: str) -> Iterator[None]:
    """Whatever other packages raise inside for this architecture becomes a refusal; their error stays its cause.

    Args:
        name: The model, as an error names it.
        architecture: Its class.
        reason: What goes wrong inside, in a few words; the error's own words follow.

    Raises:
        ModelRefused: the block raised anything but a refusal or a lack of memory, which pass through.
    """
    try:
        yield
    except (ModelRefused, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        short = said if len(said) <= 160 else f"{said[:160]}..."
        raise refusal(name, architecture, f"{reason} ({type(error).__name__}: {short})") from error


def transformer_lens_version() -> str:
    """The installed runtime, as it is named in a refusal."""
    return f"transformer_lens {version('transformer_lens')}"
