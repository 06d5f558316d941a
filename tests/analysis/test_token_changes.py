"""Which tokens moved: contributions that sum to the KL divergence, by hand and against the evaluation's own."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.analysis.token_changes import next_token_changes, token_changes
from steering_lab.interventions.steering import steer
from steering_lab.models.hook_points import resid_pre
from steering_lab.numerics.divergence import kl
from tests.tiny_models import hooked, random_vector


def test_contributions_by_hand() -> None:
    """Steered (3/4, 1/4) against clean (1/4, 3/4): KL = 3/4 ln 3 - 1/4 ln 3 = ln 3 / 2."""
    steered, clean = torch.tensor([0.75, 0.25]).log(), torch.tensor([0.25, 0.75]).log()
    table = token_changes(steered, clean, ["up", "down"])
    assert table["token"].tolist() == ["up", "down"]
    assert table["change"].tolist() == pytest.approx([math.log(3), -math.log(3)], rel=1e-5)
    assert table["contribution"].tolist() == pytest.approx([0.75 * math.log(3), -0.25 * math.log(3)], rel=1e-5)
    assert table["kl_share"].tolist() == pytest.approx([1.5, -0.5], rel=1e-5)


@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_contributions_sum_to_the_divergence_and_shares_to_one(seed: int, spread: float) -> None:
    logits = spread * torch.randn(2, 40, generator=torch.Generator().manual_seed(seed))
    steered, clean = logits.log_softmax(-1)
    table = token_changes(steered, clean, [str(i) for i in range(40)])
    assert table["contribution"].sum() == pytest.approx(float(kl(steered.double(), clean.double())), rel=1e-6)
    assert table["kl_share"].sum() == pytest.approx(1)
    assert table["contribution"].is_monotonic_decreasing
    assert ((table["contribution"] > 0) == (table["change"] > 0)).all()


def test_an_excluded_token_contributes_nothing_and_equal_distributions_have_no_shares() -> None:
    log = torch.tensor([0.5, 0.5, 0.0]).log()
    table = token_changes(log, log, ["a", "b", "c"])
    assert table["contribution"].tolist() == [0, 0, 0]
    assert table["change"].tolist() == [0, 0, 0]
    assert table["kl_share"].isna().all()


@torch.no_grad()
def test_the_next_tokens_changes_are_those_of_the_model_inside_and_outside() -> None:
    model = hooked("gemma2")
    tokens = model.to_tokens("I hate you because")
    clean = model.logits(tokens)[0, -1].log_softmax(-1)
    assert next_token_changes(model, "I hate you because")["contribution"].abs().max() == 0
    with steer(model, 2.0 * random_vector(model, resid_pre(1)).everywhere()):
        steered = model.logits(tokens)[0, -1].log_softmax(-1)
        table = next_token_changes(model, "I hate you because")
    assert table["contribution"].sum() == pytest.approx(float(kl(steered, clean)), rel=1e-4)
    first = table.iloc[0]
    assert first["token"] == model.token_strings([int(first["token_id"])])[0]
    assert first["p_steered"] == pytest.approx(float(steered[first["token_id"]].exp()), rel=1e-4)


def test_raw_logits_half_precision_and_another_vocabulary_are_refused() -> None:
    log = torch.zeros(4).log_softmax(-1)
    with pytest.raises(ValueError, match="log_clean does not sum to probability 1"):
        token_changes(log, torch.zeros(4), list("abcd"))
    with pytest.raises(ValueError, match=r"log_steered is torch\.float16"):
        token_changes(log.half(), log, list("abcd"))
    with pytest.raises(ValueError, match="3 token strings for a vocabulary of 4"):
        token_changes(log, log, list("abc"))
