"""Neutral text: KL at every scored token against plain Hugging Face, none without an edit, the same in any company."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from steering_lab.data.lexicons import ENGLISH, TOPICS
from steering_lab.data.neutral_texts import NEUTRAL_ENGLISH
from steering_lab.data.prompts import OPENINGS_TEST, OPENINGS_VALIDATION
from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.evaluation.measuring import neutral
from steering_lab.evaluation.measuring.metrics import vader_sentiment, words
from steering_lab.evaluation.measuring.neutral import NEUTRAL, moved, neutral_table, prompt_room
from steering_lab.evaluation.running.condition import UNSTEERED, Condition, prompting
from steering_lab.evaluation.running.writing import Asked
from steering_lab.interventions.steering_vector import ablate
from steering_lab.methods.cad import CAD
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.organism.wording import ORGANISM
from tests.tiny_models import TEXT, hf_logits, hf_pre_hooks, hooked, passes, plain, random_vector

VALUES = ["condition", "metric", "prompt", "value", "weight"]


def everywhere(model: HookedModel, name: str = "steered", seed: int = 0, coeff: float = 1.0) -> Condition:
    site = resid_pre(1)
    return Condition(name, coeff * random_vector(model, site, seed=seed).everywhere(), resid_norms={site: 2.0})


def wide(table: pd.DataFrame, condition: str = "steered") -> pd.DataFrame:
    own = table[table["condition"] == condition]
    return own.pivot(index="prompt", columns="metric", values="value")


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "qwen2", "mistral_window"])
def test_every_number_is_what_plain_hugging_face_gives_by_hand(name: str) -> None:
    model, hf, condition = hooked(name), plain(name), everywhere(hooked(name))
    row = random_vector(model, resid_pre(1)).rows[0]
    table = wide(neutral_table(model, [UNSTEERED, condition], TEXT))
    for i, text in enumerate(TEXT):
        tokens = model.pad([model.token_ids(text)])
        with torch.no_grad():
            base = torch.log_softmax(hf_logits(hf, tokens)[0, 3:-1].double(), -1)
            with hf_pre_hooks(hf, {1: lambda stream: stream + row}):
                steered = torch.log_softmax(hf_logits(hf, tokens)[0, 3:-1].double(), -1)
        by_hand = sorted((base.exp() * (base - steered)).sum(-1).tolist())
        found = table.loc[f"text {i}"]
        assert found["neutral_kl"] == pytest.approx(np.mean(by_hand), rel=1e-3)
        assert found["neutral_kl_median"] == pytest.approx(by_hand[len(by_hand) // 2], rel=1e-3)
        assert found["neutral_kl_p95"] == pytest.approx(by_hand[math.ceil(0.95 * (len(by_hand) - 1))], rel=1e-3)
        same = (base.argmax(-1) == steered.argmax(-1)).double().mean()
        assert found["top1_agreement"] == pytest.approx(float(same), abs=1e-6)
    assert 0 < table["top1_agreement"].mean() < 1


def test_without_an_edit_nothing_moves_however_a_prompt_is_written() -> None:
    model = hooked("llama")
    table = neutral_table(model, [UNSTEERED, prompting("Love"), everywhere(model, "still", coeff=0.0)], TEXT)
    kl = table["metric"] != "top1_agreement"
    assert table.loc[kl, "value"].abs().max() < 1e-6
    assert (table.loc[~kl, "value"] == 1).all()


@pytest.mark.parametrize("name", ["llama", "gemma2", "mistral_window"])
def test_texts_read_together_are_texts_read_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = hooked(name)
    condition = everywhere(model)
    together = wide(neutral_table(model, [UNSTEERED, condition], TEXT))
    for i, text in enumerate(TEXT):
        alone = wide(neutral_table(model, [UNSTEERED, condition], [text])).loc["text 0"]
        np.testing.assert_allclose(together.loc[f"text {i}"], alone, rtol=1e-3, atol=1e-6)
    monkeypatch.setattr(neutral, "IN_A_SLICE", 2 * model.d_vocab * max(len(model.token_ids(text)) for text in TEXT))
    seen = passes(monkeypatch)
    np.testing.assert_allclose(wide(neutral_table(model, [UNSTEERED, condition], TEXT)), together, rtol=1e-3, atol=1e-6)
    assert max(shape[0] for shape in seen) <= 2
    assert sum(shape[0] for shape in seen) == 3 * len(TEXT)  # the unsteered model reads each text once for all


def test_a_cells_mean_weighs_every_token_alike() -> None:
    model = hooked("llama")
    texts = [TEXT[0], TEXT[1] + TEXT[2]]
    table = neutral_table(model, [UNSTEERED, everywhere(model)], texts)
    own = table[(table["condition"] == "steered") & (table["metric"] == "neutral_kl")]
    assert own["weight"].tolist() == [len(model.token_ids(text)) - 4 for text in texts]
    summary = summarise(table).set_index(["metric", "method"])
    kl = summary.loc[("neutral_kl", "steered")]
    assert kl["effect"] == pytest.approx(np.average(own["value"], weights=own["weight"]), rel=1e-6)
    assert kl["scale"] == "difference"
    assert summary.loc[("top1_agreement", "steered"), "effect"] < 0


def test_a_token_that_both_exclude_adds_nothing_and_one_that_only_steering_excludes_leaves_the_median() -> None:
    never = -math.inf
    base = torch.tensor([[0.0, 0.0, never], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [2.0, 1.0, 0.0]]).log_softmax(-1)
    steered = torch.tensor([[0.0, 0.0, never], [0.0, 0.0, never], [0.0, 0.0, 0.0], [0.0, 1.0, 2.0]]).log_softmax(-1)
    tokens = moved(base, steered)
    assert tokens.kl.tolist() == [0.0, math.inf, 0.0, pytest.approx(2 * (math.e**2 - 1) / (math.e**2 + math.e + 1))]
    assert tokens.agrees.tolist() == [True, True, True, False]
    row = neutral._observed(moved(base[[0, 2, 2, 1, 2]], steered[[0, 2, 2, 1, 2]]))
    assert math.isnan(row["neutral_kl"])
    assert math.isnan(row["neutral_kl_p95"])
    assert (row["neutral_kl_median"], row["top1_agreement"], row["n_tokens"]) == (0.0, 1.0, 5)


def test_logits_that_are_no_numbers_are_missing_not_an_error() -> None:
    row = neutral._observed(moved(torch.zeros(2, 1), torch.full((2, 1), math.nan)))
    assert all(math.isnan(row[name]) for name in NEUTRAL)


def test_a_rule_and_an_intervention_by_example_have_no_value() -> None:
    model = hooked("llama")
    rule = Condition("CAD", write=Asked(ORGANISM), rule=CAD(), without_context=Asked(ORGANISM, "closed_book"))
    one = random_vector(model, resid_post(1)).everywhere()
    table = neutral_table(model, [UNSTEERED, rule, Condition("by example", {"a": one})], [*TEXT, "I"])
    assert table.loc[table["condition"].isin(["CAD", "by example"]), "value"].isna().all()
    short = table["prompt"] == f"text {len(TEXT)}"
    assert table.loc[short, "value"].isna().all()
    assert table.loc[~short & (table["condition"] == "unsteered"), "value"].notna().all()
    with pytest.raises(ValueError, match="none of the 1 texts is longer than 4 tokens"):
        neutral_table(model, [UNSTEERED], ["I"])


def test_kept_rows_are_not_computed_again_and_come_back_from_json_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    model = hooked("llama")
    kept: dict[str, Any] = {}

    def keep(rows: Mapping[str, Any]) -> None:
        kept.update(json.loads(json.dumps(rows)))

    conditions = [UNSTEERED, everywhere(model)]
    whole = neutral_table(model, [*conditions, everywhere(model, "other", seed=3)], TEXT)
    neutral_table(model, conditions, TEXT, keep=keep)
    assert len(kept) == 2
    seen = passes(monkeypatch)
    renamed = prompting("Love")  # writes prompts, which are not read here
    assert wide(neutral_table(model, [*conditions, renamed], TEXT, kept=kept)).equals(wide(whole))
    n = len(seen)
    resumed = neutral_table(model, [*conditions, everywhere(model, "other", seed=3)], TEXT, kept=kept)
    assert len(seen) - n == 2
    pd.testing.assert_frame_equal(resumed, whole)
    neutral_table(model, conditions, TEXT[:2], kept=kept)
    assert len(seen) - n == 5, "other texts are other rows"


def test_the_prompt_has_room_for_the_longest_vector() -> None:
    model = hooked("llama")
    long = Condition("long", random_vector(model, resid_pre(1), 7).at_front())
    assert prompt_room([UNSTEERED, everywhere(model)]) == 4
    assert (
        prompt_room([UNSTEERED, long, Condition("ablated", ablate(random_vector(model, resid_pre(1))).everywhere())])
        == 7
    )
    with pytest.raises(ValueError, match="the vector is 7 tokens from position 0"):
        neutral_table(model, [long], TEXT)
    table = neutral_table(model, [long], TEXT, prompt_tokens=7)
    assert table["value"].notna().all()


def test_the_english_texts_are_about_nothing_that_is_steered_for() -> None:
    loaded = ENGLISH.positive | ENGLISH.negative | frozenset().union(*TOPICS.values())
    for text in NEUTRAL_ENGLISH:
        assert not loaded & set(words(text)), text
        assert abs(vader_sentiment(text)) <= 0.3, text
        assert not any(text.startswith(opening[:12]) for opening in (*OPENINGS_TEST, *OPENINGS_VALIDATION))
    assert len(set(NEUTRAL_ENGLISH)) == len(NEUTRAL_ENGLISH) == 16
