"""The gradient form against the mean difference: end to end on the organism, its rules of choice, its refusals."""

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steering_lab.cli.run import run as run_command
from steering_lab.data.conflict_readers import write_conflict_qa
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.organism.world_rows import world_rows
from steering_lab.runs import read_run
from steering_lab.study.choosing import choose_iterations, choose_site, choose_strength, choose_threshold
from steering_lab.study.conflict.equal_kl_report import _cost_points, check_expectations
from steering_lab.study.conflict.naming import of_conflicts
from steering_lab.study.finding import experiments_folder, load_experiment
from steering_lab.study.reading import read_config
from steering_lab.tables import strength

TOML = experiments_folder() / "contextfocus_gradient.toml"
SMALL = (
    "layers=[1, 2]", "coeffs=[0.5, 1.5]", "budgets=[0.1, 0.4]", "iterations=[1, 3]", "n_vector=24", "n_labelled=8",
    "n_validation=8", "n_test=8", "n_random=3", "n_random_deltas=3", "sure=false",
    'forms=["grounded, shared", "imitate instructed", "context likelihood", "weighted"]',
    'weights={"imitate instructed" = 2, "contrast closed book" = 0.5}',
    'expects=["imitate instructed: context above mean difference", "weighted, gated: irrelevant falls by at most 0.5"]',
)  # fmt: skip

FORMS = ("grounded, shared", "imitate instructed", "context likelihood", "weighted")


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment(TOML)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("results")
    run_command(TOML, set=SMALL, results=results)
    return next((results / "contextfocus_gradient").iterdir())


@pytest.fixture(scope="module")
def parts(folder: Path) -> dict[str, Any]:
    return read_run(folder)


def test_every_regime_is_chosen_by_and_tested_on_questions_of_its_own(experiment: ModuleType) -> None:
    asked = read_config(experiment.Config, TOML).questions()  # `Questions` refuses what serves two uses
    assert [part.name for part in asked.validation] == ["conflict", "agreement", "irrelevant"]
    assert [part.name for part in asked.test] == ["conflict", "agreement", "irrelevant", "closed_book"]
    assert len(asked.test[0].rows) == 120


def test_questions_of_a_file_have_irrelevant_contexts_to_choose_by(experiment: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_conflict_qa(path, world_rows("conflict", 400, split="validation", seed=1))
    config = replace(read_config(experiment.Config, TOML), data=str(path))
    asked = config.questions()
    validation = {part.name: part.rows for part in asked.validation}
    assert {row.question for row in validation["irrelevant"]} <= {row.question for row in validation["conflict"]}
    assert validation["irrelevant"]
    assert {part.name for part in asked.test} >= {"conflict", "irrelevant", "closed_book"}


def test_the_capitals_are_asked_about_too_and_first_closed_book(experiment: ModuleType) -> None:
    config = read_config(experiment.Config, TOML, ["data=capitals", "min_population=40000000"])
    assert config.asks_first
    asked = config.questions()
    assert [part.name for part in asked.validation] == ["conflict", "agreement", "irrelevant"]
    known = {row.closed_book().id for row in asked.vector[:1] + asked.validation[0].rows[:4] + asked.test[0].rows[:4]}
    fewer = config.questions(known)
    assert {row.closed_book().id for row in fewer.vector} == {asked.vector[0].closed_book().id}
    assert {row.closed_book().id for row in (*fewer.validation[0].rows, *fewer.test[0].rows)} <= known


def test_the_run_leaves_a_whole_folder_with_its_tables_its_vectors_and_its_page(
    folder: Path, parts: dict[str, Any]
) -> None:
    assert {"validation", "sweep", "gates", "table", "summary", "equal", "curves", "costs"} <= set(parts)
    assert not (folder / "deltas").exists()
    chosen = json.loads((folder / "chosen.json").read_text())
    for name in ("mean_difference", "grounded"):
        assert SteeringVector.load(folder / f"{name}.safetensors").site.layer == chosen["layer"]
    assert json.loads((folder / "model.json").read_text())["name"] == "organism"
    assert {p.stem for p in (folder / "figures").glob("*.html")} >= {
        "context_against_kl", "iterations_answers", "iterations_loss", "side_effects", "cost",
    }  # fmt: skip
    page = (folder / "index.html").read_text()
    assert "A synthetic model: what is shown is its own" in page
    assert "one more random delta of its KL over the objective&#39;s steps (first token " in page
    assert "one more random vector of its norm [" in page
    assert "random deltas" in (folder / "figures" / "context_against_kl.html").read_text()


def test_every_method_is_a_curve_on_the_test_and_is_gated_on_every_regime(
    parts: dict[str, Any], experiment: ModuleType
) -> None:
    table: pd.DataFrame = parts["table"]
    conflict = table[table["regime"] == "conflict"]
    strengths = conflict[conflict["draw"].isna()].assign(by=strength).groupby("method")["by"].nunique()
    units = conflict.groupby("method")["unit"].unique()
    assert units["mean difference"].tolist() == ["coeff"]
    assert all(units[method].tolist() == ["resid_norm"] for method in FORMS)
    assert (conflict.loc[conflict["unit"] == "resid_norm", "coeff"] == 1).all()  # a budget is no coefficient
    assert (strengths[["mean difference", *FORMS]] == 2).all()
    assert conflict[conflict["method"] == "random"]["draw"].nunique() == 3
    gated = {f"{method}, gated" for method in ("mean difference", *FORMS)}
    for _, part in table.groupby("regime"):
        assert gated <= set(part["method"])
        assert not part.duplicated(["condition", "metric", "prompt", "sample"]).any()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (['forms=["imitate"]'], r"one or more of \['grounded, shared', 'imitate"),
        (["forms=[]"], "must name one or more of"),
        (['forms=["weighted"]'], "go together"),
        (['weights={"imitate instructed" = 1}'], "go together"),
        ([f"forms={[*FORMS, 'contrast closed book']}", 'weights={"imitate instructed" = 1}'], "names 5 objectives"),
        (['forms=["weighted"]', 'weights={"grounded, shared" = 1}'], "a number above 0 each"),
        (['forms=["weighted"]', 'weights={"imitate instructed" = 0}'], "a number above 0 each"),
        (["kl=nan"], "kl is nan nats"),
        (["kls=[nan]"], "all above 0"),
        (["coeffs=[inf]"], "all above 0"),
        (['forms=["weighted", "weighted"]', 'weights={"imitate instructed" = 1}'], "twice"),
    ],
)
def test_settings_that_cannot_be_are_refused(experiment: ModuleType, settings: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_config(experiment.Config, TOML, settings)


def test_a_weighted_form_descends_on_the_sum_of_its_objectives(parts: dict[str, Any]) -> None:
    sweep = parts["sweep"]
    start = sweep[(sweep["varied"] == "iterations") & (sweep["iterations"] == 1)].set_index("method")["loss_start"]
    assert start["weighted"] > 2 * start["imitate instructed"]  # and half of a divergence besides


def test_random_deltas_stand_at_the_kl_of_each_method_and_make_its_band(
    parts: dict[str, Any], experiment: ModuleType
) -> None:
    table, summary = parts["table"], parts["summary"]
    beside = table[table["method"] == "random_delta"]
    assert set(beside["control_of"]) == set(FORMS)
    assert set(beside["draw"]) == {0, 1, 2}
    assert set(beside["regime"]) == {"conflict"}
    kl = beside[beside["metric"] == "kl"].groupby("control_of")["value"].mean()
    for method, budget in beside.groupby("control_of")["budget"].first().items():
        cell = summary[(summary["method"] == method) & (summary["budget"] == budget)].query("regime == 'conflict'")
        assert (cell.loc[cell["metric"] == "context", "n_draws"] == 3).all()
        if method in ("imitate instructed", "weighted"):  # whose targets begin at the answer
            own = float(cell.loc[cell["metric"] == "kl", "value"].iloc[0])
            assert 0.3 * own < kl[method] < 3 * own  # of the first token alone; equal over all of the target's


def test_a_shut_gate_leaves_the_unsteered_answer(parts: dict[str, Any]) -> None:
    table, gates = parts["table"], parts["gates"]
    closed = table[(table["regime"] == "closed_book") & (table["metric"] == "kl")]
    assert not gates[gates["regime"] == "closed_book"]["open"].any()
    assert closed[closed["method"].str.endswith(", gated")]["value"].max() == pytest.approx(0, abs=1e-6)
    assert closed[closed["method"] == "mean difference"]["value"].min() > 0
    agreement = table[(table["regime"] == "agreement") & (table["metric"] == "kl")]
    assert agreement[agreement["method"] == "mean difference, gated"]["value"].max() == pytest.approx(0, abs=1e-6)


def test_the_gradient_forms_follow_the_context_more_than_the_unsteered_model(parts: dict[str, Any]) -> None:
    summary = parts["summary"]
    context = summary[(summary["regime"] == "conflict") & (summary["metric"] == "context")].set_index("method")
    strong = context[context["budget"] == 0.4]
    for method in ("imitate instructed", "weighted"):
        assert strong.loc[method, "value"] > context.loc["unsteered", "value"]


def test_losses_fall_with_iterations_and_costs_grow(parts: dict[str, Any]) -> None:
    sweep = parts["sweep"]
    trace = sweep[sweep["varied"] == "iterations"].pivot(index="method", columns="iterations")
    assert (trace["loss"][3] <= trace["loss"][1]).all()
    assert (trace["forward_equivalents"][3] > trace["forward_equivalents"][1]).all()
    assert set(sweep.loc[sweep["varied"] == "layers", "n_layers"]) == {1, 3}


def test_the_table_at_equal_kl_is_paired_with_the_vector(parts: dict[str, Any]) -> None:
    equal = parts["equal"]
    vector = equal[(equal["method"] == "mean difference") & equal["value"].notna()]
    assert len(vector)
    assert (vector["difference"] == 0).all()
    assert set(FORMS) <= set(equal["method"])


def test_the_page_says_what_the_weighted_form_is_a_sum_of(folder: Path) -> None:
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "Weighted: 2 × imitate instructed + 0.5 × contrast closed book." in page


def test_the_report_is_drawn_again_from_the_tables_alone(folder: Path, experiment: ModuleType) -> None:
    (folder / "index.html").unlink()
    assert experiment.report(folder) == folder / "index.html"
    assert (folder / "index.html").is_file()


def test_the_site_is_that_of_the_highest_lower_end_within_the_kl_and_surely_above_none() -> None:
    cells = pd.DataFrame({
        "layer": [1, 2, 3, 4], "coeff": 0.5, "kl": [0.5, 0.2, 5.0, 0.4],
        "low": [0.1, 0.1, 0.8, -0.2], "high": [0.9, 0.7, 1.0, 1.0],
    })  # fmt: skip
    assert choose_site(cells, "context answers", 1.0).layer == 2
    with pytest.raises(ValueError, match=r"no coefficient keeps the vector within 0\.1 nats.*costs 0\.2"):
        choose_site(cells, "context answers", 0.1)
    unsure = cells.assign(low=cells["low"] - 0.3)
    said = r"no cell within 1 nats surely raises context answers; the nearest are layer 2, coefficient 0\.5: −0\.2 to"
    with pytest.raises(ValueError, match=said):
        choose_site(unsure, "context answers", 1.0)
    assert choose_site(unsure, "context answers", 1.0, sure=False).layer == 2


def test_where_no_layer_is_sure_there_is_a_whole_page_all_the_same(tmp_path: Path) -> None:
    gentle = ("layers=[1]", "coeffs=[0.001]", "n_vector=8", "n_labelled=8", "n_validation=8", "n_test=8", "n_random=3")
    run_command(TOML, set=gentle, results=tmp_path)
    [folder] = (tmp_path / "contextfocus_gradient").iterdir()
    page, parts = (folder / "index.html").read_text(encoding="utf-8"), read_run(folder)
    assert "surely raises context answers" in parts["chosen"]["nothing_chosen"]
    assert page.count("cannot say") >= len(parts["config"]["expects"]) > 0
    assert len(parts["validation"]) == 1
    assert "table" not in parts


def test_iterations_are_the_fewest_that_come_within_two_points(experiment: ModuleType) -> None:
    trace = pd.DataFrame({"iterations": [1, 2, 4, 8], "context": [0.5, 0.785, 0.79, 0.8]})
    assert choose_iterations(trace, "context", experiment.ENOUGH) == 2


def test_the_strength_is_nearest_in_ratio() -> None:
    cells = pd.DataFrame({"coeff": [1.0, 2.0, 3.0], "budget": np.nan, "kl": [0.0, 0.4, 2.2]})
    assert choose_strength(cells, 1.0) == 3.0  # 2.2 times too much is nearer than 2.5 times too little


def test_the_threshold_parts_conflicts_from_the_rest() -> None:
    gates = pd.DataFrame(
        {
            "regime": ["conflict"] * 3 + ["irrelevant"] * 2 + ["agreement"],
            "divergence": [0.3, 0.2, 0.01, 0.05, 0.0, 0.6],
            "agrees": [False] * 5 + [True],
        }
    )
    assert choose_threshold(gates) == 0.2
    assert choose_threshold(gates.assign(divergence=0.0)) == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("budgets=[0.1, -0.4]", r"budgets \[0.1, -0.4\] must hold different values, all above 0"),
        ("iterations=[]", "iterations"),
        ("budget=0.3", "budget 0.3 must be one of budgets"),
        ("kl=0", "kl is 0 nats"),
        ("wording=nonsense", "wording 'nonsense' is unknown: choose one of"),
        ("n_test=4", "must be 8 or more"),
    ],
)
def test_a_bad_config_is_refused_before_a_model_is_loaded(setting: str, message: str, experiment: ModuleType) -> None:
    with pytest.raises(ValueError, match=message):
        read_config(experiment.Config, TOML, [setting])


def test_what_is_expected_of_random_deltas_needs_some() -> None:
    check_expectations(["random delta: context moves by at most 0.1"])
    with pytest.raises(ValueError, match="random delta"):
        check_expectations(["random delta: context moves by at most 0.1"], deltas=False)


def test_a_prompt_that_costs_less_than_a_plain_answer_has_no_place_on_a_logarithmic_axis() -> None:
    """Where the instruction takes the place of the chat template's longer system turn, as on SmolLM2."""
    run = next((experiments_folder().parent / "results" / "capitals_gradient").iterdir())
    parts = read_run(run)
    costs = parts["costs"].set_index("method")["forward_equivalents"]
    assert costs["instructed prompt"] < 0
    drawn = _cost_points(parts, of_conflicts(parts["summary"]))
    assert (drawn["forward_equivalents"] > 0).all()
    assert "instructed prompt" not in set(drawn["method"])
