"""Places in the residual stream, and what TransformerLens calls them.

Only `resid_pre` and `resid_post` are offered. An edit of `resid_mid` on a TransformerBridge reaches the MLP but never
the skip path, although the cache shows the edit: steering there would not be what it seems.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, SupportsIndex, get_args

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
        object.__setattr__(self, "layer", _layer(self.layer))
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


def resid_pre(layer: Whole) -> HookSite:
    """The residual stream that block `layer` reads; `resid_pre(0)` is the embedding."""
    return HookSite(layer, "resid_pre")


def resid_post(layer: Whole) -> HookSite:
    """The residual stream that block `layer` leaves; the same tensor as `resid_pre(layer + 1)`."""
    return HookSite(layer, "resid_post")


if TYPE_CHECKING:
    Site = HookSite
    Sites = Sequence[HookSite]
else:
    Site = Sites = object
"""The types of parameters that take anything and, once `check_is_site` or `site_list` has been through, hold sites."""


def check_is_site(given: object) -> None:
    """Nothing when `given` is a site.

    Raises:
        ValueError: it is a hook point's name, a layer's number, or something else; says how the site is written.
    """
    if not isinstance(given, HookSite):
        raise ValueError(f"{_shown(given)} is no site: write {_as_code(given)}")


def site_list(given: object) -> list[HookSite]:
    """The sites of a list, which `given` should be.

    Raises:
        ValueError: one site or layer instead of a list, or something in it that is no site; says how it is written.
    """
    if isinstance(given, HookSite | str | SupportsIndex) or not isinstance(given, Iterable):
        raise ValueError(f"{_shown(given)} is no list of sites: write [{_as_code(given)}]")
    sites = list(given)
    for site in sites:
        check_is_site(site)
    return sites


def _shown(given: object) -> str:
    return str(given) if isinstance(given, HookSite) else repr(given)


def _as_code(given: object) -> str:
    """How a site is written that was meant by `given`."""
    if isinstance(given, HookSite):
        return str(given)
    if isinstance(given, str):
        return str(HookSite.parse(given)) if _HOOK_NAME.fullmatch(given) else "resid_pre(6) or resid_post(6)"
    return f"resid_pre({given})" if isinstance(given, int) and given >= 0 else "resid_pre(6) or resid_post(6)"


def _layer(given: object) -> int:
    """The layer as a Python int. Raises ValueError for anything else; of a hook point's name it says what is meant."""
    if isinstance(given, str) and _HOOK_NAME.fullmatch(given):
        raise ValueError(f"a layer is an integer, {given!r} is a hook point's name: write {_as_code(given)}")
    return whole_number(given, "a layer")
