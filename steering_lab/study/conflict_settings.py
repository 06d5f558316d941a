"""Which conflicts between a context and a model's memory are asked, and in what words: a piece of a Config."""

from dataclasses import dataclass

from steering_lab.data.conflict_readers import BlankAliases
from steering_lab.data.country_facts import MIN_POPULATION, Relation
from steering_lab.data.templates import Wording
from steering_lab.organism.wording import WORDINGS
from steering_lab.organism.world_rows import world_rows
from steering_lab.study.conflict_questions import DataFormat, Rows, country_rows, file_rows, unique
from steering_lab.study.settings import Settings


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
            return unique(world_rows("conflict", self.n_vector, split="validation", seed=1))
        return self.rows()[0][: self.n_vector]
