"""The divergence of the next token: of nothing it is zero, and every kind of condition is measured alike."""

import pytest
import torch

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.data.templates import PromptStyle
from steering_lab.evaluation.condition import Asked, Condition
from steering_lab.evaluation.next_token import next_token_kl, next_token_log_probs
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering import steer
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.cad import CAD
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.numerics.divergence import kl
from steering_lab.organism.wording import ORGANISM
from tests.tiny_models import tiny_hf_model, tokenizer_of

ROWS = [
    ConflictQA("Who rules?", "Ada rules the sea.", ("Ada",), ("Bo",), "rules"),
    ConflictQA("Who sings?", "Cy sings.", ("Cy",), ("Di",), "sings"),
    ConflictQA("Who bakes at night?", "Ed bakes.", ("Ed",), ("Flo",), "bakes"),
]


@pytest.fixture(scope="module")
def model() -> HookedModel:
    return load_model(tiny_hf_model("llama"), tokenizer=tokenizer_of("llama"))


@pytest.fixture(scope="module")
def vector(model: HookedModel) -> SteeringVector:
    site = model.sites()[1]
    return mean_difference_vectors(model, [ContrastPair("Love", "Hate")], [site])[site]


def asked(style: PromptStyle = "with_context") -> Asked:
    return Asked(ORGANISM, style)


UNSTEERED = Condition("unsteered", write=asked(), role="unsteered")


def test_the_reference_is_no_distance_from_itself(model: HookedModel) -> None:
    table = next_token_kl(model, [UNSTEERED], ROWS, UNSTEERED)
    assert table["prompt"].tolist() == [row.id for row in ROWS]
    assert table["value"].tolist() == [0.0] * 3


def test_the_distance_is_the_divergence_of_single_passes_at_any_batch_size(
    model: HookedModel, vector: SteeringVector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steering_lab.evaluation.next_token.SCORED_LOGITS", 2 * 64 * model.d_vocab)
    edits = {row.id: k * vector.from_last_prompt_token() for k, row in enumerate(ROWS)}
    own = Condition("own", edits, asked())
    table = next_token_kl(model, [own], ROWS, UNSTEERED)
    assert table["value"].iloc[0] == pytest.approx(0, abs=1e-6)  # k = 0 is no edit
    for k, row in enumerate(ROWS):
        plain = model.logits(model.to_tokens(asked()(row)))[0, -1].log_softmax(-1)
        with steer(model, k * vector.from_last_prompt_token()):
            moved = model.logits(model.to_tokens(asked()(row)))[0, -1].log_softmax(-1)
        assert table["value"].iloc[k] == pytest.approx(float(kl(plain, moved)), abs=1e-5)
    assert table["value"].iloc[2] > 1e-4


def test_a_rule_and_another_prompt_are_measured_like_an_edit(model: HookedModel) -> None:
    rule = Condition("CAD", write=asked(), rule=CAD(1.0), without_context=asked("closed_book"))
    context, memory = (next_token_log_probs(model, Condition("c", write=asked(s)), ROWS) for s in STYLES)
    torch.testing.assert_close(
        next_token_log_probs(model, rule, ROWS), (2 * context - memory).log_softmax(-1), atol=1e-5, rtol=0
    )
    instructed = Condition("instructed", write=asked("instructed"))
    table = next_token_kl(model, [rule, instructed], ROWS, UNSTEERED)
    assert (table.groupby("condition")["value"].mean() > 1e-4).all()


STYLES: tuple[PromptStyle, ...] = ("with_context", "closed_book")


def test_an_open_steering_block_is_not_measured_as_the_reference(model: HookedModel, vector: SteeringVector) -> None:
    nothing = Condition("nothing", Intervention(), asked())
    with steer(model, 5 * vector.everywhere()):
        assert next_token_kl(model, [nothing], ROWS, UNSTEERED)["value"].max() == 0
