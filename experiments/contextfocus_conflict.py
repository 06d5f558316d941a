"""Does the ContextFocus direction make a model follow its context where memory disagrees, and against which rivals?

Expected, written before the run: on held-out conflicts without an instruction, ContextFocus (Anand et al. 2026,
arXiv:2601.04131) raises context answers by 25 points or more at a normal norm, norm-matched random vectors move them by
5 or less, the reversed vector moves toward memory, and agreement and closed-book answers lose 3 points or less.
Prompting with the instruction is the ceiling; CAD and COIECD also raise context answers, at two passes a token.

Vectors come from one set of questions, layer and coefficient from a second by rule, every number reported from a third.
What the model knows without a context is written down before anything is steered.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from steering_lab.analysis.plots import save_figures
from steering_lab.analysis.report import write_page
from steering_lab.data.capitals import closed_books
from steering_lab.data.conflict_readers import BlankAliases
from steering_lab.data.country_facts import MIN_POPULATION, Relation
from steering_lab.evaluation.evaluate import Decoding
from steering_lab.evaluation.fluency import HELD_OUT_PERPLEXITY
from steering_lab.evaluation.groups import Elsewhere
from steering_lab.evaluation.selection import Selected, over_budget, select
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.generation import GREEDY
from steering_lab.models.hook_points import HookSite, resid_post
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.models.loading.adapter import is_adapter
from steering_lab.models.prefix import Prefix
from steering_lab.organism.wording import WORDINGS
from steering_lab.runs import RunFolder, read_run
from steering_lab.study.conflict_questions import (
    Counts,
    DataFormat,
    Questions,
    Rows,
    country_rows,
    file_rows,
    split_questions,
    world_questions,
)
from steering_lab.study.finding import question_of
from steering_lab.tables import TIDY

from . import conflict_page as page
from . import conflict_search_page as search_page
from .conflict_arms import RIVALS, Asking, Rival
from .conflict_tables import (
    AGREEMENT_LOST,
    Answering,
    Arms,
    browsable,
    costs,
    fluency,
    odd_parts,
    paired,
    scores,
    summaries,
)

TIMED_ROWS = 8


@dataclass(frozen=True)
class Config:
    """Settings; empty `layers` means all. `finetuned` is a checkpoint, or a PEFT adapter of `model`, to compare with.

    `known_only` asks every question closed book first and leaves out what the model does not know; unset, it does so
    for `data="capitals"` alone. `answer_prefix` begins every answer (`ConflictQA.begun`).

    Raises:
        ValueError: coefficients without 0 or twice the same, an unknown wording, a count below what the statistics
            need, settings of the capitals for other data, or known_only for the organism's world.
    """

    model: str = "organism"
    prefix: Prefix = "tokenizer"
    finetuned: str = ""
    data: str = "organism"
    data_format: DataFormat = "jsonl"
    blank_aliases: BlankAliases = "refuse"
    relations: tuple[Relation, ...] = ("capital",)
    min_population: int = MIN_POPULATION
    known_only: bool | None = None
    wording: str = "organism"
    chat: bool = False
    answer_prefix: str = ""
    layers: tuple[int, ...] = ()
    coeffs: tuple[float, ...] = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 4.0)
    n_vector: int = 200
    n_validation: int = 100
    n_test: int = 100
    max_new_tokens: int = 6
    n_random: int = 10
    n_rounds: int = 9
    agreement_budget: float = 0.03
    perplexity_budget: float = 1.25
    sure: bool = True
    compare: tuple[Rival, ...] = RIVALS
    cad_alpha: float = 1.0
    batch_size: int = 256
    device: str = "auto"
    dtype: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if 0 not in self.coeffs or not any(self.coeffs) or len(set(self.coeffs)) < len(self.coeffs):
            raise ValueError(f"coeffs {list(self.coeffs)} must hold 0, the unsteered model, and others, each once")
        if self.wording not in WORDINGS:
            raise ValueError(f"wording {self.wording!r} is unknown: choose one of {', '.join(WORDINGS)}")
        if min(self.n_vector, self.n_validation, self.n_test) < 8 or self.n_random < 3:
            raise ValueError("n_vector, n_validation and n_test must be 8 or more, n_random 3 or more")
        if self.n_rounds < 1:
            raise ValueError(f"n_rounds is {self.n_rounds}: conditions are timed in 1 round or more")
        if self.data != "capitals" and (self.relations, self.min_population) != (("capital",), MIN_POPULATION):
            raise ValueError(f'relations and min_population are settings of data = "capitals", not of {self.data!r}')
        if self.data == "organism" and self.known_only:
            raise ValueError('known_only is for data = "capitals" or a file: the organism was trained on its world')
        if not self.relations or len(set(self.relations)) < len(self.relations):
            raise ValueError(f"relations are {list(self.relations)}: name one or more, each once")

    @property
    def asks_first(self) -> bool:
        """Whether only what the model knows closed book is used."""
        return self.data == "capitals" if self.known_only is None else self.known_only


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Runs the comparison, or resumes it, and returns the finished run folder; its page is `index.html`.

    Where no cell is within the budgets, or the best may as well raise nothing, the run ends after the search, and its
    page shows the search.
    """
    rows, questions = _questions(config)
    model = load_model(config.model, device=config.device, dtype=config.dtype, prefix=config.prefix)
    asking, rivals = _asking(model, config), _finetuned(config)
    sites = [resid_post(layer) for layer in config.layers or range(model.n_layers)]
    _check(asking, rivals, [rows, *questions.parts], sites, config)

    with RunFolder.open(results, "contextfocus_conflict", model.name, asdict(config), elsewhere=elsewhere) as folder:
        decoding = Decoding(config.max_new_tokens, 1, GREEDY, config.seed, stop=("\n",), log_probs=False)
        keeping = {"batch_size": config.batch_size, **folder.keeping}
        answering = Answering(decoding, keeping)
        folder.write_json("model.json", model.facts())
        if config.asks_first:  # before anything is steered: no condition chooses its own questions
            ids = answering.known_rows(asking, rows)
            folder.write_json("known.json", {"asked": len(closed_books(rows)), "known": list(ids)})
            _, questions = _questions(config, ids)
            known: dict[str, list[str]] = {part: [] for part in questions.conflicts}  # all of them are
        else:
            known = answering.known(asking, questions.conflicts)
            folder.write_json("known.json", known)
        folder.write_json("splits.json", questions.described())

        vectors = asking.vectors(questions.vector, sites)
        norms = asking.norms(questions.validation["conflict"], sites)
        chosen = _search(folder, answering, asking, vectors, norms, questions, config)
        if chosen is not None:
            vector = vectors[resid_post(int(chosen.layer))]
            vector.save(folder.path / "contextfocus.safetensors")
            facts = {"vector_norm": vector.norm, "median_resid_norm": norms[vector.site], "budgets": chosen.budgets}
            folder.write_json("chosen.json", {"layer": int(chosen.layer), "coeff": chosen.coeff, **facts})
            own = asking.arms(
                questions.vector,
                vector,
                chosen.coeff,
                norms,
                compare=config.compare,
                cad_alpha=config.cad_alpha,
                n_random=config.n_random,
            )
            arms: Arms = [(model, own), *((rival.model, [rival.finetuned()]) for rival in rivals)]
            _compare(folder, answering, arms, questions, known, config)
        return folder.finish(report)


def _search(
    folder: RunFolder, answering: Answering, asking: Asking, vectors: Mapping[HookSite, SteeringVector],
    norms: Mapping[HookSite, float], questions: Questions, config: Config,
) -> Selected | None:  # fmt: skip
    """The cell chosen on the validation questions; None, with the reason and the answers in the folder, if none is."""
    grid: Arms = [(asking.model, [asking.unsteered(), *asking.grid(vectors, config.coeffs, norms)])]
    tried = [answering.table(grid, rows, part) for part, rows in questions.validation.items()]
    validation = summaries(pd.concat([*(judged for _, judged in tried), fluency(grid, questions.texts)]), config.seed)
    budgets = _budgets(config, validation)
    folder.write_table("validation", validation.assign(over_budget=over_budget(validation, budgets, "estimate")))
    try:
        return _choose(validation, budgets, config.sure)
    except ValueError as reason:
        folder.write_json("chosen.json", {"nothing_chosen": str(reason), "budgets": budgets})
        by_id = {row.id: row for rows in questions.validation.values() for row in rows}
        answers = pd.concat([answers for answers, _ in tried], ignore_index=True)
        folder.write_table("generations_validation.jsonl", browsable(answers, by_id))
        return None


def _compare(
    folder: RunFolder, answering: Answering, arms: Arms, questions: Questions, known: Mapping[str, Sequence[str]],
    config: Config,
) -> None:  # fmt: skip
    """Every condition on the test questions, into the folder's tables."""
    tested = [answering.table(arms, rows, part) for part, rows in questions.test.items()]
    generations = pd.concat([answers for answers, _ in tested], ignore_index=True)
    table = pd.concat([*(judged for _, judged in tested), fluency(arms, questions.texts)], ignore_index=True)
    summary = summaries(table, config.seed)
    timed = next(iter(questions.conflicts.values()))[:TIMED_ROWS]
    folder.write_table("table", table)
    folder.write_table("summary", summary)
    folder.write_table("scores", scores(generations))
    folder.write_table("paired", paired(table, known))
    if "reversed" in config.compare:
        folder.write_table("odd", odd_parts(table, config.seed))
    folder.write_table("costs", costs(arms, timed, summary, page.named, config.max_new_tokens, config.n_rounds))
    by_id = {row.id: row for rows in questions.test.values() for row in rows}
    folder.write_table("generations_test.jsonl", browsable(generations, by_id))


def report(folder: str | Path) -> Path:
    """Draws a finished run's figures and page from its files alone, prints what it found, and returns the page."""
    folder = Path(folder)
    parts = read_run(folder, TIDY)
    if "nothing_chosen" in parts["chosen"]:
        return search_page.write(folder, parts, question_of(__doc__))
    drawn = page.figures(parts)
    note = save_figures(drawn, folder / "figures").note
    table, found, chosen = page.headline(parts), page.finding(parts), parts["chosen"]
    print(table.to_string(index=False, float_format=lambda x: f"{x:.2f}", na_rep="-"))
    print("\n".join(["", found, *([note] if note else [])]))
    return write_page(
        folder / "index.html",
        title=f"Context against memory on {parts['model']['name']}",
        question=question_of(__doc__),
        finding=found,
        headline=table,
        headline_note=(
            "Share of greedy answers that state the context's answer and not the memory's (conflicts), or the right"
            " answer (elsewhere), by the strict scorer, on questions used neither for the vector nor for choosing."
            " Log-odds shift: context against memory at the first token, first kind of conflict, in nats. Random: mean"
            f" over {parts['config']['n_random']} vectors of the chosen vector's norm."
        ),
        figures=drawn,
        captions=page.captions(parts, drawn),
        tables=page.tables(parts),
        generations=parts["generations_test"].assign(condition=page.named),
        filters=("regime", "condition", "verdict", "right", "prompt"),
        start={"regime": next(iter(parts["splits"]["test"])), "condition": page.focus(parts)},
        config=parts["config"] | {"chosen": chosen},
        provenance=parts["provenance"] | {"model": parts["model"]},
        links={file.name: file.name for file in sorted(folder.glob("*.parquet"))},
    )


def _questions(config: Config, known: Collection[str] | None = None) -> tuple[Rows, Questions]:
    """All conflicts that questions are taken from (none where they are made to order), and the questions."""
    counts = Counts(config.n_vector, config.n_validation, config.n_test)
    if config.data == "organism":
        return (), world_questions(counts)
    left_out = 0
    if config.data == "capitals":
        rows = country_rows(config.relations, config.min_population, config.seed)
    else:
        rows, left_out = file_rows(config.data, config.data_format, config.blank_aliases)
    return rows, split_questions(rows, counts, config.seed, left_out=left_out, known=known)


def _asking(model: HookedModel, config: Config) -> Asking:
    return Asking(model, WORDINGS[config.wording], config.chat, config.seed, config.answer_prefix)


def _finetuned(config: Config) -> list[Asking]:
    """The checkpoint to compare with, asked as the model is; none is none."""
    if not config.finetuned:
        return []
    name, adapter = (config.model, config.finetuned) if is_adapter(config.finetuned) else (config.finetuned, None)
    model = load_model(name, device=config.device, dtype=config.dtype, prefix=config.prefix, adapter=adapter)
    return [_asking(model, config)]


def _check(
    asking: Asking, rivals: Sequence[Asking], parts: Sequence[Rows], sites: Sequence[HookSite], config: Config
) -> None:
    """Nothing when every layer is there and every question fits; no model has run then."""
    for site in sites:
        asking.model.check_site(site)
    for asked in (asking, *rivals):
        for rows in parts:
            asked.check_room(rows, config.max_new_tokens)


def _budgets(config: Config, validation: pd.DataFrame) -> dict[str, float]:
    """What steering may cost; without the original contexts nobody knows what it does to agreement."""
    budgets = {AGREEMENT_LOST: config.agreement_budget, HELD_OUT_PERPLEXITY: config.perplexity_budget}
    return {cost: budget for cost, budget in budgets.items() if cost in set(validation["metric"])}


def _choose(validation: pd.DataFrame, budgets: dict[str, float], sure: bool) -> Selected:
    """The cell with the most context answers among those within the budgets, by the estimates, as the paper's rule is.

    Raises:
        ValueError: none is within the budgets, or, where it has to be `sure`, the best of those may raise nothing.
    """
    chosen = select(validation, effect="context", budgets=budgets, judged_by="estimate")
    if sure and not chosen.effect["low"] > 0:
        raise ValueError(
            f"no cell within the budgets surely raises context answers: the best, {chosen}, moves them by"
            f" {chosen.effect['effect']:+.2f} [{chosen.effect['low']:+.2f}, {chosen.effect['high']:+.2f}]"
        )
    return chosen
