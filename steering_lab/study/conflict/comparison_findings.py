"""What a comparison of ContextFocus with its rivals found, in sentences, from the tables of a run."""

from collections.abc import Sequence
from math import isnan
from typing import NamedTuple

import pandas as pd

from steering_lab.analysis.plots.parts.labels import short_signed, signed
from steering_lab.evaluation.inferring.confirmation import Verdict, confirm, verdict
from steering_lab.evaluation.inferring.selection import Selected, row_of
from steering_lab.evaluation.measuring.fluency import HELD_OUT_PERPLEXITY
from steering_lab.numerics.significance import LEVEL, holm
from steering_lab.numerics.written import reach
from steering_lab.study.conflict.asking import PROMPTING
from steering_lab.study.conflict.comparison_costs import (
    cost_said,
    cost_sentence,
    lost_elsewhere,
    moved,
    own_rows,
    percent,
    points,
)
from steering_lab.study.conflict.naming import budgets_said, controls_beside, first_conflicts, named
from steering_lab.study.conflict.rivals import BOTH, FINETUNED, GRADIENT, METHOD, PARTS, cad_name
from steering_lab.study.control_findings import NOT_RANDOM, controls_sentence
from steering_lab.study.expectations import check, expected_answers, unmeasured
from steering_lab.study.page import NOTHING, Parts

RAISED = 1  # what is wanted of context answers, whatever the search gave
SAID = "ContextFocus"  # as a reader calls it
FEW = 50  # conflicts, below which the page says that it is a small comparison


class Judged(NamedTuple):
    """The chosen cell, what is left of it on the questions for reporting (`confirm`), and whether it holds.

    Args:
        cell: The cell, as the search had it.
        table: Its effect and its costs on the questions for reporting, a row each.
        verdict: Whether all of them hold, and in words.
    """

    cell: Selected
    table: pd.DataFrame
    verdict: Verdict


def is_chosen(parts: Parts) -> bool:
    """Whether the search chose a cell.

    Args:
        parts: The run's files by name; `chosen` is read.
    """
    return "nothing_chosen" not in parts["chosen"]


def judged(parts: Parts) -> Judged:
    """The chosen cell on questions that did not choose it, the first kind of conflict.

    Args:
        parts: The run's files by name, of a run that chose a cell.
    """
    chosen, summary, validation = parts["chosen"], parts["summary"], parts["validation"]
    budgets = chosen["budgets"]
    tried = own_rows(validation, parts)
    at = tried[tried["layer"] == chosen["layer"]].iloc[0]
    spent = {cost: row_of(validation, at, cost) for cost in budgets}
    cell = Selected(row_of(validation, at, "context"), spent, budgets, chosen.get("instead_of", ""), RAISED)
    costs = summary[summary["metric"].isin(list(budgets)) & (summary["regime"] != "conflict")]
    table = confirm(cell, pd.concat([first_conflicts(summary), costs]))
    return Judged(cell, table, verdict(table))


def first_sentence(parts: Parts) -> str:
    """The chosen vector's effect on new conflicts where it holds, in a sentence; or that it does not, and why.

    Nothing works is said where no rival raises context answers either; where some do they are named.

    Args:
        parts: The run's files by name; of one that chose nothing `chosen` is enough.
    """
    rivals = _rivals(parts)
    fails = f"{SAID} is not shown to work here" if rivals else NOTHING
    if not is_chosen(parts):
        reason = _why_nothing(parts).split("; the nearest")[0]
        return f"{fails if 'summary' in parts else SAID}: {reason}.{rivals}"
    held, name = judged(parts), f"{focus(parts)} at layer {parts['chosen']['layer']}"
    context = own_rows(first_conflicts(parts["summary"]), parts).set_index("metric").loc["context"]
    kind = f" ({context['kind']})" if context["kind"] else ""
    over = "" if context["n_prompts"] == context["n"] else f" over {context['n_prompts']} questions"
    on = f"n {context['n']} new conflicts{kind}{over}"
    found = f"{points(context)} ({_p(context['p'])}); {_beyond_random(context)}"
    if not held.verdict.held:
        return (
            f"{fails}, o{on}: {name} {held.verdict.said}; context answers {moved(context)}, {found}"
            f"{lost_elsewhere(parts)}.{rivals}"
        )
    spent = ", ".join(cost_said(cost) for cost in held.table[held.table["role"] == "cost"].itertuples())
    return (
        f"O{on}, {name} raises context answers on {parts['model']['name']} {moved(context)}, {found}; {spent},"
        f" {budgets_said(parts['chosen']['budgets'])}{lost_elsewhere(parts)}."
    )


def _why_nothing(parts: Parts) -> str:
    """Why no cell was chosen; intervals always judged, which older runs do not say."""
    reason = parts["chosen"]["nothing_chosen"].replace("no cell keeps", "no cell surely keeps")
    return str(reason.replace(METHOD, SAID).replace("_", " ").replace("held out", "held-out"))


def _rivals(parts: Parts) -> str:
    """The rivals that surely raise or lower context answers, p corrected over all (Holm); nothing where none does."""
    if "summary" not in parts:
        return ""
    rows = first_conflicts(parts["summary"])
    rows = rows[(rows["role"] == "baseline") & (rows["metric"] == "context")].assign(condition=named)
    surely, told = rows[holm(rows["p_family"].to_numpy(float)) <= LEVEL], []
    for way, own in (("raise", surely[surely["low"] > 0]), ("lower", surely[surely["high"] < 0])):
        if each := " and ".join(f"{r['condition']} ({points(r).removeprefix('by ')})" for _, r in own.iterrows()):
            told.append(f"{each} {way if len(own) > 1 else f'{way}s'} context answers")
    if not told:
        return ""
    return f" Of its {len(rows)} rivals, which have no random counterpart, {', '.join(told)} (p corrected over them)."


def opening(parts: Parts) -> str:
    """The page's first paragraph: `first_sentence`, and what the controls of the chosen vector do, in one more.

    Args:
        parts: The run's files by name.
    """
    if not is_chosen(parts):
        return first_sentence(parts)
    beside = controls_beside(first_conflicts(parts["summary"]), parts["chosen"]["coeff"])
    beside = beside[beside["metric"] == "context"]
    return f"{first_sentence(parts)} {controls_sentence(beside, 'context answers', percent, ' points')}".rstrip()


def _beyond_random(row: pd.Series) -> str:
    """Where one more random vector would fall, and how likely it would do as much."""
    if isnan(row["control_low"]):
        return "fewer than three random vectors were run"
    as_much = "" if isnan(row["p_random"]) else f" (as much or more with {_p(row['p_random'])})"
    band = reach(row["control_low"], row["control_high"], percent)
    if band.startswith("all"):
        return f"random vectors of its norm are {band} points{as_much}"
    return f"one more random vector of its norm would fall in {band} points{as_much}"


def _p(p: float) -> str:
    return "p unknown" if isnan(p) else "p < .001" if p < 0.001 else f"p = {p:.2g}"


def findings(parts: Parts) -> list[str]:
    """What else there is to say: on how many questions, how many changed sides, what turns with the sign, the costs.

    Args:
        parts: The run's files by name; of one that chose nothing `chosen` and `known` are enough.
    """
    if not is_chosen(parts):
        reason = _why_nothing(parts)
        known = parts["known"]
        if "asked" in known:
            reason += f". Of {known['asked']} questions asked closed book, the model knew {len(known['known'])}"
        return [f"Nothing chosen: {reason}."]
    counts = first_conflicts(parts["paired"])
    counts = counts[named(counts) == focus(parts)]
    changed = "; ".join(
        f"of {row.n} {'questions' if row.questions == 'all' else 'known before steering'} {row.helped} helped,"
        f" {row.hurt} hurt (McNemar p = {row.p:.2g})"
        for row in counts.itertuples()
    )
    held = judged(parts)
    instead = f" In the search, {held.cell.instead_of}." if held.cell.instead_of else ""
    at = f"{focus(parts)}, layer {parts['chosen']['layer']}"
    small = _how_small(parts, held.cell, int(counts["n"].max()))
    was = "" if small else f" Where it was chosen it moved context answers {points(held.cell.effect)}."
    first = f"{at}: {held.verdict.said}.{was} Counting the first conflict of each question, {changed}.{instead}"
    return list(filter(None, [small, first, _reversal(parts), _gradient(parts), f"{cost_sentence(parts)}."]))


def _gradient(parts: Parts) -> str:
    """What the gradient form is, and what finding its deltas costs."""
    if "gradient" not in parts["chosen"]:
        return ""
    passes, config = parts["chosen"]["gradient"]["forward_equivalents"], parts["config"]
    return (
        "The gradient form adds a delta of its own for every question with a context (without one the model is left"
        f" alone), at the same layer, at most {config['gradient_budget']:g} residual norms long (a number that was set"
        f" and not chosen), found in {config['gradient_iterations']} iterations by imitating the instructed prompt:"
        f" {passes:.1f} passes over the prompt before a word is written. Random vectors are no control of it, and"
        " held-out texts have no question that a delta would be of."
    )


def _reversal(parts: Parts) -> str:
    if "odd" not in parts:
        return ""
    odd = first_conflicts(parts["odd"])
    odd = odd[odd["metric"] == "log_odds_odd"]
    own, drawn = odd[odd["method"] == METHOD].iloc[0], odd[odd["role"] == "control"]["value"]
    own_ends = "" if isnan(own["low"]) else f" [{signed(own['low'])}, {signed(own['high'])}]"
    return (
        f"The part of the log-odds that turns with the sign: {signed(own['value'])}{own_ends} nats, {len(drawn)} random"
        f" vectors between {signed(drawn.min())} and {signed(drawn.max())}."
    )


def _how_small(parts: Parts, cell: Selected, n_questions: int) -> str:
    """Where the conflicts are few: on how many all this stands, and what the choice was made by."""
    tested = next(iter(parts["splits"]["test"].values()))
    if len(tested) >= FEW:
        return ""
    return (
        f"A small comparison, its intervals are wide. The cell was chosen on {int(cell.effect['n'])} conflicts, where"
        f" it moved context answers {points(cell.effect)}, as the best,"
        f" {budgets_said(cell.budgets)}; what follows was measured on {len(tested)} others about {n_questions}"
        " questions."
    )


def focus(parts: Parts) -> str:
    """The name of the condition that it is all about; where nothing was chosen, of none.

    Args:
        parts: The run's files by name; `chosen` is read.
    """
    return f"{SAID} {short_signed(parts['chosen']['coeff'])}" if is_chosen(parts) else ""


ANSWERS_OF = ("context", "memory", "log_odds", "kl")  # what an expectation on conflicts may name
ELSEWHERE = ("agreement", "irrelevant", "closed book", "unknown")  # right answers there


def answered(parts: Parts) -> pd.DataFrame | None:
    """What was expected, and what the questions for reporting say to it; nothing where nothing was expected.

    Args:
        parts: The run's files by name; the lines stand in `config`.
    """
    return expected_answers(parts["config"], measured(parts))


def measured(parts: Parts) -> pd.DataFrame:
    """What expectations are answered by: the first kind of conflict, right answers elsewhere, perplexity.

    "random" is the band of all random vectors; the other controls have their own mean over draws.

    Args:
        parts: The run's files by name; `summary` and `chosen` are read.
    """
    summary = parts["summary"]
    right = summary[(summary["metric"] == "right") & (summary["regime"] != "conflict")]
    fluent = summary[summary["metric"] == HELD_OUT_PERPLEXITY]
    rows = pd.concat(
        [first_conflicts(summary), right.assign(metric=right["regime"]), fluent.assign(metric="perplexity")]
    )
    coeff = parts["chosen"].get("coeff", float("nan"))
    beside = controls_beside(rows, coeff)
    beside = beside[beside["method"].isin(NOT_RANDOM)]
    rows = pd.concat([rows[rows["role"] != "control"], beside]).assign(against=None)
    own = rows["method"] == METHOD
    chosen = rows[own & (rows["coeff"] == coeff)]
    bands = chosen.assign(who="random", effect=float("nan"), low=chosen["control_low"], high=chosen["control_high"])
    turned = rows[own & (rows["coeff"] == -coeff)].assign(who=f"{METHOD} reversed")
    names = rows["method"].replace({cad_name(parts["config"]["cad_alpha"]): "CAD"})
    others = rows[~own].assign(who=names[~own])
    absent = [] if is_chosen(parts) else [METHOD, f"{METHOD} reversed", "random", *NOT_RANDOM]
    silent = unmeasured(absent, rows["metric"].unique(), "no cell was chosen")
    return pd.concat([chosen.assign(who=METHOD), turned, others, bands, silent], ignore_index=True)


def check_expectations(expects: Sequence[str]) -> None:
    """Nothing when every line is about what a comparison may have. Raises ValueError otherwise.

    Args:
        expects: Lines such as "WHO: METRIC CLAIM" (`study.expectations`); none is allowed.
    """
    who = {METHOD, f"{METHOD} reversed", BOTH, FINETUNED, "CAD", "COIECD", GRADIENT, "random"}
    who |= {*NOT_RANDOM, *PROMPTING, *PARTS}
    check(expects, who, [*ANSWERS_OF, *ELSEWHERE, "perplexity"])
