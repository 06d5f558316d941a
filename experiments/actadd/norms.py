"""How long is a steering vector, next to the stream that it is added to?

At every layer and position, the norm of the vector's row over that of the prompt's stream. The first position, where
both prompts of the pair begin alike, is exactly 0. Intervals are over prompts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steering_lab.analysis.plots import Figure, claim_curves
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.methods.actadd import actadd_vectors
from steering_lab.models.progress import progress_bar
from steering_lab.numerics.intervals import ratio_interval
from steering_lab.runs import read_run
from steering_lab.study.page import Parts, described
from steering_lab.study.paper.claim import ClaimSettings, judge
from steering_lab.study.paper.page import publish_claim
from steering_lab.study.settings import LayerSettings
from steering_lab.study.setup import opened

from .cells import PadSettings


@dataclass(frozen=True)
class Config(ClaimSettings, PadSettings, LayerSettings):
    """The pair, and the prompts that it is compared with.

    Expectations are of a position and where it stands, "position 1, first layer: norm ratio ...", "position 1, last
    layer: ...", and of "position 1, last over first: norm ratio".

    Args:
        positive: The prompt whose activations are added.
        negative: And the one whose are taken away.
        prompts: What they are added to, each with as many tokens as the vector has rows; left out, those that come
            along.
        curves: Published points by name: (depth from 0 to 1, ratio).
    """

    positive: str = "Anger"
    negative: str = "Calm"
    prompts: tuple[str, ...] = ()
    curves: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Measures every prompt's stream, and returns the finished run folder."""
    prompts = config.prompts or (*config.language.choosing, *config.language.reporting)
    model = config.load()
    sites = config.sites(model)
    vectors = actadd_vectors(model, ContrastPair(config.positive, config.negative), sites, pad=config.pad)
    with opened(model, config, results, module=__name__, doc=__doc__, elsewhere=elsewhere) as setup:
        rows = []
        for prompt in progress_bar(prompts, what="prompts", leave=True):
            streams = model.residuals(model.to_tokens(prompt), sites)
            for site, vector in vectors.items():
                lengths = streams[site][0].float().norm(dim=-1)[: len(vector.norms)].cpu()
                for position, (own, stream) in enumerate(zip(vector.norms, lengths, strict=False)):
                    held = {"vector": float(own), "stream": float(stream), "ratio": float(own / stream)}
                    rows.append({"prompt": prompt, "layer": site.layer, "position": position, **held})
        table = pd.DataFrame(rows)
        measured = _measured(table)
        setup.folder.write_table("norms", table)
        setup.folder.write_table("measured", measured)
        setup.folder.write_json("verdict.json", judge(config, measured, _ours(measured)).as_json())
        return setup.folder.finish(report)


def _measured(table: pd.DataFrame) -> pd.DataFrame:
    """Geometric means over prompts, of every layer and position, and of the last layer over the first."""
    rows = []
    first, last = table["layer"].min(), table["layer"].max()
    for position, own in table.groupby("position"):
        by = own.pivot(index="prompt", columns="layer", values="ratio")
        for layer in by:
            at = "first layer" if layer == first else "last layer" if layer == last else f"layer {layer}"
            rows.append({"position": position, "layer": layer, **_row(f"position {position}, {at}", by[layer])})
        if (by > 0).all().all():
            rows.append({"position": position, **_row(f"position {position}, last over first", by[last] / by[first])})
    return pd.DataFrame(rows)


def _row(who: str, values: pd.Series) -> dict[str, object]:
    shared = {"who": who, "metric": "norm ratio", "scale": "level"}
    if not (values > 0).all():
        return {**shared, "effect": float(values.mean()), "low": float(values.min()), "high": float(values.max())}
    low, high, _ = ratio_interval(np.log(values.to_numpy())[:, None])
    return {**shared, "effect": float(np.exp(np.log(values).mean())), "low": float(low[0]), "high": float(high[0])}


def _ours(measured: pd.DataFrame) -> str:
    ends = measured[measured["who"].str.contains("first layer|last layer") & (measured["effect"] > 0)]
    said = [f"{row.who} {_interval(row)}" for row in ends.itertuples()]
    return "; ".join([*said, *_between(measured)])


def _interval(row: Any) -> str:
    return f"{row.effect:.2f} [{row.low:.2f}, {row.high:.2f}]"


def _between(measured: pd.DataFrame) -> list[str]:
    """For each position the highest ratio between the ends, where that is surely above the first layer's, and rises."""
    found = []
    for position, own in measured[measured["layer"].notna()].sort_values("layer").groupby("position"):
        top, first = own.loc[own["effect"].idxmax()], own.iloc[0]
        rises = own.loc[own["low"] > own["high"].shift(), "layer"]
        if len(rises):
            peak = f"up to {_interval(top)} (layer {top['layer']:g}), " if top["low"] > first["high"] else ""
            layers = ", ".join(f"{layer:g}" for layer in rises)
            found.append(
                f"between the ends position {position} does not fall at every layer: {peak}surely up at"
                f" layer{'s' if len(rises) > 1 else ''} {layers}"
            )
    return found


def report(folder: str | Path) -> Path:
    """Draws the page of a finished run from its files alone."""
    parts = read_run(folder)
    table = parts["measured"][["who", "effect", "low", "high"]]
    table = table.rename(columns={"who": "where", "effect": "norm ratio"})
    few = table[table["where"].str.contains("first|last")]
    between = tuple(f"{one[0].upper()}{one[1:]}." for one in _between(parts["measured"]))
    return publish_claim(
        folder,
        parts,
        headline=few,
        figures={"norms": figure(parts)},
        measured=parts["measured"],
        findings=between,
        tables={"Every layer": table},
    )


def figure(parts: Parts) -> Figure:
    """The figure of a run: every position along the layers, the published points beside.

    Args:
        parts: What `read_run` gives of the run.
    """
    config, measured = parts["config"], parts["measured"]
    own = measured[measured["layer"].notna()]
    last = own["layer"].max()
    by = own.groupby("position")
    step = max(1, int(last) // 10)
    about = described(config["model"], parts.get("model", {}))
    return claim_curves(
        {f"position {position}": rows.assign(x=rows["layer"] / last) for position, rows in by},
        config["curves"],
        x_label="layer",
        y_label="norm of the vector over the stream's",
        level=True,
        ticks={layer / last: f"{layer:g}" for layer in sorted(own["layer"].unique())[::step]},
        title=config["source"],
        subtitle=f"{about}; {config['positive']} − {config['negative']}; {parts['norms']['prompt'].nunique()} prompts",
    )
