"""The settings of the sweep, and what follows from them without a model: pairs, prompts, decoding, measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from steering_lab.data.contrast_pairs import ContrastPair, find_pairs
from steering_lab.data.lexicons import ENGLISH, Lexicon
from steering_lab.data.prompts import OPENINGS_TEST, OPENINGS_VALIDATION
from steering_lab.evaluation.condition import PlaceName, Prefixed
from steering_lab.evaluation.evaluate import Decoding
from steering_lab.evaluation.measures import Degenerate, Measure, Perplexity, TextMeasure, balance, sentiment, vader
from steering_lab.evaluation.metrics import repetition
from steering_lab.models.generation import Sampling
from steering_lab.models.hooked_model import HookedModel
from steering_lab.organism.world import (
    NEGATIVE_WORDS,
    POSITIVE_WORDS,
    STORY_PROMPTS_TEST,
    STORY_PROMPTS_VALIDATION,
)

# By setting `sentiment`: the metric that chooses and is reported, and how an axis calls it. The balance is defined on
# every text, where (positive - negative) / valenced words is not.
METRICS = {
    "lexicon": ("valence_balance", "(positive − negative) / all words"),
    "vader": ("vader", "VADER compound, −1 to 1"),
}


@dataclass(frozen=True)
class Config:
    """Settings of the sweep; empty `layers` means all, empty coefficients leave that form out.

    `prefix` is what stands in front of a text (`load_model`). `positive`, `negative` is the pair whose tokens are added
    at the front (ActAdd), and at every token too unless `pairs`, a built-in set (`data.contrast_pairs.PAIRS`) or a
    file, names others: then the mean of their differences is added there. `sentiment` is the score by which a
    cell is chosen. With `chat` every prompt is a user's turn; `system` is the turn before it: unset, the template's own
    default, "" an empty one.

    Raises:
        ValueError: nothing to sweep, a setting outside its range, or settings that contradict each other.
    """

    model: str = "organism"
    prefix: Literal["tokenizer", "bos"] = "tokenizer"
    positive: str = "Love"
    negative: str = "Hate"
    pairs: str = ""
    sentiment: Literal["lexicon", "vader"] = "lexicon"
    layers: tuple[int, ...] = ()
    front_coeffs: tuple[float, ...] = (-4, -2, -1, 1, 2, 4)
    everywhere_coeffs: tuple[float, ...] = (-1, -0.5, -0.25, 0.25, 0.5, 1)
    prompts: tuple[str, ...] = ()
    test_prompts: tuple[str, ...] = ()
    n_prompts: int = 16
    n_samples: int = 2
    chat: bool = False
    system: str | None = None
    max_new_tokens: int = 24
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    freq_penalty: float = 0.0
    repetition_penalty: float = 1.0
    n_random: int = 5
    n_random_confirm: int = 10
    perplexity_budget: float = 1.5
    batch_size: int = 512
    device: str = "auto"
    dtype: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.front_coeffs and not self.everywhere_coeffs:
            raise ValueError("nothing to sweep: front_coeffs and everywhere_coeffs are both empty")
        for name in ("n_prompts", "n_samples", "max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be 1 or more")
        if not self.perplexity_budget > 0 or not all(map(isfinite, (*self.front_coeffs, *self.everywhere_coeffs))):
            raise ValueError("perplexity_budget must be above 0, and every coefficient of front and everywhere finite")
        if overlap := set(self.prompts) & set(self.test_prompts):
            raise ValueError(f"prompts for choosing and for reporting overlap: {sorted(overlap)[0]!r}")
        for name in ("n_random", "n_random_confirm"):
            if getattr(self, name) < 3:
                raise ValueError(f"{name} is {getattr(self, name)}: a control's interval needs 3 draws or more")
        if self.system is not None and not self.chat:
            raise ValueError(f"system is {self.system!r}, but plain prompts have no system turn: set chat = true")
        if self.model == "organism" and self.sentiment == "vader":
            raise ValueError('sentiment = "vader" reads English, which the organism does not speak: use "lexicon"')
        if self.pairs and not self.everywhere_coeffs:
            raise ValueError(f"pairs ({self.pairs!r}) are added at every token, but everywhere_coeffs are empty")
        self.sampling  # noqa: B018 a sampling setting outside its range is refused here

    @property
    def sampling(self) -> Sampling:
        """How the next token is drawn."""
        return Sampling(self.temperature, self.top_k, self.top_p, self.freq_penalty, self.repetition_penalty)

    @property
    def decoding(self) -> Decoding:
        """How every arm is decoded."""
        return Decoding(self.max_new_tokens, self.n_samples, self.sampling, self.seed)

    @property
    def metric(self) -> str:
        """The metric by which a cell is chosen."""
        return METRICS[self.sentiment][0]


def pairs_of(config: Config) -> dict[PlaceName, tuple[ContrastPair, ...]]:
    """The pairs whose differences are added, by place: one at the front, the mean of several at every token.

    Raises:
        ValueError: neither a built-in set nor a file of pairs.
    """
    one = (ContrastPair(config.positive, config.negative),)
    many = find_pairs(config.pairs) if config.pairs else one
    places: dict[PlaceName, tuple[ContrastPair, ...]] = {}
    if config.front_coeffs:
        places["front"] = one
    if config.everywhere_coeffs:
        places["everywhere"] = many
    return places


def prompts_of(config: Config) -> tuple[Sequence[str], Sequence[str]]:
    """Prompts for choosing and for reporting: the config's own, or those that come along for the model's language.

    Raises:
        ValueError: one of the two without the other, or more asked for than come along.
    """
    if config.prompts or config.test_prompts:
        if not (config.prompts and config.test_prompts):
            raise ValueError("give both prompts (for choosing) and test_prompts (for reporting), or neither")
        return config.prompts, config.test_prompts
    own = config.model == "organism"
    choosing = STORY_PROMPTS_VALIDATION if own else OPENINGS_VALIDATION
    reporting = STORY_PROMPTS_TEST if own else OPENINGS_TEST
    if config.n_prompts > min(len(choosing), len(reporting)):
        raise ValueError(f"n_prompts is {config.n_prompts}, but {len(choosing)} come along: give prompts of your own")
    return choosing[: config.n_prompts], reporting[: config.n_prompts]


def writing(model: HookedModel, config: Config) -> Prefixed:
    """How a prompt is put to the model.

    Raises:
        ValueError: a chat, and the model has no template for it or one without system turns.
    """
    write = Prefixed("", model.chat_text, config.system) if config.chat else Prefixed()
    write("Hello")
    return write


def measures_of(config: Config) -> list[Measure]:
    """Sentiment by the lexicon of the model's language, and by VADER where that decides; fluency beside them."""
    lexicon = Lexicon(frozenset(POSITIVE_WORDS), frozenset(NEGATIVE_WORDS)) if config.model == "organism" else ENGLISH
    chosen_by = [vader()] if config.sentiment == "vader" else []
    fluency: list[Measure] = [Perplexity(), TextMeasure("repetition", repetition), Degenerate()]
    return [*chosen_by, sentiment(lexicon), balance(lexicon), *fluency]
