"""The gauge says 50 where nothing is done, and how far out an edit takes the stream where something is."""

import numpy as np
import pytest
import torch

from steering_lab.analysis.off_manifold import off_manifold, percentile_among
from steering_lab.evaluation.running.control_vectors import covariance_like
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering import steer
from steering_lab.interventions.steering_vector import SteeringVector, ablate, random_like
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.reading import read_tokens
from tests.tiny_models import hooked, random_vector

WORDS = ("love", "hate", "sea", "joy", "night", "I", "the", "to", "be", "and", "in", "a")
RNG = np.random.default_rng(0)
TEXTS = [" ".join(RNG.choice(WORDS, 8)) for _ in range(24)]
SITE = resid_post(1)


@pytest.fixture(scope="module")
def model() -> HookedModel:
    return hooked("llama")


@pytest.fixture(scope="module")
def stream(model: HookedModel) -> torch.Tensor:
    return read_tokens(model, TEXTS, [SITE])[SITE]


def long(model: HookedModel, stream: torch.Tensor, times: float) -> SteeringVector:
    """A random vector of `times` the median length of the stream."""
    return random_vector(model, SITE, 1, 0).unit() * (times * float(stream.norm(dim=-1).median()))


def test_an_edit_that_does_nothing_leaves_the_median_token_where_it_is(model: HookedModel) -> None:
    nothing = 0.0 * random_vector(model, SITE, 1, 0).everywhere()
    row = off_manifold(model, TEXTS, {"nothing": nothing}).iloc[0]
    assert row["norm_percentile"] == pytest.approx(50, abs=1)
    assert row["distance_percentile"] == pytest.approx(50, abs=1)
    assert row["norm_ratio"] == pytest.approx(1, abs=0.02)
    assert row["distance_ratio"] == pytest.approx(1, abs=0.02)


def test_a_longer_edit_is_farther_out_and_percentiles_end_where_ratios_go_on(
    model: HookedModel, stream: torch.Tensor
) -> None:
    edits = {f"{times:g}": long(model, stream, times).everywhere() for times in (0.3, 3.0, 30.0)}
    table = off_manifold(model, TEXTS, edits).set_index("condition")
    assert list(table.index) == list(edits)
    assert table["distance_ratio"].is_monotonic_increasing
    assert table.loc["3", "distance_percentile"] == table.loc["30", "distance_percentile"] == 100
    assert table.loc["30", "norm_ratio"] == pytest.approx(30, rel=0.1)


def test_a_direction_in_which_text_varies_stays_nearer_at_equal_length(
    model: HookedModel, stream: torch.Tensor
) -> None:
    one = long(model, stream, 0.5)
    edits = {f"drawn {k}": covariance_like(one, stream, k).everywhere() for k in range(5)}
    edits |= {f"any {k}": random_like(one, k).everywhere() for k in range(5)}
    table = off_manifold(model, TEXTS, edits)
    drawn = table["condition"].str.startswith("drawn")
    assert table[drawn]["distance_ratio"].max() < table[~drawn]["distance_ratio"].min()


def test_the_stream_is_the_one_that_steering_leaves(model: HookedModel, stream: torch.Tensor) -> None:
    for edit in (long(model, stream, 0.7), ablate(long(model, stream, 1.0))):
        with steer(model, 2.0 * edit.everywhere()):
            steered = read_tokens(model, TEXTS, [SITE])[SITE].norm(dim=-1)
        row = off_manifold(model, TEXTS, {"edit": 2.0 * edit.everywhere()}).iloc[0]
        assert row["norm_ratio"] == pytest.approx(float(steered.median() / stream.norm(dim=-1).median()), rel=0.02)
        assert row["n_tokens"] == len(stream)


def test_rows_of_an_edit_at_the_front_meet_their_own_tokens(model: HookedModel) -> None:
    front = random_vector(model, SITE, 3, 0)
    rows = torch.zeros_like(front.rows)
    rows[2] = 1e4
    at = SteeringVector(rows, SITE, front.source)
    table = off_manifold(model, TEXTS, {"front": at.at_front(), "second": at.row(2).at(2), "first": at.row(0).at(1)})
    beyond = table.set_index("condition")
    assert beyond.loc["second", "norm_ratio"] > 100
    assert beyond.loc["first", "norm_ratio"] < 2
    # Of the three rows the first meets what stands in front of a text, which is no token of it.
    assert beyond["n_tokens"].to_dict() == {"front": 2 * len(TEXTS), "second": len(TEXTS), "first": len(TEXTS)}


def test_sites_are_told_apart_in_the_order_given(model: HookedModel) -> None:
    sites = [resid_pre(2), resid_post(0), resid_pre(1)]
    edits = {str(site): random_vector(model, site, 1, 0).everywhere() for site in sites}
    table = off_manifold(model, TEXTS, edits)
    assert list(zip(table["layer"], table["stream"], strict=True)) == [(s.layer, s.stream) for s in sites]


def test_percentiles_by_hand() -> None:
    among = torch.tensor([1.0, 2.0, 2.0, 3.0])
    assert percentile_among(torch.tensor([0.0, 2.0, 2.5, 9.0]), among).tolist() == [0, 50, 75, 100]


def test_what_has_no_one_place_is_refused(model: HookedModel) -> None:
    one = random_vector(model, SITE, 1, 0).everywhere()
    with pytest.raises(ValueError, match="'two' is a sum of 2 edits"):
        off_manifold(model, TEXTS, {"two": one + one})
    with pytest.raises(ValueError, match="'none' is a sum of 0 edits"):
        off_manifold(model, TEXTS, {"none": Intervention()})
    with pytest.raises(ValueError, match="give two or more"):
        off_manifold(model, TEXTS[:1], {"one": one})
