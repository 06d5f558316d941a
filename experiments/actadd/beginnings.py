"""What continuations begin with, and what their intervals are over: what figures of written text share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

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


def units(texts: pd.DataFrame) -> pd.DataFrame:
    """The texts as intervals take them: by prompt; of one prompt alone each sample stands for itself.

    Args:
        texts: The continuations, with prompt and sample.
    """
    if texts["prompt"].nunique() > 1:
        return texts
    return texts.assign(prompt=[f"sample {i}" for i in texts["sample"]], sample=0)


def over(config: Mapping[str, Any]) -> str:
    """What a subtitle adds where all texts are of one prompt; "" where they are of several.

    Args:
        config: The run's `BeginningSettings`, as config.json holds them.
    """
    n = len(config["beginnings"]) or config["n_prompts"]
    return "; all are of one prompt, and intervals say nothing of others" if n == 1 else ""
