"""Held-out perplexity is exp of the mean loss of every token behind the text's prompt, under the edit."""

import math

import pytest
import torch

from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.evaluation.measuring.fluency import held_out_table
from steering_lab.evaluation.running.condition import UNSTEERED, Condition
from steering_lab.evaluation.running.writing import Asked
from steering_lab.interventions.steering import steer
from steering_lab.methods.cad import CAD
from steering_lab.models.hook_points import resid_post
from steering_lab.organism.wording import ORGANISM
from tests.tiny_models import TEXT, hooked, random_vector

MODEL = hooked("llama")
EDIT = random_vector(MODEL, resid_post(1)).from_last_prompt_token()
STEERED = Condition("steered", EDIT, resid_norms={resid_post(1): 2.0})


def test_a_text_has_the_perplexity_of_its_tokens_behind_the_prompt_and_weighs_as_many() -> None:
    table = held_out_table(MODEL, [STEERED], TEXT[:2])
    ids = MODEL.token_ids(TEXT[1])
    with steer(MODEL, EDIT), torch.no_grad():
        log_probs = torch.log_softmax(MODEL.logits(MODEL.pad([ids[:4]], [ids[4:]]))[0].float(), -1)
    loss = -sum(float(log_probs[i - 1, ids[i]]) for i in range(4, len(ids))) / (len(ids) - 4)
    row = table.iloc[1]
    assert row["value"] == pytest.approx(math.exp(loss), rel=1e-4)
    assert row["weight"] == len(ids) - 4


def test_the_effect_is_a_ratio_to_the_unsteered_model_with_an_interval_over_texts() -> None:
    rule = Condition("CAD", write=Asked(ORGANISM), rule=CAD(), without_context=Asked(ORGANISM, "closed_book"))
    texts = [*TEXT, *(f"{text} {TEXT[0]}" for text in TEXT), *(f"{text} {TEXT[1]}" for text in TEXT)]
    table = held_out_table(MODEL, [UNSTEERED, STEERED, rule], texts)
    assert table.loc[table["condition"] == "CAD", "value"].isna().all()
    summary = summarise(table).set_index("method")
    assert summary.loc["unsteered", "effect"] == 1
    assert (summary["scale"] == "ratio").all()
    assert summary.loc["steered", "low"] < summary.loc["steered", "effect"] < summary.loc["steered", "high"]
    assert summary.loc["CAD", "n"] == 0


def test_a_text_that_is_all_prompt_is_missing_and_nothing_but_such_is_refused() -> None:
    table = held_out_table(MODEL, [UNSTEERED], ["I", TEXT[0]])
    assert table["value"].isna().tolist() == [True, False]
    with pytest.raises(ValueError, match="none of the 1 texts is longer than 4 tokens"):
        held_out_table(MODEL, [UNSTEERED], ["I"])
