"""Does the ContextFocus direction make a model follow its context where memory disagrees, and against which rivals?

Expected, written before the run: on held-out conflicts without an instruction, ContextFocus (Anand et al. 2026,
arXiv:2601.04131) raises context answers by 25 points or more at a normal norm, norm-matched random vectors move them by
5 or less, the reversed vector moves toward memory, and agreement and closed-book answers lose 3 points or less.
Prompting with the instruction is the ceiling; CAD and COIECD also raise context answers, at two passes a token.

Vectors come from one set of questions, layer and coefficient from a second by rule, every number reported from a third.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from steering_lab.analysis.plots import Figure, condition_bars, save_figures, verdict_stack
from steering_lab.analysis.report import write_page
from steering_lab.data.conflict_qa import ConflictQA, irrelevant_twins
from steering_lab.data.conflict_readers import read_confiqa, read_conflict_qa, read_nqswap
from steering_lab.data.conflict_splits import split_by_question
from steering_lab.data.conflict_world import world_rows
from steering_lab.data.dice import Dice
from steering_lab.data.invented_world import story
from steering_lab.data.templates import WORDINGS, PromptStyle
from steering_lab.evaluation.answer_measures import AnswerMeasure, RightAnswer, with_answers
from steering_lab.evaluation.condition import Asked, Condition, layer_coeff_grid
from steering_lab.evaluation.controls import is_control
from steering_lab.evaluation.evaluate import Decoding, run_conditions
from steering_lab.evaluation.fluency import held_out_perplexity
from steering_lab.evaluation.measures import measure_table
from steering_lab.evaluation.statistics import summarise
from steering_lab.experiments import question_of
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.cad import CAD
from steering_lab.methods.coiecd import COIECD
from steering_lab.methods.contextfocus import Recipe, contextfocus_vectors
from steering_lab.methods.mean_difference import read_stream
from steering_lab.models.generation import GREEDY
from steering_lab.models.hook_points import HookSite, resid_post
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.runs import RunFolder, provenance

PLACE: Literal["from_last_prompt_token"] = "from_last_prompt_token"
METHOD = f"contextfocus_{PLACE}"
KINDS = ("subjects", "relation", "templates", "sources")
RECIPES: tuple[Recipe, ...] = ("context_only", "instruction_only", "same_context", "shuffled_context")
ORDER = ("unsteered", "opinion", "instructed", "CAD", "COIECD", "ContextFocus", "part", "")  # top to bottom
MEASURES = (*(AnswerMeasure(r) for r in ("context", "memory", "both", "neither", "exact")), RightAnswer())
Rows = tuple[ConflictQA, ...]


@dataclass(frozen=True)
class Config:
    """Settings; empty `layers` means all.

    Raises:
        ValueError: coefficients without 0, an unknown wording, or a count below what the statistics need.
    """

    model: str = "organism"
    data: str = "organism"
    data_format: Literal["jsonl", "confiqa", "nqswap"] = "jsonl"
    wording: str = "organism"
    chat: bool = False
    layers: tuple[int, ...] = ()
    coeffs: tuple[float, ...] = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 4.0)
    n_vector: int = 200
    n_validation: int = 100
    n_test: int = 100
    max_new_tokens: int = 6
    n_random: int = 10
    agreement_budget: float = 0.03
    perplexity_budget: float = 1.25
    cad_alpha: float = 1.0
    batch_size: int = 256
    device: str = "auto"
    dtype: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if 0 not in self.coeffs or not any(self.coeffs):
            raise ValueError(f"coeffs {list(self.coeffs)} must hold 0, the unsteered model, and others")
        if self.wording not in WORDINGS:
            raise ValueError(f"wording {self.wording!r} is unknown: choose one of {', '.join(WORDINGS)}")
        if min(self.n_vector, self.n_validation, self.n_test) < 8 or self.n_random < 3:
            raise ValueError("n_vector, n_validation and n_test must be 8 or more, n_random 3 or more")


def run(config: Config, results: str | Path) -> Path:
    """Runs the comparison, or resumes it, and returns the finished run folder."""
    parts = _splits(config)
    model = load_model(config.model, device=config.device, dtype=config.dtype)
    sites = [resid_post(layer) for layer in config.layers or range(model.n_layers)]
    vectors = _vectors(model, config, parts["vector"], sites, "joint")
    norms = _last_token_norms(model, config, parts["validation conflict"], sites)
    texts = _texts(config, parts)
    with RunFolder.open(results, "contextfocus_conflict", model.name, asdict(config)) as folder:
        folder.write_json("splits.json", {name: [row.id for row in rows] for name, rows in parts.items()})
        grid = [_unsteered(model, config), *_grid(model, config, vectors, norms, config.coeffs)]
        validation = pd.concat(
            [_measured(model, config, grid, parts[name], folder, name) for name in parts if "validation" in name]
        )
        cells = _cells(model, validation, grid, texts)
        folder.write_table("validation", cells)
        layer, coeff = choose(cells, config)
        site = resid_post(layer)
        arms = _arms(model, config, parts["vector"], vectors[site], coeff, norms)
        tested = {
            name: _measured(model, config, _asked(arms, rows), rows, folder, name)
            for name, rows in parts.items()
            if name.startswith("test")
        }
        summary = pd.concat([_summary(table, config).assign(regime=name) for name, table in tested.items()])
        single = [arm for arm in arms if arm.factors.get("draw") is None]
        ratios = _fluency_cost(model, single, texts)
        cost = {(a.factors["method"], float(a.factors.get("coeff") or 0.0)): ratios[a.name] for a in single}
        arms_of = zip(summary["method"], summary["coeff"].fillna(0.0), strict=True)
        summary["held_out_perplexity_ratio"] = [cost.get(arm, math.nan) for arm in arms_of]
        folder.write_table("table", pd.concat([t.assign(regime=n) for n, t in tested.items()]))
        folder.write_table("summary", summary)
        vectors[site].save(folder.path / "contextfocus.safetensors")
        folder.write_json("chosen.json", {"layer": layer, "coeff": coeff, **_facts(model, vectors[site], norms[site])})
        table = headline(summary)
        drawn = figures(summary, f"{kind(config, model)}, layer {layer}, coefficient {coeff:g}")
        note = save_figures(drawn, folder.path / "figures").note
        write_page(
            folder.path / "index.html",
            title=f"Context against memory on {model.name}",
            question=question_of(__doc__),
            headline=table,
            headline_note=(
                "Share of greedy answers that state the context's answer and not the memory's (conflicts), or the right"
                " answer (elsewhere), on questions used neither for the vector nor for choosing. Random vectors: mean"
                f" over {config.n_random} draws of the chosen vector's norm."
            ),
            figures=drawn,
            config=dict(folder.config),
            provenance=provenance(),
        )
        print(note or "", end="\n" if note else "")
        print(table.to_string(index=False, float_format=lambda x: f"{x:.2f}", na_rep="-"))
        print(f"\nchosen on validation: layer {layer}, coefficient {coeff:g}")
        return folder.finish()


# --- questions --------------------------------------------------------------------------------------------------------


def _splits(config: Config) -> dict[str, Rows]:
    """Rows by use: "vector", "validation <regime>", "test <regime or kind>"; no question is in two of the three."""
    return _world_splits(config) if config.data == "organism" else _file_splits(config)


def _world_splits(config: Config) -> dict[str, Rows]:
    vector = _unique(world_rows("conflict", config.n_vector, split="validation", seed=1))
    known = {row.group for row in vector}
    n = config.n_validation
    parts: dict[str, Rows] = {
        "vector": vector,
        "validation conflict": _unique(world_rows("conflict", n, kind="subjects", split="validation", seed=2), known),
        "validation agreement": _unique(world_rows("agreement", 2 * n, split="validation", seed=2), known),
    }
    for kind in KINDS:
        parts[f"test conflict, {kind}"] = _unique(world_rows("conflict", config.n_test, kind=kind, seed=3))  # type: ignore[arg-type]
    for regime in ("agreement", "irrelevant", "closed_book", "unknown"):
        parts[f"test {regime}"] = _unique(world_rows(regime, config.n_test, seed=3))  # type: ignore[arg-type]
    return parts


def _file_splits(config: Config) -> dict[str, Rows]:
    read = {"jsonl": read_conflict_qa, "confiqa": read_confiqa, "nqswap": read_nqswap}[config.data_format]
    rows = [row for row in read(config.data) if row.decides]
    splits, _ = split_by_question(rows, {"vector": 0.4, "validation": 0.2, "test": 0.4}, config.seed)
    parts: dict[str, Rows] = {"vector": splits["vector"][: config.n_vector]}
    for name, count in (("validation", config.n_validation), ("test", config.n_test)):
        conflict = splits[name][:count]
        parts[f"{name} conflict"] = conflict
        if agreeing := tuple(row.agreeing() for row in conflict if row.original_context):
            parts[f"{name} agreement"] = _unique(agreeing)
    parts["test irrelevant"] = _unique(irrelevant_twins(parts["test conflict"], config.seed))
    parts["test closed_book"] = _unique(tuple(row.closed_book() for row in parts["test conflict"]))
    return parts


def _unique(rows: Rows, but: set[str] | None = None) -> Rows:
    """Each row once, without the groups in `but`."""
    return tuple({row.id: row for row in rows if row.group not in (but or set())}.values())


def _texts(config: Config, parts: Mapping[str, Rows]) -> list[str]:
    """Held-out text that has nothing to do with the questions, for fluency."""
    if config.data == "organism":
        dice = Dice("held-out stories for fluency")
        return [story(dice).text for _ in range(60)]
    return [row.context for row in parts["test conflict"]]


# --- vectors and conditions -------------------------------------------------------------------------------------------


def _vectors(
    model: HookedModel, config: Config, rows: Rows, sites: Sequence[HookSite], recipe: Recipe
) -> dict[HookSite, SteeringVector]:
    wording = WORDINGS[config.wording]
    return contextfocus_vectors(model, rows, sites, wording=wording, recipe=recipe, chat=config.chat, seed=config.seed)


def _last_token_norms(
    model: HookedModel, config: Config, rows: Rows, sites: Sequence[HookSite]
) -> dict[HookSite, float]:
    """Median residual norm where the vector starts: the last token of the prompts."""
    write = _write(model, config, "with_context")
    streams = read_stream(model, [write(row) for row in rows], sites)
    return {site: float(stream.norm(dim=-1).median()) for site, stream in streams.items()}


def _write(model: HookedModel, config: Config, style: PromptStyle) -> Asked:
    return Asked(WORDINGS[config.wording], style, chat=model.chat_text if config.chat else None)


def _unsteered(model: HookedModel, config: Config) -> Condition:
    return Condition(
        "unsteered", write=_write(model, config, "with_context"), factors={"method": "unsteered", "coeff": 0}
    )


def _grid(
    model: HookedModel,
    config: Config,
    vectors: Mapping[HookSite, SteeringVector],
    norms: Mapping[HookSite, float],
    coeffs: Sequence[float],
    **options: Any,
) -> list[Condition]:
    write = _write(model, config, "with_context")
    return layer_coeff_grid(vectors, coeffs, norms, method="contextfocus", place=PLACE, write=write, **options)


def _arms(
    model: HookedModel,
    config: Config,
    rows: Rows,
    vector: SteeringVector,
    coeff: float,
    norms: Mapping[HookSite, float],
) -> list[Condition]:
    """Every column of the comparison: rivals, the chosen vector both ways, its parts at equal norm, random vectors."""
    site = vector.site
    arms = [_unsteered(model, config)]
    for style in ("instructed", "opinion", "instructed_opinion"):
        arms.append(Condition(style, write=_write(model, config, style), factors={"method": style}))
    for name, rule in ((f"CAD alpha {config.cad_alpha:g}", CAD(config.cad_alpha)), ("COIECD", COIECD())):
        second = _write(model, config, "closed_book")
        write = _write(model, config, "with_context")
        arms.append(Condition(name, write=write, rule=rule, without_context=second, factors={"method": name}))
    arms += _grid(model, config, {site: vector}, norms, [coeff, -coeff], n_random=config.n_random, seed=config.seed)
    steered = coeff * vector.from_last_prompt_token()
    name = "contextfocus and instructed"
    arms.append(Condition(name, steered, _write(model, config, "instructed"), factors={"method": name}))
    for recipe in RECIPES:
        part = _vectors(model, config, rows, [site], recipe)[site]
        rescaled = part.unit() * vector.norm
        arms += layer_coeff_grid(
            {site: rescaled}, [coeff], norms, method=f"part {recipe}", place=PLACE,
            write=_write(model, config, "with_context"),
        )  # fmt: skip
    return arms


def _asked(arms: Sequence[Condition], rows: Rows) -> list[Condition]:
    """The arms as they apply to rows: without a context there is nothing to follow and nothing to contrast."""
    if rows[0].context:
        return list(arms)
    kept = [arm for arm in arms if arm.rule is None and _style(arm) == "with_context"]
    return [replace(arm, write=replace(arm.write, style="closed_book")) for arm in kept]  # type: ignore[type-var]


def _style(arm: Condition) -> str:
    assert isinstance(arm.write, Asked)
    return arm.write.style


# --- measuring and choosing -------------------------------------------------------------------------------------------


def _measured(
    model: HookedModel, config: Config, conditions: Sequence[Condition], rows: Rows, folder: RunFolder, name: str
) -> pd.DataFrame:
    """The tidy table of answers; a question's rows are samples of one prompt, so that intervals resample questions."""
    decoding = Decoding(config.max_new_tokens, n_samples=1, sampling=GREEDY, seed=config.seed, stop=("\n",))
    keeping = {"batch_size": config.batch_size, "kept": folder.kept, "keep": folder.keep}
    generations = run_conditions(model, conditions, rows, decoding, **keeping)
    judged = with_answers(generations, {row.id: row for row in rows})
    turn = {row.id: sum(other.group == row.group for other in rows[:i]) for i, row in enumerate(rows)}
    judged = judged.assign(sample=judged["prompt"].map(turn), prompt=judged["group"], part=name)
    return measure_table(judged, MEASURES).assign(part=name)


def _summary(table: pd.DataFrame, config: Config) -> pd.DataFrame:
    known = table.groupby("metric")["value"].transform("count") > 0
    return summarise(table[known].drop(columns="part"), seed=config.seed)


def _cells(
    model: HookedModel, validation: pd.DataFrame, grid: Sequence[Condition], texts: Sequence[str]
) -> pd.DataFrame:
    """One row per cell of the grid: context answers, agreement lost, fluency lost, relative norm."""
    conflict = validation[(validation["part"] == "validation conflict") & (validation["metric"] == "context")]
    agreement = validation[(validation["part"] == "validation agreement") & (validation["metric"] == "right")]
    context, agree = (t.groupby("condition")["value"].mean() for t in (conflict, agreement))
    ratios = _fluency_cost(model, grid, texts)
    rows = []
    for cell in grid:
        rows.append(
            {
                "layer": cell.factors.get("layer"),
                "coeff": float(cell.factors["coeff"]),
                "relative_norm": cell.factors.get("relative_norm", 0.0),
                "context": context[cell.name],
                "agreement_lost": agree["unsteered"] - agree[cell.name] if len(agree) else 0.0,
                "perplexity_ratio": ratios[cell.name],
            }
        )
    return pd.DataFrame(rows)


def choose(cells: pd.DataFrame, config: Config) -> tuple[int, float]:
    """Layer and coefficient with the most context answers among cells within both budgets; the smaller norm wins ties.

    Raises:
        ValueError: no cell within the budgets has more context answers than the unsteered model.
    """
    plain = cells.loc[cells["layer"].isna(), "context"].iloc[0]
    steered = cells[cells["layer"].notna()]
    affordable = steered[
        (steered["agreement_lost"] <= config.agreement_budget)
        & (steered["perplexity_ratio"] <= config.perplexity_budget)
        & (steered["context"] > plain)
    ]
    if affordable.empty:
        best = steered.sort_values("context", ascending=False).iloc[0]
        raise ValueError(
            f"no cell raises context answers above {plain:.2f} while losing at most {config.agreement_budget:g} of"
            f" agreement and {config.perplexity_budget:g} x perplexity; the strongest, layer {best['layer']:g} with"
            f" coefficient {best['coeff']:g}, reaches {best['context']:.2f}, loses {best['agreement_lost']:.2f} and"
            f" costs x{best['perplexity_ratio']:.2f}"
        )
    best = affordable.sort_values(["context", "relative_norm"], ascending=[False, True]).iloc[0]
    return int(best["layer"]), float(best["coeff"])


def headline(summary: pd.DataFrame) -> pd.DataFrame:
    """Context answers on held-out conflicts, right answers elsewhere: a row per condition, random draws averaged."""
    shown = summary[
        ((summary["metric"] == "context") & summary["regime"].str.contains("conflict"))
        | ((summary["metric"] == "right") & ~summary["regime"].str.contains("conflict"))
    ]
    wide = shown.assign(condition=_names(shown)).pivot_table(
        index="condition", columns="regime", values="value", aggfunc="mean", sort=False
    )
    return wide.rename(columns=lambda regime: regime.removeprefix("test ")).reset_index()


def kind(config: Config, model: HookedModel) -> str:
    """What the figures were measured on."""
    return f"synthetic model {model.name}" if config.model == "organism" else model.name


def figures(summary: pd.DataFrame, about: str) -> dict[str, Figure]:
    """Context answers of every condition by kind of held-out conflict, and the four classes of answers."""
    conflict = summary[summary["regime"].str.contains("conflict") & ~summary["method"].map(is_control)]
    named = conflict.assign(group=conflict["regime"].str.removeprefix("test conflict, "), condition=_names(conflict))
    first = named[named["group"] == named["group"].iloc[0]]
    shares = first.pivot_table(index="condition", columns="metric", values="value", sort=False)
    shares = shares.assign(n=first.groupby("condition")["n"].max()).reset_index()
    chosen = max(c for c in named.loc[named["method"] == METHOD, "coeff"])
    order = sorted(
        named["condition"].unique(), key=lambda name: [name.startswith(start) for start in ORDER].index(True)
    )
    bars = {"metric": "context", "percent": True, "focus": [f"ContextFocus {chosen:+g}"], "conditions": order}
    return {
        "context_answers": condition_bars(named, title="Context answers under conflict", subtitle=about, **bars),
        "verdicts": verdict_stack(
            shares, title=f"Whose answer, {named['group'].iloc[0]}", subtitle=about, conditions=order
        ),
    }


def _names(rows: pd.DataFrame) -> pd.Series:
    """What a reader calls each condition: the vector with its coefficient, its parts, the rivals."""
    coeffs = rows["coeff"].map(lambda c: "" if pd.isna(c) or c == 0 else f" {c:+g}")
    plain = rows["method"].str.removesuffix(f"_{PLACE}").str.replace("_", " ")
    names = plain.where(rows["method"] != METHOD, "ContextFocus" + coeffs)
    return names.str.replace("part ", "part: ").str.replace("contextfocus", "ContextFocus")


def _fluency_cost(model: HookedModel, conditions: Sequence[Condition], texts: Sequence[str]) -> dict[str, float]:
    """Perplexity of held-out text under each condition's edit over that of the unsteered model, by condition name."""
    plain = held_out_perplexity(model, texts)
    return {
        c.name: held_out_perplexity(model, texts, c.intervention) / plain if c.intervention.terms else 1.0
        for c in conditions
    }


def _facts(model: HookedModel, vector: SteeringVector, norm: float) -> dict[str, Any]:
    kept = {k: v for k, v in vector.source.details.items() if isinstance(v, float | int | str)}
    return {"vector_norm": vector.norm, "median_resid_norm": norm, **kept, "model": repr(model), **provenance()}
