"""Which passage each question finds: by the model's states at every layer, and by words alone to compare with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.models.hook_points import HookSite, resid_post
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.reading import read_stream
from steering_lab.retrieval.passage_index import Found, Passage, PassageIndex
from steering_lab.retrieval.word_overlap import nearest_row, word_states
from steering_lab.study.conflict.questions import Rows

STATES, RAW, TFIDF, WORDS, CHANCE = "layer states", "layer states, not centred", "TF-IDF", "bag of words", "chance"


@dataclass(frozen=True, eq=False)
class Searching:
    """Databases, everything in them embedded at every layer, and what every question finds.

    Args:
        databases: A passage about each question group, as rows.
        others: The groups whose questions choose the layer and whose mean is taken off the others'.
        embedded: By site, the embedding of each text in `places`.
        places: Where each text stands.
        hits: One row per search, layer, question and database: 1 where the passage is about what was asked.
    """

    databases: Sequence[Rows]
    others: set[str]
    embedded: Mapping[HookSite, Float[Tensor, "text d_model"]]
    places: Mapping[str, int]
    hits: pd.DataFrame

    @classmethod
    def of(cls, model: HookedModel, databases: Sequence[Rows], others: set[str]) -> "Searching":
        """All searches by all layers of `model`.

        Args:
            model: The model whose states embed.
            databases: A passage about each question group, as rows.
            others: The groups that no hit rate is reported on.
        """
        every = [text for rows in databases for row in rows for text in (row.context, row.question)]
        places = {text: i for i, text in enumerate(dict.fromkeys(every))}
        embedded = read_stream(model, list(places), [resid_post(i) for i in range(model.n_layers)], read="mean")
        made = cls(databases, others, embedded, places, pd.DataFrame())
        return cls(databases, others, embedded, places, pd.concat(made._searched(), ignore_index=True))

    def choose(self, layers: Sequence[int]) -> HookSite:
        """The site at which most of the other questions find their passage, the first of equals.

        Args:
            layers: Among which; none is the middle half of the model.
        """
        depth = len(self.embedded)
        among = sorted(layers) or range(depth // 4, depth - depth // 4)
        chosen_by = self.hits[(self.hits["method"] == STATES) & ~self.hits["reported"]]
        rates = chosen_by.groupby("layer")["value"].mean()
        return resid_post(max(among, key=lambda layer: rates[layer]))

    def index(self, turn: int, site: HookSite, folder: Path) -> PassageIndex:
        """The database `turn` in `folder`, embedded at `site`."""
        passages = [Passage(row.context, row.group) for row in self.databases[turn]]
        return PassageIndex.make(folder, passages, self._passages(turn, site), self._asked(turn, site, others=True))

    def nearest(self, turn: int, index: PassageIndex, site: HookSite) -> dict[str, Found]:
        """What the question of each group finds in the database `turn`, by its `index` at `site`."""
        found = index.nearest(self._asked(turn, site))
        return {row.group: one for row, one in zip(self.databases[turn], found, strict=True)}

    def _passages(self, turn: int, site: HookSite) -> Float[Tensor, "passage d_model"]:
        return self._of([row.context for row in self.databases[turn]], site)

    def _asked(self, turn: int, site: HookSite, *, others: bool = False) -> Float[Tensor, "question d_model"]:
        rows = [row for row in self.databases[turn] if not others or row.group in self.others]
        return self._of([row.question for row in rows], site)

    def _of(self, texts: Sequence[str], site: HookSite) -> Float[Tensor, "text d_model"]:
        return self.embedded[site][torch.tensor([self.places[text] for text in texts])]

    def _searched(self) -> list[pd.DataFrame]:
        blocks = []
        for turn, rows in enumerate(self.databases):
            for site in self.embedded:
                asked, passages = self._asked(turn, site), self._passages(turn, site)
                mean = self._asked(turn, site, others=True).mean(dim=0)
                blocks.append(self._hits(turn, RAW, site.layer, asked.numpy(), passages.numpy()))
                centred = (asked - mean).numpy(), (passages - passages.mean(dim=0)).numpy()
                blocks.append(self._hits(turn, STATES, site.layer, *centred))
            corpus, questions = [row.context for row in rows], [row.question for row in rows]
            for method, weighted in ((TFIDF, True), (WORDS, False)):
                sides = (word_states(texts, corpus, weighted=weighted) for texts in (questions, corpus))
                blocks.append(self._hits(turn, method, None, *sides))
        return blocks

    def _hits(
        self, turn: int, method: str, layer: int | None,
        asked: Float[np.ndarray, "question size"], passages: Float[np.ndarray, "passage size"],
    ) -> pd.DataFrame:  # fmt: skip
        rows = self.databases[turn]
        found = [rows[i].group for i in nearest_row(asked, passages)]
        return pd.DataFrame(
            {
                "method": method,
                "layer": pd.array([layer] * len(rows), dtype="Int64"),
                "prompt": [row.group for row in rows],
                "sample": turn,
                "kind": [row.meta["passage"] for row in rows],
                "reported": [row.group not in self.others for row in rows],
                "value": [float(row.group == group) for row, group in zip(rows, found, strict=True)],
            }
        )
