"""What loading a model from disk comes to, whatever file it lay in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class Opened(NamedTuple):
    """A plain Hugging Face model and its tokenizer, and what is to be said of them.

    Args:
        hf_model: The plain Hugging Face model.
        tokenizer: Its tokenizer.
        name: The model's name.
        revision: The checkpoint's revision; None is unknown.
        quantisation: Where weights are less than they were, in words.
    """

    hf_model: Any
    tokenizer: Any
    name: str
    revision: str | None = None
    quantisation: str | None = None


@contextmanager
def weight_bar(*, shown: bool) -> Iterator[None]:
    """transformers' bar over the weights is `shown`: for models that take a while; elsewhere it would only flash."""
    from transformers.utils import logging

    was = logging.is_progress_bar_enabled()
    if not shown:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if was:
            logging.enable_progress_bar()
