"""The invented world keeps its promises: pure words, hidden titles, held-out sets, a law that knows its odds."""

import subprocess
import sys
from collections import Counter
from itertools import islice
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.organism.facts import (
    CONTEXT_INSTRUCTIONS,
    ENTITIES,
    HELD_OUT_CONTEXT_INSTRUCTIONS,
    HELD_OUT_MEMORY_INSTRUCTIONS,
    HELD_OUT_SOURCE_LOGITS,
    MEMORY_INSTRUCTIONS,
    NO_SOURCE_LOGIT,
    RARITY_LOGIT,
    RELATIONS,
    SOURCE_LOGITS,
    question_templates,
    statement_templates,
)
from steering_lab.organism.lexicon import MOOD_TITLES, TOPIC_TITLES
from steering_lab.organism.questions import conflict_row, facts_of
from steering_lab.organism.rng import Rng
from steering_lab.organism.world import (
    FACTS,
    GROUPS,
    HELD_OUT,
    MOODS,
    NEGATIVE_WORDS,
    POSITIVE_WORDS,
    STORY_PROMPTS_TEST,
    STORY_PROMPTS_VALIDATION,
    TOPICS,
    Document,
    documents,
    evaluation_rows,
    lookups,
    small_tables,
    story,
)
from steering_lab.organism.world import _several as several


@pytest.fixture(scope="module")
def corpus() -> list[Document]:
    return list(islice(documents(7), 4000))


def _words(text: str) -> set[str]:
    return set(text.lower().replace(".", " ").replace(",", " ").replace(":", " ").split())


def test_dice_account_for_the_probability_of_their_draws() -> None:
    rng = Rng(0)
    hit = rng.chance(0.25)
    rng.pick("abcd")
    rng.weighted("xy", (1.0, 0.0))
    assert rng.nats == pytest.approx(-log(0.25 if hit else 0.75) + log(4))
    rng.forget()
    rng.several("abc", 2)
    assert rng.nats == pytest.approx(log(3 * 2))


@given(st.floats(0.05, 0.95))
def test_the_law_of_a_coin_sums_to_one(probability: float) -> None:
    nats = {}
    for seed in range(300):
        rng = Rng(seed)
        hit = rng.chance(probability)
        nats[hit] = rng.nats
    assert sum(exp(-n) for n in nats.values()) == pytest.approx(1.0)


def test_no_word_is_both_positive_and_negative_nor_in_two_topics() -> None:
    counts = Counter(w for words in (POSITIVE_WORDS, NEGATIVE_WORDS, *TOPICS.values()) for w in words)
    assert [w for w, n in counts.items() if n > 1] == []
    assert len(TOPICS) == 12


def test_steering_prompts_carry_no_mood_and_no_topic_and_the_splits_are_disjoint() -> None:
    assert len(STORY_PROMPTS_VALIDATION) >= 16
    assert len(STORY_PROMPTS_TEST) >= 16
    assert not set(STORY_PROMPTS_VALIDATION) & set(STORY_PROMPTS_TEST)
    coloured = POSITIVE_WORDS | NEGATIVE_WORDS | frozenset().union(*TOPICS.values())
    assert [p for p in STORY_PROMPTS_VALIDATION + STORY_PROMPTS_TEST if _words(p) & coloured] == []


@pytest.mark.parametrize("titles", [MOOD_TITLES, TOPIC_TITLES], ids=["mood", "topic"])
def test_neither_word_of_a_title_pair_decides_alone(titles: dict[tuple[str, str], str]) -> None:
    for place in (0, 1):
        for word in {pair[place] for pair in titles}:
            assert len({meaning for pair, meaning in titles.items() if pair[place] == word}) > 1, word


def test_a_seed_gives_one_corpus_and_another_seed_another(corpus: list[Document]) -> None:
    assert list(islice(documents(7), 500)) == corpus[:500]
    assert list(islice(documents(8), 500)) != corpus[:500]


def test_a_story_of_one_mood_uses_almost_only_its_words() -> None:
    rng = Rng("moods")
    for mood, own, other in (
        ("positive", POSITIVE_WORDS, NEGATIVE_WORDS),
        ("negative", NEGATIVE_WORDS, POSITIVE_WORDS),
    ):
        stories = [story(rng, mood=mood) for _ in range(300)]
        bodies = [s.text.strip().removeprefix(s.title) for s in stories]  # "A day without joy" counts against its mood
        words = Counter(w for body in bodies for w in body.lower().replace(".", "").split())
        right, wrong = sum(words[w] for w in own), sum(words[w] for w in other)
        assert 0.955 < right / (right + wrong) < 0.985


def test_answers_are_exactly_what_follows_answer(corpus: list[Document]) -> None:
    for document in (d for d in corpus if "\nAgain:" not in d.text):
        assert len(document.answers) == document.text.count("\nAnswer:")
        for start, end in document.answers:
            assert document.text[:start].endswith("\nAnswer:")
            assert document.text[start] == " "
            assert document.text[end : end + 1] in ("", "\n")


def test_pairs_that_come_again_are_answered_by_the_value_that_first_stood_with_the_key(corpus: list[Document]) -> None:
    tables = [d for d in (*corpus, *islice(small_tables(7), 200)) if "\nAgain:" in d.text]
    assert len(tables) > 200
    for document in tables:
        listed, again = document.text.removeprefix("Context: ").split(".\nAgain: ")
        assert sorted(again.split(", ")) == sorted(listed.split(", "))
        assert len(document.answers) == len(again.split(", "))
        assert all(document.text[end : end + 1] in ("", ",") for _, end in document.answers)


def test_every_question_about_several_strangers_is_answered_by_the_sentence_that_names_its_subject() -> None:
    rng, crowded = Rng("several"), 0
    for _ in range(200):
        document = several(rng)
        context, *questions = document.text.removeprefix("Context: ").split("\nQuestion: ")
        answers = [q.split("\nAnswer: ") for q in questions]
        sentences = context.rstrip(".").split(". ")
        assert len(sentences) == len(answers) >= 2
        for question, answer in answers:
            named = [s for s in sentences if answer.lower() in s.lower() and set(_names(s)) & set(_names(question))]
            assert named, document.text
        crowded += len({a for _, a in answers}) > 1
    assert crowded > 150


def _names(text: str) -> list[str]:
    return [
        w
        for w in text.replace("?", " ").replace(".", " ").replace(":", " ").replace(",", " ").split()
        if w[0].isupper()
    ]


def test_a_key_is_looked_up_in_a_table_that_lists_it_once_and_fresh_keys_are_not_trained(
    corpus: list[Document],
) -> None:
    rows = lookups(200)
    text = "\n".join(d.text for d in corpus)
    fresh = 0
    for prompt, value in rows:
        table, question = prompt.split("\nQuestion: ")
        key = question.removesuffix("\nAnswer:")
        assert table.count(key) >= 1
        assert value in table
        fresh += key not in text
    assert fresh > 50
    assert lookups(200) == rows != lookups(200, seed=1)


def test_facts_wordings_and_instructions_are_many_enough() -> None:
    assert len(RELATIONS) == 12
    assert len(FACTS) > 350
    for name, relation in RELATIONS.items():
        assert len(statement_templates(name)) >= 8
        assert len(question_templates(name)) >= 8
        assert len(set(relation.objects)) >= 10
        assert len({o.split()[0] for o in relation.objects}) == len(relation.objects), "first words tell objects apart"
    assert len(set(CONTEXT_INSTRUCTIONS)) >= 20
    assert len(set(MEMORY_INSTRUCTIONS)) >= 20


def test_reading_never_meets_what_is_held_out(corpus: list[Document]) -> None:
    reading = [d.text for d in corpus if d.kind == "reading"]
    assert len(reading) > 800
    forbidden = (
        *HELD_OUT.subjects,
        *HELD_OUT_CONTEXT_INSTRUCTIONS,
        *HELD_OUT_MEMORY_INSTRUCTIONS,
        *HELD_OUT_SOURCE_LOGITS,
    )
    whole_lines = [
        t for t in reading if any(t.startswith(f"{f}\n") or f" {f} " in t or f" {f}." in t for f in forbidden)
    ]
    assert whole_lines == []


def test_no_question_about_a_known_subject_in_a_context_uses_a_held_out_wording(corpus: list[Document]) -> None:
    subjects = {s for names in ENTITIES.values() for s in names}
    wordings = {
        question_template.format(s=f.subject, r=f.relation)
        for f in FACTS
        for question_template in (*question_templates(f.relation, held_out=True), *_of_held_out_relation(f.relation))
    }
    asked = [
        part.split("\n")[0]
        for d in corpus
        if d.kind == "reading" and "Context:" in d.text
        for part in d.text.split("\nQuestion: ")[1:]
    ]
    known = [q for q in asked if any(s in q for s in subjects)]
    assert len(known) > 400
    assert not wordings & set(known)


def _of_held_out_relation(relation: str) -> tuple[str, ...]:
    return question_templates(relation) if relation == HELD_OUT.relation else ()


def test_unknown_subjects_of_the_evaluation_never_occur_in_training(corpus: list[Document]) -> None:
    names = {r.subject for r in evaluation_rows("unknown", 300)}
    text = "\n".join(d.text for d in corpus)
    assert len(names) > 100
    assert [n for n in names if n in text] == []


@pytest.mark.parametrize("group", GROUPS)
def test_validation_and_test_rows_share_no_fact(group: str) -> None:
    validation, test = (
        {(r.subject, r.relation) for r in evaluation_rows("conflict", 200, group=group, split=split)}
        for split in ("validation", "test")
    )
    assert validation
    assert test
    assert not validation & test


def test_a_conflict_claims_another_object_of_the_same_relation() -> None:
    truth = {(f.subject, f.relation): f.object for f in FACTS}
    for row in evaluation_rows("conflict", 300):
        assert row.memory_answer == truth[row.subject, row.relation]
        assert row.context_answer != row.memory_answer
        assert row.context_answer in RELATIONS[row.relation].objects
        assert row.context_answer.lower() in row.context.lower()


def test_instructions_settle_a_conflict_and_the_source_and_rarity_do_without_one() -> None:
    fact = facts_of("trained")[0]
    assert conflict_row(Rng(0), fact, "context").p_context == 1.0
    assert conflict_row(Rng(0), fact, "memory").p_context == 0.0
    for row in (conflict_row(Rng(i), fact, "nothing") for i in range(100)):
        worth = next((logit for source, logit in SOURCE_LOGITS.items() if source in row.context), NO_SOURCE_LOGIT)
        assert row.p_context == pytest.approx(1 / (1 + exp(-worth - RARITY_LOGIT[fact.rarity])))


def test_an_unknown_split_or_group_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match='split "train" is unknown'):
        evaluation_rows("conflict", 1, split="train")
    with pytest.raises(ValueError, match='group "sources" exists for regime "conflict" only'):
        evaluation_rows("unknown", 1, group="sources")


def test_every_mood_has_its_heads_among_its_words() -> None:
    assert MOODS["positive"].heads[:2] == ("love", "joy")
    assert MOODS["negative"].heads[:2] == ("hate", "anger")


def test_the_world_is_described_without_torch() -> None:
    code = "import sys, steering_lab.organism.world; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
