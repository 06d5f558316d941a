"""A model under study and the run folder that keeps its answers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.evaluate import Decoding, run_conditions
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.evaluation.running.writing import Example
from steering_lab.models.hooked_model import HookedModel
from steering_lab.runs import RunFolder
from steering_lab.study.finding import question_of
from steering_lab.study.settings import ModelSettings


@dataclass(frozen=True, eq=False)
class Setup:
    """What every part of an experiment needs: the `model`, the run's `folder`, and `batch_size`, rows in a batch."""

    model: HookedModel
    folder: RunFolder
    batch_size: int = 512

    @property
    def keeping(self) -> dict[str, Any]:
        """The options of `run_conditions` by which a run keeps its cells and finds them again."""
        return {"batch_size": self.batch_size, **self.folder.keeping}

    def generations(
        self,
        conditions: Sequence[Condition],
        examples: Sequence[Example],
        decoding: Decoding,
        *,
        model: HookedModel | None = None,
        bare: Callable[[Example], str] | None = None,
    ) -> pd.DataFrame:
        """`run_conditions` on the model, or on another one; cells that the folder has are not computed again.

        Args:
            conditions: What is compared.
            examples: The prompts or questions that every condition is asked.
            decoding: How continuations are drawn.
            model: Another model than the setup's.
            bare: Writes the prompt behind which the unsteered model scores a continuation.
        """
        return run_conditions(model or self.model, conditions, examples, decoding, bare=bare, **self.keeping)


@contextmanager
def opened(
    model: HookedModel,
    config: ModelSettings,
    results: str | Path,
    *,
    module: str,
    doc: str | None = None,
    elsewhere: Elsewhere | None = None,
    reported_by: str = "",
) -> Iterator[Setup]:
    """The setup of a new run, or of the unfinished one of the same settings; `model.json` is in its folder.

    Args:
        model: The loaded model.
        config: The experiment's settings; its `name` is the folder below `results`, or else the module's.
        results: Where runs lie.
        module: `__name__` of the experiment.
        doc: `__doc__` of the experiment, whose first paragraph is the question where the settings have none.
        elsewhere: What does the cells in other processes.
        reported_by: An experiment that comes along and whose report draws this run's page, where it is another one.

    Raises:
        Busy: another process is working on that run now; says which.
    """
    stem = module.rpartition(".")[2]
    question = config.question or question_of(doc)
    opening = RunFolder.open(
        results, config.name or stem, model.name, asdict(config), question, elsewhere, module=reported_by or stem
    )  # fmt: skip
    with opening as folder:
        folder.write_json("model.json", model.facts())
        yield Setup(model, folder, config.batch_size)
