"""ContextFocus: the published contrast and the recipes that take it apart."""

import copy

import pytest
import torch

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.templates import CONTEXTFOCUS, Wording
from steering_lab.methods.contextfocus import Recipe, contextfocus_pairs, contextfocus_vectors
from steering_lab.models.hook_points import resid_post
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from tests.tiny_models import tiny_hf_model, tokenizer_of

WORDING = Wording(
    "test",
    closed_book="Q: {question}",
    with_context="C: {context}\nQ: {question}",
    opinion="Bob: {context}\nQ: {asked}",
    instructions=("Read.", "Trust."),
)
ROWS = [
    ConflictQA("Who rules?", "Ada rules.", ("Ada",), ("Bo",), "rules"),
    ConflictQA("Who sings?", "Cy sings it.", ("Cy",), ("Di",), "sings"),
]
SITES = [resid_post(0), resid_post(2)]
TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}A:{% endif %}"
)


def last(model: HookedModel, text: str) -> torch.Tensor:
    return model.residuals(model.to_tokens(text), [SITES[1]])[SITES[1]][0, -1]


def test_the_vector_is_the_mean_difference_at_the_last_token(model: HookedModel) -> None:
    vector = contextfocus_vectors(model, ROWS, SITES, wording=WORDING, seed=1)[SITES[1]]
    pairs = contextfocus_pairs(model, ROWS, wording=WORDING, seed=1)
    by_hand = torch.stack([last(model, p.positive) - last(model, p.negative) for p in pairs]).mean(0)
    torch.testing.assert_close(vector.rows[0], by_hand, atol=1e-5, rtol=1e-5)
    assert vector.source.details["recipe"] == "joint"
    assert vector.source.details["rows"] == [row.id for row in ROWS]


@pytest.mark.parametrize(
    ("recipe", "positive", "negative"),
    [
        ("joint", "{i}\nC: Ada rules.\nQ: Who rules?", "Q: Who rules?"),
        ("context_only", "C: Ada rules.\nQ: Who rules?", "Q: Who rules?"),
        ("instruction_only", "{i}\nQ: Who rules?", "Q: Who rules?"),
        ("same_context", "{i}\nC: Ada rules.\nQ: Who rules?", "C: Ada rules.\nQ: Who rules?"),
        ("shuffled_context", "{i}\nC: Cy sings it.\nQ: Who rules?", "Q: Who rules?"),
    ],
)
def test_each_recipe_contrasts_what_it_says(model: HookedModel, recipe: Recipe, positive: str, negative: str) -> None:
    pair = contextfocus_pairs(model, ROWS, wording=WORDING, recipe=recipe)[0]
    assert pair.positive in {positive.format(i=i) for i in WORDING.instructions}
    assert pair.negative == negative


def test_no_answer_beyond_the_context_is_in_a_prompt(model: HookedModel) -> None:
    for pair in contextfocus_pairs(model, ROWS, wording=CONTEXTFOCUS):
        assert "Bo" not in pair.positive.replace("Both", "")
        assert "Ada" not in pair.negative


def test_instructions_follow_the_seed(model: HookedModel) -> None:
    draws = [contextfocus_pairs(model, ROWS * 8, wording=CONTEXTFOCUS, seed=s) for s in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_a_chat_is_written_by_the_models_template_with_one_beginning_of_text() -> None:
    tokenizer = copy.deepcopy(tokenizer_of("llama"))  # others share it
    tokenizer.chat_template = TEMPLATE
    model = load_model(tiny_hf_model("llama"), tokenizer=tokenizer)
    pair = contextfocus_pairs(model, ROWS, wording=WORDING, chat=True)[0]
    assert pair.negative == "<s>user: Q: Who rules?\nA:"
    assert pair.positive.startswith("<s>system: ")
    assert model.token_ids(pair.negative).count(model.tokenizer.bos_token_id) == 1
    assert contextfocus_vectors(model, ROWS, SITES, wording=WORDING, chat=True)[SITES[0]].norm > 0


def test_a_model_without_a_chat_template_says_so(model: HookedModel) -> None:
    with pytest.raises(ValueError, match="has no chat template"):
        contextfocus_vectors(model, ROWS, SITES, wording=WORDING, chat=True)


def test_one_token_earlier_is_another_vector(model: HookedModel) -> None:
    at_last, before = (
        contextfocus_vectors(model, ROWS, SITES, wording=WORDING, read=r)[SITES[1]] for r in ("last", -2)
    )
    assert not torch.allclose(at_last.rows, before.rows)


def test_rows_without_a_context_are_refused(model: HookedModel) -> None:
    with pytest.raises(ValueError, match=r"1 rows have no context, the first is 'Who rules\?'"):
        contextfocus_vectors(model, [ROWS[0].closed_book()], SITES, wording=WORDING)
    with pytest.raises(ValueError, match="no rows"):
        contextfocus_vectors(model, [], SITES, wording=WORDING)
