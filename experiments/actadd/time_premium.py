"""How much longer does a steered model take for a token, and does that grow with the model?

Models of several sizes, with random weights in the layouts of GPT-2 and OPT, write the same number of tokens behind the
same prompts, unsteered and steered at the layer in the middle. All take turns, round after round, and the premium is
the ratio of seconds within a round, less 1, in percent: its median, and its interval over rounds (the sign test's). On
a CPU the seconds are the process's own, which other work beside it hardly moves.
Random weights take as long as trained ones. Unsteered against unsteered shows what the machine itself varies by. What
making the vector takes, once, is said in tokens.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from transformers import AutoModelForCausalLM, GPT2Config, OPTConfig, PretrainedConfig

from steering_lab.analysis.plots import claim_curves
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.evaluation.measuring.speed import interleaved, median_interval
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering import steer
from steering_lab.methods.actadd import actadd_vector
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.models.progress import progress_bar
from steering_lab.models.tokens import Tokens
from steering_lab.runs import read_run
from steering_lab.study.expectations import said
from steering_lab.study.page import described
from steering_lab.study.paper.claim import ClaimSettings, judge
from steering_lab.study.paper.page import publish_claim
from steering_lab.study.setup import opened

from .cells import PadSettings

PREMIUM, AGAIN = "premium", "unsteered again"


class Layout(NamedTuple):
    """The layout of a model with random weights.

    Args:
        family: "gpt2" or "opt".
        width: Of the residual stream, a multiple of 64.
        layers: Blocks.
    """

    family: Literal["gpt2", "opt"]
    width: int
    layers: int

    def config(self, d_vocab: int) -> PretrainedConfig:
        """The layout with so many tokens, heads of 64 as in both families.

        Args:
            d_vocab: Tokens.
        """
        heads = max(1, self.width // 64)
        if self.family == "gpt2":
            return GPT2Config(vocab_size=d_vocab, n_embd=self.width, n_layer=self.layers, n_head=heads)
        return OPTConfig(
            vocab_size=d_vocab, hidden_size=self.width, word_embed_proj_dim=self.width, num_hidden_layers=self.layers,
            num_attention_heads=heads, ffn_dim=4 * self.width,
        )  # fmt: skip


@dataclass(frozen=True)
class Config(ClaimSettings, PadSettings):
    """The models, what is added to them, and what is timed.

    Expectations are of a model by its name here, "GPT-2 width 768: premium at most 5", in percent; "unsteered again,
    GPT-2 width 768" is what the machine varies by.

    Args:
        positive: The prompt whose activations are added.
        negative: And the one whose are taken away; "" is padding alone.
        layouts: Models with random weights by name, which take the tokenizer of `model`.
        models: Further models by whatever `load_model` takes.
        n_prompts: Rows that are decoded together, of random tokens.
        prompt_tokens: Tokens of each.
        max_new_tokens: Tokens that are written behind each.
        rounds: How often all calls are timed in turn.
        curves: Published points by name: where between the fewest and the most of our parameters, and how much more.

    Raises:
        ValueError: too few rounds for an interval, or a width that is no multiple of 64.
    """

    alone: ClassVar[bool] = True

    positive: str = "This is a test prompt."
    negative: str = ""
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    n_prompts: int = 4
    prompt_tokens: int = 32
    max_new_tokens: int = 8
    rounds: int = 9
    curves: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "n_prompts", "prompt_tokens", "max_new_tokens")
        self.at_least(6, "rounds", why="the interval of a median needs 6 rounds or more")
        for name, layout in self.layouts.items():
            if layout.width < 64 or layout.width % 64 or layout.layers < 1:
                raise ValueError(f"{name} is {layout.width} wide with {layout.layers} layers: widths are 64, 128, ...")


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Times every model, and returns the finished run folder."""
    base = config.load()
    with opened(base, config, results, module=__name__, doc=__doc__, elsewhere=elsewhere) as setup:
        blocks = []
        every = [("", base.name), *((name, name) for name in (*config.layouts, *config.models))]
        for key, name in progress_bar(every, what="models timed", leave=True):
            if name not in setup.folder.kept:
                model = base if not key else _model(config, key, base)
                setup.folder.keep({name: _seconds(config, model)})
            blocks.append(pd.DataFrame(setup.folder.kept[name]).assign(model=name, family=_family(config, name)))
        seconds = pd.concat(blocks, ignore_index=True)
        measured = _measured(config, seconds)
        setup.folder.write_table("seconds", seconds)
        setup.folder.write_table("measured", measured)
        setup.folder.write_json("verdict.json", judge(config, measured, _ours(measured)).as_json())
        return setup.folder.finish(report)


def _model(config: Config, name: str, base: HookedModel) -> HookedModel:
    if name not in config.layouts:
        return load_model(name, device=config.device, dtype=config.dtype, prefix=config.prefix, runtime=config.runtime)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        made = AutoModelForCausalLM.from_config(config.layouts[name].config(base.d_vocab)).eval()
    return load_model(made.to(base.device), tokenizer=base.tokenizer, prefix=config.prefix, runtime=config.runtime)


def _family(config: Config, name: str) -> str:
    layout = config.layouts.get(name)
    return {"gpt2": "GPT-2", "opt": "OPT"}[layout.family] if layout else name


def _seconds(config: Config, model: HookedModel) -> list[dict[str, Any]]:
    """A row for every round: the seconds of each call, and how many parameters the model has."""
    ids = np.random.default_rng(config.seed).integers(0, model.d_vocab, (config.n_prompts, config.prompt_tokens))
    prompts = model.pad(ids.tolist())
    pair, site = ContrastPair(config.positive, config.negative), resid_pre(model.n_layers // 2)
    vector = actadd_vector(model, pair, site, pad=config.pad)
    calls = dict(_calls(config, model, prompts, {"unsteered": Intervention(), "steered": vector.at_front()}))
    calls["making the vector"] = lambda: actadd_vector(model, pair, site, pad=config.pad)
    clock = time.process_time if model.device.type == "cpu" else time.perf_counter
    found = pd.DataFrame(interleaved(calls, config.rounds, clock)).assign(parameters=model.n_parameters)
    return [{str(key): float(value) for key, value in row.items()} for row in found.to_dict("records")]


def _calls(
    config: Config, model: HookedModel, prompts: Tokens, edits: Mapping[str, Intervention]
) -> Iterator[tuple[str, Callable[[], object]]]:
    def decoding(edit: Intervention) -> Callable[[], object]:
        def decode() -> object:
            with steer(model, edit):
                return generate(model, prompts, max_new_tokens=config.max_new_tokens, ignore_eos=True)

        return decode

    yield from ((name, decoding(edit)) for name, edit in edits.items())
    yield AGAIN, decoding(edits["unsteered"])


def _measured(config: Config, seconds: pd.DataFrame) -> pd.DataFrame:
    """Premiums in percent of unsteered seconds, and what making the vector takes in tokens of a row."""
    rows = []
    for name, own in seconds.groupby("model", sort=False):
        shared = {"model": name, "family": own["family"].iloc[0], "parameters": own["parameters"].iloc[0]}
        ratio = own[["steered", AGAIN, "making the vector"]].div(own["unsteered"], axis=0)
        found = {
            (name, PREMIUM): 100 * (ratio["steered"] - 1),
            (f"{AGAIN}, {name}", PREMIUM): 100 * (ratio[AGAIN] - 1),
            (name, "tokens that making the vector takes"): ratio["making the vector"] * config.max_new_tokens,
        }
        for (who, metric), values in found.items():
            low, high = median_interval(values)
            ends = {"effect": float(values.median()), "low": low, "high": high}
            rows.append({"who": who, "metric": metric, "scale": "difference", **ends, **shared})
    return pd.DataFrame(rows)


def _ours(measured: pd.DataFrame) -> str:
    rows = measured[(measured["metric"] == PREMIUM) & ~measured["who"].str.startswith(AGAIN)]
    last = rows.sort_values("parameters").groupby("family", sort=False).tail(1).assign(against=None)
    return "; ".join(f"{row.who} ({row.parameters / 1e6:.0f}M) {said(row)} %" for row in last.itertuples())


def report(folder: str | Path) -> Path:
    """Draws the page of a finished run from its files alone."""
    parts = read_run(folder)
    config, measured = parts["config"], parts["measured"]
    about = described(config["model"], parts.get("model", {}))
    premium = measured[measured["metric"] == PREMIUM]
    sizes = np.log(premium["parameters"])
    span = sizes.max() - sizes.min() or 1.0
    placed = premium.assign(x=(sizes - sizes.min()) / span, again=premium["who"].str.startswith(AGAIN))
    again = placed[placed["again"]].set_index("model")
    placed = placed[~placed["again"]]
    band = {f"control_{end}": again[end].reindex(placed["model"]).to_numpy() for end in ("low", "high")}
    lines = {str(family): rows for family, rows in placed.assign(**band).groupby("family", sort=False)}
    longest = max(lines.values(), key=len)
    figure = claim_curves(
        lines,
        config.get("curves", {}),
        x_label="parameters, log scale",
        y_label="seconds of a steered token, % more than unsteered",
        ticks={float(row.x): f"{row.parameters / 1e6:.0f}M" for row in longest.itertuples()},
        title=config["source"],
        subtitle=f"{about}, and random weights in the layouts of two families; {config['n_prompts']} rows of"
        f" {config['prompt_tokens']} tokens, {config['max_new_tokens']} new ones, {config['rounds']} rounds",
        over="rounds",
        chance="unsteered against unsteered",
        published_as="where the axis of the paper's figure ends: its values are in no table",
    )
    table = measured[["who", "parameters", "metric", "effect", "low", "high"]]
    table = table.assign(parameters=[f"{n / 1e6:.0f}M" for n in table["parameters"]])
    return publish_claim(
        folder, parts, headline=table, figures={"premium": figure}, measured=measured,
        tables={"Seconds of every round": parts["seconds"]},
    )  # fmt: skip
