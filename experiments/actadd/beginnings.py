"""What continuations begin with: a piece of a Config that figures of written text share."""

from collections.abc import Sequence
from dataclasses import dataclass

from steering_lab.study.settings import ModelSettings


@dataclass(frozen=True)
class BeginningSettings(ModelSettings):
    """Prompts of one's own, or some of those that come along.

    Args:
        beginnings: Prompts; left out, `n_prompts` that come along.
        n_prompts: How many of those.

    Raises:
        ValueError: a beginning twice, or more than come along.
    """

    beginnings: tuple[str, ...] = ()
    n_prompts: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        self.each_once("beginnings")
        if not self.beginnings and self.n_prompts > (most := len(self.language.choosing + self.language.reporting)):
            raise ValueError(f"n_prompts is {self.n_prompts}, but {most} come along: give beginnings of your own")

    @property
    def prompts(self) -> Sequence[str]:
        """The beginnings of texts."""
        return self.beginnings or (self.language.reporting + self.language.choosing)[: self.n_prompts]
