"""What a sweep found, in sentences: the strongest confirmed result first, then every form with its verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
import pandas as pd

from steering_lab.analysis.plots.parts.labels import short_signed, signed
from steering_lab.evaluation.inferring.confirmation import Verdict, confirm, verdict
from steering_lab.evaluation.inferring.reasons import amount, spaced
from steering_lab.evaluation.inferring.selection import Selected
from steering_lab.numerics.significance import holm
from steering_lab.numerics.written import reach
from steering_lab.study.control_findings import NOT_RANDOM, controls_sentence
from steering_lab.study.expectations import shown_beside, unmeasured
from steering_lab.study.measures import subject_of
from steering_lab.study.page import NOTHING
from steering_lab.study.vectors import METHODS, Described
from steering_lab.tables import in_cell

TOP1, KL = "top1_agreement", "neutral_kl"  # of neutral text, the first of them that was measured is said
UNSURE_OF_COSTS = "Nothing surely works within the budgets"

WHERE = {
    "front": "at the first tokens",
    "everywhere": "at every token",
    "from_last_prompt_token": "from the prompt's last token on",
    "generated": "at generated tokens",
}


@dataclass(frozen=True, eq=False)
class Result:
    """A form's chosen cell and what became of it on new prompts, or why there is none.

    Args:
        form: What was swept.
        cell: The chosen cell, or why none was chosen.
        table: What `confirm` says of it; None without a cell.
        verdict: In words.
        controls: What its controls did there, a row each; None without a cell.
        neutral: What it did to neutral text, a row for each metric; None without a cell.
    """

    form: Described
    cell: Selected | str
    table: pd.DataFrame | None
    verdict: Verdict
    controls: pd.DataFrame | None = None
    neutral: pd.DataFrame | None = None

    @classmethod
    def of(cls, form: Described, cell: Selected | str, confirmed: pd.DataFrame) -> "Result":
        """The result of a form.

        Args:
            form: What was swept.
            cell: Its chosen cell, or why there is none.
            confirmed: The summary of the new prompts.
        """
        if isinstance(cell, str):
            return cls(form, cell, None, Verdict(False, "nothing chosen"))
        table = confirm(cell, confirmed)
        beside = _beside(confirmed, cell)
        beside = beside[beside["metric"] == cell.effect["metric"]]
        return cls(form, cell, table, verdict(table), beside, confirmed[in_cell(confirmed, cell.effect)])

    @property
    def done(self) -> str:
        """What was done, as a reader says it."""
        return f"{self.form.what} added {WHERE[self.form.place]}"

    @property
    def at(self) -> str:
        """The layer and coefficient of the chosen cell, if there is one."""
        if isinstance(self.cell, str):
            return ""
        return f"layer {self.cell.layer:g}, coefficient {short_signed(self.cell.coeff)}"

    @property
    def mark(self) -> tuple[int, float] | None:
        """The layer and coefficient to mark: of a cell that held, no other."""
        if isinstance(self.cell, str) or not self.verdict.held:
            return None
        return int(self.cell.layer), self.cell.coeff

    @property
    def surely(self) -> float:
        """The lower end of what it does on new prompts."""
        return float("-inf") if self.table is None else float(self.table["held_out_low"].iloc[0])

    @property
    def budgets(self) -> str:
        """What its costs may be, in words."""
        assert self.table is not None
        costs = self.table[self.table["role"] == "cost"]
        said = [f"{spaced(cost.metric)} {amount(cost.budget, cost.scale)}" for cost in costs.itertuples()]
        return f"within the budget{'s' if len(said) > 1 else ''} ({', '.join(said)})"

    def measured(self) -> str:
        """Effect with its interval, the band of random vectors, and the costs."""
        assert self.table is not None
        effect, *costs = self.table.assign(effect=self.table["held_out"]).itertuples()
        show = shown_beside(effect)
        ends = reach(effect.control_low, effect.control_high, show)
        band = f"one more random vector of its norm would fall in {ends}"
        if not ends or ends.startswith("all"):
            band = f"random vectors of its norm are {ends}" if ends else "fewer than three random vectors were run"
        spent = [
            f"{spaced(cost.metric)} {amount(cost.held_out, cost.scale)}"
            f" [{amount(cost.held_out_low, cost.scale)}, {amount(cost.held_out_high, cost.scale)}]"
            for cost in costs
        ]
        moved = f"{show(effect.held_out)} [{show(effect.held_out_low)}, {show(effect.held_out_high)}]"
        moved = f"to {moved} of unsteered text's" if effect.scale == "ratio" else f"by {moved}"
        return f"{moved}; {band}; {', '.join(spent)}"

    def unbudgeted(self) -> str:
        """What it does to neutral text, where that was measured and no budget held it."""
        if self.neutral is None or isinstance(self.cell, str):
            return ""
        of = (
            self.neutral.drop_duplicates("metric")
            .set_index("metric")
            .drop(index=list(self.cell.budgets), errors="ignore")
        )
        if TOP1 in of.index and not isnan(of.loc[TOP1, "effect"]):
            share, *ends = (f"{-100 * of.loc[TOP1, end]:.0f}" for end in ("effect", "high", "low"))
            interval = "" if isnan(of.loc[TOP1, "low"]) else f" [{', '.join(ends)}]"
            return (
                f"; on neutral text the vector changes the likeliest next token in {share} %{interval}, not budgeted"
                f"{_unasked(of.loc[TOP1])}"
            )
        if KL in of.index and not isnan(of.loc[KL, "effect"]):
            kl, *ends = (f"{of.loc[KL, end]:.2g}" for end in ("effect", "low", "high"))
            interval = "" if isnan(of.loc[KL, "low"]) else f" [{', '.join(ends)}]"
            return (
                f"; on neutral text the vector moves the model by {kl} nats a token{interval}, not budgeted"
                f"{_unasked(of.loc[KL])}"
            )
        return ""

    def controlled(self) -> str:
        """What its controls did on new prompts, where they are more than random vectors."""
        if self.table is None or self.controls is None:
            return ""
        effect = self.table.iloc[0]
        said = controls_sentence(self.controls, f"the {subject_of(effect['metric'])}", lambda x: _shown(x, effect))
        return f" {said}" if said else ""


def _unasked(row: pd.Series) -> str:
    """That random vectors were not asked what they do there, where they were not."""
    return " and not asked of random vectors" if isnan(row["control_low"]) else ""


def _shown(value: float, effect: Any) -> str:
    """An effect on its own scale."""
    return amount(value, "ratio") if effect.scale == "ratio" else signed(value)


def first_sentence(results: Sequence[Result], metric: str, on: str, n_prompts: int) -> str:
    """The strongest result that held, in a sentence; or that nothing works, and why.

    Args:
        results: Of every form.
        metric: The metric that chose.
        on: The model.
        n_prompts: The new prompts.
    """
    held = sorted((one for one in results if one.verdict.held), key=lambda one: -one.surely)
    asked = [one for one in results if one.table is not None]
    if held:
        one = held[0]
        alone = [each.table["p_family"].iloc[0] for each in results if each.table is not None]
        p = holm(np.array(alone, dtype=float))[asked.index(one)]
        over = f", corrected over the {len(asked)} forms asked" if len(asked) > 1 else ""
        return (
            f"On {n_prompts} new prompts, {one.done} ({one.at}) raises the {subject_of(metric)} of {on}'s text"
            f" {one.measured()}, {one.budgets}{one.unbudgeted()}; p of no effect {p:.2g}{over}.{one.controlled()}"
        )
    on_new = f", on {n_prompts} new prompts" if asked else ""
    nothing = UNSURE_OF_COSTS if any(one.verdict.only_unsure_of_budget for one in asked) else NOTHING
    nearest_first = sorted(results, key=lambda one: (not one.verdict.only_unsure_of_budget, one.table is None))
    return f"{nothing}{on_new}: {'; '.join(map(_why_not, nearest_first))}."


def _why_not(result: Result) -> str:
    """Why a form does not work; one that was not chosen was not asked of new prompts, which it says."""
    if result.table is None:
        return f"{result.done}, nothing chosen, so not asked"
    return f"{result.done} ({result.at}), {result.verdict.said}"


def sentence(result: Result, metric: str) -> str:
    """What became of a form: its verdict, what was measured where it was chosen and on new prompts.

    Args:
        result: The form's.
        metric: The metric that chose.
    """
    if isinstance(result.cell, str):
        return f"{result.form.label}: nothing chosen, {result.cell}."
    assert result.table is not None
    effect = result.table.iloc[0]
    chosen = _shown(effect["chosen"], effect)
    return (
        f"{result.form.label}, {result.at}: {result.verdict.said}. {subject_of(metric).capitalize()} moves"
        f" {result.measured()} on new prompts; it was {chosen} where it was chosen{result.unbudgeted()}."
        f"{result.controlled()}"
    )


def measured(results: Sequence[Result], confirmed: pd.DataFrame, metric: str) -> pd.DataFrame:
    """What expectations are answered by: the chosen cells, reversed too, their controls and prompting.

    A form goes by its method, its place, and both; `metric`, which chose, by "effect" too. One without a chosen cell
    has rows that say so in place of numbers. "random" is the band of all random vectors; the other controls have their
    mean over draws.

    Args:
        results: Of every form.
        confirmed: The summary of new prompts.
        metric: The metric that chose.
    """
    rows, absent = confirmed.assign(against=None), list[str]()
    blocks = [rows[rows["role"] == "baseline"].assign(who=lambda table: table["method"])]
    for one in results:
        if isinstance(one.cell, str):
            names = names_of(one.form.method, one.form.place)
            absent += [f"{name}{word}" for name in names for word in ("", " reversed")]
            continue
        own = rows[(rows["method"] == one.cell.method) & (rows["place"] == one.cell.place)]
        for word, coeff in (("", one.cell.coeff), (" reversed", -one.cell.coeff)):
            at = own[(own["layer"] == one.cell.layer) & (own["coeff"] == coeff)]
            blocks += [at.assign(who=f"{name}{word}") for name in names_of(one.form.method, one.form.place)]
            if not word:
                drawn = {"who": "random", "effect": float("nan"), "low": at["control_low"], "high": at["control_high"]}
                blocks.append(at.assign(**drawn))
        beside = _beside(rows, one.cell)
        blocks.append(beside[beside["method"].isin(NOT_RANDOM)].assign(who=lambda table: table["method"]))
    if len(blocks) == 1:
        absent += ["random", *NOT_RANDOM]
    blocks.append(unmeasured(dict.fromkeys(absent), confirmed["metric"].unique(), "no cell was chosen"))
    found = pd.concat(blocks, ignore_index=True)
    return pd.concat([found, found[found["metric"] == metric].assign(metric="effect")], ignore_index=True)


def _beside(rows: pd.DataFrame, cell: Selected) -> pd.DataFrame:
    """Those of `rows` that are of the controls of a cell."""
    return rows[(rows["control_of"] == cell.method) & in_cell(rows, cell.effect, ("place", "layer", "coeff"))]


def names_of(method: str, place: str) -> tuple[str, ...]:
    """What a form is called in an expectation.

    Args:
        method: The form's method in tables.
        place: Where its vector is added.
    """
    return method, place, f"{method} {place}"


def who_may(forms: Sequence[tuple[str, str]], sides: Sequence[str]) -> set[str]:
    """All that an expectation on a sweep may be about: forms of this run or of another, controls, prompting.

    Args:
        forms: The run's, as method and place.
        sides: The texts that prompting may have written.
    """
    pairs = [*forms, *((method, place) for method in METHODS for place in WHERE)]
    names = {name for method, place in pairs for name in names_of(method, place)}
    return {
        *names,
        *(f"{name} reversed" for name in names),
        "random",
        *NOT_RANDOM,
        *(f"prompting {side}" for side in sides),
    }
