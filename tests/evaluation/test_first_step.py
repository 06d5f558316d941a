"""The first step is the distribution that is decoded, and its log-odds are those of the two answers' beginnings."""

import math

import pandas as pd
import pytest
import torch

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.evaluation.condition import Asked, Condition
from steering_lab.evaluation.first_step import FirstTokens, first_steps, first_tokens
from steering_lab.evaluation.next_token import next_token_log_probs
from steering_lab.interventions.steering import steer
from steering_lab.methods.cad import CAD
from steering_lab.methods.coiecd import COIECD
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_post
from steering_lab.organism.wording import ORGANISM
from steering_lab.tables import MEASUREMENTS
from tests.tiny_models import hooked, random_vector

MODEL = hooked("llama")
ROWS = [
    ConflictQA("Who sings?", "The baker sings.", ("baker",), ("friend", "you"), group="sings"),
    ConflictQA("Where is the quick brown fox?", "The fox is at the harbour.", ("harbour",), ("sea",), group="fox"),
]
WITH, WITHOUT = Asked(ORGANISM), Asked(ORGANISM, "closed_book")
CONDITIONS = [
    Condition("unsteered", write=WITH, role="unsteered"),
    Condition("steered", 2 * random_vector(MODEL, resid_post(1)).from_last_prompt_token(), WITH),
    Condition("cad", write=WITH, rule=CAD(1.5), without_context=WITHOUT),
    Condition("coiecd", write=WITH, rule=COIECD(), without_context=WITHOUT),
]


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """A column for each metric, by condition and prompt."""
    assert list(table) == MEASUREMENTS.names
    return table.pivot(index=["condition", "prompt"], columns="metric", values="value")


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda c: c.name)
def test_the_first_step_is_what_generate_draws_from(condition: Condition) -> None:
    log_probs = next_token_log_probs(MODEL, condition, ROWS)
    second = [condition.without_context(row) for row in ROWS] if condition.without_context else None
    with steer(MODEL, condition.intervention):
        out = generate(
            MODEL, [WITH(row) for row in ROWS], max_new_tokens=1, log_probs=True, rule=condition.rule,
            without_context=second,
        )  # fmt: skip
    assert log_probs.argmax(-1).tolist() == [tokens[0] for tokens in out.tokens]
    assert out.log_probs is not None
    assert log_probs.amax(-1).tolist() == pytest.approx([row[0] for row in out.log_probs], abs=1e-4)


def test_log_odds_are_of_the_sums_over_the_tokens_that_begin_each_answer() -> None:
    plain, steered = CONDITIONS[:2]
    reference = next_token_log_probs(MODEL, plain, ROWS)
    table = wide(first_steps(MODEL, [plain, steered], ROWS, reference))
    probs = next_token_log_probs(MODEL, steered, ROWS)[0].double().exp()
    begins = first_tokens(MODEL, WITH(ROWS[0]), ROWS[0])
    context, memory = (float(probs[side].sum()) for side in begins)
    row = table.loc[("steered", ROWS[0].id)]
    assert row["log_odds"] == pytest.approx(math.log(context / memory), abs=1e-4)
    assert row["log_prob_context"] == pytest.approx(math.log(context), abs=1e-4)
    assert table.loc["unsteered", "kl"].tolist() == pytest.approx([0, 0], abs=1e-6)
    p, q = reference[0].double(), probs.log()
    assert row["kl"] == pytest.approx(float((p.exp() * (p - q)).sum()), abs=1e-4)


def test_tokens_that_begin_both_answers_are_in_neither_list() -> None:
    row = ConflictQA("Who?", "The sea lion.", ("sea lion",), ("sea", "harbour"), group="who")
    begins = first_tokens(MODEL, "Answer:", row)
    [sea] = MODEL.tokenizer(" sea", add_special_tokens=False)["input_ids"][:1]
    assert sea not in begins.context + begins.memory
    assert begins.memory
    alike = ConflictQA("Who?", "The sea lion.", ("sea lion",), ("sea",), group="who")
    assert first_tokens(MODEL, "Answer:", alike) == FirstTokens([], [])
    table = wide(first_steps(MODEL, CONDITIONS[:1], [alike], next_token_log_probs(MODEL, CONDITIONS[0], [alike])))
    assert table[["log_prob_context", "log_prob_memory", "log_odds"]].isna().all(axis=None)


def test_another_vocabulary_has_no_divergence() -> None:
    reference = torch.log_softmax(torch.zeros(len(ROWS), MODEL.d_vocab + 1), -1)
    assert wide(first_steps(MODEL, CONDITIONS[:1], ROWS, reference))["kl"].isna().all()
