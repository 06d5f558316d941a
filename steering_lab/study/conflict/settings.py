"""Which conflicts between a context and a model's memory are asked, in what words and how many: pieces of a Config."""

from collections.abc import Collection
from dataclasses import dataclass

from steering_lab.data.conflict_readers import BlankAliases
from steering_lab.data.country_facts import MIN_POPULATION, Relation
from steering_lab.data.templates import Wording
from steering_lab.evaluation.running.evaluate import Decoding
from steering_lab.models.generation import GREEDY
from steering_lab.organism.wording import WORDINGS
from steering_lab.study.conflict.questions import (
    Counts,
    DataFormat,
    Questions,
    Rows,
    country_rows,
    file_rows,
    split_questions,
    world_questions,
    world_vector,
)
from steering_lab.study.settings import ExpectationSettings, LayerSettings, ModelSettings, RandomSettings, Settings


@dataclass(frozen=True)
class ConflictSettings(Settings):
    """Rows of conflict, and how they are worded.

    Args:
        data: "organism" (its own world), "capitals" (countries of the world), or a file.
        data_format: Of a file.
        blank_aliases: What becomes of an alias of a file that normalises to nothing.
        relations: Of the capitals: which facts.
        min_population: Of the capitals: smaller countries are left out.
        wording: One of `organism.wording.WORDINGS`.
        answer_prefix: How every answer begins (`ConflictQA.begun`).
        n_vector: How many rows at most a ContextFocus vector is made from.

    Raises:
        ValueError: settings of the capitals for other data, an unknown wording, or too few rows for a vector.
    """

    data: str = "organism"
    data_format: DataFormat = "jsonl"
    blank_aliases: BlankAliases = "refuse"
    relations: tuple[Relation, ...] = ("capital",)
    min_population: int = MIN_POPULATION
    wording: str = "organism"
    answer_prefix: str = ""
    n_vector: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(8, "n_vector")
        if self.wording not in WORDINGS:
            raise ValueError(f"wording {self.wording!r} is unknown: choose one of {', '.join(WORDINGS)}")
        if self.data != "capitals" and (self.relations, self.min_population) != (("capital",), MIN_POPULATION):
            raise ValueError(f'relations and min_population are settings of data = "capitals", not of {self.data!r}')
        if not self.relations or len(set(self.relations)) < len(self.relations):
            raise ValueError(f"relations are {list(self.relations)}: name one or more, each once")

    @property
    def worded(self) -> Wording:
        """The wording."""
        return WORDINGS[self.wording]

    def rows(self) -> tuple[Rows, int]:
        """All conflicts that questions are taken from, and how many of a file do not decide.

        The organism's world has no such list, its rows are made to order: none.

        Raises:
            ValueError: what `file_rows` refuses.
        """
        if self.data == "organism":
            return (), 0
        if self.data == "capitals":
            return country_rows(self.relations, self.min_population, self.seed), 0
        return file_rows(self.data, self.data_format, self.blank_aliases)

    def vector_rows(self) -> Rows:
        """The conflicts for a vector, where nothing else is asked of the data. Raises as `rows`."""
        if self.data == "organism":
            return world_vector(self.n_vector)
        return self.rows()[0][: self.n_vector]


@dataclass(frozen=True)
class ComparisonSettings(ConflictSettings, ModelSettings, LayerSettings, ExpectationSettings, RandomSettings):
    """What every comparison on conflicts needs: conflicts to choose by and to report on, greedy answers, controls.

    Args:
        chat: Through the model's chat template, the instruction as its system turn.
        known_only: Ask every question closed book first, and leave out what the model does not know; unset, so for
            `data="capitals"` alone.
        n_validation: How many conflicts at most are chosen by.
        n_test: How many at most are reported on, of each kind.
        max_new_tokens: The longest answer.
        n_random: Random vectors of each vector's norm.
        cad_alpha: The weight of context-aware decoding.
        batch_size: In rows.

    Raises:
        ValueError: a count below what the statistics need, or known_only for the organism's world.
    """

    chat: bool = False
    known_only: bool | None = None
    n_validation: int = 100
    n_test: int = 100
    max_new_tokens: int = 6
    n_random: int = 10
    cad_alpha: float = 1.0
    batch_size: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(8, "n_validation", "n_test")
        self.at_least(1, "max_new_tokens")
        if self.data == "organism" and self.known_only:
            raise ValueError('known_only is for data = "capitals" or a file: the organism was trained on its world')

    @property
    def asks_first(self) -> bool:
        """Whether only what the model knows closed book is used."""
        return self.data == "capitals" if self.known_only is None else self.known_only

    @property
    def rows_at_once(self) -> int:
        """How many prompts a pass that keeps gradients or whole distributions reads."""
        return min(32, self.batch_size)

    @property
    def counts(self) -> Counts:
        """How many rows each use takes at most."""
        return Counts(self.n_vector, self.n_validation, self.n_test)

    @property
    def decoding(self) -> Decoding:
        """One greedy answer to the end of its line."""
        return Decoding(self.max_new_tokens, 1, GREEDY, self.seed, stop=("\n",), log_probs=False)

    def questions(self, known: Collection[str] | None = None) -> Questions:
        """The questions, of those in `known` (closed-book ids) where given.

        Raises:
            ValueError: what `file_rows` and `split_questions` refuse.
        """
        if self.data == "organism":
            return self.of_world()
        rows, left_out = self.rows()
        return split_questions(rows, self.counts, self.seed, left_out=left_out, known=known)

    def all_rows(self) -> Rows:
        """Every row that may be asked. Raises as `questions`."""
        return (*self.rows()[0], *self.questions().rows)

    def of_world(self) -> Questions:
        """The questions about the organism's world."""
        return world_questions(self.counts)
