"""What counts as a whole number, wherever a layer, seed or position is asked for."""

from typing import Any

import numpy as np
import pytest
import torch

from steering_lab.evaluation.running.evaluate import Decoding
from steering_lab.models.generation import Sampling
from steering_lab.models.hook_points import HookSite
from steering_lab.models.integers import whole_number


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3), torch.tensor([3])])
def test_every_kind_of_whole_number_becomes_pythons(value: Any) -> None:
    for held in (
        whole_number(value, "it"),
        HookSite(value).layer,
        Sampling(top_k=value).top_k,
        Decoding(seed=value).seed,
        Decoding(n_samples=value).n_samples,
    ):
        assert (held, type(held)) == (3, int)


WRONG = [
    True,
    np.True_,
    torch.tensor(True),
    3.0,
    np.float64(3),
    np.array(3.0),
    torch.tensor(3.0),
    np.array([3, 4]),
    "3",
    None,
]


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_truth_fractions_and_several_numbers_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="it is an integer, not"):
        whole_number(value, "it")
