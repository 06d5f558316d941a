"""Models that also see images, opened for their text alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def text_alone() -> Iterator[None]:
    """Inside the block TransformerLens looks for no image processor, and does not need what one would need.

    For a multimodal model it would ask the hub for one under whatever name the model has here, and where that fails
    install torchvision with pip into the running environment, which may replace torch itself.
    """
    try:
        from transformer_lens.model_bridge.architecture_adapter import ArchitectureAdapter
        from transformer_lens.model_bridge.sources.transformers import helpers
    except ImportError:  # TransformerLens 3 has no such step
        yield
        return
    loaders, check = helpers._MODALITY_PROCESSOR_LOADERS, ArchitectureAdapter._check_required_libraries

    def without_images(adapter: Any) -> None:
        adapter.required_libraries = [one for one in adapter.required_libraries if one != "torchvision"]
        check(adapter)

    helpers._MODALITY_PROCESSOR_LOADERS = []
    ArchitectureAdapter._check_required_libraries = without_images
    try:
        yield
    finally:
        helpers._MODALITY_PROCESSOR_LOADERS = loaders
        ArchitectureAdapter._check_required_libraries = check
