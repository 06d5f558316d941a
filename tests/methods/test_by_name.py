"""A method's name gives that method's own vectors."""

import pytest
import torch

from steering_lab.data.contrast_lists import ContrastLists
from steering_lab.data.contrast_pairs import PAIRS
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.actadd import actadd_vectors
from steering_lab.methods.by_name import pair_vectors
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.methods.probe import fit_probe
from steering_lab.models.hook_points import resid_post, resid_pre
from tests.tiny_models import hooked

PAIR, MANY = PAIRS["love_hate"], PAIRS["love_hate_sentences"]
SITES = [resid_pre(1), resid_post(1)]


def test_each_name_gives_what_its_method_gives() -> None:
    model = hooked("gpt2")
    positive, negative = [pair.positive for pair in MANY], [pair.negative for pair in MANY]
    wanted = {
        "actadd": actadd_vectors(model, PAIR[0], SITES),
        "mean_difference": mean_difference_vectors(model, MANY, SITES),
        "pca": mean_difference_vectors(model, MANY, SITES, pca=True),
        "probe": {site: fit_probe(model, positive, negative, site).direction for site in SITES},
    }
    for name, vectors in wanted.items():
        found = pair_vectors(name, model, PAIR if name == "actadd" else MANY, SITES)
        assert list(found) == SITES
        for site in SITES:
            torch.testing.assert_close(found[site].rows, vectors[site].rows, rtol=0, atol=0)


@pytest.mark.parametrize("method", ["actadd", "mean_difference", "pca", "probe"])
def test_normalised_rows_have_length_1_where_they_are_not_zero(method: str) -> None:
    pairs = PAIR if method == "actadd" else MANY
    vector: SteeringVector = pair_vectors(method, hooked("gpt2"), pairs, SITES, normalise=True)[SITES[0]]
    lengths = vector.norms[vector.norms > 0]
    assert len(lengths) > 0
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_actadd_of_several_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="actadd takes one pair, not 12: choose mean_difference, pca or probe"):
        pair_vectors("actadd", hooked("gpt2"), MANY, SITES)


def test_two_lists_are_taken_where_no_pair_is_needed_and_refused_elsewhere() -> None:
    model, lists = hooked("gpt2"), ContrastLists(tuple(p.positive for p in MANY), tuple(p.negative for p in MANY[:7]))
    for site, vector in pair_vectors("mean_difference", model, lists, SITES).items():
        torch.testing.assert_close(vector.rows, mean_difference_vectors(model, lists, SITES)[site].rows)
    probe = fit_probe(model, lists.positive, lists.negative, SITES[0]).direction
    torch.testing.assert_close(pair_vectors("probe", model, lists, SITES)[SITES[0]].rows, probe.rows)
    for method, why in (("actadd", "takes one pair, token by token"), ("pca", "takes the differences of pairs")):
        with pytest.raises(ValueError, match=rf"{method} {why}, and here are two lists \(12 texts − 7 texts\)"):
            pair_vectors(method, model, lists, SITES)
