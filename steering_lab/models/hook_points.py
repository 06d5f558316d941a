"""Places in the residual stream, and what TransformerLens calls them.

Only `resid_pre` and `resid_post` are offered. An edit of `resid_mid` on a TransformerBridge reaches the MLP but never
the skip path, although the cache shows the edit: steering there would not be what it seems.
"""

import re
from dataclasses import dataclass
from typing import Literal, SupportsIndex, get_args

from steering_lab.models.integers import Whole, whole_number

Stream = Literal["resid_pre", "resid_post"]

_HOOK_NAME = re.compile(r"blocks\.(\d+)\.hook_(resid_pre|resid_post)")


@dataclass(frozen=True)
class HookSite:
    """The residual stream at the input (`resid_pre`) or output (`resid_post`) of block `layer`, counted from 0.

    Sites sort in the order of the stream.

    Raises:
        ValueError: a negative or non-integer layer, or a stream other than those two.
    """

    layer: Whole
    stream: Stream = "resid_pre"

    def __post_init__(self) -> None:
        object.__setattr__(self, "layer", whole_number(self.layer, "a layer"))
        if self.layer < 0:
            raise ValueError(f"a layer is an integer from 0 upward, not {self.layer}")
        if self.stream not in get_args(Stream):
            raise ValueError(f"unknown stream {self.stream!r}: choose one of {', '.join(get_args(Stream))}")

    def __lt__(self, other: "HookSite") -> bool:
        return (self.layer, self.stream == "resid_post") < (other.layer, other.stream == "resid_post")

    @property
    def name(self) -> str:
        """TransformerLens's name of the hook point, e.g. `blocks.6.hook_resid_pre`."""
        return f"blocks.{self.layer}.hook_{self.stream}"

    @classmethod
    def parse(cls, name: str) -> "HookSite":
        """The site that TransformerLens calls `name`.

        Raises:
            ValueError: `name` is not a resid_pre or resid_post hook point.
        """
        found = _HOOK_NAME.fullmatch(name)
        if found is None:
            raise ValueError(f"{name!r} is not a residual-stream hook point such as 'blocks.6.hook_resid_pre'")
        return cls(int(found[1]), found[2])  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.stream}({self.layer})"


def resid_pre(layer: SupportsIndex) -> HookSite:
    """The residual stream that block `layer` reads; `resid_pre(0)` is the embedding."""
    return HookSite(whole_number(layer, "a layer"), "resid_pre")


def resid_post(layer: SupportsIndex) -> HookSite:
    """The residual stream that block `layer` leaves; the same tensor as `resid_pre(layer + 1)`."""
    return HookSite(whole_number(layer, "a layer"), "resid_post")
