"""What loading a model from disk comes to, whatever file it lay in."""

from typing import Any, NamedTuple


class Opened(NamedTuple):
    """A plain Hugging Face model and its tokenizer, and what is to be said of them."""

    hf_model: Any
    tokenizer: Any
    name: str
    revision: str | None = None
    quantisation: str | None = None
