"""What runs a model's passes: the reference, which shows everything, and plain modules, which are fast.

Both compute from the same weights and take the same edits, so that what one writes the other would have written.
`HookedModel` chooses: the plain runtime wherever there is one and nothing but edits of the stream is in force.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

from steering_lab.models.hook_points import HookSite

RuntimeName = Literal["hooked", "plain"]
Hook = Callable[[Tensor], Tensor | None]


@runtime_checkable
class Runtime(Protocol):
    """One way to run the passes of a model."""

    name: ClassVar[RuntimeName]

    @property
    def attention(self) -> str:
        """The implementation of attention, as transformers calls it."""

    @property
    def selects(self) -> bool:
        """Whether its caches have `reorder_cache`, which chooses rows."""

    def forward(
        self,
        ids: Int[Tensor, "batch new"],
        mask: Bool[Tensor, "batch pos"],
        positions: Int[Tensor, "batch new"],
        cache: Any = None,
        *,
        last: int | None = None,
        depth: int | None = None,
    ) -> Float[Tensor, "batch _ d_vocab"] | None:
        """Logits of `ids`, the last columns of what `mask` spans; `cache` holds the others.

        Args:
            ids: The tokens to read, left-padded.
            mask: True at real tokens, of those in the cache too.
            positions: Absolute positions of `ids`, negative on padding.
            cache: One of `new_cache`, which then holds `ids` too; without one nothing is kept.
            last: Logits of the last so many columns alone.
            depth: Only the first so many blocks are run, and there are no logits.
        """

    def new_cache(self, batch: int, room: int | None = None) -> Any:
        """An empty cache for `batch` rows; with `room`, for so many tokens, written in place and without gradients."""

    def placed(self, hooks: Mapping[HookSite, Hook]) -> AbstractContextManager[None]:
        """Each of `hooks` is given the stream at its site, and what it returns, if anything, takes its place.

        Hooks placed later see what earlier ones left.
        """
