"""Where sites of the residual stream stand along an axis of layers.

The stream has one place before the first block and one behind each: `resid_post(l)` and `resid_pre(l + 1)` share one.
"""

from typing import NamedTuple

import pandas as pd

from steering_lab.models.hook_points import HookSite


class SiteAxis(NamedTuple):
    """Each row's place, the places in order with their names, and the axis' title.

    Args:
        at: Each row's place on the axis.
        places: The places in order.
        names: What is written at each place.
        title: The axis' title.
    """

    at: pd.Series
    places: list[int]
    names: list[str]
    title: str


def site_axis(table: pd.DataFrame) -> SiteAxis:
    """The axis of a table with the columns `layer` and `stream`.

    Layers are named as the sites are: where all are `resid_pre` a place bears the layer that reads it, otherwise the
    one that left it, and the stream before the first block is "embed".

    Raises:
        ValueError: a column is missing, or the table has no rows.
    """
    if missing := [column for column in ("layer", "stream") if column not in table]:
        raise ValueError(f"the table has no column {missing[0]!r}: it needs the sites' layer and stream")
    if table.empty:
        raise ValueError("the table has no rows to draw")
    at = table["layer"] + (table["stream"] == "resid_post")
    places = sorted(int(place) for place in at.unique())
    if (table["stream"] == "resid_pre").all() and len(places) > 1:
        return SiteAxis(at, places, [str(place) for place in places], "layer (stream at its input)")
    return SiteAxis(at, places, ["embed" if p == 0 else str(p - 1) for p in places], "layer")


def site_place(table: pd.DataFrame, site: HookSite) -> float:
    """Where an edit of `site` sets in on the axis of `table`: at its own place, or between it and the next.

    An edited `resid_pre(l)` is not yet seen at `resid_post(l - 1)`, though both have one place.
    """
    seen = ((table["layer"] == site.layer) & (table["stream"] == site.stream)).any()
    return site.layer + (site.stream == "resid_post") + (0.0 if seen else 0.5)


def thinned(count: int, pixels: float | int, needed: float | int) -> list[int]:
    """0, 1, 2, ... below `count`, or every second, fifth, ... where names `needed` wide would touch `pixels` apart."""
    step = next(step for step in (1, 2, 4, 5, 10, 20, 50, 100, count) if step * pixels >= needed or step == count)
    return list(range(0, count, step))
