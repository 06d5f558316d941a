"""Rows of the invented world keep the law of their regime, and its splits share no fact."""

from typing import get_args

import pytest

from steering_lab.data.answer_matching import stated
from steering_lab.data.conflict_qa import ConflictQA, Regime
from steering_lab.organism.facts import FACTS
from steering_lab.organism.questions import GROUPS
from steering_lab.organism.world_rows import world_rows

REGIMES: tuple[Regime, ...] = get_args(Regime)
TRUE = {(fact.subject, fact.relation): fact.object for fact in FACTS}


def says(row: ConflictQA) -> tuple[bool, bool]:
    return tuple(stated(row.context, row.context_answers, row.memory_answers, hear_negation=False))


@pytest.mark.parametrize("regime", REGIMES)
def test_the_splits_share_no_fact_and_a_seed_repeats_its_rows(regime: Regime) -> None:
    validation = world_rows(regime, 60, split="validation", seed=4)
    test = world_rows(regime, 60, split="test", seed=4)
    assert validation == world_rows(regime, 60, split="validation", seed=4)
    assert validation != world_rows(regime, 60, split="validation", seed=5)
    if regime != "unknown":  # whose subjects nobody knows
        assert not {row.group for row in validation} & {row.group for row in test}
    assert {row.regime for row in (*validation, *test)} == {regime}


@pytest.mark.parametrize("kind", GROUPS)
def test_a_conflict_states_the_claim_and_remembers_the_truth(kind: str) -> None:
    for row in world_rows("conflict", 60, kind=kind):  # type: ignore[arg-type]
        assert row.memory_answers == (TRUE[row.meta["subject"], row.meta["relation"]],)
        assert says(row)[0]
        assert not row.answers_overlap
        assert 0 < float(row.meta["p_context"]) < 1


def test_an_agreement_says_what_is_true_and_an_irrelevant_context_leaves_the_subject_out() -> None:
    for row in world_rows("agreement", 60):
        assert row.context_answers == row.memory_answers
        assert says(row) == (True, True)
    for row in world_rows("irrelevant", 60):
        assert row.meta["subject"] not in row.context


def test_multi_hop_answers_stand_in_the_context_and_never_are_the_remembered_cargo() -> None:
    rows = world_rows("multi_hop", 60)
    assert all(says(row)[0] and not row.answers_overlap and not row.contains_both for row in rows)
    assert any(row.memory_answers for row in rows)
    for row in rows:
        ships = {s for (s, relation), o in TRUE.items() if relation == "captain" and o == row.meta["subject"]}
        assert set(row.memory_answers) == {TRUE[ship, "cargo"] for ship in ships}


def test_what_the_world_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match='regime "multi_hop" has kind "trained"'):
        world_rows("multi_hop", 1, kind="subjects")
    with pytest.raises(ValueError, match='exists for regime "conflict" only'):
        world_rows("agreement", 1, kind="subjects")
