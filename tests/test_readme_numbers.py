"""The README's results: each sentence is made here from the tables of a reference run, and stands there as it is.

Nothing else in these sections has a digit. A run that is made again changes its sentences, and the test that fails
prints the new ones.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from steering_lab.analysis.plots.parts.labels import signed
from steering_lab.evaluation.inferring.equal_cost import control_curve
from steering_lab.runs import Run as Parts
from steering_lab.runs import read_run
from steering_lab.study.conflict import comparison_findings, equal_kl_report
from steering_lab.study.finding import load_experiment
from steering_lab.study.paper.claim import WORDS as WORDS_OF_VERDICTS
from steering_lab.study.paper.register import PaperFigure, paper_figures
from steering_lab.study.sweep_findings import first_sentence
from steering_lab.study.sweep_report import Told
from steering_lab.tables import in_cell

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
SMOLLM2, ORGANISM = "SmolLM2-135M-Instruct", "organism"
METHODS = {
    "unsteered": "unsteered",
    "vector": "contextfocus",
    "instruction": "instructed",
    "CAD": "CAD alpha 1",
    "COIECD": "COIECD",
}


def spaced(text: str) -> str:
    return " ".join(text.split())


def count(number: float) -> str:
    return WORDS[int(number)] if number < len(WORDS) else f"{number:.0f}"


def span(numbers: pd.Series) -> str:
    """The least and the most of whole numbers."""
    low, high = round(numbers.min()), round(numbers.max())
    return f"{low}" if low == high else f"{low} to {high}"


def percent(share: float) -> str:
    return f"{100 * share:.0f}"


def points(row: pd.Series) -> str:
    return f"[{signed(100 * row['low'], 0)}, {signed(100 * row['high'], 0)}]"


def moved(row: pd.Series) -> str:
    return f"{signed(row['effect'])} [{signed(row['low'])}, {signed(row['high'])}]"


def band(row: pd.Series) -> str:
    return f"[{signed(row['control_low'])}, {signed(row['control_high'])}]"


def where(row: pd.Series) -> str:
    return "inside" if row["control_low"] <= row["effect"] <= row["control_high"] else "outside"


class Run:
    """A reference run, by its experiment, model and a setting that tells it from its siblings."""

    def __init__(self, experiment: str, model: str, **settings: Any) -> None:
        for folder in sorted((ROOT / "results" / experiment).glob(f"*_{model}_*")):
            self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            if all(self.config.get(name) == value for name, value in settings.items()):
                self.folder = folder
                return
        raise FileNotFoundError(f"no reference run of {experiment} on {model} with {settings}")

    @cached_property
    def parts(self) -> Parts:
        return read_run(self.folder)

    def table(self, name: str, **where: Any) -> pd.DataFrame:
        rows = pd.read_parquet(self.folder / f"{name}.parquet")
        for column, value in where.items():
            rows = rows[rows[column] == value]
        return rows

    def row(self, name: str, **where: Any) -> pd.Series:
        rows = self.table(name, **where)
        assert len(rows) == 1, f"{len(rows)} rows of {name} with {where}"
        return rows.iloc[0]

    def json(self, name: str) -> Any:
        return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))


def of_the_grid() -> list[str]:
    run = Run("founding_grid", SMOLLM2)
    told, confirmed = Told(run.parts), run.table("confirmed")
    vader = confirmed[confirmed["metric"] == "vader"]
    [back] = [row for _, row in vader.iterrows() if row["role"] == "steered" and row["coeff"] < 0]
    said = confirmed[(confirmed["role"] == "baseline") & confirmed["method"].str.contains("love")].set_index("metric")
    dearer = said.loc["perplexity"]
    searched = told.stated[(told.stated["metric"] == told.metric) & (told.stated["role"] == "steered")]
    works, [dear] = (
        count((searched["state"] == "works").sum()),
        searched[searched["state"] == "works, over budget"].index,
    )
    cost = told.stated[(told.stated["metric"] == "perplexity") & in_cell(told.stated, searched.loc[dear])].iloc[0]
    return [
        f"Each cell has {back['n']} continuations.",
        first_sentence(told.results, told.metric, told.model, told.n_prompts),
        f"“I love this” before the prompt gives {moved(said.loc['vader'])}, at a perplexity of"
        f" ×{dearer['effect']:.2f} [×{dearer['low']:.2f}, ×{dearer['high']:.2f}]; the vector reversed gives"
        f" {moved(back)}, {where(back)} its band {band(back)}.",
        f"In the search, by {count(run.config['n_random'])} random vectors a cell, {works} of {len(searched)} cells"
        f" works within the budget, and one over it (layer {cost['layer']:g}, coefficient {cost['coeff']:+g},"
        f" perplexity ×{cost['effect']:.1f}): so few vectors tell little.",
    ]


def of_the_sweep() -> list[str]:
    run = Run("actadd_sweep", SMOLLM2)
    told = Told(run.parts)
    vader = run.table("confirmed", metric="vader")
    back = vader[(vader["method"] == "mean_difference") & (vader["role"] == "steered") & (vader["coeff"] < 0)].iloc[0]
    said = vader[(vader["role"] == "baseline") & vader["method"].str.contains("love")].iloc[0]
    n_draws = count(run.config["n_random_confirm"])
    expected = told.answers()
    assert expected is not None
    answers = Counter(expected["answer"])
    return [
        first_sentence(told.results, told.metric, told.model, told.n_prompts),
        f"By a t distribution around its {n_draws} random vectors, one more would do as much with a probability of"
        f" {told.results[1].table['p_random'].iloc[0]:.3f}.",
        f"Of {count(len(expected))} expectations {count(answers['held'])} held, {count(answers['failed'])} failed and"
        f" {count(answers['cannot say'])} cannot be said.",
        f"A sentence of love before the prompt gives {moved(said)}; the vector reversed gives {moved(back)},"
        f" {where(back)} its band {band(back)}.",
    ]


def both_answers(summary: pd.DataFrame, method: str, kind: str = "") -> str:
    """Context answers under conflict and right answers over irrelevant passages, in %."""

    def of(metric: str, regime: str, kind: str = "") -> float:
        own = summary[(summary["method"] == method) & (summary["metric"] == metric) & (summary["role"] != "control")]
        own = own[(own["regime"] == regime) & (own["kind"] == kind) & (own["coeff"].isna() | (own["coeff"] >= 0))]
        assert len(own) == 1, f"{len(own)} rows of {method}, {metric}, {regime}"
        return float(own.iloc[0]["value"])

    return f"{percent(of('context', 'conflict', kind))} and {percent(of('right', 'irrelevant'))} %"


def of_every_rival(summary: pd.DataFrame, kind: str = "") -> str:
    each = {name: both_answers(summary, method, kind) for name, method in METHODS.items()}
    return (
        f"Context answers and right answers over irrelevant passages are {each['unsteered']} unsteered,"
        f" {each['vector']} with the vector, {each['instruction']} with the instruction, {each['CAD']} with CAD and"
        f" {each['COIECD']} with COIECD, at different KL."
    )


def of_the_capitals() -> list[str]:
    run = Run("contextfocus_comparison", SMOLLM2)
    known = run.json("known")
    return [
        f"SmolLM2 knew {len(known['known'])} of {known['asked']} capitals.",
        comparison_findings.first_sentence(run.parts),
        of_every_rival(run.table("summary")),
    ]


def of_the_begun_answer() -> list[str]:
    """What the published vector does to the two cities where the answer is begun, and to the answers."""
    run = Run("contextfocus_multipliers", SMOLLM2, answer_prefix="{begun}")
    found = run.parts["measured"]
    found = found[found["against"].isna()]

    def at(m: str, metric: str) -> pd.Series:
        [row] = [row for _, row in found.iterrows() if (row["who"], row["metric"]) == (f"contextfocus m {m}", metric)]
        return row

    def change(row: pd.Series) -> str:
        ends = f"[{signed(100 * row['control_low'], 0)}, {signed(100 * row['control_high'], 0)}]"
        return f"by {signed(100 * row['effect'], 0)} points {points(row)}, random vectors {ends}"

    odds = [
        f"at m {m.replace('-', '−')} by {moved(at(m, 'log_odds'))}, random vectors {band(at(m, 'log_odds'))}"
        for m in ("0.5", "-1")
    ]
    return [
        "With the answer begun for the model the published vector moves the log-odds of the passage's city over"
        f" memory's beyond random vectors, both ways: {'; '.join(odds)}.",
        f"At m 1 they move further and are not told from random vectors ({moved(at('1', 'log_odds'))}, random vectors"
        f" {band(at('1', 'log_odds'))}); memory answers move {change(at('1', 'memory'))}, and context answers"
        f" {change(at('1', 'context'))}: what comes instead is neither city.",
    ]


def of_the_conflict() -> list[str]:
    run = Run("contextfocus_conflict", ORGANISM)
    summary, coeff = run.table("summary"), run.json("chosen")["coeff"]
    changed = run.row("paired", questions="all", kind="subjects", method="contextfocus", coeff=coeff)

    def of(method: str, metric: str, regime: str, kind: str = "") -> pd.Series:
        own = summary[(summary["method"] == method) & (summary["metric"] == metric) & (summary["role"] != "control")]
        own = own[(own["regime"] == regime) & (own["kind"] == kind) & (own["coeff"].isna() | (own["coeff"] >= 0))]
        assert len(own) == 1, f"{len(own)} rows of {method}, {metric}, {regime}"
        return own.iloc[0]

    agreement, closed = (of("contextfocus", "right", regime) for regime in ("agreement", "closed_book"))
    parts = [
        of(f"part {part}", "context", "conflict", "subjects")
        for part in ("instruction_only", "shuffled_context", "context_only")
    ]
    alone, shuffled, uninstructed = (percent(part["value"]) for part in parts)
    elsewhere = summary[(summary["method"] == "shuffled_layer") & (summary["metric"] == "context")]
    elsewhere = elsewhere[(elsewhere["regime"] == "conflict") & (elsewhere["kind"] == "subjects")]
    [elsewhere] = elsewhere[elsewhere["coeff"] > 0]["value"]
    return [
        comparison_findings.first_sentence(run.parts),
        f"By the first conflict of each of the {changed['n']} questions alone it helps {count(changed['helped'])} and"
        f" hurts {count(changed['hurt'])} (McNemar p = {changed['p']:.2f}).",
        f"Right answers over agreeing passages change by {100 * agreement['effect']:.0f} points {points(agreement)},"
        f" closed-book ones by {100 * closed['effect']:.0f} points {points(closed)}.",
        of_every_rival(summary, "subjects"),
        f"The instruction's part alone gives {alone} %, the same vector from shuffled contexts {shuffled} %, from"
        f" contexts without the instruction {uninstructed} %, and the vector of another layer, as long,"
        f" {percent(elsewhere)} %: nothing beyond the instruction's part is shown.",
    ]


def of_equal_kl() -> list[str]:
    run = Run("contextfocus_gradient", ORGANISM)
    equal, elsewhere = run.table("equal"), run.table("elsewhere", regime="irrelevant", cost=1.0)
    delta, vector = "imitate instructed", "mean difference"
    bands = control_curve(equal).set_index("cost")

    def value(method: str, nats: float, table: pd.DataFrame = equal) -> pd.Series:
        rows = table[table["draw"].isna() & (table["method"] == method) & (table["cost"] == nats)]
        assert len(rows) == 1
        return rows.iloc[0]

    def at(nats: float) -> str:
        row = value(delta, nats)
        apart = f"[{signed(100 * row['difference_low'], 0)}, {signed(100 * row['difference_high'], 0)}]"
        return (
            f"{percent(row['value'])} % of context answers against the vector's {percent(value(vector, nats)['value'])}"
            f" ({signed(100 * row['difference'], 0)} points {apart}; random vectors {reach(nats)})"
        )

    def reach(nats: float) -> str:
        return f"{percent(bands.loc[nats, 'control_low'])} to {percent(bands.loc[nats, 'control_high'])} %"

    def right(method: str) -> str:
        row = value(method, 1.0, elsewhere)
        return f"{percent(row['value'])} % [{percent(row['low'])}, {percent(row['high'])}]"

    alone = equal[equal["draw"].isna() & (equal["cost"] == 1.0) & (equal["method"] != vector)]
    surely = alone[alone["difference_low"] > 0]
    unread = count(int(alone["difference"].isna().sum()))
    [once] = run.table("costs", method=vector)["once_forward_equivalents"]
    unsteered = (value(vector, 1.0, elsewhere)["value"] - value(vector, 1.0, elsewhere)["effect"]) * 100
    return [
        f"A delta optimised by gradient for each query, so that the organism answers as if it were instructed, gives"
        f" {at(0.3)} at 0.3 nats, {at(1.0)} at 1 nat, and {at(2.0)} at 2 nats.",
        f"Of {count(len(alone))} gradient forms {count(len(surely))} give more than the vector at 1 nat (nothing is"
        f" corrected), {unread} does not get that far.",
        equal_kl_report.first_sentence(run.parts),
        f"Over irrelevant contexts, where {unsteered:.0f} % of unsteered answers are right, {right(delta)} are under"
        f" the delta that imitates the instruction and {right(vector)} under the vector, both at 1 nat.",
        f"The delta costs about {run.table('costs', method=delta)['forward_equivalents'].iloc[0]:.0f} plain passes a"
        f" query, the vector {once:.0f} once",
    ]


def of_the_papers() -> list[str]:
    """What failed first, line by line, and how many figures there are of each verdict, and which."""
    figures = paper_figures()
    runs = {f.toml.stem: next(f.runs(ROOT / "results"), None) for f in figures}
    made = {name: json.loads((run / "verdict.json").read_text()) for name, run in runs.items() if run is not None}
    by = {word: [name for name, held in made.items() if held["verdict"] == word] for word in WORDS_OF_VERDICTS}
    failed, *others = by.items()
    each = [f"{count(len(names))} {word} ({', '.join(names)})" for word, names in others if names]
    lines = {
        name: [c for c in made[name]["checks"] if (c["answer"], c["about"]) == ("failed", "shape")]
        for name in failed[1]
    }
    told = [f"{name}, {' and '.join(map(line_of, checks))}" for name, checks in lines.items()]
    alike = [name for name, checks in lines.items() if all("as random vectors may" in c["measured"] for c in checks)]
    unnumbered = [f.toml.stem for f in figures if not f.study.config.numbers]
    [prompting] = paper_figures(("prompting",))
    spaced_run = Run("actadd_prompting", SMOLLM2, pad=None)
    behind = {
        c["expected"].partition(": ")[0]: c for c in spaced_run.json("verdict")["checks"] if c["about"] == "number"
    }
    of_each = {answer: count(n) for answer, n in Counter(c["answer"] for c in behind.values()).items()}
    assert "held" not in of_each
    checks = pd.DataFrame(made["prompting"]["checks"])
    said = {line.partition(": ")[0]: row for line, row in zip(checks["expected"], checks["measured"], strict=True)}
    ours = {who: said[who].partition(";")[0] for who in said}
    numbers = {name.partition(": ")[0]: f"{number:.3f}" for name, number in prompting.study.config.numbers.items()}
    band = re.search(
        r"random vectors (\[.*?\])", " ".join(checks["measured"][checks["expected"].str.contains("beyond")])
    )
    assert band is not None

    def dense(who: str) -> str:
        found = re.search(rf"{who} (×\S+ \[.*?\]; random vectors \[.*?\])", made["topic_density"]["ours"])
        assert found is not None
        value, drawn = found[1].split("; ")
        return f"{value} ({drawn})"

    def both(who: str) -> str:
        return f"{ours[who]} (published ×{numbers[who]})"

    def by_nineteen(name: str) -> str:
        [figure] = paper_figures((name,), variant="draws")
        assert figure.study.config.n_random == 19
        return str(verdict_of(figure)["verdict"])

    asked = checks[checks["about"] == "number"].set_index("expected")["answer"]
    assert asked["prompting, off topic: ratio is 1.132"] == "failed"

    return [
        f"Of {count(len(made))} figures and tables made on {SMOLLM2} {count(len(failed[1]))} are not reproduced, by"
        f" these lines: {'; '.join(told)}.",
        f"In {count(len(alike))} of them ({', '.join(alike)}) random vectors of the same norm may break that line as"
        " well.",
        f"Of the others {'; '.join(each)}.",
        f"{count(len(unnumbered)).capitalize()} have no number to be held to, and those of contrasts are a first look's"
        " at this same model, as is the line of it that failed: what is reported of the paper, that the joint contrast"
        f" does more than its parts, {parts_of_the_contrast(made['contrasts'])}.",
        f"With nineteen (the variants draws) positions comes to “{by_nineteen('positions')}” and gallery to"
        f" “{by_nineteen('gallery')}”.",
        "With a space, the paper's own padding, other text behind the word has"
        f" {behind['prompting, off topic']['measured']} and text on the topic"
        f" {behind['prompting, on topic']['measured']}; of the {count(len(behind))} numbers {of_each['failed']} are"
        f" outside and of {of_each['cannot say']} nothing can be said, no effect being in that interval too.",
        f"The table of ActAdd against prompting has {count((asked == 'held').sum())} of its {count(len(asked))} numbers"
        " inside our intervals, and not the one that it is about, other text behind the word itself:"
        f" {both('prompting, off topic')}; text on the topic has {both('prompting, on topic')} there. Behind the word's"
        f" vector it has a perplexity of {both('on topic')}, one more random vector would fall in {band[1]}, and other"
        f" text {both('off topic')}.",
        "In its figure of topic density, where no padding stands in front, text with some words of the topic has"
        f" {dense('up to 7 %')} and text without {dense('no wedding word')}.",
    ]


def parts_of_the_contrast(held: dict[str, Any]) -> str:
    """What became of the lines that set the joint contrast above its parts."""
    answers = Counter(c["answer"] for c in held["checks"] if " above " in c["expected"] and "layer 18" in c["expected"])
    return " and ".join(f"{answer} in {count(n)}" for answer, n in sorted(answers.items()))


def line_of(check: dict[str, str]) -> str:
    """A line and what was measured."""
    return f"“{check['expected']}” ({plainly(check['measured'])})"


def plainly(said: object) -> str:
    """What was measured beside random vectors, without what one more would do."""
    return re.sub(r", (p |\d+ draws alike|as random vectors may)[^;]*$", "", str(said)).replace("; ", ", ")


def verdict_of(figure: PaperFigure) -> dict[str, Any]:
    """What verdict.json of a figure's newest run holds."""
    held: dict[str, Any] = json.loads((next(figure.runs(ROOT / "results")) / "verdict.json").read_text())
    return held


def of_topics() -> list[str]:
    """The topics of ActAdd that rise beyond random vectors under their own vector; what reading under one changes."""
    [figure] = paper_figures(("topics",))
    checks = pd.DataFrame(verdict_of(figure)["checks"])
    lines = checks[checks["about"] == "shape"]
    held = lines[lines["answer"] == "held"]
    [shifts] = paper_figures(("token_shifts",))
    shifted = pd.DataFrame(verdict_of(shifts)["checks"])

    def shift(who: str) -> str:
        [said] = shifted.loc[shifted["expected"].str.startswith(f"{who}: "), "measured"]
        return plainly(said)

    [layers] = paper_figures(("topic_layers",), variant="topics")
    along, verdict = pd.DataFrame(verdict_of(layers)["checks"]), verdict_of(layers)["verdict"]
    early = {line: row for line, row in along.set_index("expected").iterrows() if str(line).startswith("every topic")}
    rises, above, late, dear = (
        next(row for line, row in early.items() if part in str(line))
        for part in ("early: any word of its topic rises", "above every topic late", "topic late: any", "perplexity")
    )
    assert [row["answer"] for row in (rises, above, late, dear)] == ["held", "cannot say", "cannot say", "held"]
    own = {
        answer: [
            line.partition(" early")[0] for line in rows["expected"] if " early: any" in line and line[:5] != "every"
        ]
        for answer, rows in along.groupby("answer")
    }
    module, held_parts = load_experiment(layers.toml), read_run(next(layers.runs(ROOT / "results")))
    asked = (held_parts["summary"], held_parts["table"], layers.study.config.expects, layers.study.config.seed)
    every = module._measured("layer", "front", *asked)  # type: ignore[attr-defined]
    paired = every[(every["against"] == "every topic late") & (every["metric"] == "words of its topic")]
    counted = moved(paired.iloc[0])
    ends = {band: " to ".join(map(str, depths)) for band, depths in layers.study.config.bands.items()}
    each = [f"{row.expected.partition(':')[0]} {plainly(row.measured)}" for row in held.itertuples()]
    assert {*own["held"]} != {row.expected.partition(":")[0] for row in held.itertuples()}
    rest = lines.loc[lines["answer"] != "held", "expected"].str.partition(":")[0]
    return [
        f"Of {count(len(lines))} topics {count(len(held))} are written beyond random vectors under their own vector, by"
        " the share of texts with a word of the topic, more than unsteered (each topic asked alone):"
        f" {'; '.join(each)}; of {', '.join(rest)} nothing can be said.",
        f"Over every layer (the variant topics, as a whole: {verdict}) the early ones ({ends['early']}) write the six"
        f" together more by {plainly(rises['measured'])}, at a perplexity of {plainly(dear['measured'])}; asked alone"
        f" {', '.join(own['held'])} are, others than by the texts at one layer, and of {', '.join(own['cannot say'])}"
        f" nothing can be said. The late ones ({ends['late']}) write them more by {plainly(late['measured'])}. That"
        " early ones do so more than late ones cannot be said by shares"
        f" ({plainly(above['measured']).removesuffix(' against every topic late')}), whose intervals are wide for means"
        f" over so many cells; by words in a text it is so, {counted}.",
        f"In text that is read under the vector of weddings, words of the topic gain {shift('topic words')} nats, and"
        f" all other words {shift('other words')}.",
    ]


def of_the_speeds() -> list[str]:
    """What a step takes, as the benchmarks' kept output has it."""

    def rows(file: str, table: str, name: str) -> str:
        text = (ROOT / "benchmarks" / file).read_text(encoding="utf-8")
        [line] = re.findall(rf"^  {re.escape(name)} +(.*)$", text[text.rindex(table) :].split("\n\n")[0], re.MULTILINE)
        return str(line)

    def span(line: str, place: int) -> str:
        value, low, high = re.findall(r"(\S+) \((\S+?)-(\S+?)\)", line)[place]
        return f"{value} ({low} to {high})" if place else f"{value} ms ({low} to {high})"

    cpu = [rows("2026-11-26_smollm2_2cores.txt", f"(c) batch {n},", "ours") for n in (1, 32)]
    step = "step, batch 1, prompt 32 (LlamaForCausalLM, 8.03B"
    ours, by_hand, theirs = (
        rows("2026-11-26_h200.txt", step, name)
        for name in ("ours, steered", "written by hand, steered", "transformers.generate")
    )
    return [
        f"on a CPU in {span(cpu[0], -1)} of its seconds at one row and in {span(cpu[1], -1)} at 32.",
        f"one row of an 8B Llama of random weights in bfloat16 on an H200 takes {span(ours, 0)} a steered token, a"
        f" graph written by hand {span(by_hand, 0).replace(' ms', '')}, and an unsteered one by"
        f" {span(theirs, 0).replace(' ms', '')}; one run of",
    ]


SECTIONS: dict[str, tuple[str, str, tuple[Callable[[], list[str]], ...]]] = {
    "speeds": ("Text is written by Hugging Face's", "`load_model` also takes", (of_the_speeds,)),
    "sweep": ("![Sentiment of the text", "## Two commands", (of_the_grid, of_the_sweep)),
    "context against memory": (
        "## Context against memory",
        "## The papers, made again",
        (of_the_capitals, of_the_begun_answer, of_the_conflict, of_equal_kl),
    ),
    "papers": ("## The papers, made again", "## How the code is laid out", (of_the_papers, of_topics)),
}


def prose(start: str, end: str) -> str:
    """The prose of a section: without figures, code and the addresses of links."""
    text = README[README.index(start) : README.index(end)]
    text = re.sub(r"^!\[.*?\]\(.*?\)$|```.*?```", "", text, flags=re.DOTALL | re.MULTILINE)
    return spaced(re.sub(r"`[^`]*`|\]\([^)]*\)|et al\. \d{4}|arXiv:\S+", "", text))


@pytest.mark.parametrize("name", SECTIONS)
def test_every_number_of_a_result_is_derived_from_its_run(name: str) -> None:
    start, end, results = SECTIONS[name]
    found = prose(start, end)
    for sentence in (sentence for result in results for sentence in result()):
        assert sentence in found, f"the tables say: {sentence}"
        found = found.replace(sentence, "")
    assert not re.findall(r"[^.]*\d[^.]*\.", re.sub("SmolLM2|CC BY 4.0", "", found)), "a number that no table gives"
