"""Models that also see images, opened for their text alone."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def text_alone() -> Iterator[None]:
    """Inside the block TransformerLens looks for no image processor.

    For a multimodal model it would ask the hub for one under whatever name the model has here, and where that fails
    install torchvision with pip into the running environment, which may replace torch itself.
    """
    try:
        from transformer_lens.model_bridge.sources.transformers import helpers
    except ImportError:  # TransformerLens 3 has no such step
        yield
        return
    loaders = helpers._MODALITY_PROCESSOR_LOADERS
    helpers._MODALITY_PROCESSOR_LOADERS = []
    try:
        yield
    finally:
        helpers._MODALITY_PROCESSOR_LOADERS = loaders
