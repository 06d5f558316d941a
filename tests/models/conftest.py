"""Every architecture by each of its runtimes: what holds of a model holds of all."""

from collections.abc import Iterator

import pytest

from steering_lab.models.hooked_model import HookedModel
from tests.tiny_models import ON_BOTH, left_without_hooks


@pytest.fixture(params=ON_BOTH)
def model(request: pytest.FixtureRequest) -> Iterator[HookedModel]:
    """None may keep a hook after a test."""
    with left_without_hooks(*request.param) as model:
        yield model
