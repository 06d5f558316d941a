"""Conflicts about the countries of the world that every pretrained model has read about: capitals above all.

Each row states in a sentence or two what a country's capital (currency, continent), or the country of a city, is not:
another answer stands in the right one's place. The twins of a row state the right answer (agreement), say something
about another country (irrelevant), or nothing at all (closed book). A row's group is its country, whatever is asked, so
splits by group never share a country. Data: GeoNames (geonames.org, CC BY 4.0), see `country_facts`, which also says
what is left out and why. What a model knows of it is to be measured before anything is steered.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from steering_lab.data.conflict_qa import ConflictQA, irrelevant_twins
from steering_lab.data.country_facts import MIN_POPULATION, Fact, Relation, country_facts, with_article

CapitalRegime = Literal["conflict", "agreement", "irrelevant", "closed_book"]


@dataclass(frozen=True)
class _Wording:
    """How a relation is asked, how its answer begins, and how it is stated; {Subject} begins a sentence."""

    question: str
    begun: str
    statements: tuple[str, ...]


_WORDINGS: Mapping[Relation, _Wording] = {
    "capital": _Wording(
        "What is the capital of {subject}?",
        "The capital of {subject} is",
        (
            "The capital of {subject} is {answer}.",
            "{answer} is the capital city of {subject}, and its government sits there.",
            "Most visitors to {subject} first see its capital, {answer}.",
            "The national museum of {subject} stands in the capital, {answer}, near the central station.",
        ),
    ),
    "currency": _Wording(
        "What is the currency of {subject}?",
        "The currency of {subject} is the",
        (
            "The currency of {subject} is the {answer}.",
            "Prices in {subject} are given in the national currency, the {answer}.",
            "The central bank of {subject} issues the {answer}, the only currency that shops accept.",
        ),
    ),
    "continent": _Wording(
        "Which continent is {subject} in?",
        "{Subject} is in",
        (
            "{Subject} is a country in {answer}.",
            "On a map of {answer} one finds {subject} at once.",
            "{Subject} belongs to {answer}, as do its neighbours.",
        ),
    ),
    "country": _Wording(
        "Which country is {subject} in?",
        "{Subject} is in",
        (
            "{Subject} is a large city in {the_answer}.",
            "Of the cities of {the_answer}, {subject} is one of the best known.",
            "From the station of {subject} there are trains to the rest of {the_answer}.",
        ),
    ),
}


def capital_rows(
    regime: str = "conflict",
    relations: Sequence[str] = ("capital",),
    *,
    min_population: int = MIN_POPULATION,
    seed: int = 0,
) -> tuple[ConflictQA, ...]:
    """Every row of one regime about the countries with more than `min_population` inhabitants.

    A fact has one conflict for each of its statements, with substitutes drawn for `seed`, each as often as any other,
    give or take one. Rows come relation by relation in the order asked for, countries by ISO code. `meta` says country,
    relation, subject, the number of the statement, and how the answer begins (`begun`: "The capital of Peru is").

    Args:
        regime: "conflict", "agreement", "irrelevant" or "closed_book".
        relations: What is asked of each country.
        min_population: Smaller countries are left out.
        seed: What random draws follow from.

    Raises:
        ValueError: an unknown regime or relation, none or one twice, or no country that large.
    """
    if regime not in get_args(CapitalRegime):
        raise ValueError(f'regime "{regime}" is unknown: choose one of {", ".join(get_args(CapitalRegime))}')
    if not relations or len(set(relations)) < len(relations):
        raise ValueError(f"relations are {list(relations)}: name one or more, each once")
    facts = [f for relation in relations for f in country_facts(relation, min_population=min_population).facts]
    rows = tuple(row for fact in facts for row in _conflicts(fact, seed))
    if regime == "agreement":
        return tuple(row.agreeing() for row in rows)
    if regime == "irrelevant":
        return irrelevant_twins(rows, seed)
    return closed_books(rows) if regime == "closed_book" else rows


def closed_books(rows: Sequence[ConflictQA]) -> tuple[ConflictQA, ...]:
    """The questions of `rows` without a context, each once: what to ask before anything is steered."""
    return tuple({bare.id: bare for bare in (row.closed_book() for row in rows)}.values())


def left_out(
    relations: Sequence[str] = ("capital",), *, min_population: int = MIN_POPULATION
) -> dict[str, dict[str, tuple[str, ...]]]:
    """By relation and reason, the countries about which there is no row. Raises as `capital_rows`.

    Args:
        relations: Which facts are asked for.
        min_population: Countries with fewer inhabitants are left out.
    """
    return {relation: dict(country_facts(relation, min_population=min_population).left_out) for relation in relations}


def _conflicts(fact: Fact, seed: int) -> list[ConflictQA]:
    wording, rng = _WORDINGS[fact.relation], random.Random(f"{fact.relation} {fact.country} {seed}")
    chosen: list[tuple[str, ...]] = []
    while len(chosen) < len(wording.statements):
        chosen += rng.sample(fact.substitutes, len(fact.substitutes))
    subject = fact.subjects
    rows = []
    for number, (statement, substitute) in enumerate(zip(wording.statements, chosen, strict=False)):
        false, true = (statement.format(**subject, **_answer(answers[0])) for answers in (substitute, fact.answers))
        rows.append(
            ConflictQA(
                wording.question.format(**subject),
                false,
                substitute,
                fact.answers,
                group=fact.country,
                original_context=true,
                meta={
                    "subject": fact.subject,
                    "relation": fact.relation,
                    "country": fact.country,
                    "statement": str(number),
                    "begun": wording.begun.format(**subject),
                },
            )
        )
    return rows


def _answer(name: str) -> dict[str, str]:
    return {"answer": name, "the_answer": with_article(name)}
