"""A vector is read by its direction: linear, without biases, the same at any length."""

import numpy as np
import pandas as pd
import pytest
import torch

from steering_lab.analysis.vector_lens import vector_lens
from steering_lab.interventions.source import Source
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.hooked_model import HookedModel
from tests.tiny_models import MODELS, hooked, plain, random_vector


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> HookedModel:
    return hooked(request.param)


def everything(model: HookedModel, vector: SteeringVector) -> pd.Series:
    """The logit of every token, by token text; texts that several tokens share are left out."""
    table = vector_lens(model, vector, top_k=model.d_vocab)
    raised = table[table["side"] == "raised"]
    return raised.drop_duplicates("token", keep=False).set_index("token")["logit"].sort_index()


@torch.no_grad()
def test_a_vector_reads_as_the_linear_part_of_norm_and_unembedding() -> None:
    """By hand on plain Hugging Face: W_U (gain * (v - mean v)) / rms(v - mean v), centred, without biases."""
    model, hf = hooked("gpt2"), plain("gpt2")
    row = random_vector(model, resid_pre(1)).rows[0] + 0.3
    centred = row - row.mean()
    logits = hf.lm_head.weight @ (hf.transformer.ln_f.weight * centred) / centred.pow(2).mean().sqrt()
    found = vector_lens(model, SteeringVector(row[None], resid_pre(1), Source.of(model, "by hand")), top_k=4)
    logits = logits - logits.mean()
    best, ids = logits.topk(4)
    raised = found[found["side"] == "raised"]
    assert np.allclose(raised["logit"], best, atol=1e-3)
    assert raised["token"].tolist() == model.token_strings(ids.tolist())
    worst, ids = (-logits).topk(4)
    lowered = found[found["side"] == "lowered"]
    assert np.allclose(lowered["logit"], -worst, atol=1e-3)
    assert lowered["token"].tolist() == model.token_strings(ids.tolist())


def test_a_vector_turned_round_swaps_the_sides_and_its_length_counts_for_nothing(model: HookedModel) -> None:
    vector = random_vector(model, resid_pre(1))
    logits = everything(model, vector)
    assert np.allclose(logits, -everything(model, -vector), atol=1e-3)
    assert np.allclose(logits, everything(model, 50.0 * vector), atol=1e-3)
    assert logits.abs().max() > 0.1


def test_rows_of_zeros_have_no_entry_and_a_vector_of_nothing_else_is_refused(gpt2: HookedModel) -> None:
    rows = torch.stack([torch.zeros(gpt2.d_model), torch.ones(gpt2.d_model).cumsum(0)])
    source = Source.of(gpt2, "two rows")
    assert vector_lens(gpt2, SteeringVector(rows, resid_pre(0), source))["row"].unique().tolist() == [1]
    with pytest.raises(ValueError, match="no direction"):
        vector_lens(gpt2, SteeringVector(rows[:1], resid_pre(0), source))


def test_a_vector_of_another_model_is_refused(gpt2: HookedModel) -> None:
    with pytest.raises(ValueError, match=r"is 8 wide, the stream of .* is 32"):
        vector_lens(gpt2, SteeringVector(torch.ones(1, 8), resid_pre(0), Source.of(gpt2, "narrow")))
