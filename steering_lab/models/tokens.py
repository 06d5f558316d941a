"""What a pass reads, and where its tokens stand: left-padded ids with their mask, and the pass as edits see it."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def left_padded(mask: Bool[Tensor, "batch pos"]) -> bool:
    """Whether every row of `mask` ends in a real token and has its padding in front."""
    return bool((mask[:, -1] & (mask[:, 1:] >= mask[:, :-1]).all(dim=1)).all())


def real_tokens(ids: Int[Tensor, "batch pos"], mask: Bool[Tensor, "batch pos"]) -> list[list[int]]:
    """Those of `ids` that are no padding by `mask`, row by row, asked of the device once."""
    lengths = mask.sum(dim=1).tolist()
    return [row[len(row) - length :] for row, length in zip(ids.tolist(), lengths, strict=True)]


@dataclass(frozen=True, eq=False)
class Tokens:
    """A left-padded batch. `prompt_lengths` counts real prompt tokens; real tokens after them are a continuation.

    Args:
        ids: Token ids, padding in front.
        mask: Where they are real tokens.
        prompt_lengths: The real prompt tokens of each row.

    Raises:
        ValueError: padding that is not on the left, or a row without a real token.
    """

    ids: Int[Tensor, "batch pos"]
    mask: Bool[Tensor, "batch pos"]
    prompt_lengths: Int[Tensor, " batch"]

    def __post_init__(self) -> None:
        if not left_padded(self.mask):
            raise ValueError("tokens are padded on the left, and every row ends in a real token: pad with model.pad()")

    @property
    def positions(self) -> Int[Tensor, "batch pos"]:
        """Absolute positions: 0 at each row's first real token, negative on padding."""
        first = self.mask.shape[1] - self.mask.sum(dim=1, keepdim=True)
        return torch.arange(self.mask.shape[1], device=self.mask.device) - first

    @property
    def rows(self) -> list[list[int]]:
        """Each row's real tokens."""
        return real_tokens(self.ids, self.mask)

    def __len__(self) -> int:
        return self.ids.shape[0]


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """A forward pass as hooks see it: where the tokens that it reads stand.

    Args:
        positions: Where each token stands; 0 is the first real one, negative is padding.
        prompt_lengths: Tokens of each prompt, padding left out.
        rows: Places in the caller's whole batch, so that a per-row edit survives splitting it.
        n_batch: Rows of the caller's whole batch.
        decoding: Whether a KV cache holds the prompt, so that every token in view stands after it.
    """

    positions: Int[Tensor, "batch pos"]
    prompt_lengths: Int[Tensor, " batch"]
    rows: Int[Tensor, " batch"]
    n_batch: int
    decoding: bool = False
