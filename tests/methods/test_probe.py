"""The linear probe: the closed form by hand, and prompts it was not fitted on."""

import numpy as np
import pytest
import torch

from steering_lab.interventions.steering import steer
from steering_lab.methods.probe import Probe, fit_probe
from steering_lab.models.hook_points import resid_post
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.reading import read_stream
from tests.tiny_models import hooked, placed

SITE = resid_post(1)
WORDS = ("sea", "harbour", "night", "rain", "baker", "friend", "capital", "question", "fox", "dog", "anger", "joy")
LOVE = [f"the {word} and love" for word in WORDS]
HATE = [f"the {word} and hate" for word in WORDS]


@pytest.fixture(scope="module")
def model() -> HookedModel:
    return hooked("gpt2")


def test_a_probe_tells_prompts_that_it_never_saw(model: HookedModel) -> None:
    probe = fit_probe(model, LOVE, HATE, SITE)
    assert probe.n_held_out == 6
    assert probe.accuracy == 1.0
    others = ["my weddings and love", "my weddings and hate"]
    assert probe(model, others) == [True, False]
    assert probe(model, others[::-1]) == [False, True]  # each row by itself
    assert fit_probe(model, LOVE, HATE, SITE, seed=np.int64(0)).direction.source == probe.direction.source


def test_labels_that_mean_nothing_are_held_out_at_chance(model: HookedModel) -> None:
    mixed = [LOVE[::2] + HATE[1::2], HATE[::2] + LOVE[1::2]]
    scores = [fit_probe(model, *mixed, SITE, seed=seed, held_out=0.5).accuracy for seed in range(12)]
    assert 0.15 < sum(scores) / len(scores) < 0.7


def test_the_closed_form_by_hand(model: HookedModel) -> None:
    """With a ridge that drowns the covariance, the direction is the difference of means."""
    probe = fit_probe(model, LOVE, HATE, SITE, ridge=1e9, held_out=1 / 12)
    rng = torch.Generator().manual_seed(0)
    means = []
    for prompts in (LOVE, HATE):
        stream = read_stream(model, prompts, [SITE])[SITE]
        means.append(stream[torch.randperm(12, generator=rng)][1:].mean(dim=0))
    by_hand = torch.nn.functional.normalize(means[0] - means[1], dim=0)
    torch.testing.assert_close(probe.direction.rows[0], by_hand, atol=1e-5, rtol=0)
    assert probe.threshold == pytest.approx(float(by_hand @ (means[0] + means[1]) / 2), abs=1e-4)
    scores = probe.scores(model, ["the sea and love"])
    stream = read_stream(model, ["the sea and love"], [SITE])[SITE][0]
    assert float(scores) == pytest.approx(float(stream @ by_hand) - probe.threshold, abs=1e-4)


def test_fitting_and_asking_see_the_unedited_model(model: HookedModel) -> None:
    plain = fit_probe(model, LOVE, HATE, SITE)
    with steer(model, placed(model, SITE, "everywhere")):
        inside = fit_probe(model, LOVE, HATE, SITE)
        scores = plain.scores(model, LOVE)
    assert torch.equal(inside.direction.rows, plain.direction.rows)
    assert torch.equal(scores, plain.scores(model, LOVE))


def test_what_cannot_be_fitted_is_refused(model: HookedModel) -> None:
    with pytest.raises(ValueError, match="3 positive and 12 negative prompts: a probe needs 4 of each"):
        fit_probe(model, LOVE[:3], HATE, SITE)
    for negative in ([*HATE[1:], LOVE[0]], [*HATE[:5], HATE[0]]):
        with pytest.raises(ValueError, match="is given twice"):
            fit_probe(model, LOVE, negative, SITE)
    with pytest.raises(ValueError, match="ridge is 0"):
        fit_probe(model, LOVE, HATE, SITE, ridge=0.0)
    for share in (0.0, 0.01, 0.9):
        with pytest.raises(ValueError, match="of 12 prompts it must leave two to fit and one to score"):
            fit_probe(model, LOVE, HATE, SITE, held_out=share)
    probe = fit_probe(model, LOVE, HATE, SITE)
    with pytest.raises(ValueError, match="is not one direction"):
        Probe(0.0 * probe.direction, 0.0, 1.0, 6)
