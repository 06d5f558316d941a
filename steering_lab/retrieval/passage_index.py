"""Passages in an embedded vector database, found by what the steered model itself makes of them.

A text's embedding is the mean of the residual stream over its tokens at one site (`read_stream`, read="mean"); nearness
is cosine distance, searched exactly. Means of any two texts point nearly the same way, and a question differs from a
passage most of all in being one; so the mean of the passages is taken off the passages, and the mean of other questions
off a question. The database is LanceDB, an extra: `pip install "steering_lab[retrieval]"`. Nothing here is imported
from it until an index is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

TABLE = "passages"


class Passage(NamedTuple):
    """A text of the database, and what it is about.

    Args:
        text: The text.
        about: The question group that it answers (`ConflictQA.group`).
    """

    text: str
    about: str


class Found(NamedTuple):
    """The passage nearest to a question.

    Args:
        passage: The passage.
        distance: 1 less the cosine, in [0, 2].
    """

    passage: Passage
    distance: float


@dataclass(frozen=True, eq=False)
class PassageIndex:
    """Passages by their embeddings. Make one with `PassageIndex.make`.

    Args:
        table: The table of the database.
        asked: What is taken off a question's embedding.
    """

    table: Any
    asked: Float[Tensor, " d_model"]

    @classmethod
    def make(
        cls,
        folder: str | Path,
        passages: Sequence[Passage],
        states: Float[Tensor, "passage d_model"],
        questions: Float[Tensor, "question d_model"] | None = None,
    ) -> "PassageIndex":
        """An index in `folder`; one that was there is replaced.

        Args:
            folder: Where the database lies.
            passages: What is to be found.
            states: The embedding of each.
            questions: Embeddings of other questions, whose mean is taken off a question's and the passages' own off
                theirs; None leaves both as they are.

        Raises:
            ImportError: LanceDB is not installed.
            ValueError: no passages, another number of embeddings, or an embedding without a direction.
        """
        if not passages or len(passages) != len(states):
            raise ValueError(f"{len(states)} embeddings for {len(passages)} passages: one for each, and one or more")
        centred = states if questions is None else states - states.mean(dim=0)
        asked = torch.zeros_like(states[0]) if questions is None else questions.mean(dim=0)
        if not centred.norm(dim=-1).min() > 0:
            raise ValueError("a passage's embedding has no direction: passages need texts of their own, two or more")
        rows = {
            "text": [passage.text for passage in passages],
            "about": [passage.about for passage in passages],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(centred.float().flatten().numpy()), states.shape[1]),
        }
        mode = "overwrite" if (Path(folder) / f"{TABLE}.lance").exists() else "create"
        return cls(require_lancedb().connect(str(folder)).create_table(TABLE, pa.table(rows), mode=mode), asked)

    def nearest(self, states: Float[Tensor, "question d_model"]) -> list[Found]:
        """The passage nearest to each question, by the embeddings `states` of the questions."""
        return [self._nearest(row) for row in (states - self.asked).float()]

    def _nearest(self, row: Float[Tensor, " d_model"]) -> Found:
        [hit] = self.table.search(row.numpy()).distance_type("cosine").limit(1).to_list()
        return Found(Passage(hit["text"], hit["about"]), float(hit["_distance"]))


def require_lancedb() -> Any:
    """The module of LanceDB. Raises ImportError, which says what to install, where it is not there."""
    try:
        import lancedb
    except ImportError as error:
        raise ImportError(
            'passages are kept in LanceDB, which is not installed: pip install "steering_lab[retrieval]"'
        ) from error
    return lancedb
