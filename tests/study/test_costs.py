"""A sweep's further costs stand in the same table, with the same intervals, and are not computed again on resuming."""

from pathlib import Path

import pandas as pd
import pytest

from steering_lab.analysis.plots import export
from steering_lab.cli.run import run as run_command
from steering_lab.evaluation.measuring import neutral
from steering_lab.runs import read_run
from steering_lab.study.costs import COSTS, NO_PROMPT, check_costs, facts, texts_for_costs, without_prompting
from steering_lab.study.language import ENGLISH, ORGANISM

SMALL = (
    "layers=[1]", "coeffs=[-0.5, 0.5]", "n_prompts=2", "n_samples=1", "max_new_tokens=4", "n_random=3",
    "n_random_confirm=3", "perplexity_budget=1e9", 'method="mean_difference"', 'place="everywhere"',
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_chrome", lambda: None)


def written(folder: Path) -> Path:
    toml = folder / "mine.toml"
    toml.write_text('experiment = "sweep"\npairs = "love_hate_sentences"')
    return toml


def swept(folder: Path, *settings: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    run_command(written(folder), set=(*SMALL, *settings), results=folder / "results")
    [path] = (folder / "results/mine").iterdir()
    run = read_run(path)
    return run["summary"].sort_values(["metric", "method", "coeff"], ignore_index=True), run["table"], run["confirmed"]


def test_costs_are_rows_of_the_grid_with_intervals_and_random_vectors_where_asked(tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    summary, table, confirmed = swept(tmp_path / "without", "costs=['neutral_kl', 'top1_agreement', 'facts']")
    costs = {"neutral_kl", "top1_agreement", "facts"}
    assert costs <= set(summary["metric"])
    assert costs <= set(confirmed["metric"])
    assert "neutral_kl_p95" not in set(summary["metric"])
    kl = summary[(summary["metric"] == "neutral_kl") & (summary["role"] == "steered")]
    assert set(kl["coeff"]) == {-0.5, 0.5}
    assert (kl["low"] > 0).all()
    assert (kl["high"] > kl["effect"]).all()
    assert set(table.loc[table["metric"].isin(costs), "role"]) == {"unsteered", "baseline", "steered"}
    prompted = table[table["role"] == "baseline"].groupby("metric")["value"].count()
    assert prompted["neutral_kl"] == prompted["top1_agreement"] == 0  # its prompt is not in front of neutral text
    assert prompted["facts"] == 40
    before = summary.assign(effect=0.0, why=None)  # as older tables have it
    silent = without_prompting(before).query("effect.isna()")
    assert set(zip(silent["role"], silent["metric"], silent["why"], strict=True)) == {
        ("baseline", "neutral_kl", NO_PROMPT), ("baseline", "top1_agreement", NO_PROMPT),
    }  # fmt: skip
    [page] = (tmp_path / "without").rglob("index.html")
    assert NO_PROMPT in page.read_text(encoding="utf-8")
    (tmp_path / "with").mkdir()
    summary, table, _ = swept(tmp_path / "with", "costs=['neutral_kl']", "cost_controls=true")
    kl = summary[(summary["metric"] == "neutral_kl") & (summary["role"] == "steered")]
    assert kl["n_draws"].eq(3).all()
    assert kl["control_low"].notna().all()


def test_a_resumed_sweep_is_an_uninterrupted_one_and_reads_no_text_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "torn").mkdir()
    whole = swept(tmp_path / "whole")
    counted, real = [], neutral._observed

    def dies(tokens: neutral.Moved) -> dict[str, float]:
        counted.append(1)
        if len(counted) == 20:
            raise KeyboardInterrupt
        return real(tokens)

    monkeypatch.setattr(neutral, "_observed", dies)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        swept(tmp_path / "torn")
    resumed = swept(tmp_path / "torn")
    for one, other in zip(whole, resumed, strict=True):
        pd.testing.assert_frame_equal(one, other)
    once = whole[1].query("metric == 'neutral_kl'")["condition"].nunique()
    first_pass = 16 * once
    second = 16 * whole[2].query("metric == 'neutral_kl'").shape[0]
    assert len(counted) <= first_pass + second + 4


def test_an_unknown_cost_is_refused_before_a_model_is_loaded() -> None:
    with pytest.raises(ValueError, match=f"unknown cost 'speed': choose among {', '.join(COSTS)}"):
        check_costs(["speed"], {})
    with pytest.raises(ValueError, match="the cost 'facts' is named twice"):
        check_costs(["facts", "facts"], {})
    with pytest.raises(ValueError, match=r"costs are a list of names: write \['facts'\]"):
        check_costs("facts", {})


def test_a_cell_over_any_budget_is_not_chosen(tmp_path: Path) -> None:
    run_command(written(tmp_path), set=(*SMALL, "sure=false", "budgets={neutral_kl = 1e-9}"), results=tmp_path / "r")
    [folder] = (tmp_path / "r/mine").iterdir()
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "neutral kl" in page.replace("_", " ").lower()
    confirmed = read_run(folder)["confirmed"]
    assert not (confirmed["role"] == "steered").any()


@pytest.mark.parametrize(
    ("budgets", "error"),
    [
        ({"perplexity": 2.0}, "is the setting perplexity_budget"),
        ({"facts": 0.1}, "no budget of 'facts': one may be of repetition, degenerate, neutral_kl"),
        ({"length": 0.1}, "no budget of 'length'"),
        (
            {"neutral_kl_median": 0.1},
            "no budget of 'neutral_kl_median': one may be of repetition, degenerate, neutral_kl,",
        ),
        ({"neutral_kl": float("inf")}, "the budget of neutral_kl is inf"),
        ({"neutral_kl": -1.0}, "the budget of neutral_kl is -1.0: a divergence is never below 0, so give one above 0"),
        ({"neutral_kl": 0.0}, "the budget of neutral_kl is 0.0"),
    ],
)
def test_a_budget_that_there_cannot_be_is_refused(budgets: dict[str, float], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        check_costs(["neutral_kl", "neutral_kl_median", "facts"], budgets)


@pytest.mark.parametrize("language", [ENGLISH, ORGANISM])
def test_texts_and_facts_are_few_and_fixed(language: object) -> None:
    assert len(set(texts_for_costs(language))) == 16
    assert texts_for_costs(language) == texts_for_costs(language)
    rows = facts(language)
    assert 38 <= len({row.id for row in rows}) == len(rows) <= 40
    assert all(row.memory_answers and not row.context for row in rows)
