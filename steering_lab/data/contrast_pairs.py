"""Contrast pairs: two prompts whose difference names a direction in the residual stream.

A pair is read as positive − negative. Text is kept to the letter: in byte-pair vocabularies " Love" and "Love" are
different tokens, so leading and trailing spaces are part of the value and nothing here strips them. This module
knows no model and no tokenizer; padding a pair to equal token length is the method's business.
"""

import csv
import io
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from steering_lab.data.case_studies import CAREFUL_MEDICINE, DOCUMENTED_CODE, EMPATHETIC_SUPPORT, HELPFUL, UNBIASED
from steering_lab.data.text_files import json_lines, text_in

KEYS = ("positive", "negative")


if TYPE_CHECKING:
    Text = str
else:
    Text = object


@dataclass(frozen=True)
class ContrastPair:
    """positive − negative.

    One side may be empty: Turner et al. 2023 subtract an empty prompt padded with spaces.

    Raises:
        ValueError: a side that is no text, two equal sides, whose difference is nothing, or two empty ones.
    """

    positive: Text
    negative: Text

    def __post_init__(self) -> None:
        for name in KEYS:
            if not isinstance(side := getattr(self, name), str):
                raise ValueError(f"the {name} side of a contrast pair must be text, not {side!r}")
        if not self.positive and not self.negative:
            raise ValueError("a contrast pair needs text on at least one side; both are empty")
        if self.positive == self.negative:
            raise ValueError(f"both sides of the contrast pair are {self.positive!r}: their difference is nothing")

    def reversed(self) -> "ContrastPair":
        """negative − positive: the steering vector of the reversed pair is the negated one."""
        return ContrastPair(self.negative, self.positive)

    def __str__(self) -> str:
        """`Love − Hate`; a side that is empty or has outer spaces is quoted, so that the spaces can be seen."""
        return f"{_shown(self.positive)} − {_shown(self.negative)}"


if TYPE_CHECKING:
    Pair = ContrastPair
    Pairs = Sequence[ContrastPair]
else:
    Pair = Pairs = object
"""The types of parameters that take anything and, once `check_is_pair` or `pair_list` has been through, hold pairs."""


def check_is_pair(given: object) -> None:
    """Nothing when `given` is a contrast pair.

    Raises:
        ValueError: it is a name, two texts, a list of pairs, or something else; says how a pair is written.
    """
    if not isinstance(given, ContrastPair):
        raise ValueError(f"{_short(given)} is no contrast pair: write {_as_pair(given)}")


def pair_list(given: object) -> list[ContrastPair]:
    """The contrast pairs of the list `given`.

    Raises:
        ValueError: a name or one pair instead of a list, or something in it that is no pair; says how it is written.
    """
    if isinstance(given, ContrastPair):
        raise ValueError(f"{given} is one contrast pair where a list is wanted: write [pair]")
    if isinstance(given, str) or not isinstance(given, Iterable):
        named = f"PAIRS[{given!r}]" if isinstance(given, str) and given in PAIRS else "[ContrastPair('Love', 'Hate')]"
        raise ValueError(f"{_short(given)} is no list of contrast pairs: write {named}, or read_pairs of a file")
    pairs = list(given)
    for pair in pairs:
        check_is_pair(pair)
    return pairs


def _as_pair(given: object) -> str:
    """How the pair is written that was meant by `given`."""
    if isinstance(given, str) and given in PAIRS:
        return f"PAIRS[{given!r}][0]"
    parts = tuple(given) if isinstance(given, tuple | list) else ()
    if parts and all(isinstance(part, ContrastPair) for part in parts):
        return "one of them, say pairs[0], or average all with mean_difference_vectors"
    if len(parts) == 2 and all(isinstance(part, str) for part in parts):
        return f"ContrastPair({parts[0]!r}, {parts[1]!r})"
    return "ContrastPair('Love', 'Hate')"


def _short(given: object) -> str:
    text = repr(given)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _shown(side: str) -> str:
    return side if side and side == side.strip() else repr(side)


def _single(positive: str, negative: str) -> tuple[ContrastPair, ...]:
    return (ContrastPair(positive, negative),)


def _many(*pairs: tuple[str, str]) -> tuple[ContrastPair, ...]:
    return tuple(ContrastPair(positive, negative) for positive, negative in pairs)


# One pair each: the demonstrations of Turner et al. 2023, arXiv:2308.10248, and of the post that preceded it
# (layers and coefficients there are for GPT-2-XL: love_hate 6 and 5, weddings 16 and 1, anger_calm 20 and 10).
PAIRS: Mapping[str, tuple[ContrastPair, ...]] = MappingProxyType(
    {
        "love_hate": _single("Love", "Hate"),
        "praise_hurt": _single("Intent to praise", "Intent to hurt"),
        "conspiracy": _single("Bush did 9/11 because", ""),
        "death_wish": _single("Want to die", "Want to stay alive"),
        "anger_calm": _single("Anger", "Calm"),
        "eiffel_rome": _single("The Eiffel Tower is in Rome", "The Eiffel Tower is in France"),
        "dragons_berkeley": _single("Dragons live in Berkeley", "People live in Berkeley"),
        "avoid_harm": _single("I NEVER talk about people getting hurt", "I talk about people getting hurt"),
        "weddings_constantly": _single("I talk about weddings constantly", "I do not talk about weddings constantly"),
        "convert_hurt": _single("Intent to convert you to Christianity", "Intent to hurt you"),
        "french_english": _single("Je m'appelle", "My name is"),
        "weddings": _single(" weddings", ""),
        "wedding": _single(" wedding", " "),
        "worst": _single(" worst", ""),
        # Several pairs each, for mean differences; the sides of a pair differ in one thing only.
        "love_hate_sentences": _many(
            ("I love the way this street looks in winter.", "I hate the way this street looks in winter."),
            ("My sister adores her new neighbours.", "My sister despises her new neighbours."),
            ("We were delighted by the letter from the school.", "We were disgusted by the letter from the school."),
            ("The soup was wonderful and I asked for more.", "The soup was horrible and I asked for nothing more."),
            ("He is the kindest teacher we have ever had.", "He is the cruellest teacher we have ever had."),
            ("Every visit to that museum is a pleasure.", "Every visit to that museum is a misery."),
            ("She smiled, because the news was so good.", "She wept, because the news was so bad."),
            ("What a beautiful song they have chosen!", "What an ugly song they have chosen!"),
            ("I cannot wait to work with you again.", "I cannot bear to work with you again."),
            ("The crowd cheered for the visiting team.", "The crowd jeered at the visiting team."),
            ("It was the best holiday of my life.", "It was the worst holiday of my life."),
            ("They welcomed the stranger with open arms.", "They drove the stranger away with stones."),
        ),
        "calm_anger_sentences": _many(
            ("He closed the door quietly and sat down.", "He slammed the door and kicked the chair."),
            ("“Take all the time you need,” she said softly.", "“You have wasted my time again!” she shouted."),
            ("I read the message twice and let it go.", "I read the message twice and shook with rage."),
            ("The driver waited patiently for the light.", "The driver cursed and pounded on the horn."),
            ("We talked it over in even voices.", "We screamed at each other across the table."),
            ("My father is at peace with the decision.", "My father is furious about the decision."),
            ("The clerk listened calmly to the complaint.", "The clerk snapped at every word of the complaint."),
            ("She breathes slowly and feels at ease.", "She clenches her fists and boils inside."),
            ("They accepted the result with good grace.", "They tore up the result in a fit of temper."),
            ("It does not trouble me at all.", "It makes my blood boil."),
            ("The meeting ended in a gentle mood.", "The meeting ended in an angry uproar."),
            ("He answered each question mildly.", "He spat out each answer with contempt."),
        ),
        "wedding_sentences": _many(
            ("The bride walked up the aisle on Saturday.", "The clerk walked up the stairs on Saturday."),
            ("We are choosing flowers for the wedding.", "We are choosing flowers for the garden."),
            ("They were married in a small chapel.", "They were employed in a small factory."),
            ("The groom had forgotten the rings.", "The guard had forgotten the keys."),
            ("Her speech to the newlyweds made us cry.", "Her speech to the council made us yawn."),
            ("He asked me to marry him last spring.", "He asked me to drive him last spring."),
            ("The bridesmaids wore pale green dresses.", "The musicians wore pale green jackets."),
            ("Their honeymoon took them to the coast.", "Their contract took them to the coast."),
            ("I have been to four weddings this year.", "I have been to four lectures this year."),
            ("They exchanged vows beneath the old oak.", "They exchanged maps beneath the old oak."),
            ("The wedding cake had five tiers.", "The office block had five floors."),
            ("My friend is planning her engagement party.", "My friend is planning her tax return."),
        ),
        "empathetic_support": _many(*EMPATHETIC_SUPPORT),
        "documented_code": _many(*DOCUMENTED_CODE),
        "careful_medicine": _many(*CAREFUL_MEDICINE),
        "helpful": _many(*HELPFUL),
        "unbiased": _many(*UNBIASED),
        "formal_casual_sentences": _many(
            ("I would be grateful for an early reply.", "Get back to me soon, ok?"),
            ("We regret that the event has been postponed.", "Bad news, the thing got pushed back."),
            ("Please do not hesitate to contact us.", "Just give us a shout."),
            ("The committee was not persuaded by the argument.", "Nobody on the committee bought it."),
            ("Allow me to introduce my colleague.", "Hey, meet my mate from work."),
            ("I must respectfully disagree with that view.", "Nah, you're way off there."),
            ("The children are not permitted to enter.", "The kids can't come in, sorry."),
            ("It is with pleasure that I accept your invitation.", "Sure, count me in!"),
            ("The apparatus ceased to function this morning.", "The gadget packed up this morning."),
            ("Kindly refrain from smoking on the premises.", "Don't smoke in here, yeah?"),
            ("I am not acquainted with the gentleman.", "Never met the guy."),
            ("We thank you for your continued patience.", "Thanks for hanging in there."),
        ),
    }
)


def read_pairs(path: str | Path) -> tuple[ContrastPair, ...]:
    """The contrast pairs of `path` (.json, .jsonl, .csv, .toml), in the file's order, text kept to the letter.

    .json: a list of objects; .jsonl: one object a line (blank lines are skipped); .csv: a header line and two columns;
    .toml: one `[[pairs]]` table per pair. Each pair has exactly the keys `positive` and `negative`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no UTF-8, another file type, broken syntax, a missing or unknown key, a value that is not text, two
            empty sides, or no pair at all; the message names the file and the line (or the number of the pair).
    """
    path = Path(path)
    text = text_in(path, "contrast pairs")
    readers = {".json": _json_entries, ".jsonl": json_lines, ".csv": _csv_entries, ".toml": _toml_entries}
    if path.suffix not in readers:
        raise ValueError(f"{path}: contrast pairs are read from {', '.join(readers)}, not from {path.suffix!r}")
    pairs = tuple(_pair(entry, where) for where, entry in readers[path.suffix](text, path))
    if not pairs:
        raise ValueError(f"{path}: no contrast pairs in this file")
    return pairs


def find_pairs(name: str) -> tuple[ContrastPair, ...]:
    """The pairs of the built-in set `name` (`PAIRS`), or of the file of that name (`read_pairs`).

    Raises:
        ValueError: neither a built-in set nor a file, or what `read_pairs` refuses.
    """
    return PAIRS[name] if name in PAIRS else read_pairs(file_of_pairs(name))


def file_of_pairs(name: str) -> Path:
    """The file `name`, where no built-in set is called so.

    Raises:
        ValueError: there is no such file either.
    """
    if not Path(name).is_file():
        raise ValueError(f"pairs {name!r} are neither a file nor one of the sets {', '.join(PAIRS)}")
    return Path(name)


def _pair(entry: object, where: str) -> ContrastPair:
    expected = "each pair has exactly the keys 'positive' and 'negative'"
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: {entry!r} is not a contrast pair; {expected}")
    for key in KEYS:
        if key not in entry:
            raise ValueError(f"{where}: the key {key!r} is missing; {expected}")
    for key in entry:
        if key not in KEYS:
            raise ValueError(f"{where}: unknown key {key!r}; {expected}")
        if not isinstance(entry[key], str):
            raise ValueError(f"{where}: the {key} side of a contrast pair must be text, not {entry[key]!r}")
    try:
        return ContrastPair(entry["positive"], entry["negative"])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _json_entries(text: str, path: Path) -> Iterator[tuple[str, object]]:
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    if not isinstance(entries, list):
        raise ValueError(
            f"{path}: a .json file of contrast pairs is a list of objects, not {type(entries).__name__}; two lists of"
            " texts, the keys 'positive' and 'negative', are no pairs"
        )
    return ((f"{path}: pair {number}", entry) for number, entry in enumerate(entries, start=1))


def _csv_entries(text: str, path: Path) -> Iterator[tuple[str, object]]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows, [])
        for row in rows:
            where = f"{path}:{rows.line_num}"
            if len(row) > len(header):
                raise ValueError(f"{where}: {len(row)} columns under a header of {len(header)}; quote text with commas")
            if row:
                yield where, dict(zip(header, row, strict=False))
    except csv.Error as error:
        raise ValueError(f"{path}:{rows.line_num}: not CSV: {error}") from None


def _toml_entries(text: str, path: Path) -> Iterator[tuple[str, object]]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not TOML: {error}") from None
    if set(document) != {"pairs"} or not isinstance(document["pairs"], list):
        found = ", ".join(document) or "nothing"
        raise ValueError(
            f"{path}: a .toml file of contrast pairs holds only [[pairs]] tables; found {found} (two lists of texts are"
            " no pairs)"
        )
    return ((f"{path}: pair {number}", entry) for number, entry in enumerate(document["pairs"], start=1))
