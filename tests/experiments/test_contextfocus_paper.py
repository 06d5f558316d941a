"""The figures of ContextFocus, each end to end on the organism at its smallest sizes."""

import json
from html import unescape
from pathlib import Path
from shutil import copytree

import pandas as pd
import pytest

from steering_lab.cli.report import report as report_command
from steering_lab.cli.run import run as run_command
from steering_lab.data.conflict_readers import write_conflict_qa
from steering_lab.organism.world_rows import world_rows
from steering_lab.runs import read_run
from steering_lab.study.finding import experiments_folder, read_study
from steering_lab.study.paper.register import paper_figures

FOLDER = experiments_folder() / "contextfocus"
RESULTS = experiments_folder().parent / "results"
SMALL = ("variant=organism", "n_vector=8", "n_validation=8", "n_test=8", "n_random=3")


def ran(figure: str, results: Path, *settings: str) -> Path:
    run_command(FOLDER / f"{figure}.toml", set=(*SMALL, *settings), results=results)
    return next((results / f"contextfocus_{figure}").iterdir())


def test_the_comparison_is_judged_and_m_r_is_that_of_the_scorer(tmp_path: Path) -> None:
    write_conflict_qa(rows := tmp_path / "rows.jsonl", world_rows("conflict", 60, split="validation", seed=1))
    few = (
        'compare=["instructed", "gradient"]',
        "gradient_iterations=2",
        "layers=[2]",
        "coeffs=[0, 1]",
        "n_rounds=1",
        f"data={rows}",
    )
    folder = ran("comparison", tmp_path / "results", *few)
    parts = read_run(folder)
    verdict = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    assert "context answers +" in verdict["ours"]
    assert verdict["ours"].startswith('failed "') == (verdict["verdict"] == "not reproduced")
    assert {check["about"] for check in verdict["checks"]} == {"shape", "number"}
    scores = parts["scores"]
    own = (scores["regime"] == "conflict") & (scores["scorer"] == "strict") & (scores["method"] == "unsteered")
    [told] = parts["ratios"].loc[parts["ratios"]["condition"] == "unsteered", "M_R"]
    assert 100 * told == pytest.approx(scores.loc[own, "memorisation_ratio"].iloc[0])
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "Not reproduced would be" in page
    assert "EM under conflict" in page
    summary = parts["summary"].set_index(["method", "regime", "metric"]).sort_index()
    assert (summary.loc["gradient form", "relative_norm"] <= 0.4).all()
    assert summary.loc[("gradient form", "conflict", "kl"), "value"].item() > 0
    assert summary.loc[("gradient form", "closed_book", "right"), "effect"].item() == 0  # nothing to imitate there
    assert "The gradient form adds a delta of its own for every question with a context" in page
    assert not (folder / "deltas").exists()


def test_contrasts_of_one_length_share_their_random_vectors_and_are_compared_in_pairs(tmp_path: Path) -> None:
    lines = "contextfocus: context above same context", "contextfocus: closed book moves by at most 1"
    few = f"expects={list(lines)}", 'recipes=["joint", "same_context", "shuffled_labels"]', "layers=[2]"
    parts = read_run(ran("contrasts", tmp_path, *few, 'costs=["closed_book"]'))
    found = parts["measured"]
    own = found[found["against"].isna()].set_index(["who", "metric"])
    steered = own[own["role"] == "steered"]
    assert set(steered["relative_norm"].round(6)) == {0.33}
    contexts = steered.xs("context", level="metric")
    assert set(contexts.index) == {"contextfocus", "same context", "shuffled labels"}
    assert contexts["control_low"].nunique() == 1
    assert contexts["control_low"].notna().all()
    [paired] = found[found["against"].notna() & (found["metric"] == "context")].itertuples()
    assert (paired.who, paired.against) == ("contextfocus", "same context")
    effects = [own.loc[(who, "context"), "value"] for who in (paired.who, paired.against)]
    assert paired.effect == pytest.approx(effects[0] - effects[1])
    checks = pd.DataFrame(parts["verdict"]["checks"])
    assert checks["measured"].str.contains("against same context").sum() == 1


def test_layers_stand_alone_and_in_bands_beside_their_random_vectors(tmp_path: Path) -> None:
    few = 'expects=["contextfocus late: context moves by at most 1"]', "layers=[1, 6, 7]", "bands={late = [6, 7]}"
    folder = ran("layers", tmp_path, *few)
    found = read_run(folder)["measured"]
    context = found[found["metric"] == "context"].set_index("who")
    alone = [f"contextfocus layer {layer}" for layer in (1, 6, 7)]
    assert set(context.index) == {"unsteered", *alone, "contextfocus late"}
    late = context.loc["contextfocus late"]
    assert late["effect"] == pytest.approx(context.loc[alone[1:], "effect"].mean())
    assert late["n_draws"] == 3
    assert (folder / "index.html").is_file()


def test_an_instruction_is_asked_alone_and_with_the_vector(tmp_path: Path) -> None:
    few = "instructed=true", "layers=[2]", "coeffs=[0.5]", "costs=[]", "bands={}", "curves={}", "x=contrast"
    lines = 'expects=["contextfocus and instructed: context above instructed"]'
    found = read_run(ran("layers", tmp_path, *few, lines))["measured"]
    assert {"unsteered", "instructed", "contextfocus", "contextfocus and instructed"} == set(found["who"])
    assert found.loc[found["against"] == "instructed", "role"].eq("steered").all()
    assert found.loc[found["who"] == "contextfocus and instructed", "control_low"].notna().any()


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("recipes=[]", "recipes is empty"),
        ('recipes=["joint", "joint"]', "recipes"),
        ("relative_norm=-1.0", "relative_norm is -1"),
        ("coeffs=[0.0]", "coeffs is"),
    ],
)
def test_a_wrong_setting_is_refused_before_a_model_is_loaded(setting: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_study(FOLDER / "layers.toml", [setting])


def test_a_number_of_a_cell_that_there_is_not_is_refused_before_it_is_asked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names 'contextfocus layer 9'"):
        ran("layers", tmp_path, "layers=[1, 2]", "bands={}", 'expects=["contextfocus layer 1: context rises"]',
            'numbers={"contextfocus layer 9: context" = 0.1}')  # fmt: skip


def test_a_page_says_what_surely_moves_beside_and_what_is_dear(tmp_path: Path) -> None:
    [figure] = paper_figures(("multipliers",))
    run = next(figure.runs(RESULTS))
    copytree(run, folder := tmp_path / run.name)
    report_command((folder,))
    page = (folder / "index.html").read_text(encoding="utf-8")
    found = read_run(folder)["measured"].query("against.isna()").set_index(["metric", "who"])
    rows = found.loc["neither"]
    for who, row in rows[rows["role"] == "steered"].iterrows():
        surely = row["p_family"] <= 0.05 and row["low"] * row["high"] > 0
        assert (
            f"{who} {row['value']:.0%}, " in unescape(page).split("nor the memory's (unsteered")[1].split("</p>")[0]
        ) == surely
    dear = found.loc["perplexity"].query("low > 1.5").sort_values("effect", ascending=False).index
    assert len(dear) > 1
    told = page.split("1.5 times as perplexing or more, ")[1].split("</p>")[0]
    assert [one.split(" ×")[0] for one in told.split("; ")] == list(dear)
