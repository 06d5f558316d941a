"""The model that methods are tried on, where the architecture does not matter."""

import pytest

from steering_lab.models.hooked_model import HookedModel


@pytest.fixture(scope="session")
def model(llama: HookedModel) -> HookedModel:
    return llama
