"""Names of places in the stream: what TransformerLens calls them, and which are refused."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.models.hook_points import HookSite, resid_post, resid_pre
from tests.tiny_models import MODELS, hooked

SITES = st.builds(HookSite, st.integers(0, 200), st.sampled_from(["resid_pre", "resid_post"]))


def test_a_site_is_called_as_transformer_lens_calls_it() -> None:
    assert resid_pre(6).name == "blocks.6.hook_resid_pre"
    assert resid_post(11).name == "blocks.11.hook_resid_post"
    assert str(resid_pre(6)) == "resid_pre(6)"


@given(SITES)
def test_a_name_is_read_back_as_the_site(site: HookSite) -> None:
    assert HookSite.parse(site.name) == site


@given(SITES, SITES)
def test_sites_are_ordered_by_layer(one: HookSite, other: HookSite) -> None:
    if one.layer < other.layer:
        assert one < other


@pytest.mark.parametrize("name", MODELS)
def test_every_site_of_a_model_is_a_hook_point_of_its_backend(name: str) -> None:
    model = hooked(name)
    for stream in ("resid_pre", "resid_post"):
        sites = model.sites(stream)
        assert [site.layer for site in sites] == [0, 1, 2]
        assert all(site.name in model.backend.hook_dict for site in sites)


@pytest.mark.parametrize("layer", [-1, True, np.int64(-1), np.array(True), torch.tensor(True), np.array([1, 2])])
def test_a_layer_that_cannot_be_is_refused(layer: Any) -> None:
    with pytest.raises(ValueError, match="a layer is an integer"):
        resid_pre(layer)


@pytest.mark.parametrize("layer", [np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
def test_a_layer_off_an_axis_is_the_same_site_as_a_written_one(layer: Any) -> None:
    for made, written in ((resid_pre(layer), resid_pre(3)), (resid_post(layer), resid_post(3))):
        assert (made, hash(made), made.name) == (written, hash(written), written.name)
        assert type(made.layer) is int


@pytest.mark.parametrize(
    "name", ["blocks.1.hook_resid_mid", "blocks.x.hook_resid_pre", "resid_pre(3)", "", "blocks.1.hook_resid_pre\n"]
)
def test_a_name_that_is_no_residual_site_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a residual-stream hook point"):
        HookSite.parse(name)


def test_sites_sort_in_the_order_of_the_stream() -> None:
    along = [resid_pre(0), resid_post(0), resid_pre(1), resid_pre(2), resid_post(2)]
    assert sorted([along[k] for k in (3, 0, 4, 2, 1)]) == along
