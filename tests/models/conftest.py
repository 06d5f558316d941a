"""Every architecture by each of its runtimes: what holds of a model holds of all."""

from collections.abc import Iterator

import pytest

from steering_lab.models.hooked_model import HookedModel
from tests.tiny_models import ON_BOTH, hooked, n_hooks


@pytest.fixture(params=ON_BOTH)
def model(request: pytest.FixtureRequest) -> Iterator[HookedModel]:
    """None may keep a hook after a test."""
    name, runtime = request.param
    with hooked(name).running(runtime) as model:
        before = n_hooks(model)
        yield model
        assert n_hooks(model) == before
