"""Word lists that metrics count: valence lexicons and topic words. Lower case, one word each, data only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Words = frozenset[str]
else:
    Words = object  # what `check_words` has been through is one


@dataclass(frozen=True)
class Lexicon:
    """The positive and the negative words of a language or a world.

    Raises:
        ValueError: a side is empty or a text, a word is on both sides, or an entry is not a single lower-case word
            (text is lower-cased and split at every non-word character before it is counted, so it never matches).
    """

    positive: Words
    negative: Words

    def __post_init__(self) -> None:
        for side in ("positive", "negative"):
            object.__setattr__(self, side, check_words(getattr(self, side), f"the {side} words of a lexicon"))
        if both := sorted(self.positive & self.negative):
            raise ValueError(f"words on both sides of the lexicon: {', '.join(both)}")


def word_set(words: Iterable[str], what: str = "words") -> frozenset[str]:
    """`words` as a set.

    Args:
        words: Texts, each one word.
        what: What the caller calls them, for the error.

    Raises:
        ValueError: a text, whose letters would be the words, or none at all.
    """
    if isinstance(words, str):
        topic = f", or TOPICS[{words!r}]" if words in TOPICS else ""
        raise ValueError(
            f"{what} are the text {words!r}, which would be read letter by letter: write {{{words!r}}}{topic}"
        )
    if not (found := frozenset(words)):
        raise ValueError(f"{what} are empty: give one or more")
    return found


def check_words(words: Iterable[str], what: str = "words") -> frozenset[str]:
    """`words` as a set, each of which a text can match.

    Args:
        words: Lower-case words.
        what: What the caller calls them, for the error.

    Raises:
        ValueError: what `word_set` refuses, or words that no text can match ("Love", "well done", "9/11").
    """
    found = word_set(words, what)
    wrong = sorted(w for w in found if w != w.lower() or not w or not all(c.isalnum() or c == "_" for c in w))
    if wrong:
        raise ValueError(f"not single lower-case words, so never counted: {', '.join(map(repr, wrong))}")
    return found


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# A small general list for models of English without a sentiment scorer at hand. Plain adjectives, verbs and nouns whose
# valence does not turn on the sentence around them; negation ("not good") is counted as its word, as in any lexicon.
ENGLISH = Lexicon(
    positive=_words(
        """admire admired adorable adore adored amazing awesome beautiful beautifully best bliss brilliant celebrate
        charming cheerful cherish compassion delight delighted delightful enjoy enjoyed excellent excited fantastic
        favorite favourite fun generous gentle glad good gorgeous grateful great happiness happy heaven honest hope hug
        joy joyful kind kindness laugh laughed love loved lovely loves loving magnificent marvellous marvelous nice
        peace peaceful perfect pleasant pleased pleasure praise pretty proud smile smiled splendid superb sweet tender
        thank thankful thanks treasure trust warm warmth welcome wonderful"""
    ),
    negative=_words(
        """abuse abused angry anger annoying appalling ashamed awful bad betrayed bitter cruel cruelty damn despair
        despise despised dirty disgust disgusted disgusting dreadful dumb enemy evil fear filthy furious grief gross
        hate hated hateful hates hating hatred hell horrible hurt hurts idiot idiots jealous kill killed liar lie lies
        loathe loathed lonely lousy mean miserable misery murder nasty pain painful pathetic poison rage revenge rotten
        rude sad scared scream selfish shame shit sick stupid suffer terrible terrified threat torture ugly unhappy vile
        violence weak wicked worse worst worthless wrong"""
    ),
)

# The list of Turner et al. 2023, arXiv:2308.10248, for their wedding experiments.
WEDDING_WORDS = _words("wedding weddings wed marry married marriage bride groom honeymoon")

# Topics of English by name; but for weddings, plain words of a subject that seldom mean another.
TOPICS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "weddings": WEDDING_WORDS,
        "politics": _words(
            """politics political politician politicians president congress senate senator election elections vote
            voters government governor democrat democrats republican republicans policy campaign parliament minister"""
        ),
        "music": _words(
            """music musical musician musicians song songs singer singing band bands album albums guitar piano concert
            melody lyrics orchestra"""
        ),
        "science": _words(
            """science sciences scientific scientist scientists physics chemistry biology experiment experiments
            laboratory theory research researchers molecule atoms"""
        ),
        "finance": _words(
            """finance financial bank banks banking money budget tax taxes economy economic debt loan loans investment
            investors stocks dollars"""
        ),
        "war": _words(
            """war wars military army soldier soldiers troops weapons battle battles bomb bombs nuclear enemy invasion
            combat"""
        ),
    }
)
