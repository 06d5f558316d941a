"""Found by the model's own states and steered only where it disagrees: what becomes of right, outdated, wrong passages?

Every question is asked of databases that hold one passage about each country: right, outdated or wrong, in turn, so
that over three databases each question meets each kind. A text is embedded by the mean of the model's stream at one
layer; the nearest passage is put before the question. The conflict gate, from the model's own two answers, says whether
the ContextFocus vector is added, which makes the model follow what it was given, right or wrong.

The vector, the layer of the embedding and the mean of questions come from one set of questions, the gate's threshold
from a second, every number on answers from a third; the search is reported on all but the first. Read ahead and cold
queries are timed in turn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from steering_lab.data.conflict_qa import ConflictQA, Regime
from steering_lab.data.passages import KINDS, passage_of, passages_about
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.conflict_gate import ConflictGate, conflict_gate
from steering_lab.models.hook_points import HookSite
from steering_lab.retrieval.passage_index import Found, require_lancedb
from steering_lab.retrieval.prepared_prompts import PreparedPrompts
from steering_lab.retrieval.reader import SteeredReader
from steering_lab.study.choosing import choose_threshold
from steering_lab.study.conflict import answers as tables
from steering_lab.study.conflict.answers import Answering
from steering_lab.study.conflict.asking import Asking
from steering_lab.study.conflict.descent_tables import gate_table
from steering_lab.study.conflict.descents import GATED, gated
from steering_lab.study.conflict.questions import Part, Questions, Rows, unique
from steering_lab.study.conflict.rivals import METHOD
from steering_lab.study.conflict.settings import ComparisonSettings
from steering_lab.study.expectations import check
from steering_lab.study.setup import opened

from .retrieval_page import METRICS, MISSED, WHO, report_retrieval
from .retrieval_search import Searching
from .retrieval_times import query_times

REGIMES: dict[str, Regime] = {"right": "agreement", "outdated": "conflict", "wrong": "conflict", MISSED: "irrelevant"}
Nearest = Mapping[str, Found]  # by question group


@dataclass(frozen=True)
class Config(ComparisonSettings):
    """Settings of the comparison; `layers` names one, at which the vector is added.

    Args:
        layers: The layer.
        coeff: What the vector is multiplied by.
        embed_layers: Among which layers that of the embedding is chosen; none is the middle half of the model.
        n_timed: How many questions are timed.
        n_rounds: In how many rounds the ways to ask take turns being timed.

    Raises:
        ValueError: not one layer, no coefficient, too few rounds for an interval, or an unknown expectation.
    """

    layers: tuple[int, ...] = (2,)
    coeff: float = 0.5
    embed_layers: tuple[int, ...] = ()
    n_timed: int = 4
    n_rounds: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.layers) != 1:
            raise ValueError(f"layers {list(self.layers)}: name one, at which the vector is added")
        if not self.coeff:
            raise ValueError("coeff is 0: the vector would do nothing")
        self.at_least(1, "n_timed")
        self.at_least(6, "n_rounds", why="the interval of a median needs 6 rounds or more")
        self.each_once("embed_layers")
        check(self.expects, WHO, METRICS)

    def databases(self, questions: Questions) -> list[Rows]:
        """The passages of each database, as rows: three of all conflicts, or one of the organism's world."""
        if self.data != "organism":
            return [passages_about(self.rows()[0], turn) for turn in range(len(KINDS))]
        parts = [part for part in (*questions.validation, *questions.test) if part.regime in ("conflict", "agreement")]
        rows = [passage_of(row, "wrong") for row in questions.vector]
        for part in parts:
            kind = "right" if part.regime == "agreement" else "wrong"
            rows += [replace(row, meta={**row.meta, "passage": kind}) for row in part.rows]
        return [tuple({row.group: row for row in reversed(rows)}.values())]


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Runs the comparison, or resumes it, and returns the finished run folder; its page is `index.html`."""
    require_lancedb()
    asking = Asking.of(config.load(), config)
    asking.check_room(config.all_rows(), config.max_new_tokens)
    [site] = config.sites(asking.model, post=True)
    with (
        opened(asking.model, config, results, module=__name__, doc=__doc__, elsewhere=elsewhere) as setup,
        TemporaryDirectory() as scratch,
    ):
        answering = Answering(setup, config.decoding)
        questions = answering.questions(asking, config)
        vector = asking.vectors(questions.vector, [site])[site]
        norms = asking.norms(questions.vector, [site])
        databases = config.databases(questions)
        searching = Searching.of(asking.model, databases, {row.group for row in questions.vector})
        at = searching.choose(config.embed_layers)
        indices = [searching.index(turn, at, Path(scratch) / str(turn)) for turn in range(len(databases))]
        nearest = [searching.nearest(turn, index, at) for turn, index in enumerate(indices)]

        chosen_by = parts_of(_groups(questions.validation), databases, nearest)
        threshold = choose_threshold(
            pd.concat([gate_table(_gate(asking, part.rows, 0.0, config), part) for part in chosen_by])
        )
        parts = parts_of(_groups(questions.test), databases, nearest)
        asked, answers, gates = _answers(answering, asking, vector, norms, parts, threshold, config)

        chosen = {"threshold": threshold, "embedded_at": str(at), "layer": site.layer, "coeff": config.coeff}
        setup.folder.write_json("chosen.json", chosen | {"vector_norm": vector.norm, "median_resid_norm": norms[site]})

        def reader(prompts: PreparedPrompts) -> SteeredReader:
            edit = config.coeff * vector.from_last_prompt_token()
            put = config.worded, config.chat, config.max_new_tokens
            return SteeredReader(asking.model, indices[0], at, edit, threshold, prompts, *put)

        timed = [row.question for row in databases[0] if row.group in _groups(questions.test)][: config.n_timed]
        made = {
            "table": answers, "summary": tables.summaries(answers, config.seed, searched=False),
            "paired": gated_against_always(answers, config.seed), "gates": gates, "hits": searching.hits,
            "generations.jsonl": tables.browsable(asked, parts),
            "times": query_times(reader, timed, config.n_rounds, Path(scratch)),
        }  # fmt: skip
        for name, one in made.items():
            setup.folder.write_table(name, one)
        return setup.folder.finish(report)


def parts_of(groups: set[str], databases: Sequence[Rows], nearest: Sequence[Nearest]) -> list[Part]:
    """The questions of `groups` over what was found for them, by its kind; a passage about another is missed.

    Args:
        groups: Which questions.
        databases: The passages of each database.
        nearest: What each found.
    """
    by_kind: dict[str, list[ConflictQA]] = {kind: [] for kind in REGIMES}
    for rows, found in zip(databases, nearest, strict=True):
        for row in (row for row in rows if row.group in groups):
            passage = found[row.group].passage
            if passage.about == row.group:
                by_kind[row.meta["passage"]].append(row)
            else:  # it may name this question's answer by chance, so that `over` would refuse it
                by_kind[MISSED].append(replace(row.closed_book(), context=passage.text, regime="irrelevant"))
    return [Part(REGIMES[kind], unique(tuple(rows)), kind) for kind, rows in by_kind.items() if rows]


def _groups(parts: Sequence[Part]) -> set[str]:
    return {row.group for part in parts for row in part.rows}


def _gate(asking: Asking, rows: Rows, threshold: float, config: Config) -> ConflictGate:
    return conflict_gate(
        asking.model, asking.plain(rows), asking.texts("closed_book", rows), threshold,
        contexts=[row.context for row in rows], answer_tokens=config.max_new_tokens,
    )  # fmt: skip


def _answers(
    answering: Answering, asking: Asking, vector: SteeringVector, norms: Mapping[HookSite, float],
    parts: Sequence[Part], threshold: float, config: Config,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Every condition on every part: the answers, their tidy table, and what the gate said."""
    asked, found, gates = list[pd.DataFrame](), list[pd.DataFrame](), list[pd.DataFrame]()
    always = asking.grid({vector.site: vector}, [config.coeff], norms, method=METHOD, n_random=config.n_random)
    for part in parts:
        gate = _gate(asking, part.rows, threshold, config)
        gates.append(gate_table(gate, part))
        behind = [_behind(one, gate, part.rows) for one in always]
        answers = answering.generations([(asking.model, [asking.unsteered(), *always, *behind])], part)
        asked.append(answers)
        found.append(answering.measured(answers, part))
    return tuple(pd.concat(each, ignore_index=True) for each in (asked, found, gates))  # type: ignore[return-value]


def _behind(one: Condition, gate: ConflictGate, rows: Rows) -> Condition:
    """The condition behind the gate; a random vector is then a control of the vector behind it."""
    behind = gated(one, gate, rows)
    return replace(behind, method=one.method, control_of=METHOD + GATED) if one.control_of else behind


def gated_against_always(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The summary of the gated vector against the one that is always added, paired by question.

    Args:
        table: The tidy table of answers.
        seed: What resamples follow from.
    """
    rows = table[table["method"].isin([METHOD, METHOD + GATED]) & (table["role"] == "steered")]
    rows = rows.assign(role=rows["role"].where(rows["method"] != METHOD, "unsteered"))
    found = tables.summaries(rows, seed, searched=False)
    return found[found["role"] != "unsteered"].assign(against=METHOD)


report = report_retrieval
