"""Does a vector of love less hate make continuations of nasty prompts milder, and at what cost?

Prompts are those of a file in the form of RealToxicityPrompts, or sentences that people rated as bad. What is counted
of each continuation is a mild lexicon's: whether one of a few rude words stands in it. That is no toxicity: it misses
whatever is said without these words. A classifier (`classifier:FOLDER:toxic`) or a language model that judges
(`judge:FILE.toml`) may measure beside it. Perplexity under the unsteered model and the share of broken texts say what
it costs; an instruction in front and random vectors of equal norm stand beside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steering_lab.analysis.plots import condition_bars
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.data.toxicity_prompts import read_toxicity_prompts
from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.evaluation.measuring.measures import (
    Degenerate,
    Measure,
    Perplexity,
    measure_table,
    topic_any,
)
from steering_lab.evaluation.measuring.named_measures import named_measures, topic_words
from steering_lab.evaluation.running.condition import prompting
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.runs import read_run
from steering_lab.study.expectations import said
from steering_lab.study.measures import judges_said, keep_judges
from steering_lab.study.page import described
from steering_lab.study.paper.claim import ClaimSettings, judge
from steering_lab.study.paper.page import COLUMNS, PAIRED_COLUMNS, publish_claim, with_published
from steering_lab.study.paper.paired import paired_differences
from steering_lab.study.paper.texts import TextGroup
from steering_lab.study.settings import LayerSettings, SamplingSettings
from steering_lab.study.setup import opened

from .cells import CellSettings, front_cells

RUDE = "rude word"


@dataclass(frozen=True)
class Config(ClaimSettings, CellSettings, LayerSettings, SamplingSettings):
    """The pair, the prompts, and the words that are counted.

    Expectations are of "actadd" and of "prompting": "actadd: rude word falls beyond random vectors". Metrics are "rude
    word", "perplexity", "degenerate", and `measures` by their names.

    Args:
        positive: The prompt whose activations are added.
        negative: And the one whose are taken away.
        coeff: What the difference is multiplied by.
        data: A file of JSON lines in the form of RealToxicityPrompts; left out, `openings`.
        toxicity: From, and up to, which toxicity a prompt of that file is taken; left out, all.
        openings: Texts to continue without such a file.
        folder: Where their files lie, if not here.
        n: Prompts of the file, drawn at random.
        rude: The words of the lexicon: a topic's name, a file, or words with commas between.
        instruction: What prompting writes in front of a prompt.
        measures: What is measured besides, by name, such as "classifier:FOLDER:toxic" or "judge:toxicity.toml".

    Raises:
        ValueError: not one layer, neither a file nor openings, or words that no text can match.
    """

    positive: str = "Love"
    negative: str = "Hate"
    coeff: float = 3.0
    data: str = ""
    toxicity: tuple[float, ...] = ()
    openings: TextGroup | None = None
    folder: str = ""
    n: int = 64
    rude: str = ""
    instruction: str = "The following text is kind and polite. "
    measures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "n")
        topic_words(self.rude)
        if len(self.layers) != 1:
            raise ValueError(f"layers is {list(self.layers)}: a vector is added at one layer, as [4]")
        if not self.data and self.openings is None:
            raise ValueError("data is left out, and openings too: name a file of prompts, or texts to continue")

    def prompts(self) -> list[str]:
        """The prompts: those of the file, or else the openings."""
        if self.data:
            found = [one.text for one in read_toxicity_prompts(self.data, self.toxicity)]
            return [found[i] for i in np.random.default_rng(self.seed).permutation(len(found))[: self.n]]
        assert self.openings is not None
        return self.openings.texts(topic_words(self.rude), self.seed, self.folder)

    @property
    def measuring(self) -> list[Measure]:
        """The lexicon, what the text costs, and what is measured besides."""
        rude = topic_any(topic_words(self.rude), RUDE)
        return [rude, Perplexity(), Degenerate(), *named_measures(self.measures, lexicon=self.language.lexicon)]


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Continues the prompts under every condition, and returns the finished run folder."""
    measures, prompts, model = config.measuring, config.prompts(), config.load()
    pair = ContrastPair(config.positive, config.negative)
    cells = front_cells(model, pair, config.sites(model), [config.coeff], prompts, config)
    conditions = [*cells.conditions, prompting(config.instruction)]
    with opened(model, config, results, module=__name__, doc=__doc__, elsewhere=elsewhere) as setup:
        texts = setup.generations(conditions, prompts, config.decoding)
        measured = _measured(config, measure_table(texts, measures))
        keep_judges(setup.folder, measures)
        setup.folder.write_table("generations.jsonl", texts)
        setup.folder.write_table("measured", measured)
        setup.folder.write_json("verdict.json", judge(config, measured, _ours(measured)).as_json())
        return setup.folder.finish(report)


def _measured(config: Config, table: pd.DataFrame) -> pd.DataFrame:
    """Every condition against unsteered text, and the comparisons that are expected."""

    def summed(rows: pd.DataFrame) -> pd.DataFrame:
        return summarise(rows, searched=False, seed=config.seed)

    def who(rows: pd.DataFrame) -> Sequence[str]:
        return [{"steered": "actadd", "baseline": "prompting"}.get(role, role) for role in rows["role"]]

    own = summed(table)
    own = own[own["role"] != "control"]
    shown = table[table["role"] != "control"]
    paired = paired_differences(shown, pd.Series(who(shown), shown.index), config.expects, summed)
    return pd.concat([own.assign(who=who(own), against=None), paired], ignore_index=True)


def _ours(measured: pd.DataFrame) -> str:
    rows = measured[measured["against"].isna() & (measured["who"] != "unsteered")]
    told = [f"{row.who} {row.value:.0%}, {said(row, band=True)}" for row in rows[rows["metric"] == RUDE].itertuples()]
    cost = [f"perplexity {said(row, band=True)}" for row in rows[rows["metric"] == "perplexity"].itertuples()]
    both = "; ".join(f"{one}, {dear}" for one, dear in zip(told, cost, strict=True))
    return f"with a word of the mild lexicon: {both}, against unsteered"


def report(folder: str | Path) -> Path:
    """Draws the page of a finished run from its files alone."""
    parts = read_run(folder)
    config, measured = parts["config"], parts["measured"]
    about = described(config["model"], parts.get("model", {}))
    own = measured[measured["against"].isna()]
    names = {"unsteered": "unsteered", "prompting": "an instruction in front", "actadd": "ActAdd"}
    shared: dict[str, Any] = {
        "conditions": names,
        "focus": ["actadd"],
        "title": config["source"],
        "subtitle": f"{about}; {config['positive']} − {config['negative']} at layer {config['layers'][0]}, coefficient"
        f" {config['coeff']:g}",
    }
    drawn = with_published(own.assign(condition=own["who"]), config)
    rude = condition_bars(
        drawn, metric=RUDE, percent=True, metric_label="continuations with a word of the mild lexicon", **shared
    )
    cost = condition_bars(
        drawn, metric="perplexity", metric_label="perplexity under the unsteered model",
        published_as="published disfluency, as many times our unsteered as the paper's", **shared,
    )  # fmt: skip
    paired = measured[measured["against"].notna()][PAIRED_COLUMNS]
    words = sorted(topic_words(config["rude"]))
    lexicon = f"The mild lexicon, which is no measure of toxicity: {', '.join(words)}."
    return publish_claim(
        folder,
        parts,
        headline=own[COLUMNS],
        figures={"rude": rude, "perplexity": cost},
        measured=measured,
        findings=(lexicon, *judges_said(parts.get("judges", ()))),
        tables={"Paired differences": paired} if len(paired) else {},
        generations=parts.get("generations"),
    )
