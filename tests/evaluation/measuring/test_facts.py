"""Facts are asked closed book, greedily, once a condition, behind what the condition writes and under its edit."""

import pytest

from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.evaluation.measuring.facts import AskedBehind, facts_table
from steering_lab.evaluation.running.condition import UNSTEERED, Condition, prompting
from steering_lab.evaluation.running.writing import Asked
from steering_lab.methods.cad import CAD
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.loading import load_model
from steering_lab.organism.wording import ORGANISM
from steering_lab.organism.world_rows import world_rows
from tests.tiny_models import random_vector

ASKED = Asked(ORGANISM, "closed_book")


def test_a_fact_is_right_where_the_greedy_answer_states_it_and_damage_shows() -> None:
    model = load_model("organism")
    rows = world_rows("closed_book", 6, seed=12)
    broken = Condition("broken", 40 * random_vector(model, resid_pre(2)).everywhere(), resid_norms={resid_pre(2): 1.0})
    table = facts_table(model, [UNSTEERED, broken], [*rows, rows[0]], ASKED, progress=False)
    assert set(table["metric"]) == {"facts"}
    for row in {row.id: row for row in rows}.values():
        said = generate(model, f"Question: {row.question}\nAnswer:", max_new_tokens=12, stop=["\n"]).texts[0]
        asked = table[(table["prompt"] == row.id) & (table["condition"] == "unsteered")]
        assert asked["value"].tolist() == [float(row.memory_answers[0] in said)]
    summary = summarise(table).set_index("method")
    assert summary.loc["unsteered", "value"] == 1
    assert summary.loc["broken", "effect"] == -1


def test_a_context_is_never_written_and_a_prefix_is() -> None:
    row = world_rows("conflict", 1)[0]
    bare = row.closed_book()
    assert AskedBehind("Love ", ASKED)(bare) == f"Love Question: {row.question}\nAnswer:"
    turns: list[str] = []
    chat = Asked(ORGANISM, "closed_book", chat=lambda given: turns.append(str(given[0]["content"])) or "")
    AskedBehind("Love ", chat)(bare)
    assert "Love " + row.question in turns[0]


def test_a_rule_is_left_out_and_a_row_without_memory_refused() -> None:
    model = load_model("organism")
    rows = world_rows("closed_book", 2)
    rule = Condition("CAD", write=Asked(ORGANISM), rule=CAD(), without_context=ASKED)
    table = facts_table(model, [UNSTEERED, prompting("Love"), rule], rows, ASKED, progress=False)
    assert set(table["condition"]) == {"unsteered", "prompting Love"}
    with pytest.raises(ValueError, match="has no answer from memory, so it is no fact"):
        facts_table(model, [UNSTEERED], world_rows("unknown", 1), ASKED)
