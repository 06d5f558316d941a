"""What a comparison on conflicts says: whom it is about, what stands beside a cost, what was not measured."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steering_lab.analysis.plots.parts.layout import plain
from steering_lab.numerics.written import reach
from steering_lab.runs import read_run
from steering_lab.study.conflict import comparison_costs, comparison_findings, comparison_report, equal_kl_report

CHOSEN = {"chosen": {"layer": 2, "coeff": 0.5, "budgets": {}}}
RESULTS = Path(__file__).parents[2] / "results"
WHO = ("context likelihood", "imitate instructed")  # of which the first does not reach a nat
NOTHING = {"chosen": {"nothing_chosen": "no cell keeps agreement_lost within 0.12; the nearest are contextfocus"}}


def row(method: str, regime: str, effect: float, low: float, high: float, **also: Any) -> dict[str, Any]:
    role, coeff = ("steered", 0.5) if method == "contextfocus" else ("baseline", np.nan)
    metric = "context" if regime == "conflict" else "right"
    own = {"method": method, "role": role, "coeff": coeff, "regime": regime, "kind": "", "metric": metric}
    numbers = {"value": 0.5 + effect, "effect": effect, "low": low, "high": high, "p_family": 0.5}
    return {**own, **numbers, "control_low": np.nan, "control_high": np.nan, "why": None, **also}


@pytest.mark.parametrize(
    ("low", "opens"), [(0.1, "ContextFocus is not shown to work here: "), (-0.1, "Nothing works here: ")]
)
def test_nothing_works_only_where_no_rival_does(low: float, opens: str) -> None:
    summary = pd.DataFrame([row("COIECD", "conflict", 0.3, low, 0.5, p_family=0.01 if low > 0 else 0.3)])
    said = comparison_findings.first_sentence({**NOTHING, "summary": summary})
    assert said.startswith(f"{opens}no cell surely keeps agreement lost within 0.12.")
    assert ("COIECD (+30 points [+10, +50]) raises context answers" in said) == (low > 0)
    assert comparison_findings.first_sentence(NOTHING).startswith("ContextFocus: no cell surely keeps")


def test_what_is_lost_elsewhere_stands_beside_random_vectors() -> None:
    lost = row("contextfocus", "irrelevant", -0.19, -0.27, -0.10, control_low=-0.04, control_high=0.04)
    kept = row("contextfocus", "agreement", 0.0, -0.04, 0.04, control_low=0.0, control_high=0.0)
    parts = {**CHOSEN, "summary": pd.DataFrame([lost, kept])}
    said = "irrelevant by −19 points [−27, −10] (random vectors [−4, +4])"
    assert comparison_costs.lost_elsewhere(parts) == f"; right answers elsewhere: {said}"
    assert (
        "agreement from 50% to 50% (by 0 points [−4, +4]; random vectors all at 0)"
        in comparison_costs.cost_sentence(parts)
    )


def test_draws_that_are_alike_make_no_band() -> None:
    assert reach(0.1, 0.1, str) == "all at 0.1"
    assert reach(0.1, 0.2, str) == "[0.1, 0.2]"
    assert reach(np.nan, np.nan, str) == ""


def test_prompting_has_no_perplexity_of_text_without_a_prompt() -> None:
    fluent = {"metric": "held_out_perplexity"}
    rows = [row(method, "held-out text", 1.0, 1.0, 1.0, **fluent) for method in ("instructed", "contextfocus")]
    masked = comparison_costs.without_prompting(pd.DataFrame(rows)).set_index("method")
    assert np.isnan(masked.loc["instructed", "effect"])
    assert masked.loc["instructed", "why"] == comparison_costs.NO_PROMPT
    assert masked.loc["contextfocus", "effect"] == 1.0


@pytest.fixture(scope="module")
def run() -> Path:
    runs = (Path(__file__).parents[2] / "results" / "contextfocus_conflict").glob("*_organism_*")
    return next(path for path in runs if (path / "odd.parquet").is_file())


def test_every_number_of_the_first_table_has_its_interval(run: Path) -> None:
    parts = comparison_report.read_comparison(run)
    table = comparison_report.headline(parts).set_index("condition").drop(index="unsteered")
    p = table.pop("p, conflict")
    assert p[~table.index.str.contains("random|shuffled|another")].astype(float).between(0, 1).all()
    said = table.stack()
    assert said[said != "–"].str.contains("[", regex=False).all()
    assert said["ContextFocus +0.5"].str.contains("\nrandom ", regex=False).all()
    first = next(iter(comparison_report.tables(parts).values()))
    assert "p" in first
    assert "p, corrected" not in first


def test_speed_without_an_interval_is_not_shown(run: Path, tmp_path: Path) -> None:
    for file in run.iterdir():
        if file.is_file():
            (tmp_path / file.name).symlink_to(file)
    assert "tokens_per_second_ratio" in comparison_report.read_comparison(tmp_path)["costs"]
    (tmp_path / "config.json").unlink()
    config = json.loads((run / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "n_rounds": 5}))
    assert not set(comparison_report.read_comparison(tmp_path)["costs"]) & {
        "tokens_per_second",
        "tokens_per_second_ratio",
    }


@pytest.fixture(scope="module")
def gradient() -> dict[str, Any]:
    [folder] = (RESULTS / "contextfocus_gradient").glob("*_organism_*")
    return dict(read_run(folder))


def test_a_method_that_falls_short_of_the_kl_is_answered_at_its_chosen_strength(gradient: dict[str, Any]) -> None:
    gradient["config"] = {**gradient["config"], "expects": [f"{who}: context moves by at most 0.05" for who in WHO]}
    told = equal_kl_report.answered(gradient)
    assert told is not None
    said = told.set_index("expected")["measured"].to_dict()
    short, reached = (said[f"{who}: context moves by at most 0.05"] for who in WHO)
    assert short.endswith("at its chosen strength, short of that KL")
    assert "at its chosen strength" not in reached
    assert (told["answer"] == "failed").all()


def test_a_page_at_equal_kl_says_what_is_paid_once_and_how_far_a_random_delta_moved(gradient: dict[str, Any]) -> None:
    said = " ".join(equal_kl_report.findings(gradient))
    for name in ("mean difference", "grounded, shared"):
        once = gradient["costs"].set_index("method").loc[name, "once_forward_equivalents"]
        assert f"{name} {once:.0f}" in said.split("Once, before any query: ")[1]
    assert said.count("over the objective's steps (first token ") == 4
    assert "the strongest gives" in said


@pytest.mark.parametrize(
    ("experiment", "module", "report"),
    [
        ("contextfocus_comparison", comparison_report, comparison_report.report_comparison),
        ("capitals_gradient", equal_kl_report, equal_kl_report.report_equal_kl),
    ],
)
def test_page_and_figures_of_a_real_model_name_its_size_and_that_its_weights_were_dequantised(
    experiment: str, module: ModuleType, report: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, Any] = {}
    monkeypatch.setattr(module, "publish", lambda folder, parts, **page: shown.update(page) or Path(folder))
    report(sorted((RESULTS / experiment).glob("*SmolLM2*"))[-1])
    about = "SmolLM2-135M-Instruct, 30 layers, 135M parameters, dequantised from Q4_1"
    assert about in shown["title"]
    assert len(shown["figures"]) >= 5
    for name, figure in shown["figures"].items():
        assert about in plain(figure.layout.title.text.replace("<br>", " ")), name


def test_a_published_change_is_drawn_beside_the_first_kind_of_conflict_alone() -> None:
    parts = comparison_report.read_comparison(sorted((RESULTS / "contextfocus_comparison").glob("*_organism_*"))[-1])
    figure = comparison_report.figures(parts, 0.36, "published, second-hand")["context_answers"]
    [told] = [trace for trace in figure.data if trace.name == "published"]
    line = next(trace for trace in figure.data if trace.name == "reference")
    assert told.x[0] == pytest.approx(line.x[0] + 0.36)
    assert told.xaxis == line.xaxis == "x"
    assert any("published, second-hand" in note.text for note in figure.layout.annotations)
