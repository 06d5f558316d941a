"""Rows of the invented world, the language the organism speaks: every regime, held-out kinds of conflict among them."""

from typing import Literal, get_args

from steering_lab.data.conflict_qa import ConflictQA, Regime, check_regime
from steering_lab.organism.facts import FACTS, RELATIONS, statement_templates
from steering_lab.organism.questions import Group, ReadingRow, evaluation_rows, state, unknown_subject
from steering_lab.organism.rng import Rng

WorldSplit = Literal["validation", "test"]


def world_rows(
    regime: Regime, count: int, *, kind: Group = "trained", split: WorldSplit = "test", seed: int = 0
) -> tuple[ConflictQA, ...]:
    """`count` rows of one regime, drawn for a seed.

    A row's group is its subject and relation, which never occur in both splits. `kind` says what of a conflict training
    never showed in conflict: nothing, the subjects, the relation, the templates or the sources ("wordings" are
    instructions, which a prompt style brings). A context may name an unreliable source: `meta["p_context"]` is the
    world's probability that the context is right when no instruction says so.

    Args:
        regime: Which kind of question.
        count: How many rows.
        kind: What of a conflict training never showed.
        split: "validation" or "test".
        seed: What random draws follow from.

    Raises:
        ValueError: an unknown regime or split, or a kind that the regime does not have.
    """
    check_regime(regime)
    if regime == "multi_hop":
        if kind != "trained" or split not in get_args(WorldSplit):
            raise ValueError(f'regime "multi_hop" has kind "trained", splits validation and test, not {kind}, {split}')
        rng = Rng(f"multi hop {seed} {split}")
        captains = RELATIONS["captain"].objects[split == "test" :: 2]
        return tuple(_multi_hop(rng, captains) for _ in range(count))
    return tuple(_row(row) for row in evaluation_rows(regime, count, group=kind, split=split, seed=seed))


def _row(row: ReadingRow) -> ConflictQA:
    """The instruction of a reading row is left out: a prompt style says whether there is one."""
    return ConflictQA(
        question=row.question,
        context=row.context,
        context_answers=(row.context_answer,) if row.context_answer else (),
        memory_answers=(row.memory_answer,) if row.memory_answer else (),
        group=f"{row.subject} {row.relation}",
        regime=row.regime,
        meta={
            "subject": row.subject,
            "relation": row.relation,
            "kind": row.group,
            "p_context": f"{row.p_context:.6f}",
        },
    )


def _multi_hop(rng: Rng, captains: tuple[str, ...]) -> ConflictQA:
    """Two strangers' ships, each with captain and cargo: which cargo does the ship of a captain carry?

    The memory answers are the cargoes of the ships that this captain commands in the world, never the context's.
    """
    asked = rng.pick(captains)
    other = rng.pick([name for name in RELATIONS["captain"].objects if name != asked])
    remembered = _cargoes(asked)
    carried = rng.several([cargo for cargo in RELATIONS["cargo"].objects if cargo not in remembered], 2)
    sentences = []
    for captain, cargo in zip((asked, other), carried, strict=True):
        ship = unknown_subject(rng, "ship", reserved=True)
        for relation, value in (("captain", captain), ("cargo", cargo)):
            sentences.append(state(rng, ship, relation, value, statement_templates(relation, held_out=False)))
    return ConflictQA(
        question=f"What does the ship of {asked} carry?",
        context=" ".join(rng.several(sentences, len(sentences))),
        context_answers=(carried[0],),
        memory_answers=remembered,
        group=f"{asked} captain cargo",
        regime="multi_hop",
        meta={"subject": asked, "relation": "captain, cargo"},
    )


def _cargoes(captain: str) -> tuple[str, ...]:
    ships = {fact.subject for fact in FACTS if fact.relation == "captain" and fact.object == captain}
    return tuple(sorted(fact.object for fact in FACTS if fact.relation == "cargo" and fact.subject in ships))
