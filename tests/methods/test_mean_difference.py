"""Mean differences: by hand, from padded batches as from singles, and what principal components must keep."""

import pytest
import torch

from steering_lab.data.contrast_lists import ContrastLists
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.interventions.steering import steer
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.reading import read_stream
from tests.tiny_models import MODELS, PROMPTS, gap, hooked, plain, random_vector

PAIRS = [
    ContrastPair("I love the sea", "I hate the sea at night"),
    ContrastPair("joy", "anger and the rain"),
    ContrastPair("the quick brown fox jumps", "no"),
]


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> HookedModel:
    return hooked(request.param)


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2", "opt"])
@pytest.mark.parametrize("read", ["last", "mean"])
@torch.no_grad()
def test_the_vector_is_the_mean_of_hugging_faces_differences(name: str, read: str) -> None:
    model, hf = hooked(name), plain(name)

    def state(text: str, layer: int) -> torch.Tensor:
        hidden = hf(torch.tensor([model.token_ids(text)]), output_hidden_states=True).hidden_states[layer][0]
        return hidden[-1] if read == "last" else hidden[model.n_sink :].mean(dim=0)

    vectors = mean_difference_vectors(model, PAIRS, [*model.sites(), resid_post(1)], read=read)  # type: ignore[arg-type]
    for site, vector in vectors.items():
        layer = site.layer + (site.stream == "resid_post")
        by_hand = torch.stack([state(p.positive, layer) - state(p.negative, layer) for p in PAIRS]).mean(dim=0)
        assert vector.rows.shape == (1, model.d_model)
        assert gap(vector.rows[0], by_hand) <= 1e-6


@pytest.mark.parametrize("read", ["last", "mean"])
def test_vectors_from_padded_batches_equal_those_from_singles(model: HookedModel, read: str) -> None:
    """The commonest fault of its kind: reading the last column of a right-padded batch."""
    sites = [resid_pre(1), resid_post(2)]
    whole, ones = (
        mean_difference_vectors(model, PAIRS, sites, read=read, batch_size=size)  # type: ignore[arg-type]
        for size in (3, 1)
    )
    for site in sites:
        assert gap(whole[site].rows, ones[site].rows) <= 1e-5


def test_the_order_of_pairs_does_not_matter_and_swapping_sides_negates(model: HookedModel) -> None:
    site = resid_pre(2)
    one = mean_difference_vectors(model, PAIRS, [site])[site]
    assert gap(mean_difference_vectors(model, PAIRS[::-1], [site])[site].rows, one.rows) <= 1e-6
    swapped = mean_difference_vectors(model, [p.reversed() for p in PAIRS], [site])[site]
    assert torch.equal(swapped.rows, -one.rows)


def test_reading_stops_at_the_deepest_layer_asked_for(gpt2: HookedModel) -> None:
    def never(resid: torch.Tensor, forward_pass: object) -> torch.Tensor:
        raise AssertionError("a deeper block ran")

    with gpt2.hooks({resid_post(2): never}):
        mean_difference_vectors(gpt2, PAIRS, [resid_pre(0), resid_pre(1)])


def test_a_unit_vector_has_length_one_and_the_same_direction(gpt2: HookedModel) -> None:
    site = resid_pre(1)
    raw = mean_difference_vectors(gpt2, PAIRS, [site])[site]
    unit = mean_difference_vectors(gpt2, PAIRS, [site], unit_norm=True)[site]
    assert unit.norm == pytest.approx(1.0, abs=1e-6)
    assert gap(unit.rows, raw.unit().rows) <= 1e-6
    assert raw.norm != pytest.approx(1.0, abs=1e-3)


def test_a_principal_component_points_along_the_mean_and_has_its_length_along_itself(gpt2: HookedModel) -> None:
    site = resid_pre(1)
    mean = mean_difference_vectors(gpt2, PAIRS, [site])[site].rows[0]
    component = mean_difference_vectors(gpt2, PAIRS, [site], pca=True)[site]
    direction = component.unit().rows[0]
    assert float(mean @ direction) > 0
    assert float(mean @ direction) == pytest.approx(component.norm, rel=1e-5)
    streams = [read_stream(gpt2, [getattr(p, side) for p in PAIRS], [site])[site] for side in ("positive", "negative")]
    differences = streams[0] - streams[1]
    captured = float((differences @ direction).square().sum())
    assert captured == pytest.approx(float(torch.linalg.matrix_norm(differences, 2)) ** 2, rel=1e-4)
    swapped = mean_difference_vectors(gpt2, [p.reversed() for p in PAIRS], [site], pca=True)[site]
    assert gap(swapped.rows, -component.rows) <= 1e-5


def test_one_pair_is_its_own_principal_component(gpt2: HookedModel) -> None:
    site = resid_pre(1)
    plain_one, component = (mean_difference_vectors(gpt2, PAIRS[:1], [site], pca=pca)[site] for pca in (False, True))
    assert gap(plain_one.rows, component.rows) <= 1e-5
    assert component.source.details["split_half_cosine"] is None
    assert component.source.details["mean_cosine_with_vector"] == pytest.approx(1.0, abs=1e-3)


def test_the_mean_over_a_prompt_of_one_token_is_that_token(gpt2: HookedModel) -> None:
    alone = read_stream(gpt2, ["<s>", "I hate"], [resid_pre(1)], read="mean")[resid_pre(1)]
    last = read_stream(gpt2, ["<s>"], [resid_pre(1)], read="last")[resid_pre(1)]
    assert gap(alone[0], last[0]) <= 1e-6


def test_reading_shows_the_stream_as_it_is_inside_a_steering_block(model: HookedModel) -> None:
    site = resid_pre(1)
    vector = random_vector(model, site)
    clean = read_stream(model, PROMPTS, [site])[site]
    with steer(model, 2.0 * vector.everywhere()):
        steered = read_stream(model, PROMPTS, [site])[site]
    assert gap(steered - clean, 2.0 * vector.rows) <= 1e-5


def test_a_vector_knows_its_data(gpt2: HookedModel) -> None:
    one, other = (mean_difference_vectors(gpt2, pairs, [resid_pre(1)])[resid_pre(1)] for pairs in (PAIRS, PAIRS[:2]))
    details = one.source.details
    assert (details["n_pairs"], details["read"], details["unit_norm"]) == (3, "last token", False)
    assert details["data_sha256"] != other.source.details["data_sha256"]
    assert details["median_resid_norm"] > 0
    assert -1 <= details["split_half_cosine"] <= 1
    assert one.source.fingerprint == gpt2.fingerprint


@pytest.mark.parametrize("options", [{"unit_norm": True}, {"pca": True}])
def test_differences_of_zero_have_no_direction(gpt2: HookedModel, options: dict) -> None:
    alike = [ContrastPair("a love", "e love")]  # where nothing has been read yet but the last token
    assert not mean_difference_vectors(gpt2, alike, [resid_pre(0)])[resid_pre(0)].rows.any()
    with pytest.raises(ValueError, match=r"differences at resid_pre\(0\) are zero"):
        mean_difference_vectors(gpt2, alike, [resid_pre(0)], **options)


def test_no_pairs_and_a_layer_outside_are_refused(gpt2: HookedModel) -> None:
    with pytest.raises(ValueError, match="no contrast pairs"):
        mean_difference_vectors(gpt2, [], [resid_pre(1)])
    with pytest.raises(ValueError, match=r"layer 4 is outside 0\.\.2"):
        mean_difference_vectors(gpt2, PAIRS, [resid_pre(4)])


LISTS = ContrastLists(("I love the sea", "joy", "the quick brown fox jumps"), ("I hate the sea at night", "no"))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@torch.no_grad()
def test_of_two_lists_the_vector_is_one_mean_less_the_other_by_hugging_face(name: str) -> None:
    model, hf, site = hooked(name), plain(name), resid_pre(2)

    def mean(texts: tuple[str, ...]) -> torch.Tensor:
        ids = (torch.tensor([model.token_ids(text)]) for text in texts)
        return torch.stack([hf(i, output_hidden_states=True).hidden_states[2][0, -1] for i in ids]).mean(dim=0)

    vector = mean_difference_vectors(model, LISTS, [site])[site]
    assert gap(vector.rows[0], mean(LISTS.positive) - mean(LISTS.negative)) <= 1e-6
    assert gap(mean_difference_vectors(model, LISTS.reversed(), [site])[site].rows, -vector.rows) <= 1e-6
    assert vector.source.details["n_texts"] == [3, 2]
    assert "mean_cosine_with_vector" not in vector.source.details


def test_lists_of_equal_length_give_the_vector_of_their_pairs_whatever_their_order(model: HookedModel) -> None:
    site = resid_pre(2)
    pairs = mean_difference_vectors(model, PAIRS, [site])[site]
    lists = ContrastLists(tuple(p.positive for p in PAIRS), tuple(p.negative for p in PAIRS[::-1]))
    assert gap(mean_difference_vectors(model, lists, [site])[site].rows, pairs.rows) <= 1e-6


def test_the_first_component_of_two_lists_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pca takes the differences of pairs, and two lists \(3 texts − 2 texts\)"):
        mean_difference_vectors(hooked("gpt2"), LISTS, [resid_pre(1)], pca=True)
