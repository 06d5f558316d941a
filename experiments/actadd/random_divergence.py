"""Does a steering vector move the model less than random vectors of its norm do?

For every text the mean KL(unsteered ‖ steered) over its tokens behind the vector, over the mean entropy of the
unsteered model there: how far every next-token distribution is moved, in shares of its own uncertainty. A random vector
has the norm of each of the vector's rows; the paper draws one, here each text is compared with every draw.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from steering_lab.analysis.plots import divergence_scatter
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.evaluation.measuring.neutral import neutral_table
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.scoring import forced_logits
from steering_lab.numerics.intervals import paired_interval
from steering_lab.numerics.kinds import Kind
from steering_lab.numerics.log_probs import to_log_probs
from steering_lab.runs import read_run
from steering_lab.study.page import described
from steering_lab.study.paper.claim import ClaimSettings, judge
from steering_lab.study.paper.page import publish_claim
from steering_lab.study.paper.texts import TextGroup
from steering_lab.study.settings import LayerSettings
from steering_lab.study.setup import opened

from .cells import CellSettings, front_cells


@dataclass(frozen=True)
class Config(ClaimSettings, CellSettings, LayerSettings):
    """What is added, and to which texts.

    Expectations are of "actadd": "draws that move it more" (of a text's random vectors, how many move the model more),
    "KL in % of entropy" (its mean), and of "random" the same "KL in % of entropy".

    Args:
        positive: The prompt whose activations are added.
        negative: And the one whose are taken away.
        coeff: What the difference is multiplied by.
        texts: The texts.
        folder: Where their files lie, if not here.
        n_random: Random vectors of the vector's norm.

    Raises:
        ValueError: another number of layers than one.
    """

    positive: str = "Anger"
    negative: str = "Calm"
    coeff: float = 10.0
    texts: TextGroup = field(default_factory=lambda: TextGroup(("movies",), n=58))
    folder: str = ""
    n_random: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.layers) != 1:
            raise ValueError(f"layers is {list(self.layers)}: name the one at which the vector is added")


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Reads every text under the vector and the random ones, and returns the finished run folder."""
    texts, model = config.texts.texts(frozenset(), config.seed, config.folder), config.load()
    [site], pair = config.sites(model), ContrastPair(config.positive, config.negative)
    cells = front_cells(model, pair, [site], [config.coeff], texts, config)
    first = cells.n_rows + 1
    with opened(model, config, results, module=__name__, doc=__doc__, elsewhere=elsewhere) as setup:
        keeping: dict[str, Any] = {"kept": setup.folder.kept, "keep": setup.folder.keep}
        table = neutral_table(model, cells.conditions, texts, prompt_tokens=first, **keeping)
        entropy = _entropies(model, texts, first)
        moved = table[(table["metric"] == "neutral_kl") & (table["role"] != "unsteered")]
        moved = moved.assign(
            entropy=moved["prompt"].map(entropy), ratio=100 * moved["value"] / moved["prompt"].map(entropy)
        )
        measured = _measured(moved)
        setup.folder.write_table("moved", moved[["method", "draw", "prompt", "value", "entropy", "ratio"]])
        setup.folder.write_table("measured", measured)
        setup.folder.write_json("norms.json", [float(x) for x in config.coeff * cells.vectors[site].norms])
        setup.folder.write_json("verdict.json", judge(config, measured, _ours(measured)).as_json())
        return setup.folder.finish(report)


@torch.no_grad()
def _entropies(model: HookedModel, texts: list[str], first: int) -> dict[str, float]:
    """The mean entropy in nats of the unsteered next-token distributions behind the vector, by the text's number."""
    found = {}
    for i, text in enumerate(texts):
        ids = model.token_ids(text)
        [logits] = forced_logits(model, [ids[:first]], [ids[first:]])
        nats = to_log_probs(logits)
        found[f"text {i}"] = float(-(nats.exp() * nats).sum(-1).mean())
    return found


def _measured(moved: pd.DataFrame) -> pd.DataFrame:
    """The share of draws that move a text more, and mean ratios: over texts, and of random vectors over the vectors."""
    own = moved[moved["method"] == "actadd"].set_index("prompt")["ratio"]
    drawn = moved[moved["method"] != "actadd"].pivot(index="prompt", columns="draw", values="ratio").loc[own.index]
    above = (drawn.to_numpy() > own.to_numpy()[:, None]).mean(axis=0)
    rows = [_row("actadd", "draws that move it more", above, Kind.BOUNDED, (0.0, 1.0))]
    for who, values in (("actadd", own.to_numpy()), ("random", drawn.mean(axis=0).to_numpy())):
        rows.append(_row(who, "KL in % of entropy", values, Kind.SKEWED, (0.0, np.inf)))
    return pd.DataFrame(rows)


def _row(who: str, metric: str, values: np.ndarray, kind: Kind, bounds: tuple[float, float]) -> dict[str, object]:
    low, high, _ = paired_interval(values[:, None].astype(float), kind, bounds=bounds, rng=np.random.default_rng(0))
    ends = {"low": float(low[0]), "high": float(high[0])}
    return {"who": who, "metric": metric, "scale": "level", "effect": float(np.mean(values)), **ends}


def _ours(measured: pd.DataFrame) -> str:
    return "; ".join(
        f"{row.who}, {row.metric} {row.effect:.2f} [{row.low:.2f}, {row.high:.2f}]" for row in measured.itertuples()
    )


def _published(numbers: Mapping[str, float]) -> tuple[float, float] | None:
    """The paper's means under the vector and under random ones; None where one of them is left out."""
    means = [float(numbers[name]) for who in ("actadd", "random") if (name := f"{who}: KL in % of entropy") in numbers]
    return (means[0], means[1]) if len(means) == 2 else None


def report(folder: str | Path) -> Path:
    """Draws the page of a finished run from its files alone."""
    parts = read_run(folder)
    config, moved = parts["config"], parts["moved"]
    about = described(config["model"], parts.get("model", {}))
    figure = divergence_scatter(
        moved[moved["method"] == "actadd"].rename(columns={"ratio": "x"})[["prompt", "x"]],
        moved[moved["method"] != "actadd"].rename(columns={"ratio": "y"})[["prompt", "draw", "y"]],
        x_label=f"{config['positive']} − {config['negative']}: mean KL in % of mean entropy",
        y_label="random vectors of equal norm",
        published=_published(config["numbers"]),
        title=config["source"],
        subtitle=f"{about}; {moved['prompt'].nunique()} texts, layer {config['layers'][0]}, coefficient"
        f" {config['coeff']:g}; norms of the rows added: {', '.join(f'{norm:.0f}' for norm in parts['norms'])}",
    )
    draws = moved[moved["method"] != "actadd"].groupby("draw")["ratio"].mean()
    spread = (
        f"The vector's interval is over texts, those of the {len(draws)} random vectors over these: one by one they"
        f" move a text by {draws.min():.1f} to {draws.max():.1f} % of its entropy."
    )
    return publish_claim(
        folder, parts, headline=parts["measured"], figures={"divergence": figure}, measured=parts["measured"],
        findings=(spread,),
    )  # fmt: skip
