"""Pieces of an experiment's Config that several share; a Config inherits the pieces that it needs.

    @dataclass(frozen=True)
    class Config(PromptSettings, SamplingSettings, ControlSettings):
        rate: float = 0.5

Each piece is checked by itself when a Config is made, so that a wrong setting is refused before a model is loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from steering_lab.evaluation.running.control_vectors import ControlName, check_controls
from steering_lab.evaluation.running.evaluate import Decoding
from steering_lab.evaluation.running.writing import Prefixed
from steering_lab.models.generation import Sampling
from steering_lab.models.hook_points import HookSite, resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.models.runtimes import RuntimeName
from steering_lab.study.contradictions import check_together
from steering_lab.study.language import Language, language_of


@dataclass(frozen=True)
class Settings:
    """What every study has: its name, which is its folder below results/, its question, and a seed.

    Left out, the name is the TOML file's, and the question the first paragraph of the experiment's module.

    Raises:
        ValueError: a name that is no plain folder name, or a seed below 0.
    """

    name: str = ""
    question: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name and (self.name.startswith(".") or set(self.name) & set('/\\:*?"<>|')):
            raise ValueError(f"name is {self.name!r}: it becomes a folder below results/, so it is one plain word")
        self.at_least(0, "seed")

    def at_least(self, least: int, *names: str, why: str = "") -> None:
        """Nothing when the settings of these names reach `least`. Raises ValueError otherwise, with the reason.

        Args:
            least: The least that is allowed.
            *names: Settings that hold numbers.
            why: What the error says; left out, that the setting must be `least` or more.
        """
        for name in names:
            if getattr(self, name) < least:
                reason = why or f"it must be {least} or more"
                raise ValueError(f"{name} is {getattr(self, name)}: {reason}")

    def each_once(self, *names: str) -> None:
        """Nothing when no setting of these names holds anything twice. Raises ValueError otherwise.

        Args:
            *names: Settings that hold lists.
        """
        for name in names:
            held = list(getattr(self, name))
            if twice := [one for one in held if held.count(one) > 1]:
                raise ValueError(f"{name} has {twice[0]!r} twice: give each once")


@dataclass(frozen=True)
class ExpectationSettings(Settings):
    """What is expected, written before the run: lines that the page answers (`study.expectations`).

    Args:
        expects: Lines such as "actadd front: perplexity at most 1.5"; none expects nothing.

    Raises:
        ValueError: a line that cannot be read, or lines that cannot hold together.
    """

    expects: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_together(self.expects)


@dataclass(frozen=True)
class ModelSettings(Settings):
    """The model by whatever `load_model` takes, what stands in front of a text, and how it is run.

    `runtime` is "hooked" or "plain" for every pass; left out, the plain one wherever it can. `batch_size` is in rows.

    Args:
        model: A model's name, a folder, a GGUF file.
        prefix: What stands in front of a text: "tokenizer" is what plain Hugging Face puts there, "bos" one
            beginning-of-text token, or a special token by its name (`models.prefix`).
        device: "auto" is the GPU where there is one.
        dtype: "auto" is the checkpoint's own on a GPU and float32 on a CPU.
        runtime: "hooked" or "plain"; None is the plain one wherever it can.
        batch_size: Rows decoded together at most: a row is one continuation under one condition.
    """

    model: str = "organism"
    prefix: str = "tokenizer"
    device: str = "auto"
    dtype: str = "auto"
    runtime: RuntimeName | None = None
    batch_size: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "batch_size")

    @property
    def language(self) -> Language:
        """What comes along for the model's language."""
        return language_of(self.model)

    def load(self) -> HookedModel:
        """The model."""
        return load_model(self.model, device=self.device, dtype=self.dtype, prefix=self.prefix, runtime=self.runtime)


@dataclass(frozen=True)
class LayerSettings(Settings):
    """Layers to search; none named means all.

    Args:
        layers: Numbers from 0; none is all.

    Raises:
        ValueError: a layer twice.
    """

    layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.each_once("layers")

    def sites(self, model: HookedModel, *, post: bool = False) -> list[HookSite]:
        """The input of every layer, or with `post` its output.

        Raises:
            ValueError: a layer that the model does not have.
        """
        at = resid_post if post else resid_pre
        sites = [at(layer) for layer in self.layers or range(model.n_layers)]
        for site in sites:
            model.check_site(site)
        return sites


@dataclass(frozen=True)
class SamplingSettings(Settings):
    """How every condition is decoded alike: so many samples per prompt, their length, and how a token is drawn.

    Args:
        n_samples: Continuations per prompt, 1 or more.
        max_new_tokens: Tokens of a continuation at most, 1 or more.
        temperature: What logits are divided by; 0 is greedy, and then more than one sample says nothing new.
        top_k: Draw from so many of the best; None is all.
        top_p: Then from the smallest set with at least this probability, in (0, 1].
        freq_penalty: Taken off a logit for every time the token stands in the text already; 0 is none.
        repetition_penalty: Divides the logit of such a token where positive, multiplies it where negative; 1 is none.
    """

    n_samples: int = 2
    max_new_tokens: int = 24
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    freq_penalty: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "n_samples", "max_new_tokens")
        self.sampling  # noqa: B018 a sampling setting outside its range is refused here

    @property
    def sampling(self) -> Sampling:
        """How the next token is drawn."""
        return Sampling(self.temperature, self.top_k, self.top_p, self.freq_penalty, self.repetition_penalty)

    @property
    def decoding(self) -> Decoding:
        """How every condition is decoded."""
        return Decoding(self.max_new_tokens, self.n_samples, self.sampling, self.seed)


@dataclass(frozen=True)
class ChatSettings(Settings):
    """With `chat` every prompt is a user's turn; `system` is the turn before it: unset, the template's own, "" empty.

    Raises:
        ValueError: a system turn without a chat.
    """

    chat: bool = False
    system: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.system is not None and not self.chat:
            raise ValueError(f"system is {self.system!r}, but plain prompts have no system turn: set chat = true")

    def writing(self, model: HookedModel) -> Prefixed:
        """How a prompt is put to the model.

        Raises:
            ValueError: a chat, and the model has no template for it or one without system turns.
        """
        write = Prefixed("", model.chat_text, self.system) if self.chat else Prefixed()
        write("Hello")
        return write


@dataclass(frozen=True)
class PromptSettings(ModelSettings):
    """Prompts for choosing and for reporting; left out, `n_prompts` of each that come along for the model's language.

    Args:
        prompts: Those for choosing.
        test_prompts: Those for reporting.
        n_prompts: Of each, where none are given; prompts of one's own are all used.

    Raises:
        ValueError: a prompt twice or in both, one of the two without the other, or more asked for than come along.
    """

    prompts: tuple[str, ...] = ()
    test_prompts: tuple[str, ...] = ()
    n_prompts: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "n_prompts")
        self.each_once("prompts", "test_prompts")
        if overlap := set(self.prompts) & set(self.test_prompts):
            raise ValueError(f"prompts for choosing and for reporting overlap: {sorted(overlap)[0]!r}")
        if bool(self.prompts) != bool(self.test_prompts):
            raise ValueError("give both prompts (for choosing) and test_prompts (for reporting), or neither")
        come_along = min(len(self.language.choosing), len(self.language.reporting))
        if not self.prompts and self.n_prompts > come_along:
            raise ValueError(f"n_prompts is {self.n_prompts}, but {come_along} come along: give prompts of your own")

    @property
    def split_prompts(self) -> tuple[Sequence[str], Sequence[str]]:
        """The prompts for choosing, and those for reporting."""
        if self.prompts:
            return self.prompts, self.test_prompts
        return self.language.choosing[: self.n_prompts], self.language.reporting[: self.n_prompts]


@dataclass(frozen=True)
class RandomSettings(Settings):
    """How many random vectors of its norm stand beside every cell.

    Args:
        n_random: Draws of each kind of random vector.

    Raises:
        ValueError: fewer than a band needs.
    """

    n_random: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self.enough_draws("n_random")

    def enough_draws(self, *names: str) -> None:
        """Nothing when each of the settings is enough for an interval. Raises ValueError otherwise.

        Args:
            *names: Settings that count draws.
        """
        self.at_least(3, *names, why="a control's interval needs 3 draws or more")


@dataclass(frozen=True)
class NamedControlSettings(RandomSettings):
    """What stands beside a steered cell, each as long as the cell's own vector.

    Args:
        controls: Which controls (`control_vectors.CONTROLS`): "random", "covariance", "shuffled_labels",
            "other_concept", "shuffled_layer".
        n_shuffled: Draws of shuffled labels.
        other_pairs: The pairs of the other concept: a built-in set or a file; unset, one that comes along.

    Raises:
        ValueError: an unknown control, none that is random, or pairs of another concept where that is no control.
    """

    controls: tuple[ControlName, ...] = ("random",)
    n_shuffled: int = 3
    other_pairs: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_controls(self.controls)
        if self.other_pairs and "other_concept" not in self.controls:
            raise ValueError(
                f'other_pairs is {self.other_pairs!r}, but "other_concept" is not among controls: add it there'
            )
        self.at_least(1, "n_shuffled")


@dataclass(frozen=True)
class ControlSettings(NamedControlSettings):
    """What stands beside every cell and beside the chosen one, and what the chosen cell may cost in perplexity.

    Args:
        n_random_confirm: Draws of each kind of random vector beside the chosen cell.
        perplexity_budget: A ratio to unsteered text, for the upper end of the cell's interval.

    Raises:
        ValueError: too few draws, or a budget that is not above 0.
    """

    n_random_confirm: int = 10
    perplexity_budget: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.enough_draws("n_random_confirm")
        if not self.perplexity_budget > 0:
            raise ValueError(f"perplexity_budget is {self.perplexity_budget}: it must be above 0")
