"""At equal KL, does a delta found by gradient make the model follow its context more than the mean difference does?

Expected, written before the run: per query, imitating the instructed prompt or context-aware decoding reaches its
target's share of context answers within four iterations and half a residual norm, and below one nat gives more context
answers than the mean-difference vector of ContextFocus (Anand et al. 2026, arXiv:2601.04131), which serves every query
for nothing; a shared vector learnt from labels lies between. Random vectors of equal KL give almost none. Raising the
likelihood of the context's own tokens, the objective that is first thought of, does not move the answer. Without the
conflict gate the contrast with the closed book breaks answers over irrelevant contexts, with it most of them survive.

Vectors are made from one set of questions; layer, iterations, doses and the gate's threshold are chosen on a second;
every number reported is from a third, where each condition runs once.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from steering_lab.analysis.plots import save_figures
from steering_lab.analysis.report import write_page
from steering_lab.data.conflict_qa import Regime, irrelevant_twins
from steering_lab.data.conflict_readers import BlankAliases
from steering_lab.data.templates import PromptStyle
from steering_lab.evaluation.inferring.equal_cost import at_equal_cost, cost_curves
from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.evaluation.measuring.answer_measures import AnswerMeasure, RightAnswer, with_answers
from steering_lab.evaluation.measuring.measures import measure_table
from steering_lab.evaluation.measuring.next_token import next_token_kl
from steering_lab.evaluation.measuring.speed import decoding_costs
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.evaluate import Decoding, run_conditions
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.conflict_gate import LN2, ConflictGate
from steering_lab.methods.contextfocus import contextfocus_vectors
from steering_lab.methods.delta.result import Result
from steering_lab.models.generation import GREEDY
from steering_lab.models.hook_points import HookSite, resid_post
from steering_lab.models.loading import load_model
from steering_lab.models.prefix import Prefix
from steering_lab.models.progress import progress_bar
from steering_lab.organism.wording import WORDINGS
from steering_lab.organism.world_rows import world_rows
from steering_lab.runs import RunFolder, read_run
from steering_lab.study.conflict_questions import KINDS, Counts, DataFormat, Questions, file_questions, unique
from steering_lab.study.finding import question_of
from steering_lab.tables import TIDY, strength

from . import gradient_page as page
from .gradient_arms import (
    DELTAS,
    GATE,
    GRADIENT,
    GROUNDED,
    STEERED,
    TARGETS,
    UNSTEERED,
    VECTOR,
    Bench,
    Dose,
    Rows,
    Setting,
    find_gate,
    gated,
    gradient_dose,
    targets,
    vector_doses,
)  # fmt: skip

MEASURES = (*(AnswerMeasure(reading) for reading in ("context", "memory", "both", "neither")), RightAnswer())
LEAST_KL = 0.01  # nats, where curves begin
TIMED = 16  # questions whose decoding is timed
ENOUGH = 0.02  # context answers that fewer iterations may cost


@dataclass(frozen=True)
class Config:
    """Settings; empty `layers` means all. `coeffs` are doses of vectors, `budgets` those of deltas in residual norms.

    `budget` is the one under which iterations and layers are swept; `kls` are the costs in nats at which methods are
    compared, `kl` the one at which side effects and expenses are looked at.

    Raises:
        ValueError: a dose, budget, number of iterations or KL that is not above 0, a `budget` that is not among
            `budgets`, an unknown wording, or a count below what the statistics need.
    """

    model: str = "organism"
    prefix: Prefix = "tokenizer"
    data: str = "organism"
    data_format: DataFormat = "jsonl"
    blank_aliases: BlankAliases = "refuse"
    wording: str = "organism"
    chat: bool = False
    layers: tuple[int, ...] = ()
    coeffs: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 2.0, 4.0)
    budgets: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.8)
    budget: float = 0.4
    iterations: tuple[int, ...] = (1, 2, 4, 8, 16)
    kls: tuple[float, ...] = (0.1, 0.3, 1.0, 2.0)
    kl: float = 1.0
    n_vector: int = 200
    n_labelled: int = 64
    n_validation: int = 64
    n_test: int = 120
    max_new_tokens: int = 6
    n_random: int = 10
    cad_alpha: float = 1.0
    batch_size: int = 256
    device: str = "auto"
    dtype: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("coeffs", "budgets", "iterations", "kls"):
            values = getattr(self, name)
            if not values or min(values) <= 0 or len(set(values)) < len(values):
                raise ValueError(f"{name} {list(values)} must hold different values, all above 0")
        if self.budget not in self.budgets:
            raise ValueError(f"budget {self.budget:g} must be one of budgets {list(self.budgets)}")
        if self.kl <= 0:
            raise ValueError(f"kl is {self.kl:g} nats: it must be above 0")
        if self.wording not in WORDINGS:
            raise ValueError(f"wording {self.wording!r} is unknown: choose one of {', '.join(WORDINGS)}")
        if min(self.n_vector, self.n_labelled, self.n_validation, self.n_test) < 8 or self.n_random < 3:
            raise ValueError("n_vector, n_labelled, n_validation and n_test must be 8 or more, n_random 3 or more")


class Choice(NamedTuple):
    """What validation decided: the site, iterations and dose by method, the gate's threshold."""

    site: HookSite
    iterations: dict[str, int]
    doses: dict[str, float]
    threshold: float


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Runs the comparison, or resumes it, and returns the finished run folder."""
    asked = questions(config)
    model = load_model(config.model, device=config.device, dtype=config.dtype, prefix=config.prefix)
    with RunFolder.open(results, "contextfocus_gradient", model.name, asdict(config), elsewhere=elsewhere) as folder:
        folder.write_json("splits.json", asked.described())
        folder.write_json("model.json", model.facts())
        options = {"wording": WORDINGS[config.wording], "chat": config.chat, "seed": config.seed}
        sites = [resid_post(layer) for layer in config.layers or range(model.n_layers)]
        started = time.perf_counter()
        vectors = contextfocus_vectors(model, asked.vector, sites, **options)
        seconds = time.perf_counter() - started
        bench = Bench(model, config, folder, asked.vector, vectors)
        _test(bench, asked.test, _validate(bench, asked.validation), seconds)
        return folder.finish(report, working=DELTAS)


# --- questions --------------------------------------------------------------------------------------------------------


def questions(config: Config) -> Questions:
    """Of the organism's world or of a file, as in the conflict experiment; irrelevant contexts to choose by as well."""
    if config.data == "organism":
        return _world_questions(config)
    counts = Counts(config.n_vector, config.n_validation, config.n_test)
    found = file_questions(config.data, config.data_format, counts, config.seed, config.blank_aliases)
    irrelevant = unique(irrelevant_twins(found.validation["conflict"], config.seed))
    return replace(found, validation={**found.validation, "irrelevant": irrelevant})


def _world_questions(config: Config) -> Questions:
    """Conflicts to choose and to test by are of every kind that the organism's training held out, in equal parts."""
    vector = unique(world_rows("conflict", config.n_vector, split="validation", seed=1))
    used = {row.group for row in vector}

    def unused(regime: Regime, count: int, **asked: Any) -> Rows:
        # Many fall out: the vector's questions are of the same split.
        return unique(world_rows(regime, 8 * count, **asked), used)[:count]

    def of(split: str, regimes: Sequence[Regime], count: int, seed: int) -> dict[str, Rows]:
        each = -(-count // len(KINDS))
        kinds = (unused("conflict", each, kind=kind, split=split, seed=seed) for kind in KINDS)
        return {"conflict": sum(kinds, ())} | {r: unused(r, count, split=split, seed=seed) for r in regimes}

    validation = of("validation", ("agreement", "irrelevant"), config.n_validation, 2)
    test = of("test", ("agreement", "irrelevant", "closed_book"), config.n_test, 3)
    return Questions(vector, validation, test, texts=())


# --- measuring --------------------------------------------------------------------------------------------------------


def measured(bench: Bench, conditions: Sequence[Condition], rows: Rows, name: str) -> pd.DataFrame:
    """The tidy table of answers and KL. Rows of one question are samples of one prompt: it is resampled whole."""
    config, folder = bench.config, bench.folder
    decoding = Decoding(config.max_new_tokens, n_samples=1, sampling=GREEDY, seed=config.seed, stop=("\n",))
    keeping = {"batch_size": config.batch_size, **folder.keeping}
    judged = with_answers(run_conditions(bench.model, conditions, rows, decoding, **keeping), {r.id: r for r in rows})
    table = pd.concat(
        [
            measure_table(judged, MEASURES),
            next_token_kl(bench.model, conditions, rows, bench.unsteered(rows)),
        ]
    )
    groups = pd.Series({row.id: row.group for row in rows})
    turns = groups.groupby(groups).cumcount()
    return table.assign(sample=table["prompt"].map(turns), prompt=table["prompt"].map(groups), part=name)


def _means(table: pd.DataFrame, dose: Dose) -> dict[str, Any]:
    """What a dose did on average, and what its descents spent."""
    own = table[table["condition"] == dose.condition.name].groupby("metric")["value"].mean()
    return {
        **asdict(dose.condition.factors),
        **{metric: own[metric] for metric in ("context", "memory", "kl")},
        **_mean_spent(dose.optima),
    }


def _mean_spent(optima: Sequence[Result]) -> dict[str, float]:
    """Loss before and after, forward-equivalents and seconds of a descent, on average over its problems."""
    each = [(o.losses[0], o.losses[-1], o.forward_equivalents, o.seconds) for o in optima]
    means = np.mean(each, axis=0) if each else np.full(4, np.nan)
    return dict(zip(("loss_start", "loss", "forward_equivalents", "seconds"), means.tolist(), strict=True))


# --- choosing, on validation ------------------------------------------------------------------------------------------


def _validate(bench: Bench, parts: Mapping[str, Rows]) -> Choice:
    """Layer, iterations, doses and threshold, each by its rule; leaves the tables they were chosen from."""
    config, rows = bench.config, parts["conflict"]
    cells = _swept(bench, vector_doses(bench, rows, list(bench.vectors)), rows, "vector")
    bench.folder.write_table("validation", cells)
    site = choose_site(cells, max(config.kls))
    by_iterations = [Setting(m, (site,), config.budget, n) for m in GRADIENT for n in sorted(config.iterations)]
    trace = _descents(bench, by_iterations, rows, "iterations")
    iterations = {m: choose_iterations(trace[trace["method"] == m]) for m in GRADIENT}
    around = tuple(resid_post(n) for n in range(site.layer - 1, site.layer + 2) if 0 <= n < bench.model.n_layers)
    by_layers = [Setting(m, s, config.budget, iterations[m]) for m in GRADIENT for s in ((site,), around)]
    by_budget = [Setting(m, (site,), b, iterations[m]) for m in GRADIENT for b in sorted(config.budgets)]
    budgets = _descents(bench, by_budget, rows, "budget")
    bench.folder.write_table("sweep", pd.concat([trace, budgets, _descents(bench, by_layers, rows, "layers")]))
    at_site = pd.concat([cells[cells["layer"] == site.layer], budgets])
    doses = {m: choose_dose(at_site[at_site["method"] == m], config.kl) for m in STEERED}
    gates = pd.concat([_gate_table(find_gate(bench, its, 0.0), its, regime) for regime, its in parts.items()])
    threshold = choose_threshold(gates)
    choice = Choice(site, iterations, doses, threshold)
    bench.folder.write_json("chosen.json", {**choice._asdict(), "site": str(site), "layer": site.layer})
    return choice


def _descents(bench: Bench, settings: Sequence[Setting], rows: Rows, varied: str) -> pd.DataFrame:
    doses = [
        gradient_dose(bench, rows, setting)
        for setting in progress_bar(settings, what=f"descents, {varied}", leave=True)
    ]
    swept = _swept(bench, doses, rows, varied)
    numbers = {"iterations": [s.iterations for s in settings], "n_layers": [len(s.sites) for s in settings]}
    return swept.assign(varied=varied, **numbers)


def _swept(bench: Bench, doses: Sequence[Dose], rows: Rows, name: str) -> pd.DataFrame:
    """One row per dose on validation questions."""
    conditions = list({dose.condition.name: dose.condition for dose in doses}.values())
    table = measured(bench, conditions, rows, f"validation, {name}")
    return pd.DataFrame([_means(table, dose) for dose in doses])


def choose_site(cells: pd.DataFrame, most_kl: float) -> HookSite:
    """Where the vector gives the most context answers for at most `most_kl` nats; the smaller KL wins ties.

    Raises:
        ValueError: no cell costs so little.
    """
    affordable = cells[cells["kl"] <= most_kl]
    if affordable.empty:
        raise ValueError(
            f"no coefficient keeps the vector within {most_kl:g} nats, the gentlest cell costs {cells['kl'].min():.3g}:"
            " add smaller coeffs"
        )
    best = affordable.sort_values(["context", "kl"], ascending=[False, True]).iloc[0]
    return resid_post(int(best["layer"]))


def choose_iterations(trace: pd.DataFrame) -> int:
    """The fewest iterations whose context answers come within two points of the most."""
    enough = trace[trace["context"] >= trace["context"].max() - ENOUGH]
    return int(enough["iterations"].min())


def choose_dose(cells: pd.DataFrame, kl: float) -> float:
    """The coefficient or budget whose KL is nearest to `kl`, by their ratio."""
    return float(strength(cells)[(np.log(cells["kl"].clip(lower=1e-9)) - np.log(kl)).abs().idxmin()])


def choose_threshold(gates: pd.DataFrame) -> float:
    """The divergence that parts conflicts from other rows best: share of them open less share of the others open.

    Ties go to the higher one, which steers less.
    """
    conflict = gates["regime"] == "conflict"

    def parted(threshold: float) -> float:
        is_open = (gates["divergence"] >= threshold) & ~gates["agrees"]
        return round(float(is_open[conflict].mean() - is_open[~conflict].mean()), 9)  # ties are ties

    return max((LN2, *sorted((d for d in gates["divergence"] if d > 0), reverse=True)), key=parted)


def _gate_table(gate: ConflictGate, rows: Rows, regime: str) -> pd.DataFrame:
    """One row per question: what the gate measured, and whether it is open."""
    known = {"divergence": gate.divergence.tolist(), "agrees": gate.agrees, "open": gate.open}
    return pd.DataFrame({"row": [row.id for row in rows], "regime": regime, **known})


# --- the test ---------------------------------------------------------------------------------------------------------


def _test(bench: Bench, parts: Mapping[str, Rows], choice: Choice, vector_seconds: float) -> None:
    """Every condition once on questions that chose nothing; leaves the tables that `report` reads."""
    config, folder = bench.config, bench.folder
    tables, gates, chosen = [], [], []
    for regime, rows in parts.items():
        every = regime == "conflict"
        doses = _doses(bench, rows, choice, every=every)
        once = [dose for dose in doses if _is_chosen(dose.condition, choice)]
        chosen = chosen or once  # of the conflicts
        gate = find_gate(bench, rows, choice.threshold)
        gates.append(_gate_table(gate, rows, regime))
        edited = [dose.condition for dose in doses] + [gated(dose.condition, gate, rows) for dose in once]
        tables.append(measured(bench, [bench.unsteered(rows), *targets(bench) * every, *edited], rows, regime))
    table = pd.concat(tables, ignore_index=True)
    curves = table["method"].isin(STEERED) | table["role"].isin(["unsteered", "control"])
    answers = table[(table["part"] == "conflict") & curves]
    axes = {"cost": "kl", "effect": "context", "seed": config.seed}
    for name, made in {
        "table": table,
        "gates": pd.concat(gates),
        "summary": pd.concat([_summary(part, config) for _, part in table.groupby("part", sort=False)]),
        "equal": at_equal_cost(answers, at=config.kls, against=VECTOR, **axes),
        "curves": cost_curves(answers, least=LEAST_KL, **axes),
        "costs": _costs(bench, parts["conflict"], chosen, choice, vector_seconds),
    }.items():
        folder.write_table(name, made)
    bench.vectors[choice.site].save(folder.path / "mean_difference.safetensors")
    shared = next(dose for dose in chosen if dose.condition.factors.method == GROUNDED)
    shared.optima[0].vectors[0].save(folder.path / "grounded.safetensors")


def _doses(bench: Bench, rows: Rows, choice: Choice, *, every: bool) -> list[Dose]:
    """The vector and the gradient forms: at every dose, with random vectors beside, or at the chosen dose alone."""
    vectors = vector_doses(bench, rows, [choice.site], bench.config.n_random * every)
    settings = [
        Setting(method, (choice.site,), budget, choice.iterations[method])
        for method in GRADIENT
        for budget in sorted(bench.config.budgets)
        if every or budget == choice.doses[method]
    ]
    found = [dose for dose in vectors if every or _is_chosen(dose.condition, choice)]
    return found + [
        gradient_dose(bench, rows, setting) for setting in progress_bar(settings, what="descents, test", leave=True)
    ]


def _is_chosen(condition: Condition, choice: Choice) -> bool:
    factors = condition.factors
    steered = factors.coeff if factors.budget is None else factors.budget
    return factors.role == "steered" and choice.doses.get(factors.method) == steered


def _summary(part: pd.DataFrame, config: Config) -> pd.DataFrame:
    known = part.groupby("metric")["value"].transform("count") > 0
    name = part["part"].iloc[0]
    return summarise(part[known].drop(columns="part"), seed=config.seed).assign(part=name)


def _costs(bench: Bench, rows: Rows, chosen: Sequence[Dose], choice: Choice, vector_seconds: float) -> pd.DataFrame:
    """One row per method at its chosen dose: what it costs once and per query beyond a plain answer, and its speed.

    A forward-equivalent is one plain pass over a prompt with context. `cosine` is that of the deltas with the
    mean-difference vector, on average.
    """
    plain, bare, instructed = (_length(bench, s, rows) for s in ("with_context", "closed_book", "instructed"))
    labelled, answer = bench.vector_rows[: bench.config.n_labelled], bench.config.max_new_tokens
    read = _length(bench, "instructed", bench.vector_rows) + _length(bench, "closed_book", bench.vector_rows)
    started = time.perf_counter()
    find_gate(bench, rows, choice.threshold)
    gate_seconds = (time.perf_counter() - started) / len(rows)
    spent: dict[str, dict[str, float]] = {
        UNSTEERED: {},
        TARGETS[0]: {"forward_equivalents": instructed / plain - 1},
        TARGETS[1]: {"forward_equivalents": (bare + answer) / plain},
        GATE: {"forward_equivalents": 1 + (2 * bare + answer) / plain, "seconds": gate_seconds},
        VECTOR: {"once_forward_equivalents": read * len(bench.vector_rows) / plain, "once_seconds": vector_seconds},
    }
    for dose in chosen:
        if dose.optima:
            method, mean = dose.condition.factors.method, _mean_spent(dose.optima)
            cosines = [_cosine(optimum.vectors[0], bench.vectors[choice.site]) for optimum in dose.optima]
            when, of = ("once_", len(labelled)) if method == GROUNDED else ("", 1)
            spent[method] = {
                f"{when}forward_equivalents": mean["forward_equivalents"] * of,
                f"{when}seconds": mean["seconds"],
                "cosine": float(np.mean(cosines)),
            }
    decoded = [bench.unsteered(rows), *targets(bench), *(dose.condition for dose in chosen)]
    speeds = decoding_costs([(bench.model, condition) for condition in decoded], rows[:TIMED], max_new_tokens=answer)
    nothing = {f"{when}{what}": 0.0 for when in ("once_", "") for what in ("forward_equivalents", "seconds")}
    spent_by = pd.DataFrame([{"method": method, **nothing, **own} for method, own in spent.items()])
    speeds = speeds.assign(method=[condition.factors.method for condition in decoded]).drop(columns="condition")
    return spent_by.merge(speeds, on="method", how="left")


def _length(bench: Bench, style: PromptStyle, rows: Rows) -> float:
    return float(np.mean([len(bench.model.token_ids(text)) for text in bench.texts(style, rows)]))


def _cosine(left: SteeringVector, right: SteeringVector) -> float:
    return float((left.unit().rows * right.unit().rows).sum())


# --- the report, from the tables alone --------------------------------------------------------------------------------


def report(folder: str | Path) -> Path:
    """Draws the figures of a finished run again from its tables, writes its page, and returns the page's path."""
    folder = Path(folder)
    run = read_run(folder, {name: TIDY[name] for name in ("table", "summary")})
    model, chosen = (json.loads((folder / name).read_text(encoding="utf-8")) for name in ("model.json", "chosen.json"))
    config = run["config"]
    organism = config["model"] == "organism"
    kind = f"synthetic model {model['name']}" if organism else model["name"]
    drawn = page.figures(run, chosen, f"{kind}, layer {chosen['layer']} of {model['n_layers']}")
    note = save_figures(drawn, folder / "figures").note
    table = page.headline(run["equal"])
    written = write_page(
        folder / "index.html",
        title=f"Context steering by gradient on {model['name']}",
        question=question_of(__doc__),
        finding=page.finding(run, chosen),
        headline=table,
        headline_note=(
            "Share of greedy answers that state the context's answer and not the memory's on held-out conflicts, read"
            " off each method's own curve where its mean KL(unsteered ‖ steered) at the answer's first token is the one"
            f" named. A dash: the method's strongest dose stays below. Intervals: {page.BOOTSTRAP}, both axes anew in"
            f" each resample. Random vectors: where one more would fall, judged by {config['n_random']} draws."
        ),
        figures=drawn,
        captions={name: f"{page.SYNTHETIC if organism else kind}. {page.CAPTIONS[name]}" for name in drawn},
        config=config,
        provenance={"model": model, "chosen": chosen, **run["provenance"]},
        links={name: name for name in sorted(p.name for p in folder.glob("*.parquet"))},
    )
    print(table.to_string(index=False, na_rep="-"))
    print("\n".join(["", page.finding(run, chosen), *([note] if note else []), f"page: {written.name}"]))
    return written
