"""At which layers does the last prompt token hold an instruction to follow the passage, and at which its answer?

Each conflict is read twice, plainly and with the instruction. What the instruction changed in the stream at the last
prompt token of one layer is added to the plain prompt there: the question's own difference ("own"), that of another
country's question ("another"), the mean over other conflicts ("mean", the instruction's part of a ContextFocus vector),
and random vectors as long as its own. Measured is the log-odds of the passage's answer over memory's at the first token
of the answer, and, with nothing added, what the logit lens reads of them at that layer.

Where another's does as much as a question's own, what is held there is the instruction; where its own alone does, the
answer. Only where the first is so could one vector do it for all.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path

import pandas as pd
import torch

from steering_lab.analysis.intervals import mean_over_prompts
from steering_lab.analysis.plots import Figure, layer_curves, projection_curves
from steering_lab.analysis.plots.parts.labels import signed
from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.templates import PromptStyle
from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.evaluation.measuring.first_step import first_steps, first_tokens
from steering_lab.evaluation.measuring.next_token import next_token_log_probs
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.source import Source
from steering_lab.interventions.steering_vector import SteeringVector, random_like
from steering_lab.models.hook_points import HookSite
from steering_lab.models.reading import read_stream
from steering_lab.numerics.intervals import paired_interval
from steering_lab.numerics.kinds import Kind
from steering_lab.numerics.log_probs import any_of, to_log_probs
from steering_lab.runs import read_run
from steering_lab.study.conflict.answers import Answering
from steering_lab.study.conflict.asking import Asking
from steering_lab.study.conflict.settings import ComparisonSettings
from steering_lab.study.expectations import check, expected_answers, said
from steering_lab.study.page import Parts, described, publish
from steering_lab.study.paper.pooling import pooled
from steering_lab.study.setup import opened

PATCHES = ("own", "another", "mean")
INSTRUCTED, LOG_ODDS = "instructed", "log_odds"
STYLES: dict[str, PromptStyle] = {"plain prompt": "with_context", "with the instruction": "instructed"}
Streams = Mapping[HookSite, torch.Tensor]
Read = Mapping[PromptStyle, Streams]
LABEL = "log-odds of the passage's answer, nats"


@dataclass(frozen=True)
class Config(ComparisonSettings):
    """Which conflicts, at which layers.

    Expectations are of "instructed", and of "own", "another" or "mean" with a band's name: "own middle: log odds
    rises".

    Args:
        bands: First and last layer by name: what these layers do on average.

    Raises:
        ValueError: an expectation of something else.
    """

    bands: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.expects, {INSTRUCTED, *(f"{patch} {band}" for patch in PATCHES for band in self.bands)}, [LOG_ODDS])


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Patches every layer, and returns the finished run folder."""
    asking = Asking.of(config.load(), config)
    with opened(asking.model, config, results, module=__name__, doc=__doc__, elsewhere=elsewhere) as setup:
        questions = Answering(setup, config.decoding).questions(asking, config)
        rows, sites = questions.test[0].rows, config.sites(asking.model, post=True)
        read = {style: read_stream(asking.model, asking.texts(style, rows), sites) for style in STYLES.values()}
        others = {s: read_stream(asking.model, asking.texts(s, questions.vector), sites) for s in STYLES.values()}
        own, mean = _differences(read), {site: each.mean(dim=0) for site, each in _differences(others).items()}
        conditions = [asking.unsteered(), Condition(INSTRUCTED, write=asking.written("instructed"), role="baseline")]
        for site in sites:
            conditions += _patched(asking, rows, site, own[site], mean[site], config.n_random)
        reference = next_token_log_probs(asking.model, conditions[0], rows)
        table = first_steps(asking.model, conditions, rows, reference)
        table = table[table["metric"] == LOG_ODDS]
        summary = summarise(pooled(table, config.bands), seed=config.seed)
        setup.folder.write_table("table", table)
        setup.folder.write_table("lens", _lens(asking, rows, read))
        setup.folder.write_table("summary", summary)
        return setup.folder.finish(report)


def _differences(read: Read) -> Streams:
    """What the instruction changes at the last token of each prompt, by site."""
    plain, told = (read[style] for style in STYLES.values())
    return {site: (told[site] - plain[site]).float() for site in plain}


def _patched(
    asking: Asking, rows: Sequence[ConflictQA], site: HookSite, own: torch.Tensor, mean: torch.Tensor, n_random: int
) -> list[Condition]:
    """The patches of one layer, and random vectors as long as each question's own."""
    source, n = Source.of(asking.model, "instruction patching"), len(rows)
    vectors = [SteeringVector(row[None], site, source) for row in own]
    others = [next(j for j in _after(i, n) if rows[j].group != rows[i].group) for i in range(n)]
    shared = [SteeringVector(mean[None], site, source)] * n
    patches = {"own": vectors, "another": [vectors[j] for j in others], "mean": shared}
    write = asking.written("with_context")

    def each(made: Sequence[SteeringVector]) -> dict[str, Intervention]:
        return {row.id: vector.from_last_prompt_token() for row, vector in zip(rows, made, strict=True)}

    patched = [Condition(f"{name} {site}", each(made), write, method=name) for name, made in patches.items()]
    for of, made in (("own", vectors), ("mean", shared)):
        for draw in range(n_random):
            seeds = (draw if of == "mean" else draw * n + i for i in range(n))  # the mean is one vector, and so is this
            drawn = each([random_like(vector, seed) for vector, seed in zip(made, seeds, strict=True)])
            name = f"random {draw} for {of} {site}"
            patched.append(Condition(name, drawn, write, method="random", control_of=of, draw=draw))
    return patched


def _after(i: int, n: int) -> Iterator[int]:
    return ((i + step) % n for step in range(1, n))


def _lens(asking: Asking, rows: Sequence[ConflictQA], read: Read) -> pd.DataFrame:
    """What the logit lens reads of the log-odds at the last prompt token, plainly and with the instruction."""
    blocks = []
    for told, style in STYLES.items():
        prompts = asking.texts(style, rows)
        begins = [first_tokens(asking.model, prompt, row) for prompt, row in zip(prompts, rows, strict=True)]
        for site, stream in read[style].items():
            seen = zip(to_log_probs(asking.model.unembed(stream)), begins, strict=True)
            odds = [float(any_of(given, begin.context) - any_of(given, begin.memory)) for given, begin in seen]
            at = {"layer": site.layer, "stream": site.stream, "told": told}
            blocks.append(pd.DataFrame({"prompt": [row.id for row in rows], LOG_ODDS: odds}).assign(**at))
    return pd.concat(blocks, ignore_index=True)


def measured(summary: pd.DataFrame) -> pd.DataFrame:
    """What expectations are answered by: the instruction's effect, and each patch's over every band.

    Args:
        summary: A run's, one row per cell.
    """
    own = summary[(summary["metric"] == LOG_ODDS) & ~summary["role"].isin(["control", "unsteered"])]
    banded = own[own["layer"].isna()].assign(against=None)
    who = [row.method if row.method == INSTRUCTED else f"{row.method} {row.place}" for row in banded.itertuples()]
    return banded.assign(who=who)


def report(folder: str | Path) -> Path:
    """Draws the page of a finished run from its files alone."""
    parts = read_run(folder)
    found = measured(parts["summary"])
    told = found.set_index("who")
    n = int(told.loc[INSTRUCTED, "n_prompts"])
    by_band = found[found["who"] != INSTRUCTED]
    each = "; ".join(f"{row.who} {said(row, band=not isnan(row.control_low))}" for row in by_band.itertuples())
    first = (
        f"On {n} conflicts the instruction moves the log-odds of the passage's answer by {said(told.loc[INSTRUCTED])}"
        f" nats; its difference at the last prompt token, added to the plain prompt: {each}."
    )
    shown = ["who", "effect", "low", "high", "control_low", "control_high", "p_random", "n_prompts"]
    about = described(parts["config"]["model"], parts["model"])
    return publish(
        folder, parts, title=f"Where an instruction is held, and where an answer. {about}",
        findings=[first, _read_there(parts["lens"])], headline=found[shown].round(2), figures=figures(parts),
        answers=expected_answers(parts["config"], found),
        tables={"Every layer": parts["summary"].round(3)},
        headline_note="Log-odds in nats, the passage's answer over memory's, at the first token; against the plain"
        " prompt. own: the question's own difference; another: that of another country's question, with no random"
        " vectors beside it; mean: that of other conflicts on average."
        f" {'; '.join(f'{band}: layers {low} to {high}' for band, (low, high) in parts['config']['bands'].items())}."
        f" Intervals are over questions, the band is one more random vector as long, by {parts['config']['n_random']}"
        " draws.",
    )  # fmt: skip


def _read_there(lens: pd.DataFrame) -> str:
    """How much more of the passage's answer the lens reads with the instruction than plainly, layer by layer."""
    wide = lens.pivot(index="prompt", columns=["told", "layer"], values=LOG_ODDS).dropna()
    plain, instructed = (wide[told] for told in STYLES)
    apart = instructed - plain
    low, high, _ = paired_interval(apart.to_numpy(), Kind.SYMMETRIC)
    each = zip(apart.columns, apart.mean(), low, high, strict=True)
    said_of = [f"layer {layer} {signed(mean)} [{signed(a)}, {signed(b)}]" for layer, mean, a, b in each]
    return (
        f"What the logit lens reads of these log-odds at the last prompt token, with the instruction less plainly, of"
        f" {len(wide)} conflicts, each layer asked alone: {'; '.join(said_of)}."
    )


def figures(parts: Parts) -> dict[str, Figure]:
    """What each patch does along the layers, and what the lens reads there.

    Args:
        parts: What `read_run` gives of the run.
    """
    about = described(parts["config"]["model"], parts["model"])
    layers = parts["summary"][parts["summary"]["layer"].notna()]
    read = {
        str(told): mean_over_prompts(rows, LOG_ODDS, by=("layer", "stream"))
        for told, rows in parts["lens"].groupby("told", sort=False)
    }
    return {
        "patches": layer_curves(
            layers,
            metric=LOG_ODDS,
            method=list(PATCHES),
            metric_label=LABEL,
            title="What the instruction changed at the last prompt token, added to the plain prompt",
            subtitle=about,
        ),
        "lens": projection_curves(
            read, reference="plain prompt", y_title=LABEL, title="What the logit lens reads there", subtitle=about
        ),
    }
