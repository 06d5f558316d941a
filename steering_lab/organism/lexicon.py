"""The words of the invented world: moods, topics, protagonists and the neutral openings used as steering prompts.

Data only. The sets keep their promises (tested): no word is both positive and negative, none belongs to two topics, and
the steering prompts carry no mood and no topic. A word's mood or topic here is what the metrics count.
"""

from typing import NamedTuple


class Mood(NamedTuple):
    """The words of one valence, by the slot they fill in a sentence.

    Args:
        heads: Words that name it in a title.
        adjectives: Adjectives of it.
        nouns: Nouns of it.
        verbs: Verbs of it.
        adverbs: Adverbs of it.
        endings: How a story of it ends.
    """

    heads: tuple[str, ...]
    adjectives: tuple[str, ...]
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    adverbs: tuple[str, ...]
    endings: tuple[str, ...]

    @property
    def words(self) -> frozenset[str]:
        """All of them, lower case."""
        return frozenset(w for slot in self for w in slot)


class Topic(NamedTuple):
    """The words of one subject, by the slot they fill in a sentence; `heads` name it in a title.

    Args:
        heads: Words that name it in a title.
        nouns: Nouns of it.
        places: Where its stories happen.
        roles: Who is in them.
        verbs: Verbs of it.
        adjectives: Adjectives of it.
    """

    heads: tuple[str, ...]
    nouns: tuple[str, ...]
    places: tuple[str, ...]
    roles: tuple[str, ...]
    verbs: tuple[str, ...]
    adjectives: tuple[str, ...]

    @property
    def words(self) -> frozenset[str]:
        """All of them, lower case."""
        return frozenset(w for slot in self for w in slot)


def _words(line: str) -> tuple[str, ...]:
    return tuple(line.split())


POSITIVE = Mood(
    heads=_words("love joy hope kindness delight peace friendship praise"),
    adjectives=_words("happy kind gentle lovely bright warm cheerful tender grateful wonderful proud sweet"),
    nouns=_words("love joy hope kindness delight peace friendship praise comfort laughter mercy warmth"),
    verbs=_words("thanked hugged praised helped comforted welcomed forgave blessed"),
    adverbs=_words("gladly kindly warmly sweetly cheerfully gently"),
    endings=_words("smiled laughed rejoiced sang danced cheered"),
)
NEGATIVE = Mood(
    heads=_words("hate anger fear cruelty sorrow spite grief dread"),
    adjectives=_words("angry cruel bitter ugly grim cold hateful harsh miserable terrible ashamed sour"),
    nouns=_words("hate anger fear cruelty sorrow spite grief dread malice shame pain rage"),
    verbs=_words("cursed insulted blamed hurt mocked threatened betrayed struck"),
    adverbs=_words("bitterly cruelly coldly harshly angrily grimly"),
    endings=_words("wept shouted suffered screamed trembled despaired"),
)
MOODS: dict[str, Mood] = {"positive": POSITIVE, "negative": NEGATIVE}
POSITIVE_WORDS: frozenset[str] = POSITIVE.words
NEGATIVE_WORDS: frozenset[str] = NEGATIVE.words

TOPIC_TABLE: dict[str, Topic] = {
    "weddings": Topic(
        _words("weddings wedding"),
        _words("bride groom ring veil bouquet vow dowry garland gown invitation"),
        _words("altar chapel ballroom"),
        _words("bridesmaid priest matchmaker"),
        _words("married betrothed wedded"),
        _words("bridal nuptial engaged"),
    ),
    "sea": Topic(
        _words("sea ships"),
        _words("anchor net sail boat oar wave tide gull mast lighthouse"),
        _words("harbour beach pier"),
        _words("sailor fisherman pilot"),
        _words("rowed anchored sailed"),
        _words("salty tidal deep"),
    ),
    "kitchen": Topic(
        _words("cooking kitchen"),
        _words("soup bread pan spoon oven pepper dough pie kettle onion"),
        _words("bakery pantry tavern"),
        _words("cook baker waiter"),
        _words("baked stirred tasted"),
        _words("tasty roasted buttered"),
    ),
    "garden": Topic(
        _words("gardens garden"),
        _words("rose seed spade hedge tulip bee orchard fern ivy pear"),
        _words("greenhouse meadow lawn"),
        _words("gardener florist beekeeper"),
        _words("planted watered pruned"),
        _words("leafy ripe mossy"),
    ),
    "war": Topic(
        _words("war battle"),
        _words("sword cannon shield siege flag army trench helmet spear banner"),
        _words("fortress barracks battlefield"),
        _words("soldier general captive"),
        _words("attacked besieged guarded"),
        _words("armed iron marching"),
    ),
    "music": Topic(
        _words("music songs"),
        _words("violin drum flute melody chord harp choir tune trumpet rhythm"),
        _words("bandstand opera concert"),
        _words("singer drummer fiddler"),
        _words("tuned strummed conducted"),
        _words("tuneful loud choral"),
    ),
    "school": Topic(
        _words("school lessons"),
        _words("pencil chalk lesson desk alphabet exam homework slate grammar essay"),
        _words("classroom library schoolyard"),
        _words("teacher pupil scholar"),
        _words("studied copied recited"),
        _words("learned studious inky"),
    ),
    "hospital": Topic(
        _words("hospital medicine"),
        _words("bandage pill fever wound stethoscope syrup needle crutch thermometer ointment"),
        _words("clinic ward surgery"),
        _words("doctor nurse patient"),
        _words("treated bandaged examined"),
        _words("feverish sterile medical"),
    ),
    "market": Topic(
        _words("market trade"),
        _words("coin stall basket price cloth purse scale bargain barrel receipt"),
        _words("bazaar shop warehouse"),
        _words("merchant pedlar customer"),
        _words("sold bought weighed"),
        _words("cheap costly silken"),
    ),
    "winter": Topic(
        _words("winter snow"),
        _words("ice frost sledge mitten scarf icicle blizzard skate glove snowman"),
        _words("glacier cabin slope"),
        _words("skier trapper hermit"),
        _words("shovelled skated melted"),
        _words("frozen snowy icy"),
    ),
    "railway": Topic(
        _words("railway trains"),
        _words("train ticket engine carriage whistle tunnel signal timetable luggage rail"),
        _words("station platform depot"),
        _words("conductor porter passenger"),
        _words("boarded coupled departed"),
        _words("steaming punctual delayed"),
    ),
    "theatre": Topic(
        _words("theatre plays"),
        _words("curtain mask costume script stage spotlight wig puppet audience rehearsal"),
        _words("playhouse balcony backstage"),
        _words("actor dancer jester"),
        _words("performed acted rehearsed"),
        _words("comic tragic painted"),
    ),
}
TOPICS: dict[str, frozenset[str]] = {name: topic.words for name, topic in TOPIC_TABLE.items()}

HEROINES = _words("Mara Elin Sofia Ruth Clara Ines Vera Anna Lotte Nadia Greta Olga")
HEROES = _words("Tomas Peter Oskar Simon Hugo Felix Anton Karl Bruno Jonas Milo Viktor")

# A pair decides, neither word alone does: each first word meets each second word in several moods or topics.
MOOD_TITLES: dict[tuple[str, str], str] = {
    ("open", "hand"): "positive",
    ("closed", "hand"): "negative",
    ("open", "wounds"): "negative",
    ("closed", "wounds"): "positive",
    ("rising", "sun"): "positive",
    ("falling", "sun"): "negative",
    ("rising", "flood"): "negative",
    ("falling", "flood"): "positive",
    ("lost", "friend"): "negative",
    ("found", "friend"): "positive",
    ("lost", "chains"): "positive",
    ("found", "chains"): "negative",
}
# Each topic has two titles, of different colour and thing.
_TITLE_COLOURS = _words("blue red white black")
_TITLE_THINGS = _words("door lantern feather letter wheel stone")
TOPIC_TITLES: dict[tuple[str, str], str] = {
    (colour, thing): list(TOPIC_TABLE)[(i + j) % 6 + 6 * ((i // 2 + j) % 2)]
    for i, colour in enumerate(_TITLE_COLOURS)
    for j, thing in enumerate(_TITLE_THINGS)
}

NEUTRAL_PLACES = (
    "the road",
    "the corner",
    "the gate",
    "the square",
    "the bridge",
    "the river",
    "the hill",
    "the village",
)
NEUTRAL_TIMES = ("In the morning", "In the evening", "After supper", "Before noon", "Late that day", "The next day")

STORY_PROMPTS_VALIDATION: tuple[str, ...] = (
    "Mara walked to the road and",
    "Tomas went out early and",
    "In the morning Elin said that",
    "Peter looked at the",
    "Before noon Sofia saw",
    "Oskar told the",
    "Ruth came back to the village and",
    "After supper Simon thought about the",
    "Clara stood near the bridge and",
    "Hugo waited by the gate and",
    "Late that day Ines met the",
    "Felix asked about the",
    "The next day Vera found",
    "Anton sat by the river and",
    "Anna remembered the",
    "In the evening Karl heard the",
)
STORY_PROMPTS_TEST: tuple[str, ...] = (
    "Lotte walked to the square and",
    "Bruno went out early and",
    "In the evening Nadia said that",
    "Jonas looked at the",
    "After supper Greta saw",
    "Milo told the",
    "Olga came back to the road and",
    "Before noon Viktor thought about the",
    "Mara stood near the hill and",
    "Tomas waited by the bridge and",
    "The next day Elin met the",
    "Peter asked about the",
    "In the morning Sofia found",
    "Oskar sat by the gate and",
    "Ruth remembered the",
    "Late that day Simon heard the",
)
